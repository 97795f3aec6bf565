/* SPDX-License-Identifier: MIT */
/*
 * The serial port that ACPI names: the console's, in SPCR (Microsoft's "Serial Port Console
 * Redirection Table", revisions 1 to 4), or the debugger's, in DBG2 ("Debug Port Table 2"). Pure.
 * The caller has checked the table's length and checksum; its contents are still untrusted.
 */
#pragma once

#include "arch/x86/acpi.h"
#include "arch/x86/serial_port.h"
#include "lib/compiler.h"

/* Read a table. Return NULL, and the port in *port; else why the table names no
 * port that can be used, to continue "SPCR: ". */
const char *spcr_parse(const struct acpi_header *table, struct serial_place *port) MUST_CHECK;
const char *dbg2_parse(const struct acpi_header *table, struct serial_place *port) MUST_CHECK;
