/*
 * Many CPUs at once. Three threads are pCPUs that each run a vCPU of the same VM: they walk the
 * tables without any lock, as hardware does, set A and D, write memory, and fault. A fourth changes
 * slots, zaps, harvests the dirty log, tracks, moves host pages and ages, all the time. Built with
 * AddressSanitizer for `make unit` (what is freed is poisoned, and so are table pages) and with
 * ThreadSanitizer for `make tsan`.
 *
 * The harvest copies what the log names, like a live migration: when all have stopped, the copy
 * equals the memory, or a write was lost (rule N2).
 */
#include "tests/unit/support.h"

#include "ept/caps.h"
#include "ept/invalidate.h"
#include "mmu/memslot.h"
#include "mmu/mmu.h"
#include "mmu/tdp.h"
#include "mmu/tlb.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VCPUS 3u
#define HOST  VCPUS /* the fourth pCPU */

#define CAPS                                                                                      \
    (EPT_CAP_EXEC_ONLY | EPT_CAP_WALK_4 | EPT_CAP_WB | EPT_CAP_2M | EPT_CAP_INVEPT | EPT_CAP_AD | \
     EPT_CAP_INVEPT_SINGLE | EPT_CAP_INVEPT_ALL)

#define LOGGED     0x400ull /* frames: a slot that logs and stays, */
#define LOGGED_END 0x600ull
#define MOVING     0x800ull /* and where others come and go */
#define MOVING_END 0x1000ull

static struct mmu mmu;
static __thread unsigned this_cpu;
static bool kicked[VCPUS + 1], stop;
static pthread_barrier_t start; /* or the changes may be over before anyone else runs */
static uint64_t accesses[VCPUS], writes[VCPUS], emulated[VCPUS];

unsigned tlb_this_cpu(void)
{
    return this_cpu;
}

void tlb_kick(unsigned pcpu)
{
    __atomic_store_n(&kicked[pcpu], true, __ATOMIC_SEQ_CST);
}

void invept(unsigned type, uint64_t eptp)
{
    (void)type, (void)eptp; /* these CPUs keep nothing: the adversary is about that */
}

void invvpid(unsigned type, uint16_t vpid, gva_t address)
{
    (void)type, (void)vpid, (void)address;
}

static void check(bool condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "FAILED: %s\n", what);
    abort();
}

static uint64_t rnd(uint64_t *state, uint64_t below)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (*state >> 33) % below;
}

/* ---- A CPU ----------------------------------------------------------------------------------- */

/* The page, or NULL for an exit: *misconfigured says which. Bits as numbers, see mmu_world.h. */
static uint64_t *hardware_walk(uint64_t gfn, bool write, bool ad, bool *misconfigured)
{
    uint64_t *table = phys_to_virt(HPA(mmu_eptp(&mmu) & 0x000ffffffffff000));
    *misconfigured = false;
    for (unsigned level = 4;; level--) {
        uint64_t *entry = &table[gfn >> (9 * (level - 1)) & 511];
        uint64_t value = __atomic_load_n(entry, __ATOMIC_ACQUIRE);
        if ((value & 7) == 6)
            *misconfigured = true;
        if (!(value & 1) || (write && !(value & 2)))
            return NULL;
        bool leaf = level == 1 || value & 0x80;
        uint64_t set = leaf && write ? 0x300 : 0x100;
        if (ad && (value & set) != set) { /* the CPU sets them only if the entry is as it was */
            if (!__atomic_compare_exchange_n(entry, &value, value | set, false, __ATOMIC_SEQ_CST,
                                             __ATOMIC_ACQUIRE)) {
                table = phys_to_virt(HPA(mmu_eptp(&mmu) & 0x000ffffffffff000));
                level = 5;
                continue;
            }
        }
        table = phys_to_virt(HPA(value & 0x000ffffffffff000));
        if (leaf)
            return table + (gfn & ((1ull << 9 * (level - 1)) - 1)) * 512;
    }
}

/* In the guest until something exits. Returns the frame, with the reason. */
static uint64_t run_guest(uint64_t *seed, bool ad, bool *write, bool *misconfigured)
{
    static __thread uint64_t budget;
    for (;;) {
        uint64_t gfn = rnd(seed, 3) ? LOGGED + rnd(seed, LOGGED_END - LOGGED)
                                    : MOVING + rnd(seed, MOVING_END - MOVING);
        *write = rnd(seed, 2);
        if (__atomic_load_n(&kicked[this_cpu], __ATOMIC_SEQ_CST) || ++budget % 64 == 0)
            return UINT64_MAX;
        uint64_t *page = hardware_walk(gfn, *write, ad, misconfigured);
        if (!page)
            return gfn;
        if (*write) {
            __atomic_add_fetch(page, 1, __ATOMIC_SEQ_CST);
            writes[this_cpu]++;
        }
        accesses[this_cpu]++;
    }
}

static void exit_to_host(uint64_t gfn, bool write, bool misconfigured)
{
    struct mmio_info info;
    gpa_t gpa = gfn_to_gpa(GFN(gfn));
    uint32_t access = write ? ACCESS_WRITE : ACCESS_READ;
    int result = FAULT_INVALID;
    if (misconfigured)
        result = mmu_mmio_check(&mmu, gpa, &info);
    if (result == FAULT_INVALID)
        result =
            mmu_fault(&mmu, gpa, misconfigured ? FAULT_RESERVED : access | FAULT_PRESENT, &info);
    check(result >= 0 && result != FAULT_INVALID && result != FAULT_CONTINUE, "the fault's result");
    check(result != FAULT_EMULATE || gfn >= MOVING, "RAM taken for MMIO");
    emulated[this_cpu] += result == FAULT_EMULATE;
    uint64_t one = 1;
    if (result == FAULT_WRITE_PROTECTED)
        (void)!guest_write(&mmu, gpa_add(gpa, 8), &one, sizeof(one));
}

static void *vcpu(void *argument)
{
    uint64_t number = *(const unsigned *)argument, seed = number * 77 + 1;
    bool ad = mmu_config()->ad, write, misconfigured;
    this_cpu = (unsigned)number;
    epoch_online(this_cpu);
    pthread_barrier_wait(&start);
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
        __atomic_store_n(&kicked[this_cpu], false, __ATOMIC_SEQ_CST);
        tlb_enter(&mmu, this_cpu);
        uint64_t gfn = run_guest(&seed, ad, &write, &misconfigured);
        tlb_leave(this_cpu);
        if (gfn != UINT64_MAX)
            exit_to_host(gfn, write, misconfigured);
        hpa_t page;
        unsigned level;
        if (!mmu_gpa_to_pfn(&mmu, gfn_to_gpa(GFN(LOGGED + number)), &page, &level))
            (void)__atomic_load_n((uint64_t *)phys_to_virt(page), __ATOMIC_RELAXED);
    }
    epoch_offline(this_cpu);
    return NULL;
}

/* ---- The host -------------------------------------------------------------------------------- */

static uint64_t copy[LOGGED_END - LOGGED];
static uint64_t copied;

static void harvest(void)
{
    uint64_t bitmap[(LOGGED_END - LOGGED) / 64];
    check(!mmu_dirty_get(&mmu, 0, 0, bitmap, (LOGGED_END - LOGGED) / 64), "the dirty log");
    for (uint64_t i = 0; i < LOGGED_END - LOGGED; i++) {
        if (!(bitmap[i / 64] >> (i % 64) & 1))
            continue;
        const uint64_t *page = guest_page(&mmu, gfn_to_gpa(GFN(LOGGED + i)), ACCESS_READ);
        copy[i] = __atomic_load_n(page, __ATOMIC_SEQ_CST);
        copied++;
    }
}

static void change_slots(uint64_t *seed)
{
    bool exists = memslot_by_id(mmu.slots, 1);
    if (!exists)
        check(!mmu_slot_add(&mmu, 1, gfn_to_gpa(GFN(MOVING + 512 * rnd(seed, 2))), 512, 0), "add");
    else if (rnd(seed, 2))
        check(!mmu_slot_move(&mmu, 1, gfn_to_gpa(GFN(MOVING + 512 * rnd(seed, 3)))), "move");
    else
        check(!mmu_slot_delete(&mmu, 1), "delete");
}

static void one_change(uint64_t *seed)
{
    gpa_t gpa = gfn_to_gpa(GFN(LOGGED + rnd(seed, LOGGED_END - LOGGED)));
    switch (rnd(seed, 8)) {
    case 0:
        check(!mmu_zap(&mmu, gpa, 16), "zap");
        break;
    case 1:
        check(!mmu_track(&mmu, gpa) && !mmu_untrack(&mmu, gpa), "track");
        break;
    case 2:
        (void)!mmu_host_remap(&mmu, gpa);
        break;
    case 3:
        (void)mmu_age(&mmu, gpa, 64);
        break;
    case 4:
        (void)mmu_nx_recover(&mmu);
        check(!mmu_set_generation(&mmu, mmu_slot_generation(&mmu) | 0x7fffe), "generation");
        break;
    case 5:
        harvest();
        break;
    default:
        change_slots(seed);
    }
}

static void storm(struct mmu_config config, uint64_t changes)
{
    struct ept_caps caps;
    pthread_t threads[VCPUS];
    unsigned numbers[VCPUS];
    uint64_t seed = 4711, sum = 0;

    support_reset();
    memset(copy, 0, sizeof(copy));
    copied = 0;
    stop = false;
    this_cpu = HOST;
    assert_int_equal(ept_caps_parse(&caps, CAPS, 40), 0);
    assert_int_equal(mmu_setup(&caps, &config), 0);
    assert_int_equal(mmu_create(&mmu), 0);
    assert_int_equal(mmu_slot_add(&mmu, 0, gfn_to_gpa(GFN(LOGGED)), LOGGED_END - LOGGED,
                                  (uint32_t)MEMSLOT_LOG_DIRTY),
                     0);
    epoch_online(HOST);
    pthread_barrier_init(&start, NULL, VCPUS + 1);
    for (unsigned i = 0; i < VCPUS; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, vcpu, &numbers[i]), 0);
    }
    pthread_barrier_wait(&start);
    for (uint64_t i = 0; i < changes; i++) {
        one_change(&seed);
        sched_yield();
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELEASE);
    for (unsigned i = 0; i < VCPUS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);

    pthread_barrier_destroy(&start);

    harvest();
    for (uint64_t i = 0; i < LOGGED_END - LOGGED; i++) {
        const uint64_t *page = guest_page(&mmu, gfn_to_gpa(GFN(LOGGED + i)), ACCESS_READ);
        assert_int_equal(page ? *page : 0, copy[i]);
    }
    for (unsigned i = 0; i < VCPUS; i++)
        sum += emulated[i];
    printf("threads: %lu accesses, %lu emulated, %lu remote flushes, %lu pages harvested\n",
           accesses[0] + accesses[1] + accesses[2], sum, mmu_stats(&mmu).remote_flushes, copied);
    assert_true(copied > 10 && sum > 10);
    epoch_offline(HOST);
    mmu_destroy(&mmu);
    assert_int_equal(support_pages_in_use(), 0);
    assert_int_equal(support_warnings(), 0);
}

static uint64_t changes(void)
{
    const char *text = getenv("THREADS_CHANGES");
    return text ? strtoull(text, NULL, 0) : 400;
}

static void with_d_bits(void **state)
{
    (void)state;
    storm((struct mmu_config){.mmio_caching = true, .ad = true, .huge = true, .nx_huge = true},
          changes());
}

static void with_write_protection(void **state)
{
    (void)state;
    storm((struct mmu_config){.mmio_caching = true}, changes());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(with_d_bits),
        cmocka_unit_test(with_write_protection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
