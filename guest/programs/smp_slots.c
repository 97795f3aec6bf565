/* SPDX-License-Identifier: MIT */
/*
 * Slots are added, deleted and moved while all other CPUs access their addresses (rules F7, F9): no
 * access to a device is lost or made twice, and none goes to the device while memory is there. The
 * argument is the number of rounds.
 */
#include "guest/programs/rt/peers.h"

#define SLOT   8
#define DEVICE TESTDEV_B_BASE
#define PARK   0xc0000000u
#define MARK   0x3a3a3a3au

static uint64_t rounds;

static uint64_t device_word(uint64_t offset)
{
    return read32(DEVICE + offset);
}

/* ---- Slots are added and deleted ------------------------------------------------------------- */

/* Each round has four steps: the device is visible; the slot is being added; the slot's memory,
 * with the mark, is visible; the slot is being deleted. */
enum { STEP_DEVICE, STEP_ADD, STEP_MEMORY, STEP_DELETE, STEPS };
static volatile uint64_t step;
static volatile uint64_t memory_seen, device_seen; /* the last round in which a CPU saw it */

/* While the slot is being added, an access may reach either, but once a CPU has seen the memory,
 * all later accesses see it, too. The reverse holds while the slot is being deleted. */
static void load_ident(struct peer *self)
{
    uint64_t before = step, round = before / STEPS + 1;
    bool came = memory_seen == round, went = device_seen == round;
    uint32_t value = read32(DEVICE + TESTDEV_IDENT);
    bool device = value == 'B';
    if (step != before)
        return;
    switch (before % STEPS) {
    case STEP_DEVICE:
        self->wrong += !device;
        break;
    case STEP_ADD:
        self->wrong += device ? came : value && value != MARK;
        memory_seen = device ? memory_seen : round;
        break;
    case STEP_MEMORY:
        self->wrong += value != MARK;
        break;
    case STEP_DELETE:
        self->wrong += !device && (went || value != MARK);
        device_seen = device ? round : device_seen;
        break;
    }
}

static void added_and_deleted(void)
{
    step = memory_seen = device_seen = 0;
    peers_start(load_ident);
    for (uint64_t i = 0; i < rounds; i++) {
        step++;
        EXPECT_EQ(hc_slot_add(SLOT, DEVICE, 1, 0), 0);
        write32(DEVICE + TESTDEV_IDENT, MARK);
        step++;
        if (i % 8 == 0)
            peers_turn();
        step++;
        EXPECT_EQ(hc_slot_delete(SLOT), 0);
        step++;
        if (i % 8 == 1)
            peers_turn();
    }
    peers_stop();
}

/* ---- Counting -------------------------------------------------------------------------------- */

static uint32_t *word_at(uint64_t base, const struct peer *self)
{
    return (uint32_t *)(uintptr_t)(base + 16 * self->number);
}

/* Makes one load and one store, both of the device or both of the memory. */
static void count(struct peer *self)
{
    __asm__ volatile("lock incl %0" : "+m"(*word_at(DEVICE, self)));
}

static void reset(void)
{
    write32(DEVICE + TESTDEV_RESET, 1);
}

/* The slot moves onto the device and away again, with its contents. Each turn is counted either by
 * the device or in the memory. */
static void moved(void)
{
    uint64_t to_device = 0, to_memory = 0;
    reset();
    EXPECT_EQ(hc_slot_add(SLOT, PARK, 1, 0), 0);
    peers_start(count);
    for (uint64_t i = 0; i < rounds; i++) {
        EXPECT_EQ(hc_slot_move(SLOT, DEVICE), 0);
        if (i % 8 == 0)
            peers_turn();
        EXPECT_EQ(hc_slot_move(SLOT, PARK), 0);
        if (i % 8 == 1)
            peers_turn();
    }
    uint64_t turns = peers_stop();
    EXPECT_EQ(device_word(TESTDEV_READS), device_word(TESTDEV_WRITES));
    uint64_t writes = device_word(TESTDEV_WRITES);
    for (unsigned i = 1; i <= peers_count(); i++) {
        to_device += read32(DEVICE + 16 * i);
        to_memory += read32(PARK + 16 * i);
    }
    EXPECT_EQ(writes, to_device);
    EXPECT_EQ(to_device + to_memory, turns);
    EXPECT(to_device && to_memory);
    EXPECT_EQ(hc_slot_delete(SLOT), 0);
    note("to_device", to_device);
    note("to_memory", to_memory);
}

/* Slots are added and deleted elsewhere, so that MMIO SPTEs become stale all the time. */
static void generations_pass(void)
{
    reset();
    peers_start(count);
    for (uint64_t i = 0; i < rounds; i++) {
        EXPECT_EQ(hc_slot_add(SLOT, PARK, 1, 0), 0);
        write32(PARK, 1);
        EXPECT_EQ(hc_slot_delete(SLOT), 0);
    }
    uint64_t turns = peers_stop();
    EXPECT_EQ(device_word(TESTDEV_WRITES), turns);
    EXPECT_EQ(device_word(TESTDEV_READS), turns);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"added_and_deleted", added_and_deleted, NEED_TESTCTL},
        {"moved", moved, NEED_TESTCTL},
        {"generations_pass", generations_pass, NEED_TESTCTL},
    };

    rounds = peers_rounds(500);
    run_tests(tests, ARRAY_SIZE(tests));
}
