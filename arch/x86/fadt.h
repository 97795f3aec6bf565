/* SPDX-License-Identifier: MIT */
/*
 * ACPI's Fixed ACPI Description Table (ACPI 6.5, 5.2.9), of any revision: what an older or a
 * shorter table lacks reads as 0. Pure.
 */
#pragma once

#include "arch/x86/acpi.h"
#include "lib/bits.h"

#include <stddef.h>

/* A generic address (ACPI 6.5, table 5.1). In the space of PCI, the address is the device << 32,
 * the function << 16 and the offset. */
struct acpi_address {
    uint8_t space, bits, bit_offset, access;
    uint64_t address;
} __attribute__((packed));
_Static_assert(sizeof(struct acpi_address) == 12, "ACPI 6.5, table 5.1");
#define ACPI_MEMORY     0
#define ACPI_IO         1
#define ACPI_PCI        2
#define ACPI_ACCESS_MAX 3 /* log2 of the width in bytes, plus 1; 0: not said */

struct fadt {
    struct acpi_header header;
    uint32_t facs, dsdt;
    uint8_t unused1[4];
    uint32_t smi_command; /* a port */
    uint8_t acpi_enable;  /* what is written there */
    uint8_t unused2[11];
    uint32_t pm1a_control, pm1b_control; /* ports */
    uint32_t unused3;
    uint32_t pm_timer; /* a port; 0: there is none */
    uint8_t unused4[11];
    uint8_t pm_timer_length;
    uint8_t unused5[17];
    uint16_t boot_flags;
    uint8_t unused6;
    uint32_t flags;
    struct acpi_address reset;
    uint8_t reset_value;
    uint16_t arm_flags;
    uint8_t minor_revision;
    uint64_t facs_64, dsdt_64;
    struct acpi_address unused7[2], pm1a_control_64, pm1b_control_64, unused8, pm_timer_64;
    uint8_t unused9[24];
    struct acpi_address sleep_control, sleep_status;
    uint64_t hypervisor;
} __attribute__((packed));
_Static_assert(sizeof(struct fadt) == 276, "ACPI 6.5, table 5.9");
_Static_assert(offsetof(struct fadt, smi_command) == 48, "ACPI 6.5, table 5.9");
_Static_assert(offsetof(struct fadt, pm1a_control) == 64, "ACPI 6.5, table 5.9");
_Static_assert(offsetof(struct fadt, pm_timer) == 76, "ACPI 6.5, table 5.9");
_Static_assert(offsetof(struct fadt, pm_timer_length) == 91, "ACPI 6.5, table 5.9");
_Static_assert(offsetof(struct fadt, boot_flags) == 109, "ACPI 6.5, table 5.9");
_Static_assert(offsetof(struct fadt, reset) == 116, "ACPI 6.5, table 5.9");
_Static_assert(offsetof(struct fadt, pm1a_control_64) == 172, "ACPI 6.5, table 5.9");
_Static_assert(offsetof(struct fadt, pm_timer_64) == 208, "ACPI 6.5, table 5.9");
_Static_assert(offsetof(struct fadt, sleep_control) == 244, "ACPI 6.5, table 5.9");
#define FADT_SIZE_MIN 116u /* of ACPI 1.0 */

/* The fixed feature flags (table 5.10). */
#define FADT_RESET   BIT(10)
#define FADT_REDUCED BIT(20) /* hardware-reduced ACPI, which has no PM1 registers and no PM timer */

/* The revisions that define the reset register, the flags of an 8042, of a VGA adapter, and
 * hardware-reduced ACPI, with its registers for sleep: those of ACPI 1.0b, 2.0, 3.0 and 5.0. */
#define FADT_REVISION_RESET   2
#define FADT_REVISION_8042    3
#define FADT_REVISION_VGA     4
#define FADT_REVISION_REDUCED 5

/* Copies the table, as far as it reaches. Returns false if there is none, or if it is shorter than
 * that of ACPI 1.0. */
bool fadt_read(struct fadt *fadt) MUST_CHECK;

/* Whether this machine's ACPI is hardware-reduced. */
static inline bool fadt_is_reduced(const struct fadt *fadt)
{
    return fadt->header.revision >= FADT_REVISION_REDUCED && fadt->flags & FADT_REDUCED;
}
