/* SPDX-License-Identifier: MIT */
/*
 * TDCALL: what the TDX module answers to a TD, leaf by leaf (ABI specification, "Guest-Side
 * (TDCALL) Interface Functions"; version 1.5). docs/TDX.md is the table of leaves. Pure: the
 * functions of struct tdcall_host access memory.
 */
#pragma once

#include "arch/x86/regs.h"
#include "lib/compiler.h"
#include "tdx/td.h"

/* The leaves, RAX[15:0]. RAX[23:16] is the version. */
enum tdcall_leaf {
    TDCALL_VP_VMCALL = 0,
    TDCALL_VP_INFO = 1,
    TDCALL_MR_RTMR_EXTEND = 2,
    TDCALL_VP_VEINFO_GET = 3,
    TDCALL_MR_REPORT = 4,
    TDCALL_VP_CPUIDVE_SET = 5,
    TDCALL_MEM_PAGE_ACCEPT = 6,
    TDCALL_VM_RD = 7,
    TDCALL_VM_WR = 8,
    TDCALL_VP_RD = 9,
    TDCALL_VP_WR = 10,
    TDCALL_SYS_RD = 11,
    TDCALL_MR_VERIFYREPORT = 22,
    TDCALL_MEM_PAGE_ATTR_RD = 23,
    TDCALL_MEM_PAGE_ATTR_WR = 24,
};

/* The registers that VP.VMCALL may expose: not RAX, RCX and RSP. The high half are XMM registers,
 * which nobody here looks at. */
#define TDVMCALL_EXPOSABLE (0xffff0000ull | (0xffffull & ~(BIT(0) | BIT(1) | BIT(4))))

/* What tdcall() leaves to do. */
enum tdcall_next {
    TDCALL_COMPLETE, /* the registers hold the answer: the instruction is complete */
    TDCALL_VMCALL,   /* complete the instruction, then call the VMM with the registers of RCX */
    TDCALL_REPEAT,   /* no register has changed: the instruction is executed again */
    TDCALL_END,      /* the TD has been stopped */
};

/* A private page as PAGE.ATTR.RD describes it. */
struct tdcall_page {
    unsigned level; /* 0: 4 KiB, 1: 2 MiB, 2: 1 GiB */
    bool pending;
};

/* Results of the functions below that are no status: the instruction is to be executed again, or
 * the TD has been stopped, because it may not do this with the page. */
#define TDCALL_STATUS_REPEAT (~0ull)
#define TDCALL_STATUS_END    (~0ull - 1)

/* What tdcall() needs of the VM. Each function returns the leaf's status. */
struct tdcall_host {
    void *context;

    /* PAGE.ACCEPT of an aligned private page. The status has a level in bits 31:0 if it is no
     * success: that of the page if it was accepted before, else the one asked for. */
    uint64_t (*accept)(void *context, gpa_t gpa, unsigned level);

    /* Describes the page at a private address. */
    uint64_t (*page)(void *context, gpa_t gpa, struct tdcall_page *page);

    /* MR.REPORT, MR.VERIFYREPORT and MR.RTMR.EXTEND, with the registers as the TD gave them. */
    uint64_t (*report)(void *context, uint64_t rcx, uint64_t rdx, uint64_t r8);
    uint64_t (*verify_report)(void *context, uint64_t rcx);
    uint64_t (*rtmr_extend)(void *context, uint64_t rcx, uint64_t rdx);
};

/* Executes the leaf that the registers describe. Only the registers that the leaf's description
 * names as outputs change, and RAX. */
enum tdcall_next tdcall(struct td_vcpu *vcpu, uint64_t *gpr,
                        const struct tdcall_host *host) MUST_CHECK;
