/* SPDX-License-Identifier: MIT */
/*
 * Where the configuration spaces of PCI functions are in memory (ECAM, PCI Express 5.0, 7.2.2), by
 * ACPI's MCFG (PCI Firmware Specification 3.2, 4.1.2). Pure.
 */
#pragma once

#include "arch/x86/acpi.h"

struct mcfg_header {
    struct acpi_header acpi;
    uint8_t reserved[8];
} __attribute__((packed));

struct mcfg_entry {
    uint64_t base; /* of bus 0, whether or not it is among the buses */
    uint16_t segment;
    uint8_t first_bus, last_bus;
    uint32_t reserved;
} __attribute__((packed));
_Static_assert(sizeof(struct mcfg_header) == 44, "PCI Firmware Specification 3.2, table 4-2");
_Static_assert(sizeof(struct mcfg_entry) == 16, "PCI Firmware Specification 3.2, table 4-3");

/* Maps the areas of the segments that the ports do not reach, which is all of them where there are
 * no such ports, and gives them to host_pci.c. Names an entry that is not used, and why. Called
 * after acpi_init(). */
void mcfg_init(const struct boot_info *info);
