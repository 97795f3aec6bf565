/* SPDX-License-Identifier: MIT */
/*
 * Touches each page of its memory and ends, so that the hypervisor has much memory to free. No
 * other VM may have to wait until all of it is freed (tests/target/test_neighbours.py).
 */
#include "guest/programs/rt/rt.h"

static void fill(void)
{
    uint64_t pages = 0;
    for (uint64_t at = RT_2M; at + RT_PAGE <= rt_ram_end; at += RT_PAGE, pages++)
        write64(at, read64(at));
    note("pages", pages);
    EXPECT(pages > 0);
}

void guest_main(void)
{
    static const struct test tests[] = {{"fill", fill, 0}};
    run_tests(tests, ARRAY_SIZE(tests));
}
