/* SPDX-License-Identifier: MIT */
/*
 * The units that remap DMA and interrupts (VT-d), as ACPI's DMAR lists them, and what their
 * registers say: what each could do, and what the firmware has left on. Guests have no devices, so
 * none is used. Pure: memory and registers are read through physical_map(). Both are untrusted.
 */
#pragma once

#include "arch/x86/acpi.h"

#define DMAR_UNITS 16u /* that are looked at */

struct dmar_unit {
    uint64_t base; /* of its registers */
    bool answers;
    uint64_t can, can_more; /* CAP and ECAP (VT-d 4.1, 11.4.2 and 11.4.3) */
    uint32_t status;        /* GSTS (11.4.4.2) */
};

#define DMAR_TRANSLATES 0x80000000u /* GSTS.TES */
#define DMAR_INTERRUPTS 0x02000000u /* GSTS.IRES */

struct dmar {
    unsigned count; /* units; beyond DMAR_UNITS they are only counted */
    struct dmar_unit units[DMAR_UNITS];
    /* Of those that were looked at: how many do not answer, and the others' registers, ORed. */
    unsigned silent;
    uint64_t can, can_more;
    uint32_t status;
    bool no_x2apic; /* the firmware asks not to switch x2APIC mode on (X2APIC_OPT_OUT) */
};

/* Reads the table, which may be NULL, and the registers of the units that it lists. A message names
 * an entry that is malformed; the units before it count. */
void dmar_read(const struct acpi_header *table, struct dmar *dmar);

/* Prints what was found: nothing without a unit, else one line, and two more for each unit that
 * translates. */
void dmar_log(const struct dmar *dmar);
