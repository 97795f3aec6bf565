/* SPDX-License-Identifier: MIT */
/*
 * Exits by task switches: copies the registers between the VMCS and vm/task.h, and gives vm/task.c
 * access to the guest's memory like the CPU's own.
 */
#include "arch/x86/cpu.h"
#include "vm/exits.h"
#include "vm/task.h"
#include "vm/vcpu.h"
#include "lib/assert.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "mmio/operand.h"
#include "vmx/debug.h"
#include "vmx/vmcs.h"

#define SOURCE   BITS(31, 30)
#define SELECTOR BITS(15, 0)
#define ATTEMPTS 16 /* if other CPUs keep changing the page tables */

/* ---- Memory ---------------------------------------------------------------------------------- */

struct accessor {
    struct vcpu *vcpu;
    enum mmio_outcome outcome; /* of the access that has failed */
};

static bool task_no_memory(struct accessor *a, gpa_t gpa, uint32_t access, int error)
{
    struct mmio_vcpu *mmio = &a->vcpu->mmio;
    a->outcome =
        error == -EFAULT
            ? mmio_end(mmio,
                       a->vcpu->vmx.pending.requeue.valid ? MMIO_END_DELIVERY
                                                          : MMIO_END_UNSUPPORTED,
                       gpa,
                       mmio_is_read_only(mmio, gpa) ? "a task switch wrote to read-only memory"
                                                    : "a task switch touched MMIO",
                       "keep TSSs, descriptor tables and stacks in RAM")
            : mmio_refused(mmio, gpa, access, error);
    return false;
}

/* Translates an access to one or two pages. Accesses to system structures are supervisor accesses
 * at any CPL, and RFLAGS.AC does not exempt them from SMAP (SDM 3, 4.6.1). */
static bool task_translate(struct accessor *a, uint32_t address, unsigned size, bool write,
                           unsigned cpl, struct fragment fragments[2])
{
    struct mmio_vcpu *mmio = &a->vcpu->mmio;
    struct walk_context context;
    unsigned attempts = ATTEMPTS;
    do {
        walk_context_load(&context, mmio->cpu, mmio->mmu);
        context.key &= ~(KEY_USER | KEY_AC);
        context.key |= cpl == 3 ? KEY_USER : 0;
        a->outcome = operand_translate(mmio, &context, address, size, write, fragments);
    } while (a->outcome == MMIO_REENTER && --attempts);
    if (a->outcome == MMIO_REENTER)
        a->outcome = mmio_end(mmio, MMIO_END_TABLES, GPA(address),
                              "the page tables kept changing during a task switch",
                              "do not change them all the time");
    return a->outcome == MMIO_DONE;
}

static bool task_read(void *context, uint32_t address, void *bytes, unsigned size)
{
    struct accessor *a = context;
    struct fragment fragments[2];
    uint8_t *to = bytes;
    if (!task_translate(a, address, size, false, 0, fragments))
        return false;
    for (unsigned i = 0; i < 2 && fragments[i].size; to += fragments[i].size, i++) {
        gpa_t gpa = fragments[i].gpa;
        int error = guest_read(a->vcpu->mmio.mmu, gpa, to, fragments[i].size, ACCESS_READ);
        if (error)
            return task_no_memory(a, gpa, ACCESS_READ, error);
    }
    return true;
}

static bool task_push(void *context, uint32_t address, const void *bytes, unsigned size,
                      unsigned cpl)
{
    struct accessor *a = context;
    struct fragment fragments[2];
    const uint8_t *from = bytes;
    if (!task_translate(a, address, size, true, cpl, fragments))
        return false;
    for (unsigned i = 0; i < 2 && fragments[i].size; from += fragments[i].size, i++) {
        gpa_t gpa = fragments[i].gpa;
        int error = guest_write(a->vcpu->mmio.mmu, gpa, from, fragments[i].size);
        if (error)
            return task_no_memory(a, gpa, ACCESS_WRITE, error);
    }
    return true;
}

static bool task_write(void *context, uint32_t address, const void *bytes, unsigned size)
{
    return task_push(context, address, bytes, size, 0);
}

/* Translates the access as a write, and fails where the write itself would: nothing may fail between
 * the first change of a TSS and the last. */
static bool task_check_write(void *context, uint32_t address, unsigned size)
{
    struct accessor *a = context;
    struct fragment fragments[2];
    if (!task_translate(a, address, size, true, 0, fragments))
        return false;
    for (unsigned i = 0; i < 2 && fragments[i].size; i++) {
        int error = guest_may_write(a->vcpu->mmio.mmu, fragments[i].gpa);
        if (error)
            return task_no_memory(a, fragments[i].gpa, ACCESS_WRITE, error);
    }
    return true;
}

/* Changes the byte by a compare-exchange of the four aligned bytes that contain it. */
static bool task_change(void *context, uint32_t address, uint8_t clear, uint8_t set)
{
    struct accessor *a = context;
    struct mmu *mmu = a->vcpu->mmio.mmu;
    struct fragment fragments[2];
    unsigned shift = address % 4 * 8;
    uint32_t old;
    int error;
    if (!task_translate(a, address & ~3u, 4, true, 0, fragments))
        return false;
    do {
        error = guest_read(mmu, fragments[0].gpa, &old, 4, ACCESS_READ);
        uint32_t new = (old & ~((uint32_t)clear << shift)) | (uint32_t)set << shift;
        if (!error)
            error = guest_cmpxchg(mmu, fragments[0].gpa, 4, old, new);
    } while (error == -EAGAIN);
    return !error || task_no_memory(a, fragments[0].gpa, ACCESS_WRITE, error);
}

static bool task_set_cr3(void *context, uint32_t cr3)
{
    struct accessor *a = context;
    return vcpu_set_cr3(a->vcpu, cr3);
}

/* ---- Registers ------------------------------------------------------------------------------- */

static uint64_t task_get_reg(struct vcpu *vcpu, unsigned name)
{
    return cpu_reg(&vcpu->vmx.regs, name);
}

static void task_set_reg(struct vcpu *vcpu, unsigned name, uint64_t value)
{
    cpu_set_reg(&vcpu->vmx.regs, name, value);
}

static struct task_segment system_segment(uint32_t selector, uint32_t limit, uint32_t rights,
                                          uint32_t base)
{
    return (struct task_segment){
        .selector = (uint16_t)vmread(selector),
        .limit = (uint32_t)vmread(limit),
        .rights = (uint32_t)vmread(rights),
        .base = vmread(base),
    };
}

static void task_cpu_fill(struct vcpu *vcpu, struct task_cpu *cpu)
{
    *cpu = (struct task_cpu){
        .eip = (uint32_t)task_get_reg(vcpu, REG_RIP),
        .eflags = (uint32_t)task_get_reg(vcpu, REG_RFLAGS),
        .cr3 = (uint32_t)task_get_reg(vcpu, REG_CR3),
        .dr7 = vmread(VMCS_GUEST_DR7),
        .ldtr = system_segment(VMCS_GUEST_LDTR_SELECTOR, VMCS_GUEST_LDTR_LIMIT,
                               VMCS_GUEST_LDTR_ACCESS_RIGHTS, VMCS_GUEST_LDTR_BASE),
        .tr = system_segment(VMCS_GUEST_TR_SELECTOR, VMCS_GUEST_TR_LIMIT,
                             VMCS_GUEST_TR_ACCESS_RIGHTS, VMCS_GUEST_TR_BASE),
        .gdt_base = vmread(VMCS_GUEST_GDTR_BASE),
        .gdt_limit = (uint32_t)vmread(VMCS_GUEST_GDTR_LIMIT),
        .paging = task_get_reg(vcpu, REG_CR0) & CR0_PG,
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cpu->gpr); i++)
        cpu->gpr[i] = (uint32_t)cpu_gpr(&vcpu->vmx.regs, i);
    for (unsigned i = 0; i < SEG_COUNT; i++)
        cpu->segments[i] = (struct task_segment){
            .selector = (uint16_t)task_get_reg(vcpu, REG_SEG_SELECTOR + i),
            .rights = (uint32_t)task_get_reg(vcpu, REG_SEG_AR + i),
            .limit = (uint32_t)task_get_reg(vcpu, REG_SEG_LIMIT + i),
            .base = task_get_reg(vcpu, REG_SEG_BASE + i),
        };
}

static void task_cpu_store(struct vcpu *vcpu, const struct task_cpu *cpu)
{
    task_set_reg(vcpu, REG_RIP, cpu->eip);
    task_set_reg(vcpu, REG_RFLAGS, cpu->eflags);
    task_set_reg(vcpu, REG_CR0, task_get_reg(vcpu, REG_CR0) | CR0_TS);
    for (unsigned i = 0; i < ARRAY_SIZE(cpu->gpr); i++)
        cpu_set_gpr(&vcpu->vmx.regs, i, cpu->gpr[i]);
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        task_set_reg(vcpu, REG_SEG_SELECTOR + i, cpu->segments[i].selector);
        task_set_reg(vcpu, REG_SEG_AR + i, cpu->segments[i].rights);
        task_set_reg(vcpu, REG_SEG_LIMIT + i, cpu->segments[i].limit);
        task_set_reg(vcpu, REG_SEG_BASE + i, cpu->segments[i].base);
    }
    vmwrite(VMCS_GUEST_DR7, cpu->dr7);
    vmwrite(VMCS_GUEST_LDTR_SELECTOR, cpu->ldtr.selector);
    vmwrite(VMCS_GUEST_LDTR_LIMIT, cpu->ldtr.limit);
    vmwrite(VMCS_GUEST_LDTR_ACCESS_RIGHTS, cpu->ldtr.rights);
    vmwrite(VMCS_GUEST_LDTR_BASE, cpu->ldtr.base);
    vmwrite(VMCS_GUEST_TR_SELECTOR, cpu->tr.selector);
    vmwrite(VMCS_GUEST_TR_LIMIT, cpu->tr.limit);
    vmwrite(VMCS_GUEST_TR_ACCESS_RIGHTS, cpu->tr.rights);
    vmwrite(VMCS_GUEST_TR_BASE, cpu->tr.base);
}

/* ---- The exit -------------------------------------------------------------------------------- */

static bool is_software(const struct event *event)
{
    return event->type == EVENT_SOFTWARE_INTERRUPT || event->type == EVENT_SOFTWARE_EXCEPTION ||
           event->type == EVENT_PRIVILEGED_EXCEPTION;
}

/* The cause of the switch: an instruction, after which the old task continues later, or an event,
 * which the switch delivers. */
static struct task_request request_of(struct vcpu *vcpu, struct task_cpu *cpu)
{
    uint64_t qualification = vmx_exit_qualification(&vcpu->vmx.exit);
    const struct event *event = &vcpu->vmx.pending.requeue;
    struct task_request request = {
        .source = (enum task_source)field_get(qualification, SOURCE),
        .selector = (uint16_t)field_get(qualification, SELECTOR),
    };
    if (!event->valid) {
        cpu->eip += (uint32_t)vmx_exit_length(&vcpu->vmx.exit);
        cpu->eflags &= ~(uint32_t)RFLAGS_RF;
        return request;
    }
    cpu->eip += event->length;
    request.external = !is_software(event) || event->type == EVENT_PRIVILEGED_EXCEPTION;
    request.has_error = event->has_error;
    request.error_code = event->error_code;
    return request;
}

/* The event has been delivered or the instruction has completed, so blocking by STI and by MOV SS
 * ends. Blocking by NMI ends if the instruction was IRET. */
static void end_blocking(enum task_source source)
{
    uint64_t blocking = vmread(VMCS_GUEST_INTERRUPTIBILITY) & ~INTERRUPT_SHADOW;
    if (source == TASK_IRET)
        blocking &= ~BLOCKING_BY_NMI;
    vmwrite(VMCS_GUEST_INTERRUPTIBILITY, blocking);
}

void exit_task_switch(struct vcpu *vcpu)
{
    struct accessor accessor = {.vcpu = vcpu};
    const struct task_memory memory = {task_read,   task_write,   task_push, task_check_write,
                                       task_change, task_set_cr3, &accessor};
    struct task_cpu cpu;
    task_cpu_fill(vcpu, &cpu);
    const struct task_request request = request_of(vcpu, &cpu);
    struct task_outcome outcome = task_switch(&cpu, &request, &memory);

    if (outcome.switched) {
        task_cpu_store(vcpu, &cpu);
        end_blocking(request.source);
    }
    switch (outcome.result) {
    case TASK_DONE:
        vcpu->vmx.pending.requeue.valid = false;
        return;
    case TASK_TRAP:
        vcpu->vmx.pending.requeue.valid = false;
        vmx_raise_debug(&vcpu->vmx, DEBUG_TASK_SWITCH);
        return;
    case TASK_FAULT: /* during an event's delivery, this may become #DF */
        vmx_raise(&vcpu->vmx, outcome.vector, outcome.error_code);
        return;
    case TASK_MEMORY:
        mmio_act_on(vcpu, accessor.outcome);
        return;
    }
}
