/*
 * A window of WINDOW_SIZE bytes that mirrors guest RAM: what is written through it stands there,
 * and what stands there is read through it. So a guest sees one memory from two sides, natively and
 * by emulation. Each access is written down in a page of the guest's (layout: guest/abi.h).
 */
#pragma once

#include "mmio/bus.h"
#include "mmu/mmu.h"

struct window {
    struct mmu *mmu;
    gpa_t mirror; /* the RAM behind it; where no slot is, reads give all ones */
    gpa_t log;    /* the page of the log, or 0: none */
    uint64_t accesses;
};

extern const struct bus_ops window_ops;

/* Starts a new log. */
void window_init(struct window *window, struct mmu *mmu, gpa_t mirror, gpa_t log);
