/* SPDX-License-Identifier: MIT */
/*
 * Completion status codes of the TDX module, as far as the secure side and the leaves of
 * TDCALL return them (Intel TDX
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
#define TDX_NO_VALID_VE_INFO          0xc000070400000000ull
#define TDX_FLUSHVP_NOT_DONE          0x8000082400000000ull
#define TDX_EPT_WALK_FAILED           0xc0000b0000000000ull
#define TDX_GPA_RANGE_NOT_BLOCKED     0xc0000b0600000000ull
#define TDX_GPA_RANGE_ALREADY_BLOCKED 0x00000b0700000000ull /* no error: bit 63 is clear */
#define TDX_TLB_TRACKING_NOT_DONE     0xc0000b0800000000ull
#define TDX_PAGE_ALREADY_ACCEPTED     0x00000b0a00000000ull /* no error: bit 63 is clear */
#define TDX_PAGE_SIZE_MISMATCH        0xc0000b0b00000000ull
#define TDX_EPT_ENTRY_STATE_INCORRECT 0xc0000b0d00000000ull
#define TDX_EPT_PAGE_NOT_FREE         0xc0000b0e00000000ull
#define TDX_PAGE_ATTR_INVALID         0xc0000b1100000000ull
#define TDX_INVALID_CPUSVN            0xc000100000000000ull
#define TDX_INVALID_REPORTMACSTRUCT   0xc000100100000000ull

#define TDX_METADATA_FIELD_ID_INCORRECT           0xc0000c0000000000ull
#define TDX_METADATA_FIELD_NOT_WRITABLE           0xc0000c0100000000ull
#define TDX_METADATA_FIELD_NOT_READABLE           0xc0000c0200000000ull
#define TDX_METADATA_FIELD_VALUE_NOT_VALID        0xc0000c0300000000ull
#define TDX_METADATA_FIELD_CURRENTLY_NOT_WRITABLE 0xc0000c0900000000ull
#define TDX_METADATA_FIRST_FIELD_ID_IN_CONTEXT    0x00000c0b00000000ull /* no error */

/* The operand that is to blame, added to a status. */
#define TDX_OPERAND_RAX 0ull
#define TDX_OPERAND_RCX 1ull
#define TDX_OPERAND_RDX 2ull
#define TDX_OPERAND_R8  8ull

/* The name of a status, without its operand; and its number in the list of names, below 32. */
const char *tdx_status_name(uint64_t status);
unsigned tdx_status_number(uint64_t status);
