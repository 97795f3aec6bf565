/* SPDX-License-Identifier: MIT */
/* Words that do not go together, on machines of several kinds: the sentence names them. */
#include "tests/unit/support.h"

#include "launch/words.h"
#include "lib/bits.h"
#include "lib/errno.h"

#include <string.h>

#define GIB (1ull << 30)

static int setup(void **state)
{
    (void)state;
    support_reset();
    return 0;
}

/* A machine with 40 address bits that can do all, and one of 36 that has no execute-only pages. */
static const struct vm_limits new = {.address_bits = 40, .execute_only = true, .pcpus = 0xb};
static const struct vm_limits old = {.address_bits = 36, .pcpus = 1};

/* What is 0 is not given. */
#define WORDS(...)  \
    {               \
        __VA_ARGS__ \
    }

static const struct {
    const struct vm_limits *limits;
    struct vm_words words;
    const char *sentence; /* NULL: they are good */
} rows[] = {
    {&new, WORDS(0), NULL},
    {&new, WORDS(.memory = 64 * GIB), NULL},
    {&old, WORDS(.memory = 63 * GIB), NULL},
    {&old, WORDS(.memory = 64 * GIB),
     "mem=64G: its memory ends at 0x1040000000, but addresses have "
     "36 bits on this CPU; give it less memory"},
    {&new, WORDS(.pin = 3), NULL},
    {&new, WORDS(.pin = 2),
     "pin=2, but CPU 2 runs no guests here; their numbers are the bits of "
     "0xb"},
    /* One stolen bit, and memory up to it. */
    {&new, WORDS(.shared = 39, .execute_only = 38, .ve = 1, .vcpus = 16), NULL},
    {&new, WORDS(.shared = 30), NULL},
    {&new, WORDS(.shared = 30, .memory = GIB), NULL},
    {&new, WORDS(.shared = 30, .memory = GIB + PAGE_SIZE),
     "mem=1048580K and shared=30: its memory ends at 0x40001000, but addresses from 0x40000000 on "
     "have bit 30, which means something else; give it less memory, or take a higher bit"},
    {&new, WORDS(.shared = 30, .memory = 4 * GIB),
     "mem=4G and shared=30: its memory ends at 0x140000000, but addresses from 0x40000000 on"},
    {&new, WORDS(.execute_only = 31, .memory = 3 * GIB), "mem=3G and execute_only=31: its memory"},
    {&new, WORDS(.shared = 32, .memory = 3 * GIB), NULL},
    {&new, WORDS(.shared = 32, .memory = 3 * GIB + (1 << 20)),
     "mem=3073M and shared=32: its memory ends at 0x100100000"},
    {&new, WORDS(.shared = 33, .memory = 7 * GIB), NULL},
    /* Of two, the lower one counts. */
    {&new, WORDS(.shared = 39, .execute_only = 31, .memory = 3 * GIB),
     "mem=3G and execute_only=31"},
    {&new, WORDS(.shared = 31, .execute_only = 39, .memory = 3 * GIB), "mem=3G and shared=31"},
    /* Bits that this CPU has not, or that it has once. */
    {&new, WORDS(.shared = 40), "shared=40: address bit 40 can't be stolen; bits 30 to 39 can"},
    {&old, WORDS(.shared = 36), "shared=36: address bit 36 can't be stolen; bits 30 to 35 can"},
    {&new, WORDS(.execute_only = 47), "execute_only=47: address bit 47 can't be stolen"},
    {&new, WORDS(.shared = 39, .execute_only = 39),
     "shared=39 and execute_only=39: address bit 39 can't be stolen: the bit or its purpose is "
     "taken; take two bits"},
    {&old, WORDS(.execute_only = 35),
     "execute_only=35: execute-only memory needs execute-only "
     "pages, which this CPU lacks; leave the word out"},
    /* The page in which a vCPU finds what its #VE is about is private memory near 4 GiB. */
    {&new, WORDS(.ve = 1), NULL},
    {&new, WORDS(.ve = 1, .shared = 32), NULL},
    {&new, WORDS(.ve = 1, .shared = 31),
     "ve and shared=31: its memory ends at 0xfd001000, but "
     "addresses from 0x80000000 on have bit 31"},
    {&new, WORDS(.ve = 1, .vcpus = 3, .execute_only = 30),
     "ve, vcpus=3 and execute_only=30: its memory ends at 0xfd003000"},
};

static void conflicts_are_named(void **state)
{
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        setup(state);
        struct vm_words words = rows[i].words;
        words.memory = words.memory ? words.memory : GUEST_RAM_DEFAULT;
        words.vcpus = words.vcpus ? words.vcpus : 1;
        words.pin = words.pin ? words.pin : PIN_NONE;
        int error = vm_words_check("g", &words, rows[i].limits);
        if (!rows[i].sentence) {
            assert_string_equal(support_log(), "");
            assert_int_equal(error, 0);
            continue;
        }
        assert_int_equal(error, -EINVAL);
        assert_memory_equal(support_log(), "guest g: ", 9);
        if (strncmp(support_log() + 9, rows[i].sentence, strlen(rows[i].sentence)) != 0)
            fail_msg("expected \"%s\", got \"%s\"", rows[i].sentence, support_log());
        assert_true(strchr(support_log(), '\n')[1] == 0); /* one sentence */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(conflicts_are_named, setup),
    };
    return cmocka_run_group_tests_name("words together", tests, NULL, NULL);
}
