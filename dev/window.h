/* SPDX-License-Identifier: MIT */
/*
 * A window of WINDOW_SIZE bytes that mirrors guest RAM: reads and writes of the window access the
 * RAM behind it. A guest can so reach the same bytes natively and by emulation, and compare. Each
 * access to the window is logged in a page of guest RAM (layout: guest/abi.h).
 */
#pragma once

#include "mmio/bus.h"
#include "mmu/mmu.h"

struct window {
    struct mmu *mmu;
    gpa_t mirror;      /* start of the RAM behind the window; outside of slots, reads give ones */
    gpa_t log;         /* the page of the log, or 0 if there is none */
    uint64_t accesses; /* since window_init() */
};

extern const struct bus_ops window_ops;

/* Sets up the window and starts a new log. */
void window_init(struct window *window, struct mmu *mmu, gpa_t mirror, gpa_t log);
