/* SPDX-License-Identifier: MIT */
/*
 * VMCALL in the register layout of the TDX guest-hypervisor communication interface (GHCI 1.5,
 * sections 2.4 and 3): RAX = 0, RCX says which registers are exposed, R10 the kind of call, R11 the
 * leaf. For VMs that tell private from shared memory; other VMs' VMCALLs with RAX = 0 are unknown.
 *
 * Only registers that RCX exposes are read or written, and of R10 to R15, which it must expose,
 * only those that the leaf names. Rules X6 and X7. Pure.
 */
#pragma once

#include "mmio/bus.h"
#include "mmu/mmu.h"

#define GHCI_EXPOSED 0xfc00ull /* R10 to R15, by their numbers */

/* Leaves, R11. */
#define GHCI_REQUEST_MMIO 48ull
#define GHCI_GET_INFO     0x10000ull
#define GHCI_MAP_GPA      0x10001ull

/* What comes back in R10, and in RAX if RCX is not as it must be. */
#define GHCI_SUCCESS         0ull
#define GHCI_RETRY           1ull
#define GHCI_INVALID_OPERAND BIT(63)
#define GHCI_ALIGN_ERROR     (BIT(63) | 2)
#define GHCI_UNKNOWN_LEAF    (BIT(63) | 3)
#define GHCI_BAD_EXPOSURE    0xc000010000000001ull /* TDX_OPERAND_INVALID, and which: RCX */

/* What a vCPU remembers of its last RequestMMIO: that such accesses to a page are a device's. */
struct ghci_memo {
    uint64_t size, write;  /* R12 and R13 */
    uint64_t generation;   /* of the slots */
    struct bus_hint place; /* within one page */
};

struct ghci {
    uint64_t *gpr; /* 16, by their numbers */
    struct ghci_memo *memo;
    struct mmu *mmu;
    struct bus *bus;
    struct mmio_vcpu *vcpu; /* for devices */

    /* Does something wait that the guest should not be kept from? Asked between pieces. */
    bool (*interrupted)(void *context);
    void *context;
};

/* Carries out the call that stands in the registers. On its own CPU, in an epoch; holds no lock and
 * no pointer into guest memory, because conversions wait. False: another vCPU is changing the
 * slots; the caller looks around, and calls it again with the same registers. */
bool ghci_call(const struct ghci *g) MUST_CHECK;
