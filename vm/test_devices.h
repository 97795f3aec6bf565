/* SPDX-License-Identifier: MIT */
/* What guests make on their bus by hypercall, and the port that gives back what it was given. */
#pragma once

#include "lib/spinlock.h"
#include "mmio/bus.h"
#include "dev/window.h"

struct test_devices {
    struct spinlock lock; /* of the changes that hypercalls make to the buses */
    struct test_bell {
        struct bus_doorbell bell;
        uint64_t rings;
        bool used;
    } bells[BUS_DOORBELLS];
    struct window window;
    uint64_t window_at; /* where it stands; 0: nowhere */
    struct test_port {
        uint8_t bytes[256];
        uint8_t first, next; /* the same: it is empty */
    } port;
};

extern const struct bus_ops test_port_ops;
