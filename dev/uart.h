/* SPDX-License-Identifier: MIT */
/*
 * A 16550A UART whose line takes no time: each byte that the guest sends is passed to a function,
 * so the transmitter is always empty. Loopback, the divisor latch, the FIFO control and the
 * identification register behave as drivers expect when they probe.
 *
 * A UART that is connected (uart_connect()) also receives, from a source that keeps the bytes until
 * there is room for them, so that none is lost; and it has an interrupt line, which it sets after
 * each access: it is asserted while the identification register reports an interrupt and MCR's OUT2
 * is set, which in a PC connects the line. Without a connection the register reports what would be
 * pending.
 *
 * Callers serialise accesses.
 */
#pragma once

#include "dev/line.h"
#include "mmio/bus.h"

#define UART_PORTS 8

struct uart {
    void (*transmit)(void *context, uint8_t byte);
    void *context;
    uint8_t ier, lcr, mcr, msr, scr, fcr, lsr;
    uint8_t divisor[2];
    bool transmit_event; /* THR became empty, and IIR has not reported this yet */
    bool asserted;       /* the level of the line */
    uint8_t received[16];
    unsigned received_count;
    struct line line;
    int (*source)(void *context);
    void *source_context;
};

/* Of a UART that is not connected, and of one that is: the line costs the first nothing. */
extern const struct bus_ops uart_ops, uart_connected_ops;

/* Sets the state after reset. `transmit` is called with `context` for each byte sent. */
void uart_init(struct uart *uart, void (*transmit)(void *context, uint8_t byte), void *context);

/* Gives the UART a line, and a source: a function that returns the next byte, or -1 if there is
 * none. Called before the first access. */
void uart_connect(struct uart *uart, const struct line *line, int (*source)(void *context),
                  void *context);

/* The source has bytes: takes as many as there is room for. Serialised with accesses. */
void uart_receive(struct uart *uart);
