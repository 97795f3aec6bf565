/*
 * The CPUs that ACPI's MADT lists (ACPI 6.5, 5.2.12). Pure: it reads a table whose length and
 * checksum were right, which says nothing about what is in it.
 */
#pragma once

#include "lib/cpu_local.h"
#include "arch/x86/acpi.h"
#include "lib/compiler.h"

/* Its entries follow. */
struct madt_header {
    struct acpi_header acpi;
    uint32_t lapic; /* the address of the local APICs' page */
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

/* APIC IDs that follow each other. */
struct madt_span {
    uint32_t first, last;
};
#define MADT_SPANS 16u

struct madt {
    uint32_t apic_id[CPUS_MAX]; /* the boot CPU's first, the others in the table's order */
    unsigned count;
    unsigned unused;                         /* enabled CPUs for which there was no room, */
    struct madt_span unused_ids[MADT_SPANS]; /* and which they are, as far as there is room */
    unsigned unused_spans;
};

/* Lists the enabled CPUs, local APIC and local x2APIC entries alike; `boot_id` is the APIC ID of
 * this CPU. `table` may be NULL. -EINVAL after a sentence that names the malformed entry, or says
 * that there is no table: then the list holds the boot CPU alone. CPUs for which there is no room
 * are named. */
int madt_parse(const struct acpi_header *table, uint32_t boot_id, struct madt *madt) MUST_CHECK;
