/* SPDX-License-Identifier: MIT */
/*
 * A protected VM on several CPUs at once, for ThreadSanitizer: each thread is a CPU that walks the
 * external tables as hardware does, keeps translations until its INVEPT, accepts pages, and
 * converts them; another one deletes and adds a slot. No frame may return to the pool while a CPU
 * in the guest has a translation to it, nobody sees what was written on the other side or to
 * another frame, and at the end the external tables are what the mirror says.
 */
#include "mirror_world.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#define VCPUS 3u
#define HOST  VCPUS
#define FIRST 0x200u /* frames: of a slot that stays, and from HOLE on of one that comes and goes */
#define HOLE  0x400u
#define END   0x600u

static struct cpu {
    uint64_t leaf[2][END]; /* address of the page, by side; 0: none */
    uint8_t holds[POOL_FRAMES];
    bool inside, kicked;
    uint64_t accesses, accepted, converted;
} cpus_[VCPUS];
static bool stop_all;
static pthread_barrier_t all_start;

static void check(bool condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "FAILED: CPU %u: %s\n", support_cpu, what);
    abort();
}

static uint64_t rnd(uint64_t *seed, uint64_t below)
{
    *seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
    return (*seed >> 33) % below;
}

static void flush(unsigned type, uint64_t eptp)
{
    (void)type, (void)eptp;
    if (support_cpu == HOST)
        return;
    struct cpu *cpu = &cpus_[support_cpu];
    memset(cpu->leaf, 0, sizeof(cpu->leaf));
    for (unsigned i = 0; i < POOL_FRAMES; i++)
        __atomic_store_n(&cpu->holds[i], 0, __ATOMIC_SEQ_CST);
}

static void kick(unsigned pcpu)
{
    if (pcpu < VCPUS)
        __atomic_store_n(&cpus_[pcpu].kicked, true, __ATOMIC_SEQ_CST);
}

static void given(hpa_t page, unsigned level)
{
    for (unsigned c = 0; c < VCPUS; c++)
        for (uint64_t i = 0; i < ept_frames(level); i++)
            check(!__atomic_load_n(&cpus_[c].inside, __ATOMIC_SEQ_CST) ||
                      !__atomic_load_n(&cpus_[c].holds[pool_index(page) + i], __ATOMIC_SEQ_CST),
                  "a frame returned to the pool to which a TLB leads");
}

/* The walk of the CPU. Returns the page's address, or 0 for a violation. */
static uint64_t walk(uint64_t gfn, bool shared)
{
    uint64_t *table = phys_to_virt(HPA(mmu_eptp(&mmu) & EPTP_ADDRESS));
    gfn |= shared ? SHARED >> PAGE_SHIFT : 0;
    for (unsigned level = 4;; level--) {
        uint64_t entry = __atomic_load_n(&table[gfn >> (9 * (level - 1)) & 511], __ATOMIC_ACQUIRE);
        if ((entry & 3) != 3)
            return 0;
        uint64_t page = entry & EPT_ADDRESS;
        if (level == 1 || entry & EPT_LARGE)
            return page + (gfn & (ept_frames(level) - 1)) * PAGE_SIZE;
        table = phys_to_virt(HPA(page));
    }
}

static bool guest_access(struct cpu *cpu, uint64_t gfn, bool shared)
{
    uint64_t *leaf = &cpu->leaf[shared][gfn];
    if (!*leaf)
        *leaf = walk(gfn, shared);
    if (!*leaf)
        return false;
    if (!shared)
        __atomic_store_n(&cpu->holds[pool_index(HPA(*leaf))], 1, __ATOMIC_SEQ_CST);
    uint64_t *words = phys_to_virt(HPA(*leaf)), tag = (shared + 1ull) << 56 | gfn;
    for (unsigned i = 0; i < VCPUS; i++) {
        uint64_t word = __atomic_load_n(&words[i], __ATOMIC_ACQUIRE);
        check(!word || word == tag, "a page shows what belongs to another side or frame");
    }
    __atomic_store_n(&words[support_cpu], tag, __ATOMIC_RELEASE);
    cpu->accesses++;
    return true;
}

static void exit_to_host(struct cpu *cpu, uint64_t *seed, uint64_t gfn, bool shared)
{
    struct mmio_info info;
    uint64_t status;
    unsigned level = rnd(seed, 4) ? EPT_LEVEL_4K : EPT_LEVEL_2M;
    int result;
    if (shared || !rnd(seed, 4)) {
        result =
            mmu_fault(&mmu, GPA((shared ? SHARED : 0) | gfn << PAGE_SHIFT), ACCESS_READ, &info);
    } else {
        gfn = ept_first_frame(GFN(gfn), level).v;
        result = mmu_td_accept(&mmu, GPA(gfn << PAGE_SHIFT), level, &status);
        cpu->accepted += !result && !status;
    }
    check(result >= 0 || result == -EACCES || result == -EAGAIN ||
              (result == -EFAULT && gfn >= HOLE),
          "a fault has failed");
}

static void convert(struct cpu *cpu, uint64_t *seed, uint64_t gfn)
{
    int64_t result;
    bool shared = rnd(seed, 2);
    do {
        result = mmu_convert(&mmu, GPA(gfn << PAGE_SHIFT), 1 + rnd(seed, 4), shared);
    } while (result == -EINPROGRESS);
    check(result > 0 || (result == -EFAULT && gfn >= HOLE), "a conversion was refused");
    cpu->converted += result > 0 ? (uint64_t)result : 0;
}

static void *vcpu(void *argument)
{
    uint64_t number = *(const unsigned *)argument, seed = number * 77 + 1;
    support_cpu = (unsigned)number;
    struct cpu *cpu = &cpus_[support_cpu];
    epoch_online(support_cpu, NULL);
    pthread_barrier_wait(&all_start);
    while (!__atomic_load_n(&stop_all, __ATOMIC_ACQUIRE)) {
        uint64_t gfn = 0;
        bool shared = false, done = true;
        __atomic_store_n(&cpu->kicked, false, __ATOMIC_SEQ_CST);
        tlb_enter(&mmu, support_cpu);
        __atomic_store_n(&cpu->inside, true, __ATOMIC_SEQ_CST);
        for (unsigned i = 0; i < 8 && done; i++) {
            if (__atomic_load_n(&cpu->kicked, __ATOMIC_SEQ_CST))
                break;
            gfn = FIRST + rnd(&seed, rnd(&seed, 2) ? 16 : END - FIRST);
            shared = rnd(&seed, 2);
            done = guest_access(cpu, gfn, shared);
        }
        __atomic_store_n(&cpu->inside, false, __ATOMIC_SEQ_CST);
        tlb_leave(support_cpu);
        if (!done)
            exit_to_host(cpu, &seed, gfn, shared);
        if (!rnd(&seed, 32))
            convert(cpu, &seed, FIRST + rnd(&seed, rnd(&seed, 2) ? 16 : END - FIRST));
    }
    epoch_offline(support_cpu);
    return NULL;
}

static void change(uint64_t *seed)
{
    bool exists = memslot_by_id(mmu.slots, 2);
    if (rnd(seed, 2))
        check(!mmu_zap(&mmu, GPA((uint64_t)FIRST << PAGE_SHIFT), END - FIRST), "zap");
    else if (exists)
        check(!mmu_slot_delete(&mmu, 2), "delete");
    else
        check(!mmu_slot_add(&mmu, 2, GPA((uint64_t)HOLE << PAGE_SHIFT), END - HOLE, 0), "add");
}

static void cpus_share_a_mirror(void **state)
{
    (void)state;
    const struct mmu_config config = {.mmio_caching = true, .ad = false, .huge = true};
    pthread_t threads[VCPUS];
    unsigned numbers[VCPUS];
    uint64_t seed = 4711, changes = support_number("THREADS_CHANGES", support_rounds(400));
    support_cpu = HOST;
    td_create(&config);
    support_cpu = HOST; /* which the reset has forgotten */
    invept_hook = flush;
    kick_hook = kick;
    give_hook = given;
    assert_int_equal(mmu_slot_add(&mmu, 1, GPA(FIRST << PAGE_SHIFT), HOLE - FIRST, 0), 0);
    assert_int_equal(mmu_td_finalise(&mmu), 0);
    epoch_online(HOST, NULL);
    pthread_barrier_init(&all_start, NULL, VCPUS + 1);
    for (unsigned i = 0; i < VCPUS; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, vcpu, &numbers[i]), 0);
    }
    pthread_barrier_wait(&all_start);
    for (uint64_t i = 0; i < changes; i++) {
        change(&seed);
        for (unsigned j = 0; j < 20; j++) {
            epoch_pass(HOST, epoch_now());
            sched_yield();
        }
    }
    __atomic_store_n(&stop_all, true, __ATOMIC_RELEASE);
    epoch_offline(HOST);
    for (unsigned i = 0; i < VCPUS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    give_hook = NULL;
    for (unsigned i = 1; i < VCPUS; i++) {
        cpus_[0].accesses += cpus_[i].accesses;
        cpus_[0].accepted += cpus_[i].accepted;
        cpus_[0].converted += cpus_[i].converted;
    }
    printf("mirror threads: %lu accesses, %lu accepts, %lu pages converted, %lu splits\n",
           cpus_[0].accesses, cpus_[0].accepted, cpus_[0].converted, mmu_stats(&mmu).splits);
    assert_true(cpus_[0].accesses > 100 && cpus_[0].accepted > 20 && cpus_[0].converted > 20);
    check_mirror();
    td_destroy();
    pthread_barrier_destroy(&all_start);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(cpus_share_a_mirror)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
