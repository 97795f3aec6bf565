/* SPDX-License-Identifier: MIT */
/*
 * What the boot shim of a TD leaves behind: the state at Linux' 64-bit entry point, the memory, and
 * the CPUs that wait in the mailbox's loop.
 */
#include "guest/programs/rt/acpi.h"
#include "guest/programs/rt/td.h"

static void is_a_td(void)
{
    EXPECT(rt_is_td);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"is_a_td", is_a_td, 0},
    };
    run_tests(tests, ARRAY_SIZE(tests));
}
