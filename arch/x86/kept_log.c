/* SPDX-License-Identifier: MIT */
/* The log that a warm reset does not clear, as a console; see the header. */
#include "arch/x86/kept_log.h"

#include "arch/x86/cpu.h"
#include "lib/kept_log.h"
#include "lib/log.h"
#include "lib/page.h"

_Static_assert(sizeof(struct kept_area) == KEPT_LOG_SIZE, "the place is full");

static struct kept_log kept;
static bool running, printing, found_before;
static uint64_t cache_line; /* in bytes */
#define SMALLEST_LINE 16u

/* A reset loses what is only in a cache. CLFLUSH is ordered with the stores to its line, and MFENCE
 * with what follows (SDM 2A, CLFLUSH). */
static void kept_flush(const void *from, size_t size)
{
    const char *end = (const char *)from + size;
    for (const char *at = (const char *)align_down((uint64_t)from, cache_line); at < end;
         at += cache_line)
        __asm__ volatile("clflush %0" : : "m"(*at) : "memory");
    __asm__ volatile("mfence" ::: "memory");
}

/* The log of an earlier boot is not kept a second time. */
static void kept_console(const char *text, size_t length)
{
    if (!printing)
        kept_write(&kept, text, length);
}

void kept_log_start(const struct boot_info *info)
{
    struct kept_found found = {.bank = NULL};
    hpa_t here = kept_log_choose(info);
    for (unsigned n = 0; n < KEPT_LOG_PLACES; n++) {
        hpa_t place = kept_log_place(info, n);
        if (!page_is_none(place))
            kept_find(phys_to_virt(place), place.v, &found);
    }
    found_before = found.bank;
    if (page_is_none(here)) {
        log_info("kept log: a later boot will not find the log of this one: each place for it in "
                 "RAM is taken by a module, or is no RAM");
    } else {
        cache_line = (cpuid(1, 0).ebx >> 8 & 0xff) * 8;
        cache_line = cache_line ? cache_line : SMALLEST_LINE; /* a hypervisor may hide it */
        kept_begin(&kept, phys_to_virt(here), &found, kept_flush);
        log_add_console(kept_console, NULL);
        running = true;
    }
    printing = true;
    kept_print(&found);
    printing = false;
}

bool kept_log_found(void)
{
    return found_before;
}

void kept_log_end(enum exit_code code)
{
    if (running)
        kept_end(&kept, code);
}
