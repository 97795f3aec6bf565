/* SPDX-License-Identifier: MIT */
/*
 * vmx/broken.h on this computer's CPU, which does all of it right, and so says whether the
 * tests at boot expect the right results. XSAVEC is the test's. guest/programs/features.c checks on emulators
 * that what is offered works.
 */
#include "tests/unit/support.h"

#include "vmx/broken.c"

static bool compaction;

bool extra_compaction_works(void)
{
    return compaction;
}

static void a_cpu_that_works(void **state)
{
    (void)state;
    compaction = true;
    assert_int_equal(broken_on_cpu(), 0);
    compaction = false;
    assert_int_equal(broken_on_cpu(), BROKEN_COMPACTION);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cpu_that_works),
    };
    return cmocka_run_group_tests_name("broken", tests, NULL, NULL);
}
