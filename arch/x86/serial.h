/* SPDX-License-Identifier: MIT */
/* The first serial port, which is the main console. */
#pragma once

#include <stddef.h>

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
