/* SPDX-License-Identifier: MIT */
/*
 * Finds the serial port of the console. Pure.
 *
 * serial=auto tries, in this order: the port that ACPI's SPCR names, that of DBG2, COM1, and the
 * first PCI card of class 07 00 or 07 02. Whatever is tried has to prove that it is a UART
 * (serial_port.h), also if the command line names it.
 */
#pragma once

#include "arch/x86/serial_port.h"
#include "arch/x86/serial_word.h"
#include "boot/boot_info.h"
#include "lib/compiler.h"

#define SERIAL_COM1     0x3f8u
#define SERIAL_COM2     0x2f8u
#define SERIAL_TEXT_MAX 200

/* Finds what `wish` asks for, and writes to `text`, of SERIAL_TEXT_MAX bytes, which port it is and
 * who names it, or why there is none. The port is mapped, but not programmed. Without `info`,
 * neither ACPI's tables nor memory can be mapped yet, and only I/O ports are tried. Not for
 * SERIAL_OFF. */
bool serial_find(const struct serial_wish *wish, const struct boot_info *info,
                 struct serial_port *port, char *text) MUST_CHECK;

/* The same with nothing but the ports that ACPI names. If a table names one that can't be used, a
 * message says why. */
bool serial_find_by_acpi(const struct serial_wish *wish, const struct boot_info *info,
                         struct serial_port *port, char *text) MUST_CHECK;
