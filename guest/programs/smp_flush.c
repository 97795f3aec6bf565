/* SPDX-License-Identifier: MIT */
/*
 * One CPU takes pages or rights away from memory that the others are using (rules T1, T7, S4, N2).
 * The peers cause no exits themselves, so a flush that does not reach them becomes visible: after
 * the call no peer may read the old contents, and none may write where it must not. The argument is
 * the number of rounds.
 */
#include "guest/programs/rt/peers.h"

#define SLOT      8
#define OTHER     9
#define PLACE     0xc0000000u
#define ELSEWHERE 0xc8000000u
#define CANARY    0x5ca1ab1e0ddba11ull

static uint64_t rounds;

/* The 8 bytes of a page that belong to a peer. */
static uint64_t word_of(const struct peer *self, uint64_t page)
{
    return page + 8 * self->number;
}

/* ---- Loads ----------------------------------------------------------------------------------- */

static void load_no_canary(struct peer *self)
{
    self->wrong += read64(PLACE) == CANARY;
}

static uint64_t host_page(uint64_t gpa)
{
    return hc_spte(gpa) & 0xffffffffff000;
}

#define REUSED 8u /* pages, among which is the page that was freed last */

/* The page is unmapped. Soon it belongs to another slot, which holds the canary. */
static void deleted(void)
{
    unsigned same = 0;
    peers_start(load_no_canary);
    for (uint64_t i = 1; i <= rounds; i++) {
        EXPECT_EQ(hc_slot_add(SLOT, PLACE, 1, 0), 0);
        write64(PLACE, i);
        peers_turn();
        uint64_t page = host_page(PLACE);
        EXPECT_EQ(hc_slot_delete(SLOT), 0);
        EXPECT_EQ(hc_slot_add(OTHER, ELSEWHERE, REUSED, 0), 0);
        for (uint64_t gpa = ELSEWHERE; gpa < ELSEWHERE + REUSED * RT_PAGE; gpa += RT_PAGE) {
            write64(gpa, CANARY);
            same += host_page(gpa) == page;
        }
        peers_turn();
        EXPECT_EQ(hc_slot_delete(OTHER), 0);
    }
    peers_stop();
    note("same", same);
}

/* The page is moved: the canary is written at its new address, and nothing is left at the old
 * one. */
static void moved(void)
{
    EXPECT_EQ(hc_slot_add(SLOT, PLACE, 1, 0), 0);
    peers_start(load_no_canary);
    for (uint64_t i = 1; i <= rounds; i++) {
        write64(PLACE, i);
        peers_turn();
        EXPECT_EQ(hc_slot_move(SLOT, ELSEWHERE), 0);
        EXPECT_EQ(read64(ELSEWHERE), i);
        write64(ELSEWHERE, CANARY);
        peers_turn();
        write64(ELSEWHERE, 0);
        EXPECT_EQ(hc_slot_move(SLOT, PLACE), 0);
    }
    peers_stop();
    EXPECT_EQ(hc_slot_delete(SLOT), 0);
}

static volatile uint64_t least;

static void load_rising(struct peer *self)
{
    uint64_t at_least = least;
    self->wrong += read64(PLACE) < at_least;
}

/* The page is remapped: later stores go to another host page. */
static void remapped(void)
{
    EXPECT_EQ(hc_slot_add(SLOT, PLACE, 1, 0), 0);
    least = 0;
    peers_start(load_rising);
    for (uint64_t i = 1; i <= rounds; i++) {
        write64(PLACE, 2 * i);
        peers_turn();
        uint64_t page = host_page(PLACE);
        EXPECT_EQ(hc_page(HC_HOST_REMAP, PLACE), 0);
        write64(PLACE, 2 * i + 1);
        least = 2 * i + 1;
        EXPECT(host_page(PLACE) != page);
        peers_turn();
    }
    peers_stop();
    EXPECT_EQ(hc_slot_delete(SLOT), 0);
}

/* ---- Stores ---------------------------------------------------------------------------------- */

static void store_rising(struct peer *self)
{
    write64(word_of(self, PLACE), self->turns + 1);
}

static uint64_t sum_of_words(void)
{
    uint64_t sum = 0;
    for (unsigned i = 1; i <= peers_count(); i++)
        sum += read64(PLACE + 8 * i);
    return sum;
}

/* The page is write-protected: no store reaches it while the slot is read-only. */
static void read_only(void)
{
    uint64_t changed = 0, kept = 0;
    EXPECT_EQ(hc_slot_add(SLOT, PLACE, 1, 0), 0);
    peers_start(store_rising);
    for (uint64_t i = 0; i < rounds; i++) {
        EXPECT_EQ(hc_slot_flags(SLOT, SLOT_READONLY), 0);
        uint64_t sum = sum_of_words();
        peers_turn();
        kept += sum_of_words() == sum;
        EXPECT_EQ(hc_slot_flags(SLOT, 0), 0);
        peers_turn();
        changed += sum_of_words() != sum;
    }
    peers_stop();
    EXPECT_EQ(kept, rounds);
    EXPECT_EQ(changed, rounds);
    EXPECT_EQ(hc_slot_delete(SLOT), 0);
}

/* Each peer has its own page. */
static void store_when_asked(struct peer *self)
{
    if (!peer_asked(self))
        return;
    write64(PLACE + self->number * RT_PAGE, self->turns);
    self->answered++;
}

static volatile bool all_tracked;

/* A peer makes a hypercall, which leaves the guest, only after a store that must have been counted,
 * to check that. */
static void store_and_count(struct peer *self)
{
    if (!peer_asked(self))
        return;
    write64(PLACE + self->number * RT_PAGE, self->turns);
    if (all_tracked) {
        uint64_t emulated = counter(COUNTER_PF_EMULATE);
        self->wrong += self->remembered && emulated != self->remembered + 1;
        self->remembered = emulated;
    }
    self->answered++;
}

static void for_each_page(unsigned number)
{
    for (unsigned i = 1; i <= peers_count(); i++)
        EXPECT_EQ(hc_page(number, PLACE + i * RT_PAGE), 0);
}

/* The page is write-tracked: every store to it is counted, and none after the tracking has
 * ended. */
static void tracked(void)
{
    EXPECT_EQ(hc_slot_add(SLOT, PLACE, CPUS_MAX, 0), 0);
    peers_start(store_and_count);
    for (uint64_t i = 0; i < rounds; i++) {
        all_tracked = false;
        peers_ask();
        for_each_page(HC_TRACK);
        all_tracked = true;
        peers_ask();
        for_each_page(HC_UNTRACK);
    }
    peers_stop();
    EXPECT_EQ(hc_slot_delete(SLOT), 0);
}

/* ---- The log of dirty pages ------------------------------------------------------------------ */

#define LOGGED 64u

/* Each peer has its own pages. */
static void store_to_pages(struct peer *self)
{
    for (unsigned page = self->number - 1; page < LOGGED; page += peers_count())
        write64(PLACE + page * RT_PAGE, self->turns);
}

/* Logging begins while all pages are being written. Every page that is written afterwards is in the
 * log. */
static void logging_begins(void)
{
    uint64_t all = 0;
    EXPECT_EQ(hc_slot_add(SLOT, PLACE, LOGGED, 0), 0);
    peers_start(store_to_pages);
    for (uint64_t i = 0; i < rounds; i++) {
        EXPECT_EQ(hc_slot_flags(SLOT, SLOT_LOG_DIRTY), 0);
        peers_turn();
        all += hc_dirty_get(SLOT, 0) == ~0ull;
        EXPECT_EQ(hc_slot_flags(SLOT, 0), 0);
        peers_turn();
    }
    peers_stop();
    EXPECT_EQ(all, rounds);
    EXPECT_EQ(hc_slot_delete(SLOT), 0);
}

/* Each harvest returns the pages written since the last one, although the peers do not leave the
 * guest, and later stores are logged again. */
static void harvested(void)
{
    uint64_t exact = 0, wanted = 0;
    EXPECT_EQ(hc_slot_add(SLOT, PLACE, LOGGED, 0), 0);
    EXPECT_EQ(hc_slot_flags(SLOT, SLOT_LOG_DIRTY), 0);
    peers_start(store_when_asked);
    for (unsigned i = 1; i <= peers_count(); i++)
        wanted |= BIT(i);
    for (uint64_t i = 0; i < rounds; i++) {
        peers_ask();
        exact += hc_dirty_get(SLOT, 0) == wanted;
        exact += hc_dirty_get(SLOT, 0) == 0;
    }
    peers_stop();
    EXPECT_EQ(exact, 2 * rounds);
    EXPECT_EQ(hc_slot_delete(SLOT), 0);
}

static uint64_t copy[LOGGED][CPUS_MAX];

static void store_anywhere(struct peer *self)
{
    uint64_t page = self->turns * 0x9e3779b97f4a7c15 >> 58;
    write64(word_of(self, PLACE + page * RT_PAGE), self->turns + 1);
}

static void copy_pages(uint64_t dirty)
{
    for (; dirty; dirty &= dirty - 1) {
        unsigned page = (unsigned)__builtin_ctzll(dirty);
        for (unsigned i = 0; i < CPUS_MAX; i++)
            copy[page][i] = read64(PLACE + page * RT_PAGE + 8 * i);
    }
}

/* As in a live migration, the logged pages are copied while the peers keep storing. In the end, the
 * copy equals the memory, so no store was missed. */
static void copied(void)
{
    uint64_t differ = 0;
    EXPECT_EQ(hc_slot_add(SLOT, PLACE, LOGGED, 0), 0);
    EXPECT_EQ(hc_slot_flags(SLOT, SLOT_LOG_DIRTY), 0);
    peers_start(store_anywhere);
    for (uint64_t i = 0; i < rounds; i++)
        copy_pages(hc_dirty_get(SLOT, 0));
    peers_stop();
    copy_pages(hc_dirty_get(SLOT, 0));
    for (unsigned page = 0; page < LOGGED; page++)
        for (unsigned i = 0; i < CPUS_MAX; i++)
            differ += copy[page][i] != read64(PLACE + page * RT_PAGE + 8 * i);
    EXPECT_EQ(differ, 0);
    EXPECT_EQ(hc_slot_delete(SLOT), 0);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"deleted", deleted, NEED_TESTCTL},     {"moved", moved, NEED_TESTCTL},
        {"remapped", remapped, NEED_TESTCTL},   {"read_only", read_only, NEED_TESTCTL},
        {"tracked", tracked, NEED_TESTCTL},     {"logging_begins", logging_begins, NEED_TESTCTL},
        {"harvested", harvested, NEED_TESTCTL}, {"copied", copied, NEED_TESTCTL},
    };

    rounds = peers_rounds(200);
    run_tests(tests, ARRAY_SIZE(tests));
}
