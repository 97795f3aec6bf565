/* SPDX-License-Identifier: MIT */
/* Recording and reading trace events; see the header. */
#include "lib/assert.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/page.h"
#include "lib/trace_export.h"
#include "lib/trace_ring.h"

uint32_t trace_mask, trace_changes;

/* ---- Recording ------------------------------------------------------------------------------- */

#define RING_BYTES (TRACE_RING * sizeof(struct trace_record))
#define RING_ORDER 3u
_Static_assert(RING_BYTES == PAGE_SIZE << RING_ORDER, "whole pages");

int trace_create_ring(unsigned cpu)
{
    hpa_t pages = page_alloc(RING_ORDER);
    if (page_is_none(pages)) {
        log_error("no memory for the trace ring of CPU %u; give the machine more", cpu);
        return -ENOMEM;
    }
    trace_rings[cpu].records = phys_to_virt(pages);
    trace_rings[cpu].written = 0;
    return 0;
}

void trace_run(uint16_t vm, uint16_t vcpu, uint64_t counts[TRACE_EVENT_COUNT])
{
    struct trace_ring *ring = &trace_rings[this_cpu()];
    ring->vm = vm;
    ring->vcpu = vcpu;
    ring->counts = counts;
}

/* Which events are recorded: for each VM that has chosen, its own selection; for all others, the
 * default. */
static struct spinlock choices_lock;
static uint32_t for_all, choices[TRACE_VMS];
static uint64_t chosen[(TRACE_VMS + 63) / 64];

static bool has_chosen(uint16_t vm)
{
    return vm < TRACE_VMS && __atomic_load_n(&chosen[vm / 64], __ATOMIC_RELAXED) >> vm % 64 & 1;
}

uint32_t trace_selected(uint16_t vm)
{
    return has_chosen(vm) ? __atomic_load_n(&choices[vm], __ATOMIC_RELAXED)
                          : __atomic_load_n(&for_all, __ATOMIC_RELAXED);
}

static void trace_update_mask(void)
{
    uint32_t mask = for_all;
    for (uint16_t vm = 1; vm < TRACE_VMS; vm++)
        mask |= has_chosen(vm) ? choices[vm] : 0;
    __atomic_store_n(&trace_mask, mask, __ATOMIC_SEQ_CST);
    __atomic_fetch_add(&trace_changes, 1, __ATOMIC_SEQ_CST);
}

uint32_t trace_select(uint16_t vm, uint32_t wanted)
{
    BUG_ON(vm >= TRACE_VMS);
    spin_lock(&choices_lock);
    uint32_t before = trace_selected(vm);
    __atomic_store_n(vm ? &choices[vm] : &for_all, wanted, __ATOMIC_RELAXED);
    if (vm)
        __atomic_fetch_or(&chosen[vm / 64], BIT(vm % 64), __ATOMIC_RELEASE);
    trace_update_mask();
    spin_unlock(&choices_lock);
    return before;
}

void trace_forget(uint16_t vm)
{
    BUG_ON(vm >= TRACE_VMS);
    spin_lock(&choices_lock);
    __atomic_fetch_and(&chosen[vm / 64], ~BIT(vm % 64), __ATOMIC_RELEASE);
    trace_update_mask();
    spin_unlock(&choices_lock);
}

void trace_emit(enum trace_event event, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e,
                uint64_t f)
{
    unsigned cpu = this_cpu();
    struct trace_ring *ring = &trace_rings[cpu];
    if (!(trace_selected(ring->vm) >> event & 1))
        return; /* only other VMs have selected the event */
    const struct trace_record record = {.tsc = __builtin_ia32_rdtsc(),
                                        .event = (uint16_t)event,
                                        .cpu = (uint16_t)cpu,
                                        .vm = ring->vm,
                                        .vcpu = ring->vcpu,
                                        .values = {a, b, c, d, e, f}};
    if (trace_has_limit && !trace_within_limit(&record))
        return;
    if (ring->counts)
        ring->counts[event]++;
    if (!ring->records)
        return;
    trace_copy(&ring->records[ring->written % TRACE_RING], &record);
    __atomic_store_n(&ring->written, ring->written + 1, __ATOMIC_RELEASE);
    if (trace_exports())
        trace_export_full(cpu, event);
}

/* ---- Reading --------------------------------------------------------------------------------- */

/* Copies the next record of one ring that belongs to the reader's VM. */
static bool trace_peek(struct trace_reader *reader, unsigned cpu, struct trace_record *record)
{
    for (; trace_get(&trace_rings[cpu], &reader->at[cpu], record); reader->at[cpu]++)
        if (record->vm == reader->vm)
            return true;
    return false;
}

/* Returns the oldest of the records that the rings offer. */
const struct trace_record *trace_read_next(struct trace_reader *reader)
{
    struct trace_record record;
    bool found = false;
    for (unsigned cpu = 0; cpu < CPUS_MAX; cpu++) {
        if (trace_peek(reader, cpu, &record) && (!found || record.tsc < reader->record.tsc)) {
            reader->record = record;
            found = true;
        }
    }
    if (!found)
        return NULL;
    reader->at[reader->record.cpu]++;
    reader->left--;
    return &reader->record;
}

uint64_t trace_read_begin(struct trace_reader *reader, uint16_t vm, uint64_t newest)
{
    uint64_t there = 0;
    *reader = (struct trace_reader){.vm = vm};
    while (trace_read_next(reader))
        there++;
    *reader = (struct trace_reader){.vm = vm};
    for (uint64_t skipped = 0; skipped + newest < there; skipped++)
        (void)trace_read_next(reader);
    reader->left = there < newest ? there : newest;
    return reader->left;
}
