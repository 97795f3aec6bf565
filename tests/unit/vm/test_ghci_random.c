/* SPDX-License-Identifier: MIT */
/*
 * A million of the GHCI's hypercalls (rules X6 and X7), compared with a model that keeps the side
 * of each frame: all registers, the accesses to devices, and the contents of memory.
 */
#include "tests/unit/vm/ghci_model.h"

#include <stdio.h>

static uint64_t random_state = 0x9e3779b97f4a7c15;

static uint64_t rnd(uint64_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (random_state >> 11) % below;
}

static uint64_t results[5];

static uint64_t random_address(void)
{
    static const uint64_t near[] = {RAM,
                                    RAM + 0x200000,
                                    RAM + 0x400000,
                                    RAM + PAGES * PAGE_SIZE,
                                    MORE,
                                    DEVICE,
                                    END,
                                    MORE + MORES * PAGE_SIZE,
                                    SHARED,
                                    0};
    static const uint64_t bits[] = {SHARED, SHARED, SHARED, SHARED, SHARED, 0, 0, CODE, BIT(40)};
    uint64_t address = near[rnd(ARRAY_SIZE(near))] | bits[rnd(ARRAY_SIZE(bits))];
    address += rnd(3) ? PAGE_SIZE * (rnd(9) - 4) : rnd(17) - 8;
    return rnd(64) ? address : random_state;
}

static void random_registers(void)
{
    static const uint64_t leaves[] = {48, 48, 0x10001, 0x10001, 0x10000, 49};
    static const uint64_t sizes[] = {1, 2, 4, 8, 8, 3, 0, 16};
    static const uint64_t pages[] = {1, 1, 1, 2, 3, 8, 512, 513, 1026, 1030};
    uint64_t leaf = leaves[rnd(ARRAY_SIZE(leaves))];
    for (unsigned i = 0; i < GPR_COUNT; i++)
        gpr[i] = rnd(~0ull);
    gpr[GPR_RAX] = 0;
    gpr[GPR_RCX] = rnd(32) ? EXPOSE | (rnd(2) ? 0xffff00e0 : 0) : EXPOSE ^ BIT(rnd(40));
    gpr[GPR_R10] = rnd(64) == 0;
    gpr[GPR_R11] = rnd(64) ? leaf : rnd(~0ull);
    gpr[GPR_R12] = leaf == 48        ? sizes[rnd(ARRAY_SIZE(sizes))]
                   : leaf == 0x10000 ? rnd(2)
                                     : random_address();
    if (leaf == 48)
        gpr[GPR_R13] = rnd(16) ? rnd(2) : rnd(4);
    else /* for speed, many pages are converted rarely */
        gpr[GPR_R13] = rnd(8) ? rnd(4) : PAGE_SIZE * pages[rnd(rnd(64) ? 6 : ARRAY_SIZE(pages))];
    if (leaf == 0x10001 && rnd(16) == 0)
        gpr[GPR_R13] = rnd(2) ? -gpr[GPR_R12] : rnd(~0ull);
    gpr[GPR_R14] = random_address();
    events_after = (unsigned)rnd(4);
}

static void random_calls(void **state)
{
    (void)state;
    start();
    for (unsigned i = 0; i < 1000000; i++) {
        random_registers();
        call_and_compare();
        if (gpr[GPR_RAX])
            results[4]++;
        else
            results[gpr[GPR_R10] >> 63 ? 2 + (gpr[GPR_R10] & 1) : gpr[GPR_R10]]++;
        if (i % 16384 == 0)
            check_sides();
    }
    check_sides();
    printf("    %lu done, %lu retry, %lu invalid or not aligned, %lu unknown, %lu bad exposure; "
           "%lu at devices\n",
           results[0], results[1], results[2], results[3], results[4], device_calls);
    for (unsigned i = 0; i < ARRAY_SIZE(results); i++)
        assert_true(results[i] > 100);
    assert_true(device_calls > 10000);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_calls)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
