/* SPDX-License-Identifier: MIT */
/* The log that a warm reset does not clear, as a console; see the header. */
#include "arch/x86/kept_log.h"

#include "arch/x86/cpu.h"
#include "lib/kept_log.h"
#include "lib/log.h"
#include "lib/page.h"

_Static_assert(sizeof(struct kept_area) == KEPT_LOG_END - KEPT_LOG_START, "the place is full");

static struct kept_log kept;
static bool running, printing, found_before;
static uint64_t cache_line; /* in bytes */

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

static const char *reason_against(const struct boot_info *info)
{
    const uint64_t size = KEPT_LOG_END - KEPT_LOG_START;
    if (!boot_is_ram(info, HPA(KEPT_LOG_START), size))
        return "it is not RAM, according to the boot loader's memory map";
    for (unsigned i = 0; i < info->module_count; i++) {
        const struct boot_module *module = &info->modules[i];
        if (module->base.v < KEPT_LOG_END && module->base.v + module->size > KEPT_LOG_START)
            return "the boot loader has put a module there";
    }
    return NULL;
}

void kept_log_start(const struct boot_info *info)
{
    struct kept_area *area = phys_to_virt(HPA(KEPT_LOG_START));
    struct kept_found found;
    const char *why = reason_against(info);
    if (why) {
        log_info("kept log: the log of this boot will not be found after a reset: it would be kept "
                 "at %#llx, but %s",
                 KEPT_LOG_START, why);
        return;
    }
    cache_line = (cpuid(1, 0).ebx >> 8 & 0xff) * 8;
    kept_find(area, &found);
    found_before = found.bank;
    kept_begin(&kept, area, &found, kept_flush);
    log_add_console(kept_console, NULL);
    running = printing = true;
    kept_print(&found, area, KEPT_LOG_START);
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
