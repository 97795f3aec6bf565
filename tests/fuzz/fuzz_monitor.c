/* SPDX-License-Identifier: MIT */
/*
 * The monitor's dialogue whose person is libFuzzer: keys in any order, and lines of any words.
 * After each key the terminal shows the line that is being edited. Whatever a line says, its answer
 * consists of printable lines, its VMs are released, and a number that is accepted is in its range.
 */
#include "lib/epoch.h"
#include "lib/log.h"
#include "monitor/command.h"
#include "tests/unit/monitor/editor_terminal.h"
#include "vm/registry.h"
#include "vm/vm.h"

#include <stdlib.h>

static struct vm vms[2];
static unsigned holds;

struct vm *registry_hold_next(unsigned after)
{
    holds += after < 2;
    return after < 2 ? &vms[after] : NULL;
}

struct vm *registry_hold(unsigned number)
{
    return number ? registry_hold_next(number - 1) : NULL;
}

void registry_release(struct vm *vm)
{
    assert(vm == &vms[vm->number - 1] && holds);
    holds--;
}

void visit_begin(struct vcpu *vcpu, struct visit *visit)
{
    visit->call(vcpu, visit->context);
    visit->done = VISIT_CALLED;
}

struct epoch_cpu epoch_cpus[CPUS_MAX];

void epoch_online(unsigned cpu, const void *owner)
{
    (void)cpu;
    (void)owner;
}

void epoch_offline(unsigned cpu)
{
    (void)cpu;
}

unsigned this_cpu(void)
{
    return 0;
}

void cpu_relax(void)
{
}

void log_line(enum log_level level, const char *format, ...)
{
    (void)level;
    (void)format;
}

static void look(struct monitor_call *call, struct vcpu *vcpu)
{
    assert(vcpu->vm == call->vm);
    monitor_say(call, "%s %u", call->words[0], vcpu->index);
}

/* Takes a vCPU, a number, and up to two further words. */
static bool one(struct monitor_call *call)
{
    uint64_t value;
    if (!call->vm) {
        if (!monitor_vcpu(call, 1) || !monitor_number(call, 2, "number", 3, 1000, &value) ||
            !monitor_words_end(call, 5))
            return false;
        assert(value >= 3 && value <= 1000);
        assert(call->vcpu->vm == call->vm);
        call->value[0] = value;
    }
    return !monitor_visit(call, look) || --call->value[0];
}

static bool two(struct monitor_call *call)
{
    for (unsigned i = 0; monitor_vm(call, 1) && i < call->count; i++) {
        monitor_say(call, "%s", call->words[i]);
        registry_release(call->vm);
        call->vm = NULL;
    }
    return false;
}

const struct monitor_command monitor_commands[] = {
    {"one", "VM.VCPU NUMBER [WORD]", "", one, 'o'},
    {"two", "VM", "", two, 't'},
};
const unsigned monitor_command_count = 2;

static const char *candidate(void *context, unsigned index)
{
    static const char *const words[] = {"one", "two", "twofold", "vm.0", NULL};
    (void)context;
    return words[index];
}

static void check_text(const struct monitor_call *call)
{
    assert(call->said <= MONITOR_TEXT);
    assert(!call->said || call->text[call->said - 1] == '\n');
    for (size_t i = 0, start = 0; i < call->said; i++) {
        if (call->text[i] == '\n')
            start = i + 1;
        else
            assert(call->text[i] >= ' ' && call->text[i] <= '~');
        assert(i - start < MONITOR_WIDTH || start > i);
    }
}

static void answer(const char *line)
{
    static struct monitor_call call;
    bool more;
    monitor_call_begin(&call, line);
    do {
        more = monitor_call_piece(&call);
        check_text(&call);
        call.said = 0;
    } while (more);
    assert(!holds);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct editor editor;
    struct screen screen = {0};
    memset(&editor, 0, sizeof(editor));
    for (unsigned i = 0; i < 2; i++) {
        strcpy(vms[i].name, i ? "vm.0" : "vm");
        vms[i].number = (uint16_t)(i + 1);
        vms[i].vcpu_count = i + 1;
        for (unsigned j = 0; j <= i; j++) {
            vms[i].vcpus[j] = &vms[i].vcpu; /* the same one: only its VM and address matter */
            vms[i].vcpu.vm = &vms[i];
        }
    }
    editor_prompt(&editor);
    screen_take(&screen, &editor);
    for (size_t i = 0; i < size; i++) {
        enum editor_event event = editor_key(&editor, data[i]);
        if (event == EDITOR_TAB)
            editor_complete(&editor, candidate, NULL);
        screen_take(&screen, &editor);
        if (event == EDITOR_LINE || event == EDITOR_END) {
            answer(editor.line);
            editor_prompt(&editor);
            screen_take(&screen, &editor);
        }
        screen_check(&screen, &editor);
    }
    return 0;
}
