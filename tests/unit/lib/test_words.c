/* SPDX-License-Identifier: MIT */
/* Configuration words (D13): what is accepted, and the message for what is not. */
#include "tests/unit/support.h"

#include "lib/errno.h"
#include "lib/words.h"

#include <stdio.h>
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

/* N134: a list that is longer than a line goes on in the next one, and no item is cut. */
static void long_lists(void **state)
{
    (void)state;
    static const char *names[41];
    static char text[40][12];
    static struct word many[40];
    char log[2000], wanted[80], *at;
    for (unsigned i = 0; i < 40; i++) {
        snprintf(text[i], sizeof(text[i]), "word_no_%u", i);
        names[i] = text[i];
        many[i] = (struct word){.name = text[i], .kind = WORD_FLAG};
    }
    for (unsigned choice = 0; choice < 2; choice++) {
        const struct word one = {.name = "w", .kind = WORD_CHOICE, .choices = names};
        struct target t;
        support_reset();
        assert_int_equal(words_parse(choice ? "w=x" : "x", choice ? &one : many, choice ? 1 : 40,
                                     &t, "command line"),
                         -EINVAL);
        snprintf(log, sizeof(log), "%s", support_log());
        snprintf(wanted, sizeof(wanted), "command line: %s; allowed:",
                 choice ? "bad value in \"w=x\"" : "unknown word \"x\"");
        assert_int_equal(strncmp(log, wanted, strlen(wanted)), 0);
        at = log + strlen(wanted);
        if (choice) {
            assert_int_equal(strncmp(at, " w=", 3), 0);
            at += 3;
        }
        unsigned lines = 1;
        for (unsigned i = 0; i < 40; i++) {
            if (*at == '\n') {
                lines++;
                assert_int_equal(strncmp(at, "\n  ", 3), 0);
                at += 3;
            } else if (!choice || i) {
                assert_int_equal(*at++, choice ? '|' : ' ');
            }
            assert_int_equal(strncmp(at, text[i], strlen(text[i])), 0);
            at += strlen(text[i]);
        }
        assert_string_equal(at, "\n");
        assert_true(lines >= 2);
    }
}

/* What was given is shortened, so that what is allowed is always seen. */
static void long_words(void **state)
{
    (void)state;
    struct target t;
    char line[400], wanted[200];
    memset(line, 'y', sizeof(line) - 1);
    line[sizeof(line) - 1] = 0;
    assert_int_equal(parse(line, &t), -EINVAL);
    snprintf(wanted, sizeof(wanted),
             "unknown word \"%.64s\"; allowed: mmio_caching= gva_cache= ", line);
    assert_non_null(strstr(support_log(), wanted));
    memcpy(line, "tests=", 6);
    assert_int_equal(parse(line, &t), -EINVAL);
    snprintf(wanted, sizeof(wanted), "bad value in \"%.70s\"; allowed: tests=TEXT (up to 63 ",
             line);
    assert_non_null(strstr(support_log(), wanted));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts),
        cmocka_unit_test(refuses),
        cmocka_unit_test(long_lists),
        cmocka_unit_test(long_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
