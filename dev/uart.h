/* SPDX-License-Identifier: MIT */
/*
 * A 16550A UART without a line: each byte that the guest sends is passed to a function, and nothing
 * is ever received. The transmitter is always empty. Loopback, the divisor latch, the FIFO control
 * and the identification register behave as drivers expect when they probe. There is no interrupt
 * output; the identification register reports what would be pending. Callers serialise accesses.
 */
#pragma once

#include "mmio/bus.h"

#define UART_PORTS 8

struct uart {
    void (*transmit)(void *context, uint8_t byte);
    void *context;
    uint8_t ier, lcr, mcr, msr, scr, fcr, lsr;
    uint8_t divisor[2];
    bool transmit_event; /* THR became empty, and IIR has not reported this yet */
    uint8_t received[16];
    unsigned received_count; /* bytes that loopback returned */
};

extern const struct bus_ops uart_ops;

/* Sets the state after reset. `transmit` is called with `context` for each byte sent. */
void uart_init(struct uart *uart, void (*transmit)(void *context, uint8_t byte), void *context);
