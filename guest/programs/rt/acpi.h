/* SPDX-License-Identifier: MIT */
/* The ACPI tables in the BIOS area, which list the CPUs. */
#pragma once

#include "guest/programs/rt/rt.h"

#define BIOS_AREA     0xe0000u
#define BIOS_AREA_END 0x100000u

/* The address of the RSDP, or of the table with this signature; 0 if there is none with a valid
 * checksum. */
uint64_t acpi_rsdp(void);
uint64_t acpi_table(const char *signature);

/* Stores the APIC IDs that the MADT lists as enabled, at most `max`, and returns their number; 0 if
 * there is no MADT. */
unsigned madt_cpus(uint32_t *ids, unsigned max);
