/*
 * Trace events (rule N8): what happened, in order, for whoever wants to see it.
 *
 * Each pCPU writes fixed-size records into a ring of its own, without a lock. An event that nobody
 * asked for costs one test of a word that is 0. What was recorded is printed when its VM ends
 * (vm/trace.c). Called by mmu/, mmio/ and vm/, and by the hosted tests.
 *
 * The table is all there is to an event: its name, which is KVM's without `kvm_` where KVM has it
 * (docs/TRACE.md says what differs), and its words, each with its form:
 *
 *   x hexadecimal   u decimal   a EPT permissions   e a fault's error code   f a fault's result
 *   m an MMIO's direction       i why INVEPT was executed   s an SPTE
 */
#pragma once

#include "lib/cpu_local.h"
#include "lib/bits.h"
#include "lib/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TRACE_EVENTS(X)                                            \
    /* What the guest's access was */                              \
    X(page_fault, "gpa:x error_code:e")                            \
    X(fast_page_fault, "gfn:x access:a sptep:x old:s new:s ret:f") \
    X(mmu_spte_requested, "gfn:x pfn:x level:u")                   \
    /* One of these for each change of an SPTE (rule P8) */        \
    X(mmu_set_spte, "gfn:x spte:s sptep:x level:u access:a")       \
    X(tdp_mmu_spte_changed, "gfn:x old:s new:s level:u")           \
    X(mmu_split_huge_page, "gfn:x spte:s level:u")                 \
    X(mark_mmio_spte, "sptep:x gfn:x access:a gen:x")              \
    /* What that led to */                                         \
    X(mmu_zap_all_fast, "gen:x used:u")                            \
    X(invept, "reason:i debt:x")                                   \
    /* MMIO */                                                     \
    X(check_mmio_spte, "gen:x spte_gen:x spte:s")                  \
    X(handle_mmio_page_fault, "addr:x gfn:x access:a")             \
    X(vcpu_match_mmio, "gva:x gpa:x write:u gpa_match:u")          \
    X(fast_mmio, "gpa:x")                                          \
    X(mmio, "type:m len:u gpa:x val:x")

enum trace_event {
#define X(name, words) TRACE_##name,
    TRACE_EVENTS(X)
#undef X
        TRACE_EVENT_COUNT,
};
_Static_assert(TRACE_EVENT_COUNT <= 32, "a bit for each in trace_mask");

#define TRACE_BIT(name) (1u << TRACE_##name)

/* The events of which there is exactly one for each change of an SPTE. */
#define TRACE_SPTE_CHANGES                                                                        \
    (TRACE_BIT(mmu_set_spte) | TRACE_BIT(tdp_mmu_spte_changed) | TRACE_BIT(mmu_split_huge_page) | \
     TRACE_BIT(mark_mmio_spte))

/* Those of every access to MMIO. While one is wanted, no access takes the short way of mmio/hot.h,
 * which so need not ask. */
#define TRACE_MMIO_EVENTS (TRACE_BIT(vcpu_match_mmio) | TRACE_BIT(fast_mmio) | TRACE_BIT(mmio))

/* The direction of `mmio`, KVM's numbers. */
#define TRACE_MMIO_READ  1u
#define TRACE_MMIO_WRITE 2u

#define TRACE_VMS   66u /* by number, and 0 */
#define TRACE_WORDS 6
#define TRACE_RING  512u /* records of each pCPU; a power of two */

struct trace_record {
    uint64_t tsc;
    uint16_t event; /* enum trace_event */
    uint16_t cpu;
    uint16_t vm, vcpu; /* by the numbers of trace_run() */
    uint64_t words[TRACE_WORDS];
};
_Static_assert(sizeof(struct trace_record) == 64, "one cache line");

/* The events that are recorded for any VM, a bit for each: who is not interested in any pays for
 * one look at this. Which of them a VM wants is looked at when one happens. Use trace_select(). */
extern uint32_t trace_mask;

static inline bool trace_wants(uint32_t events)
{
    return __atomic_load_n(&trace_mask, __ATOMIC_RELAXED) & events;
}

/* Records an event if it is wanted: trace(mark_mmio_spte, sptep, gfn, …), up to six words. */
#define trace(name, ...)                                                    \
    do {                                                                    \
        if (unlikely(trace_wants(TRACE_BIT(name))))                         \
            trace_emit_padded(TRACE_##name, __VA_ARGS__, 0, 0, 0, 0, 0, 0); \
    } while (0)
#define trace_emit_padded(event, a, b, c, d, e, f, ...) trace_emit(event, a, b, c, d, e, f)

void trace_emit(enum trace_event event, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e,
                uint64_t f) COLD;

/* The ring of a pCPU, once, from that one or before it runs. -ENOMEM after a sentence; without a
 * ring its events are only counted. */
int trace_create_ring(unsigned cpu) MUST_CHECK;

/* This pCPU works for that vCPU from now on. In `counts`, which is the vCPU's, or NULL, is how
 * often each event has been recorded for it. */
void trace_run(uint16_t vm, uint16_t vcpu, uint64_t counts[TRACE_EVENT_COUNT]);

/* Records these events from now on, of this VM, by the number of trace_run(), or with 0 of all that
 * have not chosen; returns those that it were before. A VM's choice ends with trace_forget(). */
uint32_t trace_select(uint16_t vm, uint32_t events);
void trace_forget(uint16_t vm);

/* Those that are recorded of a VM. */
uint32_t trace_selected(uint16_t vm);

const char *trace_name(enum trace_event event);

/* Reads the records of a VM that are still there, in the order of time, or only the newest
 * `newest` of them; trace_read_begin() returns how many that are. Nothing is recorded for that VM
 * any more; for others it may be, and take the place of some before they are read: so many are
 * `left` in the end. Those that are read are whole. */
struct trace_reader {
    uint64_t at[CPUS_MAX];
    uint64_t left;
    uint16_t vm;
    struct trace_record record; /* what was read last */
};
uint64_t trace_read_begin(struct trace_reader *reader, uint16_t vm, uint64_t newest);
const struct trace_record *trace_read_next(struct trace_reader *reader); /* NULL: that was all */

/* "name word=value …"; as snprintf(). */
int trace_format(const struct trace_record *record, char *text, size_t size);
