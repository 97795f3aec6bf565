/*
 * A 16550A UART without a wire: what the guest sends goes to a function, nothing ever arrives. The
 * transmitter is always empty. Loopback, the divisor latch, FIFO and identification registers
 * answer as drivers expect that probe for them. There is no interrupt line; the identification
 * register says what would be pending. One vCPU at a time: the caller serialises.
 */
#pragma once

#include "mmio/bus.h"

#define UART_PORTS 8

struct uart {
    void (*transmit)(void *context, uint8_t byte);
    void *context;
    uint8_t ier, lcr, mcr, msr, scr, fcr, lsr;
    uint8_t divisor[2];
    bool transmit_event; /* THR became empty and nobody has read that from IIR */
    uint8_t received[16];
    unsigned received_count; /* bytes that loopback returned */
};

extern const struct bus_ops uart_ops;

/* The state after reset. */
void uart_init(struct uart *uart, void (*transmit)(void *context, uint8_t byte), void *context);
