/* SPDX-License-Identifier: MIT */
/*
 * A vCPU. It belongs to one VM (vm/vm.h). The pCPU that runs it owns its fields, except for the
 * mailbox, the scheduler's entry, the visits, the pausers and the others' half of the attention
 * requests, which other CPUs write with atomic operations.
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
#include "vm/map_dump.h"
#include "vm/cpuid_table.h"
#include "vm/debugger.h"
#include "vm/features.h"
#include "vm/ghci.h"
#include "vm/last_exit.h"
#include "vm/legacy_msr.h"
#include "vm/pass.h"
#include "vm/sched.h"
#include "vmx/errors.h"
#include "vmx/extra_state.h"
#include "vmx/vmx.h"

#define TIME_NEVER (~0ull)

struct td_vcpu;
struct visit;
struct vm;

/* The replay entry of an I/O instruction, found by its exit qualification (vm/io.c). */
struct known_port {
    uint64_t qualification;
    uint64_t sequence; /* of the bus; 0: the entry is empty */
    const struct bus_ops *ops;
    __typeof__(((struct bus_ops *)0)->write) write; /* ops->write */
    void *device;
    uint64_t offset, mask;
    unsigned size;
} __attribute__((aligned(64)));
#define KNOWN_PORTS 16 /* indexed by the low bits of the port, the direction and the size */

/* What the VM's 8259 has sent (vm/legacy.h): its output, which is LINT0 of the first vCPU, has
 * risen; or the I/O APIC has passed it on by a message with the delivery mode ExtINT. */
#define MAIL_LINT0  0x1u
#define MAIL_EXTINT 0x2u

/* What other vCPUs of the VM have sent and this one has not taken yet (vm/ipi.c). */
struct mailbox {
    uint64_t vectors[4];
    uint64_t levels[4]; /* vectors that are level-triggered */
    /* Not 0 if `levels` or one of the next two may not be empty, if the VM offers chores, or if the
     * 8259 or the PIT has changed. */
    uint32_t rare;
    uint32_t frames;  /* not 0: frames or typed bytes wait for the VM, for units_receive() */
    uint32_t pic;     /* MAIL_ bits */
    uint32_t startup; /* INIT, start-up IPI and NMI; vm/startup.h */
    uint32_t pcpu;    /* pCPU number + 1 while running, else 0 */
};

struct vcpu {
    struct vmx_vcpu vmx; /* at offset 0; see vcpu_of() */
    struct extra_state extra;
    struct mmio_vcpu mmio;
    struct known_port ports[KNOWN_PORTS];
    struct cpuid cpuid[CPUID_OWN_COUNT]; /* its own answers; see cpuid_update() */
    struct feature_vcpu cpuid_self;      /* what they depend on */
    struct vm *vm;
    struct sched_entry sched;
    uint8_t index; /* the number in the VM, which is also the APIC ID */
    struct mailbox mailbox;
    struct visit *visits; /* the list of vm/visit.h; atomic */
    uint32_t paused;      /* the pausers of vm/pause.h; atomic */
    struct ghci_replay ghci;
    struct pass pass;
    struct debugger_vcpu debugger;
    struct tlb_place place; /* of the pCPU that runs the vCPU */
    uint16_t vpid;
    bool ve_by_cpu;          /* the CPU delivers #VE itself */
    struct ve_area *ve_area; /* the virtualization-exception information; NULL: no #VE */
    struct td_vcpu *td;      /* its state as a vCPU of a TD, else NULL */
    struct lapic lapic;
    uint64_t apic_page; /* where IA32_APIC_BASE says that its registers are (vm/apic_base.h) */
    bool unfinished;    /* the last hypercall has to continue, before the guest does, from: */
    struct mmu_change change;
    struct mmu_walk walk;
    struct map_dump map; /* HC_MAP; of vCPU 0, also the picture of the VM that has ended */
    uint64_t tsc_offset; /* the guest's TSC less the host's */
    uint64_t tsc_adjust; /* IA32_TSC_ADJUST */
    struct legacy_msrs legacy_msrs; /* with legacy */

    uint64_t budget_left;  /* TSC ticks; valid while no pCPU runs the vCPU */
    uint64_t budget_end;   /* TSC; valid while a pCPU runs the vCPU */
    uint64_t slice_end;    /* TSC: the end of the time slice; TIME_NEVER: no vCPU waits */
    uint64_t next_event;   /* TSC: the first deadline (vm/clock.h) */
    uint32_t exits_left;   /* exits until the clock is read */
    struct event external; /* an interrupt that does not come through the APIC */
    bool from_pic;        /* it comes from the VM's 8259, which knows its vector when it is taken */
    bool extint;          /* a message with the delivery mode ExtINT asks for it */
    struct event delayed; /* HC_INJECT: becomes pending at `inject_at` */
    uint64_t inject_at;   /* TSC; TIME_NEVER: there is no such event */
    uint64_t pit_at;      /* TSC: when the PIT's output rises (vm/legacy_timer.h), or TIME_NEVER */
    uint64_t delayed_until; /* TSC: the earlier one of these two */
    uint64_t frames_at;     /* TSC: when the vCPU receives frames or typed bytes, or TIME_NEVER */
    uint64_t frames_from;   /* TSC: not before this time */

    struct last_exit last; /* while vmx.watched */

    uint64_t exits[REASON_COUNT];
    uint64_t exceptions; /* exits by an exception, which count as "exception or NMI" above */
    uint64_t events_requeued;
    uint64_t poison_ticks;              /* TSC ticks spent in vmx_poison() */
    uint64_t traced[TRACE_EVENT_COUNT]; /* number of records of each event */
    uint32_t trace_changes; /* the changes of the selection that the vCPU has followed */
};

_Static_assert(offsetof(struct vcpu, vmx) == 0, "vcpu_of() need not check for NULL");

/* Returns the vCPU that contains this vmx_vcpu, for the functions that vmx/ calls. */
static inline struct vcpu *vcpu_of(struct vmx_vcpu *vmx_half)
{
    return container_of(vmx_half, struct vcpu, vmx);
}

/* Runs a vCPU until the VM ends, an INIT stops the vCPU, its time slice ends, or it halts while
 * another vCPU waits; vcpu->vmx.attention says which. Afterwards any pCPU can run the vCPU. */
void vcpu_run(struct vcpu *vcpu);

/* Ends the halt of a halted vCPU if an event wakes it now. Otherwise returns false. Called by the
 * pCPU that runs the vCPU. */
bool vcpu_wakes(struct vcpu *vcpu) MUST_CHECK;

/* Returns true if write-tracked memory is open for an access by the vCPU itself (vm/pass.h). */
static inline bool pass_is_open(const struct vcpu *vcpu)
{
    return unlikely(attention_requested(&vcpu->vmx.attention, ATTENTION_PASS));
}

/* Makes a checked event pending. An interrupt goes through the local APIC if the APIC accepts it,
 * otherwise it becomes vcpu->external. */
void vcpu_pend(struct vcpu *vcpu, const struct event *event);
void vcpu_nmi(struct vcpu *vcpu);

/* Called when the interrupt that the local APIC would deliver may have changed. */
void vcpu_update_interrupt(struct vcpu *vcpu);

/* Handles mail of the VM's 8259, with MAIL_ bits. Does nothing if the VM has none. */
void vcpu_receive_legacy(struct vcpu *vcpu, uint32_t bits);

/* Makes the interrupt of the 8259 pending, or removes it, by what its output and LINT0 say. Does
 * nothing if the VM has no 8259, or while another external interrupt is pending. */
void vcpu_look_at_pic(struct vcpu *vcpu);

/* Called after `inject_at` or `pit_at` has changed. */
static inline void vcpu_set_delayed(struct vcpu *vcpu)
{
    vcpu->delayed_until = vcpu->pit_at < vcpu->inject_at ? vcpu->pit_at : vcpu->inject_at;
}

/* Returns the TSC value at which the vCPU's next event is due, which is the delayed event, the APIC
 * timer's, or the arrival of frames, or TIME_NEVER. */
static inline uint64_t vcpu_next_event(const struct vcpu *vcpu)
{
    uint64_t timer = lapic_deadline(&vcpu->lapic);
    uint64_t event = vcpu->frames_at < timer ? vcpu->frames_at : timer;
    return vcpu->delayed_until < event ? vcpu->delayed_until : event;
}
