/* SPDX-License-Identifier: MIT */
/*
 * Exits of IN and OUT. The exit qualification describes such an instruction completely, so for a
 * few of them vcpu->ports keeps the device, for as long as the port bus does not change.
 */
#include "vm/io.h"
#include "lib/assert.h"
#include "vm/exits.h"
#include "vm/vm.h"

static uint64_t with_low_bytes(uint64_t old, uint64_t value, uint64_t mask)
{
    uint64_t keep = mask == 0xffffffff ? 0 : ~mask; /* 32-bit results clear bits 63:32 */
    return (old & keep) | (value & mask);
}

/* Completes the instruction, and raises #DB for I/O breakpoints that it has met. */
static void io_finish(struct vcpu *vcpu, uint64_t port, unsigned size)
{
    struct mmio_vcpu *v = &vcpu->mmio;
    uint64_t met = breakpoints_met(&v->breakpoints, v->cpu, port, size, BREAKPOINT_IO);
    vmx_skip_instruction(&vcpu->vmx);
    if (unlikely(met))
        vmx_raise_trap(met);
}

static COLD void io_look_up(struct vcpu *vcpu, uint64_t qualification, struct known_port *known)
{
    struct bus *bus = &vcpu->vm->port_bus;
    uint64_t *rax = &vcpu->vmx.regs.gpr[GPR_RAX], port = field_get(qualification, IO_PORT);
    unsigned size = (unsigned)field_get(qualification, IO_SIZE) + 1;
    uint64_t mask = BITS(8 * size - 1, 0);

    if (qualification & IO_STRING) {
        io_string(vcpu, qualification);
        return;
    }
    struct bus_hint hint;
    bus_hint_fill(bus, &hint, port, size, !(qualification & IO_IN));
    *known = (struct known_port){.qualification = qualification,
                                 .sequence = vcpu->mmio.breakpoints.on ? 0 : hint.sequence,
                                 .ops = hint.region.ops,
                                 .write = hint.sequence ? hint.region.ops->write : NULL,
                                 .device = hint.region.device,
                                 .offset = port - hint.region.start,
                                 .mask = mask,
                                 .size = size};
    if (qualification & IO_IN)
        *rax = with_low_bytes(*rax, bus_read(bus, &vcpu->mmio, port, size), mask);
    else
        bus_write(bus, &vcpu->mmio, port, size, *rax & mask);
    io_finish(vcpu, port, size);
}

static NOINLINE void io_read_known(struct vcpu *vcpu, const struct known_port *k)
{
    uint64_t *rax = &vcpu->vmx.regs.gpr[GPR_RAX];
    uint64_t value = k->ops->read(k->device, &vcpu->mmio, k->offset, k->size);
    *rax = with_low_bytes(*rax, value, k->mask);
}

/* RIP advances first, so that the device's write comes last and can be a tail call. */
void exit_io(struct vcpu *vcpu)
{
    uint64_t qualification =
        vmx_exit_field(REASON_IO_INSTRUCTION, DEFINES_QUALIFICATION, VMCS_EXIT_QUALIFICATION);
    uint64_t index = (qualification >> 16 ^ qualification) % KNOWN_PORTS;
    struct known_port *k = &vcpu->ports[index];
    IN_REGISTER(k);

    if (unlikely(k->qualification != qualification ||
                 bus_sequence(&vcpu->vm->port_bus) != k->sequence ||
                 !vmx_skip_plain(REASON_IO_INSTRUCTION))) {
        io_look_up(vcpu, qualification, k);
        return;
    }
    if (qualification & IO_IN) {
        io_read_known(vcpu, k);
        return;
    }
    k->write(k->device, &vcpu->mmio, k->offset, k->size, vcpu->vmx.regs.gpr[GPR_RAX] & k->mask);
}
