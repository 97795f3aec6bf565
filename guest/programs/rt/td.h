/* SPDX-License-Identifier: MIT */
/*
 * A program in a TD, a guest of Intel TDX. Such a program is an ELF64 file, which the boot shim
 * enters by Linux' 64-bit boot protocol; a program named td_* is one. The runtime prints
 * and ends the VM by TDVMCALL, so that it needs no handler of #VE.
 */
#pragma once

#include "guest/programs/rt/rt.h"
#include "guest/shim/tdcall.h"

/* Whether the program runs in a TD: by CPUID leaf 21H, as Linux finds out. */
extern bool rt_is_td;
void td_init(void);

/* Leaves of TDCALL, and of VP.VMCALL in R11 with R10 = 0. */
#define TDCALL_VMCALL 0
#define TDVMCALL_IO   0x1e /* the VMX exit reason */

/* Executes TDVMCALL, with all registers that can be passed. Returns R10, the status of the host. */
uint64_t td_vmcall(struct td_registers *registers);

/* IN and OUT of a byte, by TDVMCALL in a TD. */
void port_write(uint16_t port, uint8_t value);
uint8_t port_read(uint16_t port);
