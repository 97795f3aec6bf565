/* SPDX-License-Identifier: MIT */
/*
 * Takes host memory by HC_SLOT_ADD until the VM's word `limit=` refuses more, which happens when
 * the memory reserved for its RAM is used up as well. Then each further slot is refused, and the
 * existing ones keep working. Run with little RAM next to neighbours
 * (tests/target/test_neighbours.py).
 */
#include "guest/programs/rt/rt.h"

#define SLOTS_AT 0x10000000ull
#define MOST     4000u
#define ENOMEM   12

static void refused_beyond(void)
{
    unsigned taken = 0;
    while (taken < MOST && !hc_slot_add(1 + taken, SLOTS_AT + taken * RT_2M, 1, 0))
        taken++;
    note("taken", taken);
    EXPECT(taken > 0 && taken < MOST);
    EXPECT_EQ(hc_slot_add(1 + taken, SLOTS_AT + taken * RT_2M, 1, 0), -ENOMEM);
    EXPECT_EQ(hc_slot_delete(taken), 0);
    /* reuses the memory that the deletion returned */
    EXPECT_EQ(hc_slot_add(taken, SLOTS_AT + taken * RT_2M, 1, 0), 0);
    while (taken)
        EXPECT_EQ(hc_slot_delete(taken--), 0);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"refused_beyond", refused_beyond, NEED_TESTCTL},
    };

    run_tests(tests, ARRAY_SIZE(tests));
}
