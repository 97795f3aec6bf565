/* SPDX-License-Identifier: MIT */
/*
 * CPUID in a TD. The oracle knows of each leaf whether it is direct, and of each bit of a direct
 * one whether it is 0, 1, the VMM's or computed, from lists of bit ranges as the ABI specification
 * and compliance suites give them; the code has masks. Each bit is offered alone, so a mask cannot
 * be wrong by one bit without being seen.
 */
#include "tests/unit/support.h"

#include "lib/bits.h"
#include "tdx/td_cpuid.h"
#include "tdx/td_features.h"

#include <string.h>

enum { EAX, EBX, ECX, EDX };

static struct td td;
static struct td_vcpu vcpu;

static int setup(void **state)
{
    (void)state;
    td = (struct td){.gpa_width = TD_GPA_WIDTH, .vcpus = 4, .tsc_frequency = 42};
    vcpu = (struct td_vcpu){.td = &td};
    return 0;
}

static const uint32_t leaves[] = {
    0x0,        0x1,        0x2,        0x3,        0x4,        0x5,        0x6,
    0x7,        0x8,        0x9,        0xa,        0xb,        0xc,        0xd,
    0xe,        0xf,        0x10,       0x11,       0x12,       0x13,       0x14,
    0x15,       0x16,       0x17,       0x18,       0x19,       0x1a,       0x1b,
    0x1c,       0x1d,       0x1e,       0x1f,       0x20,       0x21,       0x22,
    0x23,       0x80000000, 0x80000001, 0x80000002, 0x80000003, 0x80000004, 0x80000005,
    0x80000006, 0x80000007, 0x80000008, 0x40000000, 0x40000001, 0x40000010, 0x4fffffff};

/* The number of direct subleaves from 0 on: 0 for a leaf that is #VE; ~0 if ECX is ignored. */
static uint32_t direct_subleaves(uint32_t leaf)
{
    switch (leaf) {
    case 0x2: /* caches: TD_CTLS.VIRT_CPUID2 makes it direct */
    case 0x6: /* thermal and power management */
    case 0x9: /* direct cache access */
    case 0xb: /* topology, like 1Fh */
    case 0xc:
    case 0xf: /* resource director */
    case 0x10:
    case 0x16: /* frequencies */
    case 0x17: /* system on a chip */
    case 0x18: /* address translation */
    case 0x1a: /* hybrid */
    case 0x1b: /* PCONFIG */
    case 0x1f:
    case 0x80000002 ... 0x80000006:
    case 0x40000000 ... 0x4fffffff:
        return 0;
    case 0x4:
        return 5;
    case 0x7:
        return 3;
    case 0xd:
        return 19;
    case 0x14:
    case 0x1d:
        return 2;
    case 0x21:
        return 1;
    case 0x23:
        return 4;
    default:
        return ~0u;
    }
}

static void which_leaves_are_direct(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(leaves); i++)
        for (uint32_t subleaf = 0; subleaf < 300; subleaf++)
            if (tdx_cpuid_access(&vcpu, 0, leaves[i], subleaf) !=
                (subleaf < direct_subleaves(leaves[i]) ? TDX_DIRECT : TDX_VE))
                fail_msg("leaf %#x, subleaf %u", leaves[i], subleaf);
    assert_int_equal(tdx_cpuid_access(&vcpu, 0, 4, ~0u), TDX_VE);
    assert_int_equal(tdx_cpuid_access(&vcpu, 0, 1, ~0u), TDX_DIRECT);
}

/* Before the kernel can handle #VE, it reads these leaves: a #VE would be a triple fault. */
static void what_a_kernel_reads_early_is_direct(void **state)
{
    (void)state;
    static const uint32_t early[] = {0, 1, 7, 0x21, 0x80000000, 0x80000001};
    for (unsigned i = 0; i < ARRAY_SIZE(early); i++)
        assert_int_equal(tdx_cpuid_access(&vcpu, 0, early[i], 0), TDX_DIRECT);
}

static void leaves_above_the_highest(void **state)
{
    (void)state;
    static const uint32_t above[] = {0x24,       0x1000,     0x3fffffff, 0x50000000, 0x7fffffff,
                                     0x80000009, 0x80860000, 0xc0000000, 0xffffffff};
    for (unsigned i = 0; i < ARRAY_SIZE(above); i++)
        assert_int_equal(tdx_cpuid_leaf(above[i]), 0x23);
    for (unsigned i = 0; i < ARRAY_SIZE(leaves); i++)
        assert_int_equal(tdx_cpuid_leaf(leaves[i]), leaves[i]);
}

/* ---- Bits ------------------------------------------------------------------------------------ */

/* Bits that are not the VMM's. For a range of bits with a value, `value` is that of the field. */
/* clang-format off */
static const struct fixed {
    uint32_t leaf, subleaf;
    uint8_t reg, high, low;
    uint32_t value;
} fixed[] = {
    {0x0, 0, EAX, 31, 0, 0x23},
    {0x1, 0, EAX, 15, 14, 0},
    {0x1, 0, EAX, 31, 28, 0},
    {0x1, 0, EBX, 7, 0, 0},      /* brand */
    {0x1, 0, ECX, 6, 5, 0},      /* VMX, SMX */
    {0x1, 0, ECX, 15, 15, 1},    /* PDCM */
    {0x1, 0, ECX, 16, 16, 0},
    {0x1, 0, ECX, 31, 31, 1},    /* hypervisor */
    {0x1, 0, EDX, 7, 7, 1},      /* MCE */
    {0x1, 0, EDX, 9, 9, 1},      /* APIC */
    {0x1, 0, EDX, 10, 10, 0},
    {0x1, 0, EDX, 12, 12, 1},    /* MTRR */
    {0x1, 0, EDX, 14, 14, 1},    /* MCA */
    {0x1, 0, EDX, 17, 17, 0},    /* PSE-36 */
    {0x1, 0, EDX, 20, 20, 0},
    {0x1, 0, EDX, 30, 30, 0},
    {0x4, 0, EAX, 13, 10, 0},
    {0x4, 0, EDX, 2, 2, 0},
    {0x4, 1, EAX, 13, 10, 0},
    {0x4, 1, EDX, 2, 2, 0},
    {0x4, 2, EAX, 13, 10, 0},
    {0x4, 2, EDX, 2, 2, 0},
    {0x4, 3, EAX, 13, 10, 0},
    {0x4, 3, EDX, 31, 3, 0},
    {0x7, 0, EAX, 31, 0, 2},
    {0x7, 0, EBX, 2, 1, 0},      /* TSC_ADJUST, SGX */
    {0x7, 0, EBX, 14, 14, 0},    /* MPX */
    {0x7, 0, EBX, 22, 22, 0},    /* PCOMMIT */
    {0x7, 0, ECX, 15, 15, 0},    /* FZM */
    {0x7, 0, ECX, 21, 17, 0},    /* MAWAU */
    {0x7, 0, ECX, 26, 26, 0},
    {0x7, 0, ECX, 30, 29, 0},    /* ENQCMD, SGX_LC */
    {0x7, 0, EDX, 1, 0, 0},
    {0x7, 0, EDX, 7, 6, 0},
    {0x7, 0, EDX, 9, 9, 0},      /* MCU_OPT_CTRL */
    {0x7, 0, EDX, 13, 11, 0},    /* 13: RTM_FORCE_ABORT */
    {0x7, 0, EDX, 15, 15, 0},    /* hybrid */
    {0x7, 0, EDX, 17, 17, 0},
    {0x7, 0, EDX, 21, 21, 0},
    {0x7, 0, EDX, 29, 29, 1},    /* IA32_ARCH_CAPABILITIES */
    {0x7, 1, EAX, 3, 0, 0},
    {0x7, 1, EAX, 7, 6, 0},
    {0x7, 1, EAX, 9, 9, 0},
    {0x7, 1, EAX, 31, 13, 0},
    {0x7, 1, EBX, 31, 0, 0},
    {0x7, 1, ECX, 31, 0, 0},
    {0x7, 1, EDX, 31, 0, 0},
    {0x7, 2, EAX, 31, 0, 0},
    {0x7, 2, EBX, 31, 0, 0},
    {0x7, 2, ECX, 31, 0, 0},
    {0x7, 2, EDX, 31, 6, 0},
    {0xd, 0, EAX, 4, 3, 0},      /* MPX */
    {0xd, 0, EAX, 8, 8, 0},
    {0xd, 0, EAX, 16, 10, 0},
    {0xd, 0, EAX, 31, 19, 0},
    {0xd, 0, EDX, 31, 0, 0},
    {0xd, 1, EAX, 31, 5, 0},
    {0xd, 1, ECX, 7, 0, 0},
    {0xd, 1, ECX, 10, 9, 0},     /* PASID */
    {0xd, 1, ECX, 13, 13, 0},    /* HDC */
    {0xd, 1, ECX, 31, 16, 0},
    {0xd, 1, EDX, 31, 0, 0},
    {0x15, 0, EAX, 31, 0, 1},
    {0x15, 0, EBX, 31, 0, 42},   /* the TD's frequency */
    {0x15, 0, ECX, 31, 0, 25000000},
    {0x15, 0, EDX, 31, 0, 0},
    {0x21, 0, EAX, 31, 0, 0},
    {0x21, 0, EBX, 31, 0, 0x65746e49},
    {0x21, 0, ECX, 31, 0, 0x20202020},
    {0x21, 0, EDX, 31, 0, 0x5844546c},
    {0x80000000, 0, EAX, 31, 0, 0x80000008},
    {0x80000000, 0, EBX, 31, 0, 0},
    {0x80000000, 0, ECX, 31, 0, 0},
    {0x80000000, 0, EDX, 31, 0, 0},
    {0x80000001, 0, EAX, 31, 0, 0},
    {0x80000001, 0, EBX, 31, 0, 0},
    {0x80000001, 0, ECX, 4, 1, 0},
    {0x80000001, 0, ECX, 7, 6, 0},
    {0x80000001, 0, ECX, 31, 9, 0},
    {0x80000001, 0, EDX, 10, 0, 0},
    {0x80000001, 0, EDX, 19, 12, 0},
    {0x80000001, 0, EDX, 25, 21, 0},
    {0x80000001, 0, EDX, 28, 28, 0},
    {0x80000001, 0, EDX, 31, 30, 0},
    {0x80000007, 0, EAX, 31, 0, 0},
    {0x80000007, 0, EBX, 31, 0, 0},
    {0x80000007, 0, ECX, 31, 0, 0},
    {0x80000007, 0, EDX, 7, 0, 0},
    {0x80000007, 0, EDX, 31, 9, 0},
    {0x80000008, 0, EAX, 31, 16, 0},
    {0x80000008, 0, EBX, 8, 0, 0},
    {0x80000008, 0, EBX, 31, 10, 0},
    {0x80000008, 0, ECX, 31, 0, 0},
    {0x80000008, 0, EDX, 31, 0, 0},
};
/* clang-format on */

/* Leaves whose features the TD does not have are zeros, whatever is offered. */
static bool is_empty(uint32_t leaf, uint32_t subleaf)
{
    static const uint32_t empty[] = {0x3,  0x5,  0x8,  0xa,  0xe,  0x11, 0x12, 0x13,
                                     0x14, 0x19, 0x1c, 0x1d, 0x1e, 0x20, 0x22, 0x23};
    for (unsigned i = 0; i < ARRAY_SIZE(empty); i++)
        if (empty[i] == leaf)
            return true;
    return leaf == 4 && subleaf == 4;
}

/* Returns the expected value of a bit that the hypervisor offers, or does not. */
static bool oracle_bit(uint32_t leaf, uint32_t subleaf, unsigned reg, unsigned bit, bool offered)
{
    if (is_empty(leaf, subleaf))
        return false;
    if (leaf == 0xd && subleaf >= 2) /* the components: EDX is reserved */
        return reg != EDX && offered;
    for (unsigned i = 0; i < ARRAY_SIZE(fixed); i++) {
        const struct fixed *f = &fixed[i];
        bool same = f->leaf == leaf && f->reg == reg && f->low <= bit && bit <= f->high;
        if (same && (f->subleaf == subleaf || direct_subleaves(leaf) == ~0u))
            return f->value >> (bit - f->low) & 1;
    }
    return offered;
}

static void compare_leaf(uint32_t leaf, uint32_t subleaf)
{
    bool right[128][2]; /* of each bit, by whether it is offered */
    for (unsigned b = 0; b < 128; b++)
        for (unsigned offers = 0; offers < 2; offers++)
            right[b][offers] = oracle_bit(leaf, subleaf, b / 32, b % 32, offers);
    for (unsigned i = 0; i <= 128; i++) { /* bit i of all registers; then all of them */
        uint32_t in[4] = {0}, out[4];
        struct cpuid offered, answer;
        if (i < 128)
            in[i / 32] = 1u << i % 32;
        else
            memset(in, 0xff, sizeof(in));
        memcpy(&offered, in, sizeof(in));
        answer = tdx_cpuid_answer(&td, leaf, subleaf, &offered, true);
        memcpy(out, &answer, sizeof(out));
        for (unsigned b = 0; b < 128; b++) {
            bool wanted = right[b][in[b / 32] >> b % 32 & 1];
            if ((out[b / 32] >> b % 32 & 1) != wanted)
                fail_msg("leaf %#x, subleaf %u: bit %u of register %u is not %d", leaf, subleaf,
                         b % 32, b / 32, wanted);
        }
    }
}

static void every_bit(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(leaves); i++)
        for (uint32_t subleaf = 0; subleaf < 20 && subleaf < direct_subleaves(leaves[i]); subleaf++)
            compare_leaf(leaves[i], subleaf);
}

static void syscall_only_in_64_bit_code(void **state)
{
    (void)state;
    const struct cpuid all = {~0u, ~0u, ~0u, ~0u};
    assert_int_equal(tdx_cpuid_answer(&td, 0x80000001, 0, &all, true).edx, 0x2c100800);
    assert_int_equal(tdx_cpuid_answer(&td, 0x80000001, 0, &all, false).edx, 0x2c100000);
    assert_int_equal(tdx_cpuid_answer(&td, 1, 0, &all, false).edx,
                     tdx_cpuid_answer(&td, 1, 0, &all, true).edx);
}

/* ---- Choices of the TD ----------------------------------------------------------------------- */

/* CPUIDVE.SET. Leaves that are #VE stay so, at every CPL. */
static void exceptions_on_request(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        vcpu.cpuid_ve_supervisor = i & 1;
        vcpu.cpuid_ve_user = i & 2;
        for (unsigned cpl = 0; cpl < 4; cpl++) {
            bool ve = cpl ? vcpu.cpuid_ve_user : vcpu.cpuid_ve_supervisor;
            assert_int_equal(tdx_cpuid_access(&vcpu, cpl, 1, 0), ve ? TDX_VE : TDX_DIRECT);
            assert_int_equal(tdx_cpuid_access(&vcpu, cpl, 0x21, 0), ve ? TDX_VE : TDX_DIRECT);
            assert_int_equal(tdx_cpuid_access(&vcpu, cpl, 0x40000000, 0), TDX_VE);
        }
    }
    td.td_ctls = TD_CTLS_REDUCE_VE;
    vcpu.cpuid_ve_user = true;
    assert_int_equal(tdx_cpuid_access(&vcpu, 3, 6, 0), TDX_VE);
}

/* Each bit of TD_CTLS makes its own leaves direct. */
static void fewer_exceptions(void **state)
{
    (void)state;
    static const uint32_t others[] = {0x6, 0x9, 0xc, 0x10, 0x16, 0x1a, 0x80000002, 0x80000006};
    for (unsigned i = 0; i < 16; i++) {
        td.td_ctls = i;
        bool reduced = i & 8;
        const enum tdx_access all = reduced ? TDX_DIRECT : TDX_VE,
                              topology = reduced || i & 2 ? TDX_DIRECT : TDX_VE;
        assert_int_equal(tdx_cpuid_access(&vcpu, 0, 0xb, 7), topology);
        assert_int_equal(tdx_cpuid_access(&vcpu, 0, 0x1f, 1), topology);
        assert_int_equal(tdx_cpuid_access(&vcpu, 0, 0x2, 0),
                         reduced || i & 4 ? TDX_DIRECT : TDX_VE);
        for (unsigned j = 0; j < ARRAY_SIZE(others); j++)
            assert_int_equal(tdx_cpuid_access(&vcpu, 0, others[j], 0), all);
        assert_int_equal(tdx_cpuid_access(&vcpu, 0, 4, 9), all);
        assert_int_equal(tdx_cpuid_access(&vcpu, 0, 0x40000000, 0), TDX_VE);
        assert_int_equal(tdx_cpuid_access(&vcpu, 0, 0x4fffffff, 0), TDX_VE);
    }
}

static void assert_answer(uint32_t leaf, const struct cpuid *offered, struct cpuid right)
{
    struct cpuid r = tdx_cpuid_answer(&td, leaf, 0, offered, true);
    assert_memory_equal(&r, &right, sizeof(r));
}

static void what_reduced_leaves_answer(void **state)
{
    (void)state;
    const struct cpuid zero = {0}, all = {~0u, ~0u, ~0u, ~0u}, level = {3, 8, 0x201, 5};
    td.td_ctls = TD_CTLS_REDUCE_VE;
    assert_answer(0x2, &all, (struct cpuid){0x00feff01, 0, 0, 0});
    assert_answer(0x6, &all, (struct cpuid){4, 0, 0, 0});
    assert_answer(0xb, &level, level);
    assert_answer(0x1f, &level, level);
    assert_answer(0x80000003, &all, all);
    static const uint32_t empty[] = {0x9, 0xc, 0xf, 0x10, 0x17, 0x1a, 0x1b, 0x80000005};
    for (unsigned i = 0; i < ARRAY_SIZE(empty); i++)
        assert_answer(empty[i], &all, zero);
}

/* Each bit of FEATURE_PARAVIRT_CTRL gives back the features of its own. */
static void hidden_features(void **state)
{
    (void)state;
    static const struct {
        unsigned pv;
        uint32_t leaf;
        unsigned reg;
        uint32_t bits;
    } rows[] = {
        {0, 7, EDX, BIT(30)},          {1, 1, ECX, BIT(18)},  {2, 1, ECX, BIT(7)},
        {3, 1, EDX, BIT(7) | BIT(14)}, {4, 1, EDX, BIT(12)},  {5, 7, EDX, BIT(18)},
        {6, 7, EBX, BIT(15)},          {7, 7, EBX, BIT(12)},  {8, 1, EDX, BIT(22)},
        {10, 7, ECX, BIT(13)},         {11, 1, ECX, BIT(24)},
    };
    const struct cpuid all = {~0u, ~0u, ~0u, ~0u};
    for (unsigned ctls = 0; ctls < 16; ctls++)
        for (unsigned pv = 0; pv < 12; pv++)
            for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
                td.td_ctls = ctls;
                td.feature_pv = BIT(pv);
                struct cpuid r = tdx_cpuid_answer(&td, rows[i].leaf, 0, &all, true);
                uint32_t out[4];
                memcpy(out, &r, sizeof(out));
                bool shown = !(ctls & 8) || pv == rows[i].pv;
                assert_int_equal(out[rows[i].reg] & rows[i].bits, shown ? rows[i].bits : 0);
            }
    td.td_ctls = TD_CTLS_REDUCE_VE;
    td.feature_pv = 0;
    assert_int_equal(tdx_cpuid_answer(&td, 7, 2, &all, true).edx, 0x3f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(which_leaves_are_direct, setup),
        cmocka_unit_test_setup(what_a_kernel_reads_early_is_direct, setup),
        cmocka_unit_test_setup(leaves_above_the_highest, setup),
        cmocka_unit_test_setup(every_bit, setup),
        cmocka_unit_test_setup(syscall_only_in_64_bit_code, setup),
        cmocka_unit_test_setup(exceptions_on_request, setup),
        cmocka_unit_test_setup(fewer_exceptions, setup),
        cmocka_unit_test_setup(what_reduced_leaves_answer, setup),
        cmocka_unit_test_setup(hidden_features, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
