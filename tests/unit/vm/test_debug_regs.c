/* SPDX-License-Identifier: MIT */
/*
 * Exits of MOV to and from the debug registers (vm/debug_regs.c): each register is moved in each
 * direction, the emulator knows at once which breakpoints are enabled, no fast path is left that
 * does not compare them, and a fault changes nothing but what it reports. What the instruction
 * does to a value is test_mmio_breakpoints.c's.
 */
#include "tests/unit/vm/regs.h"
#include "tests/unit/vmx/vmcs_world.h"

#include "arch/x86/cpu.h"

static uint64_t dr[8];
#define read_dr0()       dr[0]
#define read_dr1()       dr[1]
#define read_dr2()       dr[2]
#define read_dr3()       dr[3]
#define read_dr6()       dr[6]
#define write_dr0(value) (dr[0] = (value))
#define write_dr1(value) (dr[1] = (value))
#define write_dr2(value) (dr[2] = (value))
#define write_dr3(value) (dr[3] = (value))
#define write_dr6(value) (dr[6] = (value))

#include "vm/debug_regs.c"

#include <string.h>

static struct vcpu vcpu;
static struct {
    unsigned raised, skipped, retried, forgotten;
    uint8_t vector;
} seen;

void vmx_raise(struct vmx_vcpu *half, uint8_t vector, uint32_t error_code)
{
    (void)half;
    assert_int_equal(error_code, 0);
    seen.raised++;
    seen.vector = vector;
}

void vmx_skip_instruction(struct vmx_vcpu *half)
{
    (void)half;
    seen.skipped++;
}

void vmx_retry_instruction(struct vmx_vcpu *half)
{
    (void)half;
    seen.retried++;
}

void mmio_cache_clear_gva(struct mmio_cache *cache)
{
    assert_ptr_equal(cache, &vcpu.mmio.cache);
    seen.forgotten++;
}

#define FROM BIT(4)

static void mov(unsigned number, uint64_t from, unsigned gpr)
{
    memset(&seen, 0, sizeof(seen));
    for (unsigned i = 0; i < KNOWN_PORTS; i++)
        vcpu.ports[i].sequence = 1 + i;
    vcpu.vmx.exit.reason = REASON_MOV_DR;
    vmcs[VMCS_EXIT_QUALIFICATION] = number | from | (uint64_t)gpr << 8;
    exit_mov_dr(&vcpu);
    assert_int_equal(seen.raised + seen.skipped, 1);
}

static int setup(void **state)
{
    (void)state;
    memset(&vcpu, 0, sizeof(vcpu));
    memset(reg, 0, sizeof(reg));
    for (unsigned i = 0; i < 4; i++)
        dr[i] = 0x1000 * (i + 1);
    dr[6] = 0xffff0ff0;
    reg[REG_DR7] = 0x400;
    reg[REG_EFER] = EFER_LMA;
    reg[REG_SEG_AR + SEG_CS] = SEG_AR_L;
    return 0;
}

static void each_register(void **state)
{
    static const unsigned numbers[] = {0, 1, 2, 3, 6};
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(numbers); i++) {
        unsigned number = numbers[i];
        uint64_t before[8];
        memcpy(before, dr, sizeof(dr));
        vcpu.vmx.regs.gpr[GPR_RSI] = 0xabcd0 + number;
        mov(number, 0, GPR_RSI);
        for (unsigned j = 0; j < 8; j++)
            assert_int_equal(dr[j], j == number ? 0xabcd0 + number : before[j]);
        mov(number, FROM, GPR_R9);
        assert_int_equal(vcpu.vmx.regs.gpr[GPR_R9], 0xabcd0 + number);
        assert_int_equal(seen.skipped, 1);
        if (number < 4)
            assert_int_equal(vcpu.mmio.breakpoints.address[number], dr[number]);
    }
}

static void enabled(bool on)
{
    assert_int_equal(vcpu.mmio.breakpoints.on, on);
    assert_int_equal(seen.forgotten, on);
    for (unsigned i = 0; i < KNOWN_PORTS; i++)
        assert_int_equal(!vcpu.ports[i].sequence, on);
    for (unsigned i = 0; i < 4 && on; i++)
        assert_int_equal(vcpu.mmio.breakpoints.address[i], dr[i]);
}

/* Each of the eight bits enables one; the lengths and types alone do not. */
static void which_enable(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 32; bit++) {
        vcpu.vmx.regs.gpr[GPR_RAX] = BIT(bit) & ~BIT(13);
        mov(7, 0, GPR_RAX);
        enabled(bit < 8);
        if (bit < 8) { /* and an address that changes meanwhile */
            vcpu.vmx.regs.gpr[GPR_RBX] = 0x77000 + bit;
            mov(bit / 2, 0, GPR_RBX);
            enabled(true);
        }
        vcpu.vmx.regs.gpr[GPR_RAX] = 0;
        mov(7, 0, GPR_RAX);
        enabled(false);
    }
}

/* With GD set, #DB is a fault, and the register is not moved. */
static void general_detect(void **state)
{
    (void)state;
    reg[REG_DR7] = 0x2400;
    vcpu.vmx.regs.gpr[GPR_RAX] = 0x1234;
    mov(0, 0, GPR_RAX);
    assert_int_equal(seen.vector, VECTOR_DB);
    assert_int_equal(seen.retried, 1);
    assert_int_equal(dr[0], 0x1000);
    assert_int_equal(dr[6], 0xffff2ff0);
    assert_int_equal(reg[REG_DR7], 0x400);
}

static void other_faults(void **state)
{
    (void)state;
    vcpu.vmx.regs.gpr[GPR_RAX] = BIT(32);
    mov(6, 0, GPR_RAX);
    assert_int_equal(seen.vector, VECTOR_GP);
    assert_int_equal(seen.retried, 0);
    assert_int_equal(dr[6], 0xffff0ff0);
    reg[REG_CR4] = CR4_DE;
    mov(4, FROM, GPR_RAX);
    assert_int_equal(seen.vector, VECTOR_UD);
    assert_int_equal(vcpu.vmx.regs.gpr[GPR_RAX], BIT(32));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(each_register, setup),
        cmocka_unit_test_setup(which_enable, setup),
        cmocka_unit_test_setup(general_detect, setup),
        cmocka_unit_test_setup(other_faults, setup),
    };
    return cmocka_run_group_tests_name("debug registers", tests, NULL, NULL);
}
