/* SPDX-License-Identifier: MIT */
/* SPTEs: rules S1 to S15 as far as they are about single entries, and the patches behind them. */
#include "tests/unit/mmu/mmu_world.h"

#include "mmu/spte.h"
#include "mmu/transition.h"

#include <string.h>

static const struct mmu_config plain = {.mmio_caching = true, .ad = true, .huge = true};

static int setup(void **state)
{
    (void)state;
    world_reset(WORLD_CAPS, &plain);
    return 0;
}

static uint64_t next_random(void)
{
    static uint64_t word = 88172645463325252;
    word ^= word << 13;
    word ^= word >> 7;
    word ^= word << 17;
    return word;
}

/* Layout A, written a second time (P18, P19, P20). */
static void layout(void **state)
{
    (void)state;
    assert_true(SPTE_MMU_PRESENT == 0x800);
    assert_true(SPTE_AD_TYPE == 3ull << 52);
    assert_true(SPTE_SAVED == 5ull << 54);
    assert_true(SPTE_HOST_WRITABLE == 1ull << 57);
    assert_true(SPTE_MMU_WRITABLE == 1ull << 58);
    assert_true(SPTE_NONPRESENT == 1ull << 63);
    assert_true(SPTE_FROZEN == (1ull << 63 | 0x5a0));
    assert_true(SPTE_MMIO_MASK == 0x8000000000000007);
    assert_true(SPTE_MMIO_VALUE == 6);
    assert_true(SPTE_GENERATION_LOW == 0x7f8);
    assert_true(SPTE_GENERATION_HIGH == 0x7ff0000000000000);
    assert_true(SPTE_GENERATION_MASK == 0x7ffff);
}

/* S8, S9: known values. */
static void golden(void **state)
{
    (void)state;
    assert_true(spte_mmio(6, GFN(0xfee00), 0x12345) == 0x12300000fee0022e);

    struct ept_caps caps = spte_format.caps;
    caps.maxphyaddr = 46;
    spte_setup(&caps, true, true, 46);
    uint64_t spte = spte_mmio(6, GFN(0x2a00d0000), 0x102);
    assert_true(spte == 0x00157e00d0000016);
    assert_int_equal(spte_mmio_gfn(spte).v, 0x2a00d0000);
    assert_int_equal(spte_mmio_generation(spte), 0x102);
    assert_true(spte_is_mmio(spte, 6));
}

static void leaf_and_nonleaf_words(void **state)
{
    (void)state;
    /* R X A, WB with IPAT, present, #VE suppressed; writable adds W and both permissions. */
    assert_true(spte_leaf(HPA(0x12345000), 1, false) == 0x8000000012345975);
    assert_true(spte_leaf(HPA(0x12345000), 1, true) == 0x8600000012345977);
    assert_true(spte_leaf(HPA(0x12200000), 2, true) == 0x86000000122009f7);
    assert_true(spte_nonleaf(HPA(0x777000)) == 0x8000000000777907);

    spte_setup(&spte_format.caps, true, false,
               0); /* without A/D bits: the type tells so (S5, P12) */
    assert_true(spte_leaf(HPA(0x12345000), 1, false) == 0x8010000012345975);
    assert_false(spte_ad_enabled(spte_leaf(HPA(0x1000), 1, true)));
    assert_true(spte_nonleaf(HPA(0x777000)) == 0x8010000000777907);

    struct ept_caps caps = spte_format.caps;
    caps.ad = false; /* requested, but the CPU has none */
    spte_setup(&caps, true, true, 0);
    assert_false(spte_ad_enabled(spte_leaf(HPA(0x1000), 1, true)));
}

/* P13: all generations are read back as they were stored, at the ends of the address space, and
 * differ. */
static void generations_are_a_bijection(void **state)
{
    (void)state;
    const gfn_t gfns[] = {GFN(0), GFN(0xfffffffff), GFN(0xfee00)};
    for (uint64_t gen = 0; gen <= SPTE_GENERATION_MASK; gen++) {
        gfn_t gfn = gfns[gen % ARRAY_SIZE(gfns)];
        uint64_t spte = spte_mmio(6, gfn, gen);
        assert_int_equal(spte_mmio_generation(spte), gen);
        assert_int_equal(spte_mmio_gfn(spte).v, gfn.v);
        assert_true(spte_is_mmio(spte, 6));
        assert_false(spte_is_present(spte));
        assert_true((spte & 7) == 6 && !(spte >> 63)); /* inert: misconfigured, never #VE (S8) */
    }
    /* The mark of an update is not stored in the entry (F7). */
    assert_true(spte_mmio(6, GFN(1), 5 | SLOT_UPDATE_IN_PROGRESS) == spte_mmio(6, GFN(1), 5));
}

/* S9: on every CPU with L1TF the stored address has ones, so that no cached line can match. */
static void l1tf_hides_the_address(void **state)
{
    (void)state;
    for (unsigned bits = 36; bits < 47; bits++) {
        struct ept_caps caps = spte_format.caps;
        caps.maxphyaddr = bits;
        spte_setup(&caps, true, true, bits);
        assert_true(spte_format.mmio_caching);
        uint64_t ones = BITS(bits - 1, bits - 5);
        for (unsigned i = 0; i < 4096; i++) {
            gfn_t gfn = GFN(next_random() & (BIT(bits - 12) - 1));
            uint64_t gen = next_random() & SPTE_GENERATION_MASK;
            uint64_t spte = spte_mmio(6, gfn, gen);
            assert_true((spte & ones) == ones);
            assert_true(spte_mmio_gfn(spte).v == gfn.v); /* KVM's commit daa07cbc9ae3 */
            assert_true(spte_mmio_generation(spte) == gen);
            assert_true(spte_is_mmio(spte, 6));
        }
        assert_int_equal(spte_format.mmio_gfn_end, BIT(bits - 12));
    }
    /* Too wide to hide addresses: no MMIO SPTE at all, rather than one that leaks. */
    spte_setup(&spte_format.caps, true, true, 47);
    assert_false(spte_format.mmio_caching);
    assert_int_equal(spte_format.mmio_value, SPTE_MMIO_NEVER);
    assert_non_null(strstr(support_log(), "MMIO caching is off"));
}

/* S2: exactly one class, and present is bit 11 alone. P22: FROZEN by equality. */
static void the_classifier_is_total(void **state)
{
    (void)state;
    static const uint64_t values[] = {SPTE_MMIO_VALUE, 0, SPTE_MMIO_NEVER};
    unsigned seen[SPTE_CLASS_ALIEN + 1] = {0};
    for (unsigned i = 0; i < 1u << 20; i++) {
        uint64_t word = next_random();
        if (i & 1)
            word &= ~0x8000000000000001ull;
        if (i & 2)
            word &= ~0x801ull;
        if (i & 4)
            word &= ~0x807ull;
        if (i % 64 == 0)
            word = i & 64 ? SPTE_FROZEN : SPTE_NONPRESENT;
        uint64_t value = values[i % 3];
        unsigned level = 1 + i % 4;
        enum spte_class class = spte_classify(word, level, value);
        seen[class]++;

        bool present = word >> 11 & 1;
        assert_int_equal(present, class == SPTE_CLASS_LEAF || class == SPTE_CLASS_NONLEAF ||
                                      class == SPTE_CLASS_TRACKED);
        assert_int_equal(spte_is_mmio(word, value), class == SPTE_CLASS_MMIO);
        assert_int_equal(spte_is_nonleaf(word, level), class == SPTE_CLASS_NONLEAF);
        assert_int_equal(word == 0x80000000000005a0, class == SPTE_CLASS_FROZEN);
        assert_int_equal(word == 0x8000000000000000, class == SPTE_CLASS_NONPRESENT);
    }
    for (unsigned i = 0; i <= SPTE_CLASS_ALIEN; i++)
        assert_true(seen[i] > 100);
    /* One bit more than FROZEN, and one bit less: alien. */
    assert_int_equal(spte_classify(SPTE_FROZEN | BIT(4), 1, 6), SPTE_CLASS_ALIEN);
    assert_int_equal(spte_classify(SPTE_FROZEN & ~BIT(5), 1, 6), SPTE_CLASS_ALIEN);
}

/* S12: the same value means different things in two kinds of VMs; NONPRESENT and FROZEN do not. */
static void the_mmio_value_is_the_vms_own(void **state)
{
    (void)state;
    uint64_t word = spte_mmio(0, GFN(0xfee00), 3);
    assert_true(spte_is_mmio(word, 0));
    assert_int_equal(spte_classify(word, 1, 6), SPTE_CLASS_ALIEN);
    assert_int_equal(spte_classify(spte_mmio(6, GFN(1), 3), 1, 0), SPTE_CLASS_ALIEN);
    assert_true(spte_is_ve_possible(word)); /* S15 */
    assert_false(spte_is_ve_possible(spte_mmio(6, GFN(0xfee00), 3)));
    assert_true(spte_is_mmio(0, 0)); /* S7: the reason why 0 must never be stored for "empty" */
    for (unsigned i = 0; i < 2; i++) {
        uint64_t value = i ? 6 : 0;
        assert_int_equal(spte_classify(SPTE_NONPRESENT, 1, value), SPTE_CLASS_NONPRESENT);
        assert_int_equal(spte_classify(SPTE_FROZEN, 1, value), SPTE_CLASS_FROZEN);
    }
    assert_false(spte_is_ve_possible(SPTE_NONPRESENT));
    assert_false(spte_is_ve_possible(SPTE_FROZEN));
    assert_false(spte_is_ve_possible(spte_leaf(HPA(0), 1, false)));
    assert_false(spte_is_ve_possible(spte_nonleaf(HPA(0))));
}

/* S10: with caching off, nothing is MMIO. P16: the same request gives the same format again. */
static void setting_up_again(void **state)
{
    (void)state;
    struct spte_format first = spte_format;
    struct ept_caps caps = first.caps;
    spte_setup(&caps, false, true, 0);
    assert_false(spte_format.mmio_caching);
    for (unsigned i = 0; i < 1u << 16; i++)
        assert_false(
            spte_is_mmio(i & 1 ? next_random() : spte_mmio(6, GFN(i), i), spte_format.mmio_value));
    spte_setup(&caps, true, true, 44);
    spte_setup(&caps, true, true, 0);
    assert_memory_equal(&first, &spte_format, sizeof(first));
}

/* S5: R and X are restored exactly, W is not, Accessed is cleared; never with hardware A/D bits
 * (P21). */
static void access_tracking(void **state)
{
    (void)state;
    expect_assert_failure((void)spte_track_access(spte_leaf(HPA(0x1000), 1, true)));
    expect_assert_failure((void)spte_track_access(SPTE_NONPRESENT));
    spte_setup(&spte_format.caps, true, false, 0);
    for (unsigned rwx = 1; rwx < 8; rwx++) {
        uint64_t old = (spte_leaf(HPA(0x5000), 1, true) & ~7ull) | rwx;
        uint64_t tracked = spte_track_access(old);
        assert_int_equal(tracked & (7 | EPT_ACCESSED), 0);
        assert_true(spte_is_access_tracked(tracked) == true);
        assert_true(spte_is_present(tracked));
        assert_true(spte_track_access(tracked) == tracked);
        assert_int_equal(spte_restore_access(tracked) & 7, rwx & 5);
        if (rwx != 2) /* with nothing saved it stays tracked */
            assert_true(spte_restore_access(tracked) == (old & ~(2 | EPT_ACCESSED)));
    }
    assert_int_equal(support_warnings(), 0);
    (void)spte_track_access(spte_leaf(HPA(0x5000), 1, true) | BIT(54));
    assert_int_equal(support_warnings(), 1);
}

/* ---- Transitions ----------------------------------------------------------------------------- */

static const char *change(uint64_t old, uint64_t new, unsigned level)
{
    return spte_change_refused(old, new, level, SPTE_MMIO_VALUE);
}

static void refused_changes(void **state)
{
    (void)state;
    uint64_t leaf = spte_leaf(HPA(0x5000), 1, true), table = spte_nonleaf(HPA(0x6000));
    uint64_t readonly = spte_leaf(HPA(0x5000), 1, false), mmio = spte_mmio(6, GFN(7), 1);

    /* Changes that the MMU makes. */
    assert_null(change(SPTE_NONPRESENT, leaf, 1));
    assert_null(change(mmio, leaf, 1));
    assert_null(change(leaf, SPTE_NONPRESENT, 1));
    assert_null(change(leaf, SPTE_FROZEN, 1));
    assert_null(change(SPTE_FROZEN, SPTE_NONPRESENT, 1));
    assert_null(change(SPTE_NONPRESENT, mmio, 1));
    assert_null(change(mmio, spte_mmio(6, GFN(7), 2), 1));
    assert_null(change(mmio, SPTE_NONPRESENT, 1));
    assert_null(change(SPTE_NONPRESENT, table, 2));
    assert_null(change(table, SPTE_NONPRESENT, 2));
    assert_null(change(table, spte_leaf(HPA(0x200000), 2, true), 2));

    /* Changes that are refused. */
    static const char *const nothing = "not present stored again";
    assert_non_null(strstr(change(SPTE_NONPRESENT, SPTE_NONPRESENT, 1), nothing)); /* W7 */
    assert_non_null(strstr(change(leaf, 0, 1), "no class"));                       /* S7 */
    assert_non_null(strstr(change(leaf, mmio, 1), "over a present one"));          /* P7 */
    assert_non_null(strstr(change(table, mmio, 2), "over a present one"));
    assert_non_null(strstr(change(SPTE_NONPRESENT, mmio, 2), "above level 1"));  /* S8 */
    assert_non_null(strstr(change(leaf, leaf + 0x1000, 1), "another page"));     /* S14 */
    assert_non_null(strstr(change(table, table + 0x1000, 2), "another table"));  /* W5 */
    assert_non_null(strstr(change(leaf, readonly, 1), "host-writable changed")); /* S3 */
    assert_non_null(strstr(change(readonly, leaf, 1), "host-writable changed"));
    assert_non_null(strstr(change(SPTE_NONPRESENT, leaf | BIT(45), 1), "misconfiguration"));
    assert_non_null(strstr(change(SPTE_NONPRESENT, leaf & ~1ull, 1), "misconfiguration"));
    assert_non_null(strstr(change(SPTE_NONPRESENT, leaf | SPTE_AD_TYPE, 1), "A/D type"));
    assert_non_null(strstr(change(SPTE_NONPRESENT, spte_mmio(0, GFN(7), 1), 1), "no class"));
}

/* S3: of the eight combinations of HOST_WRITABLE, MMU_WRITABLE and W, four exist. */
static void write_bits(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits < 8; bits++) {
        uint64_t spte = spte_leaf(HPA(0x5000), 1, false) | (bits & 4 ? SPTE_HOST_WRITABLE : 0) |
                        (bits & 2 ? SPTE_MMU_WRITABLE : 0) | (bits & 1 ? EPT_WRITE : 0);
        bool legal = bits == 7 || bits == 6 || bits == 4 || bits == 0;
        assert_int_equal(change(SPTE_NONPRESENT, spte, 1) == NULL, legal);
    }
}

/* T2, T6, S4, written a second time: does `new` forbid a CPU something that the cached `old`
 * allows? */
static bool could_harm(uint64_t old, uint64_t new, unsigned level)
{
    bool present = old & 0x800, still = new & 0x800;
    if (!present)
        return false;
    if (!still)
        return true;
    bool old_leaf = level == 1 || old & 0x80, new_leaf = level == 1 || new & 0x80;
    if (old_leaf != new_leaf)
        return new_leaf; /* a table that replaces a leaf translates the same: a split (T6) */
    if ((old ^ new) & 0x000ffffffffff000)
        return true;
    for (unsigned bit = 0; bit < 3; bit++) {
        if (old >> bit & 1 && !(new >> bit & 1))
            return true;
    }
    if (old >> 58 & 1 && !(new >> 58 & 1)) /* write tracking, even if W was clear (S4) */
        return true;
    return (old ^ new) & 0x78; /* memory type and IPAT */
}

static void flush_rules(void **state)
{
    (void)state;
    uint64_t words[96];
    unsigned count = 0;
    /* The last three differ from others only in their kind: they have bit 7, or are no entry at
     * all. */
    const uint64_t bare = EPT_IPAT | EPT_MEMTYPE;
    const uint64_t bases[] = {spte_leaf(HPA(0x5000), 1, true),
                              spte_leaf(HPA(0x5000), 1, false),
                              spte_leaf(HPA(0x200000), 2, true),
                              spte_nonleaf(HPA(0x6000)),
                              spte_nonleaf(HPA(0x200000)),
                              spte_leaf(HPA(0x200000), 2, true) & ~bare,
                              spte_leaf(HPA(0x5000), 1, false) & ~(bare | EPT_READ)};
    const uint64_t flips[] = {0,
                              EPT_READ,
                              EPT_WRITE,
                              EPT_EXECUTE,
                              SPTE_MMU_WRITABLE,
                              BIT(12),
                              EPT_IPAT,
                              EPT_ACCESSED,
                              EPT_DIRTY,
                              BIT(5),
                              EPT_WRITE | SPTE_MMU_WRITABLE};
    for (unsigned i = 0; i < ARRAY_SIZE(bases); i++) {
        for (unsigned j = 0; j < ARRAY_SIZE(flips); j++)
            words[count++] = bases[i] ^ flips[j];
    }
    const uint64_t others[] = {SPTE_NONPRESENT, SPTE_FROZEN, spte_mmio(6, GFN(5), 0),
                               spte_mmio(6, GFN(7), 1), spte_mmio(6, GFN(8), 0x7ffff)};
    for (unsigned i = 0; i < ARRAY_SIZE(others); i++)
        words[count++] = others[i];

    for (unsigned level = 1; level <= 3; level++) {
        for (unsigned i = 0; i < count; i++) {
            for (unsigned j = 0; j < count; j++)
                assert_int_equal(spte_change_owes_flush(words[i], words[j], level),
                                 could_harm(words[i], words[j], level));
        }
    }
    /* The changes of the scenarios. */
    assert_false(spte_change_owes_flush(spte_mmio(6, GFN(7), 1), bases[0], 1));
    assert_true(spte_change_owes_flush(bases[0], SPTE_NONPRESENT, 1));
    uint64_t logged = bases[0] & ~EPT_WRITE;
    assert_true(spte_change_owes_flush(logged, logged & ~SPTE_MMU_WRITABLE, 1)); /* S4 */
    assert_false(spte_change_owes_flush(bases[0], bases[0] & ~EPT_ACCESSED, 1));
}

/* F4: a renewal changes the generation of an MMIO SPTE only. */
static void renewal(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < 2; kind++) {
        uint64_t value = kind ? 0 : SPTE_MMIO_VALUE;
        uint64_t old = spte_mmio(value, GFN(0xfee00), 5);
        assert_true(spte_is_renewal(old, spte_mmio(value, GFN(0xfee00), 6), value));
        assert_true(
            spte_is_renewal(old, spte_mmio(value, GFN(0xfee00), SPTE_GENERATION_MASK), value));
        assert_false(spte_is_renewal(old, spte_mmio(value, GFN(0xfee01), 6), value));
        assert_false(spte_is_renewal(old, old ^ EPT_READ, value));
        assert_false(spte_is_renewal(old, old ^ SPTE_SUPPRESS_VE, value));
        assert_false(spte_is_renewal(old, old ^ SPTE_MMU_PRESENT, value));
        assert_false(spte_is_renewal(SPTE_NONPRESENT, old, value));
        assert_false(spte_is_renewal(SPTE_FROZEN, SPTE_FROZEN ^ BIT(3), value));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(layout, setup),
        cmocka_unit_test_setup(golden, setup),
        cmocka_unit_test_setup(renewal, setup),
        cmocka_unit_test_setup(leaf_and_nonleaf_words, setup),
        cmocka_unit_test_setup(generations_are_a_bijection, setup),
        cmocka_unit_test_setup(l1tf_hides_the_address, setup),
        cmocka_unit_test_setup(the_classifier_is_total, setup),
        cmocka_unit_test_setup(the_mmio_value_is_the_vms_own, setup),
        cmocka_unit_test_setup(setting_up_again, setup),
        cmocka_unit_test_setup(access_tracking, setup),
        cmocka_unit_test_setup(refused_changes, setup),
        cmocka_unit_test_setup(write_bits, setup),
        cmocka_unit_test_setup(flush_rules, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
