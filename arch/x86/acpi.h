/*
 * Finding ACPI tables. What the firmware wrote is input like any other: each length, checksum and
 * signature is checked before it is believed, and what is wrong is named in a sentence.
 * Pure: physical memory is reached through physical_map() alone.
 */
#pragma once

#include "boot/boot_info.h"

/* At any address: nobody promises that tables are aligned. */
struct acpi_header {
    char signature[4];
    uint32_t length;
    uint8_t revision, checksum;
    char oem[6], oem_table[8];
    uint32_t oem_revision;
    char creator[4];
    uint32_t creator_revision;
} __attribute__((packed));

_Static_assert(sizeof(struct acpi_header) == 36, "ACPI 6.5, table 5.4");

/* ACPI 6.5, table 5.3. Of revision 0 only the first part is there. */
struct acpi_rsdp {
    char signature[8];
    uint8_t checksum; /* over the first part */
    char oem[6];
    uint8_t revision;
    uint32_t rsdt;
    uint32_t length;
    uint64_t xsdt;
    uint8_t extended_checksum, reserved[3];
} __attribute__((packed));
_Static_assert(sizeof(struct acpi_rsdp) == 36, "ACPI 6.5, table 5.3");
#define ACPI_RSDP        "RSD PTR "
#define ACPI_RSDP_SIZE_1 20

/* Finds the RSDP: the loader's copy, by the EFI system table, or where a BIOS leaves it, in its
 * own area or the EBDA. Before anything else here; a second call forgets the first. */
void acpi_init(const struct boot_info *info);

/* The table with that signature whose length and checksum are right, or NULL. */
const struct acpi_header *acpi_table(const char *signature);

/* The same, where it must be: NULL also if another table is there. */
const struct acpi_header *acpi_table_at(hpa_t address, const char *signature);

/* Enters S5 by the FADT and the DSDT's _S5_ package (acpi_power.c). Returns if that is not
 * possible. */
void acpi_power_off(void);
