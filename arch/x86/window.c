/* SPDX-License-Identifier: MIT */
/* The windows of each CPU; see the header. */
#include "arch/x86/window.h"

#include "arch/x86/cpu.h"
#include "arch/x86/this_cpu.h"
#include "lib/assert.h"

static uint64_t entries[CPUS_MAX][WINDOWS_PER_CPU] __attribute__((aligned(4096)));
static struct window_cpu window_cpus[CPUS_MAX];

hpa_t window_table(void)
{
    return virt_to_phys(entries);
}

void *page_window(hpa_t frame)
{
    unsigned self = this_cpu();
    bool open;
    BUG_ON(page_offset(frame.v));
    unsigned chosen = window_choose(entries[self], &window_cpus[self], frame, &open);
    void *window = (char *)WINDOWS + (self * WINDOWS_PER_CPU + chosen) * PAGE_SIZE;
    if (!open) {
        __atomic_store_n(&entries[self][chosen], frame.v | WINDOW_FLAGS, __ATOMIC_RELEASE);
        invlpg(window);
    }
    return window;
}
