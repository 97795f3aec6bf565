/* SPDX-License-Identifier: MIT */
/* The declarations that boot_info.c, collect.c and the two parsers share. */
#pragma once

#include "boot/boot_info.h"

/* The end of what boot/start.S maps and of what a 32-bit field can address. */
#define BOOT_REACH 0x100000000ull

/* The largest size of the loader's structures, and of its memory map, that is believed; a larger
 * size is an error. */
#define INFO_SIZE_MAX 0x100000u

/* Copies a string that must end with a zero within `room` bytes. Returns -EINVAL after a message
 * that names `what` if it does not, or if it does not fit into `size` bytes. */
int boot_copy_string(char *to, size_t size, const char *from, size_t room,
                     const char *what) MUST_CHECK;

/* Checks that `size` bytes at `address` can be read. Returns -EINVAL after a message that names
 * `what` if not. */
int boot_check_reach(uint32_t address, uint64_t size, const char *what) MUST_CHECK;

/* Adds an entry of the loader's memory map. Entries may come in any order, be of any size, overlap
 * others, and have a `kind` of any value. Returns -EINVAL after a message if the entry is RAM that
 * wraps around. */
int boot_add_range(struct boot_info *info, uint64_t base, uint64_t size, uint32_t kind) MUST_CHECK;

int boot_add_module(struct boot_info *info, uint32_t start, uint32_t end, const char *string,
                    size_t room) MUST_CHECK;

int multiboot1_parse(struct boot_info *info, uint32_t address) MUST_CHECK;
int multiboot2_parse(struct boot_info *info, uint32_t address) MUST_CHECK;
