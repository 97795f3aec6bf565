/* SPDX-License-Identifier: MIT */
/*
 * The console's serial port (arch/x86/serial.c, serial_find.c): which port is chosen by the command
 * line, by ACPI's tables, or because it is there; that it gets all text, wherever and whenever it
 * is found, and what is said when there is none.
 */
#include "tests/unit/arch/serial_world.h"

#include "arch/x86/serial.h"
#include "arch/x86/serial_find.h"
#include "arch/x86/tsc.h"
#include "arch/x86/unprivileged.h"
#include "lib/errno.h"
#include "lib/log.h"

#include <stdio.h>

static struct boot_info machine = {.ranges = {{HPA(0x100000), 0x10000000, BOOT_RAM}},
                                   .range_count = 1};

/* The log: what is printed goes to its text, and to the console, which gets the text so far. */
static void (*console_write)(const char *text, size_t length);

void log_add_console(void (*write)(const char *text, size_t length), size_t (*room)(char next))
{
    assert_null(room);
    console_write = write;
    write(support_log(), strlen(support_log()));
}

static void say(const char *line)
{
    log_info("%s", line);
    char text[128];
    int length = snprintf(text, sizeof(text), "%s\n", line);
    if (console_write)
        console_write(text, (size_t)length);
}

static int setup(void **state)
{
    console_write = NULL;
    return world_setup(state);
}

/* The state of arch/x86/serial.c is that of a machine's life, so that each case is one of its own:
 * the file is included, and reset. */
static uint64_t clock_now, clock_step, clock_khz;
static uint64_t clock_read(void)
{
    return clock_now += clock_step;
}
#define rdtsc clock_read

uint64_t tsc_khz(void)
{
    return clock_khz;
}

#include "arch/x86/serial.c"

static void boot_anew(void)
{
    setup(NULL);
    console = (struct serial_port){0};
    begun = is_open = false;
    where[0] = 0;
    last = '\n';
    clock_khz = clock_step = 1000; /* a read takes a millisecond */
}

static struct world_uart *com1_there(void)
{
    return world_add(false, 0x3f8, 1, 1);
}

/* ---- The choice ------------------------------------------------------------------------------ */

static struct world_uart *other;

/* A machine with COM1 and COM2, and perhaps a card at 0:4.0. */
static struct world_uart *two_ports(void)
{
    boot_anew();
    struct world_uart *uart = com1_there();
    other = world_add(false, 0x2f8, 1, 1);
    return uart;
}

static void settle(const char *value)
{
    say("the first line");
    char command_line[100];
    snprintf(command_line, sizeof(command_line), "cpus=1 serial=%s", value);
    serial_begin(command_line);
    say("a line");
    assert_int_equal(serial_settle(value, &machine), 0);
    say("the last line");
}

static void expect_all_text(const struct world_uart *uart)
{
    assert_non_null(strstr(uart->text, "the first line\r\n"));
    assert_non_null(strstr(uart->text, "a line\r\n"));
    assert_non_null(strstr(uart->text, "the last line\r\n"));
}

static void expect_said(const char *text)
{
    if (!strstr(support_log(), text))
        fail_msg("\"%s\" is not in:\n%s", text, support_log());
}

static void test_com1_by_default(void **state)
{
    (void)state;
    struct world_uart *uart = two_ports();
    say("the first line");
    serial_begin("");
    expect_said("the first line");
    assert_non_null(strstr(uart->text, "the first line\r\n")); /* at once */
    assert_int_equal(serial_settle("auto", &machine), 0);
    expect_said("serial: the console is at 0x3f8 (COM1), 115200 baud\n");
    assert_int_equal(other->sent, 0);
    assert_int_equal(uart->divisor, 1);
    assert_true(serial_is_at(0x3f8));
    assert_false(serial_is_at(0x2f8));
    uart->received = 'k';
    assert_int_equal(serial_read(), 'k');
}

static void test_off(void **state)
{
    (void)state;
    struct world_uart *uart = two_ports();
    settle("off");
    expect_said("serial: there is no serial console (serial=off)\n");
    assert_int_equal(uart->sent + other->sent, 0);
    assert_int_equal(uart->divisor, 12); /* untouched */
    assert_int_equal(serial_read(), -1);
    serial_drain();
}

static void test_a_port_by_number(void **state)
{
    (void)state;
    struct world_uart *uart = two_ports();
    spcr(0x3f8); /* the command line decides */
    settle("0x2f8,9600");
    expect_all_text(other);
    expect_said("serial: the console is at 0x2f8 (COM2), 9600 baud\n");
    assert_int_equal(other->divisor, 12);
    assert_int_equal(uart->sent, 0);
    assert_true(serial_is_at(0x2f8));
}

static void test_spcr_decides(void **state)
{
    (void)state;
    struct world_uart *uart = two_ports();
    spcr(0x2f8);
    settle("auto");
    expect_all_text(other);
    assert_int_equal(other->divisor, 12);
    assert_non_null(strstr(uart->text, "a line\r\n")); /* as long as nothing else was known */
    assert_null(strstr(uart->text, "the last line"));
    expect_said("serial: the console goes on at 0x2f8 (COM2), which ACPI's SPCR names, 9600 baud\n"
                "serial: the console is at 0x2f8 (COM2), which ACPI's SPCR names, 9600 baud\n");
    /* The same port at another rate. */
    uart = two_ports();
    spcr(0x3f8);
    settle("auto");
    expect_all_text(uart);
    assert_int_equal(uart->divisor, 12);
    assert_null(strstr(support_log(), "goes on"));
    /* And exactly what is used already: its text is not repeated. */
    uart = two_ports();
    spcr(0x3f8)[58] = 7;
    settle("auto");
    assert_null(strstr(strstr(uart->text, "a line") + 1, "a line"));
    /* Nor is it if ACPI leaves the rate as the firmware had it: we have set another one already. */
    uart = two_ports();
    spcr(0x3f8)[58] = 0;
    settle("auto");
    assert_null(strstr(strstr(uart->text, "a line") + 1, "a line"));
    assert_int_equal(uart->divisor, 1);
    expect_said("serial: the console is at 0x3f8 (COM1), 115200 baud\n");
    /* A rate of the command line, for the port that ACPI names. */
    two_ports();
    spcr(0x2f8);
    settle("auto,57600");
    expect_said("is at 0x2f8 (COM2), which ACPI's SPCR names, 57600 baud\n");
    assert_int_equal(other->divisor, 2);
}

static void test_dbg2_comes_after_spcr(void **state)
{
    (void)state;
    two_ports();
    spcr(0x3e8); /* is not there */
    put_address(dbg2_device(0x8000, 0) + 22, 1, 8, 1, 0x2f8);
    settle("auto");
    expect_all_text(other);
    expect_said("serial: there is no UART at 0x3e8, which ACPI's SPCR names: nothing answers (its "
                "line status is 0xff)\n");
    expect_said("serial: the console is at 0x2f8 (COM2), which ACPI's DBG2 names, 115200 baud\n");
    struct world_uart *uart = two_ports();
    spcr(0);
    settle("auto");
    expect_all_text(uart);
    expect_said(
        "serial: ACPI's SPCR names no port for a console: it says that the port is not used "
        "(its address is 0)\n");
}

static void test_a_port_in_memory(void **state)
{
    (void)state;
    boot_anew();
    struct world_uart *uart = world_add(true, 0xfe030000, 4, 4);
    settle("mmio:0xfe030000,4");
    expect_all_text(uart);
    expect_said("serial: the console is at 0xfe030000 in memory, the firmware's rate\n");
    assert_int_equal(uart->divisor, 12);
    assert_int_equal(world_mapped_end, 0xfe030020);
    boot_anew();
    uart = world_add(true, 0xfe030000, 4, 4);
    uint8_t *table = spcr(0);
    table[36] = 0x14;
    put_address(table + 40, 0, 32, 3, 0xfe030000);
    table[58] = 0;
    settle("auto");
    expect_all_text(uart);
    expect_said("0xfe030000 in memory, which ACPI's SPCR names, the firmware's rate\n");
}

static struct world_function *card(void)
{
    struct world_function *function = world_add_function(4, 0x00031b36, 0x070002);
    world_add_bar(function, 0, 0xc001, 16);
    return function;
}

static void test_cards(void **state)
{
    (void)state;
    boot_anew();
    card();
    other = world_add(false, 0xc000, 1, 1);
    settle("auto"); /* there is no COM1 */
    expect_all_text(other);
    expect_said("serial: the console is at 0xc000, port 0 of the PCI function 00:04.0, 115200 "
                "baud\n");
    struct world_uart *uart = two_ports();
    card();
    other = world_add(false, 0xc008, 1, 1);
    settle("pci:00:04.0,1,19200");
    expect_all_text(other);
    expect_said("0xc008, port 1 of the PCI function 00:04.0, 19200 baud\n");
    assert_int_equal(uart->sent, 0);
    boot_anew();
    struct world_function *lpss = world_add_function(4, 0x9d278086, 0x118000);
    world_add_bar(lpss, 0, 0xfe030004, 4096);
    lpss->writable[5] = UINT32_MAX;
    uart = world_add(true, 0xfe030000, 4, 4);
    uart->lpss_needs = 3;
    settle("pci:00:04.0");
    expect_all_text(uart);
    expect_said("0xfe030000 in memory, port 0 of the PCI function 00:04.0, 115200 baud\n");
}

static void test_nothing_is_there(void **state)
{
    (void)state;
    boot_anew();
    settle("auto");
    expect_said("serial: no console; there is no UART at 0x3f8 (COM1): nothing answers (its line "
                "status is 0xff); and there is no PCI card with one\n");
    boot_anew();
    card();
    settle("auto");
    expect_said("serial: no console; there is no UART at 0xc000, port 0 of the PCI function "
                "00:04.0: nothing answers (its line status is 0xff)\n");
    assert_int_equal(world_strays, 0);
    assert_int_equal(serial_read(), -1);
}

static void expect_refused(const char *value, const char *text)
{
    char command_line[100];
    snprintf(command_line, sizeof(command_line), "serial=%s", value);
    serial_begin(command_line);
    assert_int_equal(serial_settle(value, &machine), -EINVAL);
    expect_said(text);
}

static void test_what_the_command_line_names_must_be_there(void **state)
{
    (void)state;
    two_ports();
    expect_refused("0x3e8",
                   "command line: serial=0x3e8: there is no UART at 0x3e8: nothing answers "
                   "(its line status is 0xff)\n");
    assert_true(serial_is_at(0x3f8)); /* so that the message can be read somewhere */
    two_ports();
    expect_refused("com2", "command line: serial=com2: it names no place; allowed: auto, off, "
                           "0x2f8, pci:[SEGMENT:]BUS:DEVICE.FUNCTION[,PORT] or "
                           "mmio:ADDRESS[,STRIDE], and then ,BAUD\n");
    assert_true(serial_is_at(0x3f8));
    two_ports();
    expect_refused("0x2f8,250000",
                   "command line: serial=0x2f8,250000: the port at 0x2f8 (COM2) cannot make 250000 "
                   "baud: its clock of 1843200 Hz is divided by 16 and by a whole number\n");
    two_ports();
    expect_refused("pci:00:04.0", "command line: serial=pci:00:04.0: the PCI function 00:04.0 "
                                  "cannot be used: there is no such PCI function\n");
    two_ports();
    expect_refused("mmio:0x200000", "there is no UART at 0x200000 in memory: there is RAM\n");
    two_ports();
    world_maps_nothing = true;
    expect_refused("mmio:0xfe030000", "0xfe030000 in memory: it cannot be mapped\n");
}

static void test_the_last_resort(void **state)
{
    (void)state;
    struct world_uart *uart = two_ports();
    say("the first line");
    serial_last_resort();
    assert_string_equal(uart->text, "the first line\r\n");
    serial_last_resort();
    assert_string_equal(uart->text, "the first line\r\n");
    uart = two_ports();
    serial_begin("serial=off");
    serial_last_resort();
    assert_int_equal(uart->sent, 0);
}

static void writes(const char *text)
{
    serial_write(text, strlen(text));
}

/* How long writing takes, in milliseconds. */
static uint64_t write_ms(const char *text)
{
    uint64_t start = clock_now;
    writes(text);
    return (clock_now - start) / (clock_khz ? clock_khz : TSC_KHZ_GUESS);
}

/* A port that has stalled is waited for once. When it has room again, whole lines follow. */
static void test_a_port_that_stalls(void **state)
{
    (void)state;
    struct world_uart *uart = two_ports();
    serial_begin("");
    writes("no ");
    uart->never_sends = true;
    assert_in_range(write_ms("t ok\n"), STALL_MS, STALL_MS + 3); /* 6 characters with CR LF */
    clock_step = 10;                                             /* 10 us */
    for (unsigned i = 0; i < 500; i++)
        writes("1\n"); /* 3 characters, and a look at the clock */
    assert_in_range(clock_now / 1000, STALL_MS, STALL_MS + 20);
    serial_drain();
    assert_in_range(clock_now / 1000, STALL_MS, STALL_MS + 20);
    uart->never_sends = false;
    writes("2\n"); /* it is not time to look again */
    assert_string_equal(uart->text, "no ");
    clock_now += RETRY_MS * clock_khz;
    writes("ok 1\nok 2\n");
    assert_string_equal(uart->text, "no \r\n# serial: the port did not send for 1106 ms; 1509 "
                                    "characters are missing here\r\nok 1\r\nok 2\r\n");
    assert_true(is_open);
}

/* The rest of a line is not shown, because it looks like another line. */
static void test_a_line_whose_beginning_is_lost(void **state)
{
    (void)state;
    struct world_uart *uart = two_ports();
    serial_begin("");
    uart->never_sends = true;
    writes("not ");
    uart->never_sends = false;
    clock_now += RETRY_MS * clock_khz;
    writes("ok 1");
    assert_string_equal(uart->text, "");
    clock_step = 1;
    writes("\nok 2\n");
    assert_string_equal(uart->text,
                        "# serial: the port did not send for 1101 ms; 10 characters are "
                        "missing here\r\nok 2\r\n");
}

/* Later waits are short, also for the line about what was lost, which is said again then. */
static void test_a_port_that_stalls_again(void **state)
{
    (void)state;
    struct world_uart *uart = two_ports();
    serial_begin("");
    uart->stalls = true;
    assert_in_range(write_ms("a\n"), STALL_MS, STALL_MS + 3);
    uart->takes = 4;
    clock_now += RETRY_MS * clock_khz;
    assert_in_range(write_ms("b\n"), AGAIN_MS, AGAIN_MS + 20);
    assert_string_equal(uart->text, "# se");
    uart->stalls = false;
    clock_now += RETRY_MS * clock_khz;
    writes("c\n");
    assert_non_null(strstr(uart->text, "# se\r\n# serial: the port did not send for 1"));
    assert_non_null(strstr(uart->text, " ms; 6 characters are missing here\r\nc\r\n"));
    uart->never_sends = true;
    assert_in_range(write_ms("d\n"), AGAIN_MS, AGAIN_MS + 3);
}

static void test_a_stall_before_the_tsc_is_measured(void **state)
{
    (void)state;
    struct world_uart *uart = two_ports();
    serial_begin("");
    uart->never_sends = true;
    clock_khz = 0;
    clock_step = TSC_KHZ_GUESS;
    assert_in_range(write_ms("a"), STALL_MS, STALL_MS + 3);
}

static void test_newlines(void **state)
{
    (void)state;
    struct world_uart *uart = two_ports();
    serial_begin("");
    serial_write("a\nb\r\nc\r", 7);
    serial_write("\n\n", 2);
    assert_string_equal(uart->text, "a\r\nb\r\nc\r\n\r\n");
}

static void test_the_second_port(void **state)
{
    (void)state;
    boot_anew();
    assert_false(serial2_init());
    assert_int_equal(world_strays, 0);
    two_ports();
    assert_true(serial2_init());
    assert_int_equal(other->divisor, 1);
    assert_int_equal(serial2_room(), SERIAL_FIFO);
    serial2_put('g');
    assert_string_equal(other->text, "g");
    assert_true(serial2_is_idle());
    other->received = 0xff;
    assert_int_equal(serial2_read(), 0xff);
    assert_int_equal(serial2_read(), -1);
}

/* A machine whose reset does not reach the UART (N116): its BIOS finds it as after power-on. */
static void test_a_port_is_left_as_it_was_found(void **state)
{
    (void)state;
    boot_anew();
    serial_leave(); /* there is none */
    assert_int_equal(world_strays, 0);
    struct world_uart *uart = com1_there();
    serial_begin("");
    assert_int_equal(uart->fifo, 1);
    serial_leave();
    assert_int_equal(uart->fifo, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_com1_by_default, setup),
        cmocka_unit_test_setup(test_off, setup),
        cmocka_unit_test_setup(test_a_port_by_number, setup),
        cmocka_unit_test_setup(test_spcr_decides, setup),
        cmocka_unit_test_setup(test_dbg2_comes_after_spcr, setup),
        cmocka_unit_test_setup(test_a_port_in_memory, setup),
        cmocka_unit_test_setup(test_cards, setup),
        cmocka_unit_test_setup(test_nothing_is_there, setup),
        cmocka_unit_test_setup(test_what_the_command_line_names_must_be_there, setup),
        cmocka_unit_test_setup(test_the_last_resort, setup),
        cmocka_unit_test_setup(test_a_port_that_stalls, setup),
        cmocka_unit_test_setup(test_a_line_whose_beginning_is_lost, setup),
        cmocka_unit_test_setup(test_a_port_that_stalls_again, setup),
        cmocka_unit_test_setup(test_a_stall_before_the_tsc_is_measured, setup),
        cmocka_unit_test_setup(test_newlines, setup),
        cmocka_unit_test_setup(test_the_second_port, setup),
        cmocka_unit_test(test_a_port_is_left_as_it_was_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
