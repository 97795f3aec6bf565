/* SPDX-License-Identifier: MIT */
/* The buddy allocator against a map of who owns which page, and its BUGs. */
#include "tests/unit/support.h"

#include "lib/buddy.h"

#include <string.h>

#define PAGES  1024u
#define BLOCKS 256u

static struct buddy buddy;
static struct buddy_section sections[5]; /* the arena ends at 5 GiB */
static uint8_t state_bytes[PAGES];
static uint32_t users[PAGES];
static uint64_t base; /* first page frame of the arena piece that is used, a section's */

static int setup(void **state)
{
    (void)state;
    support_reset();
    base = SUPPORT_RAM_BASE >> PAGE_SHIFT;
    for (unsigned i = 0; i < sizeof(state_bytes); i++) /* garbage that looks like free blocks */
        state_bytes[i] = (uint8_t)(0x20 | i % 19);
    memset(sections, 0xcc, sizeof(sections));
    buddy_init(&buddy, sections, state_bytes, users, base + PAGES);
    return 0;
}

static void random_use(void **state)
{
    (void)state;
    static uint8_t owner[PAGES];
    struct {
        hpa_t page;
        unsigned order, user;
    } live[BLOCKS];
    unsigned count = 0;
    uint64_t random = 0x9e3779b97f4a7c15ull, in_use = 0;

    memset(owner, 0, sizeof(owner));
    buddy_add(&buddy, base + 3, base + PAGES - 5); /* odd ends */
    for (unsigned step = 0; step < 200000; step++) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        if (random & 1 && count < BLOCKS) {
            unsigned order = (unsigned)(random >> 8) % 6;
            hpa_t page = buddy_alloc(&buddy, order, step);
            if (page_is_none(page))
                continue;
            uint64_t first = (page.v >> PAGE_SHIFT) - base;
            assert_int_equal((page.v >> PAGE_SHIFT) % (1u << order), 0);
            for (uint64_t i = first; i < first + (1u << order); i++) {
                assert_true(i >= 3 && i < PAGES - 5);
                assert_int_equal(owner[i], 0);
                owner[i] = 1;
            }
            memset(phys_to_virt(page), 0x5a, PAGE_SIZE << order); /* the owner writes all of it */
            live[count].page = page;
            live[count].user = step;
            live[count++].order = order;
            in_use += 1u << order;
        } else if (count) {
            unsigned which = (unsigned)(random >> 16) % count;
            uint64_t first = (live[which].page.v >> PAGE_SHIFT) - base;
            memset(owner + first, 0, 1u << live[which].order);
            assert_int_equal(buddy_order(&buddy, live[which].page.v >> PAGE_SHIFT),
                             live[which].order);
            assert_int_equal(*buddy_user(&buddy, live[which].page.v >> PAGE_SHIFT),
                             live[which].user);
            buddy_free(&buddy, live[which].page, live[which].order);
            in_use -= 1u << live[which].order;
            live[which] = live[--count];
        }
        assert_int_equal(buddy.free_pages, PAGES - 8 - in_use);
    }
    while (count--)
        buddy_free(&buddy, live[count].page, live[count].order);
    assert_int_equal(buddy.free_pages, buddy.total_pages);
    assert_false(page_is_none(buddy_alloc(&buddy, 8, 0))); /* all merged again */
}

static void wrong_frees(void **state)
{
    (void)state;
    buddy_add(&buddy, base, base + PAGES);
    hpa_t page = buddy_alloc(&buddy, 1, 0);
    expect_assert_failure(buddy_free(&buddy, page, 0));
    expect_assert_failure(buddy_free(&buddy, hpa_add(page, PAGE_SIZE), 0));
    expect_assert_failure(buddy_free(&buddy, hpa_add(page, 1), 1));
    expect_assert_failure(buddy_free(&buddy, HPA((base + PAGES) << PAGE_SHIFT), 0));
    buddy_free(&buddy, page, 1);
    expect_assert_failure(buddy_free(&buddy, page, 1));
}

static void exhaustion(void **state)
{
    (void)state;
    buddy_add(&buddy, base, base + 7);
    assert_true(page_is_none(buddy_alloc(&buddy, 3, 0)));
    for (unsigned i = 0; i < 7; i++)
        assert_false(page_is_none(buddy_alloc(&buddy, 0, 0)));
    assert_true(page_is_none(buddy_alloc(&buddy, 0, 0)));
}

#define GIB BUDDY_SECTION_PAGES

static void sections_are_split_when_they_must_be(void **state)
{
    (void)state;
    static uint8_t bytes[2 * GIB];
    static uint32_t words[2 * GIB];
    hpa_t blocks[2];

    memset(bytes, 0x20, sizeof(bytes));
    buddy_init(&buddy, sections, bytes, words, 4 * GIB + 777);
    buddy_add(&buddy, 1 * GIB, 2 * GIB);
    buddy_add(&buddy, 3 * GIB, 4 * GIB); /* of 2 * GIB there is nothing */
    assert_int_equal(buddy.populated, 2);
    assert_int_equal(buddy.free_pages, 2 * GIB);
    for (size_t i = 0; i < sizeof(bytes); i++)
        assert_int_equal(bytes[i], 0x20); /* nothing was looked at */
    buddy.noting = true;

    /* Whole ones are given and taken without a look at their pages. */
    for (unsigned i = 0; i < 2; i++)
        blocks[i] = buddy_alloc(&buddy, 18, 7 + i);
    assert_true(page_is_none(buddy_alloc(&buddy, 0, 0)));
    assert_int_equal(blocks[0].v ^ blocks[1].v, (GIB ^ 3 * GIB) << PAGE_SHIFT);
    uint64_t lower = blocks[0].v < blocks[1].v ? 7 : 8;
    assert_int_equal(buddy_next_noted(&buddy, 0), GIB);
    assert_int_equal(*buddy_user(&buddy, GIB), lower);
    assert_int_equal(buddy_order(&buddy, GIB), 18);
    assert_int_equal(buddy_next_noted(&buddy, GIB + 1), 3 * GIB);
    assert_int_equal(buddy_next_noted(&buddy, 3 * GIB + 1), 4 * GIB + 777);
    expect_assert_failure(buddy_free(&buddy, blocks[0], 17));
    for (unsigned i = 0; i < 2; i++)
        buddy_free(&buddy, blocks[i], 18);
    expect_assert_failure(buddy_free(&buddy, blocks[0], 18));
    assert_int_equal(bytes[0], 0x20);
    assert_int_equal(buddy_next_noted(&buddy, 0), 4 * GIB + 777);

    /* The first small block splits one of them, and only that one. */
    hpa_t small = buddy_alloc(&buddy, 0, 99);
    assert_int_equal(!sections[1].bytes + !sections[3].bytes, 1);
    assert_int_equal(buddy_next_noted(&buddy, 0), small.v >> PAGE_SHIFT);
    buddy_free(&buddy, small, 0);
    for (unsigned i = 0; i < 2; i++) /* it is whole again */
        blocks[i] = buddy_alloc(&buddy, 18, 0);
    assert_false(page_is_none(blocks[0]) || page_is_none(blocks[1]));
    assert_int_equal(buddy.free_pages, 0);
    for (unsigned i = 0; i < 2; i++)
        buddy_free(&buddy, blocks[i], 18);
    assert_int_equal(buddy.free_pages, 2 * GIB);
}

/* The parts of a block that is trimmed are freed one by one, and so is its rest. */
static void parts_of_a_block(void **state)
{
    (void)state;
    buddy_add(&buddy, base, base + PAGES);
    for (uint64_t count = 1; count <= 64; count++) {
        hpa_t block = buddy_alloc(&buddy, 6, 7);
        buddy_trim(&buddy, block, 6, count);
        assert_int_equal(buddy.free_pages, PAGES - count);
        hpa_t others[PAGES];
        unsigned taken = 0;
        while (!page_is_none(others[taken] = buddy_alloc(&buddy, 0, 8)))
            taken++;
        assert_int_equal(taken, PAGES - count);
        while (taken) {
            uint64_t offset = others[--taken].v - block.v;
            assert_true(others[taken].v < block.v || offset >= count << PAGE_SHIFT);
            buddy_free(&buddy, others[taken], 0);
        }
        for (uint64_t at = 0, part; at < count; at += 1ull << part) {
            uint64_t frame = (block.v >> PAGE_SHIFT) + at;
            part = buddy_part(count - at);
            assert_int_equal(buddy_order(&buddy, frame), part);
            assert_int_equal(*buddy_user(&buddy, frame), 7);
            assert_int_equal(frame % (1u << part), 0);
            buddy_free(&buddy, HPA(frame << PAGE_SHIFT), (unsigned)part);
        }
        assert_int_equal(buddy.free_pages, PAGES);
    }
    hpa_t whole = buddy_alloc(&buddy, 10, 0); /* all merged again */
    assert_false(page_is_none(whole));
    expect_assert_failure(buddy_trim(&buddy, whole, 10, 0));
    expect_assert_failure(buddy_trim(&buddy, whole, 10, PAGES + 1));
    expect_assert_failure(buddy_trim(&buddy, whole, 9, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(random_use, setup),
        cmocka_unit_test_setup(wrong_frees, setup),
        cmocka_unit_test_setup(exhaustion, setup),
        cmocka_unit_test_setup(sections_are_split_when_they_must_be, setup),
        cmocka_unit_test_setup(parts_of_a_block, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
