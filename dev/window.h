/* SPDX-License-Identifier: MIT */
/*
 * A window of WINDOW_SIZE bytes that mirrors guest RAM: reads and writes of the window access the
 * RAM behind it. So a guest can access the same bytes natively and by emulation, and compare the
 * results. Each access to the window is logged in a page of guest RAM (layout: guest/abi.h).
 */
#pragma once

#include "mmio/bus.h"
#include "mmu/mmu.h"

struct window {
    struct mmu *mmu;
    gpa_t mirror;      /* start of the RAM behind the window; reads outside of slots return ones */
    gpa_t log;         /* page of the log, or 0 if there is none */
    uint64_t accesses; /* since window_init() */
};

extern const struct bus_ops window_ops;

/* Sets up the window and starts a new log. */
void window_init(struct window *window, struct mmu *mmu, gpa_t mirror, gpa_t log);
