/* SPDX-License-Identifier: MIT */
/* Finds tables by the EFI system table (UEFI 2.10, 4.2 and 4.3) of 64-bit or 32-bit firmware, which
 * is untrusted input. Pure: physical memory is accessed only through physical_map(). */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"

#define EFI_GUID_SIZE 16u

/* Finds the entry of the configuration table with this GUID, given in memory order. Returns false
 * if there is none, or if the system table is wrong. A message of `who` says then what is wrong;
 * NULL: none does, because the caller is not the first one to look. */
bool efi_find_table(hpa_t system_table, const uint8_t guid[EFI_GUID_SIZE], const char *who,
                    hpa_t *table) MUST_CHECK;
