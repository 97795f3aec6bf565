/* SPDX-License-Identifier: MIT */
/*
 * The complete effect of MOV to CR0, CR3 and CR4, CLTS and LMSW on the registers: the checks and
 * #GPs of the SDM, IA-32e mode, the PDPTEs of PAE paging, and which part of the TLB has to be
 * flushed. Called by vm/control_regs.c for the instructions that exit. Pure.
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

/* What is left for the caller to do. From CONTROL_DONE on, each effect includes those before it. */
enum control_effect {
    CONTROL_FAULT,         /* #GP(0): nothing has changed */
    CONTROL_DONE,          /* no translation depends on what has changed */
    CONTROL_FORGET,        /* cached walks are dropped; the CPU's TLB keeps its entries */
    CONTROL_FLUSH,         /* the TLB is flushed, except for global pages */
    CONTROL_FLUSH_GLOBALS, /* the TLB is flushed with the global pages */
};

/* A value with reserved bits set, also among bits 63:32, returns CONTROL_FAULT. The caller is in an
 * epoch, because PDPTEs are read from the guest's memory. */
enum control_effect control_set_cr0(const struct control_rules *rules, uint64_t value) MUST_CHECK;
enum control_effect control_set_cr3(const struct control_rules *rules, uint64_t value) MUST_CHECK;
enum control_effect control_set_cr4(const struct control_rules *rules, uint64_t value) MUST_CHECK;
enum control_effect control_lmsw(const struct control_rules *rules, uint16_t word) MUST_CHECK;

/* WRMSR of IA32_EFER. The value's LMA bit is ignored, because LMA follows CR0.PG. LME cannot change
 * while paging is on. */
enum control_effect control_set_efer(const struct control_rules *rules, uint64_t value) MUST_CHECK;
