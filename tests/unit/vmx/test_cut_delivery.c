/* SPDX-License-Identifier: MIT */
/*
 * Which event an exit interrupted, on an emulator that names an earlier one if it was a virtual
 * interrupt (vmx/cut_delivery.c): all states of the guest, and all kinds of events; and whether a
 * TSC counts instructions, with a CPU that is made up.
 */
#include "tests/unit/support.h"

#include "arch/x86/unprivileged.h"
#include "lib/bits.h"

static uint64_t now, of_rdtsc, of_nops, jitter, calls;

static uint64_t made_up_rdtsc(void)
{
    /* Two calls make a measurement. Every other measurement is interrupted. */
    uint64_t call = calls++;
    bool nops = call >= 64, second = call & 1;
    now += second ? (nops ? of_nops : of_rdtsc) + (call & 2 ? jitter : 0) : 1000;
    return now;
}

#define rdtsc made_up_rdtsc
#include "vmx/cut_delivery.c"
#undef rdtsc

#define IF BIT(9)

static uint32_t word(unsigned type, unsigned vector)
{
    return (uint32_t)EVENT_INFO_VALID | type << 8 | vector;
}

static void an_interrupt_in_service_was_cut(void **state)
{
    (void)state;
    for (unsigned type = 0; type < 7; type++)
        for (unsigned vector = 0; vector < 256; vector++) {
            uint32_t info = word(type, vector);
            assert_int_equal(cut_delivery(info, 0x52, IF, 0), word(EVENT_INTERRUPT, 0x52));
            assert_int_equal(cut_delivery(info, 0xff, IF | BIT(1), BLOCKING_BY_NMI),
                             word(EVENT_INTERRUPT, 0xff));
        }
    /* An error code that belongs to the earlier event is not kept. */
    uint32_t with_error = word(EVENT_EXCEPTION, VECTOR_PF) | (uint32_t)EVENT_INFO_ERROR_CODE;
    assert_int_equal(cut_delivery(with_error, 0x20, IF, 0), word(EVENT_INTERRUPT, 0x20));
}

static void any_other_event_stays(void **state)
{
    (void)state;
    uint32_t fault = word(EVENT_EXCEPTION, VECTOR_PF) | (uint32_t)EVENT_INFO_ERROR_CODE;
    const struct {
        uint8_t svi;
        uint64_t rflags;
        uint32_t interruptibility;
    } rows[] = {
        {0, IF, 0},   /* nothing is in service */
        {0x52, 0, 0}, /* it could not have been accepted */
        {0x52, BIT(1) | BIT(8) | BIT(10), 0},
        {0x52, IF, BLOCKING_BY_STI},
        {0x52, IF, BLOCKING_BY_MOV_SS},
        {0x52, IF, BLOCKING_BY_STI | BLOCKING_BY_NMI},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
        assert_int_equal(cut_delivery(fault, rows[i].svi, rows[i].rflags, rows[i].interruptibility),
                         fault);
}

static void what_a_tsc_counts(void **state)
{
    (void)state;
    const struct {
        uint64_t of_rdtsc, of_nops, jitter;
        bool instructions;
    } rows[] = {
        {1, 257, 0, true}, /* Bochs with one CPU */
        {0, 255, 0, true}, /* with several, in whose turns its time stands still */
        {5, 260, 0, true},      {2, 258, 5000, true}, {20, 84, 0, false}, /* four NOPs in a clock */
        {25, 281, 0, false},                                              /* one */
        {5, 21, 0, false},    /* a core at four times the TSC's frequency */
        {105, 441, 0, false}, /* and at a fifth of it */
        {20, 84, 90000, false}, {8, 255, 0, false},   {8, 256, 0, true}, /* the limit */
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        of_rdtsc = rows[i].of_rdtsc, of_nops = rows[i].of_nops, jitter = rows[i].jitter;
        now = calls = 0;
        assert_int_equal(counts_instructions(), rows[i].instructions);
        assert_int_equal(calls, 128);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_interrupt_in_service_was_cut),
        cmocka_unit_test(any_other_event_stays),
        cmocka_unit_test(what_a_tsc_counts),
    };
    return cmocka_run_group_tests_name("cut delivery", tests, NULL, NULL);
}
