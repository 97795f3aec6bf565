/* SPDX-License-Identifier: MIT */
/*
 * The generation wraps (scenario 3, rule F8). An MMIO SPTE holds only the low bits of the
 * generation; when these start over, an SPTE of the last round could look current, and the guest
 * would access a device where RAM is now. So all MMIO SPTEs are dropped at the wrap.
 */
#include "guest/programs/rt/rt.h"

#define DEV      ((uint64_t)TESTDEV_A_BASE)
#define HOLE     0xc0000000ull
#define DUMMY    8
#define OVER_DEV 9

/* Sets the generation to `before` steps before the next wrap; returns the generation of the wrap.
 */
static uint64_t approach_wrap(uint64_t before)
{
    uint64_t bits = hc_config(CONFIG_GEN_BITS);
    uint64_t wrap = ((hc_generation() >> bits) + 1) << bits;

    EXPECT_EQ(hc_generation_set(wrap - before), 0);
    EXPECT_EQ(hc_generation(), wrap - before);
    touch_image();
    write32(DEV + TESTDEV_RESET, 1);
    write32(DEV, 0x1234);
    return wrap;
}

/* Nothing is zapped before the wrap; at the wrap, everything is, once. */
static void wraps_once(void)
{
    uint64_t caching = hc_config(CONFIG_MMIO_CACHING);
    uint64_t wrap = approach_wrap(2);
    struct watch zaps = watch(COUNTER_FULL_ZAPS);

    EXPECT_EQ(hc_slot_add(DUMMY, HOLE, 1, 0), 0);
    EXPECT_EQ(hc_generation(), wrap - 1);
    EXPECT_EQ(watched(zaps), 0);
    EXPECT_EQ(read32(DEV), 0x1234);
    uint64_t last_of_round = hc_spte(DEV);

    EXPECT_EQ(hc_slot_add(OVER_DEV, HOLE + 2 * RT_PAGE, 1, 0), 0);
    EXPECT_EQ(hc_generation(), wrap);
    uint64_t nz = watched(zaps);
    EXPECT_EQ(nz, 1);
    if (caching)
        EXPECT(hc_spte(DEV) != last_of_round);
    EXPECT_EQ(read32(DEV), 0x1234);

    /* The next step is an ordinary one again, and RAM added over the device is visible at once. */
    EXPECT_EQ(hc_slot_move(OVER_DEV, DEV), 0);
    EXPECT_EQ(read32(DEV), 0);
    EXPECT_EQ(watched(zaps), 1);
    EXPECT_EQ(hc_slot_delete(OVER_DEV), 0);
    EXPECT_EQ(hc_slot_delete(DUMMY), 0);
    EXPECT_EQ(read32(DEV), 0x1234);
    note("full_zaps", nz);
}

/* The change at which the generation wraps adds RAM over the device. */
static void ram_at_the_wrap(void)
{
    uint64_t wrap = approach_wrap(1);
    struct watch zaps = watch(COUNTER_FULL_ZAPS);

    EXPECT_EQ(hc_slot_add(OVER_DEV, DEV, 1, 0), 0);
    EXPECT_EQ(hc_generation(), wrap);
    EXPECT_EQ(read32(DEV), 0);
    write32(DEV, 0x5678);
    EXPECT_EQ(read32(DEV), 0x5678);
    uint64_t nz = watched(zaps);
    EXPECT_EQ(nz, 1);
    EXPECT_EQ(hc_slot_delete(OVER_DEV), 0);
    EXPECT_EQ(read32(DEV), 0x1234);
    EXPECT_EQ(read32(DEV + TESTDEV_WRITES), 1);
    note("full_zaps", nz);
    note("device_writes", read32(DEV + TESTDEV_WRITES));
}

/* Deleting steps twice; the wrap may fall on either step. */
static void delete_across_the_wrap(void)
{
    struct watch zaps = {0};
    uint64_t nz = 0;

    for (uint64_t before = 1; before <= 2; before++) {
        EXPECT_EQ(hc_slot_add(OVER_DEV, DEV, 1, 0), 0);
        write32(DEV, 0x5678);
        uint64_t bits = hc_config(CONFIG_GEN_BITS);
        uint64_t wrap = ((hc_generation() >> bits) + 1) << bits;
        EXPECT_EQ(hc_generation_set(wrap - before), 0);
        EXPECT_EQ(read32(DEV), 0x5678);
        zaps = watch(COUNTER_FULL_ZAPS);
        EXPECT_EQ(hc_slot_delete(OVER_DEV), 0);
        EXPECT_EQ(hc_generation(), wrap - before + 2);
        EXPECT_EQ(read32(DEV), 0x1234);
        nz += watched(zaps);
    }
    EXPECT_EQ(nz, 2);
    note("full_zaps", nz);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"wraps_once", wraps_once, NEED_TESTCTL},
        {"ram_at_the_wrap", ram_at_the_wrap, NEED_TESTCTL},
        {"delete_across_the_wrap", delete_across_the_wrap, NEED_TESTCTL},
    };

    run_tests(tests, ARRAY_SIZE(tests));
}
