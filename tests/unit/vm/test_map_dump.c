/* SPDX-License-Identifier: MIT */
/*
 * The pictures of a VM's memory (vm/map_dump.c, mmu/picture.c): every entry of every table of the
 * real MMU is in the picture and nothing else, classes and marks are right, and nothing depends on
 * when the channel takes a block. With MAP_DUMP=FILE, the pictures of the story are written there.
 */
#include "map_world.h"

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

/* A write of the hypervisor gets into the log without a D bit: then the entries of the page and of
 * its neighbours differ in nothing but the page that they map. */
static void marks_are_of_one_page(void **state)
{
    (void)state;
    const uint64_t byte = 1;
    start(&small);
    add_ram(0);
    assert_int_equal(mmu_slot_flags(&vm.mmu, 1, MEMSLOT_LOG_DIRTY), 0);
    for (unsigned page = 0; page < 8; page++)
        touch(RAM + page * PAGE_SIZE, 1);
    assert_int_equal(guest_write(&vm.mmu, GPA(RAM + 3 * PAGE_SIZE), &byte, 1), 0);
    for (unsigned page = 0; page < 8; page++) {
        uint8_t dirty = page == 3 ? PICTURE_MARK(DIRTY) : 0;
        assert_int_equal(lowest(RAM + page * PAGE_SIZE).marks, PICTURE_MARK(LOGGED) | dirty);
    }
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

static size_t exported;

static bool refuse_all(const void *block, size_t size)
{
    (void)block, (void)size;
    return false;
}

static void a_dead_channel_ends_the_picture(void **state)
{
    (void)state;
    struct map_dump dump;
    start(&usual);
    map_begin(&dump, MAP_ASKED, 0, "");
    assert_int_equal(map_piece(&dump, &vm, take), MAP_MORE);
    for (unsigned i = 1; i < MAP_PATIENCE; i++)
        assert_int_equal(map_piece(&dump, &vm, refuse_all), MAP_REFUSED);
    assert_int_equal(map_piece(&dump, &vm, refuse_all), MAP_OVER);
    stop();
}

static size_t count_bytes(const uint8_t *bytes, size_t size)
{
    (void)bytes;
    exported += size;
    return size;
}

/* A VM that has run is drawn once, and its end is not delayed after that. */
static void the_end_is_drawn_once(void **state)
{
    (void)state;
    static const struct export_device device = {.take = count_bytes};
    start(&usual);
    export_open(&device);
    vm.ending = VM_ENDED_EXIT;
    assert_true(map_at_end(&vm, 0)); /* not wanted */
    map_choose(true);
    vm.ending = VM_RUNNING;
    assert_true(map_at_end(&vm, 0)); /* it has never run */
    assert_int_equal(exported, 0);
    vm.ending = VM_ENDED_EXIT;
    unsigned pieces = 1;
    while (!map_at_end(&vm, 0))
        pieces++;
    assert_true(pieces > MAP_END && exported > 1000);
    size_t all = exported;
    assert_true(map_at_end(&vm, 0));
    assert_int_equal(exported, all);
    map_choose(false);
    stop();
}

/* The private root of a TD has a mirror, which is drawn only if the TD may be inspected. Here the
 * mirror is another table with a page that is BLOCKED. */
static void a_mirror_is_hidden(void **state)
{
    (void)state;
    start(&small);
    assert_int_equal(mmu_steal_bit(&vm.mmu, 39, STOLEN_SHARED), 0);
    add_ram(MEMSLOT_SHARED);
    touch(RAM | BIT(39), 1);
    hpa_t page = page_alloc(0);
    uint64_t *table = phys_to_virt(page);
    for (unsigned i = 0; i < EPT_ENTRIES; i++)
        table[i] = SPTE_NONPRESENT;
    table[0] = SPTE_FROZEN;
    vm.mmu.mirror.table = table;
    vm.mmu.roots[0].role |= ROLE_MIRROR;
    for (unsigned debug = 0; debug < 2; debug++) {
        vm.words.tdx = debug ? TDX_DEBUG : TDX_PROTECTED;
        draw();
        read_entries();
        unsigned private = 0;
        for (unsigned i = 0; i < entry_count; i++)
        private += entries[i].root == 0;
        assert_int_equal(private, debug);
        assert_true(entry_count > private);
    }
    assert_int_equal(entry_of(0, 4)->class, PICTURE_FROZEN);
    vm.mmu.mirror.table = NULL;
    vm.mmu.roots[0].role &= ~(uint32_t)ROLE_MIRROR;
    page_free(page, 0);
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
        cmocka_unit_test(marks_are_of_one_page),
        cmocka_unit_test(aging_takes_rights_away),
        cmocka_unit_test(a_full_channel_loses_nothing),
        cmocka_unit_test(a_dead_channel_ends_the_picture),
        cmocka_unit_test(the_end_is_drawn_once),
        cmocka_unit_test(a_mirror_is_hidden),
        cmocka_unit_test(a_busy_bus_is_tried_again),
        cmocka_unit_test(it_says_what_it_shows),
        cmocka_unit_test(pieces_are_short),
        cmocka_unit_test(tell_the_story),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
