/* SPDX-License-Identifier: MIT */
/*
 * The 64-bit boot protocol of Linux (Documentation/arch/x86/boot.rst): the setup header, the zero
 * page, and the state of the CPU at the entry point. Pure.
 */
#pragma once

#include "launch/plan.h"

/* The setup header. It lies at LINUX_HEADER_AT in a bzImage's file and in the zero page. */
struct linux_header {
    uint8_t setup_sectors;
    uint16_t root_flags;
    uint32_t kernel_size; /* size of the protected-mode kernel in units of 16 bytes */
    uint16_t ram_size, video_mode, root_device, boot_flag;
    uint8_t jump, header_length; /* offset of the header's end from LINUX_MAGIC_AT */
    uint32_t magic;
    uint16_t version;
    uint32_t real_mode_switch;
    uint16_t start_segment, version_string;
    uint8_t loader, load_flags;
    uint16_t move_size;
    uint32_t code32_start, initrd, initrd_size, bootsect_kludge;
    uint16_t heap_end;
    uint8_t loader_version, loader_type;
    uint32_t command_line, initrd_last;
    uint32_t alignment;
    uint8_t relocatable, alignment_least;
    uint16_t extended_flags;
    uint32_t command_line_max, subarch;
    uint64_t subarch_data;
    uint32_t payload_offset, payload_size;
    uint64_t setup_data, preferred;
    uint32_t init_size; /* bytes of RAM that the kernel needs from its load address on to start */
} __attribute__((packed));
#define LINUX_HEADER_AT 0x1f1u
_Static_assert(LINUX_HEADER_AT + offsetof(struct linux_header, magic) == 0x202, "boot.rst");
_Static_assert(LINUX_HEADER_AT + offsetof(struct linux_header, command_line) == 0x228, "boot.rst");
_Static_assert(LINUX_HEADER_AT + offsetof(struct linux_header, extended_flags) == 0x236,
               "boot.rst");
_Static_assert(LINUX_HEADER_AT + offsetof(struct linux_header, preferred) == 0x258, "boot.rst");
_Static_assert(LINUX_HEADER_AT + sizeof(struct linux_header) == 0x264, "boot.rst");

#define LINUX_MAGIC            0x53726448u /* "HdrS" */
#define LINUX_MAGIC_AT         0x202u
#define LINUX_BOOT_FLAG        0xaa55u
#define LINUX_LOADED_HIGH      0x01u /* load_flags: the kernel is loaded above 1 MiB */
#define LINUX_KERNEL_64        0x01u /* extended_flags: the kernel has a 64-bit entry point */
#define LINUX_UNKNOWN_LOADER   0xffu
#define LINUX_INITRD_LAST      0x7fffffffu
#define LINUX_COMMAND_LINE_MAX 2047u

/* Address of the boot parameters: zero page, page tables, GDT and command line, or PVH's
 * structures. */
#define LINUX_BLOCK 0x10000u

/* Kernels must not extend beyond this address, where the identity-mapped memory ends. */
#define LINUX_TOP 0x40000000ull

/* Returns EXIT_OK if the image's command line has at most `most` and at most LINUX_COMMAND_LINE_MAX
 * characters; otherwise logs an error. */
enum exit_code linux_check_arguments(const struct guest_image *image, uint64_t most) MUST_CHECK;

/* The guest-physical range of an initrd; size 0: there is none. */
struct linux_initrd {
    uint64_t base, size;
};

/* Adds the guest's initrd to the plan, if there is one, and sets *initrd. The initrd is placed as
 * high as possible: `last` is the greatest address that its last byte may have, and `kernel_end`
 * the end of the kernel, below which the initrd must not begin. Fails with a message if the guest
 * has other files or more than one initrd, or if there is no room. */
enum exit_code linux_plan_initrd(struct load_plan *plan, const struct guest_image *image,
                                 uint64_t kernel_end, uint64_t last,
                                 struct linux_initrd *initrd) MUST_CHECK;

/* Adds the zero page, page tables, GDT and command line to the plan, and sets plan->start for the
 * 64-bit entry point `entry`. The zero page gets a copy of the setup header at `header`, of
 * `header_size` bytes, in which the fields that a boot loader has to write are replaced. */
enum exit_code linux_plan_start(struct load_plan *plan, const struct guest_image *image,
                                const void *header, size_t header_size, uint64_t entry,
                                const struct linux_initrd *initrd) MUST_CHECK;

/* Returns the address of the command line in a plan by linux_plan_start(). */
uint64_t linux_command_line(const struct load_plan *plan);

/* Returns the end of the memory that the kernel of the plan needs to start. */
uint64_t linux_kernel_end(const struct load_plan *plan);

/* The EFI tables that the zero page names (zero-page.rst, efi_info). Addresses are below 4 GiB. */
struct linux_efi {
    uint64_t system_table, map, map_size;
    uint32_t descriptor_size, descriptor_version;
};
void linux_set_efi(struct load_plan *plan, const struct linux_efi *efi);

/* Returns the part of plan->block that the page tables take, which a TD does not use, and sets *gpa
 * to its address: LINUX_SPARE bytes. */
#define LINUX_SPARE (3 * PAGE_SIZE)
void *linux_spare(struct load_plan *plan, uint64_t *gpa);
