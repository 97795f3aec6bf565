/* SPDX-License-Identifier: MIT */
/*
 * The UART's receiver and its interrupt line: pending interrupts, changes of the line, the FIFO's
 * trigger levels, and random accesses compared with what a driver can know. test_mmio_bus.c tests
 * the registers.
 */
#include "tests/unit/support.h"

#include "dev/uart.h"
#include "lib/bits.h"

#include <string.h>

enum {
    DATA,
    IER,
    IIR,
    LCR,
    MCR,
    LSR,
    MSR,
};
#define FCR IIR

#define OUT2 0x08
#define LOOP 0x10
#define NONE 1

static struct uart uart;
static bool level;
static unsigned rises, falls;
static unsigned source_next, source_end; /* byte n of the source is (uint8_t)n */

static unsigned sent_bytes;

static void transmit(void *context, uint8_t byte)
{
    (void)context, (void)byte;
    sent_bytes++;
}

static void set_line(void *context, unsigned number, bool asserted)
{
    assert_ptr_equal(context, &level);
    assert_int_equal(number, 4);
    assert_int_not_equal(asserted, level);
    level = asserted;
    rises += asserted;
    falls += !asserted;
}

static int source(void *context)
{
    assert_ptr_equal(context, &source_next);
    return source_next == source_end ? -1 : (uint8_t)source_next++;
}

static int setup(void **state)
{
    (void)state;
    support_reset();
    level = false;
    rises = falls = source_next = source_end = 0;
    uart_init(&uart, transmit, NULL);
    uart_connect(&uart, &(struct line){set_line, &level, 4}, source, &source_next);
    return 0;
}

static uint8_t get(unsigned reg)
{
    return (uint8_t)uart_connected_ops.read(&uart, NULL, reg, 1);
}

static void put(unsigned reg, uint8_t value)
{
    uart_connected_ops.write(&uart, NULL, reg, 1, value);
}

static void arrive(unsigned bytes)
{
    source_end += bytes;
    uart_receive(&uart);
}

/* ---- Sending --------------------------------------------------------------------------------- */

static void holding_register_becomes_empty(void **state)
{
    (void)state;
    put(MCR, OUT2);
    assert_false(level);
    put(IER, 2); /* enabling the interrupt reports the empty register */
    assert_true(level);
    assert_int_equal(get(IIR), 2);
    assert_false(level);
    assert_int_equal(get(IIR), NONE);
    put(DATA, 'a');
    assert_true(level);
    assert_int_equal(rises, 2);
    put(DATA, 'b'); /* no new edge: the line is already high */
    assert_int_equal(rises, 2);
    assert_int_equal(get(IIR), 2);
    assert_false(level);
    put(IER, 0);
    put(DATA, 'c');
    assert_false(level);
    put(IER, 2);
    assert_true(level);
    put(IER, 0);
    assert_false(level);
}

/* With DLAB set, the first two registers are the divisor. */
static void divisor(void **state)
{
    (void)state;
    unsigned before = sent_bytes;
    put(IER, 0);
    put(LCR, 0x83);
    put(DATA, 0x12);
    put(IER, 0x34);
    assert_int_equal(sent_bytes, before);
    assert_true(get(DATA) == 0x12 && get(IER) == 0x34);
    put(LCR, 3);
    assert_int_equal(get(IER), 0);
    put(DATA, 'a');
    assert_int_equal(sent_bytes, before + 1);
    put(LCR, 0x83);
    assert_true(get(DATA) == 0x12 && get(IER) == 0x34);
}

static void out2_connects_the_line(void **state)
{
    (void)state;
    put(IER, 2);
    assert_int_equal(rises, 0);
    put(MCR, OUT2);
    assert_true(level);
    put(MCR, OUT2 | LOOP); /* the pin of OUT2 is inactive in loopback mode */
    assert_false(level);
    put(MCR, OUT2);
    assert_true(level);
    put(MCR, 0);
    assert_false(level);
    assert_int_equal(get(IIR), 2);
}

/* ---- Receiving ------------------------------------------------------------------------------- */

static void without_fifo_one_byte_waits(void **state)
{
    (void)state;
    put(MCR, OUT2);
    put(IER, 1);
    arrive(3);
    assert_true(level);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(get(LSR), 0x61);
        assert_int_equal(get(IIR), 4);
        assert_int_equal(get(DATA), i);
    }
    assert_int_equal(get(LSR), 0x60);
    assert_int_equal(get(IIR), NONE);
    assert_false(level);
}

static void fifo_has_trigger_levels(void **state)
{
    (void)state;
    static const uint8_t levels[] = {1, 4, 8, 14};
    put(MCR, OUT2);
    put(IER, 1);
    for (unsigned i = 0; i < ARRAY_SIZE(levels); i++) {
        put(FCR, (uint8_t)(i << 6 | 3));
        assert_false(level);
        for (unsigned n = 1; n <= 20; n++) {
            arrive(1);
            assert_true(level);
            assert_int_equal(get(IIR), n < levels[i] ? 0xcc : 0xc4);
            assert_int_equal(uart.received_count, n < 16 ? n : 16);
        }
        for (unsigned n = 0; n < 20; n++)
            assert_int_equal(get(DATA), (uint8_t)(20 * i + n));
        assert_false(level);
        assert_int_equal(get(IIR), 0xc1);
    }
}

static void clearing_takes_what_waits_behind(void **state)
{
    (void)state;
    put(FCR, 1);
    arrive(20);
    put(FCR, 3);
    assert_int_equal(uart.received_count, 4);
    assert_int_equal(get(DATA), 16);
    put(FCR, 0); /* disabling the FIFO clears it as well */
    assert_int_equal(get(LSR), 0x60);
    arrive(2);
    assert_int_equal(get(DATA), 20);
}

static void loopback_cuts_the_receiver_off(void **state)
{
    (void)state;
    put(FCR, 1);
    put(MCR, LOOP);
    arrive(5);
    assert_int_equal(get(LSR), 0x60);
    put(DATA, 0x77);
    assert_int_equal(get(DATA), 0x77);
    assert_int_equal(get(LSR), 0x60);
    put(MCR, OUT2);
    assert_int_equal(get(LSR), 0x61);
    assert_int_equal(get(DATA), 0);
}

static void priorities(void **state)
{
    (void)state;
    put(MCR, OUT2);
    put(IER, 0xf);
    put(MCR, LOOP | 1); /* changes modem inputs */
    put(DATA, 1);
    put(DATA, 2); /* causes an overrun */
    put(MCR, OUT2);
    assert_true(level);
    assert_int_equal(get(IIR), 6);
    assert_int_equal(get(LSR), 0x63);
    assert_int_equal(get(IIR), 4);
    assert_int_equal(get(DATA), 2);
    assert_int_equal(get(IIR), 2);
    assert_int_equal(get(IIR), 0);
    assert_true(level);
    (void)get(MSR);
    assert_false(level);
    assert_int_equal(get(IIR), NONE);
}

/* ---- Random accesses ------------------------------------------------------------------------- */

static uint32_t random_state = 1;
static uint32_t random_below(uint32_t n)
{
    random_state = random_state * 1664525 + 1013904223;
    return (random_state >> 8) % n;
}

/* After any access, the line is asserted exactly if IIR reports an interrupt and OUT2 is set. IIR
 * is read twice, because the first read acknowledges a transmit event. */
static void line_follows_the_registers(void **state)
{
    (void)state;
    unsigned asserted = 0, pending = 0;
    for (unsigned i = 0; i < 300000; i++) {
        unsigned reg = random_below(8);
        if (random_below(3) == 0)
            put(reg, (uint8_t)(reg == MCR ? random_below(8) ? OUT2 : random_below(32)
                                          : random_below(256) & (reg == LCR ? 0x7f : 0xff)));
        else if (random_below(2))
            (void)get(reg);
        else
            arrive(random_below(4));
        bool connected = (get(MCR) & (OUT2 | LOOP)) == OUT2;
        bool was = level;
        uint8_t iir = get(IIR);
        assert_int_equal(was, connected && !(iir & NONE));
        assert_int_equal(uart.received_count > 0, get(LSR) & 1);
        assert_true(uart.received_count <= (iir & 0xc0 ? 16 : 1));
        asserted += was;
        pending += !(iir & NONE);
    }
    assert_true(asserted > 1000 && pending > asserted && falls > 1000);
}

/* A driver that reads only when an interrupt is reported gets all bytes. */
static void nothing_is_lost(void **state)
{
    (void)state;
    unsigned expected = 0;
    put(MCR, OUT2);
    put(FCR, 0x81);
    put(IER, 1);
    for (unsigned i = 0; i < 20000; i++) {
        arrive(random_below(40));
        while (level) {
            assert_true(get(LSR) & 1);
            assert_int_equal(get(DATA), (uint8_t)expected++);
        }
        assert_int_equal(expected, source_end);
    }
}

static void unconnected_it_only_reports(void **state)
{
    (void)state;
    uart_init(&uart, transmit, NULL);
    put(MCR, OUT2);
    put(IER, 2);
    assert_int_equal(get(IIR), 2);
    uart_receive(&uart);
    assert_int_equal(get(LSR), 0x60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(holding_register_becomes_empty, setup),
        cmocka_unit_test_setup(divisor, setup),
        cmocka_unit_test_setup(out2_connects_the_line, setup),
        cmocka_unit_test_setup(without_fifo_one_byte_waits, setup),
        cmocka_unit_test_setup(fifo_has_trigger_levels, setup),
        cmocka_unit_test_setup(clearing_takes_what_waits_behind, setup),
        cmocka_unit_test_setup(loopback_cuts_the_receiver_off, setup),
        cmocka_unit_test_setup(priorities, setup),
        cmocka_unit_test_setup(line_follows_the_registers, setup),
        cmocka_unit_test_setup(nothing_is_lost, setup),
        cmocka_unit_test_setup(unconnected_it_only_reports, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
