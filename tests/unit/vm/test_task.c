/* SPDX-License-Identifier: MIT */
/*
 * Hardware task switches: the effect of each kind on both TSSs, the descriptor table and the
 * registers, and the fault of each possible error.
 */
#include "tests/unit/vm/task_world.h"

#include "vmx/event.h"

/* ---- Successful switches --------------------------------------------------------------------- */

static void saved_state(bool wide, uint32_t eflags)
{
    static const uint32_t gprs[] = {0xa0a1a2a3, 0xb0b1b2b3, 0xc0c1c2c3, 0xd0d1d2d3,
                                    STACK,      0xe0e1e2e3, 0xf0f1f2f3, 0x10203};
    uint32_t mask = wide ? 0xffffffff : 0xffff;
    unsigned width = wide ? 4 : 2;
    assert_int_equal(get(OLD_TSS + offsets[wide][EIP], width), 0x11112222 & mask);
    assert_int_equal(get(OLD_TSS + offsets[wide][EFLAGS], width), eflags & mask);
    for (uint32_t i = 0; i < 8; i++)
        assert_int_equal(get(OLD_TSS + (wide ? 0x28u : 0x12u) + width * i, width), gprs[i] & mask);
    assert_int_equal(get(OLD_TSS + offsets[wide][CS], 2), CODE);
    assert_int_equal(get(OLD_TSS + offsets[wide][SS], 2), DATA);
    /* Fields that a switch does not write: the link, the stacks, CR3, the LDT, the reserved
     * halves. */
    assert_int_equal(get(OLD_TSS, 2), 0);
    assert_int_equal(get(OLD_TSS + offsets[wide][LDT_FIELD], 2), 0);
    if (wide)
        assert_int_equal(get(OLD_TSS + 0x4e, 2), 0xbeef);
}

static void loaded_state(bool wide, bool old_wide, bool nested)
{
    struct task_cpu *cpu = &world.cpu;
    assert_int_equal(cpu->eip, 0x1234);
    assert_int_equal(cpu->eflags, 0x246 | (nested ? FLAG_NT : 0));
    for (unsigned i = 0; i < 8; i++)
        if (i != GPR_RSP)
            assert_int_equal(cpu->gpr[i], wide ? 0x55550000 + 0x1111 * i : 0xffff0000 + 0x1111 * i);
    assert_int_equal(cpu->cr3, wide ? NEW_CR3 : 0x6000);
    assert_int_equal(world.cr3, wide ? NEW_CR3 : 0);
    assert_int_equal(cpu->dr7, 0x7ff & ~0x155);
    assert_int_equal(cpu->tr.selector, TSS_B);
    assert_int_equal(cpu->tr.rights, wide ? 0x8b : 0x83);
    assert_int_equal(cpu->tr.base, NEW_TSS);
    assert_int_equal(cpu->tr.limit, 0x67);
    assert_int_equal(cpu->ldtr.selector, LOCAL);
    assert_int_equal(cpu->ldtr.rights, 0x82);
    assert_int_equal(cpu->ldtr.base, LDT);
    assert_int_equal(cpu->segments[SEG_CS].rights, 0xc09b);
    assert_int_equal(cpu->segments[SEG_CS].limit, 0xffffffff);
    assert_int_equal(cpu->segments[SEG_SS].rights, 0xc093);
    assert_int_equal(cpu->segments[SEG_GS].rights, SEG_AR_UNUSABLE);
    assert_int_equal(cpu->segments[SEG_FS].rights, wide ? 0xc093 : SEG_AR_UNUSABLE);
    (void)old_wide;
}

static void kinds(void **state)
{
    (void)state;
    for (unsigned wide = 0; wide < 2; wide++)
        for (unsigned old_wide = 0; old_wide < 2; old_wide++)
            for (enum task_source source = TASK_CALL; source <= TASK_GATE; source++) {
                bool nested = source == TASK_CALL || source == TASK_GATE;
                setup(old_wide, wide, source == TASK_IRET);
                put(OLD_TSS + 0x4e, 0xbeef, 2);
                struct task_outcome outcome = go(source, false);
                assert_int_equal(outcome.result, TASK_DONE);
                assert_true(outcome.switched);
                saved_state(old_wide, source == TASK_IRET ? 0x202 : 0x202 | FLAG_NT);
                loaded_state(wide, old_wide, nested);
                assert_int_equal(get(NEW_TSS, 2), nested ? TSS_A : 0);
                assert_int_equal(rights_of(TSS_A) & 2, nested ? 2 : 0);
                assert_int_equal(rights_of(TSS_B) & 2, 2);
                assert_int_equal(rights_of(CODE) & 1, 1); /* accessed */
                assert_int_equal(rights_of(CODE3) & 1, 0);
                assert_int_equal(world.cpu.gpr[GPR_RSP], wide ? STACK : 0xffff0000 | STACK);
            }
}

static void error_codes(void **state)
{
    (void)state;
    for (unsigned wide = 0; wide < 2; wide++) {
        setup(true, wide, false);
        set_field(wide, SS, STACK16);
        set_field(wide, ESP, 0x12348000);
        struct task_outcome outcome = go(TASK_GATE, true);
        assert_int_equal(outcome.result, TASK_DONE);
        uint32_t high = wide ? 0x12340000 : 0xffff0000;
        assert_int_equal(world.cpu.gpr[GPR_RSP], high | (0x8000 - (wide ? 4u : 2u)));
        assert_int_equal(get(0x8000 - (wide ? 4u : 2u), wide ? 4u : 2u), 0x4321);
        assert_int_equal(world.cpl, 0);
    }
    setup(true, true, false); /* the stack is accessed with the rights of the new task */
    set_field(true, CS, CODE3);
    for (enum field field = SS; field <= FS; field++)
        set_field(true, field, DATA3);
    set_field(true, ES, DATA3);
    assert_int_equal(go(TASK_GATE, true).result, TASK_DONE);
    assert_int_equal(world.cpl, 3);
}

static void others(void **state)
{
    (void)state;
    setup(true, true, false); /* the T bit */
    set_field(true, TRAP, 1);
    assert_int_equal(go(TASK_JMP, false).result, TASK_TRAP);

    setup(true, true, false); /* CR3 is not loaded if it is the same, or without paging */
    set_field(true, CR3, 0x6000);
    assert_int_equal(go(TASK_JMP, false).result, TASK_DONE);
    assert_int_equal(world.cr3, 0);
    setup(true, true, false);
    world.cpu.paging = false;
    assert_int_equal(go(TASK_JMP, false).result, TASK_DONE);
    assert_int_equal(world.cr3, 0);

    setup(true, true, false); /* virtual-8086 mode */
    set_field(true, EFLAGS, 0x2 | FLAG_VM | 0x3000);
    set_field(true, CS, 0x1234);
    set_field(true, SS, 0x5678);
    assert_int_equal(go(TASK_JMP, false).result, TASK_DONE);
    assert_int_equal(world.cpu.segments[SEG_CS].base, 0x12340);
    assert_int_equal(world.cpu.segments[SEG_SS].rights, 0xf3);
    assert_int_equal(world.cpu.segments[SEG_SS].limit, 0xffff);
    assert_int_equal(world.cpu.eflags, 0x2 | FLAG_VM | 0x3000);

    setup(true, true, false); /* a segment in the LDT */
    set_field(true, DS, DATA | 4);
    assert_int_equal(go(TASK_JMP, false).result, TASK_DONE);
    assert_int_equal(world.cpu.segments[SEG_DS].rights, 0xc093);
    assert_int_equal(world.memory[LDT + DATA + 5] & 1, 1);
}

/* ---- Faults ---------------------------------------------------------------------------------- */

static const struct {
    enum field field;
    uint32_t value;
    uint8_t vector;
    uint16_t error;
} fault_rows[] = {
    {LDT_FIELD, LOCAL | 4, VECTOR_TS, LOCAL | 4},
    {LDT_FIELD, DATA, VECTOR_TS, DATA},
    {LDT_FIELD, 8 * ENTRIES, VECTOR_TS, 8 * ENTRIES},
    {CS, 0, VECTOR_TS, 0},
    {CS, DATA, VECTOR_TS, DATA},
    {CS, CODE3 & ~3, VECTOR_TS, CODE3 & ~3}, /* DPL is not RPL */
    {CS, CODE | 3, VECTOR_TS, CODE},
    {CS, ABSENT_CODE, VECTOR_NP, ABSENT_CODE},
    {CS, 8 * ENTRIES, VECTOR_TS, 8 * ENTRIES},
    {SS, 0, VECTOR_TS, 0},
    {SS, CODE, VECTOR_TS, CODE},
    {SS, READ_ONLY, VECTOR_TS, READ_ONLY},
    {SS, DATA3, VECTOR_TS, DATA3 & ~3},
    {SS, DATA | 1, VECTOR_TS, DATA},
    {SS, ABSENT_DATA, VECTOR_SS, ABSENT_DATA},
    {SS, LOCAL, VECTOR_TS, LOCAL},
    {DS, UNREADABLE, VECTOR_TS, UNREADABLE},
    {DS, LOCAL, VECTOR_TS, LOCAL},
    {DS, DATA | 3, VECTOR_TS, DATA}, /* RPL above DPL */
    {ES, ABSENT_DATA, VECTOR_NP, ABSENT_DATA},
    {FS, 8 * ENTRIES | 4, VECTOR_TS, 8 * ENTRIES | 4},
    {GS, ABSENT_CODE, VECTOR_NP, ABSENT_CODE},
};

static void faults(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(fault_rows); i++)
        for (unsigned external = 0; external < 2; external++) {
            setup(true, true, false);
            set_field(true, fault_rows[i].field, fault_rows[i].value);
            struct task_outcome outcome = go(TASK_GATE, external);
            if (outcome.result != TASK_FAULT || outcome.vector != fault_rows[i].vector ||
                outcome.error_code != fault_rows[i].error + external || !outcome.switched)
                fail_msg("row %u: %u, vector %u, error 0x%x", i, outcome.result, outcome.vector,
                         outcome.error_code);
            assert_int_equal(world.cpu.eip, 0x1234); /* of the new task */
            assert_int_equal(world.cpu.tr.selector, TSS_B);
        }
    /* Unusual values that are valid. */
    setup(true, true, false);
    set_field(true, DS, CONFORMING | 3);
    assert_int_equal(go(TASK_GATE, false).result, TASK_DONE);
    setup(true, true, false);
    set_field(true, CS, CONFORMING | 3);
    set_field(true, SS, DATA3);
    set_field(true, DS, DATA3);
    set_field(true, ES, 0);
    set_field(true, FS, 3);
    assert_int_equal(go(TASK_GATE, false).result, TASK_DONE);
    /* The stack has no room for the exception's error code. */
    setup(true, true, false);
    describe(STACK16, 0, 0x7fff, 0x0092);
    set_field(true, SS, STACK16);
    set_field(true, ESP, 0x8002);
    struct task_outcome outcome = go(TASK_GATE, true);
    assert_int_equal(outcome.vector, VECTOR_SS);
    assert_int_equal(outcome.error_code, 1);
    setup(true, true, false);
    world.refuse_cr3 = true;
    outcome = go(TASK_JMP, false);
    assert_int_equal(outcome.vector, VECTOR_GP);
    assert_true(outcome.switched);
}

/* Faults of the old task, after which nothing has changed. */
static void nothing_changes(void **state)
{
    (void)state;
    for (enum task_source source = TASK_CALL; source <= TASK_GATE; source++)
        for (unsigned kind = 0; kind < 4; kind++) {
            setup(true, true, source == TASK_IRET);
            if (kind == 0) /* busy instead of available, or the reverse */
                describe(TSS_B, NEW_TSS, 0x67, source == TASK_IRET ? 0x89 : 0x8b);
            else if (kind == 1)
                describe(TSS_B, NEW_TSS, 0x66, source == TASK_IRET ? 0x8b : 0x89);
            else if (kind == 2)
                world.cpu.tr.limit = 0x5e;
            else
                world.cpu.gdt_limit = TSS_B + 6;
            uint8_t before[SIZE];
            struct task_cpu cpu = world.cpu;
            memcpy(before, world.memory, SIZE);
            struct task_outcome outcome = go(source, false);
            assert_int_equal(outcome.result, TASK_FAULT);
            assert_int_equal(outcome.vector, VECTOR_TS);
            assert_int_equal(outcome.error_code, kind == 2 ? TSS_A : TSS_B);
            assert_false(outcome.switched);
            assert_memory_equal(before, world.memory, SIZE);
            assert_memory_equal(&cpu, &world.cpu, sizeof(cpu));
        }
}

/* Each access fails in turn. Until the state is written, nothing has changed. */
static void memory_that_is_missing(void **state)
{
    (void)state;
    for (enum task_source source = TASK_CALL; source <= TASK_GATE; source++) {
        bool wrote = false;
        for (long n = 0;; n++) {
            setup(true, true, source == TASK_IRET);
            uint8_t before[SIZE];
            struct task_cpu cpu = world.cpu;
            memcpy(before, world.memory, SIZE);
            world.left = n;
            struct task_outcome outcome = go(source, true);
            if (outcome.result == TASK_DONE) {
                assert_true(n > 8);
                break;
            }
            assert_int_equal(outcome.result, TASK_MEMORY);
            wrote |= memcmp(before, world.memory, SIZE) != 0;
            assert_true(n >= 5 || !wrote);
            if (!outcome.switched)
                assert_memory_equal(&cpu, &world.cpu, sizeof(cpu));
        }
        assert_true(wrote);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds),           cmocka_unit_test(error_codes),
        cmocka_unit_test(others),          cmocka_unit_test(faults),
        cmocka_unit_test(nothing_changes), cmocka_unit_test(memory_that_is_missing),
    };
    return cmocka_run_group_tests_name("task switches", tests, NULL, NULL);
}
