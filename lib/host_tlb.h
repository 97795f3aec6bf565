/* SPDX-License-Identifier: MIT */
/*
 * The ledger of the hypervisor's own translations, as mmu/tlb.h is that of the guests'.
 *
 * Host pages that become private to a TD leave the direct map. INVEPT does not touch translations
 * of the hypervisor's own page tables, and a VM exit does not flush them either where the CPU has
 * VPIDs, so each CPU has to flush its TLB before the pages are used. A debt is made after the entry
 * was cleared, and every CPU pays it in the handler of the kick that asks for it: in the hypervisor
 * the NMI may arrive at any time, a halted CPU wakes up, and a CPU in a guest exits first. The hot
 * paths pay nothing for this.
 *
 * An emulator may flush more than silicon does and so hide that a flush was forgotten. Therefore
 * the one who is about to use the pages asks host_tlb_paid(), and refuses if the answer is no.
 */
#pragma once

#include "lib/compiler.h"
#include "lib/cpu_local.h"

#include <stdbool.h>
#include <stdint.h>

struct host_tlb_cpu {
    uint64_t paid;    /* the newest debt that the CPU has paid */
    uint64_t flushes; /* how often it has flushed its TLB for a debt; for the report and tests */
} __attribute__((aligned(64)));
extern struct host_tlb_cpu host_tlb_cpus[CPUS_MAX];
extern uint64_t host_tlb_debt;

/* Flushes all translations of this CPU, also global ones. Supplied by arch/x86/paging.c. */
void host_tlb_flush(void);

/* From now on this CPU, `self`, has to pay. Called by each CPU when it has loaded the final page
 * tables. */
void host_tlb_join(unsigned self);

/* Records that translations of the host have become wrong, and returns the number of the debt.
 * Whoever waits for a debt waits for all earlier ones. */
uint64_t host_tlb_owe(void);

/* Pays what this CPU, `self`, owes; returns whether it owed anything. May be called by the handler
 * of an NMI. */
bool host_tlb_pay(unsigned self);

/* The newest debt. */
static inline uint64_t host_tlb_owed(void)
{
    return __atomic_load_n(&host_tlb_debt, __ATOMIC_SEQ_CST);
}

/* Has this CPU, `self`, anything to pay? */
static inline bool host_tlb_owes(unsigned self)
{
    return __atomic_load_n(&host_tlb_cpus[self].paid, __ATOMIC_RELAXED) < host_tlb_owed();
}

/* The CPUs that have not paid `debt` yet, as a mask. */
uint64_t host_tlb_behind(uint64_t debt);

/* Has every CPU paid `debt`, so that none has a translation from before? */
static inline MUST_CHECK bool host_tlb_paid(uint64_t debt)
{
    return !host_tlb_behind(debt);
}
