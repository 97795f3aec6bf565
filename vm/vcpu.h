/* SPDX-License-Identifier: MIT */
/*
 * A vCPU: what it consists of, and running it.
 *
 * A vCPU belongs to one VM (vm/vm.h). While it runs, the pCPU that runs it owns everything here
 * but the mailbox and the scheduler's entry, which other CPUs write with atomic operations.
 */
#pragma once

#include "arch/x86/cpu.h"
#include "lib/cpu_local.h"
#include "dev/lapic.h"
#include "lib/compiler.h"
#include "lib/trace.h"
#include "mmio/bus.h"
#include "mmio/vcpu.h"
#include "mmu/tlb.h"
#include "vm/cpuid_table.h"
#include "vm/ghci.h"
#include "vm/pass.h"
#include "vm/sched.h"
#include "vmx/errors.h"
#include "vmx/extra_state.h"
#include "vmx/vmx.h"

#define TIME_NEVER (~0ull)

struct vm;

/* An I/O instruction that was executed before, by its exit qualification; vm/io.c. */
struct known_port {
    uint64_t qualification;
    uint64_t sequence; /* of the bus; 0: none is kept here */
    const struct bus_ops *ops;
    __typeof__(((struct bus_ops *)0)->write) write; /* of those */
    void *device;
    uint64_t offset, mask;
    unsigned size;
} __attribute__((aligned(64)));
#define KNOWN_PORTS 16 /* told apart by the low bits of the port, the direction and the size */

/* What other vCPUs of the VM have sent, until this one looks; vm/ipi.c. */
struct mailbox {
    uint64_t vectors[4];
    uint64_t levels[4]; /* which of them are level-triggered */
    uint64_t nmi;       /* one came */
    uint32_t startup;   /* vm/startup.h */
    uint32_t pcpu;      /* pCPU number + 1 while running, else 0 */
};

struct vcpu {
    struct vmx_vcpu vmx; /* at offset 0; see vcpu_of() */
    struct extra_state extra;
    struct mmio_vcpu mmio;
    struct known_port ports[KNOWN_PORTS];
    struct cpuid cpuid[CPUID_OWN_COUNT]; /* its own answers; see cpuid_update() */
    struct vm *vm;
    struct sched_entry sched;
    uint8_t index; /* in the VM, and its APIC ID */
    struct mailbox mailbox;
    struct ghci_memo ghci;
    struct pass pass;
    struct tlb_place place; /* of the pCPU that has the vCPU now */
    uint16_t vpid;
    bool ve_by_cpu;          /* the CPU delivers #VE itself */
    struct ve_area *ve_area; /* where its information goes; NULL: the guest takes none */
    struct lapic lapic;
    bool unfinished; /* its last hypercall is to go on before the guest does, from here: */
    struct mmu_change change;
    struct mmu_walk walk;
    uint64_t tsc_offset; /* the guest's TSC less the host's */
    uint64_t tsc_adjust; /* IA32_TSC_ADJUST */

    uint64_t budget_left;  /* TSC ticks, while it does not run */
    uint64_t budget_end;   /* TSC, while it does */
    uint64_t slice_end;    /* TSC: another vCPU's turn; TIME_NEVER: none waits */
    uint64_t next_event;   /* TSC: the first thing that is due, the budget's end among them */
    uint32_t exits_left;   /* so many, and the clock is looked at */
    struct event external; /* an interrupt that does not come through the APIC */
    struct event delayed;  /* HC_INJECT: made pending at `delayed_until` */
    uint64_t delayed_until;

    uint64_t exits[REASON_COUNT];
    uint64_t events_requeued;
    uint64_t poison_ticks;              /* TSC: spent in vmx_poison() */
    uint64_t traced[TRACE_EVENT_COUNT]; /* records of each event */
};

_Static_assert(offsetof(struct vcpu, vmx) == 0, "vcpu_of() need not check for NULL");

/* The vCPU whose VMX half this is, for what vmx/ calls. */
static inline struct vcpu *vcpu_of(struct vmx_vcpu *vmx_half)
{
    return container_of(vmx_half, struct vcpu, vmx);
}

/* Runs a vCPU until the VM ends, an INIT stops it, another vCPU's turn has come on this pCPU, or it
 * has halted and another one waits: vcpu->vmx.attention says which. Afterwards it can be run on any
 * pCPU. */
void vcpu_run(struct vcpu *vcpu);

/* Is write-tracked memory open for an access of the vCPU's own (vm/pass.h)? */
static inline bool pass_is_open(const struct vcpu *vcpu)
{
    return unlikely(attention_requested(&vcpu->vmx.attention, ATTENTION_PASS));
}

/* Makes a checked event pending. An interrupt goes into the local APIC if that accepts it, and past
 * it otherwise. */
void vcpu_pend(struct vcpu *vcpu, const struct event *event);
void vcpu_nmi(struct vcpu *vcpu);

/* The interrupt that the local APIC would deliver may be another one now. */
void vcpu_update_interrupt(struct vcpu *vcpu);

/* TSC: the next event of the vCPU's own, by a delay or its APIC's timer; TIME_NEVER if there is
 * none. */
static inline uint64_t vcpu_next_event(const struct vcpu *vcpu)
{
    uint64_t timer = lapic_deadline(&vcpu->lapic);
    return vcpu->delayed.valid && vcpu->delayed_until < timer ? vcpu->delayed_until : timer;
}
