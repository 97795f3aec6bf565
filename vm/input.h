/* SPDX-License-Identifier: MIT */
/*
 * The input multiplexer: it reads the hypervisor's serial port and hands what was typed to one VM,
 * the one that has the focus.
 *
 * Each VM that takes input has a ring of bytes, which its UART empties. If the ring is full, bytes
 * stay in the port. The port is polled, by whichever pCPU looks at its clock first after the poll
 * is due: every 10 ms, and every millisecond as long as something comes. A pCPU that runs or halts
 * a vCPU has its timer set for that; nothing is polled as long as no VM takes input. A poll takes a
 * bounded number of bytes.
 *
 * Pure: the port is read by serial_read() (arch/x86/serial.h).
 */
#pragma once

#include "lib/types.h"

#define INPUT_RING 256u

struct input {
    uint8_t bytes[INPUT_RING];
    uint32_t put, taken; /* counts of bytes; input_poll() writes `put`, input_take() `taken` */
    void (*ready)(void *context); /* the ring is not empty; NULL: not attached */
    void *context;
    struct input *next;
};

/* TSC: when the port is polled next; TIME_NEVER while no VM takes input. */
extern uint64_t input_due;

/* From now on the VM takes input; `ready` is called on any CPU when there is some. The first VM
 * that is attached has the focus, and hands it on when it is detached. */
void input_attach(struct input *input, void (*ready)(void *context), void *context);

/* Afterwards `ready` is not called any more. Does nothing if the input is not attached. */
void input_detach(struct input *input);

/* Takes a byte from the ring of a `struct input`; -1: it is empty. The caller serialises the calls
 * for one ring. */
int input_take(void *input);

void input_poll(uint64_t now, uint64_t ticks_per_ms);
