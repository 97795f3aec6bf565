/* SPDX-License-Identifier: MIT */
/*
 * The architectural registers of a vCPU, for the layers that know nothing of the VMCS.
 *
 * While the hypervisor runs, the general registers except RSP are in gpr[], in the order of ModRM
 * encodings. All other registers are read by name: cpu_reg() reads one from the VMCS on first use
 * and caches it until the next entry, so that each path pays only for the registers that it needs.
 * cpu_gpr() reads a general register by number, which may be RSP's. vmx/regs.c supplies the
 * functions that are not inline, on top of the VMCS; the hosted tests supply them on top of an
 * array.
 */
#pragma once

#include "lib/compiler.h"

#include <stdbool.h>
#include <stdint.h>

enum gpr {
    GPR_RAX,
    GPR_RCX,
    GPR_RDX,
    GPR_RBX,
    GPR_RSP, /* RSP is in the VMCS; gpr[GPR_RSP] is unused */
    GPR_RBP,
    GPR_RSI,
    GPR_RDI,
    GPR_R8,
    GPR_R9,
    GPR_R10,
    GPR_R11,
    GPR_R12,
    GPR_R13,
    GPR_R14,
    GPR_R15,
    GPR_COUNT,
};

/* Segment registers in the order that instructions encode them. */
enum segment {
    SEG_ES,
    SEG_CS,
    SEG_SS,
    SEG_DS,
    SEG_FS,
    SEG_GS,
    SEG_COUNT,
    /* Registers of system segments, which no instruction encodes so. */
    SEG_LDTR = SEG_COUNT,
    SEG_TR,
    SEG_ALL,
};

enum cpu_reg {
    REG_RIP,
    REG_RSP,
    REG_RFLAGS,
    REG_CR0, /* as the guest reads it, with the read shadow applied */
    REG_CR3,
    REG_CR4, /* as the guest reads it, with the read shadow applied */
    REG_EFER,
    REG_PDPTE0, /* PAE paging uses these and does not read the PDPTEs in memory */
    REG_PDPTE1,
    REG_PDPTE2,
    REG_PDPTE3,
    REG_PKRU,
    REG_DR7,
    REG_SEG_BASE,                            /* + enum segment */
    REG_SEG_LIMIT = REG_SEG_BASE + SEG_ALL,  /* + enum segment; in bytes, G applied */
    REG_SEG_AR = REG_SEG_LIMIT + SEG_ALL,    /* + enum segment; VMX format: bit 16 unusable */
    REG_SEG_SELECTOR = REG_SEG_AR + SEG_ALL, /* + enum segment */
    REG_GDTR_BASE = REG_SEG_SELECTOR + SEG_ALL,
    REG_IDTR_BASE,
    REG_GDTR_LIMIT,
    REG_IDTR_LIMIT,
    REG_COUNT,
};

/* Access rights in VMX format (SDM 3, 25.4.1). */
#define SEG_AR_TYPE     0x0000fu
#define SEG_AR_S        0x00010u
#define SEG_AR_DPL      0x00060u
#define SEG_AR_P        0x00080u
#define SEG_AR_L        0x02000u
#define SEG_AR_DB       0x04000u
#define SEG_AR_G        0x08000u
#define SEG_AR_UNUSABLE 0x10000u

struct cpu_regs {
    uint64_t gpr[GPR_COUNT + 1]; /* the last element is always 0, for "no register" */
    uint64_t known;              /* bit n: value[n] is valid */
    uint64_t value[REG_COUNT];

    /* A generation count in steps of REGIME_STEP. It advances whenever the hypervisor changes what
     * addresses mean: when it sets CR0, CR4 or EFER, and at TLB flushes that exit. While it is
     * unchanged, the bits of these registers on which translations depend are unchanged, too;
     * except CR0.WP, which the guest may be able to change without an exit. */
    uint64_t regime;
};
#define REGIME_STEP (1ull << 20)
_Static_assert(REG_COUNT <= 64, "one bit each in `known`");

/* Reads a register that is not cached, and caches it. Supplied by vmx/regs.c. */
uint64_t cpu_reg_load(struct cpu_regs *cpu, enum cpu_reg reg);

static inline uint64_t cpu_reg(struct cpu_regs *cpu, enum cpu_reg reg)
{
    return likely(cpu->known >> reg & 1) ? cpu->value[reg] : cpu_reg_load(cpu, reg);
}

/* Reads RIP, RFLAGS, CR3 and the access rights of CS together, because the emulation of nearly
 * every access needs them. Supplied by vmx/regs.c. */
void cpu_reg_load_usual(struct cpu_regs *cpu);

/* Sets a register and its cached value. Supplied by vmx/regs.c. */
void cpu_set_reg(struct cpu_regs *cpu, enum cpu_reg reg, uint64_t value);

/* Completes an instruction: sets RIP to `next`, and clears RF if it is set in `rflags`, the value
 * of RFLAGS. The cached values are set, too. Supplied by vmx/regs.c. */
void cpu_complete(struct cpu_regs *cpu, uint64_t next, uint64_t rflags);

/* Caches the registers of cpu_reg_load_usual() for a caller that has already read them. */
static inline void cpu_know_usual(struct cpu_regs *cpu, uint64_t rip, uint64_t rflags, uint64_t cr3,
                                  uint64_t cs_rights)
{
    cpu->value[REG_RIP] = rip;
    cpu->value[REG_RFLAGS] = rflags;
    cpu->value[REG_CR3] = cr3;
    cpu->value[REG_SEG_AR + SEG_CS] = cs_rights;
    cpu->known |=
        1ull << REG_RIP | 1ull << REG_RFLAGS | 1ull << REG_CR3 | 1ull << (REG_SEG_AR + SEG_CS);
}

static inline uint64_t cpu_gpr(struct cpu_regs *cpu, unsigned gpr)
{
    return unlikely(gpr == GPR_RSP) ? cpu_reg(cpu, REG_RSP) : cpu->gpr[gpr];
}

static inline void cpu_set_gpr(struct cpu_regs *cpu, unsigned gpr, uint64_t value)
{
    if (unlikely(gpr == GPR_RSP))
        cpu_set_reg(cpu, REG_RSP, value);
    else
        cpu->gpr[gpr] = value;
}

/* The current privilege level: the DPL of SS (SDM 3, 25.4.1). */
static inline unsigned cpu_cpl(struct cpu_regs *cpu)
{
    return (unsigned)(cpu_reg(cpu, REG_SEG_AR + SEG_SS) & SEG_AR_DPL) >> 5;
}

/* The bits of RFLAGS on which the effect of the instruction at RIP depends (besides memory and the
 * other registers): TF and AC. RF is not one of them, because the CPU sets it as it exits. */
#define CPU_STATE_RFLAGS 0x40100u

/* Combines the regime with the relevant bits of CS and RFLAGS in one value. Together with CR3 and
 * CR0.WP it determines how the instruction at RIP executes. */
static inline uint64_t cpu_mode(const struct cpu_regs *cpu, uint64_t rflags, uint64_t cs_rights)
{
    _Static_assert(!(CPU_STATE_RFLAGS & 0x1f0ff) && CPU_STATE_RFLAGS < REGIME_STEP,
                   "the bits overlap neither the access rights nor the count");
    return ((rflags & CPU_STATE_RFLAGS) | cs_rights) + cpu->regime;
}
