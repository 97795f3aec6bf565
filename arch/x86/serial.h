/* The first serial port, our main console. */
#pragma once

#include <stddef.h>

/* Programs COM1 in full: 115200 8N1, no interrupts, FIFOs on. Emulators that are told only a part
 * of it garble the text. */
void serial_init(void);

/* Waits for room before each character; a newline becomes CR LF. A port that is not there is given
 * up after a bounded wait. */
void serial_write(const char *text, size_t length);

/* Waits until the last character has left. */
void serial_drain(void);
