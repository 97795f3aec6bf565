/* SPDX-License-Identifier: MIT */
/* Implements vm/trace.h. */
#include "vm/trace.h"

#include "arch/x86/export.h"
#include "arch/x86/tsc.h"
#include "lib/errno.h"
#include "lib/flush_reasons.h"
#include "lib/log_list.h"
#include "lib/string.h"
#include "lib/spinlock.h"
#include "lib/trace_export.h"
#include "vm/options.h"
#include "vm/pcpu.h"
#include "vm/vm.h"

#include <stdarg.h>

#define NEWEST 64 /* events that are printed to explain an unexpected end */

static uint32_t chosen;        /* the mask of the events that the command line chose */
static const char *chosen_vms; /* NULL: all VMs, and what belongs to none */

/* Returns the mask of the events that match one name of the list. */
static uint32_t trace_match(const char *name)
{
    uint32_t found = 0;
    if (!strncmp(name, "kvm_", 4))
        name += 4;
    for (unsigned i = 0; i < TRACE_EVENT_COUNT; i++)
        if (options_match(name, trace_name((enum trace_event)i)))
            found |= (uint32_t)BIT(i);
    return found;
}

static int trace_refuse(const char *name)
{
    struct log_list known;
    log_list_begin(
        &known, "command line: no event is called \"%s\"; allowed in trace=: all, off, a list of",
        name);
    for (unsigned i = 0; i < TRACE_EVENT_COUNT; i++)
        log_list_add(&known, " ", trace_name((enum trace_event)i));
    log_list_end(&known);
    return -EINVAL;
}

int trace_choose(const char *names)
{
    char name[WORD_TEXT_MAX];
    chosen = 0;
    if (!strcmp(names, "all"))
        names = "*";
    if (!strcmp(names, "off"))
        return 0;
    for (const char *at = names; *at;) {
        size_t length = 0;
        while (at[length] && at[length] != ',')
            length++;
        snprintf(name, sizeof(name), "%.*s", (int)length, at);
        if (!trace_match(name))
            return trace_refuse(name);
        chosen |= trace_match(name);
        at += length + (at[length] == ',');
    }
    trace_select(0, chosen);
    return 0;
}

int trace_choose_part(const char *vms, const char *range)
{
    uint64_t first, last;
    const char *dash = strchr(range, '-');
    int length = dash ? (int)(dash - range) : (int)strlen(range);
    bool valid = word_number(range, length, &first);
    last = first;
    if (valid && dash)
        valid = word_number(dash + 1, (int)strlen(dash + 1), &last) && last >= first;
    if (!valid) {
        log_error("command line: trace_gpa=%s is no range of addresses; write FIRST-LAST, such as "
                  "0xfe000000-0xfe000fff, or one address",
                  range);
        return -EINVAL;
    }
    trace_limit(first, last);
    if (strcmp(vms, "*")) {
        chosen_vms = vms;
        trace_select(0, 0);
    }
    return 0;
}

int64_t trace_choose_bits(struct vm *vm, uint64_t events)
{
    if (events >> TRACE_EVENT_COUNT)
        return -EINVAL;
    int64_t before = trace_select(vm->number, (uint32_t)events);
    mmu_forget(&vm->mmu); /* the fast paths record no events, so their caches are emptied */
    for (unsigned i = 0; i < vm->vcpu_count; i++)
        pcpu_kick_vcpu(vm->vcpus[i]); /* look_at_clock() follows the change */
    return before;
}

/* Prints the newest events of a VM that has ended. */
static void trace_print(const struct vm *vm, uint64_t newest)
{
    struct trace_reader reader;
    const struct trace_record *record;
    char text[LOG_LINE_MAX];
    uint64_t there = trace_read_begin(&reader, vm->number, newest);
    uint64_t start = 0;
    if (there)
        transcript_line(vm->console.transcript,
                        "# %s: its last %lu events; TSC ticks since the first, CPU and vCPU",
                        vm->name, there);
    while ((record = trace_read_next(&reader))) {
        if (!start)
            start = record->tsc;
        trace_format(record, text, sizeof(text));
        transcript_list(vm->console.transcript, "# %10lu %2u %2u %s", record->tsc - start,
                        record->cpu, record->vcpu, text);
    }
    if (reader.left)
        transcript_line(vm->console.transcript,
                        "# %s: %lu of these are missing: events of other VMs have overwritten them",
                        vm->name, reader.left);
}

void trace_report(const struct vm *vm)
{
    bool wanted = trace_selected(vm->number);
    bool as_expected = vm_passed(vm) && vm->ending == VM_ENDED_EXIT;
    if (!trace_exports())
        trace_print(vm, as_expected ? UINT64_MAX : NEWEST);
    if (!vm_passed(vm) && !wanted)
        transcript_line(vm->console.transcript,
                        "# %s: trace=all on the command line would print its last events here",
                        vm->name);
    trace_forget(vm->number);
}

/* ---- Leaving the machine --------------------------------------------------------------------- */

_Static_assert(TRACE_BATCH_MAX <= EXPORT_MAX, "a batch is the data of a frame");

static bool send_batch(const void *batch, size_t size)
{
    return export_bytes(EXPORT_EVENTS, batch, size);
}

/* Sends a line that describes the events. Another pCPU may be writing a frame, which takes less
 * than TRIES turns of the loop; nothing depends on the line but a name in a picture. */
#define TRIES 2000u
static void export_line(const char *format, ...)
{
    char line[LOG_LINE_MAX];
    va_list arguments;
    if (!export_is_open())
        return;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    for (unsigned i = 0; i < TRIES && !export_bytes(EXPORT_TEXT, line, (size_t)length); i++)
        cpu_relax();
}

void trace_begin(const struct vm *vm)
{
    if (chosen_vms && options_match(chosen_vms, vm->name))
        trace_select((uint16_t)vm->number, chosen);
    export_line("vm %u %s", vm->number, vm->name);
}

void trace_export_begin(void)
{
    static const char *const flushes[] = {
#define X(name, text) text,
        FLUSH_REASONS(X)
#undef X
    };
    export_line("tsc_khz %lu", tsc_khz());
    for (unsigned i = 0; i < ARRAY_SIZE(flushes); i++)
        export_line("flush %s", flushes[i]);
    for (unsigned i = 0; i < TRACE_EVENT_COUNT; i++)
        export_line("event %u %s %s", i, trace_name((enum trace_event)i),
                    trace_values((enum trace_event)i));
    trace_export_to(send_batch);
}

bool trace_send_piece(void)
{
    return trace_export_piece() || export_send();
}

/* A serial port needs time for what is left; one that has taken nothing for so long takes no
 * more. */
#define STUCK_MS 1000u

void trace_export_end(void)
{
    if (!trace_exports())
        return;
    struct trace_export_counts counts;
    uint64_t left, before = 0, progress = __builtin_ia32_rdtsc();
    do {
        (void)trace_send_piece(); /* fails also while another pCPU sends */
        counts = trace_export_counts();
        left = counts.left + export_waits();
        if (left != before)
            progress = __builtin_ia32_rdtsc();
        before = left;
    } while (left && __builtin_ia32_rdtsc() - progress < STUCK_MS * tsc_khz());
    log_info("# trace: %lu events have left the machine, and %lu were lost", counts.exported,
             counts.lost + counts.left);
    if (export_waits())
        log_info("# trace: the device has not taken the last %lu bytes", export_waits());
}
