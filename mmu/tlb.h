/* SPDX-License-Identifier: MIT */
/*
 * The flush ledger (decision D8): which TLB flushes are owed, by which pCPU.
 *
 * A CPU keeps translations across VM exits and entries until INVEPT (rule T3). The one function
 * that stores SPTEs calls tlb_owe() when a change makes cached translations wrong. From then on
 * each pCPU has to pay the debt, by INVEPT, before it enters the guest with that EPTP again. A
 * stale translation does no harm outside of the guest, so a pCPU that changes tables does not flush
 * its TLB immediately: it pays at its next entry. Other pCPUs may be in the guest at that moment;
 * tlb_sync() makes them exit. A debt is thus the flush request (rule T1), and a pCPU has answered
 * it when it is out of the guest or has paid.
 *
 * tlb.c is the only file that executes INVEPT and INVVPID. They are counted by reason.
 */
#pragma once

#include "ept/invalidate.h"
#include "lib/assert.h"
#include "lib/epoch.h"
#include "mmu/types.h"

struct tlb_cpu {
    struct mmu *running; /* MMU of the guest that the pCPU runs or is about to enter, else NULL */
    uint64_t entered;    /* debt number at its last entry, else 0; accessed by this pCPU only */
} __attribute__((aligned(64)));
extern struct tlb_cpu tlb_cpus[CPUS_MAX];

/* Called before a new EPTP is used for the first time. */
void tlb_ledger_init(struct mmu *mmu);

/* Records that cached translations of this EPTP have become wrong, and why. Debt numbers only grow,
 * so whoever waits for a debt to be paid waits for all earlier ones, too. The reason is stored
 * before the debt, so the flush that pays the debt counts the reason; of two debts that are made at
 * the same moment, both reasons may be counted for the first payment. */
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

/* Has a debt been made for this reason since a pCPU paid the debt `paid`? */
static inline bool tlb_reason_is_owed(const struct mmu *mmu, unsigned reason, uint64_t paid)
{
    return __atomic_load_n(&mmu->tlb.newest[reason], __ATOMIC_RELAXED) > paid;
}

/* The slow path of tlb_enter(). */
void tlb_pay_debt(struct mmu *mmu, unsigned pcpu);

/* The pCPU's own variables, looked up once for the hot exit paths. */
struct tlb_place {
    struct tlb_cpu *tlb;
    struct epoch_cpu *epoch;
};

static inline struct tlb_place tlb_place(uint64_t pcpu)
{
    return (struct tlb_place){&tlb_cpus[pcpu], &epoch_cpus[pcpu]};
}

/* The fast path of tlb_enter(). Returns false if a debt is owed: then the caller calls
 * tlb_pay_debt(), and epoch_pass() with *epoch. */
static ALWAYS_INLINE bool tlb_enter_paid(struct mmu *mmu, struct tlb_place place, uint64_t *epoch)
{
    *epoch = epoch_now();
    (void)__atomic_exchange_n(&place.tlb->running, mmu, __ATOMIC_SEQ_CST);
    if (unlikely(tlb_debt(mmu) != place.tlb->entered))
        return false;
    epoch_pass_at(place.epoch, *epoch);
    return true;
}

/* Called before every VM entry, after the pCPU's last change of SPTEs. Pays the debt that this pCPU
 * owes for the EPTP; a pCPU whose last entry was with another EPTP owes a flush as well (rule T5).
 * The exchange makes "this pCPU is in the guest" visible before the debt is read, so either a
 * concurrent tlb_sync() sees this pCPU running, or this pCPU sees the debt. Passes the epoch that
 * was current at the start: from then on this pCPU holds neither pointers nor translations from
 * before. Returns true if it paid; then the caller checks what depends on the debt
 * (mmu_wants_pml()). */
static inline bool tlb_enter(struct mmu *mmu, uint64_t pcpu)
{
    uint64_t epoch;
    if (likely(tlb_enter_paid(mmu, tlb_place(pcpu), &epoch)))
        return false;
    tlb_pay_debt(mmu, (unsigned)pcpu);
    epoch_pass(pcpu, epoch);
    return true;
}

/* Called after the exit, when the entries that the CPU has written to the PML buffer have been
 * read. */
static inline void tlb_leave_at(struct tlb_place place)
{
    __atomic_store_n(&place.tlb->running, NULL, __ATOMIC_RELEASE);
}

static inline void tlb_leave(uint64_t pcpu)
{
    tlb_leave_at(tlb_place(pcpu));
}

/* Called right before VMLAUNCH and VMRESUME: an entry that owes a debt is a BUG. */
static inline void tlb_assert_paid(const struct mmu *mmu, unsigned pcpu)
{
    BUG_ON(tlb_cpus[pcpu].entered != tlb_debt(mmu));
}

/* Returns when no pCPU can use a translation of this EPTP that was removed before the call: each
 * one is out of the guest or has paid. The caller may hold mmu->lock, because the pCPUs for which
 * it waits are in the guest and hold no lock. */
void tlb_sync(struct mmu *mmu);

/* The condition for which tlb_sync() waits: no pCPU uses a translation from before the debt. This
 * pCPU is out of the guest. */
bool tlb_is_paid(const struct mmu *mmu, uint64_t debt);

/* Returns when no pCPU that is online for the owner, a VM's `struct mmu`, holds a pointer or a
 * translation from before the call. The caller holds no lock of mmu/ but slots_lock, and no
 * pointer. */
void tlb_wait_epoch(const void *owner);

/* Allocates a VPID that no other vCPU has, for which the CPU caches no translations. Returns 0 if
 * none is left: then the vCPU must run with VPIDs disabled (rule T3). Executes INVVPID, so the pCPU
 * must be in VMX operation. */
uint16_t tlb_vpid_alloc(struct mmu *mmu);
void tlb_vpid_free(uint16_t vpid);

/* Executes INVVPID of at least the requested type: a type that the CPU lacks is replaced by a wider
 * one, and so is INVVPID_ADDRESS of a non-canonical address, for which the instruction would fail.
 * `address` matters for INVVPID_ADDRESS only. VPID 0, which means that VPIDs are disabled, is
 * ignored. */
void tlb_invvpid(struct mmu *mmu, unsigned type, uint16_t vpid, gva_t address,
                 enum invvpid_reason reason);
