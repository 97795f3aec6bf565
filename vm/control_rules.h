/* SPDX-License-Identifier: MIT */
/*
 * What MOV to CR0, CR3 and CR4, CLTS and LMSW do to the registers, in full: the checks and #GPs of
 * the SDM, IA-32e mode, the PDPTEs of PAE paging, and what of the TLB goes. Called by
 * vm/control_regs.c for those that exit. Pure.
 */
#pragma once

#include "lib/compiler.h"
#include "mmu/mmu.h"
#include "arch/x86/regs.h"

struct control_rules {
    struct cpu_regs *cpu;
    struct mmu *mmu;      /* the memory that PDPTEs are loaded from */
    uint64_t cr4_offered; /* the bits of CR4 that are not reserved for this guest */
    unsigned maxphyaddr;
    uint64_t tr_rights; /* TR's access rights, in the VMCS's format */
};

/* What is left to the caller, each more than the one before. */
enum control_effect {
    CONTROL_FAULT,         /* #GP(0): nothing has changed */
    CONTROL_DONE,          /* no translation depends on what has changed */
    CONTROL_FORGET,        /* what is remembered of walks goes; the CPU's TLB keeps what it has */
    CONTROL_FLUSH,         /* the TLB goes too, but for global pages */
    CONTROL_FLUSH_GLOBALS, /* with those */
};

/* A value with reserved bits, also above bit 31, faults. All need an epoch, for the PDPTEs. */
enum control_effect control_set_cr0(const struct control_rules *rules, uint64_t value) MUST_CHECK;
enum control_effect control_set_cr3(const struct control_rules *rules, uint64_t value) MUST_CHECK;
enum control_effect control_set_cr4(const struct control_rules *rules, uint64_t value) MUST_CHECK;
enum control_effect control_lmsw(const struct control_rules *rules, uint16_t word) MUST_CHECK;

/* WRMSR of IA32_EFER. LMA follows CR0.PG and is not written; what LME decides is fixed while paging
 * is on. */
enum control_effect control_set_efer(const struct control_rules *rules, uint64_t value) MUST_CHECK;
