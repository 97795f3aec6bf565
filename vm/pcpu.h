/* SPDX-License-Identifier: MIT */
/*
 * The CPUs that run guests, and how they reach each other.
 *
 * A CPU that wants something of another one writes it down first (a debt in the flush ledger, an
 * epoch, a vCPU in a run queue) and then kicks it, by NMI. In the guest, the NMI exits. In the
 * hypervisor it may come too late to be looked at, between the last look and the entry; there its
 * handler sets the preemption timer to 0, so the guest is left again before its first instruction
 * (SDM 3, 27.7.4). So the entry path pays nothing for this race.
 */
#pragma once

#include "lib/types.h"

struct vcpu;

/* Lets all CPUs enter VMX operation. One that cannot, or is not like the boot CPU, runs no guests,
 * after a sentence. */
void pcpus_start(void);

/* A bit for each CPU that runs guests. */
uint64_t pcpus_running(void);
unsigned pcpus_count(void);

/* What happened on the pCPUs, for the report. */
struct pcpu_counts {
    uint64_t turns;      /* a vCPU got a pCPU */
    uint64_t migrations; /* of them: not the one that it had before */
    uint64_t halts;      /* the pCPU halted, because its vCPU had */
    uint64_t kicks;      /* taken by a pCPU that had a vCPU */
};
struct pcpu_counts pcpus_counts(void);

/* The vCPU whose VMCS is current on this CPU from now on: what a kick is for. */
void pcpu_takes(struct vcpu *vcpu, bool migrated);
void pcpu_drops(struct vcpu *vcpu);

/* For the count: this CPU halts with its vCPU. */
void pcpu_halts(void);

/* The vCPU that runs here has left work: the guest goes on when that is done (vm/run.c). */
void pcpu_has_chores(void);

/* The vCPU that runs there, if one does, looks at everything before it goes on. */
void pcpu_kick(unsigned pcpu);

/* After something was written for a vCPU: it looks, at once if it runs, else when it does. */
void pcpu_kick_vcpu(const struct vcpu *vcpu);
