/* SPDX-License-Identifier: MIT */
/*
 * Finds ACPI tables. The firmware's tables are untrusted input: each length, checksum and signature
 * is checked before it is used, and a message names what is wrong. Pure: physical memory is
 * accessed only through physical_map().
 */
#pragma once

#include "boot/boot_info.h"

/* The header of every table. It is packed because tables may be at any address. */
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

/* ACPI 6.5, table 5.3. An RSDP of revision 0 consists of the first part only. */
struct acpi_rsdp {
    char signature[8];
    uint8_t checksum; /* of the first part */
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

/* Finds the RSDP: the loader's copy, through the EFI system table, or where a BIOS puts it, which
 * is the BIOS area or the EBDA. Called before the other functions here; a second call discards the
 * result of the first. */
void acpi_init(const struct boot_info *info);

/* Returns a table with that signature whose length and checksum are correct, or NULL. */
const struct acpi_header *acpi_table(const char *signature);

/* Returns the table at that address if its signature, length and checksum are correct, else
 * NULL. */
const struct acpi_header *acpi_table_at(hpa_t address, const char *signature);

/* Calls `found` for the root table and for each table that it lists, in its order. Only the root
 * table's checksum has been verified: what another header says may be wrong. */
void acpi_list(void (*found)(hpa_t address, const struct acpi_header *header));
