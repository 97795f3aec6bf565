/* SPDX-License-Identifier: MIT */
/* Test devices: those that guests add to their bus by hypercalls, and a port that returns the bytes
 * that were written to it. */
#pragma once

#include "lib/spinlock.h"
#include "mmio/bus.h"
#include "dev/window.h"

struct test_devices {
    struct spinlock lock; /* serializes the changes that hypercalls make to the buses */
    struct test_bell {
        struct bus_doorbell bell;
        uint64_t rings;
        bool used;
    } bells[BUS_DOORBELLS];
    struct window window;
    uint64_t window_at; /* address of the window; 0: it is not on the bus */
    struct test_port {
        uint8_t bytes[256];
        uint8_t first, next; /* equal: the port is empty */
    } port;
};

extern const struct bus_ops test_port_ops;
