/* SPDX-License-Identifier: MIT */
/* The messages that a local APIC sends to other APICs, and which APICs accept them (SDM 3, 11.6).
 */
#include "tests/unit/dev/lapic_sender.h"

static int setup_sender(void **state)
{
    setup(state);
    lapic_init(&apic, 2, &sending_host, &apic);
    put(LAPIC_SVR, 0x1ff);
    sends = 0;
    return 0;
}

static void command(uint8_t destination, uint32_t low)
{
    sends = nmis = 0;
    put(LAPIC_ICR_HIGH, (uint32_t)destination << 24);
    put(LAPIC_ICR, low);
}

static void others_get_what_names_them(void **state)
{
    (void)state;
    static const struct {
        uint32_t low;
        bool goes_out, all, taken; /* taken: accepted by the sender as well */
    } rows[] = {
        {0x04061, true, false, false}, /* to 5 */
        {0x44061, false, false, true}, /* self */
        {0x84061, true, true, true},   /* all */
        {0xc4061, true, true, false},  /* others */
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        command(5, rows[i].low);
        assert_int_equal(sends, rows[i].goes_out);
        assert_int_equal(lapic_pending(&apic) == 0x61, rows[i].taken);
        if (rows[i].goes_out) {
            assert_int_equal(sent.all, rows[i].all);
            assert_int_equal(sent.vector, 0x61);
            assert_int_equal(sent.mode, LAPIC_FIXED);
            assert_int_equal(sent.destination, 5);
        }
        if (rows[i].taken) {
            lapic_acknowledge(&apic);
            put(LAPIC_EOI, 0);
        }
    }
}

static void broadcast_is_physical(void **state)
{
    (void)state;
    command(0xff, 0x4061);
    assert_true(sends == 1 && sent.all);
    assert_int_equal(lapic_pending(&apic), 0x61);
    command(0xff, 0x4862);
    assert_true(sends == 1 && !sent.all);
    assert_int_equal(lapic_pending(&apic), 0x61);
}

/* A lowest-priority message goes to one CPU only: the sender, if it is addressed. */
static void lowest_priority_goes_to_one(void **state)
{
    (void)state;
    command(0xff, 0x4161);
    assert_int_equal(sends, 0);
    assert_int_equal(lapic_pending(&apic), 0x61);
    command(7, 0x4162);
    assert_int_equal(sends, 1);
    assert_int_equal(sent.mode, LAPIC_LOWEST);
}

static void init_and_startup_go_out_only(void **state)
{
    (void)state;
    command(0xff, 0x4500);
    assert_int_equal(sends, 1);
    assert_int_equal(sent.mode, LAPIC_INIT);
    command(3, 0x8500); /* INIT level de-assert: ignored since the Pentium 4 */
    assert_int_equal(sends, 0);
    command(3, 0xc500);
    assert_int_equal(sends, 1);
    command(3, 0x4608);
    assert_int_equal(sends, 1);
    assert_int_equal(sent.mode, LAPIC_STARTUP);
    assert_int_equal(sent.vector, 8);
    assert_int_equal(nmis, 0);
    command(0xff, 0x4400);
    assert_int_equal(sends, 1);
    assert_int_equal(nmis, 1);
}

static void messages_find_their_destination(void **state)
{
    (void)state;
    static const struct {
        uint8_t id, ldr, destination;
        uint32_t dfr;
        bool logical, all, taken;
    } rows[] = {
        {4, 0, 4, ~0u, false, false, true},
        {4, 0, 5, ~0u, false, false, false},
        {4, 0, 5, ~0u, false, true, true},
        {4, 0x10, 0x30, ~0u, true, false, true}, /* flat: a bit in common */
        {4, 0x10, 0x20, ~0u, true, false, false},
        {4, 0, 0xff, ~0u, true, false, false},          /* a logical ID of 0 matches no message */
        {4, 0x12, 0x13, 0x0fffffff, true, false, true}, /* cluster 1, bits 0 and 1 */
        {4, 0x12, 0x23, 0x0fffffff, true, false, false},
        {4, 0x12, 0x11, 0x0fffffff, true, false, false},
        {4, 0x12, 0xf2, 0x0fffffff, true, false, true}, /* all clusters */
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct lapic_message message = {.mode = LAPIC_FIXED,
                                              .vector = 0x61,
                                              .destination = rows[i].destination,
                                              .logical = rows[i].logical,
                                              .all = rows[i].all};
        lapic_init(&apic, rows[i].id, &sending_host, &apic);
        put(LAPIC_LDR, (uint32_t)rows[i].ldr << 24);
        put(LAPIC_DFR, rows[i].dfr);
        if (lapic_addressed(&apic, &message) != rows[i].taken)
            fail_msg("row %u", i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(others_get_what_names_them, setup_sender),
        cmocka_unit_test_setup(broadcast_is_physical, setup_sender),
        cmocka_unit_test_setup(lowest_priority_goes_to_one, setup_sender),
        cmocka_unit_test_setup(init_and_startup_go_out_only, setup_sender),
        cmocka_unit_test_setup(messages_find_their_destination, setup_sender),
    };
    return cmocka_run_group_tests_name("messages of the local APIC", tests, NULL, NULL);
}
