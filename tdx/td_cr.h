/* SPDX-License-Identifier: MIT */
/*
 * Control registers in a TD: the bits that the module owns, and what a write that changes one of
 * them is (Intel TDX Module 1.5 base architecture specification, 348549, "CR Handling"). Pure.
 */
#pragma once

#include "tdx/access.h"
#include "tdx/td.h"

/* Bits that a TD's vCPU starts with, and that it sees as 1 all the time. */
#define TDX_CR0_FIXED (CR0_PE | CR0_NE)
#define TDX_CR4_FIXED CR4_MCE

/* Bits of the guest/host masks: a MOV that gives one of them another value than the guest sees is
 * an exit. */
uint64_t tdx_cr0_owned(void);
uint64_t tdx_cr4_owned(const struct td *td);

/* What a MOV to CR0 or CR4 of this value is. TDX_DIRECT: it is executed as outside of a TD, with
 * all checks of the SDM. `cr4_offered`: the bits of CR4 that are not reserved for this guest. */
enum tdx_access tdx_cr0_write(uint64_t value);
enum tdx_access tdx_cr4_write(const struct td *td, uint64_t old, uint64_t value,
                              uint64_t cr4_offered);
