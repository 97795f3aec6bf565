/* SPDX-License-Identifier: MIT */
/*
 * What is done about flaws of speculation, seen instruction by instruction: the MSRs, VERW with its
 * memory form, the reads that fill the L1D, each for each set of actions and in their order. That
 * the right actions are chosen is test_flaws.c's.
 */
#include "tests/unit/ring0.h"

#include "arch/x86/guarded.h"

/* A fault of it is test_guarded.c's. */
#define rdmsr_safe(msr, value) (*(value) = ring0_rdmsr(msr), true)

#include "arch/x86/mitigate.c"

#include <stdio.h>
#include <string.h>

#define LOADS (L1D_READ / 4096 + L1D_READ / 64)

struct cpu cpus[CPUS_MAX];
const uint8_t text_start[L1D_READ];

static char seen[256]; /* what was done, as words */
static unsigned loads, fences;
static uint64_t opt_ctrl;

static void note(const char *what)
{
    strncat(seen, what, sizeof(seen) - strlen(seen) - 1);
}

/* What of the code is of interest: loads of a byte into AL, LFENCE, and VERW of memory. */
static void ring0_step(uint64_t *rip)
{
    const uint8_t *code = (const uint8_t *)*rip;
    code += (code[0] & 0xf0) == 0x40; /* REX */
    loads += code[0] == 0x8a && !(code[1] & 0x38);
    fences += code[0] == 0x0f && code[1] == 0xae && code[2] == 0xe8;
    if (code[0] == 0x0f && code[1] == 0x00 && (code[2] & 0x38) == 5 << 3)
        note(code[2] >> 6 == 3 ? "verw of a register;" : "verw;");
}

static void ring0_halts(uint64_t *rip)
{
    (void)rip;
    fail_msg("it halts");
}

static void ring0_wrmsr(uint32_t msr, uint64_t value)
{
    char text[40];
    snprintf(text, sizeof(text), "%x=%lx;", msr, value);
    note(text);
}

static uint64_t ring0_rdmsr(uint32_t msr)
{
    assert_int_equal(msr, 0x123);
    return opt_ctrl;
}

static void watch(void (*action)(void), uint32_t chosen)
{
    mitigate_chosen = chosen;
    seen[0] = 0;
    loads = fences = 0;
    ring0_begin();
    ring0_single_steps(true);
    action();
    ring0_single_steps(false);
}

/* VERW comes last, as what is done before it may leave something in the buffers. */
static void at_a_change_of_vm(void **state)
{
    (void)state;
    for (uint32_t does = 0; does < 1u << 11; does++) {
        watch(mitigate_change_vm, does);
        char right[64] = "";
        strcat(right, does & DO_IBPB ? "49=1;" : "");
        strcat(right, does & DO_L1D_FLUSH_MSR ? "10b=1;" : "");
        strcat(right, does & DO_VERW ? "verw;" : "");
        assert_string_equal(seen, right);
        bool fills = does & DO_L1D_FLUSH_READ;
        assert_int_equal(fences, fills ? 2 : 0);
        assert_true(fills ? loads == LOADS : loads < 16);
        if (does == 15) /* the rest is none of its business */
            does = (1u << 11) - 16;
    }
}

static void same_vm(void)
{
    mitigate_enter_vm(7);
}

static void only_at_a_change(void **state)
{
    (void)state;
    cpus[0].last_vm = 3;
    watch(same_vm, DO_IBPB | DO_VERW);
    assert_string_equal(seen, "49=1;verw;");
    watch(same_vm, DO_IBPB | DO_VERW);
    assert_string_equal(seen, "");
}

static void when_a_cpu_starts(void **state)
{
    static const struct {
        uint32_t does;
        const char *right;
    } rows[] = {
        {0, ""},
        {DO_IBPB | DO_VERW | DO_L1D_FLUSH_MSR | DO_L1D_FLUSH_READ | DO_RSB_FILL | DO_CLEAR_GPRS,
         ""},
        {DO_IBRS_ALWAYS, "48=1;"},
        {DO_IBRS_AT_EXIT, "48=1;"},
        {DO_BHI_DIS_S, "48=400;"},
        {DO_IBRS_ALWAYS | DO_BHI_DIS_S, "48=401;"},
        {DO_TSX_OFF, "122=3;"},
        {DO_IBRS_AT_EXIT | DO_BHI_DIS_S | DO_TSX_OFF, "48=401;122=3;"},
    };
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        watch(mitigate_start, rows[i].does);
        assert_string_equal(seen, rows[i].right);
    }
    /* Of IA32_MCU_OPT_CTRL what switches a mitigation of the microcode's off, and nothing else. */
    for (unsigned bit = 0; bit < 64; bit++) {
        char right[40] = "";
        opt_ctrl = BIT(bit) | BIT(1);
        if (bit == 0 || bit == 4)
            strcpy(right, "123=2;");
        watch(mitigate_start, DO_KEEP_MICROCODE);
        assert_string_equal(seen, right);
        watch(mitigate_start, 0);
        assert_string_equal(seen, "");
    }
}

static void at_an_exit(void **state)
{
    (void)state;
    watch(mitigate_at_exit, DO_IBRS_AT_EXIT);
    assert_string_equal(seen, "48=1;");
    watch(mitigate_at_exit, DO_IBRS_AT_EXIT | DO_BHI_DIS_S);
    assert_string_equal(seen, "48=401;");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(at_a_change_of_vm),
        cmocka_unit_test(only_at_a_change),
        cmocka_unit_test(when_a_cpu_starts),
        cmocka_unit_test(at_an_exit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
