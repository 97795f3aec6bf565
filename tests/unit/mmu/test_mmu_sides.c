/* SPDX-License-Identifier: MIT */
/*
 * Private and shared memory, and guests that take #VE (rules X1, X5, X9 to X11, F3, F10, S12, S15):
 * which access reaches which page, the state after a conversion, and which entries convert.
 */
#include "mmu_world.h"

#include "mmu/sides.h"

#include <string.h>

#define RAM    0x200000ull
#define PAGES  1024ull
#define DEVICE 0x3f000000ull
#define SHARED BIT(39)
#define CODE   BIT(38) /* the execute-only alias */

static struct mmu mmu;

static void start(bool ve, bool huge, bool ad)
{
    struct mmu_config config = {.mmio_caching = true, .ad = ad, .huge = huge};
    world_reset(WORLD_CAPS, &config);
    assert_int_equal(mmu_create(&mmu), 0);
    assert_int_equal(mmu_steal_bit(&mmu, 39, STOLEN_SHARED), 0);
    assert_int_equal(mmu_steal_bit(&mmu, 38, STOLEN_EXECUTE_ONLY), 0);
    if (ve)
        assert_int_equal(mmu_take_ve(&mmu), 0);
    assert_int_equal(mmu_slot_add(&mmu, 1, GPA(RAM), PAGES, 0), 0);
}

static void stop(void)
{
    world_check(&mmu);
    mmu_destroy(&mmu);
    assert_int_equal(support_pages_in_use(), 0);
}

static int touch(uint64_t gpa, unsigned access)
{
    return world_touch(&mmu, GPA(gpa), access).outcome;
}

static uint64_t *page_at(uint64_t gpa)
{
    return phys_to_virt(world_touch(&mmu, GPA(gpa), 1).page);
}

static unsigned level_at(uint64_t gpa)
{
    unsigned level;
    return spte_is_present(mmu_spte(&mmu, GPA(gpa), &level)) ? level : 0;
}

/* ---- Sides ----------------------------------------------------------------------------------- */

static void memory_begins_private(void **state)
{
    (void)state;
    start(false, true, true);
    assert_int_equal(touch(RAM, 2), FAULT_FIXED);
    assert_int_equal(touch(SHARED | RAM, 1), -EACCES); /* X5: never MMIO, never the same page */
    assert_non_null(strstr(support_log(), "a shared access to frame 0x200, which is private; "
                                          "MapGPA would convert it"));
    assert_int_equal(level_at(SHARED | RAM), 0);
    uint64_t word = 1;
    assert_int_equal(guest_read(&mmu, GPA(SHARED | RAM), &word, 8, ACCESS_READ), -EACCES);
    assert_int_equal(guest_write(&mmu, GPA(SHARED | RAM), &word, 8), -EACCES);
    assert_int_equal(guest_may_write(&mmu, GPA(SHARED | RAM)), -EACCES);
    assert_null(guest_page(&mmu, GPA(SHARED | RAM), ACCESS_READ));
    assert_non_null(guest_page(&mmu, GPA(RAM), ACCESS_READ));

    assert_int_equal(mmu_slot_add(&mmu, 2, GPA(0x1000), 65, MEMSLOT_SHARED), 0);
    assert_int_equal(touch(SHARED | 0x41000, 2), FAULT_FIXED);
    assert_int_equal(touch(0x41000, 1), -EACCES);
    assert_non_null(strstr(support_log(), "a private access to frame 0x41, which is shared"));
    stop();
}

static uint64_t rights_at(uint64_t gpa)
{
    unsigned level;
    return mmu_spte(&mmu, GPA(gpa), &level) & EPT_RWX;
}

/* The initial side of a page does not change what each side allows. The second access through each
 * side takes the fast path, since the tables exist. */
static void a_slot_that_began_shared_has_private_code(void **state)
{
    (void)state;
    start(false, true, true);
    assert_int_equal(mmu_slot_add(&mmu, 2, GPA(0x1000), 4, MEMSLOT_SHARED), 0);
    assert_int_equal(mmu_convert(&mmu, GPA(0x1000), 2, false), 2);
    for (uint64_t page = 0x1000; page < 0x3000; page += PAGE_SIZE) {
        assert_int_equal(touch(page, 1), FAULT_FIXED);
        assert_int_equal(rights_at(page), EPT_RWX);
        assert_int_equal(touch(SHARED | (page + 0x2000), 1), FAULT_FIXED);
        assert_int_equal(rights_at(SHARED | (page + 0x2000)), EPT_READ | EPT_WRITE);
    }
    stop();
}

/* F3: an access that a slot refuses can be MMIO, but not through the wrong side. */
static void a_read_only_page_has_its_side(void **state)
{
    (void)state;
    uint64_t word = 1;
    start(false, true, true);
    assert_int_equal(mmu_slot_add(&mmu, 2, GPA(0x1000), 2, MEMSLOT_READONLY), 0);
    assert_int_equal(mmu_slot_add(&mmu, 3, GPA(0x8000), 2, MEMSLOT_READONLY | MEMSLOT_SHARED), 0);
    assert_int_equal(touch(0x1000, 2), FAULT_EMULATE);
    assert_int_equal(touch(SHARED | 0x1000, 2), -EACCES);
    assert_int_equal(guest_write(&mmu, GPA(0x1000), &word, 8), -EACCES); /* no MMIO there */
    assert_int_equal(guest_may_write(&mmu, GPA(0x1000)), -EACCES);
    assert_int_equal(guest_write(&mmu, GPA(SHARED | 0x1000), &word, 8), -EACCES);
    assert_int_equal(guest_may_write(&mmu, GPA(SHARED | 0x1000)), -EACCES);
    assert_int_equal(touch(SHARED | 0x8000, 2), FAULT_EMULATE);
    assert_int_equal(touch(0x8000, 2), -EACCES);
    assert_int_equal(guest_write(&mmu, GPA(SHARED | 0x8000), &word, 8), -EFAULT);
    assert_int_equal(guest_may_write(&mmu, GPA(SHARED | 0x8000)), -EFAULT);
    assert_int_equal(guest_write(&mmu, GPA(0x8000), &word, 8), -EACCES);
    assert_int_equal(guest_may_write(&mmu, GPA(0x8000)), -EACCES);
    stop();
}

/* X5: the old alias faults, and data that was written through it is not seen on the new side. */
static void a_conversion_leaves_nothing_behind(void **state)
{
    (void)state;
    for (unsigned huge = 0; huge < 2; huge++) {
        start(false, huge, true);
        memset(page_at(RAM + 0x5000), 0xaa, PAGE_SIZE);
        memset(page_at(RAM + 0x6000), 0xbb, PAGE_SIZE);
        assert_int_equal(level_at(RAM + 0x5000), huge ? 2 : 1);
        uint64_t sequence = mmu_invalidate_sequence(&mmu);
        assert_int_equal(mmu_convert(&mmu, GPA(RAM + 0x5000), 1, true), 1);
        assert_int_equal(mmu_invalidate_sequence(&mmu),
                         sequence + 2); /* cached pages are looked up again */
        assert_int_equal(touch(RAM + 0x5000, 1), -EACCES);
        assert_int_equal(page_at(SHARED | (RAM + 0x5000))[0], 0);
        assert_int_equal(page_at(SHARED | (RAM + 0x5000))[511], 0);
        assert_int_equal((uint8_t)page_at(RAM + 0x6000)[0], 0xbb); /* the next page is unchanged */
        assert_int_equal(level_at(RAM + 0x6000), 1); /* and mapped small: the range is mixed */
        assert_int_equal(level_at(SHARED | (RAM + 0x5000)), 1);

        page_at(SHARED | (RAM + 0x5000))[7] = 77; /* and back */
        assert_int_equal(mmu_convert(&mmu, GPA(RAM + 0x5000), 1, false), 1);
        assert_int_equal(touch(SHARED | (RAM + 0x5000), 1), -EACCES);
        assert_int_equal(page_at(RAM + 0x5000)[7], 0);
        stop();
    }
}

static void convert_all(uint64_t gpa, uint64_t pages, bool shared)
{
    for (uint64_t done = 0; done < pages;) {
        int64_t now = mmu_convert(&mmu, GPA(gpa + done * PAGE_SIZE), pages - done, shared);
        assert_in_range(now, 1, CONVERT_FRAMES);
        done += (uint64_t)now;
    }
}

static void a_conversion_to_the_same_side_keeps_the_page(void **state)
{
    (void)state;
    start(false, true, true);
    page_at(RAM)[3] = 42;
    uint64_t invept = mmu_invept_count(&mmu);
    convert_all(RAM, 512, false);
    assert_int_equal(page_at(RAM)[3], 42);
    assert_int_equal(level_at(RAM), 2); /* not even zapped */
    assert_int_equal(mmu_invept_count(&mmu), invept);
    assert_int_equal(mmu_convert(&mmu, GPA(RAM + 0x3000), 1, true), 1);
    page_at(SHARED | (RAM + 0x3000))[0] = 9;
    assert_int_equal(mmu_convert(&mmu, GPA(RAM), 512, true),
                     3); /* up to the pages that are shared already */
    convert_all(RAM + 0x3000, 509, true);
    assert_int_equal(page_at(SHARED | (RAM + 0x3000))[0], 9);
    assert_int_equal(page_at(SHARED | RAM)[3], 0);
    stop();
}

/* The last page of 2 MiB is checked as well if they begin inside 64 bits of the bitmap. */
static void a_mixed_range_within_words(void **state)
{
    (void)state;
    const uint64_t start_of_2m = 0x40000000;
    start(false, true, true);
    assert_int_equal(mmu_slot_add(&mmu, 2, GPA(start_of_2m - 5 * PAGE_SIZE), 5 + 512, 0), 0);
    assert_int_equal(mmu_convert(&mmu, GPA(start_of_2m + 511 * PAGE_SIZE), 1, true), 1);
    assert_int_equal(touch(start_of_2m, 2), FAULT_FIXED);
    assert_int_equal(level_at(start_of_2m), 1);
    stop();
}

/* Whole ranges of 2 MiB are mapped large again on their new side. */
static void uniform_ranges_are_large(void **state)
{
    (void)state;
    start(false, true, true);
    assert_int_equal(touch(RAM, 1), FAULT_FIXED);
    assert_int_equal(level_at(RAM), 2);
    convert_all(RAM, 512, true);
    assert_int_equal(touch(SHARED | RAM, 2), FAULT_FIXED);
    assert_int_equal(level_at(SHARED | RAM), 2);
    assert_int_equal(level_at(RAM), 0);
    assert_int_equal(mmu_convert(&mmu, GPA(RAM + 511 * PAGE_SIZE), 1, false), 1);
    assert_int_equal(touch(SHARED | RAM, 2), FAULT_FIXED);
    assert_int_equal(level_at(SHARED | RAM), 1);
    assert_int_equal(mmu_convert(&mmu, GPA(RAM + 511 * PAGE_SIZE), 1, true), 1);
    assert_int_equal(touch(SHARED | (RAM + 0x9000), 2), FAULT_FIXED); /* collapses the table */
    assert_int_equal(level_at(SHARED | RAM), 2);
    stop();
}

/* A conversion goes to the end of its CONVERT_FRAMES, or of the slot, and no further. */
static void conversions_come_in_pieces(void **state)
{
    (void)state;
    start(false, true, true);
    assert_int_equal(mmu_convert(&mmu, GPA(RAM + 0x1000), 2000, true), CONVERT_FRAMES - 1);
    assert_int_equal(mmu_convert(&mmu, GPA(RAM + 0x200000), 2000, true), CONVERT_FRAMES);
    assert_int_equal(mmu_convert(&mmu, GPA(RAM + 0x3ff000), 2000, true), 1);
    assert_int_equal(mmu_convert(&mmu, GPA(RAM + 0x400000), 1, true), -EFAULT);
    assert_int_equal(mmu_convert(&mmu, GPA(RAM + 0x800), 1, true), -EINVAL);
    assert_int_equal(mmu_convert(&mmu, GPA(RAM), 0, true), -EINVAL);
    mmu_destroy(&mmu);
    assert_int_equal(mmu_create(&mmu), 0);
    assert_int_equal(mmu_slot_add(&mmu, 1, GPA(RAM), 1, 0), 0);
    assert_int_equal(mmu_convert(&mmu, GPA(RAM), 1, true), -EINVAL);
    stop();
}

/* A page that is cleared counts as written, for a copy of the VM's memory. */
static void a_conversion_is_logged(void **state)
{
    (void)state;
    uint64_t log;
    for (unsigned ad = 0; ad < 2; ad++) {
        start(false, true, ad);
        page_at(RAM + 0x3000)[0] = 1;
        assert_int_equal(mmu_slot_flags(&mmu, 1, MEMSLOT_LOG_DIRTY), 0);
        assert_int_equal(mmu_dirty_get(&mmu, 1, 0, &log, 1), 0);
        assert_int_equal(mmu_convert(&mmu, GPA(RAM + 0x3000), 1, true), 1);
        assert_int_equal(mmu_dirty_get(&mmu, 1, 0, &log, 1), 0);
        assert_int_equal(log, BIT(3));
        stop();
    }
}

/* Cached translations of another CPU are flushed before the page is cleared. */
static uint64_t *watched_page;
static uint64_t seen_at_kick;

static void look_and_leave(unsigned pcpu)
{
    uint64_t word;
    seen_at_kick = *watched_page;
    assert_int_equal(guest_read(&mmu, GPA(SHARED | RAM), &word, 8, ACCESS_READ), -EACCES);
    *watched_page = 0xdead; /* its guest is still running, and writes */
    kick_hook = NULL;
    world_leave(pcpu);
}

static void a_conversion_waits_for_other_cpus(void **state)
{
    (void)state;
    start(false, true, true);
    watched_page = page_at(RAM);
    *watched_page = 1;
    support_cpu = 1;
    tlb_enter(&mmu, 1);
    support_cpu = 0;
    kick_hook = look_and_leave;
    assert_int_equal(mmu_convert(&mmu, GPA(RAM), 1, true), 1);
    assert_int_equal(seen_at_kick, 1);
    assert_int_equal(*page_at(SHARED | RAM), 0);
    stop();
}

/* D16, X5: the hypervisor checks the side without a lock. Until the last access that began before
 * the conversion has read the old page, neither the guest nor the hypervisor can access the page
 * through either side. */
static unsigned readers;

static void read_and_pass(unsigned pcpu)
{
    const uint64_t sides[] = {RAM, SHARED | RAM};
    struct mmio_info info;
    uint64_t word = 2;
    support_cpu = pcpu;
    assert_int_equal(*watched_page, 1);
    for (unsigned i = 0; i < 2; i++) {
        gpa_t gpa = GPA(sides[i] + 0x1000);
        assert_int_equal(mmu_fault(&mmu, gpa, ACCESS_WRITE | FAULT_FINAL, &info), FAULT_RETRY);
        assert_int_equal(guest_write(&mmu, gpa, &word, 8), -EACCES);
        assert_int_equal(guest_may_write(&mmu, gpa), -EACCES);
        assert_int_equal(guest_cmpxchg(&mmu, gpa, 8, 0, 2), -EACCES);
        assert_int_equal(guest_read(&mmu, gpa, &word, 8, ACCESS_READ), -EACCES);
        assert_null(guest_page(&mmu, gpa, ACCESS_READ));
    }
    assert_int_equal(guest_write(&mmu, GPA(RAM), &word, 8), 0); /* the pages around it stay */
    assert_int_equal(guest_write(&mmu, GPA(RAM + 0x3000), &word, 8), 0);
    assert_int_equal(guest_write(&mmu, GPA(SHARED | (RAM + 0x5000)), &word, 8), 0);
    support_cpu = 0;
    readers++;
    epoch_pass(pcpu, epoch_now());
}

static void a_conversion_waits_for_readers(void **state)
{
    (void)state;
    start(false, true, true);
    assert_int_equal(mmu_convert(&mmu, GPA(RAM + 0x5000), 1, true), 1);
    watched_page = page_at(RAM + 0x1000);
    *watched_page = 1;
    epoch_online(1, NULL);
    readers = 0;
    kick_hook = read_and_pass;
    assert_int_equal(mmu_convert(&mmu, GPA(RAM + 0x1000), 2, true), 2);
    kick_hook = NULL;
    assert_int_equal(readers, 1);
    assert_int_equal(*watched_page, 0);
    uint64_t word = 3;
    assert_int_equal(guest_write(&mmu, GPA(SHARED | (RAM + 0x1000)), &word, 8), 0);
    assert_int_equal(touch(SHARED | (RAM + 0x1000), 2), FAULT_FIXED);
    epoch_offline(1);
    stop();
}

static void attributes_move_with_their_slot(void **state)
{
    (void)state;
    start(false, true, true);
    assert_int_equal(mmu_convert(&mmu, GPA(RAM + 0x1000), 1, true), 1);
    assert_int_equal(mmu_slot_move(&mmu, 1, GPA(0x1000000)), 0);
    assert_int_equal(touch(SHARED | 0x1001000, 1), FAULT_FIXED);
    assert_int_equal(touch(0x1001000, 1), -EACCES);
    assert_int_equal(touch(0x1002000, 1), FAULT_FIXED);
    stop();
}

static void pinned_pages_stay(void **state)
{
    (void)state;
    start(false, true, true);
    assert_int_equal(mmu_slot_add(&mmu, 9, GPA(0x1000), 1, MEMSLOT_PINNED), 0);
    uint64_t *page = page_at(0x1000);
    assert_int_equal(mmu_host_remap(&mmu, GPA(0x1000)), -EBUSY);
    assert_int_equal(mmu_slot_delete(&mmu, 9), -EBUSY);
    assert_int_equal(mmu_slot_move(&mmu, 9, GPA(0x2000)), -EBUSY);
    assert_non_null(strstr(support_log(), "slot 9 is pinned"));
    assert_int_equal(mmu_slot_flags(&mmu, 9, MEMSLOT_LOG_DIRTY), 0); /* does not unpin it */
    assert_int_equal(mmu_slot_delete(&mmu, 9), -EBUSY);
    assert_ptr_equal(page_at(0x1000), page);
    stop();
}

/* ---- #VE ------------------------------------------------------------------------------------- */

/* X10: one violation installs the SPTE; from then on the CPU converts. */
static void mmio_converts_after_one_violation(void **state)
{
    (void)state;
    start(true, true, true);
    struct world_access a = world_touch(&mmu, GPA(SHARED | DEVICE), 1);
    assert_int_equal(a.outcome, FAULT_VE);
    assert_int_equal(a.violations, 1);
    assert_int_equal(a.misconfigurations, 0);
    a = world_touch(&mmu, GPA(SHARED | DEVICE), 2);
    assert_int_equal(a.outcome, FAULT_VE);
    assert_int_equal(a.violations, 0);
    unsigned level;
    uint64_t spte = mmu_spte(&mmu, GPA(SHARED | DEVICE), &level);
    assert_true(spte_is_mmio(spte, 0) && !spte_is_mmio(spte, SPTE_MMIO_VALUE)); /* S12 */
    assert_int_equal(touch(DEVICE, 1), -EFAULT); /* F3: a private address is never MMIO */
    stop();
}

/* F10: memory that replaces MMIO ends the #VEs, without the generation. */
static void memory_over_mmio_stops_the_ve(void **state)
{
    (void)state;
    start(true, true, true);
    for (uint64_t page = 0; page < 4; page++)
        assert_int_equal(touch(SHARED | (DEVICE + page * PAGE_SIZE), 1), FAULT_VE);
    assert_int_equal(mmu_slot_add(&mmu, 2, GPA(DEVICE + PAGE_SIZE), 2, MEMSLOT_SHARED), 0);
    assert_int_equal(touch(SHARED | DEVICE, 1), FAULT_VE);
    assert_int_equal(touch(SHARED | (DEVICE + 1 * PAGE_SIZE), 1), FAULT_FIXED);
    assert_int_equal(touch(SHARED | (DEVICE + 2 * PAGE_SIZE), 1), FAULT_FIXED);
    assert_int_equal(touch(SHARED | (DEVICE + 3 * PAGE_SIZE), 1), FAULT_VE);
    assert_int_equal(mmu_slot_move(&mmu, 2, GPA(DEVICE + 2 * PAGE_SIZE)), 0);
    assert_int_equal(touch(SHARED | (DEVICE + 1 * PAGE_SIZE), 1), FAULT_VE);
    assert_int_equal(touch(SHARED | (DEVICE + 3 * PAGE_SIZE), 1), FAULT_FIXED);
    assert_int_equal(mmu_slot_delete(&mmu, 2), 0);
    assert_int_equal(touch(SHARED | (DEVICE + 3 * PAGE_SIZE), 1), FAULT_VE);
    stop();
}

/* An access that an execute-only address refuses converts, and a fetch succeeds. A page that was
 * aged does not convert until it is fetched from again. */
static void execute_only_converts(void **state)
{
    (void)state;
    for (unsigned ad = 0; ad < 2; ad++) {
        start(true, true, ad);
        assert_int_equal(touch(CODE | RAM, 1), FAULT_VE);
        assert_int_equal(touch(CODE | RAM, 2), FAULT_VE);
        struct world_access a = world_touch(&mmu, GPA(CODE | RAM), 4);
        assert_int_equal(a.outcome, FAULT_FIXED);
        assert_int_equal(a.violations, 0);
        assert_ptr_equal(phys_to_virt(a.page), page_at(RAM)); /* X11 */
        assert_true(mmu_age(&mmu, GPA(RAM), 1) > 0);
        assert_int_equal(touch(CODE | RAM, 4), FAULT_FIXED);
        assert_int_equal(touch(CODE | RAM, 1), FAULT_VE);
        assert_int_equal(touch(SHARED | CODE | RAM, 4), -EACCES); /* no page is on both sides */
        stop();
    }
    start(false, true, true); /* without #VE it is a memory fault */
    assert_int_equal(touch(CODE | RAM, 1), -EACCES);
    assert_non_null(strstr(support_log(), "a load at frame 0x200, where memory is execute-only"));
    stop();
}

/* S12: the same value means different things in two VMs. */
static void two_kinds_side_by_side(void **state)
{
    (void)state;
    static struct mmu other;
    start(true, true, true);
    assert_int_equal(mmu_create(&other), 0);
    assert_int_equal(world_touch(&other, GPA(DEVICE), 1).outcome, FAULT_EMULATE);
    assert_int_equal(touch(SHARED | DEVICE, 1), FAULT_VE);
    unsigned level;
    uint64_t theirs = mmu_spte(&other, GPA(DEVICE), &level);
    uint64_t ours = mmu_spte(&mmu, GPA(SHARED | DEVICE), &level);
    assert_int_equal(spte_classify(theirs, 1, other.mmio_value), SPTE_CLASS_MMIO);
    assert_int_equal(spte_classify(theirs, 1, mmu.mmio_value), SPTE_CLASS_ALIEN);
    assert_int_equal(spte_classify(ours, 1, mmu.mmio_value), SPTE_CLASS_MMIO);
    assert_int_equal(spte_classify(ours, 1, other.mmio_value), SPTE_CLASS_ALIEN);
    world_check(&other);
    mmu_destroy(&other);
    stop();
}

static void ve_needs_mmio_sptes(void **state)
{
    (void)state;
    struct mmu_config config = {.mmio_caching = false, .ad = true, .huge = true};
    world_reset(WORLD_CAPS, &config);
    assert_int_equal(mmu_create(&mmu), 0);
    assert_int_equal(mmu_take_ve(&mmu), -ENOTSUP);
    assert_non_null(strstr(support_log(), "remove mmio_caching=0"));
    mmu_destroy(&mmu);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test(name)
        T(memory_begins_private),
        T(a_slot_that_began_shared_has_private_code),
        T(a_read_only_page_has_its_side),
        T(a_conversion_leaves_nothing_behind),
        T(a_conversion_to_the_same_side_keeps_the_page),
        T(a_mixed_range_within_words),
        T(uniform_ranges_are_large),
        T(conversions_come_in_pieces),
        T(a_conversion_is_logged),
        T(a_conversion_waits_for_other_cpus),
        T(a_conversion_waits_for_readers),
        T(attributes_move_with_their_slot),
        T(pinned_pages_stay),
        T(mmio_converts_after_one_violation),
        T(memory_over_mmio_stops_the_ve),
        T(execute_only_converts),
        T(two_kinds_side_by_side),
        T(ve_needs_mmio_sptes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
