/* SPDX-License-Identifier: MIT */
/*
 * Windows: how the hypervisor reaches a page that is not in its direct map (lib/page.h,
 * page_window()). Each CPU has some virtual pages of its own, which it maps where it likes, so that
 * no other CPU's TLB has to be flushed. A window stays open until its virtual page is needed for
 * another frame, so looking into the same pages again, as a walk of tables does, needs no INVLPG.
 */
#pragma once

#include "arch/x86/pte.h"
#include "lib/cpu_local.h"

#define WINDOWS_PER_CPU 8u /* their entries fill a cache line */
_Static_assert(CPUS_MAX *WINDOWS_PER_CPU == PTE_ENTRIES, "one table maps all windows");

#define WINDOW_FLAGS (PTE_P | PTE_W | PTE_NX)

/* Which of its windows a CPU opened, or found open, last, and which it will use next. */
struct window_cpu {
    uint8_t last, next;
};

/* Returns the number of the window that is open onto the frame; else that of one that may be opened
 * onto it, which is not the last one. */
static inline unsigned window_choose(const uint64_t *entries, struct window_cpu *cpu, hpa_t frame,
                                     bool *open)
{
    for (unsigned i = 0; i < WINDOWS_PER_CPU; i++) {
        if ((entries[i] & (PTE_ADDRESS | PTE_P)) == (frame.v | PTE_P)) {
            *open = true;
            cpu->last = (uint8_t)i;
            return i;
        }
    }
    *open = false;
    if (cpu->next == cpu->last)
        cpu->next = (uint8_t)((cpu->next + 1) % WINDOWS_PER_CPU);
    cpu->last = cpu->next;
    cpu->next = (uint8_t)((cpu->next + 1) % WINDOWS_PER_CPU);
    return cpu->last;
}

/* The table that maps the windows, for the entry of WINDOWS at the level above. */
hpa_t window_table(void);
