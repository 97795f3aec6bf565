/* SPDX-License-Identifier: MIT */
/*
 * The exits of a TD's CPUID and MSRs (vm/td_cpu.c): that the rules of tdx/ are applied to the right
 * registers, and that an exception leaves everything unchanged.
 */
#include "tests/unit/vmx/vmcs_world.h"

#include "vm/apicv.h"
#include "vm/td_cpu.c"

#include "td_cpu_world.h"

#include <string.h>

#define GARBAGE 0xdeadbeef00000000ull

static struct vcpu before;
static struct td td;
static struct td_vcpu td_vcpu;

static unsigned skipped, crs; /* instructions, and MOVs to CR that were handled */

/* ---- What the files use ---------------------------------------------------------------------- */

void vmx_skip_instruction(struct vmx_vcpu *half)
{
    assert_ptr_equal(half, &vcpu->vmx);
    skipped++;
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
    crs++;
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

/* The APIC's mode may have changed; the CPU does not deliver its interrupts here. */
void apicv_follow(struct vcpu *v)
{
    assert_false(v->vmx.apicv.on);
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

static int setup(void **state)
{
    (void)state;
    support_reset();
    memset(&vm, 0, sizeof(vm));
    memset(&seen, 0, sizeof(seen));
    skipped = crs = 0;
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
    skipped = crs = 0;
    vcpu->vmx.regs.known = 0;
    before = *vcpu;
    enum tdx_access access = td_cpu_exit(vcpu, reason);
    vcpu->vmx.regs.known = 0;
    assert_int_equal(skipped + crs, access == TDX_DIRECT);
    if (access != TDX_DIRECT)
        assert_memory_equal(vcpu->vmx.regs.gpr, before.vmx.regs.gpr, sizeof(before.vmx.regs.gpr));
    return access;
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
        {0xda0, 1, TDX_GP},        {0xda0, 2, TDX_GP},       {0x1d9, 0xc0, TDX_GP},
        {0x1d9, 0x40, TDX_VE},     {0x40000000, 0, TDX_VE},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        assert_int_equal(wrmsr_exit(rows[i].msr, rows[i].value), rows[i].access);
        if (rows[i].access == TDX_DIRECT)
            assert_true(seen.msr == rows[i].msr && seen.value == rows[i].value);
        if (rows[i].access == TDX_VE)
            assert_int_equal(seen.writes, 0);
    }
    /* Their only value. */
    assert_int_equal(wrmsr_exit(0xda0, 0), TDX_DIRECT);
    assert_int_equal(wrmsr_exit(0x1d9, 0), TDX_DIRECT);
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
        assert_int_equal(crs, cr_access == TDX_DIRECT); /* which completes it itself */
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
        cmocka_unit_test_setup(tsc_in_units, setup),
        cmocka_unit_test_setup(a_vcpu_of_a_td, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
