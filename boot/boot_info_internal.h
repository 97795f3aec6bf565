/* What boot_info.c gives to the two parsers beside it. */
#pragma once

#include "boot/boot_info.h"

/* Copies a string of at most `room` bytes that must end with a zero; refuses one that does not fit.
 */
int boot_copy_string(char *to, size_t size, const char *from, size_t room,
                     const char *what) MUST_CHECK;

int boot_add_range(struct boot_info *info, uint64_t base, uint64_t size, uint32_t kind) MUST_CHECK;

int boot_add_module(struct boot_info *info, uint32_t start, uint32_t end, const char *string,
                    size_t room) MUST_CHECK;

int multiboot1_parse(struct boot_info *info, uint32_t address) MUST_CHECK;
int multiboot2_parse(struct boot_info *info, uint32_t address) MUST_CHECK;
