/* SPDX-License-Identifier: MIT */
/*
 * The I/O APIC: its registers, edges and levels of each pin, EOIs, and random sequences compared
 * with a model.
 */
#include "tests/unit/dev/ioapic_model.h"
#include "tests/unit/dev/lapic_world.h"

#include "dev/line.h"

#include <string.h>

#define INDEX 0x00
#define DATA  0x10
#define EOI   0x40

static struct ioapic ioapic;
static struct lapic_message sent;
static bool sent_level;
static unsigned sends;

static bool host_send(void *context, const struct lapic_message *message, bool level)
{
    assert_ptr_equal(context, &ioapic);
    assert_true(ioapic.lock.taken);
    sent = *message;
    sent_level = level;
    sends++;
    return accepted;
}

static int setup_ioapic(void **state)
{
    setup(state);
    ioapic_init(&ioapic, host_send, &ioapic);
    sends = 0;
    accepted = true;
    return 0;
}

static void io_write(uint64_t offset, unsigned size, uint64_t value)
{
    ioapic_ops.write(&ioapic, NULL, offset, size, value);
}

static uint32_t io_read(uint64_t offset, unsigned size)
{
    return (uint32_t)ioapic_ops.read(&ioapic, NULL, offset, size);
}

static void reg_write(uint8_t reg, uint32_t value)
{
    io_write(INDEX, 4, reg);
    io_write(DATA, 4, value);
}

static uint32_t reg_read(uint8_t reg)
{
    io_write(INDEX, 4, reg);
    return io_read(DATA, 4);
}

static void entry_write(unsigned pin, uint64_t entry)
{
    reg_write((uint8_t)(0x11 + 2 * pin), (uint32_t)(entry >> 32));
    reg_write((uint8_t)(0x10 + 2 * pin), (uint32_t)entry);
}

static uint64_t entry_read(unsigned pin)
{
    return reg_read((uint8_t)(0x10 + 2 * pin)) | (uint64_t)reg_read((uint8_t)(0x11 + 2 * pin))
                                                     << 32;
}

static void line(unsigned pin, bool level)
{
    line_set(&(struct line){ioapic_set_line, &ioapic, pin}, level);
}

/* ---- Registers ------------------------------------------------------------------------------- */

static void registers(void **state)
{
    (void)state;
    assert_int_equal(reg_read(1), 0x00170020);
    reg_write(1, ~0u);
    assert_int_equal(reg_read(1), 0x00170020);
    reg_write(0, ~0u);
    assert_int_equal(reg_read(0), 0x0f000000);
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
        assert_int_equal(entry_read(pin), MASK);
    entry_write(5, ~0ull);
    assert_true(entry_read(5) == 0xff0000000001afff);
    entry_write(5, MASK);
    for (unsigned reg = 0; reg < 256; reg++)
        if (reg > 1 && (reg < 0x10 || reg > 0x3f)) {
            reg_write((uint8_t)reg, ~0u);
            /* The arbitration register shows the ID. */
            assert_int_equal(reg_read((uint8_t)reg), reg == 2 ? 0x0f000000 : 0);
        }
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
        assert_int_equal(entry_read(pin), MASK);
}

static void sizes_of_accesses(void **state)
{
    (void)state;
    io_write(INDEX, 1, 1);
    assert_int_equal(io_read(INDEX, 4), 1);
    assert_int_equal(io_read(DATA, 4), 0x170020);
    assert_int_equal((uint8_t)io_read(DATA + 2, 1), 0x17);
    io_write(INDEX, 4, 0xffffff10);
    assert_int_equal(io_read(INDEX, 4), 0x10);
    io_write(DATA, 1, 0x30);
    io_write(DATA, 2, 0x30);
    io_write(DATA + 4, 4, 0x30);
    assert_int_equal(io_read(DATA, 4), MASK);
    assert_int_equal(io_read(EOI, 4), 0);
    assert_int_equal(io_read(0x20, 4), 0);
    assert_int_equal(io_read(IOAPIC_SIZE - 4, 4), 0);
}

/* ---- Edges ----------------------------------------------------------------------------------- */

static void edge_is_sent_once(void **state)
{
    (void)state;
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        sends = 0;
        entry_write(pin, 0x03ull << 56 | (0x40 + pin));
        assert_int_equal(sends, 0);
        line(pin, true);
        line(pin, true);
        assert_int_equal(sends, 1);
        line(pin, false);
        assert_int_equal(sends, 1);
        line(pin, true);
        assert_int_equal(sends, 2);
        assert_int_equal(sent.vector, 0x40 + pin);
        assert_int_equal(sent.destination, 3);
        assert_true(!sent.all && !sent.logical && !sent_level);
        assert_int_equal(entry_read(pin) & REMOTE_IRR, 0);
    }
}

static void masked_edge_is_lost(void **state)
{
    (void)state;
    entry_write(4, MASK | 0x44);
    line(4, true);
    entry_write(4, 0x44);
    assert_int_equal(sends, 0);
    line(4, false);
    line(4, true);
    assert_int_equal(sends, 1);
}

static void only_pins_that_exist(void **state)
{
    (void)state;
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
        entry_write(pin, LEVEL | 0x44);
    line(IOAPIC_PINS, true);
    line(32, true);
    line(~0u, true);
    assert_int_equal(sends, 0);
    assert_int_equal(ioapic.asserted, 0);
}

/* ---- Levels ---------------------------------------------------------------------------------- */

static void level_waits_for_the_eoi(void **state)
{
    (void)state;
    entry_write(9, LEVEL | 0x51);
    line(9, true);
    assert_true(sends == 1 && sent_level && sent.vector == 0x51);
    assert_true(entry_read(9) & REMOTE_IRR);
    line(9, false);
    line(9, true);
    assert_int_equal(sends, 1);
    ioapic_eoi(&ioapic, 0x50);
    assert_int_equal(sends, 1);
    ioapic_eoi(&ioapic, 0x51); /* the line is still asserted */
    assert_int_equal(sends, 2);
    assert_true(entry_read(9) & REMOTE_IRR);
    line(9, false);
    ioapic_eoi(&ioapic, 0x51);
    assert_int_equal(sends, 2);
    assert_false(entry_read(9) & REMOTE_IRR);
}

static void register_ends_it_too(void **state)
{
    (void)state;
    entry_write(9, LEVEL | 0x51);
    line(9, true);
    line(9, false);
    io_write(EOI, 1, 0x51); /* not a 32-bit access */
    assert_true(entry_read(9) & REMOTE_IRR);
    io_write(EOI, 4, 0x51);
    assert_false(entry_read(9) & REMOTE_IRR);
}

static void one_vector_on_two_pins(void **state)
{
    (void)state;
    entry_write(9, LEVEL | 0x51);
    entry_write(10, LEVEL | 0x51);
    line(9, true);
    line(10, true);
    assert_int_equal(sends, 2);
    ioapic_eoi(&ioapic, 0x51);
    assert_int_equal(sends, 4);
}

/* Remote IRR says that an APIC has accepted the interrupt. If none has, remote IRR stays clear,
 * because no EOI would clear it. */
static void nobody_takes_it(void **state)
{
    (void)state;
    accepted = false;
    entry_write(9, LEVEL | 0x51);
    line(9, true);
    assert_int_equal(sends, 1);
    assert_false(entry_read(9) & REMOTE_IRR);
    accepted = true;
    entry_write(9, LEVEL | 0x51);
    assert_int_equal(reg_read(0x10 + 18) & REMOTE_IRR, REMOTE_IRR);
}

/* A level that no APIC has accepted is delivered as soon as one can accept it, and then once. */
static void nobody_took_it_yet(void **state)
{
    (void)state;
    accepted = false;
    entry_write(9, LEVEL | 0x51);
    entry_write(10, LEVEL | MASK | 0x52);
    entry_write(11, 0x53); /* an edge that is lost */
    for (unsigned pin = 9; pin < 12; pin++)
        line(pin, true);
    assert_int_equal(sends, 2);
    assert_int_equal(entry_read(9), LEVEL | PENDING | 0x51);
    assert_int_equal(entry_read(10), LEVEL | MASK | 0x52);
    assert_int_equal(entry_read(11), 0x53);
    ioapic_send_again(&ioapic); /* still nobody */
    assert_int_equal(sends, 3);
    accepted = true;
    ioapic_send_again(&ioapic);
    assert_int_equal(sends, 4);
    assert_int_equal(sent.vector, 0x51);
    assert_true(sent_level);
    assert_int_equal(entry_read(9), LEVEL | REMOTE_IRR | 0x51);
    ioapic_send_again(&ioapic);
    assert_int_equal(sends, 4);
    ioapic_eoi(&ioapic, 0x51);
    assert_int_equal(sends, 5);
}

static void level_survives_the_mask(void **state)
{
    (void)state;
    entry_write(9, LEVEL | MASK | 0x51);
    line(9, true);
    assert_int_equal(sends, 0);
    entry_write(9, LEVEL | 0x51);
    assert_int_equal(sends, 1);
    entry_write(9, LEVEL | MASK | 0x51);
    ioapic_eoi(&ioapic, 0x51);
    assert_int_equal(sends, 1);
    entry_write(9, LEVEL | 0x51);
    assert_int_equal(sends, 2);
}

/* Changing an entry to edge-triggered mode clears remote IRR. Linux still uses this to end an
 * interrupt at an I/O APIC without an EOI register. */
static void edge_clears_remote_irr(void **state)
{
    (void)state;
    entry_write(9, LEVEL | 0x51);
    line(9, true);
    reg_write(0x10 + 18, MASK | 0x51);
    assert_false(entry_read(9) & REMOTE_IRR);
    reg_write(0x10 + 18, LEVEL | 0x51);
    assert_int_equal(sends, 2);
}

/* ---- Messages -------------------------------------------------------------------------------- */

static void delivery_modes(void **state)
{
    (void)state;
    static const bool delivered[8] = {[LAPIC_FIXED] = true, [LAPIC_LOWEST] = true};
    for (unsigned mode = 0; mode < 8; mode++) {
        for (unsigned level = 0; level < 2; level++) {
            sends = 0;
            entry_write(1, (level ? LEVEL : 0) | mode << 8 | 0x60);
            line(1, true);
            assert_int_equal(sends, delivered[mode]);
            assert_int_equal(!!(entry_read(1) & REMOTE_IRR), level && delivered[mode]);
            if (sends)
                assert_int_equal(sent.mode, mode);
            line(1, false);
            ioapic_eoi(&ioapic, 0x60);
        }
    }
}

static void destinations(void **state)
{
    (void)state;
    static const struct {
        uint8_t destination;
        bool logical, all;
    } rows[] = {{7, false, false}, {0xff, false, true}, {0xff, true, false}, {3, true, false}};
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        entry_write(1,
                    (uint64_t)rows[i].destination << 56 | (rows[i].logical ? BIT(11) : 0) | 0x60);
        line(1, true);
        assert_int_equal(sent.destination, rows[i].destination);
        assert_int_equal(sent.logical, rows[i].logical);
        assert_int_equal(sent.all, rows[i].all);
        line(1, false);
    }
}

/* What a pin would send now. */
static void messages_of_pins(void **state)
{
    (void)state;
    struct lapic_message message;
    assert_false(ioapic_message(&ioapic, 9, &message)); /* masked */
    entry_write(9, LEVEL | 3ull << 56 | BIT(11) | 1 << 8 | 0x51);
    assert_true(ioapic_message(&ioapic, 9, &message));
    assert_int_equal(message.vector, 0x51);
    assert_int_equal(message.mode, LAPIC_LOWEST);
    assert_true(message.logical && !message.all && message.destination == 3);
    entry_write(9, 0xffull << 56 | 0x52);
    assert_true(ioapic_message(&ioapic, 9, &message));
    assert_true(message.all && !message.logical && message.mode == LAPIC_FIXED);
    entry_write(9, 4 << 8); /* NMI */
    assert_false(ioapic_message(&ioapic, 9, &message));
    assert_int_equal(sends, 0);
}

/* ---- A model --------------------------------------------------------------------------------- */

static void step(void)
{
    unsigned pin = random_below(IOAPIC_PINS);
    uint32_t vector = 0x30 + random_below(4), value = random_below(0x20000) << 8 >> 8;
    switch (random_below(7)) {
    case 6:
        ioapic_send_again(&ioapic);
        for (unsigned i = 0; i < IOAPIC_PINS; i++)
            model_look(i);
        break;
    case 0:
    case 1:
        value = (value & ~0x7ffu) | (random_below(8) ? 0 : random_below(8) << 8) | vector;
        reg_write((uint8_t)(0x10 + 2 * pin), value);
        model_write(2 * pin, value);
        break;
    case 2:
        reg_write((uint8_t)(0x11 + 2 * pin), value << 24);
        model_write(2 * pin + 1, value << 24);
        break;
    case 3:
        ioapic_eoi(&ioapic, (uint8_t)vector);
        model_end((uint8_t)vector);
        break;
    default:
        line(pin, value & 1);
        model_line(pin, value & 1);
    }
}

static void random_steps(void **state)
{
    (void)state;
    model_reset();
    unsigned taken = 0;
    for (unsigned i = 0; i < 200000; i++) {
        accepted = random_below(8);
        step();
        assert_int_equal(sends, model_sends);
        unsigned pin = random_below(IOAPIC_PINS);
        assert_true(entry_read(pin) == model_entry(pin));
        taken += model[pin].under_way;
    }
    assert_true(taken > 1000 && model_sends > 1000);
}

/* ---- The local APIC's side ------------------------------------------------------------------- */

static void eoi_of_a_level_is_broadcast(void **state)
{
    (void)state;
    put(LAPIC_SVR, 0x1ff);
    lapic_accept_level(&apic, 0x71);
    lapic_accept(&apic, 0x82);
    assert_int_equal(get(LAPIC_TMR + 3), 1u << 0x11);
    lapic_acknowledge(&apic);
    put(LAPIC_EOI, 0);
    assert_int_equal(ends, 0);
    lapic_acknowledge(&apic);
    put(LAPIC_EOI, 0);
    assert_true(ends == 1 && ended[0] == 0x71);
    put(LAPIC_EOI, 0); /* nothing is in service */
    assert_int_equal(ends, 1);
}

static void tmr_is_of_the_last_acceptance(void **state)
{
    (void)state;
    put(LAPIC_SVR, 0x1ff);
    for (unsigned vector = 16; vector < 256; vector++) {
        unsigned reg = LAPIC_TMR + vector / 32, bit = vector % 32;
        lapic_accept_level(&apic, (uint8_t)vector);
        assert_int_equal(get(reg) >> bit, 1);
        lapic_acknowledge(&apic);
        ends = 0;
        put(LAPIC_EOI, 0);
        assert_true(ends == 1 && ended[0] == vector);
        assert_int_equal(get(reg) >> bit, 1);
        lapic_accept(&apic, (uint8_t)vector);
        assert_int_equal(get(reg) >> bit, 0);
        lapic_acknowledge(&apic);
        put(LAPIC_EOI, 0);
        assert_int_equal(ends, 1);
    }
    lapic_accept_level(&apic, 5); /* an illegal vector */
    assert_int_equal(get(LAPIC_TMR), 0);
    lapic_accept_level(&apic, 0x71);
    lapic_reset(&apic);
    assert_int_equal(get(LAPIC_TMR + 3), 0);
    lapic_accept_level(&apic, 0x71); /* disabled by software */
    assert_int_equal(get(LAPIC_TMR + 3), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(registers, setup_ioapic),
        cmocka_unit_test_setup(sizes_of_accesses, setup_ioapic),
        cmocka_unit_test_setup(edge_is_sent_once, setup_ioapic),
        cmocka_unit_test_setup(masked_edge_is_lost, setup_ioapic),
        cmocka_unit_test_setup(only_pins_that_exist, setup_ioapic),
        cmocka_unit_test_setup(level_waits_for_the_eoi, setup_ioapic),
        cmocka_unit_test_setup(register_ends_it_too, setup_ioapic),
        cmocka_unit_test_setup(one_vector_on_two_pins, setup_ioapic),
        cmocka_unit_test_setup(nobody_takes_it, setup_ioapic),
        cmocka_unit_test_setup(nobody_took_it_yet, setup_ioapic),
        cmocka_unit_test_setup(messages_of_pins, setup_ioapic),
        cmocka_unit_test_setup(level_survives_the_mask, setup_ioapic),
        cmocka_unit_test_setup(edge_clears_remote_irr, setup_ioapic),
        cmocka_unit_test_setup(delivery_modes, setup_ioapic),
        cmocka_unit_test_setup(destinations, setup_ioapic),
        cmocka_unit_test_setup(random_steps, setup_ioapic),
        cmocka_unit_test_setup(eoi_of_a_level_is_broadcast, setup_ioapic),
        cmocka_unit_test_setup(tmr_is_of_the_last_acceptance, setup_ioapic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
