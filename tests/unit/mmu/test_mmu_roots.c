/* SPDX-License-Identifier: MIT */
/*
 * Roots and stolen bits: which bits can be declared, where the roots meet, and that every operation
 * on a GFN affects all aliases of it (decision D4; rules X1, X11, W3, W9).
 */
#include "mmu_world.h"

#include "mmu/dirty.h"
#include "mmu/track.h"

#include <string.h>

#define RAM    0x200000ull
#define PAGES  1024ull
#define DEVICE 0xfee00000ull

static struct mmu mmu;

static bool side; /* the side of all memory: shared or not */

/* A machine with `maxphyaddr` address bits and a VM with one slot; the bits are declared in the
 * order given. */
struct shape {
    unsigned maxphyaddr;
    unsigned shared, execute_only; /* 0: not stolen */
    bool ad, huge;
};

static const struct shape shapes[] = {
    {40, 39, 0, true, true},   /* the bit belongs to the index at level 4 */
    {40, 39, 38, true, true},  /* one at level 4, one at level 3 */
    {39, 38, 37, false, true}, /* both at level 3 */
    {39, 37, 38, true, false}, /* in the other order */
    {46, 45, 40, true, true},  /* far apart */
    {40, 0, 39, false, false}, /* no sides, only the execute-only alias */
    {36, 31, 30, true, true},  /* as low as possible */
};

static void boot(unsigned maxphyaddr, uint64_t msr, bool ad, bool huge)
{
    struct ept_caps caps;
    struct mmu_config config = {.mmio_caching = true, .ad = ad, .huge = huge};
    world_reset(msr, &config);
    assert_int_equal(ept_caps_parse(&caps, msr, maxphyaddr), 0);
    assert_int_equal(mmu_setup(&caps, &config), 0);
    assert_int_equal(mmu_create(&mmu), 0);
}

static void start(const struct shape *shape)
{
    boot(shape->maxphyaddr, WORLD_CAPS, shape->ad, shape->huge);
    if (shape->shared)
        assert_int_equal(mmu_steal_bit(&mmu, shape->shared, STOLEN_SHARED), 0);
    if (shape->execute_only)
        assert_int_equal(mmu_steal_bit(&mmu, shape->execute_only, STOLEN_EXECUTE_ONLY), 0);
    assert_int_equal(mmu_slot_add(&mmu, 1, GPA(RAM), PAGES, side ? MEMSLOT_SHARED : 0), 0);
}

static void stop(void)
{
    world_check(&mmu);
    mmu_destroy(&mmu);
    assert_int_equal(support_pages_in_use(), 0);
}

/* The address bits and the rights of each combination, computed without mmu/. */
static uint64_t bits_of(const struct shape *shape, bool shared, bool execute_only)
{
    return (shared ? BIT(shape->shared) : 0) | (execute_only ? BIT(shape->execute_only) : 0);
}

static unsigned rights_of(bool shared, bool execute_only)
{
    return execute_only ? (shared ? 0 : 4) : shared ? 3 : 7;
}

/* The address without the execute-only bit. */
static gpa_t plain(const struct shape *shape, uint64_t gpa)
{
    return GPA(gpa | bits_of(shape, side, false));
}

/* Each shape; with sides, once with all memory on the one side, and once on the other. */
#define for_each_shape(shape)                                                              \
    for (const struct shape *shape = shapes; shape < shapes + ARRAY_SIZE(shapes); shape++) \
        for (unsigned turn = 0; (side = turn), turn <= !!(shape)->shared; turn++)

/* The addresses that mean the same memory. */
#define for_each_alias(shape, shared, xo)                  \
    for (unsigned shared = side, once = 1; once; once = 0) \
        for (unsigned xo = 0; xo <= !!(shape)->execute_only; xo++)

/* ---- Declaration ----------------------------------------------------------------------------- */

static void refusals(void **state)
{
    (void)state;
    boot(40, WORLD_CAPS, true, true);
    assert_int_equal(mmu_steal_bit(&mmu, 40, STOLEN_SHARED), -ERANGE);
    assert_int_equal(mmu_steal_bit(&mmu, 29, STOLEN_SHARED), -ERANGE);
    assert_non_null(strstr(support_log(), "address bit 40 can't be stolen; bits 30 to 39 can"));
    assert_int_equal(mmu_steal_bit(&mmu, 39, STOLEN_SHARED), 0);
    assert_int_equal(mmu_steal_bit(&mmu, 39, STOLEN_EXECUTE_ONLY), -EINVAL);
    assert_int_equal(mmu_steal_bit(&mmu, 38, STOLEN_SHARED), -EINVAL);
    assert_non_null(strstr(support_log(), "the bit or its purpose is in use"));
    assert_int_equal(mmu_steal_bit(&mmu, 38, STOLEN_EXECUTE_ONLY), 0);
    assert_int_equal(mmu_steal_bit(&mmu, 37, STOLEN_EXECUTE_ONLY), -EINVAL);
    assert_non_null(strstr(support_log(), "the VM has two such bits already"));
    mmu_destroy(&mmu);

    boot(40, WORLD_CAPS, true, true);
    assert_int_equal(mmu_slot_add(&mmu, 1, GPA(RAM), 1, 0), 0);
    assert_int_equal(mmu_steal_bit(&mmu, 39, STOLEN_SHARED), -EINVAL);
    assert_non_null(strstr(support_log(), "the VM has memory already"));
    mmu_destroy(&mmu);

    boot(40, WORLD_CAPS & ~EPT_CAP_EXEC_ONLY, true, true);
    assert_int_equal(mmu_steal_bit(&mmu, 39, STOLEN_EXECUTE_ONLY), -ENOTSUP);
    assert_non_null(strstr(support_log(), "which this CPU lacks"));
    mmu_destroy(&mmu);
}

/* X1: no slot contains a stolen bit; memory ends below the lowest one. */
static void slots_hold_no_stolen_bits(void **state)
{
    (void)state;
    for_each_shape(shape)
    {
        start(shape);
        unsigned low = shape->shared && shape->shared < shape->execute_only ? shape->shared
                       : shape->execute_only                                ? shape->execute_only
                                                                            : shape->shared;
        assert_int_equal(mmu_slot_add(&mmu, 2, GPA(BIT(low)), 1, 0), -ERANGE);
        assert_int_equal(mmu_slot_add(&mmu, 2, GPA(BIT(low) - PAGE_SIZE), 2, 0), -ERANGE);
        assert_int_equal(mmu_slot_move(&mmu, 1, GPA(BIT(low) | RAM)), -ERANGE);
        assert_int_equal(mmu_zap(&mmu, GPA(BIT(low) | RAM), 1), -ERANGE);
        assert_int_equal(mmu_slot_add(&mmu, 2, GPA(BIT(low) - PAGE_SIZE), 1, 0), 0);
        stop();
    }
}

/* ---- Where roots meet ------------------------------------------------------------------------ */

/* Every alias leads to the page of the plain address, through tables that belong to that alias
 * alone. Accesses that the role forbids are refused, with a message. */
static void each_alias_has_its_root(void **state)
{
    (void)state;
    for_each_shape(shape)
    {
        uint64_t tables[4] = {0};
        start(shape);
        for_each_alias(shape, shared, xo)
        {
            gpa_t gpa = GPA(RAM | bits_of(shape, shared, xo));
            unsigned rights = rights_of(shared, xo);
            for (unsigned access = 1; access <= 4; access *= 2) {
                struct world_access a = world_touch(&mmu, gpa, access);
                assert_int_equal(a.outcome, rights & access ? FAULT_FIXED : -EACCES);
                if (rights & access)
                    assert_int_equal(
                        a.page.v, virt_to_phys(guest_page(&mmu, plain(shape, RAM), ACCESS_READ)).v);
            }
            hpa_t page;
            unsigned level;
            int found = mmu_gpa_to_pfn(&mmu, gpa_add(gpa, 0x5000), &page, &level);
            if (shape->huge && rights) { /* W3: by the low bits of the address, with the offset */
                assert_int_equal(found, 0);
                assert_int_equal(page.v,
                                 virt_to_phys(guest_page(&mmu, plain(shape, RAM), ACCESS_READ)).v +
                                     0x5000);
                assert_int_equal(level, 2);
            } else {
                assert_int_equal(found, -ENOENT);
            }
            if (!rights)
                continue;
            /* The table of level 2 covers 1 GiB of one root. */
            struct tdp_iter iter;
            unsigned number = 0;
            while (mmu.roots[number].bits != (gpa.v & ~(BIT(STOLEN_LOW) - 1)) >> 12)
                number++;
            tdp_for_each(&iter, &mmu, GFN(RAM >> 12),
                         GFN((RAM >> 12) + 1)) if (iter.root == &mmu.roots[number] &&
                                                   iter.level == 2) tables[number] =
                virt_to_phys(iter.tables[2]).v;
            assert_int_not_equal(tables[number], 0);
            for (unsigned j = 0; j < 4; j++)
                assert_true(j == number || tables[j] != tables[number]);
        }
        stop();
    }
}

static void refused_accesses_are_explained(void **state)
{
    (void)state;
    side = false;
    start(&shapes[1]);
    assert_int_equal(world_touch(&mmu, GPA(BIT(38) | RAM), 1).outcome, -EACCES);
    assert_non_null(strstr(support_log(), "a load at frame 0x200, where memory is execute-only"));
    assert_int_equal(world_touch(&mmu, GPA(BIT(39) | RAM), 4).outcome, -EACCES);
    assert_non_null(strstr(support_log(), "a fetch at frame 0x200, where memory is shared"));
    assert_int_equal(world_touch(&mmu, GPA(DEVICE), 1).outcome, -EFAULT);
    assert_non_null(strstr(support_log(), "no memslot covers private frame 0xfee00, and such "
                                          "addresses reach no devices"));
    stop();
}

static bool present(const struct shape *shape, bool shared, bool xo, uint64_t gpa)
{
    unsigned level;
    return spte_is_present(mmu_spte(&mmu, GPA(gpa | bits_of(shape, shared, xo)), &level));
}

/* Accesses memory through each alias: by `access` if its role allows it, else by a fetch. */
static void touch_all(const struct shape *shape, uint64_t gpa, unsigned access)
{
    for_each_alias(shape, shared, xo)
    {
        unsigned rights = rights_of(shared, xo), by = rights & access ? access : 4;
        gpa_t alias = GPA(gpa | bits_of(shape, shared, xo));
        if (rights & by)
            assert_int_equal(world_touch(&mmu, alias, by).outcome, FAULT_FIXED);
    }
}

static unsigned count_present(const struct shape *shape, uint64_t gpa)
{
    unsigned count = 0;
    for_each_alias(shape, shared, xo) count += present(shape, shared, xo, gpa);
    return count;
}

/* The number of roots with any right: all but the shared execute-only one. */
static unsigned useful(const struct shape *shape)
{
    return 1u + (shape->execute_only && !side);
}

/* ---- Every alias (X11) ----------------------------------------------------------------------- */

static void a_zap_reaches_every_alias(void **state)
{
    (void)state;
    for_each_shape(shape)
    {
        start(shape);
        touch_all(shape, RAM, 1);
        touch_all(shape, RAM + 0x300000, 1);
        assert_int_equal(count_present(shape, RAM), useful(shape));
        assert_int_equal(mmu_zap(&mmu, GPA(RAM), 1), 0);
        assert_int_equal(count_present(shape, RAM), 0);
        assert_int_equal(count_present(shape, RAM + 0x300000), useful(shape));
        assert_int_equal(mmu_slot_delete(&mmu, 1), 0);
        assert_int_equal(count_present(shape, RAM + 0x300000), 0);
        tdp_reclaim(&mmu, true);
        assert_int_equal(mmu_stats(&mmu).pages[0] + mmu_stats(&mmu).pages[1], 0);
        stop();
    }
}

static bool always_wanted(void)
{
    return true;
}

static void a_zap_that_gives_way_reaches_every_alias(void **state)
{
    (void)state;
    struct mmu_walk walk = {0};
    unsigned times = 0;
    const struct shape *shape = &shapes[3]; /* small pages */
    start(shape);
    for (uint64_t at = RAM; at < RAM + PAGES * PAGE_SIZE; at += PAGE_SIZE)
        touch_all(shape, at, 1);
    support_pauses = always_wanted;
    while (mmu_zap_some(&mmu, GPA(RAM), PAGES, &walk) == -EINPROGRESS)
        assert_true(++times < 10000);
    assert_true(times > 1);
    support_pauses = NULL;
    for (uint64_t at = RAM; at < RAM + PAGES * PAGE_SIZE; at += PAGE_SIZE)
        assert_int_equal(count_present(shape, at), 0);
    stop();
}

static void a_remap_changes_every_alias(void **state)
{
    (void)state;
    for_each_shape(shape)
    {
        start(shape);
        touch_all(shape, RAM + 0x1000, 1);
        hpa_t before = virt_to_phys(guest_page(&mmu, plain(shape, RAM + 0x1000), ACCESS_READ));
        assert_int_equal(mmu_host_remap(&mmu, GPA(RAM + 0x1000)), 0);
        assert_int_equal(count_present(shape, RAM + 0x1000), 0);
        hpa_t after = virt_to_phys(guest_page(&mmu, plain(shape, RAM + 0x1000), ACCESS_READ));
        assert_int_not_equal(before.v, after.v);
        touch_all(shape, RAM + 0x1000, 1);
        for_each_alias(shape, shared, xo)
        {
            hpa_t page;
            unsigned level;
            gpa_t gpa = GPA((RAM + 0x1000) | bits_of(shape, shared, xo));
            if (rights_of(shared, xo)) {
                assert_int_equal(mmu_gpa_to_pfn(&mmu, gpa, &page, &level), 0);
                assert_int_equal(page.v, after.v);
            }
        }
        stop();
    }
}

static void no_writable_alias_of_a_tracked_page(void **state)
{
    (void)state;
    for_each_shape(shape)
    {
        start(shape);
        touch_all(shape, RAM, 2);
        assert_int_equal(mmu_track(&mmu, GPA(RAM)), 0);
        for_each_alias(shape, shared, xo)
        {
            unsigned level;
            uint64_t spte = mmu_spte(&mmu, GPA(RAM | bits_of(shape, shared, xo)), &level);
            assert_int_equal(spte & (EPT_WRITE | SPTE_MMU_WRITABLE), 0);
        }
        assert_int_equal(mmu_untrack(&mmu, GPA(RAM)), 0);
        stop();
    }
}

/* A write through any alias is logged for the GFN. */
static void every_alias_is_logged(void **state)
{
    (void)state;
    for_each_shape(shape)
    {
        uint64_t log[PAGES / 64];
        start(shape);
        touch_all(shape, RAM, 2);
        assert_int_equal(mmu_slot_flags(&mmu, 1, MEMSLOT_LOG_DIRTY), 0);
        assert_int_equal(mmu_dirty_get(&mmu, 1, 0, log, PAGES / 64), 0);
        unsigned page = 3;
        for_each_alias(shape, shared, xo)
        {
            gpa_t gpa = GPA((RAM + page * PAGE_SIZE) | bits_of(shape, shared, xo));
            if (!(rights_of(shared, xo) & 2))
                continue;
            assert_int_equal(world_touch(&mmu, gpa, 2).outcome, FAULT_FIXED);
            assert_int_equal(mmu_dirty_get(&mmu, 1, 0, log, PAGES / 64), 0);
            assert_int_equal(log[0], BIT(page));
            page++;
        }
        const uint64_t pml[] = {(RAM + 0x9000) | bits_of(shape, shape->shared, false)};
        mmu_pml_note(&mmu, pml, 1); /* PML logs the address with its stolen bits */
        assert_int_equal(mmu_dirty_get(&mmu, 1, 0, log, PAGES / 64), 0);
        assert_int_equal(log[0], BIT(9));
        stop();
    }
}

/* N2: D bits in tables of all roots that are unlinked at once are logged for the GFN. */
static void a_full_zap_logs_what_every_alias_wrote(void **state)
{
    (void)state;
    for_each_shape(shape)
    {
        uint64_t log[PAGES / 64];
        gpa_t alias = GPA((RAM + 0x7000) | bits_of(shape, side, false));
        start(shape);
        assert_int_equal(mmu_slot_flags(&mmu, 1, MEMSLOT_LOG_DIRTY), 0);
        assert_int_equal(world_touch(&mmu, alias, 2).outcome, FAULT_FIXED);
        tdp_zap_all(&mmu, DEBT_ZAPPED);
        assert_int_equal(mmu_dirty_get(&mmu, 1, 0, log, PAGES / 64), 0);
        assert_int_equal(log[0], BIT(7));
        stop();
    }
}

static void every_alias_ages(void **state)
{
    (void)state;
    for_each_shape(shape)
    {
        start(shape);
        touch_all(shape, RAM, 1);
        assert_int_equal(mmu_age(&mmu, GPA(RAM), 1), useful(shape));
        assert_int_equal(mmu_age(&mmu, GPA(RAM), 1), 0);
        touch_all(shape, RAM, 1);
        assert_int_equal(mmu_age(&mmu, GPA(RAM), 1), useful(shape));
        stop();
    }
}

/* ---- Devices and the accessor ---------------------------------------------------------------- */

/* F3: a private address without memory is never MMIO. */
static void devices_are_behind_shared_addresses(void **state)
{
    (void)state;
    for_each_shape(shape)
    {
        start(shape);
        for_each_alias(shape, shared, xo)
        {
            uint64_t device = DEVICE & (BIT(STOLEN_LOW) - 1);
            gpa_t gpa = GPA(device | bits_of(shape, shared, xo));
            bool reached = !xo && (shared || !shape->shared);
            struct world_access a = world_touch(&mmu, gpa, xo ? 4 : 1);
            assert_int_equal(a.outcome, reached ? FAULT_EMULATE : shared && xo ? -EACCES : -EFAULT);
            unsigned level;
            uint64_t spte = mmu_spte(&mmu, gpa, &level);
            assert_int_equal(spte_is_mmio(spte, mmu.mmio_value), reached);
            if (reached) {
                assert_int_equal(spte_mmio_gfn(spte).v, device >> 12);
                assert_int_equal(a.info.alias.v, gpa.v >> 12);
            }
        }
        stop();
    }
}

/* D16: the hypervisor does not read for the guest what the guest may only execute. */
static void the_accessor_keeps_to_the_role(void **state)
{
    (void)state;
    for_each_shape(shape)
    {
        start(shape);
        for_each_alias(shape, shared, xo)
        {
            unsigned rights = rights_of(shared, xo);
            uint64_t word = 42, bits = bits_of(shape, shared, xo);
            int read = rights & 1 ? 0 : -EACCES, write = rights & 2 ? 0 : -EACCES;
            int fetch = rights & 4 ? 0 : -EACCES;
            assert_int_equal(guest_write(&mmu, GPA(RAM | bits), &word, 8), write);
            assert_int_equal(guest_may_write(&mmu, GPA(RAM | bits)), write);
            assert_int_equal(guest_read(&mmu, GPA(RAM | bits), &word, 8, ACCESS_READ), read);
            assert_int_equal(guest_read(&mmu, GPA(RAM | bits), &word, 8, ACCESS_FETCH), fetch);
            assert_int_equal(guest_cmpxchg(&mmu, GPA(RAM | bits), 8, 42, 42), write);
            assert_int_equal(!guest_page(&mmu, GPA(RAM | bits), ACCESS_READ), !(rights & 1));
            assert_int_equal(!guest_page(&mmu, GPA(RAM | bits), ACCESS_FETCH), !(rights & 4));
            /* No memory: the result allows MMIO only where the address can be MMIO. */
            int nothing = !shared && shape->shared ? -EACCES : rights & 1 ? -EFAULT : -EACCES;
            assert_int_equal(guest_read(&mmu, GPA(0x1000 | bits), &word, 8, ACCESS_READ), nothing);
        }
        stop();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test(name)
        T(refusals),
        T(slots_hold_no_stolen_bits),
        T(each_alias_has_its_root),
        T(refused_accesses_are_explained),
        T(a_zap_reaches_every_alias),
        T(a_zap_that_gives_way_reaches_every_alias),
        T(a_remap_changes_every_alias),
        T(no_writable_alias_of_a_tracked_page),
        T(every_alias_is_logged),
        T(a_full_zap_logs_what_every_alias_wrote),
        T(every_alias_ages),
        T(devices_are_behind_shared_addresses),
        T(the_accessor_keeps_to_the_role),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
