/* SPDX-License-Identifier: MIT */
/*
 * The input multiplexer: it reads the hypervisor's serial port and passes the bytes to the VM that
 * has the focus.
 *
 * Each attached VM has a ring of bytes, from which its UART reads. While the ring is full, bytes
 * stay in the port. The port is polled every 10 ms, and every millisecond while bytes arrive; it is
 * not polled while no VM is attached. The pCPU that first looks at its clock after a poll is due
 * polls the port; a pCPU that runs a vCPU, or halts with it, sets its timer for the next poll. A
 * poll reads a bounded number of bytes.
 *
 * Pure: the port is read by serial_read() (arch/x86/serial.h).
 */
#pragma once

#include "lib/types.h"

#define INPUT_RING 256u

struct input {
    uint8_t bytes[INPUT_RING];
    uint32_t put, taken; /* counts of bytes; input_poll() writes `put`, input_take() `taken` */
    void (*ready)(void *context); /* called when the ring has got bytes; NULL: not attached */
    void *context;
    struct input *next;
};

/* TSC value at which the next poll is due; TIME_NEVER while no VM is attached. */
extern uint64_t input_due;

/* Attaches a VM's input. From then on `ready` is called, on any CPU and with the multiplexer's lock
 * held, when the ring has got bytes. The VM that was attached first has the focus; when it is
 * detached, the next one gets it. */
void input_attach(struct input *input, void (*ready)(void *context), void *context);

/* Detaches a VM's input; `ready` is not called any more when this returns. Does nothing if the
 * input is not attached. */
void input_detach(struct input *input);

/* Removes a byte from the ring of a `struct input` and returns it, or returns -1 if the ring is
 * empty. The caller serialises the calls for one ring. */
int input_take(void *input);

/* Polls the port if a poll is due at the TSC value `now`. Any CPU may call this. */
void input_poll(uint64_t now, uint64_t ticks_per_ms);
