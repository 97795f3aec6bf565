/* SPDX-License-Identifier: MIT */
/*
 * Completion status codes of the TDX module, as far as the secure side returns them (Intel TDX
 * Module 1.5 ABI specification, 348551, "Interface Function Completion Status"). Bit 63: an error,
 * and nothing has been changed; bit 62: repeating the call does not help. Bits 47:32 are class and
 * detail. A leaf function adds the operand that is to blame in bits 31:0, which are 0 here.
 */
#pragma once

#include <stdint.h>

#define TDX_SUCCESS                   0ull
#define TDX_OPERAND_INVALID           0xc000010000000000ull
#define TDX_OPERAND_ADDR_RANGE_ERROR  0xc000010100000000ull
#define TDX_OPERAND_BUSY              0x8000020000000000ull
#define TDX_PREVIOUS_TLB_EPOCH_BUSY   0x8000020100000000ull
#define TDX_INTERRUPTED_RESUMABLE     0x8000000300000000ull
#define TDX_PAGE_METADATA_INCORRECT   0xc000030000000000ull
#define TDX_LIFECYCLE_STATE_INCORRECT 0xc000060700000000ull
#define TDX_OP_STATE_INCORRECT        0xc000060800000000ull
#define TDX_FLUSHVP_NOT_DONE          0x8000082400000000ull
#define TDX_EPT_WALK_FAILED           0xc0000b0000000000ull
#define TDX_GPA_RANGE_NOT_BLOCKED     0xc0000b0600000000ull
#define TDX_GPA_RANGE_ALREADY_BLOCKED 0x00000b0700000000ull /* no error: bit 63 is clear */
#define TDX_TLB_TRACKING_NOT_DONE     0xc0000b0800000000ull
#define TDX_PAGE_ALREADY_ACCEPTED     0x00000b0a00000000ull /* no error: bit 63 is clear */
#define TDX_PAGE_SIZE_MISMATCH        0xc0000b0b00000000ull
#define TDX_EPT_ENTRY_STATE_INCORRECT 0xc0000b0d00000000ull
#define TDX_EPT_PAGE_NOT_FREE         0xc0000b0e00000000ull

/* The name of a status, without its operand; and its number in the list of names, below 32. */
const char *tdx_status_name(uint64_t status);
unsigned tdx_status_number(uint64_t status);
