/* SPDX-License-Identifier: MIT */
/*
 * The serial port of the console, and that of the debugger (gdb/gdb.h) and of the export channel
 * (arch/x86/export_device.h).
 *
 * The second one is always COM2. The first one is what the word serial= names (serial_word.h), and
 * it may become known late: ACPI's tables and memory are not accessible at the start. What has been
 * printed until then is in the log's ring, and the console gets it when it is opened.
 */
#pragma once

#include "boot/boot_info.h"
#include "lib/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Opens what can be opened without ACPI and memory: COM1, or what the command line names. */
void serial_begin(const char *command_line);

/* Opens the port that `value`, the word's, and ACPI say, once both are known; what serial_begin()
 * has opened may be replaced by it, and then says so. Returns 0, or -EINVAL after a message if the
 * value is bad, or names no port that proves to be there. */
int serial_settle(const char *value, const struct boot_info *info) MUST_CHECK;

/* Opens what can be opened now if serial_begin() has not been called yet, so that a machine that
 * stops early can say why. */
void serial_last_resort(void);

/* Is the console at this I/O port? */
bool serial_is_at(uint16_t port) MUST_CHECK;

/* Writes text to the console and waits for room before each character; a newline becomes CR LF,
 * unless a CR precedes it. If the port stalls, because of flow control or a terminal server, for a
 * second (a fifth of it, once it has stalled), what is written is lost from then on, without any
 * further wait, until the port has room at the beginning of a line. A line on the port says then
 * how long that took and how many characters are missing. */
void serial_write(const char *text, size_t length);

/* Returns the next byte that was received, or -1 if there is none. */
int serial_read(void);

/* Waits until the last character has been sent, unless the port stalls. */
void serial_drain(void);

/* Switches the console's FIFOs off, as they are after a reset. Not every reset reaches a UART, and
 * a BIOS may not find one whose FIFOs are on: its interrupt identification then has two more bits.
 */
void serial_leave(void);

/* Programs COM2, 115200 8N1. Returns false if there is no such port. */
bool serial2_init(void);

/* Returns the next byte that COM2 has received, or -1 if there is none. */
int serial2_read(void);

/* The number of bytes that can be sent without waiting, and the function that sends one. */
#define SERIAL_FIFO 16
unsigned serial2_room(void);
void serial2_put(uint8_t byte);

/* Returns true if the last byte has left the port. */
bool serial2_is_idle(void);
