/* SPDX-License-Identifier: MIT */
/*
 * The pictures of a VM's memory (vm/map_dump.c, mmu/picture.c): every entry of every table of the
 * real MMU is in the picture and nothing else, classes and marks are right, and nothing depends on
 * when the channel takes a block. With MAP_DUMP=FILE, the pictures of the story are written there.
 */
#include "tests/unit/mmu/mmu_world.h"

#include "arch/x86/export.h"
#include "vm/map_dump.h"
#include "vm/vm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RAM    0x200000ull
#define PAGES  1024ull
#define DEVICE 0xfee00000ull
#define HOLE   0xc0000000ull

static struct vm vm;
static const struct mmu_config usual = {.mmio_caching = true, .ad = true, .huge = true};
static const struct mmu_config small = {.mmio_caching = true, .ad = true};
static const struct bus_ops device_ops = {.name = "test device"};

/* vm/counters.c uses it, for reports that nobody here asks for. */
void transcript_list(struct transcript *transcript, const char *format, ...)
{
    (void)transcript, (void)format;
    fail();
}

const char *vm_ending_name(enum vm_ending ending)
{
    return ending == VM_ENDED_EXIT ? "exit" : "other";
}

/* ---- The channel ----------------------------------------------------------------------------- */

#define BLOCKS 4096u
static struct {
    uint8_t bytes[MAP_BLOCK_MAX];
    size_t size;
} blocks[BLOCKS];
static unsigned taken, refuse_every, calls;

static bool take(const void *block, size_t size)
{
    assert_in_range(size, 4, MAP_BLOCK_MAX);
    assert_true(taken < BLOCKS);
    if (refuse_every && !(++calls % refuse_every))
        return false;
    memcpy(blocks[taken].bytes, block, size);
    blocks[taken++].size = size;
    return true;
}

static void draw_with(const char *label, enum map_moment moment)
{
    struct map_dump dump;
    enum map_progress progress;
    taken = 0;
    map_begin(&dump, moment, 4711, label);
    do
        progress = map_piece(&dump, &vm, take);
    while (progress != MAP_OVER);
}

static void draw(void)
{
    draw_with("now", MAP_ASKED);
}

/* ---- Reading a picture ----------------------------------------------------------------------- */

struct reader {
    const uint8_t *at, *end;
};

static uint64_t number(struct reader *r)
{
    uint64_t value = 0;
    for (unsigned shift = 0;; shift += 7) {
        assert_true(r->at < r->end && shift < 70);
        value |= (uint64_t)(*r->at & 0x7f) << shift;
        if (!(*r->at++ & 0x80))
            return value;
    }
}

static const char *text(struct reader *r)
{
    static char texts[8][256];
    static unsigned turn;
    char *to = texts[turn++ % 8];
    size_t size = number(r);
    assert_true(size < 256 && size <= (size_t)(r->end - r->at));
    memcpy(to, r->at, size);
    to[size] = 0;
    r->at += size;
    return to;
}

/* Opens block `i`, and checks the numbers with which it begins. */
static struct reader open_block(unsigned i, uint64_t *kind)
{
    struct reader r = {blocks[i].bytes, blocks[i].bytes + blocks[i].size};
    static uint64_t picture;
    *kind = number(&r);
    uint64_t of = number(&r);
    if (!i)
        picture = of;
    assert_int_equal(of, picture);
    assert_int_equal(number(&r), i);
    return r;
}

struct entry {
    uint64_t alias, word;
    unsigned root, level, class, marks;
};
static struct entry entries[1 << 16];
static unsigned entry_count;

static void read_run(struct reader *r)
{
    struct entry e = {.root = (unsigned)number(r)};
    e.level = (unsigned)number(r);
    e.class = (unsigned)number(r);
    e.marks = (unsigned)number(r);
    uint64_t gfn = number(r), count = number(r);
    e.word = number(r);
    assert_in_range(count, 1, 512);
    for (uint64_t i = 0; i < count; i++) {
        assert_true(entry_count < ARRAY_SIZE(entries));
        e.alias = gfn | vm.mmu.roots[e.root].bits;
        entries[entry_count++] = e;
        gfn += ept_frames(e.level);
        e.word += ept_frames(e.level) << PAGE_SHIFT;
    }
}

/* Reads the entries of the picture that was drawn last. */
static void read_entries(void)
{
    uint64_t kind;
    entry_count = 0;
    for (unsigned i = 0; i < taken; i++) {
        struct reader r = open_block(i, &kind);
        while (kind == MAP_ENTRIES && r.at < r.end)
            read_run(&r);
    }
    assert_int_equal(kind, MAP_END);
}

/* The entry in the picture, which is there once; NULL: it is empty. */
static const struct entry *entry_of(uint64_t alias, unsigned level)
{
    const struct entry *found = NULL;
    for (unsigned i = 0; i < entry_count; i++) {
        if (entries[i].alias == alias && entries[i].level == level) {
            assert_null(found);
            found = &entries[i];
        }
    }
    return found;
}

/* Draws, and returns the lowest entry for this address, as mmu_spte() finds it. */
static struct entry lowest(uint64_t gpa)
{
    static const struct entry empty = {.class = PICTURE_EMPTY};
    unsigned level;
    draw();
    read_entries();
    (void)mmu_spte(&vm.mmu, GPA(gpa), &level);
    const struct entry *e = entry_of(align_down(gpa >> PAGE_SHIFT, ept_frames(level)), level);
    return e ? *e : empty;
}

static unsigned class_at(uint64_t gpa)
{
    return lowest(gpa).class;
}

/* ---- The oracle ------------------------------------------------------------------------------ */

static unsigned compared;

/* Looks up each entry of the tables that is not empty. */
static void compare_table(const uint64_t *table, unsigned level, uint64_t alias)
{
    for (unsigned i = 0; i < 512; i++, alias += ept_frames(level)) {
        if (table[i] == SPTE_NONPRESENT)
            continue;
        const struct entry *e = entry_of(alias, level);
        assert_non_null(e);
        assert_int_equal(e->word, table[i]);
        compared++;
        if (spte_is_nonleaf(table[i], level))
            compare_table(phys_to_virt(spte_page(table[i])), level - 1, alias);
    }
}

static void compare(void)
{
    draw();
    read_entries();
    compared = 0;
    compare_table(vm.mmu.composite, vm.mmu.root_level, 0);
    assert_int_equal(compared, entry_count);
}

/* ---- The VM ---------------------------------------------------------------------------------- */

static void start(const struct mmu_config *config)
{
    world_reset(WORLD_CAPS, config);
    memset(&vm, 0, sizeof(vm));
    strcpy(vm.name, "story");
    vm.number = 3;
    bus_init(&vm.mmio_bus, "mmio", ~0ull);
    assert_int_equal(bus_add(&vm.mmio_bus, DEVICE, 0x2000, &device_ops, NULL), 0);
    assert_int_equal(mmu_create(&vm.mmu), 0);
}

static void add_ram(uint32_t flags)
{
    assert_int_equal(mmu_slot_add(&vm.mmu, 1, GPA(RAM), PAGES, flags), 0);
}

static void touch(uint64_t gpa, unsigned access)
{
    assert_true(world_touch(&vm.mmu, GPA(gpa), access).outcome >= 0);
}

static void stop(void)
{
    mmu_destroy(&vm.mmu);
    assert_int_equal(support_pages_in_use(), 0);
}

/* ---- Tests ----------------------------------------------------------------------------------- */

static void every_entry_is_there(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 2; round++) {
        start(round ? &small : &usual);
        compare();
        assert_int_equal(entry_count, 0);
        add_ram(0);
        for (uint64_t page = 0; page < PAGES; page += 1 + page % 7)
            touch(RAM + page * PAGE_SIZE, 1 + page % 2);
        for (uint64_t page = 0; page < 40; page++)
            touch(DEVICE + page * PAGE_SIZE, 1);
        touch(0xfffffff000ull, 1); /* the last frame */
        compare();
        assert_true(entry_count > (round ? 400 : 45));
        stop();
    }
}

static void roots_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        unsigned shared, execute_only;
    } shapes[] = {{39, 0}, {39, 38}, {37, 38}, {0, 39}};
    for (unsigned i = 0; i < ARRAY_SIZE(shapes); i++) {
        unsigned shared = shapes[i].shared, execute_only = shapes[i].execute_only;
        start(&small);
        if (shared)
            assert_int_equal(mmu_steal_bit(&vm.mmu, shared, STOLEN_SHARED), 0);
        if (execute_only)
            assert_int_equal(mmu_steal_bit(&vm.mmu, execute_only, STOLEN_EXECUTE_ONLY), 0);
        add_ram(0);
        touch(RAM, 1);
        touch(RAM | (execute_only ? BIT(execute_only) : 0), 4);
        if (shared)
            assert_int_equal(mmu_convert(&vm.mmu, GPA(RAM + PAGE_SIZE), 1, true), 1);
        touch((RAM + PAGE_SIZE) | (shared ? BIT(shared) : 0), 2);
        draw();
        read_entries();
        const struct entry *e = entry_of(RAM >> PAGE_SHIFT, 1);
        assert_int_equal(e->class, PICTURE_RAM);
        assert_int_equal(e->root, 0);
        assert_int_equal(e->marks, 0);
        if (execute_only) {
            e = entry_of((RAM | BIT(execute_only)) >> PAGE_SHIFT, 1);
            assert_int_equal(e->class, PICTURE_EXECUTE_ONLY);
            assert_int_equal(vm.mmu.roots[e->root].bits, BIT(execute_only - PAGE_SHIFT));
        }
        if (shared) {
            e = entry_of(((RAM + PAGE_SIZE) | BIT(shared)) >> PAGE_SHIFT, 1);
            assert_int_equal(e->class, PICTURE_NO_EXECUTE);
            assert_int_equal(e->marks, PICTURE_MARK(SHARED));
        }
        stop();
    }
}

/* The story of the product: a slot is added over MMIO. */
static void mmio_becomes_ram(void **state)
{
    (void)state;
    start(&usual);
    add_ram(0);
    assert_int_equal(class_at(DEVICE), PICTURE_EMPTY);
    touch(DEVICE, 2);
    assert_int_equal(class_at(DEVICE), PICTURE_MMIO);
    assert_int_equal(mmu_slot_add(&vm.mmu, 2, GPA(HOLE), 1, 0), 0);
    assert_int_equal(class_at(DEVICE), PICTURE_MMIO_STALE);
    touch(DEVICE, 2);
    assert_int_equal(class_at(DEVICE), PICTURE_MMIO);
    assert_int_equal(mmu_slot_add(&vm.mmu, 3, GPA(DEVICE), 1, 0), 0);
    assert_int_equal(class_at(DEVICE), PICTURE_MMIO_STALE);
    touch(DEVICE, 2);
    assert_int_equal(class_at(DEVICE), PICTURE_RAM);
    assert_int_equal(mmu_zap(&vm.mmu, GPA(DEVICE), 1), 0);
    assert_int_equal(class_at(DEVICE), PICTURE_EMPTY);
    stop();
}

static void slots_decide_what_an_entry_means(void **state)
{
    (void)state;
    start(&usual);
    add_ram(0);
    touch(RAM, 2);
    assert_int_equal(class_at(RAM), PICTURE_RAM);
    assert_int_equal(mmu_track(&vm.mmu, GPA(RAM)), 0);
    touch(RAM, 1);
    touch(RAM + PAGE_SIZE, 2);
    assert_int_equal(class_at(RAM), PICTURE_TRACKED);
    assert_int_equal(lowest(RAM).marks, PICTURE_MARK(TRACKED));
    assert_int_equal(class_at(RAM + PAGE_SIZE), PICTURE_RAM);
    assert_int_equal(mmu_untrack(&vm.mmu, GPA(RAM)), 0);
    assert_int_equal(class_at(RAM), PICTURE_NO_WRITE);

    assert_int_equal(mmu_slot_flags(&vm.mmu, 1, MEMSLOT_READONLY), 0);
    touch(RAM, 1);
    assert_int_equal(class_at(RAM), PICTURE_READ_ONLY);
    assert_int_equal(mmu_slot_flags(&vm.mmu, 1, MEMSLOT_LOG_DIRTY), 0);
    touch(RAM, 1);
    assert_int_equal(lowest(RAM).marks, PICTURE_MARK(LOGGED));
    touch(RAM, 2);
    assert_int_equal(lowest(RAM).marks, PICTURE_MARK(LOGGED) | PICTURE_MARK(DIRTY));
    stop();
}

static void aging_takes_rights_away(void **state)
{
    (void)state;
    const struct mmu_config without_ad = {.mmio_caching = true};
    start(&without_ad);
    add_ram(0);
    touch(RAM, 2);
    assert_int_equal(mmu_age(&vm.mmu, GPA(RAM), 1), 1);
    assert_int_equal(class_at(RAM), PICTURE_AGED);
    uint64_t *sptep = NULL;
    const uint64_t *found;
    unsigned level;
    uint64_t word = tdp_walk_to(&vm.mmu, gpa_to_alias(GPA(RAM)), &level, &found);
    memcpy(&sptep, &found, sizeof(sptep));
    *sptep = SPTE_FROZEN;
    assert_int_equal(class_at(RAM), PICTURE_FROZEN);
    *sptep = 0x123000;
    assert_int_equal(class_at(RAM), PICTURE_ALIEN);
    *sptep = word;
    stop();
}

/* Blocks that are refused come again, so the picture is the same. */
static void a_full_channel_loses_nothing(void **state)
{
    (void)state;
    static struct entry before[ARRAY_SIZE(entries)];
    start(&small);
    add_ram(0);
    for (uint64_t page = 0; page < PAGES; page += 1 + page % 3)
        touch(RAM + page * PAGE_SIZE, 1);
    draw();
    read_entries();
    unsigned count = entry_count, all = taken;
    memcpy(before, entries, sizeof(before));
    for (refuse_every = 2; refuse_every < 5; refuse_every++) {
        draw();
        read_entries();
        assert_int_equal(taken, all);
        assert_int_equal(entry_count, count);
        assert_memory_equal(before, entries, count * sizeof(*entries));
    }
    refuse_every = 0;
    stop();
}

/* While another CPU changes the bus, its regions are not read. */
static void a_busy_bus_is_tried_again(void **state)
{
    (void)state;
    struct map_dump dump;
    start(&usual);
    spin_lock(&vm.mmio_bus.lock);
    taken = 0;
    map_begin(&dump, MAP_ASKED, 0, "");
    enum map_progress progress = MAP_MORE;
    for (unsigned i = 0; i < 1000; i++)
        progress = map_piece(&dump, &vm, take);
    assert_int_equal(progress, MAP_REFUSED);
    assert_int_equal(dump.stage, MAP_REGIONS);
    spin_unlock(&vm.mmio_bus.lock);
    assert_int_equal(map_piece(&dump, &vm, take), MAP_MORE);
    assert_true(spin_trylock(&vm.mmio_bus.lock));
    spin_unlock(&vm.mmio_bus.lock);
    stop();
}

static void it_says_what_it_shows(void **state)
{
    (void)state;
    unsigned seen = 0;
    uint64_t kind;
    start(&usual);
    add_ram(0);
    assert_int_equal(mmu_slot_flags(&vm.mmu, 1, MEMSLOT_READONLY), 0);
    draw_with("slot\nadded \xff, and more than 32 letters", MAP_ENDED);
    for (unsigned i = 0; i < taken; i++) {
        struct reader r = open_block(i, &kind);
        seen |= 1u << kind;
        if (kind == MAP_BEGIN) {
            assert_int_equal(number(&r), MAP_VERSION);
            assert_int_equal(number(&r), 3);
            assert_string_equal(text(&r), "story");
            assert_string_equal(text(&r), "slot?added ?, and more than 32 l");
            assert_int_equal(number(&r), MAP_ENDED);
            assert_int_equal(number(&r), 4711);
            assert_int_equal(number(&r), vm.mmu.slots->generation);
            assert_int_equal(number(&r), 4);
            assert_int_equal(number(&r), 1ull << (WORLD_MAXPHYADDR - PAGE_SHIFT));
            assert_ptr_equal(r.at, r.end);
        } else if (kind == MAP_SLOTS) {
            assert_int_equal(number(&r), 1);
            assert_int_equal(number(&r), RAM >> PAGE_SHIFT);
            assert_int_equal(number(&r), PAGES);
            assert_string_equal(text(&r), "read-only ");
            assert_ptr_equal(r.at, r.end);
        } else if (kind == MAP_REGIONS) {
            assert_int_equal(number(&r), DEVICE);
            assert_int_equal(number(&r), DEVICE + 0x1fff);
            assert_string_equal(text(&r), "test device");
            assert_ptr_equal(r.at, r.end);
        } else if (kind == MAP_ROOTS) {
            assert_int_equal(number(&r), 0);
            assert_int_equal(number(&r), 0);
            assert_string_equal(text(&r), "ordinary");
            assert_int_equal(number(&r), 1);
            assert_ptr_equal(r.at, r.end);
        } else if (kind == MAP_END) {
            assert_int_equal(number(&r), vm.mmu.slots->generation);
        }
    }
    /* There are no entries. */
    assert_int_equal(seen, (2u << MAP_END) - 2 - (1u << MAP_ENTRIES));
    stop();
}

/* No piece visits more than a bounded number of entries, though most of them are empty. */
static void pieces_are_short(void **state)
{
    (void)state;
    struct map_dump dump;
    start(&small);
    add_ram(0);
    touch(RAM, 1);
    map_begin(&dump, MAP_ASKED, 0, "");
    taken = 0;
    unsigned pieces = 0;
    while (map_piece(&dump, &vm, take) != MAP_OVER)
        pieces += dump.stage == MAP_ENTRIES;
    assert_int_equal(pieces,
                     (2 + 3 * 512 + 95) / 96); /* two entries at the top, and three tables */
    stop();
}

/* ---- The story, for the tool ----------------------------------------------------------------- */

static FILE *out;

static size_t device_take(const uint8_t *bytes, size_t size)
{
    return fwrite(bytes, 1, size, out);
}

static bool export(const void *block, size_t size)
{
    return export_bytes(EXPORT_MAP, block, size);
}

static void moment(const char *label, enum map_moment why, uint64_t time)
{
    struct map_dump dump;
    map_begin(&dump, why, time, label);
    enum map_progress progress;
    do
        progress = map_piece(&dump, &vm, export);
    while (progress != MAP_OVER);
}

static void tell_the_story(void **state)
{
    (void)state;
    static const struct export_device device = {.take = device_take};
    const char *path = getenv("MAP_DUMP");
    out = fopen(path ? path : "/dev/null", "wb");
    assert_non_null(out);
    export_open(&device);
    start(&small);
    assert_int_equal(mmu_steal_bit(&vm.mmu, 39, STOLEN_SHARED), 0);
    assert_int_equal(mmu_slot_add(&vm.mmu, 1, GPA(RAM), PAGES, 0), 0);
    for (uint64_t page = 0; page < 300; page++)
        touch(RAM + page * PAGE_SIZE, 1 + page % 2);
    for (uint64_t page = 600; page < 700; page += 2)
        touch(RAM + page * PAGE_SIZE, 4);
    moment("started", MAP_ASKED, 1000);
    touch(DEVICE | BIT(39), 2);
    touch((DEVICE + PAGE_SIZE) | BIT(39), 2);
    moment("device touched", MAP_ASKED, 2000);
    assert_int_equal(mmu_slot_add(&vm.mmu, 2, GPA(DEVICE), 1, MEMSLOT_SHARED), 0);
    moment("slot added", MAP_ASKED, 3000);
    touch(DEVICE | BIT(39), 2);
    moment("<it> is RAM & \"new\"", MAP_ASKED, 4000);
    moment("", MAP_ENDED, 5000);
    assert_int_equal(fclose(out), 0);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_entry_is_there),
        cmocka_unit_test(roots_are_told_apart),
        cmocka_unit_test(mmio_becomes_ram),
        cmocka_unit_test(slots_decide_what_an_entry_means),
        cmocka_unit_test(aging_takes_rights_away),
        cmocka_unit_test(a_full_channel_loses_nothing),
        cmocka_unit_test(a_busy_bus_is_tried_again),
        cmocka_unit_test(it_says_what_it_shows),
        cmocka_unit_test(pieces_are_short),
        cmocka_unit_test(tell_the_story),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
