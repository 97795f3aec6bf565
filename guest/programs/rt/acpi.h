/* SPDX-License-Identifier: MIT */
/* The ACPI tables that a guest finds in the BIOS area: which CPUs there are. */
#pragma once

#include "guest/programs/rt/rt.h"

#define BIOS_AREA     0xe0000u
#define BIOS_AREA_END 0x100000u

/* The RSDP, or 0; a table by its signature, or 0. What does not sum to 0 is not there. */
uint64_t acpi_rsdp(void);
uint64_t acpi_table(const char *signature);

/* The APIC IDs that the MADT lists as enabled; how many there are, at most `max` of which are
 * written. 0: there is no MADT. */
unsigned madt_cpus(uint32_t *ids, unsigned max);
