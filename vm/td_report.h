/* SPDX-License-Identifier: MIT */
/*
 * The leaves of TDCALL about reports (tdx/report.h) for a VM: its memory, and the key of this boot.
 *
 * The leaves return what RAX gets, or TDX_OPERAND_FAULT, with *fault filled: `gpa` is as the TD gave
 * it. They are called on a pCPU that runs a vCPU of the VM, within an epoch.
 */
#pragma once

#include "tdx/report.h"

struct vm;

/* Makes the key of this boot, with a message that says of what, unless it exists. Called when a TD
 * is created. */
void td_reporter_prepare(void);

uint64_t td_mr_report(struct vm *vm, uint64_t rcx, uint64_t rdx, uint64_t r8,
                      struct tdx_operand_fault *fault) MUST_CHECK;
uint64_t td_mr_verifyreport(struct vm *vm, uint64_t rcx,
                            struct tdx_operand_fault *fault) MUST_CHECK;
uint64_t td_mr_rtmr_extend(struct vm *vm, uint64_t rcx, uint64_t rdx,
                           struct tdx_operand_fault *fault) MUST_CHECK;

/* The lines of the VM's report about what it was measured as. */
void td_report_measurements(struct vm *vm);
