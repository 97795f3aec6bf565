/* SPDX-License-Identifier: MIT */
/*
 * Instructions on MMIO that use descriptors or system registers, and who may execute them.
 *
 * LAR, LSL, VERR, VERW and loads of ES run on this machine's CPU at CPL 3 with descriptors of all
 * kinds in an LDT, and in the emulator with the same LDT. What is privileged, or depends on a GDT,
 * is in tables that follow the SDM; far transfers are test_mmio_far.c's.
 */
#include "tests/unit/mmio/mmio_tables.h"

#include "mmio/alu.h"

#include <asm/ldt.h>
#include <signal.h>
#include <setjmp.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- Against the CPU ------------------------------------------------------------------------- */

static sigjmp_buf fault_return;

static void on_fault(int signal)
{
    siglongjmp(fault_return, signal);
}

#define KINDS 64

/* All that modify_ldt() can make: kinds of segments, writable, present, in pages, 32-bit. */
static uint64_t make_kind(unsigned kind)
{
    struct user_desc d = {.entry_number = kind + 1,
                          .base_addr = 0x12345000 + kind,
                          .limit = 0x54321,
                          .contents = kind & 3,
                          .read_exec_only = kind >> 2 & 1,
                          .seg_not_present = kind >> 3 & 1,
                          .limit_in_pages = kind >> 4 & 1,
                          .seg_32bit = kind >> 5 & 1,
                          .useable = 1};
    if (syscall(SYS_modify_ldt, 1, &d, sizeof(d)))
        return 0;
    /* As the kernel builds it: data, expand-down data, code, conforming code. */
    unsigned rights = 0x71u | (kind & 3) << 2 | (d.read_exec_only ? 0u : 2u);
    return segment(d.base_addr, d.limit, rights | (d.seg_not_present ? 0 : 0x80u),
                   (unsigned)d.limit_in_pages << 7 | (unsigned)d.seg_32bit << 6);
}

struct answer {
    uint64_t value;
    bool zf;
    int fault; /* 0, 11, 12 or 13 */
};

#define ASK(instruction) \
    __asm__ volatile(instruction " %w2, %k0\n\tsetz %b1" : "+r"(a.value), "=q"(zero) : "r"(s))
#define ASK_16(instruction) \
    __asm__ volatile(instruction " %w2, %w0\n\tsetz %b1" : "+r"(a.value), "=q"(zero) : "r"(s))
#define VERIFY(instruction) __asm__ volatile(instruction " %w1\n\tsetz %b0" : "=q"(zero) : "r"(s))

enum { DO_LAR, DO_LAR_16, DO_LSL, DO_LSL_16, DO_VERR, DO_VERW, DO_ES, DO_COUNT };

static struct answer ask_cpu(unsigned what, uint64_t s)
{
    struct answer a = {.value = 0x1122334455667788};
    uint8_t zero = 0;
    const struct sigaction action = {.sa_handler = on_fault, .sa_flags = SA_NODEFER};
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    int signal = sigsetjmp(fault_return, 1);
    if (signal)
        return (struct answer){.fault = signal == SIGBUS ? 11 : 13};
    switch (what) {
    case DO_LAR:
        ASK("lar");
        break;
    case DO_LAR_16:
        ASK_16("lar");
        break;
    case DO_LSL:
        ASK("lsl");
        break;
    case DO_LSL_16:
        ASK_16("lsl");
        break;
    case DO_VERR:
        VERIFY("verr");
        break;
    case DO_VERW:
        VERIFY("verw");
        break;
    case DO_ES:
        __asm__ volatile("mov %w0, %%es\n\tmov %1, %%es" : : "r"(s), "r"(0));
        break;
    default:
        break;
    }
    a.zf = zero;
    return a;
}

static struct answer ask_emulator(unsigned what, uint16_t selector)
{
    static const struct {
        uint8_t bytes[4];
        uint8_t size;
    } codes[DO_COUNT] = {
        [DO_LAR] = {{0x0f, 0x02, 0x18}, 3},  [DO_LAR_16] = {{0x66, 0x0f, 0x02, 0x18}, 4},
        [DO_LSL] = {{0x0f, 0x03, 0x18}, 3},  [DO_LSL_16] = {{0x66, 0x0f, 0x03, 0x18}, 4},
        [DO_VERR] = {{0x0f, 0x00, 0x20}, 3}, [DO_VERW] = {{0x0f, 0x00, 0x28}, 3},
        [DO_ES] = {{0x8e, 0x00}, 2},
    };
    world.cpu.gpr[GPR_RBX] = 0x1122334455667788;
    world.regs[REG_RFLAGS] = 2;
    put16(0, selector);
    enum mmio_outcome outcome = run_code(codes[what].bytes, codes[what].size, A);
    if (outcome == MMIO_INJECT)
        return (struct answer){.fault = world.vcpu.fault.vector};
    assert_int_equal(outcome, MMIO_DONE);
    return (struct answer){.value = world.cpu.gpr[GPR_RBX], .zf = world.regs[REG_RFLAGS] & ALU_ZF};
}

static void descriptors_like_the_cpu(void **state)
{
    static uint64_t ldt[KINDS + 2];
    (void)state;
    for (unsigned kind = 0; kind < KINDS; kind++)
        ldt[kind + 1] = make_kind(kind);
    if (!ldt[1])
        skip();
    memcpy(world_ram[TABLE / PAGE_SIZE], ldt, sizeof(ldt));
    world.regs[REG_SEG_AR + SEG_LDTR] = 0x82;
    world.regs[REG_SEG_LIMIT + SEG_LDTR] = 8 * (KINDS + 1) - 1;
    *world_pte(world.regs[REG_CR3], V) |= PTE_U;
    for (unsigned i = 2; i <= 4; i++)
        *world_entry(world.regs[REG_CR3], V, i) |= PTE_U;
    world.regs[REG_SEG_AR + SEG_CS] = AR_CODE64 | 0x60;
    world.regs[REG_SEG_AR + SEG_SS] = AR_DATA32 | 0x60;
    *world_pte(world.regs[REG_CR3], WORLD_CODE) |= PTE_U;
    unsigned good = 0, faults = 0;
    for (unsigned entry = 0; entry < KINDS + 1; entry++)
        for (unsigned rpl = 0; rpl < 4; rpl++)
            for (unsigned what = 0; what < DO_COUNT; what++) {
                uint16_t selector = (uint16_t)(entry << 3 | 4 | rpl);
                struct answer cpu = ask_cpu(what, selector), ours = ask_emulator(what, selector);
                if (cpu.fault != ours.fault || cpu.zf != ours.zf ||
                    (!cpu.fault && what < DO_VERR && cpu.value != ours.value))
                    fail_msg("%u of selector %#x, %#lx: fault %d, ZF %d, %#lx; the CPU: fault %d, "
                             "ZF %d, %#lx",
                             what, selector, ldt[entry], ours.fault, ours.zf, ours.value, cpu.fault,
                             cpu.zf, cpu.value);
                good += cpu.zf;
                faults += cpu.fault != 0;
            }
    assert_true(good > 200 && faults > 50);
}

/* What an LDT of Linux has not: other privilege levels. An RPL above the DPL hides a segment,
 * unless it is conforming code. */
static void privilege_hides_segments(void **state)
{
    static const struct {
        unsigned cpl, rpl, rights;
        bool visible;
    } cases[] = {
        {0, 0, 0x92, true},  {0, 1, 0x92, false}, {0, 3, 0x92, false}, {0, 3, 0xf2, true},
        {3, 3, 0x92, false}, {3, 0, 0xb2, false}, {3, 3, 0x9e, true},  {1, 2, 0xb2, false},
        {1, 1, 0xb2, true},  {2, 0, 0xd2, true},
    };
    static const unsigned instructions[] = {DO_LAR, DO_LSL, DO_VERR};
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
        for (unsigned n = 0; n < ARRAY_SIZE(instructions); n++) {
            setup(state);
            narrow(cases[i].cpl);
            table[2] = segment(0, 0x1234, cases[i].rights, 0);
            store_table();
            struct answer a = ask_emulator(instructions[n], (uint16_t)(0x10 | cases[i].rpl));
            assert_int_equal(a.fault, 0);
            assert_int_equal(a.zf, cases[i].visible);
            table[0] = table[2]; /* which no selector names */
            store_table();
            assert_false(ask_emulator(instructions[n], (uint16_t)cases[i].rpl).zf);
        }
}

/* ---- Tables and words ------------------------------------------------------------------------ */

#define SGDT CODE(0x0f, 0x01, 0x00)
#define SIDT CODE(0x0f, 0x01, 0x08)
#define LGDT CODE(0x0f, 0x01, 0x10)
#define LIDT CODE(0x0f, 0x01, 0x18)
#define SMSW CODE(0x0f, 0x01, 0x20)
#define LMSW CODE(0x0f, 0x01, 0x30)
#define SLDT CODE(0x0f, 0x00, 0x00)
#define STR  CODE(0x0f, 0x00, 0x08)
#define LLDT CODE(0x0f, 0x00, 0x10)
#define LTR  CODE(0x0f, 0x00, 0x18)

static void tables_are_stored_and_loaded(void **state)
{
    uint64_t base = 0xffff812345678000;
    uint16_t limit = 0x1234;
    world.regs[REG_GDTR_BASE] = base;
    world.regs[REG_GDTR_LIMIT] = limit;
    assert_int_equal(run_code(SGDT, A), MMIO_DONE);
    assert_memory_equal(world.a.ram, &limit, 2);
    assert_memory_equal(&world.a.ram[2], &base, 8);
    assert_int_equal(run_code(LIDT, A), MMIO_DONE);
    assert_int_equal(world.regs[REG_IDTR_BASE], base);
    assert_int_equal(world.regs[REG_IDTR_LIMIT], limit);
    world.a.ram[9] = 0; /* not canonical */
    world.a.writes = 0;
    assert_raised(run_code(LGDT, A), 13, true);
    assert_int_equal(world.regs[REG_GDTR_BASE], base);

    setup(state);
    narrow(0);
    memcpy(world.a.ram, "\x34\x12\x78\x56\x34\x12\xee\xee", 8);
    assert_int_equal(run_code(LGDT, A), MMIO_DONE);
    assert_int_equal(world.regs[REG_GDTR_BASE], 0x12345678);
    assert_int_equal(run_code(CODE(0x66, 0x0f, 0x01, 0x18), A), MMIO_DONE); /* 24 bits */
    assert_int_equal(world.regs[REG_IDTR_BASE], 0x345678);
    assert_int_equal(world.regs[REG_IDTR_LIMIT], 0x1234);
    memset(world.a.ram, 0x55, 16);
    assert_int_equal(run_code(SIDT, A), MMIO_DONE);
    assert_memory_equal(world.a.ram, "\x34\x12\x78\x56\x34\x00\x55\x55", 8);
}

static void words_are_stored(void **state)
{
    (void)state;
    world.regs[REG_SEG_SELECTOR + SEG_LDTR] = 0x18;
    world.regs[REG_SEG_SELECTOR + SEG_TR] = 0x40;
    memset(world.a.ram, 0x55, 8);
    assert_int_equal(run_code(SLDT, A), MMIO_DONE);
    assert_memory_equal(world.a.ram, "\x18\x00\x55", 3);
    assert_int_equal(run_code(STR, A), MMIO_DONE);
    assert_memory_equal(world.a.ram, "\x40\x00\x55", 3);
    assert_int_equal(run_code(CODE(0x48, 0x0f, 0x01, 0x20), A), MMIO_DONE); /* SMSW, 16 bits too */
    uint16_t msw = (uint16_t)world.regs[REG_CR0];
    assert_memory_equal(world.a.ram, &msw, 2);
    assert_int_equal(world.a.ram[2], 0x55);
    put16(0, CR0_TS | CR0_MP);
    assert_int_equal(run_code(LMSW, A), MMIO_DONE);
    assert_int_equal(world.regs[REG_CR0] & 15, CR0_TS | CR0_MP | CR0_PE);
}

/* By mode and privilege: 0: it works, 6: #UD, 13: #GP(0). */
static void who_may(void **state)
{
    static const struct {
        uint8_t code[3];
        uint8_t real, user, umip;
    } cases[] = {
        {{0x0f, 0x01, 0x00}, 0, 0, 13},  {{0x0f, 0x01, 0x08}, 0, 0, 13},
        {{0x0f, 0x01, 0x20}, 0, 0, 13},  {{0x0f, 0x00, 0x00}, 6, 0, 13},
        {{0x0f, 0x00, 0x08}, 6, 0, 13},  {{0x0f, 0x01, 0x10}, 0, 13, 13},
        {{0x0f, 0x01, 0x18}, 0, 13, 13}, {{0x0f, 0x01, 0x30}, 0, 13, 13},
        {{0x0f, 0x00, 0x10}, 6, 13, 13}, {{0x0f, 0x00, 0x18}, 6, 13, 13},
        {{0x0f, 0x00, 0x20}, 6, 0, 0},   {{0x0f, 0x00, 0x28}, 6, 0, 0},
        {{0x0f, 0x02, 0x18}, 6, 0, 0},   {{0x0f, 0x03, 0x18}, 6, 0, 0},
        {{0x63, 0x18, 0x90}, 6, 0, 0},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
        for (unsigned mode = 0; mode < 4; mode++) {
            const uint8_t expected[] = {cases[i].real, cases[i].user, cases[i].umip, cases[i].real};
            setup(state);
            narrow(mode ? 3 : 0);
            if (!mode)
                world.regs[REG_CR0] = 0;
            if (mode == 2)
                world.regs[REG_CR4] |= CR4_UMIP;
            if (mode == 3)
                world.regs[REG_RFLAGS] |= RFLAGS_VM;
            enum mmio_outcome outcome = run_code(cases[i].code, 3, A);
            /* Virtual-8086 mode has CPL 3. */
            uint8_t vector = mode == 3 && !expected[3] && cases[i].user ? 13 : expected[mode];
            if (vector)
                assert_raised(outcome, vector, vector == 13 && mode);
            else
                assert_int_equal(outcome, MMIO_DONE);
        }
}

/* ---- LDTR and TR ----------------------------------------------------------------------------- */

static void system_segments(void **state)
{
    static const struct {
        unsigned rights, selector;
        bool tr, wide;
        uint8_t vector; /* 0: it works; its error code is the selector */
    } cases[] = {
        {0x82, 0x10, false, false, 0},       {0x82, 0x12, false, true, 0},
        {0x02, 0x10, false, false, 11},      {0x92, 0x10, false, false, 13},
        {0x89, 0x10, false, false, 13},      {0x82, 0x14, false, false, 13},
        {0x82, LIMIT + 1, false, false, 13}, {0x89, 0x10, true, false, 0},
        {0x81, 0x10, true, false, 0},        {0x8b, 0x10, true, false, 13},
        {0x83, 0x10, true, false, 13},       {0x09, 0x10, true, false, 11},
        {0x82, 0x10, true, false, 13},       {0x89, 0x10, true, true, 0},
        {0x81, 0x10, true, true, 13},        {0x89, 0, true, false, 13},
        {0x89, 0x14, true, false, 13},       {0x99, 0x10, true, false, 13},
        {0x89, LIMIT - 7, true, true, 13},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        setup(state);
        if (!cases[i].wide)
            narrow(0);
        unsigned entry = cases[i].selector >> 3;
        table[2] = segment(0x12345678, 0x1234, cases[i].rights, 0);
        table[3] = cases[i].wide ? 0xffff8000 : 0x5555555555555555;
        if (entry < 31)
            table[entry] = table[2];
        store_table();
        put16(0, (uint16_t)cases[i].selector);
        unsigned which = cases[i].tr ? SEG_TR : SEG_LDTR;
        world.regs[REG_SEG_SELECTOR + which] = 0x77;
        enum mmio_outcome outcome = cases[i].tr ? run_code(LTR, A) : run_code(LLDT, A);
        if (cases[i].vector) {
            assert_raised(outcome, cases[i].vector, true);
            assert_int_equal(world.vcpu.fault.error_code, cases[i].selector & 0xfffc);
            assert_int_equal(world.regs[REG_SEG_SELECTOR + which], 0x77);
            assert_int_equal(table_word(2), table[2]);
            continue;
        }
        assert_int_equal(outcome, MMIO_DONE);
        unsigned busy = cases[i].tr ? 2 : 0;
        assert_int_equal(world.regs[REG_SEG_SELECTOR + which], cases[i].selector);
        assert_int_equal(world.regs[REG_SEG_BASE + which],
                         0x12345678 | (cases[i].wide ? 0xffff800000000000 : 0));
        assert_int_equal(world.regs[REG_SEG_LIMIT + which], 0x1234);
        assert_int_equal(world.regs[REG_SEG_AR + which], cases[i].rights | busy);
        assert_int_equal(table_word(2), table[2] | (uint64_t)busy << 40);
    }
    setup(state);
    put16(0, 3); /* a null selector makes LDTR unusable */
    world.regs[REG_SEG_AR + SEG_LDTR] = 0x82;
    assert_int_equal(run_code(LLDT, A), MMIO_DONE);
    assert_true(world.regs[REG_SEG_AR + SEG_LDTR] & SEG_AR_UNUSABLE);
}

/* ---- MMX ------------------------------------------------------------------------------------- */

static void mmx_refusals(void **state)
{
    static const struct {
        uint64_t cr0;
        bool error;
        uint8_t vector;
    } cases[] = {{0, false, 0}, {CR0_EM, false, 6},         {CR0_TS, false, 7},
                 {0, true, 16}, {CR0_EM | CR0_TS, true, 6}, {CR0_TS, true, 7}};
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
        for (unsigned store = 0; store < 2; store++) {
            setup(state);
            world.regs[REG_CR0] |= cases[i].cr0;
            vectors_x87_error = cases[i].error;
            enum mmio_outcome outcome =
                store ? run_code(CODE(0x0f, 0x7f, 0x08), A) : run_code(CODE(0x0f, 0x6e, 0x08), A);
            if (cases[i].vector)
                assert_raised(outcome, cases[i].vector, false);
            else
                assert_int_equal(outcome, MMIO_DONE);
            assert_int_equal(world.a.reads + world.a.writes, cases[i].vector ? 0 : 1);
        }
    vectors_x87_error = false;
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, world_end)
    const struct CMUnitTest tests[] = {
        T(descriptors_like_the_cpu),
        T(privilege_hides_segments),
        T(tables_are_stored_and_loaded),
        T(words_are_stored),
        T(who_may),
        T(system_segments),
        T(mmx_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
