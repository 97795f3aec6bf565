/* SPDX-License-Identifier: MIT */
/*
 * A 16550A UART whose serial line takes no time: each byte that the guest sends is passed to a
 * function, so the transmitter is always empty. Loopback, the divisor latch, the FIFO control and
 * the identification register behave as drivers expect when they probe.
 *
 * A connected UART (uart_connect()) also receives bytes and has an interrupt line. The bytes come
 * from a source that keeps them until the receiver has room, so none is lost. The line is updated
 * after each access: it is asserted while the identification register reports an interrupt and
 * MCR's OUT2 is set, because in a PC OUT2 connects the line to the interrupt controller. The
 * identification register of a UART that is not connected also reports pending interrupts.
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
    bool transmit_event; /* THR became empty, and no read of IIR has reported this yet */
    bool asserted;       /* level of the interrupt line */
    uint8_t received[16];
    unsigned received_count;
    struct line line;
    int (*source)(void *context);
    void *source_context;
};

/* Bus functions of a UART that is not connected, and of one that is. They are separate, so that an
 * access to a UART without an interrupt line does not pay for updating the line. */
extern const struct bus_ops uart_ops, uart_connected_ops;

/* Initializes the UART to its state after reset. `transmit` is called with `context` for each byte
 * sent. */
void uart_init(struct uart *uart, void (*transmit)(void *context, uint8_t byte), void *context);

/* Connects an interrupt line and a source, a function that returns the next byte, or -1 if there is
 * none. Must be called before the first access. */
void uart_connect(struct uart *uart, const struct line *line, int (*source)(void *context),
                  void *context);

/* Takes as many bytes from the source as the receiver has room for, and updates the line. Called
 * when the source gets bytes, serialised with accesses. */
void uart_receive(struct uart *uart);
