/* SPDX-License-Identifier: MIT */
/*
 * INS and OUTS, with REP, DF and every address size (SDM 2). Called by vm/io.c.
 *
 * Each iteration updates the registers, so a repetition can stop after any iteration: when the next
 * one faults, for a single step, when a request is pending, and after ITERATIONS iterations, so
 * that a later request does not wait long. RIP stays at the instruction until the last iteration is
 * done. Memory is translated before the port is accessed, so an iteration that faults has no
 * effect.
 */
#include "vm/io.h"

#include "arch/x86/reg_bits.h"
#include "mmio/operand.h"
#include "vm/clock.h"
#include "vm/exits.h"
#include "vm/vm.h"
#include "vmx/vmcs.h"

/* The instruction information (SDM 3, table 28-8). */
#define INFO_ADDRESS_SIZE BITS(9, 7)   /* 0: 16 bits, 1: 32, 2: 64 */
#define INFO_SEGMENT      BITS(17, 15) /* OUTS only */

#define ITERATIONS 8 /* in one exit, at most: each walks the guest's page tables */

struct string_io {
    struct vcpu *vcpu;
    struct walk_context context;
    uint64_t port, address_mask;
    unsigned size;
    bool in;
    uint8_t segment;
    uint8_t pointer;              /* RDI or RSI */
    struct fragment fragments[2]; /* the memory of the element */
    uint64_t breakpoints;         /* met by the last iteration */
};

static void string_set_reg(struct string_io *io, unsigned gpr, uint64_t value)
{
    uint64_t *reg = &io->vcpu->vmx.regs.gpr[gpr], mask = io->address_mask;
    /* A write of 16 bits keeps the others, a write of 32 bits clears them. */
    *reg = mask == 0xffff ? (*reg & ~mask) | (value & mask) : value & mask;
}

/* Translates the memory of one element, and finds every fault that its access causes. */
static enum mmio_outcome string_look(struct string_io *io)
{
    struct mmio_vcpu *v = &io->vcpu->mmio;
    uint64_t linear, offset = v->cpu->gpr[io->pointer] & io->address_mask;
    uint8_t vector;

    if (!mmio_segment(v->cpu, &io->context, io->segment, offset, io->size, io->in, &linear,
                      &vector))
        return mmio_inject(v, &io->context, vector, 0);
    io->breakpoints = operand_breakpoints(v, linear, io->size, io->in) |
                      breakpoints_met(&v->breakpoints, v->cpu, io->port, io->size, BREAKPOINT_IO);
    enum mmio_outcome outcome =
        operand_translate(v, &io->context, linear, io->size, io->in, io->fragments);
    if (outcome == MMIO_DONE && linear & (io->size - 1u) &&
        operand_checks_alignment(&io->context, v->cpu))
        return mmio_inject(v, &io->context, VECTOR_AC, 0);
    return outcome;
}

/* Reads or writes the element in RAM, or at a device on the MMIO bus. */
static int string_move_element(struct string_io *io, uint64_t *value)
{
    uint64_t part = *value;
    unsigned first = 8 * io->fragments[0].size;
    int error = io->in ? fragment_write(&io->vcpu->mmio, &io->fragments[0], part)
                       : fragment_read(&io->vcpu->mmio, &io->fragments[0], &part);
    if (error || !io->fragments[1].size) {
        *value = part;
        return error;
    }
    uint64_t rest = *value >> first;
    error = io->in ? fragment_write(&io->vcpu->mmio, &io->fragments[1], rest)
                   : fragment_read(&io->vcpu->mmio, &io->fragments[1], &rest);
    *value = part | rest << first;
    return error;
}

static enum mmio_outcome io_string_iterate(struct string_io *io)
{
    struct bus *bus = &io->vcpu->vm->port_bus;
    struct mmio_vcpu *v = &io->vcpu->mmio;
    uint64_t value = 0;

    enum mmio_outcome outcome = string_look(io);
    if (outcome != MMIO_DONE)
        return outcome;
    if (io->in)
        value = bus_read(bus, v, io->port, io->size);
    if (string_move_element(io, &value))
        return mmio_end(v, MMIO_END_MEMORY, io->fragments[0].gpa, "no host memory for string I/O",
                        "give the machine more memory");
    if (!io->in)
        bus_write(bus, v, io->port, io->size, value);
    uint64_t step = io->context.rflags & RFLAGS_DF ? -(uint64_t)io->size : io->size;
    string_set_reg(io, io->pointer, v->cpu->gpr[io->pointer] + step);
    return MMIO_DONE;
}

/* Stops between two iterations. The state is that after an instruction, except for RIP and RF. */
static void string_pause(const struct string_io *io)
{
    vmx_retry_instruction(&io->vcpu->vmx);
    vmx_end_interrupt_shadow();
    vmx_raise_single_step(&io->vcpu->vmx);
    if (unlikely(io->breakpoints))
        vmx_raise_trap(io->breakpoints);
    vcpu_end_of_slice(io->vcpu);
}

static void string_complete(struct string_io *io)
{
    vmx_skip_instruction(&io->vcpu->vmx);
    if (unlikely(io->breakpoints))
        vmx_raise_trap(io->breakpoints);
}

static void string_repeat(struct string_io *io)
{
    struct vcpu *vcpu = io->vcpu;
    const uint64_t *count = &vcpu->vmx.regs.gpr[GPR_RCX];
    uint64_t mask = io->address_mask;

    for (unsigned n = 0; *count & mask; n++) {
        if (n && (n == ITERATIONS ||
                  attention_requested(&vcpu->vmx.attention, ~(uint64_t)ATTENTION_REARM) ||
                  io->context.rflags & RFLAGS_TF || io->breakpoints)) {
            string_pause(io);
            return;
        }
        enum mmio_outcome outcome = io_string_iterate(io);
        if (outcome != MMIO_DONE) {
            if (n)
                vmx_end_interrupt_shadow();
            mmio_act_on(vcpu, outcome);
            return;
        }
        string_set_reg(io, GPR_RCX, *count - 1);
    }
    string_complete(io);
}

void io_string(struct vcpu *vcpu, uint64_t qualification)
{
    static const uint64_t masks[] = {0xffff, 0xffffffff, ~0ull, ~0ull};
    if (!(vmx.msrs.basic & BASIC_INS_OUTS_INFO)) {
        vcpu_end(
            vcpu, VM_ENDED_UNSUPPORTED_INSTRUCTION,
            "INS or OUTS at RIP %#lx: this CPU does not report which segment and address size it "
            "has (IA32_VMX_BASIC bit 54); on this CPU, a guest has to use IN and OUT",
            cpu_reg(&vcpu->vmx.regs, REG_RIP));
        return;
    }
    uint64_t info = vmx_exit_info(&vcpu->vmx.exit);
    bool in = qualification & IO_IN;
    struct string_io io = {
        .vcpu = vcpu,
        .port = field_get(qualification, IO_PORT),
        .address_mask = masks[field_get(info, INFO_ADDRESS_SIZE) & 3],
        .size = (unsigned)field_get(qualification, IO_SIZE) + 1,
        .in = in,
        .segment = in ? SEG_ES : (uint8_t)field_get(info, INFO_SEGMENT),
        .pointer = in ? GPR_RDI : GPR_RSI,
    };
    walk_context_load(&io.context, &vcpu->vmx.regs, &vcpu->vm->mmu);
    if (qualification & IO_REP) {
        string_repeat(&io);
        return;
    }
    enum mmio_outcome outcome = io_string_iterate(&io);
    if (outcome == MMIO_DONE)
        string_complete(&io);
    else
        mmio_act_on(vcpu, outcome);
}
