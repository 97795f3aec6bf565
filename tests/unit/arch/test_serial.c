/* SPDX-License-Identifier: MIT */
/*
 * Serial ports (arch/x86/serial_port.c, serial_card.c, serial_word.c): what proves to be a UART and
 * what does not, how each is programmed, at I/O ports and in memory; which port of a PCI card is
 * meant, and what the word serial= allows.
 */
#include "tests/unit/arch/serial_world.h"

#include "arch/x86/serial_card.h"
#include "arch/x86/serial_word.h"

#include <stdio.h>

/* ---- The UART -------------------------------------------------------------------------------- */

static const struct serial_port com1 = {
    .at = {.address = 0x3f8, .stride = 1, .width = 1, .clock = SERIAL_CLOCK, .baud = 115200}};
static const struct serial_port in_memory = {
    .at = {.memory = true, .address = 0xfe030000, .stride = 4, .width = 4},
    .memory = (volatile void *)(WORLD_REGISTERS + 0xfe030000)};

static void test_a_uart_proves_itself(void **state)
{
    (void)state;
    struct world_uart *uart = world_add(false, 0x3f8, 1, 1), before = *uart;
    assert_null(serial_port_prove(&com1));
    assert_memory_equal(uart, &before, sizeof(before)); /* nothing was changed, sent or received */
}

static void test_what_is_no_uart(void **state)
{
    (void)state;
    assert_string_equal(serial_port_prove(&com1), "nothing answers (its line status is 0xff)");
    assert_int_equal(world_strays, 0); /* nothing was written to what may be something else */
    struct world_uart *uart = world_add(false, 0x3f8, 1, 1);
    uart->no_scratch = true;
    assert_string_equal(serial_port_prove(&com1),
                        "its scratch register does not keep what is written to it");
    assert_int_equal(uart->modem, 0x0b);
    uart->no_scratch = false;
    uart->no_loop = true;
    assert_string_equal(serial_port_prove(&com1),
                        "its modem status does not show the modem control when looped back");
    assert_int_equal(uart->modem, 0x0b);
    assert_int_equal(uart->scratch, 0x77);
}

static void test_a_uart_that_never_gets_idle(void **state)
{
    (void)state;
    world_add(false, 0x3f8, 1, 1)->never_sends = true;
    assert_null(serial_port_prove(&com1)); /* after a bounded wait */
}

static void test_a_port_is_programmed(void **state)
{
    (void)state;
    struct world_uart *uart = world_add(false, 0x3f8, 1, 1);
    uart->enable = 0xf;
    serial_port_program(&com1);
    assert_int_equal(uart->divisor, 1);
    assert_int_equal(uart->line, 0x03);
    assert_int_equal(uart->enable, 0);
    assert_int_equal(uart->modem, 0x03);
    assert_int_equal(uart->fifo, 1);
    uart->received = 'x';
    assert_int_equal(serial_port_get(&com1), 'x');
    assert_int_equal(serial_port_get(&com1), -1);
    assert_true(serial_port_has_room(&com1));
    serial_port_put(&com1, 'y');
    assert_string_equal(uart->text, "y");
}

static void test_a_port_keeps_the_firmwares_rate(void **state)
{
    (void)state;
    struct world_uart *uart = world_add(true, 0xfe030000, 4, 4);
    world_mapped_end = 0xfe030020;
    assert_null(serial_port_prove(&in_memory));
    serial_port_program(&in_memory);
    assert_int_equal(uart->divisor, 12);
    assert_int_equal(uart->line, 0x03);
    serial_port_put(&in_memory, 'z');
    assert_string_equal(uart->text, "z");
    assert_int_equal(world_strays, 0);
}

static unsigned divisor(uint32_t clock, uint32_t baud)
{
    return serial_port_divisor(&(struct serial_port){.at = {.clock = clock, .baud = baud}});
}

static void test_rates(void **state)
{
    (void)state;
    assert_int_equal(divisor(SERIAL_CLOCK, 115200), 1);
    assert_int_equal(divisor(SERIAL_CLOCK, 9600), 12);
    assert_int_equal(divisor(SERIAL_CLOCK, 300), 384);
    assert_int_equal(divisor(125000000, 115200), 68);   /* 0.3 % wrong */
    assert_int_equal(divisor(SERIAL_CLOCK, 112000), 1); /* 2.9 % */
    assert_int_equal(divisor(SERIAL_CLOCK, 111000), 0); /* 3.8 % */
    assert_int_equal(divisor(SERIAL_CLOCK, 250000), 0);
    assert_int_equal(divisor(SERIAL_CLOCK, 1), 0); /* the divisor has 16 bits */
    assert_int_equal(divisor(0, 9600), 0);
    assert_int_equal(divisor(SERIAL_CLOCK, 0), 0);
}

/* ---- PCI cards ------------------------------------------------------------------------------- */

static const struct host_pci_function slot = {.device = 4};

static void expect_place(unsigned number, bool memory, uint64_t address, uint32_t clock)
{
    struct serial_place place;
    assert_null(serial_card_place(slot, number, &place));
    assert_int_equal(place.memory, memory);
    assert_int_equal(place.address, address);
    assert_int_equal(place.clock, clock);
    assert_int_equal(place.baud, 115200);
}

static void expect_no_place(unsigned number, const char *why)
{
    struct serial_place place;
    const char *problem = serial_card_place(slot, number, &place);
    assert_non_null(problem);
    assert_string_equal(problem, why);
}

#define PLAIN 0x00021b36u

static void test_a_card_with_io_ports(void **state)
{
    (void)state;
    struct world_function *card = world_add_function(4, PLAIN, 0x070002);
    world_add_bar(card, 0, 0xc001, 32);
    world_add_bar(card, 1, 0xfebf0000, 4096);
    world_add_bar(card, 2, 0xd001, 8); /* one more, as on a NetMos card */
    assert_true(serial_card_by_class(slot));
    expect_place(0, false, 0xc000, SERIAL_CLOCK);
    assert_int_equal(card->registers[1], 1); /* it answers at I/O ports, and only there */
    expect_place(3, false, 0xc018, SERIAL_CLOCK);
    expect_place(4, false, 0xd000, SERIAL_CLOCK);
    expect_no_place(5, "it has no such port");
    world_add_bar(card, 0, 0x1, 32);
    card->registers[1] = 0;
    expect_no_place(0, "the firmware has given it no address");
    assert_int_equal(card->registers[1], 0);
}

static void test_a_card_in_memory(void **state)
{
    (void)state;
    struct world_function *card = world_add_function(4, 0x035413a8, 0x070002);
    world_add_bar(card, 0, 0xfeb00000, 0x4000);
    expect_place(0, true, 0xfeb00000, 125000000);
    expect_place(3, true, 0xfeb00c00, 125000000);
    assert_int_equal(card->registers[1], 2);
    expect_no_place(4, "it has no such port");
    world_add_bar(card, 0, 0xfeb00000, 0x400); /* smaller than such a card */
    expect_no_place(1, "it has no such port");
    world_add_bar(card, 0, 0xc001, 32); /* I/O ports instead */
    expect_no_place(0, "it has no such port");
    card = world_add_function(4, 0x12341234, 0x070002);
    world_add_bar(card, 0, 0xfeb00000, 0x1000);
    expect_no_place(0, "the order of its ports in memory is not known; name one of them with "
                       "serial=mmio:ADDRESS");
}

static void test_a_card_whose_ports_are_not_at_the_start(void **state)
{
    (void)state;
    struct world_function *card = world_add_function(4, 0x34701c00, 0x070005);
    world_add_bar(card, 0, 0xe001, 256);
    expect_place(0, false, 0xe0c0, SERIAL_CLOCK);
    expect_place(3, false, 0xe0d8, SERIAL_CLOCK);
    expect_no_place(4, "it has no such port");
}

static void test_functions_that_are_no_serial_ports(void **state)
{
    (void)state;
    expect_no_place(0, "there is no such PCI function");
    world_add_function(4, 0x10d38086, 0x020000);
    assert_false(serial_card_by_class(slot));
    expect_no_place(0, "it is no serial port (not of class 07 00 or 07 02, and no known UART)");
    world_add_function(4, PLAIN, 0x070103); /* a parallel port */
    expect_no_place(0, "it is no serial port (not of class 07 00 or 07 02, and no known UART)");
    world_add_function(4, PLAIN, 0x070200); /* several ports */
    assert_true(serial_card_by_class(slot));
}

/* A UART of Sunrise Point-LP, as the firmware leaves one that it does not use: in D3, in reset. */
static struct world_function *sleeping_lpss(uint32_t id)
{
    struct world_function *function = world_add_function(4, id, 0x118000);
    world_add_bar(function, 0, 0xfe030004, 4096);
    function->writable[5] = UINT32_MAX;
    function->registers[1] = 0x100000; /* capabilities */
    function->registers[0x34 / 4] = 0x40;
    function->registers[0x40 / 4] = 0x8009; /* vendor-specific, then power management */
    function->registers[0x80 / 4] = 0x0001;
    function->registers[0x84 / 4] = 0x8103; /* D3, and PME_En and PME_Status, which a 1 clears */
    function->writable[0x84 / 4] = 0x8103;
    return function;
}

static void test_an_lpss_uart_is_woken(void **state)
{
    (void)state;
    static const struct {
        uint32_t id, clock;
    } kinds[] = {
        {0x9d278086, 48u << 1 | 3125u << 16},   /* 120 MHz * 48 / 3125 */
        {0x51a88086, 288u << 1 | 15625u << 16}, /* 100 MHz * 288 / 15625 */
    };
    for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
        world_setup(NULL);
        struct world_function *function = sleeping_lpss(kinds[i].id);
        struct world_uart *uart = world_add(true, 0xfe030000, 4, 4);
        uart->lpss_needs = 3;
        assert_false(serial_card_by_class(slot)); /* not without being asked for */
        assert_true(serial_card_is_lpss(slot));
        expect_place(0, true, 0xfe030000, SERIAL_CLOCK);
        assert_int_equal(function->registers[0x84 / 4], 0x0100); /* as written: PME_Status stays */
        assert_true(world_pci_reads > 10000); /* the 10 ms that the way to D0 takes */
        assert_int_equal(function->registers[1], 0x100002);
        world_mapped_end = 0xfe030000 + LPSS_SIZE;
        lpss_wake(slot, (volatile void *)(WORLD_REGISTERS + 0xfe030000));
        assert_int_equal(uart->lpss_resets, 3);
        assert_int_equal(uart->lpss_clock, kinds[i].clock | 0x80000001u);
        expect_no_place(1, "it has no such port");
    }
    world_add_function(4, 0xabcd8086, 0x118000);
    assert_false(serial_card_is_lpss(slot));
}

static void test_capabilities_that_never_end(void **state)
{
    (void)state;
    struct world_function *function = sleeping_lpss(0x9d278086);
    function->registers[0x40 / 4] = 0x4009;
    expect_place(0, true, 0xfe030000, SERIAL_CLOCK);
    assert_true(world_pci_reads < 200);
}

/* ---- The word -------------------------------------------------------------------------------- */

static struct serial_wish wish;

static void expect_wish(const char *text, enum serial_where where, uint64_t address,
                        unsigned detail, uint32_t baud)
{
    const char *problem = serial_word_parse(text, &wish);
    assert_null(problem);
    assert_int_equal(wish.where, where);
    assert_int_equal(wish.address, address);
    assert_int_equal(where == SERIAL_PCI ? wish.number : wish.stride, detail);
    assert_int_equal(wish.baud, baud);
}

static void test_the_word(void **state)
{
    (void)state;
    expect_wish("auto", SERIAL_AUTO, 0, 0, 0);
    expect_wish("auto,57600", SERIAL_AUTO, 0, 0, 57600);
    expect_wish("off", SERIAL_OFF, 0, 0, 0);
    expect_wish("0x2f8", SERIAL_IO, 0x2f8, 0, 0);
    expect_wish("0x2f8,9600", SERIAL_IO, 0x2f8, 0, 9600);
    expect_wish("mmio:0xfe030000", SERIAL_MEMORY, 0xfe030000, 1, 0);
    expect_wish("mmio:0xfe030000,4", SERIAL_MEMORY, 0xfe030000, 4, 0);
    expect_wish("mmio:0x4010000000,4,115200", SERIAL_MEMORY, 0x4010000000, 4, 115200);
    expect_wish("mmio:0xfe030000,115200", SERIAL_MEMORY, 0xfe030000, 1, 115200);
    expect_wish("pci:00:1f.3", SERIAL_PCI, 0, 0, 0);
    assert_int_equal(wish.pci.bus, 0);
    assert_int_equal(wish.pci.device, 0x1f);
    assert_int_equal(wish.pci.function, 3);
    expect_wish("pci:ff:4.0,3,9600", SERIAL_PCI, 0, 3, 9600);
    assert_int_equal(wish.pci.bus, 0xff);
    assert_int_equal(wish.pci.device, 4);
    assert_int_equal(wish.pci.segment, 0);
    expect_wish("pci:0000:00:04.0", SERIAL_PCI, 0, 0, 0);
    assert_int_equal(wish.pci.segment, 0);
    expect_wish("pci:1f2e:fe:1d.7,2,9600", SERIAL_PCI, 0, 2, 9600);
    assert_int_equal(wish.pci.segment, 0x1f2e);
    assert_int_equal(wish.pci.bus, 0xfe);
    assert_int_equal(wish.pci.device, 0x1d);
    assert_int_equal(wish.pci.function, 7);
}

static void test_bad_words(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"", "it names no place"},
        {"com1", "it names no place"},
        {"automatic", "it names no place"},
        {"0", "there is no such I/O port"},
        {"0xfff9", "there is no such I/O port"},
        {"0x12f8", NULL},
        {"pci:", "it names no PCI function, as pci:00:04.0 does"},
        {"pci:0:20.0", "it names no PCI function, as pci:00:04.0 does"},
        {"pci:0:1f.8", "it names no PCI function, as pci:00:04.0 does"},
        {"pci:0:1f", "it names no PCI function, as pci:00:04.0 does"},
        {"pci:100:1f.0", "it names no PCI function, as pci:00:04.0 does"},
        {"pci:10000:00:04.0", "it names no PCI function, as pci:00:04.0 does"},
        {"pci::00:04.0", "it names no PCI function, as pci:00:04.0 does"},
        {"pci:0:0001:00:04.0", "it names no PCI function, as pci:00:04.0 does"},
        {"pci:00:04.0x", "it names no PCI function, as pci:00:04.0 does"},
        {"mmio:", "it names no address, as mmio:0xfe030000 does"},
        {"mmio:0", "it names no address, as mmio:0xfe030000 does"},
        {"mmio:0xffffffffffffffff", "it names no address, as mmio:0xfe030000 does"},
        {"0x2f8,", "a comma is followed by no number"},
        {"0x2f8,x", "a comma is followed by no number"},
        {"0x2f8,1", "a number of it is one too many"},
        {"off,9600", "a number of it is one too many"},
        {"0x2f8,9600,9600", "a number of it is one too many"},
        {"pci:0:4.0,9600,1", "a number of it is one too many"},
        {"pci:0:4.0,1,2", "a number of it is one too many"},
        {"pci:0:4.0,32", "no card has so many ports"},
        {"mmio:0xfe030000,3", "the distance of its registers is no power of 2 up to 256"},
        {"mmio:0xfe030000,0", "the distance of its registers is no power of 2 up to 256"},
        {"0x2f8,4000001", "its rate is above 4000000 baud"},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        const char *problem = serial_word_parse(bad[i][0], &wish);
        if (!bad[i][1]) {
            assert_null(problem);
            continue;
        }
        assert_non_null(problem);
        assert_string_equal(problem, bad[i][1]);
        assert_int_equal(wish.where, SERIAL_AUTO);
        assert_int_equal(wish.baud, 0);
    }
}

/* A function of another segment is reached by the memory that ACPI's MCFG names, or not at all: it
 * is never one of segment 0, to which the ports lead (rule N131). */
static void expect_unusable(const char *value, const char *why)
{
    struct serial_place place;
    assert_null(serial_word_parse(value, &wish));
    assert_string_equal(serial_card_place(wish.pci, 0, &place), why);
}

static void test_segments_are_apart(void **state)
{
    (void)state;
    static uint32_t spaces[HOST_PCI_BUS_SIZE / 4];
    const struct host_pci_area area = {
        .registers = spaces, .segment = 1, .first_bus = 7, .last_bus = 7};
    const char *unreachable = "ACPI's MCFG has no usable entry for its segment and bus, and only "
                              "segment 0000 can be reached without one";
    struct serial_place place;
    world_add_bar(world_add_function(4, 0x12341234, 0x070002), 0, 0xc001, 8);
    assert_null(serial_word_parse("pci:0000:00:04.0", &wish));
    assert_null(serial_card_place(wish.pci, 0, &place));
    assert_int_equal(place.address, 0xc000);
    expect_unusable("pci:0001:00:04.0", unreachable);
    host_pci_add_area(&area);
    expect_unusable("pci:0001:00:04.0", unreachable);
    expect_unusable("pci:0002:07:04.0", unreachable);
    memset(spaces, 0xff, sizeof(spaces));
    expect_unusable("pci:1:07:04.0", "there is no such PCI function");
    spaces[0x20000 / 4] = 0x12341234; /* 04.0, an Ethernet controller */
    spaces[0x20000 / 4 + 2] = 0x02000000;
    expect_unusable("pci:1:07:04.0",
                    "it is no serial port (not of class 07 00 or 07 02, and no known UART)");
    host_pci_forget_areas();
    world_has_no_pci_ports = true;
    expect_unusable("pci:00:04.0", "the machine has no ports for PCI's configuration, and ACPI's "
                                   "MCFG no usable entry for its bus");
}

static void test_the_word_is_found(void **state)
{
    (void)state;
    char value[16];
    assert_true(serial_word_find("serial=off", value, sizeof(value)));
    assert_string_equal(value, "off");
    assert_true(serial_word_find("cpus=2  serial=0x2f8 gdb=1", value, sizeof(value)));
    assert_string_equal(value, "0x2f8");
    assert_true(serial_word_find("serial=", value, sizeof(value)));
    assert_string_equal(value, "");
    assert_false(serial_word_find("", value, sizeof(value)));
    assert_false(serial_word_find("cpus=2 -- serial=off", value, sizeof(value)));
    assert_false(serial_word_find("xserial=off serials=1", value, sizeof(value)));
    assert_false(serial_word_find("serial=0123456789abcdef", value, sizeof(value)));
    assert_true(serial_word_find("serial=0123456789abcde", value, sizeof(value)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_a_uart_proves_itself, world_setup),
        cmocka_unit_test_setup(test_what_is_no_uart, world_setup),
        cmocka_unit_test_setup(test_a_uart_that_never_gets_idle, world_setup),
        cmocka_unit_test_setup(test_a_port_is_programmed, world_setup),
        cmocka_unit_test_setup(test_a_port_keeps_the_firmwares_rate, world_setup),
        cmocka_unit_test(test_rates),
        cmocka_unit_test_setup(test_a_card_with_io_ports, world_setup),
        cmocka_unit_test_setup(test_a_card_in_memory, world_setup),
        cmocka_unit_test_setup(test_a_card_whose_ports_are_not_at_the_start, world_setup),
        cmocka_unit_test_setup(test_functions_that_are_no_serial_ports, world_setup),
        cmocka_unit_test_setup(test_an_lpss_uart_is_woken, world_setup),
        cmocka_unit_test_setup(test_capabilities_that_never_end, world_setup),
        cmocka_unit_test(test_the_word),
        cmocka_unit_test(test_bad_words),
        cmocka_unit_test_setup(test_segments_are_apart, world_setup),
        cmocka_unit_test(test_the_word_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
