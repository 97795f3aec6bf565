/* SPDX-License-Identifier: MIT */
/*
 * The guest-physical map of a VM, in one place (decision D10).
 *
 *   0x0000_0000  640 KiB   RAM
 *   0x000a_0000  128 KiB   hole: a PC's video memory; reads all ones
 *   0x000c_0000  256 KiB   a PC's BIOS area: RAM that no guest should take for itself
 *     0x000e_0000  4 KiB     ACPI tables (launch/firmware.h)
 *   0x0010_0000  …         RAM, up to 3 GiB in all
 *   0xc000_0000  1 GiB     hole for devices:
 *     0xfd00_0000  64 KiB    information of #VE, a page for each vCPU that takes it (guest/abi.h)
 *     0xfe00_0000  4 KiB     test device A   (guest/abi.h)
 *     0xfe00_1000  4 KiB     test device B
 *     0xfe20_0000  4 KiB     for each disk (vm/disk.h): registers of virtio, with `pc`
 *     0xfec0_0000  4 KiB     I/O APIC, with `pc`
 *     0xfee0_0000  4 KiB     local APIC, if IA32_APIC_BASE says so
 *   0x1_0000_0000 …        the rest of RAM
 */
#pragma once

#include "lib/types.h"

#define GUEST_RAM_MIN     (2ull << 20)
#define GUEST_RAM_MAX     (64ull << 30)
#define GUEST_RAM_DEFAULT (32ull << 20)

#define GUEST_LOW_END    0xa0000ull
#define GUEST_BIOS       0xc0000ull
#define GUEST_FIRMWARE   0xe0000ull /* in the BIOS area, where guests look for the RSDP */
#define GUEST_MIDDLE     0x100000ull
#define GUEST_MIDDLE_END 0xc0000000ull
#define GUEST_HIGH       0x100000000ull
#define GUEST_VIRTIO     0xfe200000ull
#define GUEST_IOAPIC     0xfec00000ull
#define GUEST_LAPIC      0xfee00000ull

#define GUEST_RAM_PIECES 3

/* Pins of the I/O APIC, by the numbers of a PC's interrupt requests. */
#define LINE_UART   4
#define LINE_VIRTIO 16 /* of the first disk */

#define VCPUS_MAX 16u /* the firmware page and the #VE slot have room for so many */

/* Numbers of the memory slots that a VM gets at its creation; lower numbers are free for
 * HC_SLOT_ADD. */
#define GUEST_RAM_SLOT      0x2000
#define GUEST_FIRMWARE_SLOT 0x2008
#define GUEST_VE_SLOT       0x2010

struct guest_range {
    gpa_t base;
    uint64_t size; /* 0: the VM does not have this piece */
};

/* Computes the pieces of RAM of a VM that has `size` bytes of it. As in a PC, the RAM between
 * GUEST_LOW_END and GUEST_MIDDLE is lost, except for the BIOS area. */
void guest_layout(uint64_t size, struct guest_range ram[GUEST_RAM_PIECES]);

/* A range of the memory map that a guest gets; `kind` is an enum boot_memory, numbered as in
 * E820. */
struct guest_map_range {
    uint64_t base, size;
    uint32_t kind;
};

#define GUEST_MAP_RANGES (GUEST_RAM_PIECES + 3)

/* Lists the guest's memory by address and returns the number of ranges. */
unsigned guest_memory_map(const struct guest_range ram[GUEST_RAM_PIECES],
                          struct guest_map_range map[GUEST_MAP_RANGES]);
