/* SPDX-License-Identifier: MIT */
/* What commands say, the numbers that they read, and how they look. Pure. */
#include "monitor/command.h"

#include "lib/cpu_local.h"
#include "lib/epoch.h"
#include "lib/string.h"
#include "lib/visible.h"
#include "lib/words.h"
#include "vm/vm.h"

/* ---- The answer ------------------------------------------------------------------------------ */

void monitor_say(struct monitor_call *call, const char *format, ...)
{
    char raw[MONITOR_WIDTH], *line = &call->text[call->said];
    va_list arguments;
    if (sizeof(call->text) - call->said < MONITOR_WIDTH) {
        call->cut++;
        return;
    }
    va_start(arguments, format);
    vsnprintf(raw, sizeof(raw), format, arguments);
    va_end(arguments);
    size_t length = visible_text(line, MONITOR_WIDTH - 1, raw);
    if (length > MONITOR_WIDTH - 2)
        length = strlen(line);
    line[length] = '\n';
    call->said += length + 1;
}

/* ---- Its words ------------------------------------------------------------------------------- */

bool monitor_number(struct monitor_call *call, unsigned index, const char *what, uint64_t min,
                    uint64_t max, uint64_t *value)
{
    if (index >= call->count) {
        monitor_say(call, "%s: %s is missing; type: %s %s", call->command->name, what,
                    call->command->name, call->command->arguments);
        return false;
    }
    const char *word = call->words[index];
    if (word_number(word, (int)strlen(word), value) && *value >= min && *value <= max)
        return true;
    monitor_say(call,
                "%s: \"%s\" is no %s: a number from %#lx to %#lx, decimal or with 0x, is "
                "expected",
                call->command->name, word, what, min, max);
    return false;
}

bool monitor_words_end(struct monitor_call *call, unsigned count)
{
    if (call->count <= count)
        return true;
    monitor_say(call, "%s: \"%s\" is one word too many; type: %s%s%s", call->command->name,
                call->words[count], call->command->name, call->command->arguments[0] ? " " : "",
                call->command->arguments);
    return false;
}

/* ---- Visits and looks ------------------------------------------------------------------------ */

static void monitor_visited(struct vcpu *vcpu, void *context)
{
    struct monitor_call *call = context;
    call->look(call, vcpu);
}

bool monitor_visit(struct monitor_call *call,
                   void (*look)(struct monitor_call *call, struct vcpu *vcpu))
{
    if (!call->visiting) {
        call->look = look;
        call->visit = (struct visit){.call = monitor_visited, .context = call};
        call->visiting = true;
        visit_begin(call->vcpu, &call->visit);
    }
    call->waits = !visit_done(&call->visit);
    call->visiting = call->waits;
    call->missed = !call->waits && !visit_called(&call->visit);
    return !call->waits;
}

bool monitor_seen(struct monitor_call *call)
{
    if (call->missed)
        monitor_say(call, "%u.%u %s has no turns now: it waits for a start-up IPI, or has ended",
                    call->vm->number, call->vcpu->index, call->vm->name);
    return !call->missed;
}

/* The CPU may be in an epoch already, of the vCPU between two of whose exits it looks. It holds no
 * pointers of that one's VM. */
void monitor_begin_look(struct monitor_call *call)
{
    const struct epoch_cpu *self = &epoch_cpus[this_cpu()];
    call->online = self->seen;
    call->owner = self->owner;
    epoch_online(this_cpu(), &call->vm->mmu);
}

void monitor_end_look(struct monitor_call *call)
{
    if (call->online)
        epoch_online(this_cpu(), call->owner);
    else
        epoch_offline(this_cpu());
}
