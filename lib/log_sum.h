/* SPDX-License-Identifier: MIT */
/*
 * Sums of everything that the consoles were given, by which somebody who reads a serial line can
 * tell that he has received all of it, and if a line has lost characters, which one.
 *
 * Each line has a hash: FNV-1a, 32 bits, of its bytes without NUL, CR and LF. With the lines
 * numbered from 1, the first sum is that of the hashes, and the second one that of each hash times
 * its number, both modulo LOG_SUM_PRIME. If exactly one line is wrong, the difference of the second
 * sums divided by that of the first is its number.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define LOG_SUM_PRIME  4294967291u /* the largest below 2^32 */
#define LOG_HASH_BEGIN 2166136261u

struct log_sum {
    uint32_t hash; /* of the current line; LOG_HASH_BEGIN at first */
    uint64_t lines, first, second;
};

/* Adds a byte to a hash. */
static inline uint32_t log_hash(uint32_t hash, char byte)
{
    return (hash ^ (uint8_t)byte) * 16777619u;
}

/* Adds text, in which lines may be incomplete. */
void log_sum_add(struct log_sum *sum, const char *text, size_t length);

/* Sums up all that is printed, beginning with what the log ring holds. */
void log_sum_begin(void);

/* Prints the sums, if log_sum_begin() has been called: `report: console: N lines, sums A B`. */
void log_sum_print(void);
