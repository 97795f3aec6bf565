/* SPDX-License-Identifier: MIT */
/*
 * GetQuote: what is refused and with which status, what is written where, and that the quotes of
 * many reports satisfy tools/tdquote.py and, signature and certificate, OpenSSL.
 */
#include "tests/unit/support.h"

#include "lib/bits.h"
#include "tdx/quote.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHARED_BIT BIT(39)
#define BUFFER     (SHARED_BIT | 0x1000)
#define STATUS     8 /* offsets in the buffer */
#define IN_SIZE    16
#define OUT_SIZE   20
#define DATA       24

static uint8_t ram[0x3000];
static unsigned reads_left, writes_left; /* until one fails */
static uint64_t last_write;
static struct td_measurement measurement;
static struct td td;
static struct tdx_reporter reporter;

static int read_ram(void *context, gpa_t gpa, void *buffer, size_t size)
{
    (void)context;
    if (!reads_left-- || (gpa.v & ~SHARED_BIT) + size > sizeof(ram))
        return -EFAULT;
    memcpy(buffer, ram + (gpa.v & ~SHARED_BIT), size);
    return 0;
}

static int write_ram(void *context, gpa_t gpa, const void *buffer, size_t size)
{
    (void)context;
    assert_true(gpa.v & SHARED_BIT);
    assert_true(gpa.v / 4096 == (gpa.v + size - 1) / 4096);
    if (!writes_left--)
        return -EFAULT;
    last_write = gpa.v;
    memcpy(ram + (gpa.v & ~SHARED_BIT), buffer, size);
    return 0;
}

static const struct tdx_memory memory = {read_ram, write_ram, NULL};
static uint8_t *const buffer = ram + 0x1000;

static uint64_t status(void)
{
    uint64_t value;

    memcpy(&value, buffer + STATUS, sizeof(value));
    return value;
}

static uint32_t word(unsigned offset)
{
    uint32_t value;

    memcpy(&value, buffer + offset, sizeof(value));
    return value;
}

static int setup(void **state)
{
    (void)state;
    uint8_t data[TDX_REPORT_DATA];

    reads_left = writes_left = ~0u;
    memset(ram, 0xee, sizeof(ram));
    memset(buffer, 0, 4096);
    buffer[0] = 1;           /* version */
    buffer[IN_SIZE + 1] = 4; /* 1024 */
    memset(buffer + STATUS, 0xff, 8);
    for (unsigned i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)rand();
    tdx_measure_init(&measurement);
    tdx_measure_finalise(&measurement);
    td = (struct td){.gpa_width = 40, .attributes = BIT(28), .measurement = &measurement};
    tdx_reporter_init(&reporter, "secret", 6);
    tdx_report_make(&reporter, &td, data, (struct tdx_report *)(buffer + DATA));
    return 0;
}

static bool get_quote(bool available, uint64_t gpa, uint64_t size)
{
    return tdx_get_quote(&reporter, &td, &memory, available, gpa, size);
}

/* Converts hexadecimal digits to a big-endian number of 32 bytes. */
static void number(const char *digits, uint8_t value[32])
{
    size_t length = strlen(digits);

    memset(value, 0, 32);
    for (size_t i = 0; i < length; i++) {
        char digit[2] = {digits[length - 1 - i]};
        value[31 - i / 2] |= (uint8_t)(strtoul(digit, NULL, 16) << 4 * (i % 2));
    }
}

static void without_the_word_it_is_unavailable(void **state)
{
    (void)state;
    uint8_t before[1024];

    memcpy(before, buffer + DATA, sizeof(before));
    buffer[IN_SIZE] = 1; /* nobody looks at it */
    assert_true(get_quote(false, BUFFER, 8192));
    assert_int_equal(status(), TDX_QUOTE_UNAVAILABLE);
    assert_int_equal(word(OUT_SIZE), 0);
    assert_memory_equal(buffer + DATA, before, sizeof(before));
    buffer[0] = 2; /* another version */
    assert_true(get_quote(false, BUFFER, 8192));
    assert_int_equal(status(), TDX_QUOTE_ERROR);
}

static void operands_are_checked(void **state)
{
    (void)state;
    static const struct {
        uint64_t gpa, size;
    } rows[] = {
        {BUFFER & ~SHARED_BIT, 8192},
        {BUFFER + 8, 8192},
        {BUFFER + 2048, 8192},
        {BUFFER, 0},
        {BUFFER, 4095},
        {BUFFER, 1024},
        {BUFFER | BIT(40), 8192},
        {BUFFER | BIT(63), 8192},
        {SHARED_BIT | 0x40000, 8192}, /* nothing is there */
    };
    static uint8_t before[sizeof(ram)];

    memcpy(before, ram, sizeof(ram));
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        if (get_quote(i % 2, rows[i].gpa, rows[i].size))
            fail_msg("row %u", i);
    }
    assert_memory_equal(ram, before, sizeof(ram));
}

static void bad_buffers_get_a_status(void **state)
{
    (void)state;
    static const unsigned offsets[] = {0,          7,          IN_SIZE,    IN_SIZE + 3,
                                       DATA,       DATA + 100, DATA + 223, DATA + 300,
                                       DATA + 512, DATA + 1023};

    for (unsigned i = 0; i < ARRAY_SIZE(offsets); i++) {
        setup(NULL);
        buffer[offsets[i]] ^= 1;
        assert_true(get_quote(true, BUFFER, 4096));
        if (status() != TDX_QUOTE_ERROR)
            fail_msg("byte %u: %#lx", offsets[i], status());
        assert_int_equal(word(OUT_SIZE), 0);
    }
}

/* One access fails, because another CPU converts the buffer. The result is an error if the status
 * can still be written, and otherwise an invalid operand. */
static void memory_may_go_away(void **state)
{
    (void)state;
    for (unsigned reads = 0; reads < 2; reads++) {
        setup(NULL);
        reads_left = reads;
        assert_int_equal(get_quote(true, BUFFER, 4096), reads > 0);
        assert_true(status() == (reads ? TDX_QUOTE_ERROR : ~0ull));
    }
    for (unsigned writes = 0; writes < 4; writes++) {
        setup(NULL);
        writes_left = writes;
        assert_int_equal(get_quote(true, BUFFER, 4096), writes < 2);
        assert_true(status() == (writes < 2 ? TDX_QUOTE_ERROR : ~0ull));
    }
    setup(NULL);
    writes_left = 4;
    assert_true(get_quote(true, BUFFER, 4096));
}

static void the_status_comes_last(void **state)
{
    (void)state;
    assert_true(get_quote(true, BUFFER, 4096));
    assert_int_equal(status(), TDX_QUOTE_SUCCESS);
    assert_int_equal(last_write, BUFFER + STATUS);
    assert_memory_equal(ram, ram + 0x2000, 0x1000); /* around it nothing has changed */
}

/* Sums around the order and around 2^256, which no hash will ever show. */
static void sums_are_reduced(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b, *sum;
    } rows[] = {
        {"1", "2", "3"},
        {"ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632550", "0",
         "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632550"},
        {"ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632550", "1", "0"},
        {"ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632550", "3", "2"},
        {"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", "0",
         "ffffffff00000000000000004319055258e8617b0c46353d039cdaae"},
        {"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", "1",
         "ffffffff00000000000000004319055258e8617b0c46353d039cdaaf"},
        {"ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632550",
         "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632550",
         "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc63254f"},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        uint8_t a[32], b[32], sum[32], expected[32];
        number(rows[i].a, a);
        number(rows[i].b, b);
        number(rows[i].sum, expected);
        tdx_quote_add(sum, a, b);
        assert_memory_equal(sum, expected, sizeof(sum));
    }
}

static void write_file(const char *name, const void *bytes, size_t size)
{
    FILE *file = fopen(name, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    fclose(file);
}

/* Random reports, so that the sum of hash and constant is sometimes above the curve's order. */
static void quotes_are_verified(void **state)
{
    (void)state;
    char folder[] = "/tmp/test_quote.XXXXXX", name[64], command[200];

    assert_non_null(mkdtemp(folder));
    for (unsigned i = 0; i < 24; i++) {
        setup(NULL);
        snprintf(name, sizeof(name), "%s/report%02u", folder, i);
        write_file(name, buffer + DATA, 1024);
        assert_true(get_quote(true, BUFFER, 4096));
        assert_int_equal(status(), TDX_QUOTE_SUCCESS);
        snprintf(name, sizeof(name), "%s/quote%02u", folder, i);
        write_file(name, buffer + DATA, word(OUT_SIZE));
    }
    snprintf(command, sizeof(command), "python3 tests/unit/tdx/judge_quotes.py %s 24", folder);
    int result = system(command);
    snprintf(command, sizeof(command), "rm -r %s", folder);
    assert_int_equal(system(command), 0);
    assert_int_equal(result, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(without_the_word_it_is_unavailable, setup),
        cmocka_unit_test_setup(operands_are_checked, setup),
        cmocka_unit_test_setup(bad_buffers_get_a_status, setup),
        cmocka_unit_test_setup(memory_may_go_away, setup),
        cmocka_unit_test_setup(the_status_comes_last, setup),
        cmocka_unit_test_setup(sums_are_reduced, setup),
        cmocka_unit_test_setup(quotes_are_verified, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
