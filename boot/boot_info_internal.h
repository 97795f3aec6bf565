/* What boot_info.c and the two parsers beside it share; the means are in boot/collect.c. */
#pragma once

#include "boot/boot_info.h"

/* What boot/start.S maps, and what a 32-bit field can name. */
#define BOOT_REACH 0x100000000ull

/* How much the loader's structures may take, and its memory map: a size beyond is garbage. */
#define INFO_SIZE_MAX 0x100000u

/* Copies a string of at most `room` bytes that must end with a zero; refuses one that does not fit.
 */
int boot_copy_string(char *to, size_t size, const char *from, size_t room,
                     const char *what) MUST_CHECK;

/* Whether `size` bytes at `address` can be read; -EINVAL after a sentence if not. */
int boot_check_reach(uint32_t address, uint64_t size, const char *what) MUST_CHECK;

/* Adds an entry of the loader's memory map: in any order, of any size, overlapping others, with a
 * `kind` of any value. -EINVAL after a sentence if it is RAM that wraps around. */
int boot_add_range(struct boot_info *info, uint64_t base, uint64_t size, uint32_t kind) MUST_CHECK;

int boot_add_module(struct boot_info *info, uint32_t start, uint32_t end, const char *string,
                    size_t room) MUST_CHECK;

int multiboot1_parse(struct boot_info *info, uint32_t address) MUST_CHECK;
int multiboot2_parse(struct boot_info *info, uint32_t address) MUST_CHECK;
