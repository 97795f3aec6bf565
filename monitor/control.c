/* SPDX-License-Identifier: MIT */
/* The commands that change what VMs do: pause, resume, inject, end; and `quit`. */
#include "lib/string.h"
#include "monitor/command.h"
#include "monitor/commands.h"
#include "monitor/look.h"
#include "monitor/start.h"
#include "vm/pause.h"
#include "vm/registry.h"
#include "vm/vm.h"

/* ---- pause and resume ------------------------------------------------------------------------ */

/* Finds what the word `VM` or `VM.VCPU` means: call->vcpu is NULL for a whole VM. */
static bool find_vm_or_vcpu(struct monitor_call *call)
{
    const char *word = call->count > 1 ? call->words[1] : "";
    size_t length = strlen(word);
    bool vcpu =
        length > 2 && word[length - 1] >= '0' && word[length - 1] <= '9' && strchr(word, '.');
    return monitor_words_end(call, 2) && (vcpu ? monitor_vcpu(call, 1) : monitor_vm(call, 1));
}

/* A vCPU is out of its guest when it receives a visit, and is not let in again while it is
 * paused. */
static void nothing(struct monitor_call *call, struct vcpu *vcpu)
{
    (void)call;
    (void)vcpu;
}

static bool pause_one(struct monitor_call *call)
{
    if (!call->step++)
        pause_vcpu(call->vcpu, PAUSE_MONITOR);
    if (!monitor_visit(call, nothing))
        return true;
    if (call->missed)
        monitor_say(call, "%u.%u %s has no turns now; it will be paused when it has",
                    call->vm->number, call->vcpu->index, call->vm->name);
    else
        monitor_say(call, "%u.%u %s is paused", call->vm->number, call->vcpu->index,
                    call->vm->name);
    return false;
}

bool command_pause(struct monitor_call *call)
{
    if (!call->vm && !find_vm_or_vcpu(call))
        return false;
    if (call->vcpu)
        return pause_one(call);
    if (!call->step++)
        pause_vm(call->vm, PAUSE_MONITOR);
    call->waits = !pause_reached(call->vm) && vm_ending(call->vm) == VM_RUNNING;
    if (call->waits)
        return true;
    if (vm_ending(call->vm) == VM_RUNNING)
        monitor_say(call, "VM %u %s is paused", call->vm->number, call->vm->name);
    else
        monitor_say(call, "VM %u %s has ended meanwhile", call->vm->number, call->vm->name);
    return false;
}

static void resume_all(struct monitor_call *call)
{
    struct vm *vm;
    unsigned count = 0;
    monitor_lets_go();
    for (unsigned number = 0; (vm = registry_hold_next(number)); number = vm->number) {
        resume_vm(vm, PAUSE_MONITOR);
        registry_release(vm);
        count++;
    }
    monitor_say(call, "all VMs go on (%u)", count);
}

bool command_resume(struct monitor_call *call)
{
    if (call->count == 1) {
        resume_all(call);
        return false;
    }
    if (!find_vm_or_vcpu(call))
        return false;
    if (call->vcpu) {
        resume_vcpu(call->vcpu, PAUSE_MONITOR);
        monitor_say(call, "%u.%u %s goes on%s", call->vm->number, call->vcpu->index, call->vm->name,
                    pause_pausers(call->vcpu) ? " as far as the monitor is concerned" : "");
        return false;
    }
    resume_vm(call->vm, PAUSE_MONITOR);
    monitor_say(call, "VM %u %s goes on%s", call->vm->number, call->vm->name,
                pause_pausers(call->vm->vcpus[0]) ? " as far as the monitor is concerned" : "");
    return false;
}

/* ---- inject ---------------------------------------------------------------------------------- */

#define VECTOR_LOWEST 16u /* APICs refuse lower ones */

static void inject_here(struct monitor_call *call, struct vcpu *vcpu)
{
    uint8_t vector = (uint8_t)call->value[0];
    struct event event = {.valid = true, .vector = vector, .type = EVENT_INTERRUPT};
    if (!vector) {
        vcpu_nmi(vcpu);
        monitor_say(call, "%u.%u %s gets an NMI", call->vm->number, vcpu->index, call->vm->name);
        return;
    }
    bool accepts = lapic_accepts(&vcpu->lapic);
    vcpu_pend(vcpu, &event);
    monitor_say(call, "%u.%u %s gets the interrupt %#x%s", call->vm->number, vcpu->index,
                call->vm->name, vector, accepts ? "" : ", past its APIC, which is disabled");
}

bool command_inject(struct monitor_call *call)
{
    if (!call->vm) {
        if (!monitor_words_end(call, 3) || !monitor_vcpu(call, 1) ||
            !monitor_may_look(call, "interrupts"))
            return false;
        bool nmi = call->count > 2 && !strcmp(call->words[2], "nmi");
        if (!nmi && !monitor_number(call, 2, "vector", VECTOR_LOWEST, 255, &call->value[0]))
            return false;
    }
    if (!monitor_visit(call, inject_here))
        return true;
    if (call->missed)
        monitor_say(call, "%u.%u %s has no turns now, so it gets nothing", call->vm->number,
                    call->vcpu->index, call->vm->name);
    return false;
}

/* ---- end ------------------------------------------------------------------------------------- */

/* On the pCPU of one of its vCPUs, as vm_end() requires. */
static void end_here(struct monitor_call *call, struct vcpu *vcpu)
{
    (void)call;
    (void)vm_end(vcpu->vm, VM_ENDED_MONITOR, "somebody at the console has ended it");
}

bool command_end(struct monitor_call *call)
{
    if (!call->vm && (!monitor_words_end(call, 2) || !monitor_vm(call, 1)))
        return false;
    const struct vm *vm = call->vm;
    call->vcpu = vm->vcpus[call->index];
    if (!monitor_visit(call, end_here))
        return true;
    if (call->missed && ++call->index < vm->vcpu_count)
        return true;
    monitor_say(call, "VM %u %s %s", vm->number, vm->name,
                call->missed ? "was about to end" : "has been ended");
    return false;
}

/* ---- quit ------------------------------------------------------------------------------------ */

bool command_quit(struct monitor_call *call)
{
    if (!monitor_words_end(call, 1))
        return false;
    monitor_lets_go();
    call->leaves = true;
    return false;
}
