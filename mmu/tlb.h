/*
 * The flush ledger (decision D8): who still owes the TLB what.
 *
 * A CPU keeps translations across VM exits and entries until INVEPT (rule T3). The one function
 * that stores SPTEs calls tlb_owe() when a change makes a cached translation wrong. From then on
 * every VM entry with that EPTP has to pay, by INVEPT, before the guest runs; and a page that lost
 * its place may be given another use only after tlb_flush_before_reuse(). Both are counted by
 * reason. A debt that nobody collects stays in the ledger, and tlb_assert_paid() finds it.
 *
 * INVEPT and INVVPID are called from tlb.c and from nowhere else.
 */
#pragma once

#include "ept/invalidate.h"
#include "lib/assert.h"
#include "mmu/types.h"

/* What a pCPU did last. */
struct tlb_cpu {
    uint64_t entered; /* the debt number of its last entry; 0: none */
    struct mmu *mmu;  /* whose EPTP that was */
};
extern struct tlb_cpu tlb_cpus[TLB_CPUS];

/* The number of the pCPU that executes this, below TLB_CPUS. Supplied by arch/x86, and by the
 * hosted tests. */
unsigned tlb_this_cpu(void);

/* Before a new EPTP is used for the first time. */
void tlb_ledger_init(struct mmu *mmu);

/* Forgets `mmu`, whose EPTP no pCPU will enter with again. */
void tlb_ledger_close(struct mmu *mmu);

/* Records that cached translations of this EPTP have become wrong. */
void tlb_owe(struct mmu *mmu);

/* The slow half of tlb_pay(). */
void tlb_pay_debt(struct mmu *mmu, unsigned pcpu);

/* On every VM entry, after the last change of SPTEs and before the guest runs: pays what this pCPU
 * owes for the EPTP, which includes having entered with another one last (rule T5). */
static inline bool tlb_is_paid(const struct mmu *mmu, unsigned pcpu)
{
    return tlb_cpus[pcpu].entered == mmu->tlb.debt;
}

static inline void tlb_pay(struct mmu *mmu, unsigned pcpu)
{
    if (unlikely(!tlb_is_paid(mmu, pcpu)))
        tlb_pay_debt(mmu, pcpu);
}

/* Right before VMLAUNCH and VMRESUME: entering with a debt is a BUG. */
static inline void tlb_assert_paid(const struct mmu *mmu, unsigned pcpu)
{
    BUG_ON(!tlb_is_paid(mmu, pcpu));
}

/* Returns when no pCPU holds a translation of this EPTP that was removed before the call, so that
 * the pages behind it may be freed. Nothing happens where nothing is owed. */
void tlb_flush_before_reuse(struct mmu *mmu);

/* A VPID that no other vCPU has, clean of translations, or 0 when all are taken: then the vCPU must
 * run with VPIDs off (rule T3). Executes INVVPID: VMX operation must be on. */
uint16_t tlb_vpid_alloc(struct mmu *mmu);
void tlb_vpid_free(uint16_t vpid);

/* INVVPID of at least the asked type: a type that the CPU lacks is replaced by a wider one, and so
 * is INVVPID_ADDRESS of an address that is not canonical, which the instruction would refuse.
 * `address` counts for INVVPID_ADDRESS only. VPID 0, VPIDs off, is ignored. */
void tlb_invvpid(struct mmu *mmu, unsigned type, uint16_t vpid, gva_t address,
                 enum invvpid_reason reason);
