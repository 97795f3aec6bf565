/* SPDX-License-Identifier: MIT */
/* Lists of names: each name is there completely, or is counted. */
#include "tests/unit/support.h"

#include "lib/name_list.h"

#include <stdio.h>
#include <string.h>

static void expect(const struct name_list *list, const char *text)
{
    char printed[NAME_LIST_MAX + 20];
    name_list_print(list, printed, sizeof(printed));
    assert_string_equal(printed, text);
}

static void names_that_fit(void **state)
{
    (void)state;
    struct name_list list = {0};
    expect(&list, "");
    name_list_add(&list, "one");
    expect(&list, "one");
    name_list_add(&list, "two");
    expect(&list, "one, two");
}

static void names_that_do_not_fit(void **state)
{
    (void)state;
    struct name_list list = {0};
    char long_name[NAME_LIST_MAX];
    memset(long_name, 'x', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = 0;
    name_list_add(&list, long_name);
    expect(&list, long_name); /* just */
    name_list_add(&list, "y");
    char whole[NAME_LIST_MAX + 20];
    snprintf(whole, sizeof(whole), "%s, and 1 more", long_name);
    expect(&list, whole);

    struct name_list other = {0};
    for (unsigned i = 0; i < 20; i++)
        name_list_add(&other, "a_guest_12");
    name_list_add(&other, "b"); /* would fit, but then the order would be another one */
    expect(&other, "a_guest_12, a_guest_12, a_guest_12, a_guest_12, a_guest_12, a_guest_12, and 15 "
                   "more");

    struct name_list none = {0};
    char longer[NAME_LIST_MAX + 1];
    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = 0;
    name_list_add(&none, longer);
    expect(&none, "1 more");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_that_fit),
        cmocka_unit_test(names_that_do_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
