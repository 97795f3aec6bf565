/* SPDX-License-Identifier: MIT */
/* The serial ports that ACPI names (arch/x86/spcr.c): SPCR of each revision, DBG2, broken ones. */
#include "tests/unit/arch/spcr_tables.h"
#include "tests/unit/support.h"

#include "arch/x86/spcr.h"
#include "lib/bits.h"

static struct serial_place found;

static void expect_spcr(const char *problem)
{
    const char *said = spcr_parse(tables_spcr, &found);
    if (problem)
        assert_string_equal(said ? said : "it is good", problem);
    else
        assert_null(said);
}

static void expect_dbg2(const char *problem)
{
    const char *said = dbg2_parse(tables_dbg2, &found);
    if (problem)
        assert_string_equal(said ? said : "it is good", problem);
    else
        assert_null(said);
}

static void test_spcr(void **state)
{
    (void)state;
    uint8_t *table = spcr(0x2f8);
    expect_spcr(NULL);
    assert_false(found.memory);
    assert_int_equal(found.address, 0x2f8);
    assert_int_equal(found.baud, 9600);
    assert_int_equal(found.clock, SERIAL_CLOCK);
    static const uint32_t rates[] = {0, 0, 0, 9600, 19200, 0, 57600, 115200, 0};
    for (unsigned i = 0; i < ARRAY_SIZE(rates); i++) {
        table[58] = (uint8_t)i;
        expect_spcr(NULL);
        assert_int_equal(found.baud, rates[i]);
    }
    /* An LPSS' UART, as in recorded tables: memory, registers of 32 bits, and the rate stays. */
    table[36] = 0x14;
    put_address(table + 40, 0, 32, 3, 0xfe030000);
    table[58] = 0;
    expect_spcr(NULL);
    assert_true(found.memory);
    assert_int_equal(found.stride, 4);
    assert_int_equal(found.width, 4);
    assert_int_equal(found.baud, 0);
    assert_int_equal(found.clock, 0);
    /* Revisions 3 and 4 add the clock and other rates. */
    put(table + 76, 48000000, 4);
    put(table + 80, 1500000, 4);
    put(table + 4, 88, 4);
    expect_spcr(NULL);
    assert_int_equal(found.clock, 0);
    table[8] = 3;
    expect_spcr(NULL);
    assert_int_equal(found.clock, 48000000);
    assert_int_equal(found.baud, 0);
    table[8] = 4;
    expect_spcr(NULL);
    assert_int_equal(found.baud, 1500000);
    put(table + 4, 80, 4); /* shorter than its revision */
    expect_spcr(NULL);
    assert_int_equal(found.baud, 0);
}

static void test_widths(void **state)
{
    (void)state;
    static const struct {
        uint8_t bits, access;
        unsigned stride, width;
    } good[] = {{8, 1, 1, 1},  {8, 0, 1, 1},  {0, 0, 1, 1},  {32, 0, 4, 4},
                {32, 1, 4, 1}, {16, 2, 2, 2}, {32, 3, 4, 4}, {8, 3, 4, 4}};
    uint8_t *table = spcr(0);
    for (unsigned i = 0; i < ARRAY_SIZE(good); i++) {
        put_address(table + 40, 0, good[i].bits, good[i].access, 0xfe030000);
        expect_spcr(NULL);
        assert_int_equal(found.stride, good[i].stride);
        assert_int_equal(found.width, good[i].width);
    }
}

static void test_broken_spcr(void **state)
{
    (void)state;
    uint8_t *table = spcr(0);
    expect_spcr("it says that the port is not used (its address is 0)");
    put_address(table + 40, 1, 8, 1, 0xfff9);
    expect_spcr("there is no such I/O port");
    put_address(table + 40, 2, 8, 1, 0x3f8);
    expect_spcr("its port is neither in memory nor at I/O ports");
    put_address(table + 40, 0, 64, 1, 0xfe030000);
    expect_spcr("its registers have an impossible width");
    put_address(table + 40, 0, 24, 1, 0xfe030000);
    expect_spcr("its registers have an impossible width");
    put_address(table + 40, 0, 32, 4, 0xfe030000);
    expect_spcr("its registers have an impossible width");
    put_address(table + 40, 0, 32, 3, 0xfe030002);
    expect_spcr("its address is no multiple of the width of an access");
    table = spcr(0x3f8);
    table[36] = 3; /* a PL011 */
    expect_spcr("its port is not compatible with the 16550");
    table[36] = 0x12;
    expect_spcr(NULL);
    table[8] = 1; /* when there were only two types */
    expect_spcr("its port is not compatible with the 16550");
    table[36] = 1;
    expect_spcr(NULL);
    put(table + 4, 79, 4);
    expect_spcr("it is too short");
}

static void test_dbg2(void **state)
{
    (void)state;
    uint8_t *usb = dbg2_device(0x8002, 0);
    expect_dbg2("it lists no serial port that is compatible with the 16550");
    dbg2_device(0x8000, 3); /* a PL011 */
    uint8_t *unused = dbg2_device(0x8000, 0);
    put_address(unused + 22, 1, 8, 1, 0);
    expect_dbg2("it says that the port is not used (its address is 0)");
    uint8_t *port = dbg2_device(0x8000, 0);
    put_address(port + 22, 1, 8, 1, 0x2f8);
    expect_dbg2(NULL);
    assert_int_equal(found.address, 0x2f8);
    assert_int_equal(found.baud, 115200);
    put_address(port + 22, 0, 32, 3, 0xfe030000);
    expect_dbg2(NULL);
    assert_int_equal(found.baud, 0); /* the clock is not known */
    put(port + 18, 37, 2);           /* ends behind the device */
    expect_dbg2("its serial port has no address");
    put(port + 18, 21, 2);
    expect_dbg2("its serial port has no address");
    put(port + 18, 22, 2);
    port[3] = 0;
    expect_dbg2("its serial port has no address");
    put(port + 1, 49, 2); /* the last one ends behind the table */
    expect_dbg2("a device of it does not fit into it");
    put(port + 1, 48, 2);
    put(usb + 1, 21, 2);
    expect_dbg2("a device of it does not fit into it");
    put(usb + 1, 0xffff, 2);
    expect_dbg2("a device of it does not fit into it");
    put(dbg2_bytes + 40, UINT32_MAX, 4); /* more devices than fit */
    put(usb + 1, 48, 2);
    expect_dbg2("a device of it does not fit into it");
    put(dbg2_bytes + 36, 0xfffffff0, 4);
    expect_dbg2("a device of it does not fit into it");
    put(dbg2_bytes + 36, 36, 4);
    expect_dbg2("it is too short");
    put(dbg2_bytes + 4, 40, 4);
    expect_dbg2("it is too short");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spcr),
        cmocka_unit_test(test_widths),
        cmocka_unit_test(test_broken_spcr),
        cmocka_unit_test(test_dbg2),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
