/* SPDX-License-Identifier: MIT */
/*
 * VMCALL in the register layout of the TDX guest-hypervisor communication interface (GHCI 1.5,
 * sections 2.4 and 3): RAX = 0, RCX says which registers are exposed, R10 the kind of call, R11 the
 * leaf. Only VMs that distinguish private from shared memory have these calls. In other VMs, RAX =
 * 0 is an unknown hypercall.
 *
 * Only registers that RCX exposes are read or written. RCX must expose R10 to R15, but only those
 * that the leaf names are accessed (rules X6 and X7). Pure.
 */
#pragma once

#include "mmio/bus.h"
#include "mmu/mmu.h"

#define GHCI_EXPOSED 0xfc00ull /* R10 to R15, by their numbers */

/* Leaves, R11. */
#define GHCI_REQUEST_MMIO 48ull
#define GHCI_GET_INFO     0x10000ull
#define GHCI_MAP_GPA      0x10001ull

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
    uint64_t size, write;  /* R12 and R13 */
    uint64_t generation;   /* of the slots */
    struct bus_hint range; /* within one page */
};

struct ghci {
    uint64_t *gpr; /* 16, by their numbers */
    struct ghci_replay *replay;
    struct mmu *mmu;
    struct bus *bus;
    struct mmio_vcpu *vcpu; /* the vCPU that calls, for devices */

    /* Returns true if something waits that a long call must not delay. Called between pieces. */
    bool (*interrupted)(void *context);
    void *context;
};

/* Executes the call that the registers describe. The caller is in an epoch, and holds no lock and
 * no pointer into guest memory, because a conversion waits for other CPUs. Returns false, and
 * changes no register, if another vCPU is changing the slots: the caller attends to what is pending
 * and calls again with the same registers. */
bool ghci_call(const struct ghci *g) MUST_CHECK;
