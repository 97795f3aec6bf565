/* SPDX-License-Identifier: MIT */
/*
 * The features of a guest's CPU, on recorded and invented hosts: only those of the table, and
 * CPUID, MSRs, CR4 and XCR0 agree with each other.
 */
#include "arch/x86/reg_bits.h"
#include "tests/unit/vm/features_world.h"

/* ---- Features that are not offered ----------------------------------------------------------- */

/* Features that need MSRs, state or bits of CR4 that a guest does not get. */
static const struct {
    uint32_t leaf, subleaf;
    unsigned word, bit;
} hidden[] = {
    {1, 0, CPUID_ECX, 2},   /* DTES64 */
    {1, 0, CPUID_ECX, 3},   /* MONITOR */
    {1, 0, CPUID_ECX, 4},   /* DS-CPL */
    {1, 0, CPUID_ECX, 5},   /* VMX */
    {1, 0, CPUID_ECX, 6},   /* SMX */
    {1, 0, CPUID_ECX, 7},   /* EIST */
    {1, 0, CPUID_ECX, 8},   /* TM2 */
    {1, 0, CPUID_ECX, 10},  /* CNXT-ID */
    {1, 0, CPUID_ECX, 11},  /* SDBG */
    {1, 0, CPUID_ECX, 14},  /* xTPR */
    {1, 0, CPUID_ECX, 15},  /* PDCM */
    {1, 0, CPUID_ECX, 18},  /* DCA */
    {1, 0, CPUID_EDX, 7},   /* MCE */
    {1, 0, CPUID_EDX, 12},  /* MTRR */
    {1, 0, CPUID_EDX, 14},  /* MCA */
    {1, 0, CPUID_EDX, 18},  /* PSN */
    {1, 0, CPUID_EDX, 21},  /* DS */
    {1, 0, CPUID_EDX, 22},  /* ACPI */
    {1, 0, CPUID_EDX, 29},  /* TM */
    {1, 0, CPUID_EDX, 31},  /* PBE */
    {7, 0, CPUID_EBX, 2},   /* SGX */
    {7, 0, CPUID_EBX, 4},   /* HLE */
    {7, 0, CPUID_EBX, 11},  /* RTM */
    {7, 0, CPUID_EBX, 12},  /* RDT monitoring */
    {7, 0, CPUID_EBX, 14},  /* MPX */
    {7, 0, CPUID_EBX, 15},  /* RDT allocation */
    {7, 0, CPUID_EBX, 25},  /* PT */
    {7, 0, CPUID_ECX, 5},   /* WAITPKG */
    {7, 0, CPUID_ECX, 7},   /* CET shadow stacks */
    {7, 0, CPUID_ECX, 13},  /* TME */
    {7, 0, CPUID_ECX, 16},  /* LA57 */
    {7, 0, CPUID_ECX, 23},  /* Key Locker */
    {7, 0, CPUID_ECX, 24},  /* bus-lock detection */
    {7, 0, CPUID_ECX, 29},  /* ENQCMD */
    {7, 0, CPUID_ECX, 30},  /* SGX launch control */
    {7, 0, CPUID_ECX, 31},  /* PKS */
    {7, 0, CPUID_EDX, 5},   /* UINTR */
    {7, 0, CPUID_EDX, 18},  /* PCONFIG */
    {7, 0, CPUID_EDX, 19},  /* architectural LBR */
    {7, 0, CPUID_EDX, 20},  /* CET indirect branches */
    {7, 0, CPUID_EDX, 22},  /* AMX-BF16 */
    {7, 0, CPUID_EDX, 24},  /* AMX-TILE */
    {7, 0, CPUID_EDX, 25},  /* AMX-INT8 */
    {7, 1, CPUID_EAX, 6},   /* LASS */
    {7, 1, CPUID_EAX, 17},  /* FRED */
    {7, 1, CPUID_EAX, 19},  /* WRMSRNS */
    {7, 1, CPUID_EAX, 22},  /* HRESET */
    {7, 1, CPUID_EAX, 26},  /* LAM */
    {7, 1, CPUID_EDX, 21},  /* APX */
    {0xd, 1, CPUID_EAX, 4}, /* XFD */
};

static void not_offered(void **state)
{
    (void)state;
    START(everything, ALL_CONTROLS);
    for (unsigned i = 0; i < ARRAY_SIZE(hidden); i++) {
        struct cpuid r = ask(hidden[i].leaf, hidden[i].subleaf);
        if (word(&r, hidden[i].word) & BIT(hidden[i].bit))
            fail_msg("leaf %x.%u, word %u, bit %u", hidden[i].leaf, hidden[i].subleaf,
                     hidden[i].word, hidden[i].bit);
    }
    static const uint32_t empty[] = {3,    5,    8,    9,    0xa,  0xc,  0xe,  0xf,
                                     0x10, 0x11, 0x12, 0x13, 0x14, 0x17, 0x18, 0x19,
                                     0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f, 0x20, 0x80000005};
    for (unsigned i = 0; i < ARRAY_SIZE(empty); i++)
        for (uint32_t subleaf = 0; subleaf < 4; subleaf++)
            assert_same(ask(empty[i], subleaf), (struct cpuid){0});
    assert_same(ask(7, 2), (struct cpuid){0});
}

/* Every bit of a leaf with feature bits comes from the table or from the vCPU's state. */
static void nothing_without_a_row(void **state)
{
    (void)state;
    static const uint32_t leaves[][2] = {{1, 0},   {6, 0},          {7, 0},         {7, 1},
                                         {0xd, 1}, {0x80000001, 0}, {0x80000007, 0}};
    START(everything, ALL_CONTROLS);
    for (unsigned i = 0; i < ARRAY_SIZE(leaves); i++) {
        struct cpuid r = ask(leaves[i][0], leaves[i][1]);
        for (unsigned w = 0; w < 4; w++) {
            uint32_t rows = 0;
            for (unsigned f = 0; f < feature_count; f++)
                if (feature_table[f].leaf == leaves[i][0] &&
                    feature_table[f].subleaf == leaves[i][1] && feature_table[f].reg == w)
                    rows |= feature_table[f].bit;
            bool other = (leaves[i][0] == 1 && w < 2) ||
                         (leaves[i][0] == 7 && !leaves[i][1] && !w) ||
                         (leaves[i][0] == 0xd && w == CPUID_EBX);
            if (leaves[i][0] == 1 && w == CPUID_EDX)
                rows |= BIT(28); /* several logical processors */
            if (!other)
                assert_int_equal(word(&r, w) & ~rows, 0);
            if (!other && leaves[i][0] != 0xd)
                assert_int_equal(word(&r, w), rows);
        }
    }
}

/* ---- CR4, MSRs, XCR0 ------------------------------------------------------------------------- */

/* CR4 by the SDM: the CPUID bit with which each bit can be set. All other bits are reserved. */
static const struct {
    unsigned cr4;
    uint32_t leaf;
    unsigned word, bit;
} cr4_bits[] = {
    {0, 1, CPUID_EDX, 1},   {1, 1, CPUID_EDX, 1},   {2, 1, CPUID_EDX, 4},  {3, 1, CPUID_EDX, 2},
    {4, 1, CPUID_EDX, 3},   {5, 1, CPUID_EDX, 6},   {7, 1, CPUID_EDX, 13}, {8, 1, CPUID_EDX, 4},
    {9, 1, CPUID_EDX, 24},  {10, 1, CPUID_EDX, 25}, {11, 7, CPUID_ECX, 2}, {16, 7, CPUID_EBX, 0},
    {17, 1, CPUID_ECX, 17}, {18, 1, CPUID_ECX, 26}, {20, 7, CPUID_EBX, 7}, {21, 7, CPUID_EBX, 20},
    {22, 7, CPUID_ECX, 3},
};

static void cr4_follows_cpuid(void **state)
{
    (void)state;
    uint64_t all = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(cr4_bits); i++)
        all |= BIT(cr4_bits[i].cr4);
    START(everything, ALL_CONTROLS);
    assert_int_equal(features_cr4(), all);
    for (unsigned i = 0; i < ARRAY_SIZE(cr4_bits); i++) {
        mask_leaf = cr4_bits[i].leaf;
        mask_word = cr4_bits[i].word;
        mask_bits = (uint32_t)BIT(cr4_bits[i].bit);
        START(everything, ALL_CONTROLS);
        assert_int_equal(features_cr4() & BIT(cr4_bits[i].cr4), 0);
        mask_bits = 0;
    }
    /* VMX may not support a bit. */
    start_host(recorded, 0, ~BIT(20), 0);
    assert_int_equal(features_cr4(), all & ~BIT(20));
}

static void msrs_follow_cpuid(void **state)
{
    (void)state;
    START(everything, ALL_CONTROLS);
    assert_non_null(features_msr(MSR_XSS));
    assert_non_null(features_msr(MSR_TSC_AUX));
    assert_non_null(features_msr(0x3b));
    assert_null(features_msr(0xc8d)); /* RDT */
    assert_null(features_msr(0xc80)); /* SDBG */
    assert_null(features_msr(0x6a0)); /* CET */
    assert_null(features_msr(0x1c4)); /* XFD */
    assert_null(features_msr(0xd90)); /* MPX */
    assert_null(features_msr(0x480)); /* VMX */
    START(everything, 0);
    assert_null(features_msr(MSR_XSS));
    assert_null(features_msr(MSR_TSC_AUX));
    assert_int_equal(ask(0xd, 1).eax & BIT(3), 0);
    assert_int_equal(ask(0x80000001, 0).edx & BIT(27), 0);
    assert_int_equal(ask(7, 0).ecx & BIT(22), 0); /* RDPID */
    assert_int_equal(ask(7, 0).ebx & BIT(10), 0); /* INVPCID */
    START(westmere, ALL_CONTROLS);
    assert_null(features_msr(0x3b));
    assert_null(features_msr(MSR_XSS));
    for (unsigned f = 0; f < feature_count; f++)
        for (unsigned m = 0; m < FEATURE_MSRS && feature_table[f].msrs[m]; m++)
            if (feature_offered(&feature_table[f]))
                assert_non_null(features_msr(feature_table[f].msrs[m]));
}

/* SDM 1, 13.3: every value of the low bits, and each higher bit. */
static void xcr0_values(void **state)
{
    (void)state;
    START(everything, ALL_CONTROLS);
    for (uint64_t value = 0; value < 0x100000; value++) {
        uint64_t avx512 = value & 0xe0;
        bool valid = value & 1 && !(value & ~0x2e7ull) && (!(value & 4) || value & 2) &&
                     (!avx512 || (avx512 == 0xe0 && value & 4));
        assert_int_equal(features_xcr0_valid(value), valid);
    }
    for (unsigned bit = 8; bit < 64; bit++)
        assert_int_equal(features_xcr0_valid(7 | BIT(bit)), bit == 9);
    START(westmere, ALL_CONTROLS);
    for (unsigned bit = 0; bit < 64; bit++)
        assert_false(features_xcr0_valid(1 | BIT(bit)));
}

/* The CPU of this machine, whatever it is: features that it lacks are not offered. */
static void on_this_machine(void **state)
{
    (void)state;
    start_host(cpuid, ALL_CONTROLS, ~0ull, 0);
    for (unsigned f = 0; f < feature_count; f++) {
        const struct feature *row = &feature_table[f];
        struct cpuid r = cpuid(row->leaf, row->subleaf);
        if (feature_offered(row) && !row->ours)
            assert_int_equal(word(&r, row->reg) & row->bit, row->bit);
    }
    for (uint32_t leaf = 0; leaf < 0x40; leaf++)
        for (uint32_t subleaf = 0; subleaf < 70; subleaf++)
            (void)ask(leaf, subleaf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(not_offered),       cmocka_unit_test(nothing_without_a_row),
        cmocka_unit_test(cr4_follows_cpuid), cmocka_unit_test(msrs_follow_cpuid),
        cmocka_unit_test(xcr0_values),       cmocka_unit_test(on_this_machine),
    };
    return cmocka_run_group_tests_name("features", tests, NULL, NULL);
}
