/* SPDX-License-Identifier: MIT */
/*
 * What GDB may write to the registers of a vCPU (gdb/target.c): nothing with which VM entry would
 * fail.
 */
#include "tests/unit/vmx/vmcs_world.h"

#include "gdb/target.c"

#include <string.h>

static uint64_t values[REG_COUNT];
static struct vcpu vcpu;

struct vmx_machine vmx;

uint64_t cpu_reg_load(struct cpu_regs *cpu, enum cpu_reg which)
{
    (void)cpu;
    return values[which];
}

void cpu_set_reg(struct cpu_regs *cpu, enum cpu_reg which, uint64_t value)
{
    (void)cpu;
    values[which] = value;
}

int guest_read(struct mmu *mmu, gpa_t gpa, void *buffer, size_t size, enum mmu_access access)
{
    (void)mmu, (void)gpa, (void)buffer, (void)size, (void)access;
    return -1;
}

int guest_write(struct mmu *mmu, gpa_t gpa, const void *buffer, size_t size)
{
    (void)mmu, (void)gpa, (void)buffer, (void)size;
    return -1;
}

int mmu_track(struct mmu *mmu, gpa_t gpa)
{
    (void)mmu, (void)gpa;
    return 0;
}

int mmu_untrack(struct mmu *mmu, gpa_t gpa)
{
    return mmu_track(mmu, gpa);
}

int td_private_read(struct vm *vm, gpa_t gpa, void *buffer, size_t size)
{
    (void)vm, (void)gpa, (void)buffer, (void)size;
    return -1;
}

int td_private_write(struct vm *vm, gpa_t gpa, const void *buffer, size_t size)
{
    (void)vm, (void)gpa, (void)buffer, (void)size;
    return -1;
}

void extra_state_save(struct extra_state *state)
{
    (void)state;
}

const char *extra_state_load(struct extra_state *state)
{
    (void)state;
    return NULL;
}

uint64_t extra_xcr0_supported(void)
{
    return 0;
}

static bool set(enum cpu_reg reg, unsigned size, uint64_t value)
{
    const struct gdb_register which = {GDB_CPU_REG, reg, size};
    return target_set(&vcpu, &which, &value);
}

/* CF, PF, AF, ZF, SF, DF, OF, NT, RF, AC and ID can be set. IF and TF have to agree with blocking,
 * pending events and pending debug exceptions. */
static void each_flag(void **state)
{
    static const uint8_t writable[] = {0, 2, 4, 6, 7, 10, 11, 14, 16, 18, 21};
    (void)state;
    for (unsigned bit = 0; bit < 32; bit++) {
        bool fixed = !memchr(writable, (int)bit, sizeof(writable));
        for (unsigned was = 0; was < 2; was++) {
            uint64_t before = was ? 0xffffffff : 2;
            values[REG_RFLAGS] = before;
            bool done = set(REG_RFLAGS, 4, before ^ BIT(bit));
            assert_int_equal(done, !fixed);
            assert_int_equal(values[REG_RFLAGS], fixed ? before : before ^ BIT(bit));
        }
    }
}

/* Outside of 64-bit code RIP has 32 bits, also in IA-32e mode. */
static void each_address(void **state)
{
    static const struct {
        bool lma, in_64_bit_code;
        uint64_t value;
        bool rip, rsp;
    } rows[] = {
        {false, false, 0xfffffff0, true, true},
        {false, false, 0x100000000, false, false},
        {true, false, 0xfffffff0, true, true},
        {true, false, 0x100000000, false, true},
        {true, false, 0xffffffff81000000, false, true},
        {true, true, 0xffffffff81000000, true, true},
        {true, true, 0x00007fffffffffff, true, true},
        {true, true, 0x0000800000000000, false, false},
        {true, true, 0xffff7fffffffffff, false, false},
    };
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        values[REG_EFER] = rows[i].lma ? EFER_LMA : 0;
        vmcs[VMCS_ENTRY_CONTROLS] = rows[i].lma ? ENTRY_IA32E_GUEST : 0;
        vmcs[VMCS_GUEST_CS_ACCESS_RIGHTS] = rows[i].in_64_bit_code ? SEG_AR_L : 0;
        assert_int_equal(set(REG_RIP, 8, rows[i].value), rows[i].rip);
        assert_int_equal(set(REG_RSP, 8, rows[i].value), rows[i].rsp);
    }
}

/* In real mode, and wherever else CS has a base, GDB sees the linear address. */
static void rip_is_linear(void **state)
{
    const struct gdb_register which = {GDB_CPU_REG, REG_RIP, 8};
    uint64_t seen = 0;
    (void)state;
    values[REG_EFER] = vmcs[VMCS_ENTRY_CONTROLS] = vmcs[VMCS_GUEST_CS_ACCESS_RIGHTS] = 0;
    values[REG_SEG_BASE + SEG_CS] = 0xffff0000;
    values[REG_RIP] = 0xfff0;
    target_get(&vcpu, &which, &seen);
    assert_int_equal(seen, 0xfffffff0);
    assert_true(set(REG_RIP, 8, 0xffff1000));
    assert_int_equal(values[REG_RIP], 0x1000);
    assert_true(set(REG_RIP, 8, 0x10)); /* wraps, as the sum does */
    assert_int_equal(values[REG_RIP], 0x10010);
    vmcs[VMCS_ENTRY_CONTROLS] = ENTRY_IA32E_GUEST; /* 64-bit code has no base */
    vmcs[VMCS_GUEST_CS_ACCESS_RIGHTS] = SEG_AR_L;
    target_get(&vcpu, &which, &seen);
    assert_int_equal(seen, 0x10010);
    values[REG_SEG_BASE + SEG_CS] = 0;
}

/* Nobody but the guest changes what its mode is. */
static void other_registers(void **state)
{
    static const enum cpu_reg fixed[] = {REG_CR0, REG_CR3, REG_CR4, REG_EFER, REG_SEG_SELECTOR};
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(fixed); i++) {
        assert_true(set(fixed[i], 4, values[fixed[i]]));
        assert_false(set(fixed[i], 4, values[fixed[i]] ^ 1));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_flag),
        cmocka_unit_test(each_address),
        cmocka_unit_test(rip_is_linear),
        cmocka_unit_test(other_registers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
