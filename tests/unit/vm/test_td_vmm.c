/* SPDX-License-Identifier: MIT */
/*
 * The host's side of a TD's TDVMCALLs CPUID, HLT, I/O, RDMSR and WRMSR (vm/td_vmm.c): what each
 * answers, and that no operand of the TD is trusted.
 */
#include "tests/unit/vmx/vmcs_world.h"

#include "vm/td_vmm.c"

#include "td_cpu_world.h"

#include <string.h>

/* ---- What the file uses ---------------------------------------------------------------------- */

static char reported[100];

void access_report_refusal(struct vcpu *v, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reported, sizeof(reported), format, arguments);
    va_end(arguments);
    assert_ptr_equal(v, vcpu);
}

/* ---- The port bus ---------------------------------------------------------------------------- */

static struct {
    uint64_t port, value;
    unsigned size, reads, writes;
} bus_saw;

uint64_t bus_read(struct bus *bus, struct mmio_vcpu *v, uint64_t port, unsigned size)
{
    assert_ptr_equal(bus, &vm.port_bus);
    assert_ptr_equal(v, &vcpu->mmio);
    bus_saw.reads++;
    bus_saw.port = port;
    bus_saw.size = size;
    return ~0ull; /* more than was asked for */
}

void bus_write(struct bus *bus, struct mmio_vcpu *v, uint64_t port, unsigned size, uint64_t value)
{
    assert_ptr_equal(bus, &vm.port_bus);
    assert_ptr_equal(v, &vcpu->mmio);
    bus_saw.writes++;
    bus_saw.port = port;
    bus_saw.size = size;
    bus_saw.value = value;
}

static int setup(void **state)
{
    (void)state;
    memset(&vm, 0, sizeof(vm));
    memset(&seen, 0, sizeof(seen));
    memset(&bus_saw, 0, sizeof(bus_saw));
    vcpu->vm = &vm;
    return 0;
}

/* ---- The host's side ------------------------------------------------------------------------- */

static uint64_t gpr[GPR_COUNT];

static void call(uint64_t r12, uint64_t r13, uint64_t r14, uint64_t r15)
{
    memset(gpr, 0, sizeof(gpr));
    gpr[GPR_R11] = 0x1111;
    gpr[GPR_R12] = r12;
    gpr[GPR_R13] = r13;
    gpr[GPR_R14] = r14;
    gpr[GPR_R15] = r15;
}

static void host_cpuid(void **state)
{
    (void)state;
    call(0x40000000, 0, 7, 7);
    assert_int_equal(td_vmcall_cpuid(vcpu, gpr), GHCI_SUCCESS);
    assert_true(gpr[GPR_R12] == 0x40000001 && gpr[GPR_R13] == 0x4b4d564b &&
                gpr[GPR_R14] == 0x564b4d56 && gpr[GPR_R15] == 0x4d);
    static const uint32_t none[] = {0x40000001, 0x40000100, 0x4fffffff};
    for (unsigned i = 0; i < ARRAY_SIZE(none); i++) {
        call(none[i], 5, 7, 7);
        assert_int_equal(td_vmcall_cpuid(vcpu, gpr), GHCI_SUCCESS);
        assert_int_equal(gpr[GPR_R12] | gpr[GPR_R13] | gpr[GPR_R14] | gpr[GPR_R15], 0);
    }
    assert_int_equal(seen.asked, 0);
    static const uint32_t others[] = {2, 0x16, 0x3fffffff, 0x50000000, 0x80000002};
    for (unsigned i = 0; i < ARRAY_SIZE(others); i++) {
        call(others[i], 3, 0, 0);
        assert_int_equal(td_vmcall_cpuid(vcpu, gpr), GHCI_SUCCESS);
        assert_true(seen.leaf == others[i] && seen.subleaf == 3 && gpr[GPR_R15] == 0xffffffff);
    }
}

static void host_msrs(void **state)
{
    (void)state;
    static const struct {
        uint32_t msr;
        uint64_t value;
    } constant[] = {{0x3a, 1}, {0x8b, 0}, {0xfe, 0}, {0x179, 0}, {0x17a, 0}, {0x2ff, 0x806}};
    for (unsigned i = 0; i < ARRAY_SIZE(constant); i++) {
        call(constant[i].msr, 0, 0, 0);
        assert_int_equal(td_vmcall_rdmsr(vcpu, gpr), GHCI_SUCCESS);
        assert_int_equal(gpr[GPR_R11], constant[i].value);
        call(constant[i].msr, constant[i].value, 0, 0);
        assert_int_equal(td_vmcall_wrmsr(vcpu, gpr), GHCI_SUCCESS);
        call(constant[i].msr, constant[i].value ^ 0x100, 0, 0);
        assert_int_equal(td_vmcall_wrmsr(vcpu, gpr), GHCI_INVALID_OPERAND);
    }
    static const uint32_t emulated[] = {0x1b, 0x6e0, 0x802, 0x832};
    for (unsigned i = 0; i < ARRAY_SIZE(emulated); i++) {
        call(emulated[i], 0, 0, 0);
        assert_int_equal(td_vmcall_rdmsr(vcpu, gpr), GHCI_SUCCESS);
        assert_int_equal(gpr[GPR_R11], 0x100000000ull + emulated[i]);
    }
    /* The TSC and IA32_EFER are the module's, though the host could emulate them. */
    static const uint32_t refused[] = {0x10, 0xc0000080, 0x17, 0x3b, 0x1a0, 0x7ff, 0x80c, 0x900};
    for (unsigned i = 0; i < ARRAY_SIZE(refused); i++) {
        call(refused[i], 0, 0, 0);
        assert_int_equal(td_vmcall_rdmsr(vcpu, gpr), GHCI_INVALID_OPERAND);
        assert_int_equal(gpr[GPR_R11], 0x1111);
        assert_int_equal(td_vmcall_wrmsr(vcpu, gpr), GHCI_INVALID_OPERAND);
    }
    assert_string_equal(reported, "TDVMCALL WRMSR of MSR 0x900");
    call(0x3b, 0, 0, 0);
    assert_int_equal(td_vmcall_rdmsr(vcpu, gpr), GHCI_INVALID_OPERAND);
    assert_string_equal(reported, "TDVMCALL RDMSR of MSR 0x3b");
}

static void the_apic_stays(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 64; bit++) {
        call(0x1b, 0x10000001bull ^ BIT(bit), 0, 0);
        assert_int_equal(td_vmcall_wrmsr(vcpu, gpr), GHCI_INVALID_OPERAND);
    }
    call(0x1b, 0x10000001bull, 0, 0);
    assert_int_equal(td_vmcall_wrmsr(vcpu, gpr), GHCI_SUCCESS);
    assert_int_equal(seen.writes, 0);
    for (uint64_t mode = 0; mode < 8; mode++) {
        call(0x830, 0x300004041 | mode << 8, 0, 0);
        assert_int_equal(td_vmcall_wrmsr(vcpu, gpr),
                         mode == 5 || mode == 6 ? GHCI_INVALID_OPERAND : GHCI_SUCCESS);
    }
    assert_int_equal(seen.writes, 6);
    call(0x832, 0x500, 0, 0); /* another register with these bits */
    assert_int_equal(td_vmcall_wrmsr(vcpu, gpr), GHCI_SUCCESS);
}

static void host_io(void **state)
{
    (void)state;
    for (uint64_t size = 0; size < 10; size++)
        for (uint64_t write = 0; write < 3; write++) {
            bool valid = (size == 1 || size == 2 || size == 4) && write < 2;
            memset(&bus_saw, 0, sizeof(bus_saw));
            call(size, write, 0x108, 0x1122334455667788);
            assert_int_equal(td_vmcall_io(vcpu, gpr), valid ? GHCI_SUCCESS : GHCI_INVALID_OPERAND);
            assert_int_equal(bus_saw.reads, valid && !write);
            assert_int_equal(bus_saw.writes, valid && write);
            uint64_t mask = valid ? ~0ull >> (64 - 8 * size) : 0;
            if (valid)
                assert_true(bus_saw.port == 0x108 && bus_saw.size == size);
            if (valid && write)
                assert_int_equal(bus_saw.value, 0x1122334455667788 & mask);
            assert_int_equal(gpr[GPR_R11], valid && !write ? mask : 0x1111);
        }
    static const uint64_t no_ports[] = {0x10000, 0x10108, BIT(63) | 0x108};
    for (unsigned i = 0; i < ARRAY_SIZE(no_ports); i++) {
        call(1, 0, no_ports[i], 0);
        assert_int_equal(td_vmcall_io(vcpu, gpr), GHCI_INVALID_OPERAND);
    }
    call(1ull << 32 | 1, 0, 0x108, 0);
    assert_int_equal(td_vmcall_io(vcpu, gpr), GHCI_INVALID_OPERAND);
}

static void host_hlt(void **state)
{
    (void)state;
    for (uint64_t blocked = 0; blocked < 3; blocked++) {
        vcpu->vmx.attention.word = 0;
        call(blocked, 0, 0, 0);
        assert_int_equal(td_vmcall_hlt(vcpu, gpr), GHCI_SUCCESS);
        assert_true(attention_requested(&vcpu->vmx.attention, ATTENTION_HALTED));
        assert_int_equal(vcpu->vmx.wakes_masked, !blocked);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(host_cpuid, setup),     cmocka_unit_test_setup(host_msrs, setup),
        cmocka_unit_test_setup(the_apic_stays, setup), cmocka_unit_test_setup(host_io, setup),
        cmocka_unit_test_setup(host_hlt, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
