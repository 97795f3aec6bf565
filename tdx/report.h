/* SPDX-License-Identifier: MIT */
/*
 * TDREPORTs, and the three leaves of TDCALL about them: MR.REPORT (4), MR.VERIFYREPORT (22) and
 * MR.RTMR.EXTEND (2), as version 1.5.01 of the TDX module answers them.
 *
 * A report says what a TD is (its attributes, MRTD, RTMRs) and on which software it runs, with 64
 * bytes that the TD chose. A MAC binds all of it to this machine and boot, because the key is made
 * anew at each boot and never leaves the hypervisor. The key, and everything else that the reports
 * of all TDs have in common, is a `struct tdx_reporter`. The report's format is Intel's, but nobody
 * can mistake it for one of Intel's module: MRSEAM and MRSIGNERSEAM are text that says what it is,
 * and CPUSVN is zero.
 *
 * Pure: the TD's memory is reached through `struct tdx_memory`.
 */
#pragma once

#include "tdx/measure.h"
#include "tdx/td.h"

#define TDX_REPORT_SIZE     1024 /* and its alignment in guest memory */
#define TDX_REPORT_MAC_SIZE 256  /* REPORTMACSTRUCT's, and its alignment */
#define TDX_REPORT_DATA     64   /* bytes that the TD chooses; their alignment */

/* REPORTMACSTRUCT: what the MAC protects. */
struct tdx_report_mac {
    uint8_t type, subtype, version, reserved_type;
    uint8_t reserved_0[12];
    uint8_t cpusvn[16];
    uint8_t tee_tcb_info_hash[SHA384_SIZE];
    uint8_t tee_info_hash[SHA384_SIZE];
    uint8_t report_data[TDX_REPORT_DATA];
    uint8_t reserved_1[32];
    uint8_t mac[32];
};

/* TEE_TCB_INFO: the software below the TD. */
struct tdx_tcb_info {
    uint64_t valid; /* bit n: the 8 bytes at offset 8 * n have a value */
    uint8_t tee_tcb_svn[16];
    uint8_t mrseam[SHA384_SIZE];
    uint8_t mrsignerseam[SHA384_SIZE];
    uint64_t attributes;
    uint8_t tee_tcb_svn2[16];
    uint8_t reserved[112]; /* the structure ends 17 bytes before, where its hash ends */
};

#define TDX_TCB_INFO_HASHED 239

/* TDINFO_STRUCT: the TD. */
struct tdx_td_info {
    uint64_t attributes, xfam;
    uint8_t mrtd[SHA384_SIZE];
    uint8_t mrconfigid[SHA384_SIZE];
    uint8_t mrowner[SHA384_SIZE];
    uint8_t mrownerconfig[SHA384_SIZE];
    uint8_t rtmr[TDX_RTMRS][SHA384_SIZE];
    uint8_t servtd_hash[SHA384_SIZE];
    uint8_t reserved[64];
};

/* TDREPORT_STRUCT. */
struct tdx_report {
    struct tdx_report_mac mac;
    struct tdx_tcb_info tcb;
    struct tdx_td_info td;
};

/* The memory of a TD. Each function gets the address as the TD gave it, maybe with the shared bit,
 * and bytes that do not cross a page. It returns 0 or a negative errno, with nothing written. */
struct tdx_memory {
    int (*read)(void *context, gpa_t gpa, void *buffer, size_t size);
    int (*write)(void *context, gpa_t gpa, const void *buffer, size_t size);
    void *context;
};

/* The access that `struct tdx_memory` has refused. */
struct tdx_operand_fault {
    gpa_t gpa;
    bool write;
    int error; /* the negative errno */
};

/* No status of the module: the module would have left the TD, or given it a #VE, because of an EPT
 * violation at an operand. Nothing has changed, and the instruction may be executed again. */
#define TDX_OPERAND_FAULT 1ull

/* What the reports of this boot have in common. */
struct tdx_reporter {
    struct sha384_hmac key;
    struct tdx_tcb_info tcb;
    uint8_t tcb_hash[SHA384_SIZE];
};

/* `secret` are `size` bytes, at most SHA384_BLOCK, that nobody else knows. */
void tdx_reporter_init(struct tdx_reporter *reporter, const void *secret, size_t size);

/* The leaves. Operands have the names of the registers. They return what RAX gets, or
 * TDX_OPERAND_FAULT, with *fault filled. */

/* Writes a report to `rcx` with the data at `rdx`, both private or shared; `r8` is the subtype, 0.
 * TDX_OPERAND_INVALID with the operand's number: alignment, address or subtype. Ten blocks of
 * SHA-384. */
uint64_t tdx_mr_report(const struct tdx_reporter *reporter, const struct td *td,
                       const struct tdx_memory *memory, uint64_t rcx, uint64_t rdx, uint64_t r8,
                       struct tdx_operand_fault *fault) MUST_CHECK;

/* Was the REPORTMACSTRUCT at `rcx` (private) made by this reporter? TDX_INVALID_CPUSVN,
 * TDX_INVALID_REPORTMACSTRUCT: no. */
uint64_t tdx_mr_verifyreport(const struct tdx_reporter *reporter, const struct td *td,
                             const struct tdx_memory *memory, uint64_t rcx,
                             struct tdx_operand_fault *fault) MUST_CHECK;

/* Extends RTMR `rdx` with the 48 bytes at `rcx`, which is private and a multiple of 64. */
uint64_t tdx_mr_rtmr_extend(const struct td *td, const struct tdx_memory *memory, uint64_t rcx,
                            uint64_t rdx, struct tdx_operand_fault *fault) MUST_CHECK;

/* The report of a TD, without its memory. */
void tdx_report_make(const struct tdx_reporter *reporter, const struct td *td,
                     const uint8_t data[TDX_REPORT_DATA], struct tdx_report *report);

/* Is all of it as this reporter made it: the MAC, and the hashes that it protects? */
bool tdx_report_is_ours(const struct tdx_reporter *reporter, const struct tdx_report *report);
