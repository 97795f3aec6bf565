/* SPDX-License-Identifier: MIT */
/*
 * The input multiplexer: it reads the hypervisor's serial port and passes the bytes to the VM that
 * has the focus, except for what follows the escape key, which is for the hypervisor itself:
 *
 *   1 to 9   gives the VM with this number the focus
 *   n        gives it to the next VM
 *   m        gives it to the monitor, whose dialogue then has the console
 *   x        ends the machine
 *   wCxR     and Return: the window has C columns and R rows; both are numbers up to 9999
 *   the key  is passed to the VM
 *
 * Any other key lists the VMs that take input. The VM with the focus also has the console: its
 * transcript becomes the current one (vm/transcript.h). While nobody has chosen a VM, the focus is
 * on the VM with the lowest number, and so it is after the VM with the focus has ended.
 *
 * The size of the window is for all VMs, because they share it. A terminal that knows its size can
 * tell it in this way, and so can a person at one that does not.
 *
 * Each attached VM has a ring of bytes, from which its UART or virtio console reads. While the
 * ring is full, bytes stay in the port, but only while the VM reads: if a VM has neither taken a
 * ring's worth of bytes nor emptied the ring for a second, further bytes for it are dropped. So
 * the escape key always works, and a VM that reads slowly loses nothing.
 *
 * The monitor has a ring, too. It reads from it when it has answered, so bytes for it are never
 * dropped. It is above this file, which therefore knows of it only what input_set_monitor() says.
 *
 * The port is polled every 10 ms, and every millisecond while bytes arrive; it is not polled while
 * no VM is attached and the monitor does not have the focus, unless the machine began with it. The
 * pCPU that first looks at its clock after a poll is due polls the port; a pCPU that runs a vCPU,
 * or halts with it, sets its timer for the next poll. A poll reads a bounded number of bytes.
 *
 * Pure: the port is read by serial_read() (arch/x86/serial.h).
 */
#pragma once

#include "lib/types.h"

#define INPUT_RING    256u /* bytes */
#define INPUT_HOLD_MS 1000 /* a VM that takes less than a ring's worth in this time is too slow */

#define INPUT_KEY_NONE 0 /* no escape key: all bytes are passed to the VM */

struct input {
    uint8_t bytes[INPUT_RING];
    uint32_t put, taken; /* counts of bytes; input_poll() writes `put`, input_take() `taken` */
    void (*ready)(void *context); /* see input_attach(); NULL: not attached */
    void *context;
    unsigned number; /* of the VM */
    const char *name;
    uint32_t held_from; /* `taken` when the current time of INPUT_HOLD_MS began */
    uint64_t hold_end;  /* TSC: the end of this time */
    bool dropping;      /* the VM is too slow */
    struct input *next;
};

/* TSC value at which the next poll is due; TIME_NEVER while the port is not polled. */
extern uint64_t input_due;

/* Sets the escape key, a control character or INPUT_KEY_NONE. Any CPU may call this, without this
 * file's lock; the key is in force from the next poll on. */
void input_set_escape(uint8_t key);

/* Attaches the input of the VM `number`. From then on `ready` is called, on any CPU and with the
 * multiplexer's lock held, when the ring has got bytes or the window has got another size. `name`
 * is not copied. */
void input_attach(struct input *input, unsigned number, const char *name,
                  void (*ready)(void *context), void *context);

/* Detaches a VM's input; `ready` is not called any more when this returns. Does nothing if the
 * input is not attached. */
void input_detach(struct input *input);

/* Sets the input of the monitor. `ready` is called as that of a VM, and also when the monitor has
 * got or lost the focus by a key. If `at_once` is set, the monitor has the focus now, and the port
 * is polled for the rest of the run. Called once, before the first poll. */
void input_set_monitor(struct input *input, void (*ready)(void *context), void *context,
                       bool at_once);

/* Whether the monitor has the focus. Any CPU may call this. */
bool input_is_monitored(void);

/* Gives the focus and the console back to the VM that had them before the monitor. */
void input_leave_monitor(void);

/* Removes all bytes up to the last `byte` from the ring, and returns true; false, and removes none,
 * if there is no such byte. Called by the reader of the ring. */
bool input_drop_through(struct input *input, uint8_t byte);

/* Removes a byte from the ring of a `struct input` and returns it, or returns -1 if the ring is
 * empty. The caller serialises the calls for one ring. */
int input_take(void *input);

/* Returns true if there are bytes in the ring of an attached input. */
bool input_waits(const struct input *input);

/* The size of the window, or zeros while nobody has told it. */
struct input_window {
    uint16_t columns, rows;
};
struct input_window input_window(void);

/* Polls the port if a poll is due at the TSC value `now`. Any CPU may call this. Does not return if
 * the machine is to end. */
void input_poll(uint64_t now, uint64_t ticks_per_ms);
