/* SPDX-License-Identifier: MIT */
/*
 * GetQuote (GHCI 1.5, TDVMCALL 10002h): the TD shares a buffer that holds a TDREPORT, and the VMM
 * returns a quote of it, which a third party can verify, or a status.
 *
 * Here, a quote exists for VMs with the word quote=test, and it is signed by a key that everybody
 * knows (tools/tdquote.py): it has the format of Intel's quotes, version 4, so that software can be
 * tried with it, and proves nothing. Its signature follows from the hash of its contents by one
 * addition, because the nonce of ECDSA is 1. Pure.
 */
#pragma once

#include "tdx/report.h"

/* sum = a + b modulo the order of the curve P-256, numbers of 32 bytes, big-endian. a + b is below
 * twice the order, as for any hash and the test key's constant. The second half of a signature. */
void tdx_quote_add(uint8_t sum[32], const uint8_t a[32], const uint8_t b[32]);

/* Statuses in the shared buffer. */
#define TDX_QUOTE_SUCCESS     0ull
#define TDX_QUOTE_ERROR       0x8000000000000000ull
#define TDX_QUOTE_UNAVAILABLE 0x8000000000000001ull

/* Answers GetQuote for the buffer of `size` bytes at `gpa`, a shared address, with a quote if
 * `available`. Returns false if R12 or R13 are invalid operands: the buffer is not shared, not
 * aligned to pages, empty or not all there. Otherwise R10 is success, and the buffer has a status.
 * With a quote it takes 80,000 instructions. */
bool tdx_get_quote(const struct tdx_reporter *reporter, const struct td *td,
                   const struct tdx_memory *memory, bool available, uint64_t gpa,
                   uint64_t size) MUST_CHECK;
