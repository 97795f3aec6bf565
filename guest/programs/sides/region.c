/* SPDX-License-Identifier: MIT */
/* Implements sides/region.h. */
#include "guest/programs/sides/region.h"

#define PRIVATE  (TEST_VA + BIT(35)) /* the mapping of its private addresses */
#define SHARED   (TEST_VA + BIT(36)) /* the mapping of its shared addresses */
#define RAM_SLOT 0x2001u             /* from 1 MiB up */
#define RAM_BASE 0x100000ull
#define ROUNDS   200u
#define WORDS    (REGION_PAGES / 64)

void region_map(void)
{
    if (!shared_bit())
        return;
    for (uint64_t at = 0; at < REGION_PAGES * RT_PAGE; at += RT_PAGE) {
        map_page(rt_pml4, PRIVATE + at, REGION + at, PTE_P | PTE_W);
        map_page(rt_pml4, SHARED + at, (REGION + at) | shared_bit(), PTE_P | PTE_W);
    }
}

volatile uint64_t *region_word(bool shared, uint64_t page)
{
    return (volatile uint64_t *)(uintptr_t)((shared ? SHARED : PRIVATE) + page * RT_PAGE);
}

uint64_t region_convert(bool shared, uint64_t page, uint64_t pages)
{
    return map_gpa((REGION + page * RT_PAGE) | (shared ? shared_bit() : 0), pages * RT_PAGE);
}

/* ---- The storm ------------------------------------------------------------------------------- */

static struct {
    uint32_t random;
    bool side[REGION_PAGES];
    uint32_t holds[REGION_PAGES];
    /* pages written since the log was read, by the test or because a conversion cleared them */
    uint64_t written[WORDS];
    uint64_t wrong, converted;
} storm;

static uint32_t roll(void)
{
    return storm.random = storm.random * 1664525 + 1013904223;
}

static void check(uint64_t page)
{
    storm.wrong += *region_word(storm.side[page], page) != storm.holds[page];
}

static void put(uint64_t page, uint32_t value)
{
    *region_word(storm.side[page], page) = storm.holds[page] = value;
    storm.written[page / 64] |= BIT(page % 64);
}

static void convert_some(uint64_t first, uint64_t count, bool shared)
{
    storm.wrong += region_convert(shared, first, count) != 0;
    for (uint64_t i = first; i < first + count; i++) {
        if (storm.side[i] == shared)
            continue;
        storm.side[i] = shared;
        storm.holds[i] = 0;
        storm.written[i / 64] |= BIT(i % 64);
        storm.converted++;
    }
}

static void one_round(unsigned round)
{
    uint32_t random = roll();
    uint64_t count = random >> 20 & 7 ? (random >> 23 & 15) + 1 : 512;
    uint64_t first = (random >> 8) % (REGION_PAGES - count + 1);
    convert_some(first, count, random >> 31);
    for (uint64_t i = first; i < first + count; i += 1 + count / 8) {
        check(i);
        put(i, round << 16 | (uint32_t)i);
    }
    check((random >> 3) % REGION_PAGES);
}

static void run_storm(void (*between)(void))
{
    storm.random = 12345;
    storm.wrong = storm.converted = 0;
    for (unsigned i = 0; i < REGION_PAGES; i++)
        put(i, i + 1);
    for (unsigned round = 1; round <= ROUNDS; round++) {
        one_round(round);
        if (between && !(round % 8))
            between();
    }
    for (unsigned i = 0; i < REGION_PAGES; i++)
        check(i);
    EXPECT_EQ(storm.wrong, 0);
    convert_some(0, REGION_PAGES, false);
    note("pages_converted", storm.converted);
}

void conversion_storm(void)
{
    run_storm(NULL);
}

/* Expects that the log contains exactly the pages written since the last call. */
static void compare_log(void)
{
    for (unsigned i = 0; i < WORDS; i++) {
        uint64_t page = (REGION - RAM_BASE) / RT_PAGE + 64 * i;
        storm.wrong += hc_dirty_get(RAM_SLOT, page) != storm.written[i];
        storm.written[i] = 0;
    }
}

void conversion_storm_logged(void)
{
    EXPECT_EQ(hc_slot_flags(RAM_SLOT, SLOT_LOG_DIRTY), 0);
    memset(storm.written, 0, sizeof(storm.written));
    run_storm(compare_log);
    compare_log();
    EXPECT_EQ(storm.wrong, 0);
    EXPECT_EQ(hc_slot_flags(RAM_SLOT, 0), 0);
    touch_image(); /* the image lies in the same slot */
}
