/* SPDX-License-Identifier: MIT */
/*
 * The calls of the TDX guest-hypervisor communication interface (GHCI 1.5, sections 2.4 and 3).
 * RAX = 0, RCX says which registers are exposed, R10 the kind of call, R11 the leaf. A TD calls by
 * TDCALL. A VM that is no TD, but distinguishes private from shared memory, calls by VMCALL, and
 * has the leaves RequestMMIO, MapGPA and GetTdVmCallInfo. In other VMs, RAX = 0 is an unknown
 * hypercall.
 *
 * A register that RCX does not expose is 0 for the leaves, and does not change (rules X6 and X7).
 * Pure.
 */
#pragma once

#include "mmio/bus.h"
#include "mmu/mmu.h"

/* Leaves, R11. Those below 65536 are VMX exit reasons. */
#define GHCI_REQUEST_MMIO                 48ull
#define GHCI_GET_INFO                     0x10000ull
#define GHCI_MAP_GPA                      0x10001ull
#define GHCI_GET_QUOTE                    0x10002ull /* from here on TDs only: vm/td_vmcall.c */
#define GHCI_REPORT_FATAL_ERROR           0x10003ull
#define GHCI_SETUP_EVENT_NOTIFY_INTERRUPT 0x10004ull

/* Completion codes. They are returned in R10; GHCI_BAD_EXPOSURE, for an invalid RCX, in RAX. */
#define GHCI_SUCCESS         0ull
#define GHCI_RETRY           1ull
#define GHCI_INVALID_OPERAND BIT(63)
#define GHCI_ALIGN_ERROR     (BIT(63) | 2)
#define GHCI_UNKNOWN_LEAF    (BIT(63) | 3)
#define GHCI_BAD_EXPOSURE    0xc000010000000001ull /* TDX_OPERAND_INVALID: operand 1, RCX */

/* The replay entry of a vCPU's last RequestMMIO. An access of this size and direction inside the
 * range goes to the device of the range, as long as the generation of the slots and the sequence of
 * the bus stay the same. */
struct ghci_replay {
    uint64_t exposed;      /* RCX */
    uint64_t size, write;  /* R12 and R13 */
    uint64_t generation;   /* of the slots */
    struct bus_hint range; /* within one page */
};

/* What a TD has beyond other VMs. */
struct ghci_td {
    /* The leaves beyond those of vm/ghci.c, on the registers that are exposed; returns the
     * completion code for R10. */
    uint64_t (*more)(void *context, uint64_t *gpr);

    /* mmu_convert(), and what has to be noted of it. */
    int64_t (*convert)(void *context, gpa_t gpa, uint64_t pages, bool shared);
};

struct ghci {
    uint64_t *gpr; /* 16, by their numbers */
    struct ghci_replay *replay;
    struct mmu *mmu;
    struct bus *bus;
    struct mmio_vcpu *vcpu; /* the vCPU that calls, for devices */

    /* Returns true if something waits that a long call must not delay. Called between pieces. */
    bool (*interrupted)(void *context);

    const struct ghci_td *td; /* what is different in a TD; NULL: it is none */
    void *context;
};

/* Executes the call that the registers describe. The caller is in an epoch, and holds no lock and
 * no pointer into guest memory, because a conversion waits for other CPUs. Returns false, and
 * changes no register, if another vCPU is changing the slots: the caller attends to what is pending
 * and calls again with the same registers. */
bool ghci_call(const struct ghci *g) MUST_CHECK;
