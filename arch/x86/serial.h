/* SPDX-License-Identifier: MIT */
/* The first serial port, which is the main console, and the second one, which is the debugger's
 * (gdb/gdb.h). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Programs COM1 completely: 115200 8N1, no interrupts, FIFOs on. Emulators garble the text if only
 * a part is programmed. */
void serial_init(void);

/* Writes text and waits for room before each character; a newline becomes CR LF, unless a CR
 * precedes it. If the port does not exist, the function gives up after a bounded wait. */
void serial_write(const char *text, size_t length);

/* Returns the next byte that was received, or -1 if there is none. */
int serial_read(void);

/* Waits until the last character has been sent. */
void serial_drain(void);

/* Programs COM2 in the same way. Returns false if there is no such port. */
bool serial2_init(void);

/* Returns the next byte that COM2 has received, or -1 if there is none. */
int serial2_read(void);

/* The number of bytes that can be sent without waiting, and the function that sends one. */
#define SERIAL_FIFO 16
unsigned serial2_room(void);
void serial2_put(uint8_t byte);

/* Returns true if the last byte has left the port. */
bool serial2_is_idle(void);
