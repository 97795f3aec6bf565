/* SPDX-License-Identifier: MIT */
/*
 * The exits of a TD's CPUID and MSRs (vm/td_cpu.c) and the host's side of its TDVMCALLs
 * (vm/td_vmm.c): that the rules of tdx/ are applied to the right registers, what is left unchanged
 * by an exception, and that the host trusts no operand.
 */
#include "tests/unit/vmx/vmcs_world.h"

#include "arch/x86/cpu.h"

#include "vm/td_cpu.c"

#include "vm/td_vmm.c"

#include <string.h>

#define GARBAGE 0xdeadbeef00000000ull

struct vmx_machine vmx;

static struct vm vm;
static struct vcpu *const vcpu = &vm.vcpu;
static struct vcpu before;
static struct td td;
static struct td_vcpu td_vcpu;

static struct {
    unsigned skipped, ve, gp, cr, asked, reads, writes;
    uint32_t leaf, subleaf, msr;
    uint64_t value;
} seen;

/* ---- What the files use ---------------------------------------------------------------------- */

void vmx_skip_instruction(struct vmx_vcpu *half)
{
    assert_ptr_equal(half, &vcpu->vmx);
    seen.skipped++;
}

void td_raise_ve(struct vcpu *v)
{
    assert_ptr_equal(v, vcpu);
    seen.ve++;
}

void td_raise(struct vcpu *v, uint8_t vector)
{
    assert_ptr_equal(v, vcpu);
    assert_int_equal(vector, VECTOR_GP);
    seen.gp++;
}

static enum tdx_access cr_access;

enum tdx_access control_regs_access_of_td(struct vcpu *v)
{
    assert_ptr_equal(v, vcpu);
    return cr_access;
}

void exit_cr_access(struct vcpu *v)
{
    assert_ptr_equal(v, vcpu);
    seen.cr++;
}

struct cpuid cpuid_offered(const struct vcpu *v, uint32_t leaf, uint32_t subleaf)
{
    assert_ptr_equal(v, vcpu);
    seen.asked++;
    seen.leaf = leaf;
    seen.subleaf = subleaf;
    return (struct cpuid){~0u, ~0u, ~0u, ~0u};
}

/* Of the emulated MSRs, those of the x2APIC that exist, the TSC, the deadline, the APIC's base and
 * IA32_EFER. */
static bool exists(uint32_t msr)
{
    static const uint32_t some[] = {0x10,  0x1b,  0x6e0, 0x802, 0x803, 0x808, 0x80a, 0x80b,
                                    0x810, 0x827, 0x828, 0x830, 0x832, 0x838, 0x83f, 0xc0000080};
    for (unsigned i = 0; i < ARRAY_SIZE(some); i++)
        if (some[i] == msr)
            return true;
    return false;
}

bool msr_read(struct vcpu *v, uint32_t msr, uint64_t *value)
{
    assert_ptr_equal(v, vcpu);
    seen.reads++;
    if (!exists(msr) || msr == 0x80b || msr == 0x83f) /* write-only */
        return false;
    *value = 0x100000000ull + msr;
    return true;
}

bool msr_write(struct vcpu *v, uint32_t msr, uint64_t value)
{
    assert_ptr_equal(v, vcpu);
    seen.writes++;
    seen.msr = msr;
    seen.value = value;
    return exists(msr) && !(value & BIT(63)); /* a reserved bit */
}

void control_registers_setup_td(struct vcpu *v)
{
    (void)v;
}

void vmx_intercept_msr(struct vmx_vcpu *half, uint32_t msr)
{
    assert_ptr_equal(half, &vcpu->vmx);
    seen.msr = msr;
}

void cpuid_update(struct vcpu *v)
{
    assert_ptr_equal(v, vcpu);
}

static uint64_t khz = 2100000;
uint64_t tsc_khz(void)
{
    return khz;
}

static uint64_t registers[REG_COUNT];

uint64_t cpu_reg_load(struct cpu_regs *cpu, enum cpu_reg reg)
{
    (void)cpu;
    return registers[reg];
}

void cpu_set_reg(struct cpu_regs *cpu, enum cpu_reg reg, uint64_t value)
{
    (void)cpu;
    registers[reg] = value;
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
    support_reset();
    memset(&vm, 0, sizeof(vm));
    memset(&seen, 0, sizeof(seen));
    memset(&bus_saw, 0, sizeof(bus_saw));
    memset(registers, 0, sizeof(registers));
    td = (struct td){.gpa_width = TD_GPA_WIDTH, .tsc_frequency = 84};
    td_vcpu = (struct td_vcpu){.td = &td};
    vm.td = &td;
    vcpu->vm = &vm;
    vcpu->td = &td_vcpu;
    registers[REG_EFER] = EFER_LME | EFER_LMA | EFER_NXE;
    vmcs[VMCS_GUEST_CS_ACCESS_RIGHTS] = SEG_AR_L;
    vmcs[VMCS_ENTRY_CONTROLS] = ENTRY_IA32E_GUEST;
    return 0;
}

/* ---- Exits ----------------------------------------------------------------------------------- */

static enum tdx_access happens(uint32_t reason)
{
    memset(&seen, 0, sizeof(seen));
    vcpu->vmx.regs.known = 0;
    before = *vcpu;
    td_cpu_exit(vcpu, reason);
    vcpu->vmx.regs.known = 0;
    assert_int_equal(seen.skipped + seen.ve + seen.gp + seen.cr, 1);
    if (seen.ve || seen.gp)
        assert_memory_equal(vcpu->vmx.regs.gpr, before.vmx.regs.gpr, sizeof(before.vmx.regs.gpr));
    return seen.ve ? TDX_VE : seen.gp ? TDX_GP : TDX_DIRECT;
}

static enum tdx_access cpuid_exit(uint32_t leaf, uint32_t subleaf)
{
    uint64_t *gpr = vcpu->vmx.regs.gpr;
    gpr[GPR_RAX] = GARBAGE | leaf;
    gpr[GPR_RCX] = GARBAGE | subleaf;
    gpr[GPR_RBX] = gpr[GPR_RDX] = ~0ull;
    return happens(REASON_CPUID);
}

static void cpuid_uses_the_rules(void **state)
{
    (void)state;
    const uint64_t *gpr = vcpu->vmx.regs.gpr;
    assert_int_equal(cpuid_exit(0x21, 0), TDX_DIRECT);
    assert_true(gpr[GPR_RAX] == 0 && gpr[GPR_RBX] == 0x65746e49 && gpr[GPR_RCX] == 0x20202020 &&
                gpr[GPR_RDX] == 0x5844546c);
    assert_int_equal(cpuid_exit(7, 1), TDX_DIRECT);
    assert_true(seen.leaf == 7 && seen.subleaf == 1 && gpr[GPR_RAX] == 0x1d30);
    assert_int_equal(cpuid_exit(0x12345678, 2), TDX_DIRECT); /* as leaf 23h */
    assert_int_equal(cpuid_exit(0x12345678, 4), TDX_VE);
    assert_int_equal(cpuid_exit(0x1f, 1), TDX_VE);
    assert_int_equal(cpuid_exit(0x40000000, 0), TDX_VE);
    assert_int_equal(cpuid_exit(0x15, 0), TDX_DIRECT);
    assert_true(gpr[GPR_RAX] == 1 && gpr[GPR_RBX] == 84 && gpr[GPR_RCX] == 25000000);
    td.td_ctls = TD_CTLS_ENUM_TOPOLOGY;
    assert_int_equal(cpuid_exit(0x1f, 1), TDX_DIRECT); /* answered as leaf 0Bh */
    assert_true(seen.leaf == 0xb && seen.subleaf == 1 && gpr[GPR_RBX] == 0xffffffff);
}

/* The mode and the privilege level are the CPU's. */
static void cpuid_by_mode(void **state)
{
    (void)state;
    td_vcpu.cpuid_ve_user = true;
    assert_int_equal(cpuid_exit(1, 0), TDX_DIRECT);
    registers[REG_SEG_AR + SEG_SS] = SEG_AR_DPL; /* CPL 3 */
    assert_int_equal(cpuid_exit(1, 0), TDX_VE);
    registers[REG_SEG_AR + SEG_SS] = 0;
    assert_int_equal(cpuid_exit(0x80000001, 0), TDX_DIRECT);
    assert_int_equal(vcpu->vmx.regs.gpr[GPR_RDX] & BIT(11), BIT(11));
    vmcs[VMCS_GUEST_CS_ACCESS_RIGHTS] = 0; /* compatibility mode */
    assert_int_equal(cpuid_exit(0x80000001, 0), TDX_DIRECT);
    assert_int_equal(vcpu->vmx.regs.gpr[GPR_RDX] & BIT(11), 0);
}

static enum tdx_access rdmsr_exit(uint32_t msr, uint64_t *value)
{
    uint64_t *gpr = vcpu->vmx.regs.gpr;
    gpr[GPR_RAX] = gpr[GPR_RDX] = ~0ull;
    gpr[GPR_RCX] = GARBAGE | msr;
    enum tdx_access access = happens(REASON_RDMSR);
    if (access == TDX_DIRECT) {
        assert_int_equal((gpr[GPR_RAX] | gpr[GPR_RDX]) >> 32, 0);
        *value = gpr[GPR_RDX] << 32 | gpr[GPR_RAX];
    }
    return access;
}

static void reads(void **state)
{
    (void)state;
    static const struct {
        uint32_t msr;
        enum tdx_access access;
        uint64_t value;
    } rows[] = {
        {0x10, TDX_DIRECT, 0x100000010},
        {0x808, TDX_DIRECT, 0x100000808},
        {0x80b, TDX_DIRECT, 0},
        {0x80c, TDX_DIRECT, 0},
        {0x83f, TDX_DIRECT, 0},
        {0xbd, TDX_DIRECT, 1},
        {0x1a0, TDX_DIRECT, 0x1801},
        {0x48, TDX_GP, 0}, /* the CPU has no such MSR */
        {0x600, TDX_GP, 0},
        {0x802, TDX_VE, 0},
        {0x1b, TDX_VE, 0},
        {0x6e0, TDX_VE, 0},
        {0x8c, TDX_GP, 0},
        {0x800, TDX_GP, 0},
        {0x12345678, TDX_VE, 0},
        {0x480, TDX_DIRECT, 0},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        uint64_t value = 0;
        assert_int_equal(rdmsr_exit(rows[i].msr, &value), rows[i].access);
        assert_int_equal(value, rows[i].value);
    }
}

static enum tdx_access wrmsr_exit(uint32_t msr, uint64_t value)
{
    uint64_t *gpr = vcpu->vmx.regs.gpr;
    gpr[GPR_RAX] = GARBAGE | (uint32_t)value;
    gpr[GPR_RDX] = GARBAGE | value >> 32;
    gpr[GPR_RCX] = GARBAGE | msr;
    return happens(REASON_WRMSR);
}

static void writes(void **state)
{
    (void)state;
    const uint64_t efer = EFER_LME | EFER_LMA | EFER_NXE;
    static const struct {
        uint32_t msr;
        uint64_t value;
        enum tdx_access access;
    } rows[] = {
        {0x808, 0x20, TDX_DIRECT}, {0x80b, 0, TDX_DIRECT},   {0x83f, 0x41, TDX_DIRECT},
        {0x808, BIT(63), TDX_GP},  {0x810, BIT(63), TDX_GP}, {0x80c, 0, TDX_GP},
        {0x10, 0, TDX_VE},         {0x1a0, 0x1801, TDX_VE},  {0x830, 0, TDX_VE},
        {0x345, 0, TDX_GP},        {0x10a, 0, TDX_GP},       {0x98, 0, TDX_GP},
        {0xda0, 1, TDX_GP},        {0x40000000, 0, TDX_VE},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        assert_int_equal(wrmsr_exit(rows[i].msr, rows[i].value), rows[i].access);
        if (rows[i].access == TDX_DIRECT)
            assert_true(seen.msr == rows[i].msr && seen.value == rows[i].value);
        if (rows[i].access == TDX_VE)
            assert_int_equal(seen.writes, 0);
    }
    assert_int_equal(wrmsr_exit(MSR_EFER, efer | EFER_SCE), TDX_DIRECT);
    assert_int_equal(seen.value, efer | EFER_SCE);
    assert_int_equal(wrmsr_exit(MSR_EFER, efer & ~EFER_NXE), TDX_VE);
    assert_int_equal(seen.writes, 0);
}

static void control_registers(void **state)
{
    (void)state;
    for (cr_access = TDX_DIRECT; cr_access <= TDX_GP; cr_access++) {
        assert_int_equal(happens(REASON_CR_ACCESS), cr_access);
        assert_int_equal(seen.cr, cr_access == TDX_DIRECT); /* which completes it itself */
    }
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

/* ---- Creation -------------------------------------------------------------------------------- */

static void tsc_in_units(void **state)
{
    (void)state;
    static const struct {
        uint64_t khz, units;
        bool said;
    } rows[] = {{2100000, 84, false}, {50000, 2, false}, {2112000, 84, true},
                {2113000, 85, true},  {10000, 0, true},  {49999, 2, false}};
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        support_reset();
        khz = rows[i].khz;
        td_cpu_create(&vm);
        assert_int_equal(td.tsc_frequency, rows[i].units);
        assert_int_equal(support_log()[0] != 0, rows[i].said);
    }
    assert_int_equal(td.xfam, features_xcr0());
}

static uint64_t now(void *context)
{
    (void)context;
    return 0;
}

static void nothing(void *context)
{
    (void)context;
}

static void a_vcpu_of_a_td(void **state)
{
    (void)state;
    static const struct lapic_host host = {.now = now, .interrupt = nothing, .timer = nothing};
    lapic_init(&vcpu->lapic, 0, &host, vcpu);
    td_cpu_setup(vcpu);
    assert_int_equal(vcpu->lapic.mode, LAPIC_X2APIC);
    assert_int_equal(vcpu->lapic.timer_unit, 84);
    assert_int_equal(registers[REG_EFER], 0x901);
    assert_int_equal(seen.msr, MSR_CSTAR);
    lapic_init(&vcpu->lapic, 0, &host, vcpu);
    td.tsc_frequency = 0;
    td_cpu_setup(vcpu);
    assert_int_equal(vcpu->lapic.timer_unit, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(cpuid_uses_the_rules, setup),
        cmocka_unit_test_setup(cpuid_by_mode, setup),
        cmocka_unit_test_setup(reads, setup),
        cmocka_unit_test_setup(writes, setup),
        cmocka_unit_test_setup(control_registers, setup),
        cmocka_unit_test_setup(host_cpuid, setup),
        cmocka_unit_test_setup(host_msrs, setup),
        cmocka_unit_test_setup(the_apic_stays, setup),
        cmocka_unit_test_setup(host_io, setup),
        cmocka_unit_test_setup(host_hlt, setup),
        cmocka_unit_test_setup(tsc_in_units, setup),
        cmocka_unit_test_setup(a_vcpu_of_a_td, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
