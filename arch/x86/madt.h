/* SPDX-License-Identifier: MIT */
/*
 * The CPUs that ACPI's MADT lists (ACPI 6.5, 5.2.12). Pure. The caller has checked the table's
 * length and checksum; its contents are still untrusted.
 */
#pragma once

#include "lib/cpu_local.h"
#include "arch/x86/acpi.h"
#include "lib/compiler.h"

/* The header of the table; the entries follow it. */
struct madt_header {
    struct acpi_header acpi;
    uint32_t lapic; /* physical address of the local APICs' page */
    uint32_t flags;
} __attribute__((packed));
_Static_assert(sizeof(struct madt_header) == 44, "ACPI 6.5, table 5.19");

struct madt_lapic {
    uint8_t type, length, processor, apic_id;
    uint32_t flags;
};
_Static_assert(sizeof(struct madt_lapic) == 8, "ACPI 6.5, table 5.21");
#define MADT_LAPIC   0
#define MADT_ENABLED 1u

/* A range of consecutive APIC IDs. */
struct madt_span {
    uint32_t first, last;
};
#define MADT_SPANS 16u

struct madt {
    uint32_t apic_id[CPUS_MAX]; /* the boot CPU's, then the others' in the order of the table */
    unsigned count;
    unsigned unused;                         /* number of enabled CPUs beyond CPUS_MAX */
    struct madt_span unused_ids[MADT_SPANS]; /* their APIC IDs, as far as there is room */
    unsigned unused_spans;
};

/* Lists the enabled CPUs of local APIC and local x2APIC entries. `boot_id` is the APIC ID of the
 * boot CPU; `table` may be NULL. Returns -EINVAL after a message that names the malformed entry, or
 * says that there is no table; the list then contains only the boot CPU. A message names the CPUs
 * for which there is no room. */
int madt_parse(const struct acpi_header *table, uint32_t boot_id, struct madt *madt) MUST_CHECK;
