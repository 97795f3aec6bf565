/*
 * The registers after an INIT (SDM 3, table 10-1), where a start-up IPI lets the CPU begin. What
 * the table leaves unchanged is not named here: CR0.CD and CR0.NW, the x87, SSE and AVX state, XCR0
 * and IA32_XSS, the TSC, the caches, and all MSRs but IA32_EFER and the bases of FS and GS. Pure.
 */
#pragma once

#include "vmx/extra_state.h"
#include "arch/x86/regs.h"

#define DR6_RESET 0xffff0ff0u
#define DR7_RESET 0x400u
#define LIMIT_64K 0xffffu
#define AR_TSS32  (0xbu | SEG_AR_P) /* busy, as VMX wants it */

/* Writes a field of the loaded VMCS. */
typedef void (*vmcs_writer)(uint32_t field, uint64_t value);

/* `signature` is CPUID.1:EAX, which EDX holds afterwards. `vector` is the start-up IPI's: real-mode
 * code begins at its page. Registers that `cpu` knows are to be read again. */
void init_state(struct cpu_regs *cpu, struct extra_state *extra, uint32_t signature, uint8_t vector,
                vmcs_writer write);
