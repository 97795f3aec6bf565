/* SPDX-License-Identifier: MIT */
/*
 * The machine's name, as the firmware gives it in SMBIOS (DMTF DSP0134). It is untrusted input, and
 * only for people to read. Pure: physical memory is accessed only through physical_map().
 */
#pragma once

#include "boot/boot_info.h"

#define SMBIOS_NAME_MAX 64

/* Each text is empty if the firmware does not say it. Not all characters need be printable. */
struct smbios_names {
    char vendor[SMBIOS_NAME_MAX], product[SMBIOS_NAME_MAX], version[SMBIOS_NAME_MAX];
    char bios_vendor[SMBIOS_NAME_MAX], bios_version[SMBIOS_NAME_MAX], bios_date[SMBIOS_NAME_MAX];
};

/* Reads the names, by EFI's configuration table or from the BIOS area, and prints them in one line,
 * "machine: …". Called once, after acpi_init(). */
void smbios_init(const struct boot_info *info);

/* The names that smbios_init() has read. */
const struct smbios_names *smbios_names(void);
