/*
 * INS and OUTS, with REP, DF and every address size (SDM 2). Called by guest/io.c.
 *
 * Each iteration is complete in itself, registers included, so a repetition can stop after any of
 * them: at a fault of the next one, for a single step, when something waits for the guest, and
 * after a number of them, so that none waits long. RIP stays at the instruction until the last one.
 * Memory is looked at before the port is: an iteration that faults has no effect.
 */
#include "guest/io.h"

#include "lib/errno.h"
#include "mmio/segment.h"
#include "vmx/vmcs.h"

/* The instruction information (SDM 3, table 28-8). */
#define INFO_ADDRESS_SIZE BITS(9, 7)   /* 0: 16 bits, 1: 32, 2: 64 */
#define INFO_SEGMENT      BITS(17, 15) /* OUTS only */

#define ITERATIONS 64 /* in one exit */

struct string_io {
    struct vcpu *vcpu;
    struct walk_context context;
    struct insn operand; /* the memory operand, as an instruction of its own */
    uint64_t port;
    bool in;
    uint8_t pointer; /* RDI or RSI */
    gpa_t gpa[2];    /* of the pages that this iteration touches, */
    unsigned part;   /* and how many bytes are in the first */
};

static void set_masked(struct string_io *io, unsigned gpr, uint64_t value)
{
    uint64_t *reg = &io->vcpu->vmx.regs.gpr[gpr], mask = io->operand.address_mask;
    /* 16 bits leave the rest alone, 32 bits clear it. */
    *reg = mask == 0xffff ? (*reg & ~mask) | (value & mask) : value & mask;
}

/* Finds the pages of one element, and all the faults that there are. */
static enum mmio_outcome look(struct string_io *io)
{
    struct mmio_vcpu *v = &io->vcpu->mmio;
    uint64_t linear, access = io->in ? KEY_WRITE : 0;
    unsigned size = io->operand.size;
    uint8_t vector;

    if (!mmio_linear(v->cpu, &io->context, &io->operand, 0, &linear, &vector))
        return mmio_inject(v, &io->context, vector, 0);
    uint64_t room = PAGE_SIZE - page_offset(linear);
    io->part = room < size ? (unsigned)room : size;
    for (unsigned i = 0; i < (io->part < size ? 2 : 1); i++) {
        struct translation t;
        uint64_t at = i ? linear + io->part : linear;
        if (mmio_code_size(&io->context) != CODE_64)
            at = (uint32_t)at;
        enum walk_result result =
            mmio_cache_translate(&v->cache, &io->context, GVA(at), access, &t);
        if (result != WALK_OK)
            return mmio_walk_failed(v, &io->context, result, at, &t);
        io->gpa[i] = t.gpa;
    }
    bool checked =
        io->context.key & KEY_AC && io->context.key & KEY_USER && cpu_reg(v->cpu, REG_CR0) & CR0_AM;
    if (checked && linear & (size - 1))
        return mmio_inject(v, &io->context, VECTOR_AC, 0);
    return MMIO_DONE;
}

/* A part of an element: memory, or the device that stands there. */
static int move(struct string_io *io, unsigned i, uint8_t *bytes, unsigned size)
{
    struct vcpu *vcpu = io->vcpu;
    int error = io->in ? guest_write(&vcpu->vm->mmu, io->gpa[i], bytes, size)
                       : guest_read(&vcpu->vm->mmu, io->gpa[i], bytes, size, ACCESS_READ);
    if (error != -EFAULT)
        return error;
    if (io->in)
        bus_write_bytes(&vcpu->vm->mmio_bus, &vcpu->mmio, io->gpa[i].v, bytes, size);
    else
        bus_read_bytes(&vcpu->vm->mmio_bus, &vcpu->mmio, io->gpa[i].v, bytes, size);
    return 0;
}

static int move_element(struct string_io *io, uint8_t *bytes)
{
    unsigned rest = io->operand.size - io->part;
    int error = move(io, 0, bytes, io->part);
    return error || !rest ? error : move(io, 1, bytes + io->part, rest);
}

static enum mmio_outcome iterate(struct string_io *io)
{
    struct bus *bus = &io->vcpu->vm->port_bus;
    struct mmio_vcpu *v = &io->vcpu->mmio;
    unsigned size = io->operand.size;
    uint8_t bytes[4] = {0};
    int error = 0;

    enum mmio_outcome outcome = look(io);
    if (outcome != MMIO_DONE)
        return outcome;
    if (io->in)
        bus_read_bytes(bus, v, io->port, bytes, size);
    error = move_element(io, bytes);
    if (error)
        return mmio_end(v, MMIO_END_MEMORY, io->gpa[0], "no host memory for string I/O",
                        "give the machine more memory");
    if (!io->in)
        bus_write_bytes(bus, v, io->port, bytes, size);
    uint64_t step = io->context.rflags & RFLAGS_DF ? -(uint64_t)size : size;
    set_masked(io, io->pointer, v->cpu->gpr[io->pointer] + step);
    return MMIO_DONE;
}

/* Stops between two iterations: all is as after an instruction, but RIP. */
static void pause(struct vcpu *vcpu)
{
    vmx_end_interrupt_shadow();
    vmx_raise_single_step(&vcpu->vmx);
}

static void repeat(struct string_io *io)
{
    struct vcpu *vcpu = io->vcpu;
    const uint64_t *count = &vcpu->vmx.regs.gpr[GPR_RCX];
    uint64_t mask = io->operand.address_mask;

    for (unsigned n = 0; *count & mask; n++) {
        if (n && (n == ITERATIONS || vcpu->vmx.attention || io->context.rflags & RFLAGS_TF)) {
            pause(vcpu);
            return;
        }
        enum mmio_outcome outcome = iterate(io);
        if (outcome != MMIO_DONE) {
            if (n)
                vmx_end_interrupt_shadow();
            mmio_act_on(vcpu, outcome);
            return;
        }
        set_masked(io, GPR_RCX, *count - 1);
    }
    vmx_skip_instruction(&vcpu->vmx);
}

void io_string(struct vcpu *vcpu, uint64_t qualification)
{
    static const uint64_t masks[] = {0xffff, 0xffffffff, ~0ull, ~0ull};
    if (!(vmx.msrs.basic & BASIC_INS_OUTS_INFO)) {
        vm_end(vcpu->vm, VM_ENDED_UNSUPPORTED_INSTRUCTION,
               "INS or OUTS at RIP %#lx: this CPU does not say which segment and address size it "
               "has (IA32_VMX_BASIC bit 54)",
               cpu_reg(&vcpu->vmx.regs, REG_RIP));
        return;
    }
    uint64_t info = vmx_exit_info(&vcpu->vmx.exit);
    bool in = qualification & IO_IN;
    struct string_io io = {.vcpu = vcpu,
                           .port = field_get(qualification, IO_PORT),
                           .in = in,
                           .pointer = in ? GPR_RDI : GPR_RSI};
    io.operand = (struct insn){
        .size = (uint8_t)(field_get(qualification, IO_SIZE) + 1),
        .write = in,
        .segment = in ? SEG_ES : (uint8_t)field_get(info, INFO_SEGMENT),
        .base = io.pointer,
        .index = INSN_NO_REG,
        .address_mask = masks[field_get(info, INFO_ADDRESS_SIZE) & 3],
    };
    walk_context_load(&io.context, &vcpu->vmx.regs, &vcpu->vm->mmu);
    if (qualification & IO_REP) {
        repeat(&io);
        return;
    }
    enum mmio_outcome outcome = iterate(&io);
    if (outcome == MMIO_DONE)
        vmx_skip_instruction(&vcpu->vmx);
    else
        mmio_act_on(vcpu, outcome);
}
