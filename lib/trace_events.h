/* SPDX-License-Identifier: MIT */
/*
 * The table of the trace events (lib/trace.h), also for guests that select them.
 *
 * This table defines the events completely: the name of each, which is KVM's without `kvm_` where
 * KVM has the event (docs/TRACE.md says what differs), and its values with their formats:
 *
 *   x hexadecimal   u decimal   a EPT permissions   e a fault's error code   f a fault's result
 *   m an MMIO's direction       i why INVEPT was executed   s an SPTE
 *   d the reasons of lib/flush_reasons.h, a bit for each
 *   t the type of an event, as VMX numbers it               l an APIC's delivery mode
 *   o an address that may be missing: TRACE_NO_ADDRESS
 *
 * tools/harness/events.py reads them from the machine itself, and knows the same formats.
 */
#pragma once

#define TRACE_EVENTS(X)                                               \
    /* The guest's access and the fault */                            \
    X(page_fault, "gpa:x error_code:e")                               \
    X(fast_page_fault, "gfn:x access:a sptep:x old:s new:s ret:f")    \
    X(mmu_spte_requested, "gfn:x pfn:x level:u")                      \
    /* One of these for each change of an SPTE (rule P8) */           \
    X(mmu_set_spte, "gfn:x spte:s sptep:x level:u access:a")          \
    X(tdp_mmu_spte_changed, "gfn:x old:s new:s level:u")              \
    X(mmu_split_huge_page, "gfn:x spte:s level:u")                    \
    X(mark_mmio_spte, "sptep:x gfn:x access:a gen:x")                 \
    /* Consequences of these changes */                               \
    X(mmu_zap_all_fast, "gen:x used:u")                               \
    X(invept, "reason:i owed:d debt:x")                               \
    /* MMIO */                                                        \
    X(check_mmio_spte, "gen:x spte_gen:x spte:s")                     \
    X(handle_mmio_page_fault, "addr:x gfn:x access:a")                \
    X(vcpu_match_mmio, "gva:x gpa:x write:u gpa_match:u")             \
    X(fast_mmio, "gpa:x")                                             \
    X(mmio, "type:m len:u gpa:x val:x")                               \
    /* A TD and the module that it believes to run on */              \
    X(tdcall, "leaf:x rcx:x status:x")                                \
    X(tdvmcall, "leaf:x r12:x r13:x r14:x r10:x r11:x")               \
    X(ve, "reason:u qualification:x gla:x gpa:x twice:u")             \
    X(accept, "gpa:x level:u status:x")                               \
    X(convert, "gpa:x pages:u shared:u")                              \
    X(secure_refused, "call:u gfn:x level:u page:x state:u status:x") \
    /* What a vCPU does on its pCPU */                                \
    X(exit, "reason:u rip:x qualification:x gpa:o")                   \
    X(entry, "rip:x halted:u")                                        \
    X(inj_virq, "vector:u type:t reinjected:u")                       \
    X(inj_exception, "vector:u error_code:x type:t reinjected:u")     \
    X(apic_ipi, "dest:u vector:u mode:l")                             \
    X(apic_accept_irq, "vector:u")                                    \
    X(kick, "cpu:u")                                                  \
    X(remote_flush, "cpu:u debt:x")                                   \
    X(turn, "on:u")

enum trace_event {
#define X(name, values) TRACE_##name,
    TRACE_EVENTS(X)
#undef X
        TRACE_EVENT_COUNT,
};
_Static_assert(TRACE_EVENT_COUNT <= 32, "a bit for each in trace_mask");

#define TRACE_BIT(name) (1u << TRACE_##name)

/* Each change of an SPTE is recorded as exactly one of these events. */
#define TRACE_SPTE_CHANGES                                                                        \
    (TRACE_BIT(mmu_set_spte) | TRACE_BIT(tdp_mmu_spte_changed) | TRACE_BIT(mmu_split_huge_page) | \
     TRACE_BIT(mark_mmio_spte))

/* The events of every MMIO access. While one of them is selected, no access takes the fast path of
 * mmio/replay.h, which therefore does not have to test for them. */
#define TRACE_MMIO_EVENTS (TRACE_BIT(vcpu_match_mmio) | TRACE_BIT(fast_mmio) | TRACE_BIT(mmio))

/* While one of these is selected for a VM, its exits begin with extra work (vmx/extra_work.c). */
#define TRACE_EXIT_EVENTS (TRACE_BIT(exit) | TRACE_BIT(entry))

#define TRACE_NO_ADDRESS (~0ull)

/* The direction of `mmio`, with KVM's numbers. */
#define TRACE_MMIO_READ  1u
#define TRACE_MMIO_WRITE 2u
