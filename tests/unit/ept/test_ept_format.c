/* SPDX-License-Identifier: MIT */
/* ept/: capabilities, and misconfigurations compared with a rule that is written a second time
 * (rule S13). */
#include "tests/unit/mmu/mmu_world.h"

#include "ept/misconfig.h"

#include <string.h>

static struct ept_caps caps;

static int setup(void **state)
{
    (void)state;
    support_reset();
    return ept_caps_parse(&caps, (WORLD_CAPS | EPT_CAP_1G), WORLD_MAXPHYADDR);
}

static void decodes_a_real_msr(void **state)
{
    (void)state;
    struct ept_caps c;
    assert_int_equal(ept_caps_parse(&c, 0x00000f0106734141, 39), 0); /* of a desktop CPU */
    assert_true(c.exec_only && c.page_2m && c.page_1g && c.ad && c.invept_single && c.invept_all);
    assert_true(c.violation_info);
    assert_int_equal(c.invvpid_types, 0xf);
    assert_int_equal(c.maxphyaddr, 39);

    assert_int_equal(ept_caps_parse(&c, 0x00000e0106114140, 36), 0); /* no exec-only, 1G, A/D */
    assert_false(c.exec_only || c.page_1g || c.ad);
    assert_int_equal(c.invvpid_types, 0xe);

    assert_int_equal(ept_caps_parse(&c, (WORLD_CAPS | EPT_CAP_1G) & ~EPT_CAP_INVVPID, 40), 0);
    assert_int_equal(c.invvpid_types, 0); /* the types have no meaning without the instruction */
}

static void names_what_is_missing(void **state)
{
    (void)state;
    static const struct {
        uint64_t without;
        const char *message;
    } cases[] = {
        {EPT_CAP_WALK_4, "a page walk of four levels (bit 6)"},
        {EPT_CAP_WB, "write-back EPT tables (bit 14)"},
        {EPT_CAP_INVEPT, "the INVEPT instruction (bit 20)"},
        {EPT_CAP_INVEPT_SINGLE | EPT_CAP_INVEPT_ALL, "a type of INVEPT"},
    };
    struct ept_caps c;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        support_reset();
        assert_int_equal(ept_caps_parse(&c, (WORLD_CAPS | EPT_CAP_1G) & ~cases[i].without, 40),
                         -ENODEV);
        assert_non_null(strstr(support_log(), cases[i].message));
    }
    assert_int_equal(ept_caps_parse(&c, (WORLD_CAPS | EPT_CAP_1G) & ~EPT_CAP_INVEPT_ALL, 40), 0);
    assert_int_equal(ept_caps_parse(&c, (WORLD_CAPS | EPT_CAP_1G) & ~EPT_CAP_INVEPT_SINGLE, 40), 0);
    assert_int_equal(ept_caps_parse(&c, (WORLD_CAPS | EPT_CAP_1G), 31), -EINVAL);
    assert_int_equal(ept_caps_parse(&c, (WORLD_CAPS | EPT_CAP_1G), 53), -EINVAL);
    assert_int_equal(ept_caps_parse(&c, (WORLD_CAPS | EPT_CAP_1G), 52), 0);
}

static void says_why(void **state)
{
    (void)state;
    static const struct {
        uint64_t entry;
        unsigned level;
        const char *message; /* NULL: no misconfiguration */
    } cases[] = {
        {0x0, 1, NULL},
        {0xfffffffffffffff8, 4, NULL}, /* not present: other bits do not matter */
        {0x37, 1, NULL},
        {0x34, 1, NULL}, /* execute-only, which this CPU has */
        {0x2, 2, "level 2, bits 2:0 = 010b (write without read)"},
        {0x6, 1, "level 1, bits 2:0 = 110b (write without read)"},
        {0x17, 1, "memory type 2 is reserved"},
        {0x1f, 1, "memory type 3 is reserved"},
        {0x3f, 1, "memory type 7 is reserved"},
        {BIT(45) | 0x37, 1, "address bit 45 above MAXPHYADDR 40"},
        {BIT(40) | 0x7, 3, "address bit 40 above MAXPHYADDR 40"},
        {BIT(39) | 0x7, 3, NULL},
        {0x47, 2, "bits 6:3 = 0x8 in an entry of level 2 that points to a table"},
        {0x0f, 4, "bits 6:3 = 0x1 in an entry of level 4 that points to a table"},
        {0x87, 4, "bit 7 at level 4, where this CPU has no pages"},
        {0x1000b7, 2, "address bits 20:12 not clear in a leaf of level 2"},
        {0x200000b7, 3, "address bits 29:12 not clear in a leaf of level 3"},
        {0x2000b7, 2, NULL},
        {0x400000b7, 3, NULL},
        {0xb7, 1, NULL}, /* bit 7 is ignored at level 1 */
        {0x3a, 1, "010b (write without read); memory type 7 is reserved"}, /* all reasons */
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char text[EPT_EXPLAIN_SIZE];
        bool bad = ept_misconfig_explain(cases[i].entry, cases[i].level, &caps, text, sizeof(text));
        const char *wanted = cases[i].message;
        if (bad != !!wanted || (wanted && !strstr(text, wanted)))
            fail_msg("%#lx at level %u: \"%s\"", cases[i].entry, cases[i].level, text);
        assert_int_equal(ept_misconfigured(cases[i].entry, cases[i].level, &caps), bad);
    }
}

static void old_cpus_have_fewer_pages(void **state)
{
    (void)state;
    char text[EPT_EXPLAIN_SIZE];
    uint64_t old = EPT_CAP_EXEC_ONLY | EPT_CAP_2M | EPT_CAP_1G;
    assert_int_equal(ept_caps_parse(&caps, (WORLD_CAPS | EPT_CAP_1G) & ~old, 40), 0);
    assert_true(ept_misconfig_explain(0x34, 1, &caps, text, sizeof(text)));
    assert_non_null(strstr(text, "100b (execute alone, which this CPU lacks)"));
    assert_true(ept_misconfig_explain(0xb7, 2, &caps, text, sizeof(text)));
    assert_non_null(strstr(text, "bit 7 at level 2, where this CPU has no pages"));
    assert_true(ept_misconfig_explain(0xb7, 3, &caps, text, sizeof(text)));
    assert_true(ept_misconfigured(0x34, 1, &caps));
    assert_true(ept_misconfigured(0xb7, 2, &caps));
    assert_true(ept_misconfigured(0xb7, 3, &caps));
}

/* 2^20 entries at each level: the table agrees with the rule in mmu_world.h, and so do the
 * messages. */
static void agrees_with_a_second_opinion(void **state)
{
    (void)state;
    uint64_t word = 88172645463325252;
    unsigned bad = 0;
    const unsigned rounds = (unsigned)support_rounds(1u << 20);
    for (unsigned i = 0; i < rounds; i++) {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        unsigned level = 1 + i % 4;
        uint64_t entry = i & 4 ? word : word & 0x800000fffff00fff;
        if (i & 8)
            entry &= ~0x78ull;
        char text[EPT_EXPLAIN_SIZE];
        bool expected = entry & 7 && hw_misconfigured(entry, level);
        bad += expected;
        if (ept_misconfigured(entry, level, &caps) != expected)
            fail_msg("%#lx at level %u", entry, level);
        assert_int_equal(ept_misconfig_explain(entry, level, &caps, text, sizeof(text)), expected);
    }
    assert_in_range(bad, rounds / 8, rounds - rounds / 8); /* both results were frequent */
}

static void indices(void **state)
{
    (void)state;
    gfn_t gfn = GFN(0x123456789);
    assert_int_equal(ept_index(ALIAS(gfn.v), 1), 0x189);
    assert_int_equal(ept_index(ALIAS(gfn.v), 4), 0x123456789 >> 27);
    assert_int_equal(ept_frames(1), 1);
    assert_int_equal(ept_frames(3), 0x40000);
    assert_int_equal(ept_first_frame(gfn, 2).v, 0x123456600);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(decodes_a_real_msr, setup),
        cmocka_unit_test_setup(names_what_is_missing, setup),
        cmocka_unit_test_setup(says_why, setup),
        cmocka_unit_test_setup(old_cpus_have_fewer_pages, setup),
        cmocka_unit_test_setup(agrees_with_a_second_opinion, setup),
        cmocka_unit_test_setup(indices, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
