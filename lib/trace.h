/* SPDX-License-Identifier: MIT */
/*
 * Trace events: a record of what the MMU did, and in which order (rule N8).
 *
 * Each pCPU writes records of a fixed size into its own ring, without a lock. An event that no VM
 * has selected costs one test of a variable that is 0. The records of a VM are printed when it ends
 * (vm/trace.c). mmu/, mmio/, vm/ and the hosted tests record events.
 *
 * lib/trace_events.h is the table of the events.
 */
#pragma once

#include "lib/cpu_local.h"
#include "lib/bits.h"
#include "lib/compiler.h"
#include "lib/trace_events.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TRACE_VMS    97u /* VMs by number, and 0 for the default */
#define TRACE_VALUES 6
#define TRACE_RING   512u /* records of each pCPU; a power of two */

struct trace_record {
    uint64_t tsc;
    uint16_t event; /* enum trace_event */
    uint16_t cpu;
    uint16_t vm, vcpu; /* the numbers that trace_run() was given */
    uint64_t values[TRACE_VALUES];
};
_Static_assert(sizeof(struct trace_record) == 64, "one cache line");

/* The events that are recorded for at least one VM, a bit for each. An event that no VM has
 * selected costs one test of this variable; whether the VM at hand has selected it is checked when
 * it happens. Changed by trace_select() and trace_forget(). */
extern uint32_t trace_mask;

static inline bool trace_wants(uint32_t events)
{
    return __atomic_load_n(&trace_mask, __ATOMIC_RELAXED) & events;
}

/* Records an event if it is selected: trace(mark_mmio_spte, sptep, gfn, …), with up to six
 * values. */
#define trace(name, ...)                                                    \
    do {                                                                    \
        if (unlikely(trace_wants(TRACE_BIT(name))))                         \
            trace_emit_padded(TRACE_##name, __VA_ARGS__, 0, 0, 0, 0, 0, 0); \
    } while (0)
#define trace_emit_padded(event, a, b, c, d, e, f, ...) trace_emit(event, a, b, c, d, e, f)

void trace_emit(enum trace_event event, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e,
                uint64_t f) COLD;

/* Creates the ring of a pCPU; called once, by that pCPU or before it starts. Returns -ENOMEM after
 * an error message; the events of a pCPU without a ring are only counted. */
int trace_create_ring(unsigned cpu) MUST_CHECK;

/* Attributes the events of this pCPU to that vCPU from now on. `counts` belongs to the vCPU and is
 * incremented for each event that is recorded for it; it may be NULL. */
void trace_run(uint16_t vm, uint16_t vcpu, uint64_t counts[TRACE_EVENT_COUNT]);

/* Selects the events that are recorded for a VM, which is identified by the number that trace_run()
 * gets; 0 sets the default for all VMs that have no selection of their own. Returns the events that
 * were selected before. trace_forget() drops the selection of a VM. */
uint32_t trace_select(uint16_t vm, uint32_t events);
void trace_forget(uint16_t vm);

/* The events that are recorded for a VM. */
uint32_t trace_selected(uint16_t vm);

/* Advances at each change of a selection, so that a vCPU can find out that there was one. */
extern uint32_t trace_changes;

/* Records only events whose address, if they have one, is in [first, last]; an event that is about
 * several bytes or pages has the addresses of all of them. {0, UINT64_MAX}: no limit. Called before
 * other CPUs record. */
void trace_limit(uint64_t first, uint64_t last);

/* The name of an event, and of its values with their formats, as in the table. */
const char *trace_name(enum trace_event event);
const char *trace_values(enum trace_event event);

/* Reads the records of a VM that the rings still hold, ordered by time: all of them, or only the
 * `newest` ones. trace_read_begin() returns how many records there are to read. No events may be
 * recorded for that VM meanwhile, but other VMs' events may overwrite some of its records before
 * they are read; `left` then says in the end how many were lost. The records that are returned are
 * intact. */
struct trace_reader {
    uint64_t at[CPUS_MAX];
    uint64_t left;
    uint16_t vm;
    struct trace_record record; /* the record that was read last */
};
uint64_t trace_read_begin(struct trace_reader *reader, uint16_t vm, uint64_t newest);
const struct trace_record *trace_read_next(struct trace_reader *reader); /* NULL: no more records */

/* Formats a record as "name value=… …"; the arguments and the result are those of snprintf(). */
int trace_format(const struct trace_record *record, char *text, size_t size);
