/* SPDX-License-Identifier: MIT */
/* Words that contradict each other or the machine, on several machines: the message names them. */
#include "tests/unit/support.h"

#include "launch/image.h"
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

/* A machine with 40 address bits and all features, and one with 36 bits and without execute-only
 * pages. */
static const struct vm_limits new = {.address_bits = 40, .execute_only = true, .pcpus = 0xb};
static const struct vm_limits old = {.address_bits = 36, .pcpus = 1};

/* A field that is 0 stands for a word that is not given. */
#define WORDS(...)  \
    {               \
        __VA_ARGS__ \
    }

/* The words of a TD; a row may replace some. */
#define TD .tdx = TDX_PROTECTED, .shared = TDX_SHARED_BIT, .pc = 1, .ve = 1

#pragma GCC diagnostic ignored "-Woverride-init"
static const struct {
    const struct vm_limits *limits;
    struct vm_words words;
    const char *message; /* NULL: the words are accepted */
} rows[] = {
    {&new, WORDS(0), NULL},
    {&new, WORDS(.memory = 64 * GIB), NULL},
    {&old, WORDS(.memory = 63 * GIB), NULL},
    {&old, WORDS(.memory = 64 * GIB),
     "mem=64G: its memory ends at 0x1040000000, but addresses have "
     "36 bits on this CPU; give it less memory"},
    {&new, WORDS(.pin = 3), NULL},
    {&new, WORDS(.pin = 2),
     "pin=2, but CPU 2 does not run guests; the bits of 0xb are the CPUs that do"},
    /* One stolen bit, and memory up to it. */
    {&new, WORDS(.shared = 39, .execute_only = 38, .ve = 1, .vcpus = 16), NULL},
    {&new, WORDS(.shared = 30), NULL},
    {&new, WORDS(.shared = 30, .memory = GIB), NULL},
    {&new, WORDS(.shared = 30, .memory = GIB + PAGE_SIZE),
     "mem=1048580K and shared=30: its memory ends at 0x40001000, but addresses from 0x40000000 on "
     "have the stolen bit 30 set; give it less memory, or take a higher bit"},
    {&new, WORDS(.shared = 30, .memory = 4 * GIB),
     "mem=4G and shared=30: its memory ends at 0x140000000, but addresses from 0x40000000 on"},
    {&new, WORDS(.execute_only = 31, .memory = 3 * GIB), "mem=3G and execute_only=31: its memory"},
    {&new, WORDS(.shared = 32, .memory = 3 * GIB), NULL},
    {&new, WORDS(.shared = 32, .memory = 3 * GIB + (1 << 20)),
     "mem=3073M and shared=32: its memory ends at 0x100100000"},
    {&new, WORDS(.shared = 33, .memory = 7 * GIB), NULL},
    /* Of two stolen bits, the lower one limits memory. */
    {&new, WORDS(.shared = 39, .execute_only = 31, .memory = 3 * GIB),
     "mem=3G and execute_only=31"},
    {&new, WORDS(.shared = 31, .execute_only = 39, .memory = 3 * GIB), "mem=3G and shared=31"},
    /* Bits that this CPU does not have, or that two words name. */
    {&new, WORDS(.shared = 40), "shared=40: address bit 40 can't be stolen; bits 30 to 39 can"},
    {&old, WORDS(.shared = 36), "shared=36: address bit 36 can't be stolen; bits 30 to 35 can"},
    {&new, WORDS(.execute_only = 47), "execute_only=47: address bit 47 can't be stolen"},
    {&new, WORDS(.shared = 39, .execute_only = 39),
     "shared=39 and execute_only=39 name the same address bit; take two different bits"},
    {&old, WORDS(.execute_only = 35),
     "execute_only=35: execute-only memory needs execute-only "
     "pages, which this CPU lacks; leave the word out"},
    /* A TD: the words that tdx implies are given, too. */
    {&new, WORDS(TD), NULL},
    {&new, WORDS(TD, .memory = 64 * GIB, .vcpus = 16, .net = 1, .reset = RESET_AGAIN), NULL},
    {&new, WORDS(TD, .entry = GUEST_ENTRY_64, .measure = MEASURE_OFF), NULL},
    {&new, WORDS(TD, .tdx = TDX_DEBUG, .testctl = 1, .measure = MEASURE_ON), NULL},
    {&old, WORDS(TD),
     "tdx: the shared bit of a TD is bit 39, but addresses have 36 bits on this CPU, so that it "
     "cannot run a TD"},
    {&new, WORDS(TD, .shared = 38),
     "tdx and shared=38: the shared bit of a TD is bit 39; leave shared= out"},
    {&new, WORDS(TD, .execute_only = 38),
     "tdx and execute_only=38: a TD has no execute-only addresses; leave one of the words out"},
    {&new, WORDS(TD, .tdx = TDX_DEBUG, .execute_only = 39), "tdx and execute_only=39: a TD has no"},
    {&new, WORDS(TD, .entry = GUEST_ENTRY_PVH),
     "tdx and entry=pvh: the boot shim enters a kernel at its 64-bit entry point"},
    {&new, WORDS(TD, .testctl = 1),
     "tdx and testctl: a TD is protected from the control hypercalls; write tdx=debug"},
    {&new, WORDS(TD, .legacy = 1), "tdx and legacy: the VMM of a TD delivers no interrupts of an"},
    {&new, WORDS(TD, .legacy = 1, .vga = 1), "tdx and vga: the VMM of a TD delivers no interrupts"},
    {&new, WORDS(TD, .kut = 1), "tdx and kut: a TD starts by its boot shim"},
    {&new, WORDS(.kut = 1), NULL},
    {&new, WORDS(.kut = 1, .testctl = 1),
     "kut and testctl: their test devices have the same ports"},
    {&new, WORDS(.measure = MEASURE_OFF),
     "measure=0: only the boot shim of a TD measures; add the word tdx, or leave measure= out"},
    {&new, WORDS(TD, .accept = ACCEPT_LAZY), NULL},
    {&new, WORDS(.accept = ACCEPT_LAZY),
     "accept=lazy: only a TD accepts memory; add the word tdx, or leave accept= out"},
    {&new, WORDS(.accept = ACCEPT_ALL), "accept=all: only a TD accepts memory"},
    {&new, WORDS(.measure = MEASURE_ON, .shared = 39), "measure=1: only the boot shim of a TD"},
    {&new, WORDS(TD, .quote = QUOTE_TEST), NULL},
    {&new, WORDS(.quote = QUOTE_TEST),
     "quote=test: only a TD asks for quotes; add the word tdx, or leave quote= out"},
    /* The virtualization-exception information area of a vCPU is private memory near 4 GiB. */
    {&new, WORDS(.ve = 1), NULL},
    {&new, WORDS(.ve = 1, .shared = 32), NULL},
    {&new, WORDS(.ve = 1, .shared = 31),
     "ve and shared=31: its memory ends at 0xfd001000, but "
     "addresses from 0x80000000 on have the stolen bit 31 set"},
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
        if (!rows[i].message) {
            assert_string_equal(support_log(), "");
            assert_int_equal(error, 0);
            continue;
        }
        assert_int_equal(error, -EINVAL);
        assert_memory_equal(support_log(), "guest g: ", 9);
        if (strncmp(support_log() + 9, rows[i].message, strlen(rows[i].message)) != 0)
            fail_msg("expected \"%s\", got \"%s\"", rows[i].message, support_log());
        assert_true(strchr(support_log(), '\n')[1] == 0); /* one message */
    }
}

static void td_implies_words(void **state)
{
    static const struct {
        const char *text;
        unsigned tdx, measure, shared, quote;
    } lines[] = {
        {"", TDX_NONE, MEASURE_DEFAULT, 0, QUOTE_NONE},
        {"tdx", TDX_PROTECTED, MEASURE_DEFAULT, 39, QUOTE_NONE},
        {"measure=0 tdx", TDX_PROTECTED, MEASURE_OFF, 39, QUOTE_NONE},
        {"tdx=debug measure=1", TDX_DEBUG, MEASURE_ON, 39, QUOTE_NONE},
        {"tdx quote=test", TDX_PROTECTED, 0, 39, QUOTE_TEST},
        {"tdx quote=none", TDX_PROTECTED, 0, 39, QUOTE_NONE},
        {"shared=38 tdx", TDX_PROTECTED, MEASURE_DEFAULT, 38,
         QUOTE_NONE}, /* refused by vm_words_check() */
    };
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(lines); i++) {
        struct vm_words words;
        assert_int_equal(vm_words_parse("g", lines[i].text, GVA_CACHE_OFF, &words),
                         strlen(lines[i].text));
        assert_int_equal(words.tdx, lines[i].tdx);
        assert_int_equal(words.measure, lines[i].measure);
        assert_int_equal(words.quote, lines[i].quote);
        assert_int_equal(words.shared, lines[i].shared);
        assert_int_equal(words.pc, lines[i].tdx != TDX_NONE);
        assert_int_equal(words.ve, lines[i].tdx != TDX_NONE);
    }
    struct vm_words words;
    assert_int_equal(vm_words_parse("g", "tdx=on", GVA_CACHE_OFF, &words), -EINVAL);
    assert_non_null(strstr(support_log(), "tdx, tdx=debug"));
    assert_int_equal(vm_words_parse("g", "tdx accept=lazy", GVA_CACHE_OFF, &words), 15);
    assert_int_equal(words.accept, ACCEPT_LAZY);
    assert_int_equal(vm_words_parse("g", "tdx measure=2", GVA_CACHE_OFF, &words), -EINVAL);
    assert_non_null(strstr(support_log(), "measure=0|1"));
    assert_int_equal(vm_words_parse("g", "tdx quote=real", GVA_CACHE_OFF, &words), -EINVAL);
    assert_non_null(strstr(support_log(), "quote=none|test"));
}

static void kut_implies_words(void **state)
{
    static const struct {
        const char *text;
        unsigned kut, legacy, unknown;
    } lines[] = {
        {"", 0, 0, UNKNOWN_VMCALL_DEFAULT},
        {"kut", 1, 1, UNKNOWN_VMCALL_ERROR},
        {"kut unknown_vmcall=end", 1, 1, UNKNOWN_VMCALL_END},
        {"unknown_vmcall=end kut", 1, 1, UNKNOWN_VMCALL_END},
        {"unknown_vmcall=error", 0, 0, UNKNOWN_VMCALL_ERROR},
    };
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(lines); i++) {
        struct vm_words words;
        assert_int_equal(vm_words_parse("g", lines[i].text, GVA_CACHE_OFF, &words),
                         strlen(lines[i].text));
        assert_int_equal(words.kut, lines[i].kut);
        assert_int_equal(words.legacy, lines[i].legacy);
        assert_int_equal(words.pc, lines[i].legacy);
        assert_int_equal(words.unknown_vmcall, lines[i].unknown);
    }
    struct vm_words words;
    assert_int_equal(vm_words_parse("g", "unknown_vmcall=1", GVA_CACHE_OFF, &words), -EINVAL);
    assert_non_null(strstr(support_log(), "unknown_vmcall=end|error"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(kut_implies_words, setup),
        cmocka_unit_test_setup(td_implies_words, setup),
        cmocka_unit_test_setup(conflicts_are_named, setup),
    };
    return cmocka_run_group_tests_name("words together", tests, NULL, NULL);
}
