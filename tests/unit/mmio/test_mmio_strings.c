/* SPDX-License-Identifier: MIT */
/*
 * String instructions under emulation: repetitions that pause, stop for a single step, a fault or
 * the end of a page, and go on; widths of registers and segments. What they move and compare is
 * test_mmio_native.c's.
 */
#include "arch/x86/reg_bits.h"
#include "tests/unit/mmio/mmio_places.h"

#include <string.h>

#define RF BIT(16)
#define TF BIT(8)

static int setup(void **state)
{
    (void)state;
    world_init(GVA_CACHE_VERIFY);
    world_map_devices();
    return 0;
}

static void string_setup(uint64_t si, uint64_t di, uint64_t count)
{
    world.cpu.gpr[GPR_RSI] = si;
    world.cpu.gpr[GPR_RDI] = di;
    world.cpu.gpr[GPR_RCX] = count;
}

/* Not more than so many at once; RF stays on until the last. */
static void repetition_pauses(void **state)
{
    (void)state;
    unsigned exits = 0;
    string_setup(0, V, 200);
    world.cpu.gpr[GPR_RAX] = 0x5a;
    world_code("\xf3\xaa", 2); /* rep stosb */
    do {
        uint64_t at = world.cpu.gpr[GPR_RDI], left = world.cpu.gpr[GPR_RCX];
        assert_int_equal(world_misconfig(GPA(A + at - V), false), MMIO_DONE);
        assert_true(left - world.cpu.gpr[GPR_RCX] <= 64);
        bool done = !world.cpu.gpr[GPR_RCX];
        assert_int_equal(world.regs[REG_RIP], WORLD_CODE + (done ? 2 : 0));
        assert_int_equal(world.regs[REG_RFLAGS] & RF, done ? 0 : RF);
        assert_false(world.vcpu.single_step);
        exits++;
    } while (world.cpu.gpr[GPR_RCX]);
    assert_int_equal(exits, 4);
    assert_int_equal(world.cpu.gpr[GPR_RDI], V + 200);
    assert_int_equal(world.a.writes, 200);
}

/* TF stops after each iteration, and the last one too. */
static void repetition_single_step(void **state)
{
    (void)state;
    string_setup(0, V, 3);
    world.regs[REG_RFLAGS] |= TF;
    world_code("\xf3\xab", 2);
    for (unsigned left = 3; left--;) {
        assert_int_equal(world_misconfig(GPA(A + 4 * (2 - left)), false), MMIO_DONE);
        assert_true(world.vcpu.single_step);
        assert_int_equal(world.cpu.gpr[GPR_RCX], left);
        assert_int_equal(world.regs[REG_RIP], WORLD_CODE + (left ? 0 : 2));
        assert_int_equal(world.regs[REG_RFLAGS] & RF, left ? RF : 0);
    }
}

/* It stops where the page of the exit ends: the CPU goes on in RAM by itself. */
static void repetition_leaves_the_page(void **state)
{
    (void)state;
    string_setup(0, V + 4096 + 0xff0, 8);
    world_map(world.regs[REG_CR3], V + 8192, 0x9000, KERNEL);
    world_code("\xf3\xab", 2);
    memset(world_ram[9], 0x77, 64);
    assert_int_equal(world_misconfig(GPA(B + 0xff0), false), MMIO_DONE);
    assert_int_equal(world.cpu.gpr[GPR_RCX], 4);
    assert_int_equal(world.regs[REG_RIP], WORLD_CODE);
    assert_int_equal(world_ram[9][0], 0x77);
}

/* A fault of a later iteration finds the earlier ones done. */
static void repetition_faults(void **state)
{
    (void)state;
    world_map(world.regs[REG_CR3], V + 8192, 0, 0);
    string_setup(V + 4096 + 0xffe, V, 4); /* from B into A; the third byte is absent */
    world_code("\xf3\xa4", 2);
    world.b.tail[14] = 0x11;
    world.b.tail[15] = 0x22;
    assert_int_equal(world_misconfig(GPA(B + 0xffe), false), MMIO_INJECT);
    assert_int_equal(world.vcpu.fault.vector, 14);
    assert_int_equal(world.vcpu.fault.cr2, V + 8192);
    assert_int_equal(world.cpu.gpr[GPR_RCX], 2);
    assert_int_equal(world.cpu.gpr[GPR_RSI], V + 8192);
    assert_int_equal(world.cpu.gpr[GPR_RDI], V + 2);
    assert_memory_equal(world.a.ram, "\x11\x22\0", 3);
    assert_int_equal(world.regs[REG_RIP], WORLD_CODE);
}

/* The destination's fault comes before the source is read. */
static void movs_faults_first(void **state)
{
    (void)state;
    string_setup(V, V + 0x100000, 1);
    assert_fault(run_code(CODE(0xa5), A), 14, true);
    assert_int_equal(world.vcpu.fault.error_code, PF_WRITE);
    assert_int_equal(world.cpu.gpr[GPR_RSI], V);
}

static void compare_stops(void **state)
{
    (void)state;
    memset(world.a.ram, 5, 16);
    world.a.ram[5] = 6;
    string_setup(0, V, 100);
    world.cpu.gpr[GPR_RAX] = 5;
    assert_int_equal(run_code(CODE(0xf3, 0xae), A), MMIO_DONE); /* repe scasb */
    assert_int_equal(world.cpu.gpr[GPR_RCX], 94);
    assert_int_equal(world.cpu.gpr[GPR_RDI], V + 6);
    assert_int_equal(world.regs[REG_RFLAGS] & BIT(6), 0);
    string_setup(0, V, 100);
    world.cpu.gpr[GPR_RAX] = 6;
    assert_int_equal(run_code(CODE(0xf2, 0xae), A), MMIO_DONE); /* repne scasb */
    assert_int_equal(world.cpu.gpr[GPR_RCX], 94);
    assert_int_equal(world.regs[REG_RFLAGS] & BIT(6), BIT(6));
    string_setup(0, V, 0);
    assert_int_equal(run_code(CODE(0xf3, 0xaa), A), MMIO_STALE); /* nothing was touched */
}

static void legacy(uint64_t cs, uint64_t data)
{
    setup(NULL);
    world.regs[REG_EFER] = 0;
    world.regs[REG_CR4] = 0;
    world.regs[REG_CR0] = CR0_PE;
    for (unsigned i = 0; i < SEG_COUNT; i++)
        world.regs[REG_SEG_AR + i] = i == SEG_CS ? cs : data;
}

/* 16-bit addresses count in the low halves of the registers, and the string's segments are its
 * own: DS or an override for rSI, ES always for rDI. */
static void strings_16(void **state)
{
    (void)state;
    legacy(AR_CODE16, AR_DATA16);
    world.regs[REG_SEG_BASE + SEG_ES] = A - 0xfff0;
    world.regs[REG_SEG_BASE + SEG_FS] = 0x9000;
    world.regs[REG_SEG_LIMIT + SEG_ES] = 0xffff;
    memcpy(world_ram[9], "\x01\x02\x03\x04", 4);
    string_setup(0x12340000, 0x5678fff0, 0xabcd0002);
    assert_int_equal(run_code(CODE(0x64, 0xf3, 0xa5), A), MMIO_DONE); /* rep movsw, fs */
    assert_memory_equal(world.a.ram, "\x01\x02\x03\x04", 4);
    assert_int_equal(world.cpu.gpr[GPR_RSI], 0x12340004);
    assert_int_equal(world.cpu.gpr[GPR_RDI], 0x5678fff4);
    assert_int_equal(world.cpu.gpr[GPR_RCX], 0xabcd0000);
    world.regs[REG_SEG_BASE + SEG_ES] = A - 0xfffe;
    string_setup(0, 0x5678fffe, 0);
    assert_int_equal(run_code(CODE(0xab), A), MMIO_DONE); /* around the end */
    assert_int_equal(world.cpu.gpr[GPR_RDI], 0x56780000);

    legacy(AR_CODE32, AR_DATA32);
    world.regs[REG_SEG_AR + SEG_ES] = 0xc091; /* read-only */
    string_setup(0, (uint32_t)A, 1);
    assert_fault(run_code(CODE(0xab), A), 13, true);
    assert_int_equal(run_code(CODE(0xaf), A), MMIO_DONE); /* scas only reads */
    world.regs[REG_SEG_LIMIT + SEG_ES] = (uint32_t)A + 5;
    string_setup(0, (uint32_t)A, 4);
    world.regs[REG_SEG_AR + SEG_ES] = AR_DATA32;
    assert_int_equal(run_code(CODE(0xf3, 0xab), A), MMIO_INJECT); /* the second one */
    assert_int_equal(world.vcpu.fault.vector, 13);
    assert_int_equal(world.cpu.gpr[GPR_RCX], 3);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, world_end)
    const struct CMUnitTest tests[] = {
        T(repetition_pauses), T(repetition_single_step), T(repetition_leaves_the_page),
        T(repetition_faults), T(movs_faults_first),      T(compare_stops),
        T(strings_16),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
