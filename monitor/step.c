/* SPDX-License-Identifier: MIT */
/* `step`: a paused vCPU executes one instruction, and is paused again. */
#include "lib/string.h"
#include "mmio/fetch.h"
#include "monitor/command.h"
#include "monitor/commands.h"
#include "vm/debugger.h"
#include "vm/pause.h"
#include "vm/visit.h"
#include "vm/vm.h"

/* ---- What an instruction can change ---------------------------------------------------------- */

static const char *const names[] = {"RAX", "RCX", "RDX", "RBX", "RSP", "RBP",  "RSI",   "RDI",
                                    "R8",  "R9",  "R10", "R11", "R12", "R13",  "R14",   "R15",
                                    "RIP", "CS",  "CR0", "CR3", "CR4", "EFER", "RFLAGS"};
static const uint8_t others[] = {
    REG_RIP, REG_SEG_SELECTOR + SEG_CS, REG_CR0, REG_CR3, REG_CR4, REG_EFER, REG_RFLAGS,
};
#define RIP GPR_COUNT /* its index */

_Static_assert(sizeof(names) / sizeof(*names) == GPR_COUNT + sizeof(others), "each has a name");
_Static_assert(GPR_COUNT + sizeof(others) == MONITOR_REGISTERS, "struct monitor_call has room");

static uint64_t read_register(struct vcpu *vcpu, unsigned index)
{
    struct cpu_regs *regs = &vcpu->vmx.regs;
    return index < GPR_COUNT ? cpu_gpr(regs, index)
                             : cpu_reg(regs, (enum cpu_reg)others[index - GPR_COUNT]);
}

static void say_bytes(struct monitor_call *call, struct vcpu *vcpu)
{
    uint8_t bytes[INSN_MAX];
    char text[3 * INSN_MAX + 1] = "";
    unsigned count = mmio_fetch_peek(&vcpu->mmio, bytes);
    for (unsigned i = 0; i < count; i++)
        snprintf(text + (size_t)3 * i, 4, " %02x", bytes[i]);
    monitor_say(call, "    the bytes at RIP were%s", count ? text : " not readable");
}

/* ---- The step -------------------------------------------------------------------------------- */

static void stepped(struct vcpu *vcpu)
{
    pause_vcpu(vcpu, PAUSE_MONITOR);
}

static void cancel(struct monitor_call *call, struct vcpu *vcpu)
{
    (void)call;
    (void)debugger_step_cancel(vcpu);
}

/* Takes the step back, unless it has been made meanwhile. The vCPU is paused as before the step,
 * also if an INIT has taken it its turns. */
static bool step_is_taken_back(struct monitor_call *call)
{
    if (!call->visiting)
        pause_vcpu(call->vcpu, PAUSE_MONITOR);
    return !monitor_visit(call, cancel);
}

/* Begins a step, and then sets call->value[1]. */
static void step_begins(struct monitor_call *call, struct vcpu *vcpu)
{
    const struct vm *vm = vcpu->vm;
    uint32_t pausers = pause_pausers(vcpu);
    if (vm->debugger) {
        monitor_say(call, "step: VM %u %s is GDB's, whose stepi does the same", vm->number,
                    vm->name);
    } else if (pausers != PAUSE_MONITOR) {
        monitor_say(call, "step: %u.%u %s is not paused; type: pause %u.%u", vm->number,
                    vcpu->index, vm->name, vm->number, vcpu->index);
    } else if (attention_requested(&vcpu->vmx.attention, ATTENTION_HALTED) && !vcpu_wakes(vcpu)) {
        monitor_say(call,
                    "step: %u.%u %s is halted, and executes nothing until an event wakes it; type: "
                    "resume %u.%u, or inject %u.%u VECTOR",
                    vm->number, vcpu->index, vm->name, vm->number, vcpu->index, vm->number,
                    vcpu->index);
    } else {
        call->value[1] = true;
        for (unsigned i = 0; i < MONITOR_REGISTERS; i++)
            call->registers[i] = read_register(vcpu, i);
        monitor_say(call, "%u.%u %s at RIP %#lx", vm->number, vcpu->index, vm->name,
                    call->registers[RIP]);
        say_bytes(call, vcpu);
        call->take_back = step_is_taken_back;
        debugger_step(vcpu, stepped);
        resume_vcpu(vcpu, PAUSE_MONITOR);
    }
}

/* Somebody else may have paused the vCPU before it has made the step. */
static void step_is_over(struct monitor_call *call, struct vcpu *vcpu)
{
    if (debugger_step_cancel(vcpu)) {
        monitor_say(call, "    somebody else has paused the vCPU before it could make the step");
        pause_vcpu(vcpu, PAUSE_MONITOR);
        return;
    }
    uint64_t rip = read_register(vcpu, RIP);
    if (rip == call->registers[RIP])
        monitor_say(call, "    RIP is the same: a repetition of a string instruction, or a jump to "
                          "itself");
    for (unsigned i = 0; i < MONITOR_REGISTERS; i++) {
        uint64_t value = read_register(vcpu, i);
        if (value != call->registers[i])
            monitor_say(call, "    %-6s %#lx -> %#lx", names[i], call->registers[i], value);
    }
}

/* The vCPU is paused after the step, and if somebody else pauses it. An INIT, which takes the vCPU
 * its turns, ends the waiting as well. */
static bool step_may_be_over(const struct monitor_call *call)
{
    return pause_pausers(call->vcpu) || !visit_is_open(call->vcpu);
}

bool command_step(struct monitor_call *call)
{
    if (!call->vm) {
        if (!monitor_words_end(call, 2) || !monitor_vcpu(call, 1) ||
            !monitor_may_look(call, "registers"))
            return false;
    }
    if (!call->step) {
        if (!monitor_visit(call, step_begins))
            return true;
        call->step++;
        return monitor_seen(call) && call->value[1];
    }
    if (!call->visiting && vm_ending(call->vm) != VM_RUNNING) {
        monitor_say(call, "VM %u %s has ended, by this step or meanwhile", call->vm->number,
                    call->vm->name);
        return false;
    }
    call->waits = !call->visiting && !step_may_be_over(call);
    if (call->waits || !monitor_visit(call, step_is_over))
        return true;
    if (!monitor_seen(call))
        pause_vcpu(call->vcpu, PAUSE_MONITOR);
    return false;
}
