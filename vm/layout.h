/* SPDX-License-Identifier: MIT */
/*
 * The guest-physical map of a VM, in one place (decision D10).
 *
 *   0x0000_0000  640 KiB   RAM
 *   0x000a_0000  128 KiB   hole: a PC's video memory; reads all ones
 *     0x000b_8000  32 KiB    text of a VGA adapter, with `legacy`: RAM, or a device with `vga`
 *   0x000c_0000  256 KiB   a PC's BIOS area: RAM that the memory map reserves
 *     0x000e_0000  4 KiB     ACPI tables (launch/firmware.h)
 *   0x0010_0000  …         RAM, up to 3 GiB in all
 *   0xc000_0000  1 GiB     hole for devices:
 *     0xe000_0000  1 MiB     configuration spaces of PCI functions (ECAM), with `pci`
 *     0xe010_0000  447 MiB   window for the BARs of PCI functions, with `pci`
 *     0xfd00_0000  64 KiB    #VE information areas, a page for each vCPU, with `ve` (guest/abi.h)
 *     0xfe00_0000  4 KiB     test device A   (guest/abi.h)
 *     0xfe00_1000  4 KiB     test device B
 *     0xfe20_0000  4 KiB     virtio-mmio registers, for each disk (vm/disk.h), with `pc`
 *     0xfe20_8000  4 KiB     virtio-mmio registers of the network device, with `net`
 *     0xfe20_9000  4 KiB     … of the console, with `console=virtio`
 *     0xfe20_a000  4 KiB     … of the entropy device, with `rng`
 *     0xfec0_0000  4 KiB     I/O APIC, with `pc`
 *     0xfee0_0000  4 KiB     local APIC, in xAPIC mode
 *     0xff00_0000  64 KiB    window of QEMU's test device, with `kut` (dev/pc_testdev.h)
 *     0xffff_0000  64 KiB    boot shim of a TD, with `tdx` (guest/shim/interface.h)
 *   0x1_0000_0000 …        the rest of RAM
 */
#pragma once

#include "lib/types.h"

#include <stdbool.h>

#define GUEST_RAM_MIN     (2ull << 20)
#define GUEST_RAM_MAX     (64ull << 30)
#define GUEST_RAM_DEFAULT (32ull << 20)

#define GUEST_LOW_END    0xa0000ull
#define GUEST_BIOS       0xc0000ull
#define GUEST_RESET      0xffff0ull /* F000:FFF0, a PC's reset vector in real mode */
#define GUEST_FIRMWARE   0xe0000ull /* in the BIOS area, where guests look for the RSDP */
#define GUEST_MP         0xf0000ull /* in the BIOS area, with `legacy` (launch/bios.h) */
#define GUEST_MIDDLE     0x100000ull
#define GUEST_MIDDLE_END 0xc0000000ull
#define GUEST_HIGH       0x100000000ull
#define GUEST_ECAM       0xe0000000ull
#define GUEST_ECAM_SIZE  0x100000ull
#define GUEST_BARS       0xe0100000ull
#define GUEST_BARS_SIZE  0x1bf00000ull
#define GUEST_VIRTIO     0xfe200000ull
#define GUEST_VIRTIO_NET 0xfe208000ull
#define GUEST_VIRTIO_HVC 0xfe209000ull
#define GUEST_VIRTIO_RNG 0xfe20a000ull
#define GUEST_IOAPIC     0xfec00000ull
#define GUEST_LAPIC      0xfee00000ull
#define GUEST_KUT_WINDOW 0xff000000ull
#define GUEST_SHIM       0xffff0000ull /* up to 4 GiB, where the vCPUs of a TD start */
#define GUEST_SHIM_SIZE  0x10000ull

/* Pages of the boot shim: what it is told, and the mailbox for the other CPUs. */
#define GUEST_SHIM_PARAMETERS GUEST_SHIM
#define GUEST_SHIM_MAILBOX    (GUEST_SHIM + 0x1000)

/* The shared bit of a TD's addresses, of which it has one more than this. */
#define TDX_SHARED_BIT 39u

#define GUEST_RAM_PIECES 3

/* Pins of the I/O APIC. The first 16 have the numbers of a PC's IRQs. */
#define LINE_PIC      0 /* the output of the 8259s, with `legacy` */
#define LINE_KEYBOARD 1 /* with `legacy`, as the mouse's */
#define LINE_PIT      2 /* IRQ 0 of the PIT, with `legacy` */
#define LINE_UART     4
#define LINE_RNG      9
#define LINE_NET      10
#define LINE_HVC      11
#define LINE_MOUSE    12
#define LINE_VIRTIO   16 /* of the first disk */
#define LINE_PCI      16 /* of the first PCI device; they share 8 pins */

#define VCPUS_MAX 16u /* limited by the firmware page and by the #VE slot */

/* Numbers of the memslots that a VM gets at its creation. Lower numbers are free for
 * HC_SLOT_ADD. */
#define GUEST_RAM_SLOT      0x2000
#define GUEST_FIRMWARE_SLOT 0x2008
#define GUEST_VGA_SLOT      0x200c /* with `legacy`, without `vga` */
#define GUEST_VE_SLOT       0x2010
#define GUEST_SHIM_SLOT     0x2018 /* in a TD */

struct guest_range {
    gpa_t base;
    uint64_t size; /* 0: the VM does not have this piece */
};

/* Computes the pieces of RAM of a VM that has `size` bytes of RAM. As in a PC, the RAM from
 * GUEST_LOW_END to GUEST_MIDDLE is lost, except for the BIOS area. */
void guest_layout(uint64_t size, struct guest_range ram[GUEST_RAM_PIECES]);

/* A range of the guest's memory map. `kind` is an enum boot_memory, whose values are E820's
 * types. */
struct guest_map_range {
    uint64_t base, size;
    uint32_t kind;
};

#define GUEST_MAP_RANGES (GUEST_RAM_PIECES + 5)

/* Lists the ranges of the guest's memory map in the order of their addresses, and returns their
 * number. In a TD, the boot shim is ACPI NVS memory: the guest does not use it as RAM, but maps it
 * as private memory. With PCI, the configuration spaces are reserved, without which Linux would not
 * use them. */
unsigned guest_memory_map(const struct guest_range ram[GUEST_RAM_PIECES], bool td, bool pci,
                          struct guest_map_range map[GUEST_MAP_RANGES]);
