/* SPDX-License-Identifier: MIT */
/*
 * Several CPUs at once. Three threads are pCPUs, each of which runs a vCPU of the same VM; see
 * mmu_threads.h. They fault, write memory inside and outside of the guest, and convert pages. A
 * fourth one changes slots, zaps, reads the dirty log, tracks, moves host pages and ages, all the
 * time. Built with AddressSanitizer for `make unit` (freed pages are poisoned, and so are table
 * pages) and with ThreadSanitizer for `make tsan`.
 *
 * The fourth thread copies the pages that the log reports, like a live migration: in the end the
 * copy equals the memory, or a write was lost (rule N2). Nobody sees data of one side on the other
 * (X5), and no page is freed that a CPU in the guest can still reach (D8, W6).
 */
#include "tests/unit/mmu/mmu_threads.h"

#include <pthread.h>

#define CAPS                                                                                      \
    (EPT_CAP_EXEC_ONLY | EPT_CAP_WALK_4 | EPT_CAP_WB | EPT_CAP_2M | EPT_CAP_INVEPT | EPT_CAP_AD | \
     EPT_CAP_INVEPT_SINGLE | EPT_CAP_INVEPT_ALL)

#define LOGGED     0x400ull /* frames: a slot that logs and stays, */
#define LOGGED_END 0x600ull
#define MOVING     0x800ull /* where others come and go, */
#define MOVING_END 0x1000ull
#define LARGE      0x1000ull /* and one with large pages. */
#define LARGE_END  0x1800ull
#define STEADY     4u /* number of frames at the start that are never converted */

static bool stop, pause, sides;
static uint64_t accesses; /* number of changes so far */
static pthread_barrier_t together;
static struct {
    uint64_t emulated, refused, converted, host;
} met[VCPUS]; /* read while the threads of the CPUs stand still */

static uint64_t rnd(uint64_t *state, uint64_t below)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (*state >> 33) % below;
}

static gpa_t gpa_of(uint64_t gfn)
{
    return gfn_to_gpa(GFN(gfn));
}

/* ---- A CPU ----------------------------------------------------------------------------------- */

static bool stays(uint64_t gfn)
{
    gfn &= ~SHARED;
    return gfn < LOGGED_END || gfn >= LARGE;
}

static bool is_steady(uint64_t gfn)
{
    return gfn - LOGGED < STEADY;
}

/* A few frames of each piece are used often. */
static uint64_t random_offset(uint64_t *seed, uint64_t frames)
{
    return 512 * rnd(seed, frames / 512) + rnd(seed, rnd(seed, 4) ? 16 : 512);
}

/* Mostly through the side that the frame is on. Called in an epoch. */
static uint64_t random_frame(uint64_t *seed)
{
    static const uint64_t from[] = {LOGGED, LOGGED, MOVING, LARGE},
                          to[] = {LOGGED_END, LOGGED_END, MOVING_END, LARGE_END};
    uint64_t which = rnd(seed, 4), gfn = from[which] + random_offset(seed, to[which] - from[which]);
    const struct memslot *slot = sides ? memslot_find(memslots(&mmu), GFN(gfn)) : NULL;
    if (sides && !is_steady(gfn) &&
        (slot ? sides_is_shared(slot, gfn - slot->base.v) : true) != !rnd(seed, 16))
        gfn |= SHARED;
    return gfn;
}

/* Stays in the guest until something exits. Returns the frame, with the reason. */
static uint64_t run_guest(uint64_t *seed, uint64_t *access, bool *misconfigured)
{
    static __thread uint64_t budget;
    while (!__atomic_load_n(&kicked[support_cpu], __ATOMIC_SEQ_CST) && ++budget % 256) {
        uint64_t gfn = random_frame(seed);
        *access = rnd(seed, 32) ? 1 + rnd(seed, 2) : 4;
        uint64_t *page = translate(gfn, *access, misconfigured);
        if (!page)
            return gfn;
        check_page(page, gfn, stays(gfn));
        if (*access == 2)
            __atomic_store_n(&page[support_cpu], stamp(gfn), __ATOMIC_RELEASE);
        __atomic_add_fetch(&accesses, 1, __ATOMIC_RELAXED);
        if (!rnd(seed, 8))
            support_pause(); /* stays in the guest, so that other threads change things meanwhile */
    }
    return UINT64_MAX;
}

static void write_for_guest(uint64_t gfn)
{
    struct mine before = mine[gfn & ~SHARED];
    uint64_t word = stamp(gfn);
    if (guest_write(&mmu, gpa_add(gpa_of(gfn), support_cpu * sizeof(word)), &word, sizeof(word)))
        mine[gfn & ~SHARED] = before;
    else
        met[support_cpu].host++;
}

static void exit_to_host(uint64_t gfn, uint64_t access, bool misconfigured)
{
    struct mmio_info info;
    gpa_t gpa = gpa_of(gfn);
    int result = misconfigured ? mmu_mmio_check(&mmu, gpa, &info) : FAULT_INVALID;
    if (result == FAULT_INVALID)
        result = mmu_fault(
            &mmu, gpa, misconfigured ? FAULT_RESERVED : (uint32_t)access | FAULT_PRESENT, &info);
    bool refused = result == -EACCES || (result == -EFAULT && !stays(gfn));
    check(result >= 0 || (sides && !is_steady(gfn) && refused), "a fault was refused");
    check(result != FAULT_INVALID && result != FAULT_CONTINUE, "the fault's result");
    check(result != FAULT_EMULATE || !stays(gfn), "RAM taken for MMIO");
    met[support_cpu].emulated += result == FAULT_EMULATE;
    met[support_cpu].refused += result < 0;
    if (result == FAULT_WRITE_PROTECTED)
        write_for_guest(gfn);
}

/* Writes and reads guest memory through the slots, as emulation does. A page does not change under
 * a reader before the end of its epoch. */
static void emulate(uint64_t *seed)
{
    uint64_t gfn = random_frame(seed);
    write_for_guest(gfn);
    const uint64_t *page = guest_page(&mmu, gpa_of(gfn), ACCESS_READ);
    check(page || !is_steady(gfn) || !mine[gfn].word, "memory was refused");
    if (!page)
        return;
    uint64_t found = load(&page[support_cpu]);
    for (uint64_t i = rnd(seed, 4); i; i--)
        support_pause();
    check_page(page, gfn, stays(gfn));
    check(load(&page[support_cpu]) == found, "a page changed that a reader had found");
}

/* A mapping stays as long as a fault has the lock. (No table of this slot is collapsed.) */
static void hold_lock(uint64_t *seed)
{
    gpa_t gpa = gpa_of(random_frame(seed));
    hpa_t before, after;
    unsigned level;
    if ((gpa_to_gfn(gpa).v & ~SHARED) >= LOGGED_END)
        return;
    read_lock(&mmu.lock);
    if (!mmu_gpa_to_pfn(&mmu, gpa, &before, &level)) {
        support_pause();
        check(!mmu_gpa_to_pfn(&mmu, gpa, &after, &level) && after.v == before.v,
              "a leaf went while a fault had the lock");
    }
    read_unlock(&mmu.lock);
}

/* Converts some frames, or as much of a piece as one call does. */
static void convert(uint64_t *seed)
{
    uint64_t gfn = random_frame(seed) & ~SHARED, count = 1 + rnd(seed, 8);
    if (gfn >= MOVING && rnd(seed, 2)) {
        gfn -= gfn % 512;
        count = 512;
    }
    count = gfn % 512 + count > 512 ? 512 - gfn % 512 : count;
    if (is_steady(gfn))
        return;
    for (uint64_t i = gfn; i < gfn + count; i++)
        __atomic_add_fetch(&conversions[i].begun, 1, __ATOMIC_SEQ_CST);
    bool shared = rnd(seed, 2);
    int64_t result = 0;
    for (uint64_t done = 0; done < count && result >= 0; done += (uint64_t)result) {
        result = AT_ONCE(mmu_convert(&mmu, gpa_of(gfn + done), count - done, shared));
        check(result > 0 || (result == -EFAULT && !stays(gfn)), "a conversion was refused");
        met[support_cpu].converted += result > 0 ? (uint64_t)result : 0;
    }
    for (uint64_t i = gfn; i < gfn + count; i++)
        __atomic_add_fetch(&conversions[i].ended, 1, __ATOMIC_SEQ_CST);
}

/* Lets the thread that changes things look at the counts. */
static void stand_still(void)
{
    epoch_offline(support_cpu);
    pthread_barrier_wait(&together);
    pthread_barrier_wait(&together);
    epoch_online(support_cpu, NULL);
}

static void *vcpu(void *argument)
{
    uint64_t number = *(const unsigned *)argument, seed = number * 77 + 1, access;
    bool misconfigured = false;
    support_cpu = (unsigned)number;
    epoch_online(support_cpu, NULL);
    stand_still();
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
        if (__atomic_load_n(&pause, __ATOMIC_ACQUIRE))
            stand_still();
        __atomic_store_n(&kicked[support_cpu], false, __ATOMIC_SEQ_CST);
        tlb_enter(&mmu, support_cpu);
        __atomic_store_n(&tlbs[support_cpu].inside, true, __ATOMIC_SEQ_CST);
        uint64_t gfn = run_guest(&seed, &access, &misconfigured);
        __atomic_store_n(&tlbs[support_cpu].inside, false, __ATOMIC_SEQ_CST);
        tlb_leave(support_cpu);
        if (gfn != UINT64_MAX)
            exit_to_host(gfn, access, misconfigured);
        if (!rnd(&seed, 4))
            emulate(&seed);
        if (!rnd(&seed, 16))
            hold_lock(&seed);
        if (sides && !rnd(&seed, 128))
            convert(&seed);
    }
    epoch_offline(support_cpu);
    return NULL;
}

/* ---- The host -------------------------------------------------------------------------------- */

#define PAGES_LOGGED (LOGGED_END - LOGGED)
static uint64_t copy[PAGES_LOGGED][VCPUS], copied;

static const uint64_t *logged_page(uint64_t page)
{
    const uint64_t *words = guest_page(&mmu, gpa_of(LOGGED + page), ACCESS_READ);
    return words || !sides ? words
                           : guest_page(&mmu, gpa_of(SHARED | (LOGGED + page)), ACCESS_READ);
}

static void harvest(void)
{
    uint64_t bitmap[PAGES_LOGGED / 64];
    check(!AT_ONCE(mmu_dirty_get(&mmu, 0, 0, bitmap, PAGES_LOGGED / 64)), "the dirty log");
    for (uint64_t i = 0; i < PAGES_LOGGED; i++) {
        const uint64_t *page;
        if (!(bitmap[i / 64] >> (i % 64) & 1))
            continue;
        while (!(page = logged_page(i))) { /* during its conversion it is on no side */
            epoch_pass(HOST, epoch_now());
            support_pause();
        }
        for (unsigned cpu = 0; cpu < VCPUS; cpu++)
            copy[i][cpu] = load(&page[cpu]);
        copied++;
    }
}

static void change_slots(uint64_t *seed)
{
    bool exists = memslot_by_id(mmu.slots, 1);
    if (!exists)
        check(!mmu_slot_add(&mmu, 1, gpa_of(MOVING + 512 * rnd(seed, 2)), 512, 0), "add");
    else if (rnd(seed, 2))
        check(!mmu_slot_move(&mmu, 1, gpa_of(MOVING + 512 * rnd(seed, 3))), "move");
    else
        check(!mmu_slot_delete(&mmu, 1), "delete");
}

static void one_change(uint64_t *seed)
{
    gpa_t gpa = gpa_of(rnd(seed, 2) ? LOGGED + random_offset(seed, PAGES_LOGGED)
                                    : LARGE + random_offset(seed, LARGE_END - LARGE));
    switch (rnd(seed, 8)) {
    case 0:
        check(!mmu_zap(&mmu, gpa, 16), "zap");
        break;
    case 1:
        check(!AT_ONCE(mmu_track(&mmu, gpa)) && !AT_ONCE(mmu_untrack(&mmu, gpa)), "track");
        break;
    case 2:
        (void)!AT_ONCE(mmu_host_remap(&mmu, gpa));
        break;
    case 3:
        (void)mmu_age(&mmu, gpa, 64);
        break;
    case 4:
        (void)mmu_nx_recover(&mmu);
        check(!AT_ONCE(mmu_set_generation(&mmu, mmu_slot_generation(&mmu) | 0x7fffe)),
              "generation");
        break;
    case 5:
        harvest();
        break;
    default:
        change_slots(seed);
    }
}

static void begin(struct mmu_config config)
{
    struct ept_caps caps;
    support_reset();
    memset(copy, 0, sizeof(copy));
    memset(met, 0, sizeof(met));
    memset(conversions, 0, sizeof(conversions));
    copied = accesses = 0;
    stop = pause = false;
    support_cpu = HOST;
    for (unsigned cpu = 0; cpu < VCPUS; cpu++) {
        free(tlbs[cpu].holds);
        tlbs[cpu] = (struct tlb){.holds = calloc(SUPPORT_RAM_PAGES, 1)};
    }
    support_free_hook = on_free;
    assert_int_equal(ept_caps_parse(&caps, CAPS, 40), 0);
    assert_int_equal(mmu_setup(&caps, &config), 0);
    assert_int_equal(mmu_create(&mmu), 0);
    if (sides)
        assert_int_equal(mmu_steal_bit(&mmu, 39, STOLEN_SHARED), 0);
    assert_int_equal(
        mmu_slot_add(&mmu, 0, gpa_of(LOGGED), PAGES_LOGGED, (uint32_t)MEMSLOT_LOG_DIRTY), 0);
    assert_int_equal(mmu_slot_add(&mmu, 2, gpa_of(LARGE), LARGE_END - LARGE, 0), 0);
}

/* How often each of these happens depends on when each thread runs. */
static bool everything_happened(void)
{
    uint64_t emulated = 0, refused = 0, converted = 0, host = 0;
    for (unsigned i = 0; i < VCPUS; i++) {
        emulated += met[i].emulated;
        refused += met[i].refused;
        converted += met[i].converted;
        host += met[i].host;
    }
    return copied > 10 && emulated > 10 && host > 10 &&
           (!sides || (refused > 10 && converted > 10)) &&
           (!mmu_config()->huge || mmu_stats(&mmu).splits > 10);
}

/* Makes changes while the other threads run, and returns with these standing still. */
static void make_changes(uint64_t *seed, uint64_t changes)
{
    epoch_online(HOST, NULL);
    __atomic_store_n(&pause, false, __ATOMIC_RELEASE);
    pthread_barrier_wait(&together);
    for (uint64_t i = 0; i < changes; i++) {
        one_change(seed);
        for (uint64_t before = load(&accesses); load(&accesses) - before < 100;) {
            epoch_pass(HOST, epoch_now()); /* other threads that convert wait for the lock */
            support_pause();
        }
    }
    __atomic_store_n(&pause, true, __ATOMIC_RELEASE);
    epoch_offline(HOST);
    pthread_barrier_wait(&together);
}

/* Goes on until everything has happened, but not for more than a hundred times as long. */
static void run(uint64_t changes)
{
    pthread_t threads[VCPUS];
    unsigned numbers[VCPUS];
    uint64_t seed = 4711;
    pthread_barrier_init(&together, NULL, VCPUS + 1);
    for (unsigned i = 0; i < VCPUS; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, vcpu, &numbers[i]), 0);
    }
    pthread_barrier_wait(&together);
    for (unsigned i = 0; i < 100 && (!i || !everything_happened()); i++)
        make_changes(&seed, changes);
    __atomic_store_n(&stop, true, __ATOMIC_RELEASE);
    pthread_barrier_wait(&together);
    for (unsigned i = 0; i < VCPUS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    pthread_barrier_destroy(&together);
}

static void end(void)
{
    assert_true(everything_happened());
    for (uint64_t i = 0; i < PAGES_LOGGED; i++) {
        const uint64_t *page = logged_page(i);
        for (unsigned cpu = 0; cpu < VCPUS; cpu++)
            assert_int_equal(page ? page[cpu] : 0, copy[i][cpu]);
    }
    for (unsigned i = 1; i < VCPUS; i++) {
        met[0].emulated += met[i].emulated;
        met[0].refused += met[i].refused;
        met[0].converted += met[i].converted;
        met[0].host += met[i].host;
    }
    struct mmu_stats stats = mmu_stats(&mmu);
    printf("threads: %lu accesses, %lu emulated, %lu written for the guest, %lu refused, "
           "%lu pages converted\n    %lu remote flushes, %lu pages harvested, %lu splits, "
           "%lu collapses\n",
           accesses, met[0].emulated, met[0].host, met[0].refused, met[0].converted,
           stats.remote_flushes, copied, stats.splits, stats.collapses);
    support_free_hook = NULL;
    mmu_destroy(&mmu);
    assert_int_equal(support_pages_in_use(), 0);
    assert_int_equal(support_warnings(), 0);
}

static void storm(struct mmu_config config, bool with_sides)
{
    sides = with_sides;
    begin(config);
    run(support_number("THREADS_CHANGES", support_rounds(1000)));
    harvest();
    end();
}

static void with_d_bits(void **state)
{
    (void)state;
    storm((struct mmu_config){.mmio_caching = true, .ad = true, .huge = true, .nx_huge = true},
          false);
}

static void with_write_protection(void **state)
{
    (void)state;
    storm((struct mmu_config){.mmio_caching = true}, false);
}

static void with_sides(void **state)
{
    (void)state;
    storm((struct mmu_config){.mmio_caching = true, .ad = true, .huge = true}, true);
}

static void with_sides_and_write_protection(void **state)
{
    (void)state;
    storm((struct mmu_config){.mmio_caching = true, .huge = true}, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(with_d_bits),
        cmocka_unit_test(with_write_protection),
        cmocka_unit_test(with_sides),
        cmocka_unit_test(with_sides_and_write_protection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
