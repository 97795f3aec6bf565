/* SPDX-License-Identifier: MIT */
/* How a VM ends, and the VM for which this pCPU works. */
#include "vm/vm.h"

#include "arch/x86/memory.h"
#include "lib/ledger.h"
#include "lib/log.h"
#include "lib/string.h"
#include "vm/sleep.h"

_Static_assert(LEDGER_ACCOUNTS > BOOT_MODULES, "each VM has an account by its number");
_Static_assert(TRACE_VMS > BOOT_MODULES, "each VM can select its events by its number");

static const char *const ending_names[] = {
#define X(name, text) text,
    VM_ENDINGS(X)
#undef X
        "any",
    NULL,
};

const char *vm_ending_name(enum vm_ending ending)
{
    return ending == VM_RUNNING ? "running" : ending_names[ending - 1];
}

bool vm_end(struct vm *vm, enum vm_ending ending, const char *format, ...)
{
    enum vm_ending running = VM_RUNNING;
    va_list arguments;
    bool first = __atomic_compare_exchange_n(&vm->ending, &running, ending, false, __ATOMIC_SEQ_CST,
                                             __ATOMIC_SEQ_CST);
    if (first) {
        va_start(arguments, format);
        vsnprintf(vm->message, sizeof(vm->message), format, arguments);
        va_end(arguments);
    }
    /* Every caller does this: none of them may return to its guest, and the first one may not have
     * come this far yet. */
    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        attention_request(&vm->vcpus[i]->vmx.attention, ATTENTION_ENDED);
        if (first)
            sleep_alert(vm->vcpus[i]);
    }
    return first;
}

void vcpu_end(const struct vcpu *vcpu, enum vm_ending ending, const char *format, ...)
{
    char text[sizeof(vcpu->vm->message)];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (vcpu->vm->vcpu_count > 1)
        vm_end(vcpu->vm, ending, "vCPU %u: %s", vcpu->index, text);
    else
        vm_end(vcpu->vm, ending, "%s", text);
}

bool vm_passed(const struct vm *vm)
{
    const struct console *console = &vm->console;
    if (vm->words.expect == EXPECT_ANY)
        return vm->ending < VM_ENDED_MISCONFIGURATION;
    if (vm->ending != vm->words.expect + 1)
        return false;
    if (vm->ending == VM_ENDED_EXIT && vm->exit_value)
        return false;
    return !console->failed &&
           (!console->planned || console->planned == console_results_since_reset(console));
}

void vm_work_for(struct vm *vm)
{
    transcript_speak_for(vm ? vm->console.transcript : NULL, vm ? vm->name : NULL);
    memory_pay_from(vm ? vm->number : 0);
}
