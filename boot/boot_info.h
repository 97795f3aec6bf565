/* SPDX-License-Identifier: MIT */
/*
 * The information from the boot loader, in one form for both protocols.
 *
 * GRUB and the option ROM use multiboot2, a list of tagged records; `qemu -kernel` uses multiboot1,
 * a struct of pointers. The information is read once, before the final page tables exist, and
 * everything that is needed later is copied, so no pointer into the loader's memory remains. The
 * loader is trusted not to attack, but not to be correct: a malformed record is refused with a
 * message that names it.
 */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"

#define MULTIBOOT1_LOADER_MAGIC 0x2badb002u
#define MULTIBOOT2_LOADER_MAGIC 0x36d76289u

#define BOOT_RANGES     1024
#define BOOT_MODULES    96
#define BOOT_STRING_MAX 512

/* Kinds of memory, numbered as in E820. Where entries of the loader's map overlap, the strictest
 * kind applies; the order is BOOT_BAD, BOOT_RESERVED, BOOT_NVS, BOOT_ACPI, BOOT_RAM. */
enum boot_memory {
    BOOT_RAM = 1,
    BOOT_RESERVED = 2,
    BOOT_ACPI = 3,
    BOOT_NVS = 4,
    BOOT_BAD = 5,
};

struct boot_range {
    hpa_t base;
    uint64_t size;
    enum boot_memory kind;
};

struct boot_module {
    hpa_t base;
    uint64_t size;
    char string[BOOT_STRING_MAX];
};

enum boot_framebuffer_kind {
    BOOT_FRAMEBUFFER_NONE,
    BOOT_FRAMEBUFFER_RGB,
    BOOT_FRAMEBUFFER_TEXT, /* VGA text mode: width and height are in characters */
};

/* The bits of a pixel that hold one colour. */
struct boot_colour {
    uint8_t position, size;
};

struct boot_framebuffer {
    hpa_t base;
    uint32_t pitch, width, height;
    unsigned bits_per_pixel;
    enum boot_framebuffer_kind kind;
    struct boot_colour red, green, blue; /* only for BOOT_FRAMEBUFFER_RGB */
};

struct boot_info {
    const char *protocol;
    char loader[64];
    char command_line[BOOT_STRING_MAX];
    /* Sorted by address, not empty, without overlaps; adjacent ranges differ in kind. */
    struct boot_range ranges[BOOT_RANGES];
    unsigned range_count;
    unsigned ranges_joined; /* how often two ranges became one because the map was full */
    uint64_t ram_lost;      /* bytes of RAM that became reserved with that */
    struct boot_module modules[BOOT_MODULES];
    unsigned module_count;
    uint8_t rsdp[36];
    unsigned rsdp_size;     /* 0: the loader passed none */
    hpa_t efi_system_table; /* 0: not booted through EFI */
    struct boot_framebuffer framebuffer;
};

/* Reads the loader's structures at `address`; `magic`, which the loader put into EAX, tells the
 * protocol. Reads physical memory below 4 GiB through phys_to_virt(). Returns 0, or -EINVAL after a
 * message that names the malformed record. */
int boot_info_parse(struct boot_info *info, uint32_t magic, uint32_t address) MUST_CHECK;

/* Whether all of these bytes are RAM, and whether any of them is. Addresses that are not in the map
 * are not RAM. */
bool boot_is_ram(const struct boot_info *info, hpa_t base, uint64_t size) MUST_CHECK;
bool boot_touches_ram(const struct boot_info *info, hpa_t base, uint64_t size) MUST_CHECK;

/* Returns the highest page below 640 KiB that is RAM and contains no part of a module, or
 * PAGE_NONE. */
hpa_t boot_low_page(const struct boot_info *info) MUST_CHECK;
