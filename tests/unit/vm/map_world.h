/* SPDX-License-Identifier: MIT */
/*
 * A VM whose memory is drawn in a hosted test, the channel that takes the blocks of the picture, and
 * a reader of them that knows nothing of how they were made. Include this in one file of each test
 * program.
 */
#pragma once

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
