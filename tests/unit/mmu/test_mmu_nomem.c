/* SPDX-License-Identifier: MIT */
/*
 * No memory: every allocation of every operation fails in turn (rule N6).
 *
 * An operation is tried with n allocations granted and all later ones refused, for n = 0, 1, 2 and
 * so on, until it succeeds; and again with only the n-th one refused, after which a retry or a
 * smaller block may succeed. Each try begins with a new VM. A try that fails returns -ENOMEM with a
 * message, leaves consistent tables with the right translations, keeps no page, and succeeds when
 * it is repeated with memory.
 */
#include "tests/unit/mmu/mmu_world.h"

#include <string.h>

#define RAM    0x200000ull /* two pieces of 2 MiB, and a bit */
#define PAGES  1100ull
#define ROOM   0x40000000ull /* no slot */
#define DEVICE 0xfe000000ull
#define LOG    (uint32_t) MEMSLOT_LOG_DIRTY

static struct mmu mmu;
static struct mmu_config config;
static uint64_t io; /* the stolen bit of addresses that can be MMIO, or 0 */

/* ---- Operations ------------------------------------------------------------------------------ */

struct operation {
    void (*prepare)(void); /* prepares the operation, with memory; or NULL */
    int (*run)(void);
    void (*check)(void); /* checks that it has been done */
    uint64_t keeps;      /* pages that a failed try may leave with the slot */
    bool sides;          /* in a VM with sides */
};

static int fault(uint64_t gpa, unsigned access)
{
    struct mmio_info info;
    int outcome = mmu_fault(&mmu, GPA(gpa), access | FAULT_FINAL, &info);
    return outcome < 0 ? outcome : 0;
}

static void reach(uint64_t gpa, unsigned access, int expected)
{
    assert_int_equal(world_touch(&mmu, GPA(gpa), access).outcome, expected);
}

static int add_plain(void)
{
    return mmu_slot_add(&mmu, 1, GPA(ROOM), PAGES, 0);
}

static int add_logging(void)
{
    return mmu_slot_add(&mmu, 1, GPA(ROOM), 3 * 512 * 512, LOG); /* directory and bitmap of pages */
}

/* The two copies of the slots grow. */
static void fill_the_set(void)
{
    uint32_t id = 100;
    while (memslots(&mmu)->used < (PAGE_SIZE - sizeof(struct memslots)) / sizeof(struct memslot)) {
        assert_int_equal(mmu_slot_add(&mmu, id, GPA(0x8000000ull + id * 0x1000), 1, 0), 0);
        id++;
    }
}

static void the_new_slot_works(void)
{
    reach(ROOM, ACCESS_WRITE, FAULT_FIXED);
    reach(ROOM + 0x3ff000, ACCESS_READ, FAULT_FIXED);
    assert_int_equal(mmu_slot_delete(&mmu, 1), 0);
}

static int log_dirty(void)
{
    return mmu_slot_flags(&mmu, 0, LOG);
}

/* Takes tables out of the cache, so that the next fault fills it again. */
static void write_one_piece(void)
{
    reach(RAM, ACCESS_WRITE, FAULT_FIXED);
}

static void write_two_pieces(void)
{
    reach(RAM, ACCESS_WRITE, FAULT_FIXED);
    reach(RAM + 0x200000, ACCESS_WRITE, FAULT_FIXED);
}

/* The log has what is written from now on, in large pages or small ones. */
static void the_log_works(void)
{
    uint64_t words[18];
    assert_int_equal(mmu_dirty_get(&mmu, 0, 0, words, 18), 0);
    reach(RAM + 0x1000, ACCESS_WRITE, FAULT_FIXED);
    reach(RAM + 0x203000, ACCESS_WRITE, FAULT_FIXED);
    assert_int_equal(mmu_dirty_get(&mmu, 0, 0, words, 18), 0);
    assert_int_equal(words[0], 1u << 1);
    assert_int_equal(words[8], 1u << 3);
}

static int move(void)
{
    return mmu_slot_move(&mmu, 0, GPA(ROOM));
}

static void it_has_moved(void)
{
    reach(ROOM, ACCESS_READ, FAULT_FIXED);
    reach(RAM, ACCESS_READ, FAULT_EMULATE);
    assert_int_equal(mmu_slot_move(&mmu, 0, GPA(RAM)), 0);
}

static int fault_ram(void)
{
    return fault(RAM, ACCESS_WRITE);
}

static int fault_small(void)
{
    return fault(RAM + (PAGES - 1) * PAGE_SIZE,
                 ACCESS_WRITE); /* no piece lies wholly in the slot there */
}

static int fault_device(void)
{
    return fault(DEVICE, ACCESS_READ);
}

static int execute_large(void)
{
    return fault(RAM, ACCESS_FETCH);
}

static int track(void)
{
    return mmu_track(&mmu, GPA(RAM + 0x5000));
}

static void it_is_tracked(void)
{
    struct mmio_info info;
    reach(RAM + 0x5000, ACCESS_READ, FAULT_FIXED);
    assert_int_equal(hw_walk(mmu_eptp(&mmu), GFN((RAM + 0x5000) >> 12), 2).result, HW_VIOLATION);
    assert_int_equal(mmu_fault(&mmu, GPA(RAM + 0x5000), ACCESS_WRITE | FAULT_FINAL, &info),
                     FAULT_WRITE_PROTECTED);
    assert_int_equal(mmu_untrack(&mmu, GPA(RAM + 0x5000)), 0);
    reach(RAM + 0x5000, ACCESS_WRITE, FAULT_FIXED);
}

static void write_a_word(void)
{
    uint64_t word = 0x1122334455667788;
    assert_int_equal(guest_write(&mmu, GPA(RAM + 0x1000), &word, 8), 0);
    write_two_pieces();
}

static int remap(void)
{
    return mmu_host_remap(&mmu, GPA(RAM + 0x1000));
}

static void the_word_is_there(void)
{
    uint64_t word = 0;
    assert_int_equal(guest_read(&mmu, GPA(RAM + 0x1000), &word, 8, ACCESS_READ), 0);
    assert_int_equal(word, 0x1122334455667788);
}

static int write_memory(void)
{
    uint64_t word = 0x1122334455667788;
    return guest_write(&mmu, GPA(RAM + 0x1000), &word, 8);
}

static int read_memory(void)
{
    uint64_t word = 1;
    int error = guest_read(&mmu, GPA(RAM + 0x1000), &word, 8, ACCESS_READ);
    assert_int_equal(word, error ? 1 : 0);
    return error;
}

static int exchange(void)
{
    return guest_cmpxchg(&mmu, GPA(RAM + 0x1000), 8, 0, 0x1122334455667788);
}

static void log_and_write(void)
{
    write_two_pieces();
    assert_int_equal(log_dirty(), 0);
    reach(RAM + 0x1000, ACCESS_WRITE, FAULT_FIXED);
}

static int harvest(void)
{
    uint64_t word;
    return mmu_dirty_get(&mmu, 0, 0, &word, 1);
}

static int stop_logging(void)
{
    return mmu_slot_flags(&mmu, 0, 0);
}

static int delete (void)
{
    return mmu_slot_delete(&mmu, 0);
}

static void add_again(void)
{
    assert_int_equal(mmu_slot_add(&mmu, 0, GPA(RAM), PAGES, 0), 0);
}

static int share(void)
{
    return mmu_convert(&mmu, GPA(RAM + 0x8000), 3, true) == 3 ? 0 : -EFAULT;
}

static void it_is_shared(void)
{
    reach(io | (RAM + 0x8000), ACCESS_WRITE, FAULT_FIXED);
    reach(RAM + 0x8000, ACCESS_READ, -EACCES);
    reach(io | RAM, ACCESS_READ, -EACCES);
}

/* ---- Each allocation in turn ----------------------------------------------------------------- */

static void make_world(const struct operation *o)
{
    world_reset(WORLD_CAPS, &config);
    assert_int_equal(mmu_create(&mmu), 0);
    io = o->sides ? BIT(39) : 0;
    if (o->sides)
        assert_int_equal(mmu_steal_bit(&mmu, 39, STOLEN_SHARED), 0);
    assert_int_equal(mmu_slot_add(&mmu, 0, GPA(RAM), PAGES, 0), 0);
    if (o->prepare)
        o->prepare();
}

/* All memory of the VM is freed. */
static void end_world(void)
{
    world_check(&mmu);
    mmu_destroy(&mmu);
    assert_int_equal(support_pages_in_use(), 0);
    assert_int_equal(support_warnings(), 0);
}

/* Exactly what was accessible before is accessible. */
static void the_vm_goes_on(void)
{
    if (memslot_by_id(mmu.slots, 0)) {
        reach(RAM + 0x2000, ACCESS_WRITE, FAULT_FIXED);
        reach(RAM + (PAGES - 1) * PAGE_SIZE, ACCESS_READ, FAULT_FIXED);
        reach(io | (RAM + PAGES * PAGE_SIZE), ACCESS_READ, FAULT_EMULATE);
    }
    reach(io | (DEVICE + 0x1000), ACCESS_WRITE, FAULT_EMULATE);
    world_check(&mmu);
}

/* Pages in use other than tables and the caches of tables. */
static uint64_t pages_in_use(void)
{
    return support_pages_in_use() - world_check(&mmu).tables - mmu.cpu[0].table_cache_used;
}

/* One try. Returns whether an allocation was refused. */
static bool try_without(const struct operation *o, uint64_t n, bool all_later)
{
    make_world(o);
    uint64_t pages = pages_in_use();
    if (all_later)
        support_fail_allocations_after(n);
    else
        support_fail_one_allocation(n);
    int error = o->run();
    bool failed = support_allocations_failed();
    support_fail_allocations_after(UINT64_MAX);
    if (error) {
        assert_int_equal(error, -ENOMEM);
        assert_true(failed);
        assert_non_null(strstr(support_log(), "memory"));
        assert_in_range(pages_in_use() - pages, 0, o->keeps);
        the_vm_goes_on();
        assert_int_equal(o->run(), 0);
    }
    if (o->check)
        o->check();
    the_vm_goes_on();
    end_world();
    return failed;
}

/* The operation makes at least `least` allocations, or this would prove nothing. */
static void each_fails(const struct operation *o, uint64_t least)
{
    uint64_t n = 0, one = 0;
    while (try_without(o, n, true))
        assert_true(++n < 200);
    while (try_without(o, one, false))
        assert_true(++one < 200);
    assert_true(n >= least && one >= least);
    assert_true(least || !n);
}

#define FAILS(name, least, ...)                      \
    static void name(void **state)                   \
    {                                                \
        const struct operation o = {__VA_ARGS__};    \
        config = *(const struct mmu_config *)*state; \
        each_fails(&o, least);                       \
    }

FAILS(slot_add, 1, .run = add_plain, .check = the_new_slot_works)
FAILS(slot_add_with_log, 2, .run = add_logging, .check = the_new_slot_works)
FAILS(slot_add_to_a_full_set, 3, .prepare = fill_the_set, .run = add_plain,
      .check = the_new_slot_works)
FAILS(start_of_logging, 1, .prepare = write_two_pieces, .run = log_dirty, .check = the_log_works)
FAILS(first_touch, TABLE_CACHE + 1, .run = fault_ram, .keeps = 1)
FAILS(first_touch_of_a_small_page, TABLE_CACHE + 2, .run = fault_small, .keeps = 1)
FAILS(first_access_to_a_device, TABLE_CACHE, .run = fault_device)
FAILS(execution_in_a_large_page, 2, .prepare = write_one_piece, .run = execute_large)
FAILS(tracking, 2, .prepare = write_one_piece, .run = track, .check = it_is_tracked, .keeps = 1)
FAILS(remapping, 1, .prepare = write_a_word, .run = remap, .check = the_word_is_there)
FAILS(writing_by_the_accessor, 1, .run = write_memory, .check = the_word_is_there, .keeps = 1)
FAILS(reading_by_the_accessor, 1, .run = read_memory, .keeps = 1)
FAILS(exchanging_by_the_accessor, 1, .run = exchange, .check = the_word_is_there, .keeps = 1)

FAILS(slot_add_with_sides, 3, .run = add_logging, .check = the_new_slot_works, .sides = true)

/* These operations must work on a machine without free memory. */
FAILS(a_move_needs_none, 0, .prepare = write_two_pieces, .run = move, .check = it_has_moved)
FAILS(a_harvest_needs_none, 0, .prepare = log_and_write, .run = harvest)
FAILS(the_end_of_logging_needs_none, 0, .prepare = log_and_write, .run = stop_logging)
FAILS(a_conversion_needs_none, 0, .prepare = write_two_pieces, .run = share, .check = it_is_shared,
      .sides = true)
FAILS(a_deletion_needs_none, 0, .prepare = log_and_write, .run = delete, .check = add_again)

static void creation(void **state)
{
    int error = -ENOMEM;
    config = *(const struct mmu_config *)*state;
    io = 0;
    for (uint64_t n = 0; error; n++) {
        world_reset(WORLD_CAPS, &config);
        support_fail_allocations_after(n);
        error = mmu_create(&mmu);
        support_fail_allocations_after(UINT64_MAX);
        assert_int_equal(error, n < 3 ? -ENOMEM : 0); /* two sets of slots, and the root */
        if (error) {
            assert_int_equal(support_pages_in_use(), 0);
            assert_non_null(strstr(support_log(), "memory"));
            assert_int_equal(mmu_create(&mmu), 0);
        }
        the_vm_goes_on();
        end_world();
    }
}

int main(void)
{
    static struct mmu_config all = {.mmio_caching = true, .ad = true, .huge = true};
    static struct mmu_config small = {.mmio_caching = true};
    static struct mmu_config nx = {.mmio_caching = true, .huge = true, .nx_huge = true};
#define T(name, config)                                  \
    {                                                    \
#name "[" #config "]", name, NULL, NULL, &config \
    }
#define BOTH(name) T(name, all), T(name, small)
    const struct CMUnitTest tests[] = {
        BOTH(creation),
        BOTH(slot_add),
        BOTH(slot_add_with_log),
        BOTH(slot_add_to_a_full_set),
        BOTH(start_of_logging),
        BOTH(first_touch),
        BOTH(first_touch_of_a_small_page),
        BOTH(first_access_to_a_device),
        T(execution_in_a_large_page, nx),
        BOTH(tracking),
        T(tracking, nx),
        BOTH(remapping),
        BOTH(writing_by_the_accessor),
        BOTH(reading_by_the_accessor),
        BOTH(exchanging_by_the_accessor),
        BOTH(a_move_needs_none),
        BOTH(a_harvest_needs_none),
        BOTH(the_end_of_logging_needs_none),
        BOTH(slot_add_with_sides),
        BOTH(a_conversion_needs_none),
        BOTH(a_deletion_needs_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
