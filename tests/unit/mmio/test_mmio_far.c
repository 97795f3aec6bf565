/* SPDX-License-Identifier: MIT */
/* Loads of SS, far pointers, and far JMP and CALL on MMIO, by tables that follow the SDM. */
#include "tests/unit/mmio/mmio_tables.h"

/* ---- SS -------------------------------------------------------------------------------------- */

static void the_stack_segment(void **state)
{
    static const struct {
        unsigned cpl, rights, selector;
        bool wide;
        int vector; /* -1: it works, with #GP(0) as 1013 */
    } cases[] = {
        {0, 0x92, 0x10, false, -1}, {3, 0xf2, 0x13, false, -1}, {0, 0x92, 0x11, false, 13},
        {0, 0xb2, 0x10, false, 13}, {0, 0x90, 0x10, false, 13}, {0, 0x9a, 0x10, false, 13},
        {0, 0x12, 0x10, false, 12}, {0, 0, 0, false, 1013},     {0, 0, 0, true, -1},
        {0, 0, 1, true, 1013},      {0, 0x92, 0x10, true, -1},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        setup(state);
        if (!cases[i].wide)
            narrow(cases[i].cpl);
        table[2] = segment(0x1000, 0xfffff, cases[i].rights, 0xc0);
        store_table();
        put16(0, (uint16_t)cases[i].selector);
        enum mmio_outcome outcome = run_code(CODE(0x8e, 0x10), A);
        if (cases[i].vector >= 0) {
            assert_raised(outcome, (uint8_t)(cases[i].vector % 1000), true);
            assert_int_equal(world.vcpu.fault.error_code,
                             cases[i].vector > 1000 ? 0 : cases[i].selector & 0xfffc);
            continue;
        }
        assert_int_equal(outcome, MMIO_DONE);
        assert_true(world.vcpu.breakpoints_met & BREAKPOINTS_MOV_SS);
        assert_int_equal(world.regs[REG_SEG_SELECTOR + SEG_SS], cases[i].selector);
        if (!cases[i].rights) {
            assert_true(world.regs[REG_SEG_AR + SEG_SS] & SEG_AR_UNUSABLE);
            continue;
        }
        assert_int_equal(world.regs[REG_SEG_BASE + SEG_SS], 0x1000);
        assert_int_equal(world.regs[REG_SEG_LIMIT + SEG_SS], 0xffffffff);
        assert_int_equal(world.regs[REG_SEG_AR + SEG_SS], 0xc000 | cases[i].rights | 1);
        assert_int_equal(table_word(2), table[2] | 1ull << 40);
    }
}

/* LSS loads both, or neither; it has no shadow. Real mode looks up nothing. */
static void pointers(void **state)
{
    static const uint8_t segments[] = {SEG_SS, SEG_FS, SEG_GS, SEG_ES, SEG_DS};
    static const uint8_t codes[][3] = {
        {0x0f, 0xb2, 0x18}, {0x0f, 0xb4, 0x18}, {0x0f, 0xb5, 0x18}, {0xc4, 0x18}, {0xc5, 0x18}};
    for (unsigned i = 0; i < ARRAY_SIZE(segments); i++)
        for (unsigned real = 0; real < 2; real++) {
            setup(state);
            narrow(0);
            if (real)
                world.regs[REG_CR0] = 0;
            table[2] = segment(0x7000, 0x1000, 0x93, 0x40);
            store_table();
            memcpy(world.a.ram, "\x78\x56\x34\x12\x10\x00", 6);
            unsigned size = codes[i][0] == 0x0f ? 3 : 2;
            assert_int_equal(run_code(codes[i], size, A), MMIO_DONE);
            assert_int_equal(world.cpu.gpr[GPR_RBX], 0x12345678);
            assert_int_equal(world.regs[REG_SEG_SELECTOR + segments[i]], 0x10);
            assert_int_equal(world.regs[REG_SEG_BASE + segments[i]], real ? 0x100 : 0x7000);
            assert_int_equal(world.vcpu.breakpoints_met, 0);
            if (real)
                continue;
            setup(state); /* not present: #SS or #NP, and RBX keeps its value */
            narrow(0);
            table[2] = segment(0x7000, 0x1000, 0x13, 0x40);
            store_table();
            world.cpu.gpr[GPR_RBX] = 7;
            memcpy(world.a.ram, "\x78\x56\x34\x12\x10\x00", 6);
            assert_raised(run_code(codes[i], size, A), segments[i] == SEG_SS ? 12 : 11, true);
            assert_int_equal(world.cpu.gpr[GPR_RBX], 7);
        }
}

/* ---- Far JMP and CALL ------------------------------------------------------------------------ */

/* From 32-bit code at some CPL, by the pointer 0x10|rpl:0x12345. Vectors: 0: it goes there; with
 * 1000: #GP(0); 2000: the VM ends. */
static void far_transfers(void **state)
{
    static const struct {
        unsigned cpl, rpl, rights, flags;
        int jmp, call;
    } cases[] = {
        {0, 0, 0x9a, 0xc0, 0, 0},       {0, 1, 0x9a, 0xc0, 13, 13},     {3, 3, 0xfa, 0xc0, 0, 0},
        {3, 0, 0xfa, 0xc0, 0, 0},       {3, 3, 0x9a, 0xc0, 13, 13},     {3, 3, 0x9e, 0xc0, 0, 0},
        {0, 0, 0xfe, 0xc0, 13, 13},     {0, 0, 0x92, 0xc0, 13, 13},     {0, 0, 0x1a, 0xc0, 11, 11},
        {0, 0, 0x9a, 0x40, 1013, 1013}, {0, 0, 0x89, 0x00, 2000, 2000}, {0, 0, 0x85, 0, 2000, 2000},
        {0, 0, 0x82, 0x00, 13, 13},     {0, 0, 0x8e, 0x00, 13, 13},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
        for (unsigned call = 0; call < 2; call++) {
            setup(state);
            narrow(cases[i].cpl);
            table[2] = segment(0, cases[i].flags & 0x80 ? 0xfffff : 0x1000, cases[i].rights,
                               cases[i].flags);
            store_table();
            world.regs[REG_SEG_SELECTOR + SEG_CS] = 0x08 | cases[i].cpl;
            world.regs[REG_RSP] = STACK + 0x100;
            memcpy(world.a.ram, "\x45\x23\x01\x00\x10\x00", 6);
            world.a.ram[4] |= (uint8_t)cases[i].rpl;
            enum mmio_outcome outcome =
                call ? run_code(CODE(0xff, 0x18), A) : run_code(CODE(0xff, 0x28), A);
            int expected = call ? cases[i].call : cases[i].jmp;
            if (expected == 2000) {
                assert_int_equal(outcome, MMIO_END);
                assert_non_null(strstr(world.vcpu.text, "a far transfer to another task"));
                continue;
            }
            if (expected) {
                assert_raised(outcome, (uint8_t)(expected % 1000), true);
                assert_int_equal(world.vcpu.fault.error_code, expected > 1000 ? 0 : 0x10);
                assert_int_equal(world.regs[REG_RSP], STACK + 0x100);
                continue;
            }
            assert_int_equal(outcome, MMIO_DONE);
            assert_int_equal(world.regs[REG_RIP], 0x12345);
            assert_int_equal(world.regs[REG_SEG_SELECTOR + SEG_CS], 0x10 | cases[i].cpl);
            assert_int_equal(world.regs[REG_SEG_AR + SEG_CS], 0xc000 | cases[i].rights | 1);
            assert_int_equal(world.regs[REG_RSP], STACK + (call ? 0xf8 : 0x100));
            uint32_t pushed[2];
            memcpy(pushed, world_ram[STACK / PAGE_SIZE] + 0xf8, 8);
            assert_int_equal(pushed[0], call ? WORLD_CODE + 2 : 0);
            assert_int_equal(pushed[1], call ? 0x08 | cases[i].cpl : 0);
        }
}

/* A call gate to conforming code, to code of the same and of another level. */
static void call_gates(void **state)
{
    static const struct {
        unsigned cpl, gate, code;
        int jmp, call;
    } cases[] = {
        {0, 0x8c, 0x9a, 0, 0},   {0, 0x84, 0x9a, 0, 0},   {3, 0xec, 0xfa, 0, 0},
        {3, 0x8c, 0xfa, 10, 10}, {3, 0xec, 0x9e, 0, 0},   {3, 0xec, 0x9a, 18, 2000},
        {0, 0x0c, 0x9a, 11, 11}, {0, 0x8c, 0x1a, 31, 31}, {0, 0x8c, 0xfa, 18, 18},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
        for (unsigned call = 0; call < 2; call++) {
            setup(state);
            narrow(cases[i].cpl);
            bool wide = (cases[i].gate & 15) == 12;
            table[2] = 0x2345 | 0x18ull << 16 | (uint64_t)cases[i].gate << 40 | 1ull << 48;
            table[3] = segment(0, 0xfffff, cases[i].code, 0xc0);
            store_table();
            world.regs[REG_RSP] = STACK + 0x100;
            memcpy(world.a.ram, "\xff\xff\xff\xff\x10\x00", 6);
            world.a.ram[4] |= (uint8_t)cases[i].cpl;
            enum mmio_outcome outcome =
                call ? run_code(CODE(0xff, 0x18), A) : run_code(CODE(0xff, 0x28), A);
            int expected = call ? cases[i].call : cases[i].jmp;
            if (expected == 2000) {
                assert_int_equal(outcome, MMIO_END);
                assert_non_null(strstr(world.vcpu.text, "to another privilege level"));
            } else if (expected) { /* 10, 11: of the gate; 18, 31: of the code segment */
                bool code = expected >= 18;
                bool absent = expected == 11 || expected == 31;
                assert_raised(outcome, absent ? 11 : 13, true);
                assert_int_equal(world.vcpu.fault.error_code, code ? 0x18 : 0x10);
            } else {
                assert_int_equal(outcome, MMIO_DONE);
                assert_int_equal(world.regs[REG_RIP], wide ? 0x12345 : 0x2345);
                assert_int_equal(world.regs[REG_SEG_SELECTOR + SEG_CS], 0x18 | cases[i].cpl);
                assert_int_equal(world.regs[REG_RSP], STACK + 0x100 - (call ? wide ? 8 : 4 : 0));
            }
        }
}

static void far_transfers_in_other_modes(void **state)
{
    (void)state;
    table[2] = segment(0, 0xfffff, 0x9a, 0x80 | LONG); /* 64-bit code */
    table[3] = segment(0, 0xfffff, 0x9a, 0x80 | LONG | D_BIT);
    store_table();
    memcpy(world.a.ram, "\x00\x50\x34\x12\x00\x80\xff\xff\x10\x00", 10);
    assert_int_equal(run_code(CODE(0x48, 0xff, 0x28), A), MMIO_DONE);
    assert_int_equal(world.regs[REG_RIP], 0xffff800012345000);
    world.a.ram[6] = 0; /* not canonical */
    assert_raised(run_code(CODE(0x48, 0xff, 0x28), A), 13, true);
    world.a.ram[6] = 0xff;
    world.a.ram[8] = 0x18; /* L and D */
    assert_raised(run_code(CODE(0x48, 0xff, 0x28), A), 13, true);
    assert_int_equal(world.vcpu.fault.error_code, 0x18);

    narrow(0);
    world.regs[REG_CR0] = 0; /* real mode */
    world.regs[REG_SEG_LIMIT + SEG_CS] = 0xffff;
    memcpy(world.a.ram, "\x45\x23\x00\x00\x78\x56", 6);
    assert_int_equal(run_code(CODE(0xff, 0x28), A), MMIO_DONE);
    assert_int_equal(world.regs[REG_SEG_BASE + SEG_CS], 0x56780);
    assert_int_equal(world.regs[REG_RIP], 0x2345);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, world_end)
    const struct CMUnitTest tests[] = {
        T(the_stack_segment),
        T(pointers),
        T(far_transfers),
        T(call_gates),
        T(far_transfers_in_other_modes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
