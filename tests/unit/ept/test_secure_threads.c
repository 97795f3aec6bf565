/* SPDX-License-Identifier: MIT */
/*
 * The secure side, called by four CPUs at once: two TDs that have no lock in common want the same
 * few frames, and CPUs that want the same entries of one TD. After each round no frame has two
 * owners (rule X12). `make tsan` runs this under ThreadSanitizer.
 */
#include "tests/unit/ept/secure_world.h"

#include <pthread.h>

#define THREADS 4u
#define ROUNDS  30u
#define CALLS   3000u
#define END     (2 * EPT_ENTRIES)

static struct world_td world[2];
static uint64_t succeeded[THREADS];

static uint64_t any(uint64_t *seed, uint64_t below)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return (*seed >> 11) % below;
}

/* Takes the second block out of the map if it can, and enters it again. */
static uint64_t exchange_block(void)
{
    struct secure_frame *frames;
    hpa_t block = page_at(EPT_ENTRIES);
    uint64_t status = secure_block_remove(&world_map, block, &world_host, &world[0], &frames);
    if (status)
        return status;
    memset(frames, 0, EPT_ENTRIES * sizeof(*frames));
    return secure_block_add(&world_map, block, frames);
}

/* Guest frames 0 to 3 are small ones; a large page at 512 comes and goes, and is split. */
static uint64_t any_call(struct secure_td *td, uint64_t *seed)
{
    bool large = !any(seed, 8);
    unsigned level = large ? EPT_LEVEL_2M : EPT_LEVEL_4K;
    gfn_t gfn = GFN(large ? EPT_ENTRIES : any(seed, 4) + (any(seed, 6) ? 0 : EPT_ENTRIES));
    hpa_t page = page_at(any(seed, 6) + (any(seed, 4) ? 0 : EPT_ENTRIES));
    switch (any(seed, 10)) {
    case 0:
    case 1:
        return secure_page_aug(td, gfn, level, large ? page_at(EPT_ENTRIES) : page);
    case 2:
        return secure_page_accept(td, gfn, level);
    case 3:
        return secure_range_block(td, gfn, level);
    case 4:
        return secure_track(td);
    case 5:
    case 6:
        return secure_page_remove(td, gfn, level);
    case 7:
        return secure_page_demote(td, GFN(EPT_ENTRIES), page);
    case 8:
        return any(seed, 8) ? secure_page_reclaim(td, page) : exchange_block();
    default:
        return any(seed, 2) ? secure_table_add(td, GFN(EPT_ENTRIES), 2, page)
                            : secure_table_remove(td, GFN(EPT_ENTRIES), 2);
    }
}

static void *cpu(void *argument)
{
    uint64_t number = (uint64_t)(uintptr_t)argument, seed = number * 0x9e3779b97f4a7c15ull | 1;
    for (unsigned i = 0; i < CALLS; i++)
        succeeded[number % THREADS] += !any_call(&world[any(&seed, 2)].td, &seed);
    return NULL;
}

static void frames_have_one_owner(void **state)
{
    (void)state;
    world_reset();
    for (unsigned t = 0; t < 2; t++) {
        assert_int_equal(world_create(&world[t], 2, END, page_at(2 * EPT_ENTRIES + t)), 0);
        assert_int_equal(secure_table_add(&world[t].td, GFN(0), 2, page_at(3 * EPT_ENTRIES + t)),
                         0);
        assert_int_equal(secure_td_finalise(&world[t].td), 0);
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        pthread_t threads[THREADS];
        for (uint64_t i = 0; i < THREADS; i++)
            assert_false(
                pthread_create(&threads[i], NULL, cpu, (void *)(uintptr_t)(round * THREADS + i)));
        for (unsigned i = 0; i < THREADS; i++)
            pthread_join(threads[i], NULL);
        check_world(world, 2);
    }
    for (unsigned i = 0; i < THREADS; i++)
        assert_true(succeeded[i] > ROUNDS * CALLS / 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(frames_have_one_owner)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
