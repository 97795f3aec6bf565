/* SPDX-License-Identifier: MIT */
/* The smallest of lib/: fields, and that the address types cost nothing. */
#include "tests/unit/support.h"

#include "lib/bits.h"

static void fields(void **state)
{
    (void)state;
    assert_true(BITS(11, 4) == 0xff0);
    assert_true(BITS(63, 0) == ~0ull);
    assert_true(field_get(0xabcd, BITS(11, 4)) == 0xbc);
    assert_true(field_put(0x1ff, BITS(11, 4)) == 0xff0);
}

static void addresses(void **state)
{
    (void)state;
    _Static_assert(sizeof(gpa_t) == 8, "an address type is its integer");
    assert_true(gpa_to_gfn(GPA(0x12345678)).v == 0x12345);
    assert_true(align_up(0x1001, 0x1000) == 0x2000);
    assert_true(align_down(0x1fff, 0x1000) == 0x1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(fields), cmocka_unit_test(addresses)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
