/* SPDX-License-Identifier: MIT */
/* `vms` and `vcpus`: what exists, and what it is doing. */
#include "arch/x86/memory.h"
#include "arch/x86/tsc.h"
#include "arch/x86/unprivileged.h"
#include "lib/page.h"
#include "lib/string.h"
#include "monitor/command.h"
#include "monitor/commands.h"
#include "monitor/look.h"
#include "vm/counters.h"
#include "vm/pause.h"
#include "vm/registry.h"
#include "vm/visit.h"
#include "vm/vm.h"

/* ---- vms ------------------------------------------------------------------------------------- */

static const char *vm_state(const struct vm *vm)
{
    if (vm_ending(vm) != VM_RUNNING)
        return "ending";
    for (unsigned i = 0; i < vm->vcpu_count; i++)
        if (!pause_pausers(vm->vcpus[i]))
            return "running";
    return pause_reached(vm) ? "paused" : "being paused";
}

static void vms_line(struct monitor_call *call, const struct vm *vm)
{
    char kind[64] = "";
    if (vm->words.tdx)
        snprintf(kind, sizeof(kind), ", a TD%s", monitor_may_show(vm) ? " (debug)" : "");
    monitor_say(call, "%2u %-16s %-12s %2u vCPU%s %5lu MiB, %6lu KiB taken, %lu exits%s",
                vm->number, vm->name, vm_state(vm), vm->vcpu_count,
                vm->vcpu_count == 1 ? ", " : "s,", vm->words.memory >> 20,
                memory_used(vm->number) << (PAGE_SHIFT - 10), vm_exit_count(vm), kind);
}

bool command_vms(struct monitor_call *call)
{
    struct vm *vm;
    if (!monitor_words_end(call, 1))
        return false;
    for (unsigned i = 0; i < MONITOR_LINES / 2; i++) {
        if (!(vm = registry_hold_next((unsigned)call->index)))
            break;
        vms_line(call, vm);
        call->index = vm->number;
        call->value[0]++;
        registry_release(vm);
        if (i + 1 == MONITOR_LINES / 2)
            return true;
    }
    if (!call->value[0])
        monitor_say(call, "there is no VM now");
    return false;
}

/* ---- vcpus ----------------------------------------------------------------------------------- */

void time_text(uint64_t now, uint64_t at, char *text, size_t size)
{
    uint64_t us = at > now ? (at - now) * 1000 / tsc_khz() : 0;
    if (at == TIME_NEVER)
        snprintf(text, size, "never");
    else
        snprintf(text, size, "%lu.%03lu ms", us / 1000, us % 1000);
}

void vcpu_state_text(const struct vcpu *vcpu, char *text, size_t size)
{
    uint32_t pcpu = __atomic_load_n(&vcpu->mailbox.pcpu, __ATOMIC_RELAXED);
    bool halted = attention_requested(&vcpu->vmx.attention, ATTENTION_HALTED);
    const char *paused = pause_pausers(vcpu) ? "paused, " : "";
    if (vm_ending(vcpu->vm) != VM_RUNNING)
        snprintf(text, size, "ended");
    else if (!visit_is_open(vcpu))
        snprintf(text, size, "%swaits for a start-up IPI", paused);
    else if (pcpu && !*paused)
        snprintf(text, size, "%s on CPU %u", halted ? "halted" : "running", pcpu - 1);
    else if (*paused)
        snprintf(text, size, "paused%s", halted ? ", halted" : "");
    else
        snprintf(text, size, "%s", halted ? "halted, asleep" : "waits for a CPU");
}

/* What a halted vCPU waits for. */
static void say_halt(struct monitor_call *call, struct vcpu *vcpu)
{
    char when[32];
    bool on = vcpu->vmx.wakes_masked || cpu_reg(&vcpu->vmx.regs, REG_RFLAGS) & RFLAGS_IF;
    uint64_t next = vcpu_next_event(vcpu);
    time_text(rdtsc(), next, when, sizeof(when));
    if (!on)
        monitor_say(call, "    waits for an NMI: interrupts are masked (IF=0)");
    else if (next == TIME_NEVER)
        monitor_say(call, "    waits for an interrupt; no timer of its own is armed");
    else
        monitor_say(call, "    waits for an interrupt; its next event is in %s", when);
}

static void look_at_vcpu(struct monitor_call *call, struct vcpu *vcpu)
{
    struct cpu_regs *regs = &vcpu->vmx.regs;
    uint64_t exits = vcpu_exit_count(vcpu);
    if (monitor_may_show(vcpu->vm))
        monitor_say(call, "    RIP %#lx, CR3 %#lx, CPL %u, IF %u", cpu_reg(regs, REG_RIP),
                    cpu_reg(regs, REG_CR3), cpu_cpl(regs),
                    (cpu_reg(regs, REG_RFLAGS) & RFLAGS_IF) != 0);
    if (!exits)
        monitor_say(call, "    has not entered its guest yet");
    else if (last_exit_was_kick(vcpu))
        monitor_say(call, "    %lu exits, the last one by a kick", exits);
    else
        monitor_say(call, "    %lu exits, the last one by: %s", exits,
                    exit_reason_name(vcpu->vmx.exit.reason));
    if (attention_requested(&vcpu->vmx.attention, ATTENTION_HALTED))
        say_halt(call, vcpu);
}

/* Goes on with the next VM, if all are asked for. Returns false if there is none. */
static bool next_vm(struct monitor_call *call)
{
    unsigned number = call->vm ? call->vm->number : 0;
    if (call->vm)
        registry_release(call->vm);
    call->vm = call->count == 1 ? registry_hold_next(number) : NULL;
    call->index = 0;
    return call->vm;
}

bool command_vcpus(struct monitor_call *call)
{
    char state[64];
    if (!call->vm &&
        (!monitor_words_end(call, 2) || !(call->count == 1 ? next_vm(call) : monitor_vm(call, 1))))
        return false;
    if (!call->vcpu) {
        call->vcpu = call->vm->vcpus[call->index];
        vcpu_state_text(call->vcpu, state, sizeof(state));
        monitor_say(call, "%u.%lu %s: %s", call->vm->number, call->index, call->vm->name, state);
    }
    if (!monitor_visit(call, look_at_vcpu))
        return true;
    call->vcpu = NULL;
    return ++call->index < call->vm->vcpu_count || next_vm(call);
}
