/* SPDX-License-Identifier: MIT */
/* Implements vm/trace.h. */
#include "vm/trace.h"

#include "lib/errno.h"
#include "lib/log.h"
#include "lib/string.h"
#include "lib/trace.h"
#include "vm/options.h"
#include "vm/vm.h"

#define NEWEST 64 /* events that are printed to explain an unexpected end */

static uint32_t chosen; /* the mask of the events that the command line chose */

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
    char known[LOG_LINE_MAX];
    size_t used = 0;
    known[0] = 0;
    for (unsigned i = 0; i < TRACE_EVENT_COUNT && used < sizeof(known); i++)
        used += (size_t)snprintf(known + used, sizeof(known) - used, " %s",
                                 trace_name((enum trace_event)i));
    log_error("command line: no event is called \"%s\"; allowed in trace=: all, off, a list of",
              name);
    log_error(" %s", known);
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

int64_t trace_choose_bits(struct vm *vm, uint64_t events)
{
    if (events >> TRACE_EVENT_COUNT)
        return -EINVAL;
    vm->chose_trace = true;
    int64_t before = trace_select(vm->number, (uint32_t)events);
    mmu_forget(&vm->mmu); /* the fast paths record no events, so their caches are emptied */
    return before;
}

void trace_report(const struct vm *vm)
{
    struct trace_reader reader;
    const struct trace_record *record;
    char text[LOG_LINE_MAX];
    bool wanted = trace_selected(vm->number),
         as_expected = vm_passed(vm) && vm->ending == VM_ENDED_EXIT;
    uint64_t there = trace_read_begin(&reader, vm->number, as_expected ? UINT64_MAX : NEWEST);
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
    if (!vm_passed(vm) && !wanted)
        transcript_line(vm->console.transcript,
                        "# %s: trace=all on the command line would print its last events here",
                        vm->name);
    if (vm->chose_trace)
        trace_forget(vm->number);
}
