/* SPDX-License-Identifier: MIT */
/* Configuration words (D13): what is accepted, and the message for what is not. */
#include "tests/unit/support.h"

#include "lib/errno.h"
#include "lib/words.h"

#include <string.h>

struct target {
    uint64_t caching, mode, size, flag;
    char glob[WORD_TEXT_MAX];
};

static const char *const modes[] = {"off", "exits", "verify", NULL};
static const struct word table[] = {
    {.name = "mmio_caching",
     .kind = WORD_NUMBER,
     .max = 1,
     .offset = offsetof(struct target, caching)},
    {.name = "gva_cache",
     .kind = WORD_CHOICE,
     .choices = modes,
     .offset = offsetof(struct target, mode)},
    {.name = "mem",
     .kind = WORD_SIZE,
     .min = 1 << 20,
     .max = 1ull << 30,
     .offset = offsetof(struct target, size)},
    {.name = "testctl", .kind = WORD_FLAG, .offset = offsetof(struct target, flag)},
    {.name = "tests", .kind = WORD_TEXT, .offset = offsetof(struct target, glob)},
};

static int parse(const char *line, struct target *target)
{
    support_reset();
    memset(target, 0, sizeof(*target));
    return words_parse(line, table, 5, target, "command line");
}

static void accepts(void **state)
{
    (void)state;
    struct target t;
    assert_int_equal(parse("", &t), 0);
    assert_int_equal(parse("  mmio_caching=1 gva_cache=verify mem=16M testctl tests=mm* ", &t), 60);
    assert_int_equal(t.caching, 1);
    assert_int_equal(t.mode, 2);
    assert_int_equal(t.size, 16 << 20);
    assert_int_equal(t.flag, 1);
    assert_string_equal(t.glob, "mm*");
    assert_int_equal(parse("mem=0x200000", &t), 12);
    assert_int_equal(t.size, 2 << 20);
    assert_int_equal(parse("testctl -- nonsense=1", &t), 11);
    assert_string_equal(support_log(), "");
}

static void refuses(void **state)
{
    (void)state;
    static const struct {
        const char *line, *message;
    } rows[] = {
        {"mmio_cache=1", "command line: unknown word \"mmio_cache\"; allowed: mmio_caching= "
                         "gva_cache= mem= testctl tests=\n"},
        {"mmio_caching",
         "command line: bad value in \"mmio_caching\"; allowed: mmio_caching=0..1\n"},
        {"mmio_caching=2",
         "command line: bad value in \"mmio_caching=2\"; allowed: mmio_caching=0..1\n"},
        {"mmio_caching=",
         "command line: bad value in \"mmio_caching=\"; allowed: mmio_caching=0..1\n"},
        {"mmio_caching=0x",
         "command line: bad value in \"mmio_caching=0x\"; allowed: mmio_caching=0..1\n"},
        {"mmio_caching=99999999999999999999",
         "command line: bad value in \"mmio_caching=99999999999999999999\"; allowed: "
         "mmio_caching=0..1\n"},
        {"gva_cache=on",
         "command line: bad value in \"gva_cache=on\"; allowed: gva_cache=off|exits|verify\n"},
        {"gva_cache=verif",
         "command line: bad value in \"gva_cache=verif\"; allowed: gva_cache=off|exits|verify\n"},
        {"mem=2G", "command line: bad value in \"mem=2G\"; allowed: mem=1M..1G "
                   "(bytes, or with K, M or G)\n"},
        {"mem=99999999999G", "command line: bad value in \"mem=99999999999G\"; allowed: "
                             "mem=1M..1G (bytes, or with K, M or G)\n"},
        {"testctl=1", "command line: bad value in \"testctl=1\"; allowed: testctl\n"},
        {"testctl testctl", "command line: \"testctl\" is given twice; give it once\n"},
        {"tests=",
         "command line: bad value in \"tests=\"; allowed: tests=TEXT (up to 63 characters)\n"},
        {"=", "command line: unknown word \"\"; allowed: mmio_caching= gva_cache= mem= testctl "
              "tests=\n"},
    };
    struct target t;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(parse(rows[i].line, &t), -EINVAL);
        assert_string_equal(support_log(), rows[i].message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(accepts), cmocka_unit_test(refuses)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
