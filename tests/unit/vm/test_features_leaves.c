/* SPDX-License-Identifier: MIT */
/*
 * The leaves of CPUID as a guest sees them: no features of a later CPU, the XSAVE areas, the
 * answers that depend on the vCPU, and leaves above the highest one.
 */
#include "tests/unit/vm/features_world.h"

#include "arch/x86/reg_bits.h"
#include "guest/abi.h"

#include <string.h>

/* A later CPU: all bits of all its leaves are ones, except where they are numbers of leaves,
 * subleaves or components. */
static struct cpuid later(uint32_t leaf, uint32_t subleaf)
{
    struct cpuid ones = ALL_ONES;
    switch (leaf) {
    case 0:
        ones.eax = 0x24;
        break;
    case 0x80000000:
        ones.eax = 0x80000021;
        break;
    case 4:
        if (subleaf > 3)
            ones.eax = 0;
        break;
    case 0xd: /* all 61 components, of 64 bytes each */
        if (subleaf >= 2)
            ones = (struct cpuid){64, 576 + 64 * (subleaf - 2), ~0u, ~0u};
        break;
    default:
        break;
    }
    return ones;
}

/* Bits of a later CPU's answers that may differ from the table: values, not features. */
static const struct {
    uint32_t leaf, subleaf;
    uint32_t words[4];
} values[] = {
    {0, 0, {0x24, ~0u, ~0u, ~0u}},       /* the vendor */
    {1, 0, {~0u, ~0u, 0, BIT(28)}},      /* the model, the APIC ID; several logical processors */
    {2, 0, ALL_ONES},                    /* caches and TLBs */
    {4, 0, {0x0fffffff, ~0u, ~0u, ~0u}}, /* caches */
    {4, 1, {0x0fffffff, ~0u, ~0u, ~0u}},
    {4, 2, {0x0fffffff, ~0u, ~0u, ~0u}},
    {4, 3, {0x0fffffff, ~0u, ~0u, ~0u}},
    {7, 0, {1, 0, 0, 0}},            /* number of the last subleaf */
    {0xd, 0, {0x2e7, 576, 1088, 0}}, /* XCR0, and the areas */
    {0xd, 1, {0, 576, 0, 0}},
    {0xd, 2, {64, 576, 2, 0}},
    {0xd, 5, {64, 768, 2, 0}},
    {0xd, 6, {64, 832, 2, 0}},
    {0xd, 7, {64, 896, 2, 0}},
    {0xd, 9, {64, 1024, 2, 0}},
    {0x15, 0, {1, 1, 2000000000, 0}},
    {0x16, 0, {2000, 2000, 0, 0}},
    {0x80000000, 0, {0x80000008, 0, 0, 0}},
    {0x80000002, 0, ALL_ONES}, /* the brand string */
    {0x80000003, 0, ALL_ONES},
    {0x80000004, 0, ALL_ONES},
    {0x80000006, 0, ALL_ONES},          /* a cache */
    {0x80000008, 0, {0x30ff, 0, 0, 0}}, /* widths of addresses */
};

static struct cpuid allowed(uint32_t leaf, uint32_t subleaf)
{
    struct cpuid r = {0};
    uint32_t *const words[] = {&r.eax, &r.ebx, &r.ecx, &r.edx};
    for (unsigned i = 0; i < ARRAY_SIZE(values); i++)
        for (unsigned w = 0; w < 4; w++)
            if (values[i].leaf == leaf && values[i].subleaf == subleaf)
                *words[w] |= values[i].words[w];
    for (unsigned f = 0; f < feature_count; f++)
        if (feature_table[f].leaf == leaf && feature_table[f].subleaf == subleaf)
            *words[feature_table[f].reg] |= feature_table[f].bit;
    if (leaf == 0xb) {
        static const struct cpuid levels[] = {{0, 1, 0x100, 2}, {2, 3, 0x201, 2}};
        r = subleaf < 2 ? levels[subleaf] : (struct cpuid){0, 0, subleaf & 0xff, 2};
    }
    return r;
}

static const uint32_t indexed[] = {4,    7,    0xb,  0xd,  0xf,  0x10, 0x12, 0x14, 0x17,
                                   0x18, 0x1b, 0x1d, 0x1e, 0x1f, 0x20, 0x23, 0x24};

static bool is_indexed(uint32_t leaf)
{
    for (unsigned i = 0; i < ARRAY_SIZE(indexed); i++)
        if (indexed[i] == leaf)
            return true;
    return false;
}

static void nothing_of_a_later_cpu(void **state)
{
    (void)state;
    static const uint32_t subleaves[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 17, 18, 19, 62, 63, 64, ~0u};
    start_host(later, ~0ull, ~0ull, 0);
    for (unsigned i = 0; i < 2 * 0x100; i++) {
        uint32_t leaf = (i & 0x100 ? 0x80000000 : 0) | (i & 0xff);
        for (unsigned s = 0; s < ARRAY_SIZE(subleaves); s++) {
            struct cpuid r = ask(leaf, subleaves[s]);
            struct cpuid may = allowed(leaf, is_indexed(leaf) ? subleaves[s] : 0);
            for (unsigned w = 0; w < 4; w++)
                if (word(&r, w) & ~word(&may, w))
                    fail_msg("leaf %x.%x, word %u: %x of %x", leaf, subleaves[s], w, word(&r, w),
                             word(&may, w));
        }
    }
    for (unsigned bit = 0; bit < 64; bit++) {
        bool known = 0x2e7ull >> bit & 1, cr4 = 0x770fbfull >> bit & 1;
        assert_int_equal(features_cr4() >> bit & 1, cr4);
        if (!known)
            assert_false(features_xcr0_valid(0x2e7 | BIT(bit)));
    }
    assert_true(features_xcr0_valid(0x2e7));
    for (uint32_t msr = 0x1a1; msr < 0xe00; msr++) { /* the offered MSRs, and no others */
        bool there = msr == 0x1d9 || msr == 0x277 || msr == 0x6e0 || msr == 0xda0;
        assert_int_equal(features_msr(msr) != NULL, there);
    }
}

/* ---- Leaf 0Dh -------------------------------------------------------------------------------- */

static uint32_t area_of(uint64_t xcr0)
{
    vcpu.xcr0 = xcr0;
    return ask(0xd, 0).ebx;
}

static uint32_t compacted_of(uint64_t xcr0)
{
    vcpu.xcr0 = xcr0;
    return ask(0xd, 1).ebx;
}

static void xsave_areas(void **state)
{
    (void)state;
    START(everything, ALL_CONTROLS);
    assert_same(ask(0xd, 0), (struct cpuid){0x2e7, 576, 0xa88, 0});
    assert_int_equal(ask(7, 0).ecx & BIT(3), BIT(3)); /* PKU */
    assert_int_equal(features_cr4() & CR4_PKE, CR4_PKE);
    assert_int_equal(area_of(3), 576);
    assert_int_equal(area_of(7), 832);
    assert_int_equal(area_of(0xe7), 0xa80);
    assert_int_equal(area_of(0x201), 0xa88);
    assert_int_equal(compacted_of(3), 576);
    assert_int_equal(compacted_of(7), 832);
    assert_int_equal(compacted_of(0xe7), 832 + 0x640);
    assert_int_equal(compacted_of(0x203), 584);
    vcpu.xcr0 = 1;
    assert_same(ask(0xd, 1), (struct cpuid){0xf, 576, 0, 0});
    assert_same(ask(0xd, 7), (struct cpuid){0x400, 0x680, 0, 0});
    assert_same(ask(0xd, 9), (struct cpuid){8, 0xa80, 0, 0});
    for (uint32_t subleaf = 10; subleaf < 80; subleaf++) /* including those of AMX */
        assert_same(ask(0xd, subleaf), (struct cpuid){0});

    START(icelake_bochs, ALL_CONTROLS);
    assert_same(ask(0xd, 0), (struct cpuid){0xe7, 576, 0xa80, 0});
    assert_same(ask(0xd, 9), (struct cpuid){0});
    assert_false(features_xcr0_valid(0x203));
    /* Without its component in XSAVE there is no PKU, and CR4.PKE is reserved. */
    assert_int_equal(ask(7, 0).ecx & BIT(3), 0);
    assert_int_equal(features_cr4() & CR4_PKE, 0);

    START(westmere, ALL_CONTROLS);
    assert_int_equal(ask(1, 0).ecx & BITS(28, 26), 0);
}

/* Of what the host does wrongly, and of nothing else, the features are not offered. XSAVES takes
 * its MSR with it. */
static void broken(void **state)
{
    (void)state;
    static const struct {
        uint32_t broken, leaf, subleaf;
        struct cpuid hidden;
    } cases[] = {
        {BROKEN_COMPACTION, 0xd, 1, {.eax = BIT(1) | BIT(3)}},
        {BROKEN_ADX, 7, 0, {.ebx = BIT(19)}},
        {BROKEN_SHA, 7, 0, {.ebx = BIT(29)}},
        {BROKEN_GFNI, 7, 0, {.ecx = BIT(8)}},
        {BROKEN_ADX | BROKEN_SHA | BROKEN_GFNI, 7, 0, {.ebx = BIT(19) | BIT(29), .ecx = BIT(8)}},
    };
    START(icelake_bochs, ALL_CONTROLS);
    const struct cpuid all[2] = {ask(7, 0), ask(0xd, 1)};
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct cpuid hidden = cases[i].hidden;
        START(icelake_bochs, ALL_CONTROLS);
        struct cpuid want = ask(cases[i].leaf, cases[i].subleaf);
        assert_int_equal(want.eax & hidden.eax, hidden.eax);
        assert_int_equal(want.ebx & hidden.ebx, hidden.ebx);
        assert_int_equal(want.ecx & hidden.ecx, hidden.ecx);
        want.eax &= ~hidden.eax;
        want.ebx &= ~hidden.ebx;
        want.ecx &= ~hidden.ecx;
        start(icelake_bochs, ARRAY_SIZE(icelake_bochs), ALL_CONTROLS, cases[i].broken);
        if (cases[i].leaf == 7) {
            assert_same(ask(7, 0), want);
            assert_same(ask(0xd, 1), all[1]);
        } else {
            assert_int_equal(ask(0xd, 1).eax, want.eax);
            assert_same(ask(7, 0), all[0]);
        }
        assert_int_equal(!features_msr(MSR_XSS), !!(cases[i].broken & BROKEN_COMPACTION));
    }
}

/* SDM 1, 13.4.3: in the compacted format, a component with bit 1 of ECX begins at a multiple of 64.
 * Here this applies to PKRU, of 8 bytes, and to the component after AVX, which has 8 bytes. */
static void aligned_components(void **state)
{
    (void)state;
    static const struct record odd[] = {
        {0, 0, {0xd, 0, 0, 0}},        {1, 0, {0x806f8, 0, ~0u, ~0u}}, {0xd, 0, {0x207, 0, 0, 0}},
        {0xd, 1, {0xf, 0, 0, 0}},      {0xd, 2, {8, 1024, 0, 0}},      {0xd, 9, {8, 576, 3, 0}},
        {0x80000000, 0, {0, 0, 0, 0}},
    };
    START(odd, ALL_CONTROLS);
    assert_same(ask(0xd, 9), (struct cpuid){8, 576, 2, 0});
    assert_int_equal(area_of(0x3), 576);
    assert_int_equal(area_of(0x7), 1032);
    assert_int_equal(area_of(0x203), 584);
    assert_int_equal(area_of(0x207), 1032);
    assert_int_equal(compacted_of(0x3), 576);
    assert_int_equal(compacted_of(0x7), 584);
    assert_int_equal(compacted_of(0x203), 584);
    assert_int_equal(compacted_of(0x207), 648);
}

/* Components that the hypervisor does not switch are not offered, whatever the host's CPUID
 * says. */
static void components_not_switched(void **state)
{
    (void)state;
    records = everything;
    record_count = ARRAY_SIZE(everything);
    const struct feature_host host = {
        .cpuid = recorded, .xcr0 = 3, .secondary = ALL_CONTROLS, .cr4 = ~0ull};
    features_setup(&host);
    make_vm(1);
    assert_same(ask(0xd, 0), (struct cpuid){3, 576, 576, 0});
    assert_int_equal(ask(1, 0).ecx & (BIT(26) | BIT(28)), BIT(26)); /* XSAVE without AVX */
    assert_int_equal(ask(7, 0).ebx & (BIT(5) | BIT(16)), 0);
    assert_true(features_xcr0_valid(3));
    assert_false(features_xcr0_valid(7));
}

/* AVX-512 is not offered if one of its components is missing. */
static void parts_of_avx512(void **state)
{
    (void)state;
    mask_leaf = 0xd;
    mask_word = CPUID_EBX;
    static struct record parts[ARRAY_SIZE(everything)];
    for (unsigned bit = 5; bit < 8; bit++) {
        memcpy(parts, everything, sizeof(parts));
        for (unsigned i = 0; i < ARRAY_SIZE(parts); i++)
            if (parts[i].leaf == 0xd && parts[i].subleaf == 0)
                parts[i].r.eax &= ~(uint32_t)BIT(bit);
        START(parts, ALL_CONTROLS);
        assert_int_equal(ask(0xd, 0).eax, 0x207);
        assert_int_equal(ask(7, 0).ebx & (BIT(16) | BIT(17) | BIT(21) | BIT(31)), 0);
        assert_true(ask(7, 0).ebx & BIT(5)); /* AVX2 */
    }
}

/* ---- Ranges ---------------------------------------------------------------------------------- */

/* SDM 2, CPUID: above the highest leaf, the answer is that of the highest basic leaf of the guest,
 * not of the host. */
static void above_the_highest(void **state)
{
    (void)state;
    static const uint32_t above[] = {0xc,        0xd,        0x1f,       0x1000,
                                     0x3fffffff, 0x50000000, 0x7fffffff, 0x80000009,
                                     0x8000001f, 0x90000000, 0xffffffff};
    START(westmere, ALL_CONTROLS);
    for (unsigned i = 0; i < ARRAY_SIZE(above); i++)
        for (uint32_t subleaf = 0; subleaf < 4; subleaf++) {
            assert_same(ask(above[i], subleaf), ask(0xb, subleaf));
            if (subleaf < 2)
                assert_int_equal(ask(above[i], subleaf).edx, 2); /* the vCPU's ID, not 5 */
        }
    START(everything, ALL_CONTROLS);
    assert_same(ask(0x21, 0), ask(0x20, 0));
    assert_int_equal(ask(0x80000000, 0).eax, 0x80000008);
    assert_same(ask(0x80000008, 0), (struct cpuid){.eax = 0x3034}); /* 48 bits without LA57 */
}

static void own_leaves(void **state)
{
    (void)state;
    START(everything, ALL_CONTROLS);
    assert_same(ask(0x40000000, 0),
                (struct cpuid){ABI_CPUID_STOLEN, ABI_CPUID_EBX, ABI_CPUID_ECX, ABI_CPUID_EDX});
    assert_same(ask(0x40000001, 0), (struct cpuid){.eax = 39, .ebx = 38});
    /* "KVMKVMKVM" and three zero bytes, and a leaf of features, of which it has none. */
    assert_same(ask(0x40000100, 0), (struct cpuid){0x40000101, 0x4b4d564b, 0x564b4d56, 0x0000004d});
    for (uint32_t leaf = 0x40000002; leaf < 0x40000300; leaf++)
        if (leaf != 0x40000100)
            assert_same(ask(leaf, 0), (struct cpuid){0});
    assert_same(ask(0x4fffffff, 0), (struct cpuid){0});
    assert_same(ask(0x15, 0), (struct cpuid){1, 1, 2000000000, 0});
    assert_same(ask(0x16, 0), (struct cpuid){2000, 2000, 0, 0});
    assert_same(ask(0, 0), everything[0].r);
    assert_int_equal(ask(6, 0).eax, 4); /* the APIC's timer never stops */
    struct cpuid one = ask(1, 0);
    assert_int_equal(one.eax, 0x806f8);
    assert_int_equal(one.ebx >> 16, 2 << 8 | 3);
    assert_int_equal(ask(4, 0).eax, 0x0c000121); /* four APIC IDs, and a cache that is not shared */
    assert_int_equal(one.edx & (BIT(9) | BIT(28)), BIT(9) | BIT(28));
    make_vm(1);
    assert_int_equal(ask(1, 0).edx & (BIT(9) | BIT(28)), BIT(9));
    vcpu.apic_on = false;
    assert_int_equal(ask(1, 0).edx & BIT(9), 0);
    for (unsigned bit = 0; bit < 64; bit++) {
        vcpu.cr4 = BIT(bit);
        assert_int_equal(ask(1, 0).ecx & BIT(27), bit == 18 ? BIT(27) : 0);
        assert_int_equal(ask(7, 0).ecx & BIT(4), bit == 22 ? BIT(4) : 0);
        assert_int_equal(ask(7, 1).ecx, 0);
    }
}

/* Each level of the topology, and each subleaf beyond them, returns the x2APIC ID of the vCPU (SDM
 * 2A, CPUID leaf 0Bh). */
static void topology_leaf(void **state)
{
    (void)state;
    static const unsigned bits[] = {0, 0, 1, 2, 2, 3, 3, 3, 3, 4};
    START(everything, ALL_CONTROLS);
    for (unsigned count = 1; count < ARRAY_SIZE(bits); count++) {
        make_vm(count);
        for (vcpu.index = 0; vcpu.index < count; vcpu.index++) {
            assert_same(ask(0xb, 0), (struct cpuid){0, 1, 0x100, vcpu.index});
            assert_same(ask(0xb, 1), (struct cpuid){bits[count], count, 0x201, vcpu.index});
            assert_same(ask(0xb, 2), (struct cpuid){0, 0, 2, vcpu.index});
            assert_same(ask(0xb, 0x12345678), (struct cpuid){0, 0, 0x78, vcpu.index});
            assert_int_equal(ask(1, 0).ebx >> 24, vcpu.index);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_of_a_later_cpu),
        cmocka_unit_test(xsave_areas),
        cmocka_unit_test(broken),
        cmocka_unit_test(aligned_components),
        cmocka_unit_test(components_not_switched),
        cmocka_unit_test(parts_of_avx512),
        cmocka_unit_test(above_the_highest),
        cmocka_unit_test(own_leaves),
        cmocka_unit_test(topology_leaf),
    };
    return cmocka_run_group_tests_name("features_leaves", tests, NULL, NULL);
}
