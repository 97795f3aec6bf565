/* SPDX-License-Identifier: MIT */
/* Sums of what the consoles were given; see the header. */
#include "lib/log_sum.h"

#include "lib/log.h"

static struct log_sum printed = {.hash = LOG_HASH_BEGIN};
static bool begun;

void log_sum_add(struct log_sum *sum, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '\n') {
            sum->lines++;
            sum->first = (sum->first + sum->hash) % LOG_SUM_PRIME;
            sum->second = (sum->second + sum->lines % LOG_SUM_PRIME * sum->hash) % LOG_SUM_PRIME;
            sum->hash = LOG_HASH_BEGIN;
        } else if (text[i] != '\r' && text[i] != '\0') {
            sum->hash = log_hash(sum->hash, text[i]);
        }
    }
}

static void log_sum_write(const char *text, size_t length)
{
    log_sum_add(&printed, text, length);
}

void log_sum_begin(void)
{
    if (!begun)
        log_add_console(log_sum_write, NULL);
    begun = true;
}

void log_sum_print(void)
{
    if (begun)
        log_info("report: console: %lu lines, sums %#lx %#lx", printed.lines, printed.first,
                 printed.second);
}
