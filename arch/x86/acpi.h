/* The little of ACPI that we need: finding tables, and powering off. */
#pragma once

#include "boot/boot_info.h"

struct acpi_header {
    char signature[4];
    uint32_t length;
    uint8_t revision, checksum;
    char oem[6], oem_table[8];
    uint32_t oem_revision, creator, creator_revision;
};

/* Finds the RSDP: the loader's copy, the EFI system table, or the BIOS area. */
void acpi_init(const struct boot_info *info);

/* A table with that signature whose length and checksum are right, or NULL. */
const struct acpi_header *acpi_table(const char *signature);

/* Enters S5 by the FADT and the DSDT's _S5_ package. Returns if that is not possible. */
void acpi_power_off(void);
