/* SPDX-License-Identifier: MIT */
/*
 * Whose turn it is to get a VM (main/pool.c): guests in their order, with their modules and as many
 * at a time as may exist; one that waits for memory before all others; and one that has ended, once
 * more.
 */
#include "tests/unit/support.h"

#include "boot/boot_info.h"
#include "main/pool.h"

#include <string.h>

static struct boot_info info;

static struct entry take(unsigned number, unsigned module, unsigned extra, unsigned run)
{
    struct entry entry;
    assert_true(pool_take(&entry));
    assert_int_equal(entry.number, number);
    assert_int_equal(entry.module, module);
    assert_int_equal(entry.extra, extra);
    assert_int_equal(entry.run, run);
    return entry;
}

static void nothing_to_take(void)
{
    struct entry entry;
    assert_false(pool_take(&entry));
}

static struct start_answer start(const char *which, int how)
{
    struct start_answer answer;
    memset(&answer, 0xa5, sizeof(answer));
    pool_start_again(which, &answer);
    assert_int_equal(answer.how, how);
    return answer;
}

/* One life of a machine, because the pool is begun once. */
static void a_machine(void **state)
{
    static const char *const strings[] = {"+lost", "a", "+disk", "+file", "b", "c.elf", "+disk"};
    static struct transcript *const out = (struct transcript *)&info;
    (void)state;
    for (unsigned i = 0; i < 7; i++)
        strcpy(info.modules[i].string, strings[i]);
    info.module_count = 7;
    assert_int_equal(pool_begin(&info, 2), 3);

    struct entry a = take(1, 1, 2, 1), b = take(2, 4, 0, 1);
    assert_string_equal(a.name, "a");
    assert_true(a.last_chance);
    assert_false(b.last_chance);
    nothing_to_take(); /* two exist */
    pool_put_off(&b);
    nothing_to_take(); /* no VM has ended since */
    assert_int_equal(start("d", START_NO_GUEST).number, 0);
    assert_int_equal(start("a", START_EXISTS).number, 1);
    (void)start("b", START_EXISTS);
    assert_int_equal(start("c", START_NOT_BEGUN).number, 3);

    a.out = out;
    assert_false(pool_finish(&a));
    b = take(2, 4, 0, 1);
    assert_true(b.last_chance);
    struct entry c = take(3, 5, 1, 1);
    assert_int_equal(start("1", START_TOO_MANY).limit, 2);

    /* It is created next, although no further VM has ended, and has no transcript yet. */
    assert_false(pool_finish(&b));
    struct start_answer answer = start("a", START_BEGINS);
    assert_int_equal(answer.number, 1);
    assert_int_equal(answer.run, 2);
    assert_string_equal(answer.name, "a");
    assert_false(pool_is_empty());
    (void)start("a", START_EXISTS);
    (void)start("b", START_TOO_MANY);
    a = take(1, 1, 2, 2);
    assert_null(a.out);
    nothing_to_take();

    /* It waits for memory as any other does. */
    pool_put_off(&a);
    nothing_to_take();
    assert_false(pool_finish(&c));
    a = take(1, 1, 2, 2);
    assert_true(pool_finish(&a));
    assert_true(pool_is_empty());
    nothing_to_take();
    assert_int_equal(start("a", START_BEGINS).run, 3);
    assert_false(pool_is_empty());
    a = take(1, 1, 2, 3);
    assert_true(a.last_chance);
    assert_true(pool_finish(&a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
