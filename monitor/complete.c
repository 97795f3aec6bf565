/* SPDX-License-Identifier: MIT */
#include "monitor/complete.h"

#include "lib/string.h"
#include "monitor/command.h"
#include "vm/registry.h"
#include "vm/vm.h"

static bool completion_full(const struct completion *c)
{
    return c->count == COMPLETION_WORDS;
}

static char *completion_add(struct completion *c)
{
    return c->words[c->count++];
}

static void add_commands(struct completion *c)
{
    for (unsigned i = 0; i < monitor_command_count && !completion_full(c); i++)
        snprintf(completion_add(c), COMPLETION_WIDTH, "%s", monitor_commands[i].name);
}

static void add_vm(struct completion *c, const struct vm *vm, bool vcpus)
{
    if (!vcpus)
        snprintf(completion_add(c), COMPLETION_WIDTH, "%s", vm->name);
    for (unsigned i = 0; vcpus && i < vm->vcpu_count && !completion_full(c); i++)
        snprintf(completion_add(c), COMPLETION_WIDTH, "%s.%u", vm->name, i);
}

/* The VMs' names, or if `vcpus` is set, the names of their vCPUs, as far as there is room. */
static void add_vms(struct completion *c, bool vcpus)
{
    struct vm *vm;
    for (unsigned number = 0; !completion_full(c) && (vm = registry_hold_next(number));
         number = vm->number) {
        add_vm(c, vm, vcpus);
        registry_release(vm);
    }
}

void completion_begin(struct completion *c, const char *line, unsigned number)
{
    c->count = 0;
    if (!number) {
        add_commands(c);
        return;
    }
    const struct monitor_command *command = monitor_find(line);
    if (!command || number > 1)
        return;
    if (!strncmp(command->arguments, "[COMMAND", 8))
        add_commands(c);
    else if (!strncmp(command->arguments, "VM.VCPU", 7))
        add_vms(c, true);
    else if (strchr(command->arguments, 'V'))
        add_vms(c, false);
}

const char *completion_word(void *completion, unsigned index)
{
    struct completion *c = completion;
    return index < c->count ? c->words[index] : NULL;
}
