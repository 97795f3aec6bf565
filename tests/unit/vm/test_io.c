/* SPDX-License-Identifier: MIT */
/*
 * Exits of IN and OUT (vm/io.c): each width moves the right bytes between RAX and the device, the
 * first time as well as by what is remembered of the port, and an I/O breakpoint raises its trap
 * with each access that touches its bytes.
 */
#include "tests/unit/vm/regs.h"
#include "tests/unit/vmx/vmcs_world.h"

#include "ept/invalidate.h"
#include "mmu/tlb.h"
#include "vm/io.c"

#include <string.h>

#define FIRST 0x100u
#define PORTS 8u

static struct vm vm;
static struct vcpu *const vcpu = &vm.vcpu;
static struct {
    unsigned skipped;
    uint64_t trap;
} seen;
static struct {
    uint64_t offset, value;
    unsigned size, reads, writes;
} device;

void cpu_kick(unsigned number)
{
    (void)number;
}

void invept(unsigned type, uint64_t eptp)
{
    (void)type, (void)eptp;
}

void invvpid(unsigned type, uint16_t vpid, gva_t address)
{
    (void)type, (void)vpid, (void)address;
}

void cpu_reg_load_usual(struct cpu_regs *cpu)
{
    (void)cpu;
}

void cpu_complete(struct cpu_regs *cpu, uint64_t next, uint64_t rflags)
{
    (void)cpu, (void)next, (void)rflags;
}

void vmx_skip_instruction(struct vmx_vcpu *half)
{
    assert_ptr_equal(half, &vcpu->vmx);
    seen.skipped++;
}

void vmx_raise_trap(uint64_t pending)
{
    assert_int_equal(seen.skipped, 1); /* a trap comes after its instruction */
    seen.trap |= pending;
}

void io_string(struct vcpu *v, uint64_t qualification)
{
    (void)v, (void)qualification;
    fail_msg("INS or OUTS");
}

static uint64_t device_read(void *opaque, struct mmio_vcpu *v, uint64_t offset, unsigned size)
{
    assert_ptr_equal(opaque, &device);
    assert_ptr_equal(v, &vcpu->mmio);
    device.offset = offset;
    device.size = size;
    device.reads++;
    return device.value;
}

static void device_write(void *opaque, struct mmio_vcpu *v, uint64_t offset, unsigned size,
                         uint64_t value)
{
    assert_ptr_equal(opaque, &device);
    assert_ptr_equal(v, &vcpu->mmio);
    device.offset = offset;
    device.size = size;
    device.value = value;
    device.writes++;
}

static int setup(void **state)
{
    static const struct bus_ops ops = {"device", .read = device_read, .write = device_write};
    (void)state;
    memset(&vm, 0, sizeof(vm));
    memset(vmcs, 0, sizeof(vmcs));
    memset(reg, 0, sizeof(reg));
    vcpu->vm = &vm;
    vcpu->mmio.cpu = &vcpu->vmx.regs;
    bus_init(&vm.port_bus, "port", 0xffff);
    return bus_add(&vm.port_bus, FIRST, PORTS, &ops, &device);
}

static void exits(uint64_t port, unsigned size, bool in)
{
    memset(&seen, 0, sizeof(seen));
    device.reads = device.writes = 0;
    vmcs[VMCS_EXIT_QUALIFICATION] = port << 16 | (in ? IO_IN : 0) | (size - 1);
    vmcs[VMCS_EXIT_INSTRUCTION_LENGTH] = 1;
    vmcs[VMCS_GUEST_RIP] = 0x1000;
    exit_io(vcpu);
    assert_int_equal(device.reads, in);
    assert_int_equal(device.writes, !in);
    assert_int_equal(device.offset, port - FIRST);
    assert_int_equal(device.size, size);
    assert_int_equal(seen.skipped, vmcs[VMCS_GUEST_RIP] == 0x1000); /* by one of the two ways */
}

#define OLD 0x8877665544332211ull
#define NEW 0xaabbccdd12345678ull

static uint64_t after_in(unsigned size)
{
    return size == 4 ? 0x12345678 : size == 2 ? 0x8877665544335678 : 0x8877665544332278;
}

static void each_width(void **state)
{
    (void)state;
    for (unsigned size = 1; size <= 4; size *= 2)
        for (uint64_t port = FIRST; port + size <= FIRST + PORTS; port++)
            for (unsigned round = 0; round < 3; round++) {
                vcpu->vmx.regs.gpr[GPR_RAX] = OLD;
                device.value = NEW;
                exits(port, size, true);
                assert_int_equal(vcpu->vmx.regs.gpr[GPR_RAX], after_in(size));
                assert_int_equal(seen.skipped, !round); /* then the port is known */
                vcpu->vmx.regs.gpr[GPR_RAX] = OLD;
                exits(port, size, false);
                assert_int_equal(device.value, OLD & BITS(8 * size - 1, 0));
                assert_int_equal(vcpu->vmx.regs.gpr[GPR_RAX], OLD);
                assert_int_equal(seen.trap, 0);
            }
}

#define LENGTH(bytes) ((bytes) == 4 ? 3ull : (bytes)-1ull) /* in DR7 */

/* Breakpoint n on `length` ports from 104h. While breakpoints are enabled, no port is known. */
static void each_breakpoint(void **state)
{
    (void)state;
    vcpu->mmio.breakpoints.on = true;
    for (unsigned i = 0; i < 4 * 3 * 3 * 2 * 2; i++) {
        unsigned n = i % 4, length = 1u << (i / 4 % 3), size = 1u << (i / 12 % 3);
        bool in = i / 36 % 2, extensions = i / 72 % 2;
        vcpu->mmio.breakpoints.address[n] = 0x104;
        vcpu->vmx.regs.known = 0;
        reg[REG_DR7] = BIT(2 * n) | (2 | LENGTH(length) << 2) << (16 + 4 * n);
        reg[REG_CR4] = extensions ? CR4_DE : 0; /* without it, I/O breakpoints do not exist */
        for (uint64_t port = FIRST; port + size <= FIRST + PORTS; port++)
            for (unsigned round = 0; round < 2; round++) {
                bool met = extensions && port < 0x104 + length && port + size > 0x104;
                exits(port, size, in);
                assert_int_equal(seen.trap, met ? BIT(n) | BIT(12) : 0);
                assert_int_equal(seen.skipped, 1);
            }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(each_width, setup),
        cmocka_unit_test_setup(each_breakpoint, setup),
    };
    return cmocka_run_group_tests_name("IN and OUT", tests, NULL, NULL);
}
