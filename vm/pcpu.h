/* SPDX-License-Identifier: MIT */
/*
 * The pCPUs, which run guests, and how they reach each other.
 *
 * A CPU that wants something of a pCPU writes its request first (a debt in the flush ledger, an
 * epoch, a vCPU in a run queue) and then kicks the pCPU, by NMI. In a guest, the NMI causes an
 * exit. In the hypervisor it may arrive after the last check for requests and before the entry.
 * Therefore the handler of the NMI sets the preemption timer to 0, and the guest exits before its
 * first instruction (SDM 3, 27.7.4). So the entry path pays nothing for this race.
 */
#pragma once

#include "lib/types.h"

struct vcpu;

/* Makes all CPUs enter VMX operation. A CPU that cannot, or that differs from the boot CPU, runs no
 * guests; this is logged. */
void pcpus_start(void);

/* Returns a mask of the CPUs that run guests; pcpus_count() returns their number. */
uint64_t pcpus_running(void);
unsigned pcpus_count(void);

/* Returns true if at least one pCPU has a vCPU, which it runs or halts with. */
bool pcpus_have_vcpu(void);

/* Numbers of events on the pCPUs, for the report; pcpus_counts() returns the sum over all pCPUs. */
struct pcpu_counts {
    uint64_t turns;      /* turns of vCPUs on a pCPU */
    uint64_t migrations; /* turns on another pCPU than the vCPU's last turn */
    uint64_t halts;      /* halts of a pCPU with its vCPU */
    uint64_t kicks;      /* kicks that arrived while the pCPU had a vCPU */
};
struct pcpu_counts pcpus_counts(void);

/* Called when this pCPU has loaded the VMCS of a vCPU, and before it unloads it. In between, a kick
 * of this pCPU is a request to that vCPU. */
void pcpu_takes(struct vcpu *vcpu, bool migrated);
void pcpu_drops(struct vcpu *vcpu);

/* Return and set whether this pCPU has work other than the turns of vCPUs (vm/work.h). While it
 * has, a vCPU that runs here is limited to slices, and while no vCPU runs here, mmu_pauses()
 * returns true after each piece. */
bool pcpu_has_work(void);
void pcpu_set_work(bool there_is);

/* Counts that this pCPU halts with its vCPU. */
void pcpu_halts(void);

/* Requests that the vCPU that runs on this pCPU do pending work (chores) before its guest continues
 * (vm/run.c). Does nothing if no vCPU runs here. */
void pcpu_has_chores(void);

/* If a vCPU runs on the pCPU `pcpu`, makes it exit its guest and handle all requests before it
 * enters the guest again. */
void pcpu_kick(unsigned pcpu);

/* Called after a message was written for a vCPU. If the vCPU runs, it sees the message soon,
 * otherwise when it runs next. */
void pcpu_kick_vcpu(const struct vcpu *vcpu);
