/* SPDX-License-Identifier: MIT */
/*
 * The registers after INIT (SDM 3, table 10-1), with which a start-up IPI lets a CPU begin. State
 * that the table leaves unchanged is not touched here: CR0.CD and CR0.NW, the x87, SSE and AVX
 * state, XCR0 and IA32_XSS, the TSC, the caches, and all MSRs except IA32_EFER and the bases of FS
 * and GS. Pure.
 */
#pragma once

#include "vmx/extra_state.h"
#include "arch/x86/regs.h"

#define DR6_RESET 0xffff0ff0u
#define DR7_RESET 0x400u
#define LIMIT_64K 0xffffu
#define AR_TSS32  (0xbu | SEG_AR_P) /* busy, as VM entry requires */

/* Writes a field of the current VMCS. */
typedef void (*vmcs_writer)(uint32_t field, uint64_t value);

/* `signature` is CPUID.1:EAX, the value of EDX after INIT. `vector` is the start-up IPI's:
 * real-mode code begins in the page with that number. All registers that were cached in `cpu` are
 * discarded. */
void init_state(struct cpu_regs *cpu, struct extra_state *extra, uint32_t signature, uint8_t vector,
                vmcs_writer write);
