/* SPDX-License-Identifier: MIT */
#include "vm/stat.h"

#include "lib/string.h"
#include "vm/counters.h"
#include "vm/transcript.h"
#include "vm/vm.h"

#define COUNTER 48  /* characters of a counter, with its value */
#define LINE    136 /* characters after which a line is ended */
_Static_assert(sizeof("# stat  18446744073709551615/99\n") + VM_NAME_SIZE + LINE + COUNTER <=
                   LOG_LINE_MAX,
               "the console does not cut a line");

struct stat {
    const struct vm *vm;
    uint64_t milliseconds;
    unsigned lines;
    char line[LINE + COUNTER];
    int used;
};

static void stat_end_line(struct stat *stat)
{
    if (stat->used)
        transcript_line(transcript_console(), "# stat %s %lu/%u%s", stat->vm->name,
                        stat->milliseconds, ++stat->lines, stat->line);
    stat->used = 0;
}

static void stat_add(struct stat *stat, const char *name, uint64_t value)
{
    size_t room = sizeof(stat->line) - (size_t)stat->used;
    if (!value)
        return;
    stat->used += snprintf(stat->line + stat->used, room, " %s=%lu", name, value);
    if (stat->used >= LINE)
        stat_end_line(stat);
}

/* The counters are read while other CPUs may advance them. */
static void stat_add_exits(struct stat *stat)
{
    const struct vm *vm = stat->vm;
    uint64_t all = 0;
    char name[16];
    for (unsigned reason = 0; reason < REASON_COUNT; reason++) {
        uint64_t sum = 0;
        for (unsigned i = 0; i < vm->vcpu_count; i++)
            sum += READ_ONCE(vm->vcpus[i]->exits[reason]);
        snprintf(name, sizeof(name), "exit_%u", reason);
        stat_add(stat, name, sum);
        all += sum;
    }
    stat_add(stat, "exits", all);
}

void stat_print(const struct vm *vm, uint64_t milliseconds)
{
    struct stat stat = {.vm = vm, .milliseconds = milliseconds};
    uint64_t values[COUNTER_COUNT];
    stat_add_exits(&stat);
    counters_read(&vm->vcpu, values);
    values[COUNTER_EXITS] = 0; /* of all vCPUs, as above */
    for (unsigned i = 0; i < COUNTER_COUNT; i++)
        stat_add(&stat, counter_name(i), values[i]);
    stat.used += snprintf(stat.line + stat.used, sizeof(stat.line) - (size_t)stat.used, " .");
    stat_end_line(&stat);
}
