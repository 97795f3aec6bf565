/* SPDX-License-Identifier: MIT */
/*
 * The flush ledger (decision D8): who still owes the TLB what.
 *
 * A CPU keeps translations across VM exits and entries until INVEPT (rule T3). The one function
 * that stores SPTEs calls tlb_owe() when a change makes a cached translation wrong. From then on
 * every VM entry with that EPTP has to pay, by INVEPT, before the guest runs. Outside of the guest
 * a stale translation harms nobody, so a pCPU that changes tables need not flush its own TLB then
 * and there: it pays when it enters. Others may be in the guest right now; tlb_sync() makes them
 * leave it. A debt is thus the flush request (rule T1), and being out of the guest or having paid
 * is the answer.
 *
 * INVEPT and INVVPID are called from tlb.c and from nowhere else, and counted by reason.
 */
#pragma once

#include "ept/invalidate.h"
#include "lib/assert.h"
#include "lib/epoch.h"
#include "mmu/types.h"

struct tlb_cpu {
    struct mmu *running; /* in whose guest this pCPU is, or is about to be; NULL: in neither */
    uint64_t entered;    /* the debt number of its last entry; 0: none. Its own */
} __attribute__((aligned(64)));
extern struct tlb_cpu tlb_cpus[CPUS_MAX];

/* Before a new EPTP is used for the first time. */
void tlb_ledger_init(struct mmu *mmu);

/* Records that cached translations of this EPTP have become wrong, and why. Debts only grow, so
 * that waiting for one is waiting for all before it. The reason is there before the debt: a flush
 * that pays the debt names it, unless another one did that was made at the same moment. */
static inline void tlb_owe(struct mmu *mmu, enum debt_reason reason)
{
    uint64_t next = __atomic_load_n(&mmu->tlb.debt, __ATOMIC_RELAXED) + 1;
    __atomic_store_n(&mmu->tlb.newest[reason], next, __ATOMIC_RELAXED);
    __atomic_add_fetch(&mmu->tlb.debt, 1, __ATOMIC_SEQ_CST);
}

static inline uint64_t tlb_debt(const struct mmu *mmu)
{
    return __atomic_load_n(&mmu->tlb.debt, __ATOMIC_SEQ_CST);
}

/* The slow half of tlb_enter(). */
void tlb_pay_debt(struct mmu *mmu, unsigned pcpu);

/* This pCPU's parts, for an exit path that has no instruction to spare. */
struct tlb_place {
    struct tlb_cpu *tlb;
    struct epoch_cpu *epoch;
};

static inline struct tlb_place tlb_place(uint64_t pcpu)
{
    return (struct tlb_place){&tlb_cpus[pcpu], &epoch_cpus[pcpu]};
}

/* The first half of tlb_enter(), and all of it where nothing is owed. False: then tlb_pay_debt()
 * has to come next, and epoch_pass() with *epoch. */
static ALWAYS_INLINE bool tlb_enter_paid(struct mmu *mmu, struct tlb_place place, uint64_t *epoch)
{
    *epoch = epoch_now();
    (void)__atomic_exchange_n(&place.tlb->running, mmu, __ATOMIC_SEQ_CST);
    if (unlikely(tlb_debt(mmu) != place.tlb->entered))
        return false;
    epoch_pass_at(place.epoch, *epoch);
    return true;
}

/* On every VM entry, after the last change of SPTEs and before the guest runs: pays what this pCPU
 * owes for the EPTP, which includes having entered with another one last (rule T5). The exchange
 * orders "I am in the guest" before the look at the debt, so either a tlb_sync() sees this pCPU
 * running or this pCPU sees the debt. Passes the epoch that was current at the start: whoever
 * waits for it knows that this pCPU holds no pointer from before, and no translation either. True
 * if it paid: then what goes with the debt has to be looked at, too (mmu_wants_pml()). */
static inline bool tlb_enter(struct mmu *mmu, uint64_t pcpu)
{
    uint64_t epoch;
    if (likely(tlb_enter_paid(mmu, tlb_place(pcpu), &epoch)))
        return false;
    tlb_pay_debt(mmu, (unsigned)pcpu);
    epoch_pass(pcpu, epoch);
    return true;
}

/* After the exit, once what the CPU wrote on behalf of the guest (PML) has been read. */
static inline void tlb_leave_at(struct tlb_place place)
{
    __atomic_store_n(&place.tlb->running, NULL, __ATOMIC_RELEASE);
}

static inline void tlb_leave(uint64_t pcpu)
{
    tlb_leave_at(tlb_place(pcpu));
}

/* Right before VMLAUNCH and VMRESUME: entering with a debt is a BUG. */
static inline void tlb_assert_paid(const struct mmu *mmu, unsigned pcpu)
{
    BUG_ON(tlb_cpus[pcpu].entered != tlb_debt(mmu));
}

/* Returns when no pCPU can use a translation of this EPTP that was removed before the call: each is
 * out of the guest or has paid. The caller may hold mmu->lock: whom it waits for holds nothing. */
void tlb_sync(struct mmu *mmu);

/* Returns when none of the pCPUs that are online for the owner, a VM's `struct mmu`, holds a
 * pointer or a translation from before the call. The caller holds no lock of mmu/ but slots_lock,
 * and no pointer. */
void tlb_wait_epoch(const void *owner);

/* A VPID that no other vCPU has, clean of translations, or 0 when all are taken: then the vCPU must
 * run with VPIDs off (rule T3). Executes INVVPID: VMX operation must be on. */
uint16_t tlb_vpid_alloc(struct mmu *mmu);
void tlb_vpid_free(uint16_t vpid);

/* INVVPID of at least the asked type: a type that the CPU lacks is replaced by a wider one, and so
 * is INVVPID_ADDRESS of an address that is not canonical, which the instruction would refuse.
 * `address` counts for INVVPID_ADDRESS only. VPID 0, VPIDs off, is ignored. */
void tlb_invvpid(struct mmu *mmu, unsigned type, uint16_t vpid, gva_t address,
                 enum invvpid_reason reason);
