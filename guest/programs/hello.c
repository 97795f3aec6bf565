/* SPDX-License-Identifier: MIT */
/*
 * The smallest guest: prints where it runs and its arguments, and ends.
 */
#include "guest/programs/rt/rt.h"

static void says_hello(void)
{
    print("# hello from a guest %s, %lu KiB of RAM, arguments \"%s\"\n",
          under_eptvisor() ? "under eptvisor" : "without eptvisor", rt_ram_end / 1024, rt_args);
    EXPECT(rt_ram_end > 0x100000);
}

static void version_is_ours(void)
{
    struct hypercall call = {0};

    EXPECT_EQ(hypercall(HC_VERSION, &call), 0);
    EXPECT_EQ(call.rbx, ABI_VERSION);
    note("version", call.rbx);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"hello", says_hello, 0},
        {"version", version_is_ours, NEED_EPTVISOR},
    };

    run_tests(tests, ARRAY_SIZE(tests));
}
