/* SPDX-License-Identifier: MIT */
/*
 * The leaves of TDCALL about reports (tdx/report.h) for a VM: its memory, and the key of this boot.
 *
 * They are called on a pCPU that runs a vCPU of the VM, within an epoch.
 */
#pragma once

#include "tdx/report.h"

struct vm;

/* Makes the key of this boot, with a message that says of what, unless it exists. Called when a TD
 * is created. */
void td_reporter_prepare(void);

/* The leaves. They return what RAX gets, or TDX_OPERAND_FAULT, with *fault filled: `gpa` is as the
 * TD gave it. */
uint64_t td_mr_report(struct vm *vm, uint64_t rcx, uint64_t rdx, uint64_t r8,
                      struct tdx_operand_fault *fault) MUST_CHECK;
uint64_t td_mr_verifyreport(struct vm *vm, uint64_t rcx,
                            struct tdx_operand_fault *fault) MUST_CHECK;
uint64_t td_mr_rtmr_extend(struct vm *vm, uint64_t rcx, uint64_t rdx,
                           struct tdx_operand_fault *fault) MUST_CHECK;

/* GetQuote (tdx/quote.h): the shared buffer has `size` bytes at `gpa`, with the shared bit. Returns
 * false if R12 or R13 are invalid operands. */
bool td_get_quote(struct vm *vm, uint64_t gpa, uint64_t size) MUST_CHECK;

/* Writes what a TD was measured as into the VM's report, unless it has measure=0: MRTD, and the
 * RTMRs that were extended. */
void td_report_measurements(struct vm *vm);
