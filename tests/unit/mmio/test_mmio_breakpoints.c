/* SPDX-License-Identifier: MIT */
/*
 * Breakpoints on accesses: the comparison against a plain reading of the SDM, byte by byte; what
 * the emulator reports of instructions; and MOV to and from the debug registers.
 */
#include "tests/unit/mmio/mmio_world.h"

#include "arch/x86/reg_bits.h"
#include "vm/debug_rules.h"
#include "mmio/breakpoints.h"

#include <string.h>

#define A       0x40000000ull /* leads to device A */
#define ENABLED BIT(12)
#define GD      BIT(13)

static int setup(void **state)
{
    (void)state;
    world_init(GVA_CACHE_VERIFY);
    world_map(world.regs[REG_CR3], A, TESTDEV_A_BASE, PTE_P | PTE_W);
    world_map(world.regs[REG_CR3], A + PAGE_SIZE, 0x10000, PTE_P | PTE_W);
    world_mmio_spte(TESTDEV_A_BASE);
    return 0;
}

/* ---- The comparison -------------------------------------------------------------------------- */

static uint64_t by_bytes(uint64_t address, unsigned size, enum breakpoint_access access)
{
    static const unsigned lengths[] = {1, 2, 8, 4};
    uint64_t dr7 = world.regs[REG_DR7], met = 0;
    for (unsigned n = 0; n < 4; n++) {
        unsigned rw = dr7 >> (16 + 4 * n) & 3, length = lengths[dr7 >> (18 + 4 * n) & 3];
        bool kind = access == BREAKPOINT_IO      ? rw == 2 && world.regs[REG_CR4] & CR4_DE
                    : access == BREAKPOINT_WRITE ? rw & 1
                                                 : rw == 3;
        if (!kind || !(dr7 >> (2 * n) & 3))
            continue;
        uint64_t first = world.vcpu.breakpoints.address[n] / length * length;
        for (unsigned i = 0; i < size; i++)
            for (unsigned j = 0; j < length; j++)
                if (address + i == first + j)
                    met |= BIT(n) | ENABLED;
    }
    return met;
}

static void comparison(void **state)
{
    (void)state;
    static const unsigned sizes[] = {1, 2, 4, 8, 16, 32};
    unsigned found = 0;
    world.vcpu.breakpoints.on = true;
    for (unsigned i = 0; i < 200000; i++) {
        uint64_t base = world_random() % 4 ? 0xfedc0ull : ~0ull - 48;
        for (unsigned n = 0; n < 4; n++)
            world.vcpu.breakpoints.address[n] = base + world_random() % 40;
        world.regs[REG_DR7] = world_random() & 0xffff03ff;
        world.regs[REG_CR4] = world_random() % 2 ? CR4_DE : 0;
        uint64_t address = base + world_random() % 16;
        unsigned size = sizes[world_random() % 6];
        enum breakpoint_access access = (enum breakpoint_access)(world_random() % 3);
        uint64_t met = breakpoints_met(&world.vcpu.breakpoints, &world.cpu, address, size, access);
        assert_int_equal(met, by_bytes(address, size, access));
        found += met != 0;
    }
    assert_in_range(found, 10000, 190000);
    world.vcpu.breakpoints.on = false;
    world.regs[REG_DR7] = 0xffffffff;
    assert_int_equal(breakpoints_met(&world.vcpu.breakpoints, &world.cpu, 0, 8, BREAKPOINT_WRITE),
                     0);
}

/* ---- The emulator ---------------------------------------------------------------------------- */

static void arm(uint64_t address, unsigned rw, unsigned len)
{
    world.vcpu.breakpoints = (struct breakpoints){.on = true, .address = {address}};
    world.regs[REG_DR7] = 0x401 | (uint64_t)rw << 16 | (uint64_t)len << 18;
    world.vcpu.breakpoints_met = ~0ull; /* of an instruction before */
}

static void moves(void **state)
{
    (void)state;
    uint32_t value;
    arm(A + 4, 3, 3);
    assert_int_equal(world_load(A, &value), WORLD_EMULATED);
    assert_int_equal(world.vcpu.breakpoints_met, 0);
    assert_int_equal(world_load(A + 4, &value), WORLD_EMULATED);
    assert_int_equal(world.vcpu.breakpoints_met, 1 | ENABLED);
    arm(A + 4, 1, 3);
    assert_int_equal(world_load(A + 4, &value), WORLD_EMULATED);
    assert_int_equal(world.vcpu.breakpoints_met, 0);
    assert_int_equal(world_store(A + 4, 1), WORLD_EMULATED);
    assert_int_equal(world.vcpu.breakpoints_met, 1 | ENABLED);
}

/* While breakpoints are enabled, no access takes a fast path; afterwards accesses do again. */
static void the_fast_path(void **state)
{
    (void)state;
    uint32_t value;
    arm(A + 4, 3, 3);
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(world_load(A + 4, &value), WORLD_EMULATED);
        assert_int_equal(world.vcpu.breakpoints_met, 1 | ENABLED);
    }
    assert_int_equal(world.replay, 0);
    world.vcpu.breakpoints.on = false;
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(world_load(A + 4, &value), WORLD_EMULATED);
    assert_true(world.replay > 0);
    assert_int_equal(world.vcpu.breakpoints_met, 0);
}

/* REP STOSB from inside the device's page to beyond it: after each iteration; the one that is not
 * made here is not reported here. */
static void repetitions(void **state)
{
    (void)state;
    static const uint8_t rep_stosb[] = {0xf3, 0xaa};
    for (unsigned at = 0; at < 8; at++) {
        world_code(rep_stosb, sizeof(rep_stosb));
        arm(A + PAGE_SIZE - 4 + at, 1, 0);
        world.cpu.gpr[GPR_RDI] = A + PAGE_SIZE - 4;
        world.cpu.gpr[GPR_RCX] = 8;
        assert_int_equal(world_misconfig(GPA(TESTDEV_A_BASE + PAGE_SIZE - 4), false), MMIO_DONE);
        unsigned done = at < 4 ? at + 1 : 4;
        assert_int_equal(world.cpu.gpr[GPR_RCX], 8 - done);
        assert_int_equal(world.vcpu.breakpoints_met, at < 4 ? 1 | ENABLED : 0);
        assert_true(world.regs[REG_RFLAGS] & BIT(16)); /* RF: it goes on */
        world.regs[REG_RFLAGS] &= ~BIT(16);
    }
}

/* An operand of any kind, and both of PUSH. */
static void other_instructions(void **state)
{
    (void)state;
    static const struct {
        uint8_t code[4];
        uint8_t length;
        unsigned rw;
        bool meets;
    } rows[] = {
        {{0x01, 0x08}, 2, 1, true},       /* ADD [RAX], ECX */
        {{0x39, 0x08}, 2, 1, false},      /* CMP [RAX], ECX */
        {{0x39, 0x08}, 2, 3, true},       /* CMP */
        {{0x0f, 0xb1, 0x08}, 3, 1, true}, /* CMPXCHG that fails */
        {{0xff, 0x30}, 2, 3, true},       /* PUSH [RAX] */
        {{0xff, 0x30}, 2, 1, false},      /* PUSH [RAX] only reads it */
        {{0x8f, 0x00}, 2, 1, true},       /* POP [RAX] */
        {{0x0f, 0xa3, 0x08}, 3, 3, true}, /* BT */
        {{0x0f, 0x94, 0x00}, 3, 1, true}, /* SETE */
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        world_code(rows[i].code, rows[i].length);
        world.cpu.gpr[GPR_RAX] = A;
        world.cpu.gpr[GPR_RCX] = 0;
        world.regs[REG_RSP] = A + PAGE_SIZE + 0x800;
        arm(A, rows[i].rw, 0);
        assert_int_equal(world_misconfig(GPA(TESTDEV_A_BASE), false), MMIO_DONE);
        assert_int_equal(world.vcpu.breakpoints_met, rows[i].meets ? 1 | ENABLED : 0);
    }
    /* The stack of a PUSH. */
    world_code(rows[4].code, 2);
    world.cpu.gpr[GPR_RAX] = A;
    arm(A + PAGE_SIZE + 0x7f8, 1, 2);
    assert_int_equal(world_misconfig(GPA(TESTDEV_A_BASE), false), MMIO_DONE);
    assert_int_equal(world.vcpu.breakpoints_met, 1 | ENABLED);
}

/* ---- The registers --------------------------------------------------------------------------- */

static struct debug_file file;

static int mov(bool from, unsigned number, unsigned gpr)
{
    return debug_mov(&world.cpu, &file, number | (from ? BIT(4) : 0) | (uint64_t)gpr << 8);
}

static void start(uint32_t code, unsigned cpl, uint64_t cr4)
{
    file = (struct debug_file){{10, 11, 12, 13}, 0xffff0ff0};
    world.regs[REG_DR7] = 0x400;
    world.regs[REG_CR4] = cr4;
    world.regs[REG_SEG_AR + SEG_CS] = code | cpl << 5;
    world.regs[REG_SEG_AR + SEG_SS] = AR_DATA32 | cpl << 5;
}

static void reading_and_writing(void **state)
{
    (void)state;
    for (unsigned code64 = 0; code64 < 2; code64++)
        for (unsigned number = 0; number < 8; number++)
            for (unsigned bit = 0; bit < 64; bit++) {
                start(code64 ? AR_CODE64 : AR_CODE32, 0, 0);
                world.cpu.gpr[GPR_R9] = BIT(bit);
                bool fault = code64 && bit >= 32 && number >= 4;
                uint64_t value = code64 || bit < 32 ? BIT(bit) : 0;
                struct debug_file before = file;
                assert_int_equal(mov(false, number, GPR_R9), fault ? 13 : DEBUG_DONE);
                if (fault) {
                    assert_memory_equal(&before, &file, sizeof(file));
                    assert_int_equal(world.regs[REG_DR7], 0x400);
                    continue;
                }
                if (number < 4)
                    assert_int_equal(file.address[number], value);
                else if (number & 1)
                    assert_int_equal(world.regs[REG_DR7], (value & 0xffff23ff) | 0x400);
                else
                    assert_int_equal(file.dr6, value);
                /* Under which GD would stop the next one. */
                world.regs[REG_DR7] &= ~GD;
                world.cpu.gpr[GPR_RDX] = ~0ull;
                assert_int_equal(mov(true, number, GPR_RDX), DEBUG_DONE);
                uint64_t want = number < 4   ? file.address[number]
                                : number & 1 ? world.regs[REG_DR7]
                                             : file.dr6;
                assert_int_equal(world.cpu.gpr[GPR_RDX], want);
            }
}

/* In the order of the checks: #UD, #GP, #DB. */
static void checks(void **state)
{
    (void)state;
    for (unsigned number = 0; number < 8; number++)
        for (unsigned from = 0; from < 2; from++)
            for (unsigned cpl = 0; cpl < 4; cpl++)
                for (unsigned de = 0; de < 2; de++)
                    for (unsigned gd = 0; gd < 2; gd++) {
                        start(AR_CODE64, cpl, de ? CR4_DE : 0);
                        world.regs[REG_DR7] = 0x400 | (gd ? GD : 0);
                        world.cpu.gpr[GPR_RBX] = 0x400;
                        bool absent = (number & 6) == 4 && de;
                        int want = absent ? 6 : cpl ? 13 : gd ? 1 : DEBUG_DONE;
                        assert_int_equal(mov(from, number, GPR_RBX), want);
                        assert_int_equal(file.dr6 & BIT(13), want == 1 ? BIT(13) : 0);
                        if (want == 1)
                            assert_int_equal(world.regs[REG_DR7], 0x400);
                    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(comparison, setup, world_end),
        cmocka_unit_test_setup_teardown(moves, setup, world_end),
        cmocka_unit_test_setup_teardown(the_fast_path, setup, world_end),
        cmocka_unit_test_setup_teardown(repetitions, setup, world_end),
        cmocka_unit_test_setup_teardown(other_instructions, setup, world_end),
        cmocka_unit_test_setup_teardown(reading_and_writing, setup, world_end),
        cmocka_unit_test_setup_teardown(checks, setup, world_end),
    };
    return cmocka_run_group_tests_name("breakpoints", tests, NULL, NULL);
}
