/* SPDX-License-Identifier: MIT */
/* Which VM or vCPU a word means, and whether it may be looked at. Pure. */
#include "lib/string.h"
#include "lib/words.h"
#include "monitor/command.h"
#include "monitor/look.h"
#include "vm/registry.h"
#include "vm/vm.h"

/* Says which VMs there are. */
static void say_vms(struct monitor_call *call)
{
    char list[MONITOR_WIDTH - 40] = "";
    size_t used = 0;
    struct vm *vm;
    for (unsigned number = 0; (vm = registry_hold_next(number)); number = vm->number) {
        if (used < sizeof(list))
            used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%u %s", used ? ", " : "",
                                     vm->number, vm->name);
        registry_release(vm);
    }
    if (used)
        monitor_say(call, "there are: %s", list);
    else
        monitor_say(call, "there is no VM now");
}

/* Holds the VM whose number or name is the text of this length, or returns NULL. Of VMs with the
 * same name, it is the first one. */
static struct vm *hold_named(const char *text, size_t length)
{
    uint64_t wanted;
    struct vm *vm;
    if (word_number(text, (int)length, &wanted))
        return wanted && wanted <= UINT16_MAX ? registry_hold((unsigned)wanted) : NULL;
    for (unsigned number = 0; (vm = registry_hold_next(number)); number = vm->number) {
        if (strlen(vm->name) == length && !strncmp(vm->name, text, length))
            return vm;
        registry_release(vm);
    }
    return NULL;
}

/* Holds the only VM that there is, or returns NULL. */
static struct vm *hold_only(void)
{
    struct vm *vm = registry_hold_next(0);
    struct vm *other = vm ? registry_hold_next(vm->number) : NULL;
    if (!other)
        return vm;
    registry_release(other);
    registry_release(vm);
    return NULL;
}

bool monitor_vm(struct monitor_call *call, unsigned index)
{
    bool given = index < call->count;
    call->vm = given ? hold_named(call->words[index], strlen(call->words[index])) : hold_only();
    if (call->vm)
        return true;
    if (given)
        monitor_say(call, "%s: \"%s\" is no VM; its number or its name is expected",
                    call->command->name, call->words[index]);
    else
        monitor_say(call, "%s: which VM? Type: %s %s", call->command->name, call->command->name,
                    call->command->arguments);
    say_vms(call);
    return false;
}

/* Finds the vCPU with this number in call->vm. */
static bool find_vcpu(struct monitor_call *call, uint64_t number)
{
    const struct vm *vm = call->vm;
    if (number < vm->vcpu_count) {
        call->vcpu = vm->vcpus[number];
        return true;
    }
    monitor_say(call, "%s: VM %u %s has no vCPU %lu; its vCPUs are 0 to %u", call->command->name,
                vm->number, vm->name, number, vm->vcpu_count - 1);
    return false;
}

/* A name may contain dots, so the last one counts, and only if a number follows. */
bool monitor_vcpu(struct monitor_call *call, unsigned index)
{
    uint64_t number = 0;
    const char *word = index < call->count ? call->words[index] : "", *dot = NULL;
    for (const char *at = word; *at; at++)
        dot = *at == '.' ? at : dot;
    if (dot && word_number(dot + 1, (int)strlen(dot + 1), &number)) {
        call->vm = hold_named(word, (size_t)(dot - word));
        if (call->vm)
            return find_vcpu(call, number);
    }
    if (!monitor_vm(call, index))
        return false;
    if (call->vm->vcpu_count == 1)
        return find_vcpu(call, 0);
    monitor_say(call, "%s: VM %u %s has %u vCPUs; which one? Type: %u.0 to %u.%u",
                call->command->name, call->vm->number, call->vm->name, call->vm->vcpu_count,
                call->vm->number, call->vm->number, call->vm->vcpu_count - 1);
    return false;
}

bool monitor_may_show(const struct vm *vm)
{
    return vm->words.tdx != TDX_PROTECTED;
}

bool monitor_may_look(struct monitor_call *call, const char *what)
{
    if (monitor_may_show(call->vm))
        return true;
    monitor_say(call,
                "%s: VM %u %s is a TD, which keeps its %s to itself; create it with tdx=debug",
                call->command->name, call->vm->number, call->vm->name, what);
    return false;
}
