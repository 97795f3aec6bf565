/* SPDX-License-Identifier: MIT */
/* The real-time clock: dates compared with the C library's, conversion to and from each format of
 * the registers, and the device with its memory. */
#include "tests/unit/support.h"

#include "dev/rtc.h"

#include <string.h>
#include <time.h>

static uint32_t random_state = 1;
static uint32_t random_below(uint32_t n)
{
    random_state = random_state * 1664525 + 1013904223;
    return (random_state >> 8) % n;
}

/* ---- Dates ----------------------------------------------------------------------------------- */

static void check_date(uint64_t seconds)
{
    time_t time = (time_t)seconds;
    struct tm want;
    gmtime_r(&time, &want);
    struct calendar date = calendar_of(seconds);
    assert_int_equal(date.year, want.tm_year + 1900);
    assert_int_equal(date.month, want.tm_mon + 1);
    assert_int_equal(date.day, want.tm_mday);
    assert_int_equal(date.hour, want.tm_hour);
    assert_int_equal(date.minute, want.tm_min);
    assert_int_equal(date.second, want.tm_sec);
    assert_int_equal(date.weekday, want.tm_wday);
    assert_true(calendar_seconds(&date) == seconds);
}

#define END_OF_9999 253402300800ull

static void dates(void **state)
{
    (void)state;
    for (uint64_t seconds = 0; seconds < END_OF_9999; seconds += 86400 * 7 + 12345)
        check_date(seconds);
    for (uint64_t day = 0; day < 401 * 366; day++) {
        check_date(day * 86400);
        check_date(day * 86400 + 86399);
    }
    check_date(END_OF_9999 - 1);
}

/* ---- Forms ----------------------------------------------------------------------------------- */

static const uint8_t forms[] = {0, CMOS_B_BINARY, CMOS_B_24_HOURS, CMOS_B_BINARY | CMOS_B_24_HOURS};

static void encode_all(const struct calendar *date, uint8_t b, uint8_t *registers)
{
    memset(registers, 0, CMOS_REGISTERS);
    for (unsigned reg = 0; reg < CMOS_REGISTERS; reg++)
        registers[reg] = cmos_encode(date, reg, b);
    registers[CMOS_B] = b;
    registers[CMOS_D] = CMOS_D_VALID;
}

static void there_and_back(void **state)
{
    (void)state;
    uint8_t registers[CMOS_REGISTERS];
    for (unsigned i = 0; i < 100000; i++) {
        uint64_t seconds = 946684800 + (uint64_t)random_below(1 << 24) * 7919 % (80ull * 31556952);
        struct calendar date = calendar_of(seconds), back;
        encode_all(&date, forms[i % 4], registers);
        assert_true(cmos_decode(registers, &back));
        assert_true(calendar_seconds(&back) == seconds);
    }
}

static void hours(void **state)
{
    (void)state;
    static const struct {
        uint8_t hour, bcd12, binary12, bcd24;
    } rows[] = {
        {0, 0x12, 12, 0x00},    {1, 0x01, 1, 0x01},     {9, 0x09, 9, 0x09},
        {10, 0x10, 10, 0x10},   {11, 0x11, 11, 0x11},   {12, 0x92, 0x8c, 0x12},
        {13, 0x81, 0x81, 0x13}, {22, 0x90, 0x8a, 0x22}, {23, 0x91, 0x8b, 0x23},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        struct calendar date = {.hour = rows[i].hour};
        assert_int_equal(cmos_encode(&date, CMOS_HOUR, 0), rows[i].bcd12);
        assert_int_equal(cmos_encode(&date, CMOS_HOUR, CMOS_B_BINARY), rows[i].binary12);
        assert_int_equal(cmos_encode(&date, CMOS_HOUR, CMOS_B_24_HOURS), rows[i].bcd24);
        assert_int_equal(cmos_encode(&date, CMOS_HOUR, CMOS_B_24_HOURS | CMOS_B_BINARY),
                         rows[i].hour);
    }
}

/* Without a clock all registers read as ones, and with an empty battery they have any contents.
 * Neither may be taken for a time. */
static void no_time(void **state)
{
    (void)state;
    static const struct {
        uint8_t reg, value;
    } wrong[] = {{CMOS_MONTH, 0},   {CMOS_MONTH, 0x13},  {CMOS_DAY, 0},       {CMOS_DAY, 0x32},
                 {CMOS_HOUR, 0x24}, {CMOS_MINUTE, 0x60}, {CMOS_SECOND, 0x60}, {CMOS_D, 0}};
    uint8_t registers[CMOS_REGISTERS];
    struct calendar date, start = calendar_of(946684800);
    memset(registers, 0xff, sizeof(registers));
    assert_false(cmos_decode(registers, &date));
    for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
        encode_all(&start, CMOS_B_24_HOURS, registers);
        assert_true(cmos_decode(registers, &date));
        registers[wrong[i].reg] = wrong[i].value;
        assert_false(cmos_decode(registers, &date));
    }
    encode_all(&start, CMOS_B_24_HOURS, registers);
    registers[CMOS_CENTURY] = 0; /* a machine without a century register */
    assert_true(cmos_decode(registers, &date));
    assert_int_equal(date.year, 2000);
}

/* ---- The device ------------------------------------------------------------------------------ */

static struct rtc rtc;
static uint64_t now;

static uint64_t clock_now(void)
{
    return now;
}

static int setup(void **state)
{
    (void)state;
    support_reset();
    now = 1000000000000; /* 2001-09-09 01:46:40, a Sunday */
    rtc_init(&rtc, clock_now, 96ull << 20);
    return 0;
}

static uint8_t get(unsigned reg)
{
    rtc_ops.write(&rtc, NULL, 0, 1, reg);
    return (uint8_t)rtc_ops.read(&rtc, NULL, 1, 1);
}

static void put(unsigned reg, uint8_t value)
{
    rtc_ops.write(&rtc, NULL, 0, 1, reg);
    rtc_ops.write(&rtc, NULL, 1, 1, value);
}

static void shows_the_time(void **state)
{
    (void)state;
    static const uint8_t want[][2] = {{CMOS_SECOND, 0x40}, {CMOS_MINUTE, 0x46}, {CMOS_HOUR, 0x01},
                                      {CMOS_WEEKDAY, 1},   {CMOS_DAY, 0x09},    {CMOS_MONTH, 0x09},
                                      {CMOS_YEAR, 0x01},   {CMOS_CENTURY, 0x20}};
    for (unsigned i = 0; i < ARRAY_SIZE(want); i++) {
        assert_int_equal(get(want[i][0]), want[i][1]);
        put(want[i][0], 0x11);
        assert_int_equal(get(want[i][0]), want[i][1]);
        assert_int_equal(get(want[i][0] | 0x80), want[i][1]); /* with NMIs masked */
    }
    put(CMOS_B, CMOS_B_BINARY | CMOS_B_24_HOURS);
    assert_int_equal(get(CMOS_SECOND), 40);
    assert_int_equal(rtc_ops.read(&rtc, NULL, 0, 1), 0xff);
}

static void control_registers(void **state)
{
    (void)state;
    assert_int_equal(get(CMOS_A), 0x26);
    put(CMOS_A, 0xaf);
    assert_int_equal(get(CMOS_A), 0x2f);
    assert_int_equal(get(CMOS_B), 0x02);
    put(CMOS_B, 0xff); /* the enable bits of interrupts can't be set */
    assert_int_equal(get(CMOS_B), 0x86);
    put(CMOS_C, 0xff);
    assert_int_equal(get(CMOS_C), 0);
    put(CMOS_D, 0);
    assert_int_equal(get(CMOS_D), 0x80);
}

/* A guest that has seen that no update is in progress reads a consistent time. */
static void no_time_is_torn(void **state)
{
    (void)state;
    now = 1000000019999; /* 01:46:59.999 */
    assert_int_equal(get(CMOS_A) & CMOS_A_UPDATING, 0);
    assert_int_equal(get(CMOS_SECOND), 0x59);
    now += 5;
    assert_int_equal(get(CMOS_MINUTE), 0x46);
    assert_int_equal(get(CMOS_SECOND), 0x59);
    now += 5;
    assert_int_equal(get(CMOS_MINUTE), 0x46);
    now += 1;
    assert_int_equal(get(CMOS_MINUTE), 0x47); /* the time proceeds without register A, too */
    assert_int_equal(get(CMOS_SECOND), 0x00);
    now += 989; /* 01:47:00.999 */
    (void)get(CMOS_A);
    now += 1;
    assert_int_equal(get(CMOS_SECOND), 0x00);
    (void)get(CMOS_A);
    assert_int_equal(get(CMOS_SECOND), 0x01);
}

static void memory(void **state)
{
    (void)state;
    unsigned kept = 0;
    assert_int_equal(get(0x15) | get(0x16) << 8, 640);
    assert_int_equal(get(0x17) | get(0x18) << 8, 0xffff);
    assert_int_equal(get(0x30) | get(0x31) << 8, 0xffff);
    assert_int_equal(get(0x34) | get(0x35) << 8, (96 - 16) * 16);
    for (unsigned reg = CMOS_D + 1; reg < CMOS_REGISTERS; reg++) {
        put(reg, (uint8_t)(reg ^ 0x5a));
        kept += get(reg) == (uint8_t)(reg ^ 0x5a);
    }
    assert_int_equal(kept, CMOS_REGISTERS - CMOS_D - 1 - 1); /* all but the century */
    for (unsigned reg = 1; reg <= 5; reg += 2) {             /* alarms */
        put(reg, 0xc0);
        assert_int_equal(get(reg), 0xc0);
    }
    rtc_init(&rtc, clock_now, 8ull << 20);
    assert_int_equal(get(0x17) | get(0x18) << 8, 7 * 1024);
    assert_int_equal(get(0x34) | get(0x35) << 8, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dates),
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(hours),
        cmocka_unit_test(no_time),
        cmocka_unit_test_setup(shows_the_time, setup),
        cmocka_unit_test_setup(control_registers, setup),
        cmocka_unit_test_setup(no_time_is_torn, setup),
        cmocka_unit_test_setup(memory, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
