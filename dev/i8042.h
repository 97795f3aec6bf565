/* SPDX-License-Identifier: MIT */
/*
 * A PC's keyboard controller (Intel's 8042, ports 0x60 and 0x64), to which no keyboard and no mouse
 * is connected. Drivers find it, and it resets the machine; what is sent to a keyboard or a mouse
 * is answered by the controller itself: 0xfe, with the bit in the status that says that the device
 * has not answered. The A20 line is always open.
 *
 * Any CPU may access the ports. The lock is held while the lines are set and `reset` is called.
 */
#pragma once

#include "dev/line.h"
#include "lib/spinlock.h"
#include "mmio/bus.h"

struct i8042 {
    struct spinlock lock;
    struct line keyboard, mouse; /* IRQ 1 and IRQ 12 */
    void (*reset)(void *context, const char *how);
    void *context;
    uint8_t config, output_port;
    uint8_t command; /* whose data byte is expected; 0: data is for the keyboard */
    uint8_t data;    /* the output buffer, which the guest reads */
    uint8_t status;  /* of the output buffer: full, from the mouse, not answered */
};

/* Port 0x60, and the status and command port 0x64. */
extern const struct bus_ops i8042_data_ops, i8042_command_ops;

void i8042_init(struct i8042 *i8042, void (*reset)(void *context, const char *how), void *context);
