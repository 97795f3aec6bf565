/* SPDX-License-Identifier: MIT */
/* Events (D15): encoding, requeue, NMI blocking, windows, and the double-fault table. */
#include "tests/unit/support.h"

#include "vmx/event.h"
#include "vmx/exit.h"

#include <string.h>

static void words(void **state)
{
    (void)state;
    struct event event = event_exception(VECTOR_PF, 0x12);
    assert_int_equal(event_encode(&event), 0x80000b0e);
    assert_int_equal(event.error_code, 0x12);
    event = event_exception(VECTOR_UD, 5);
    assert_int_equal(event_encode(&event), 0x80000306);
    assert_int_equal(event.error_code, 0);
    event = (struct event){0};
    assert_int_equal(event_encode(&event), 0);

    for (unsigned vector = 0; vector < 256; vector++) {
        bool has = vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21;
        assert_int_equal(event_vector_has_error((uint8_t)vector), has);
    }
}

/* An event that an exit reports is injected unchanged by the next entry. */
static void requeued(void **state)
{
    (void)state;
    static const struct {
        uint32_t info, error, length; /* as the exit gives them; garbage where undefined */
        uint32_t inject, inject_error, inject_length;
    } rows[] = {
        {0x00000b0e, 7, 3, 0, 0, 0},          /* no event */
        {0x80000020, 7, 3, 0x80000020, 0, 0}, /* an external interrupt */
        {0x800000ff, 7, 3, 0x800000ff, 0, 0},
        {0x80000202, 7, 3, 0x80000202, 0, 0},       /* NMI */
        {0x80000b0e, 0x1f, 3, 0x80000b0e, 0x1f, 0}, /* #PF */
        {0x80000306, 7, 3, 0x80000306, 0, 0},       /* #UD has no error code */
        {0x80000480, 7, 2, 0x80000480, 0, 2},       /* INT 80h */
        {0x80000501, 7, 1, 0x80000501, 0, 1},       /* INT1 */
        {0x80000603, 7, 1, 0x80000603, 0, 1},       /* INT3 */
        {0x80001b0e, 1, 3, 0x80000b0e, 1, 0},       /* bit 12 is undefined here */
        {0x80000120, 7, 3, 0, 0, 0},                /* a reserved type */
        {0x80000700, 7, 3, 0, 0, 0},                /* no event */
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        struct event event = event_decode(rows[i].info, rows[i].error, rows[i].length);
        assert_int_equal(event_encode(&event), rows[i].inject);
        assert_int_equal(event.error_code, rows[i].inject_error);
        assert_int_equal(event.length, rows[i].inject_length);
    }
    assert_string_equal(event_type_name(EVENT_NMI), "NMI");
    assert_string_equal(event_type_name(EVENT_SOFTWARE_EXCEPTION), "software exception");
}

#define IF BIT(9)

/* The interruptibility state at the next entry, computed from the state and the event of the last
 * exit. */
static void nmi_blocking(void **state)
{
    (void)state;
    const uint32_t nmi = 0x80000202, ac = 0x80000b11, ud = 0x80000306, interrupt = 0x80000030;
    const uint32_t blocked = BLOCKING_BY_NMI, shadow = BLOCKING_BY_MOV_SS;
    const struct {
        uint32_t requeue, exception;
        bool iret_again;
        uint32_t before, after;
    } rows[] = {
        {0, 0, false, 0, 0},
        {0, 0, false, blocked | shadow, blocked | shadow},
        /* An NMI whose delivery was interrupted is injected again, so NMIs must not be blocked. */
        {nmi, 0, false, blocked | shadow, shadow},
        /* If the NMI's delivery raised an exception, the NMI is lost and NMIs stay blocked. */
        {nmi, ac, false, blocked, blocked},
        {nmi, ud, false, blocked, blocked},
        {interrupt, 0, false, blocked, blocked},
        {ud, ac, false, blocked, blocked},
        /* IRET has ended the blocking and is executed again, so NMIs are blocked again. */
        {0, 0, true, 0, blocked},
        {0, 0, true, shadow, blocked | shadow},
        /* IRET has faulted, so an NMI can interrupt the handler. */
        {0, ud, true, 0, 0},
        {0, ac, true, shadow, shadow},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct event_state now = {.interruptibility = rows[i].before, .protected_mode = true};
        struct event_pending pending = {
            .requeue = event_decode(rows[i].requeue, 0, 0),
            .exception = event_decode(rows[i].exception, 0, 0),
            .iret_again = rows[i].iret_again,
        };
        for (pending.nmis = 0; pending.nmis <= 2; pending.nmis++) {
            struct event_plan plan = event_plan(&pending, &now);
            if (plan.interruptibility != rows[i].after)
                fail_msg("row %u: 0x%x", i, plan.interruptibility);
            /* A pending NMI continues to wait for that IRET. */
            if (rows[i].iret_again)
                assert_true(!pending.nmis || plan.nmi_window);
            if (rows[i].iret_again && !rows[i].exception)
                assert_false(plan.inject.valid);
        }
    }
}

/* Which exits say that an IRET ended NMI blocking, and is executed again (SDM 3, 28.2.3). */
static void exits_of_iret(void **state)
{
    (void)state;
    for (unsigned reason = 0; reason < REASON_COUNT; reason++) {
        bool says = reason == REASON_EPT_VIOLATION || reason == REASON_PML_FULL;
        assert_int_equal(!!(vmx_exit_defines[reason] & DEFINES_IRET), says);
        if (says)
            assert_true(vmx_exit_defines[reason] & DEFINES_QUALIFICATION);
    }
}

static void allowed(void **state)
{
    (void)state;
    static const struct {
        struct event_state state;
        bool interrupt, nmi;
    } rows[] = {
        {{IF, 0, ACTIVITY_ACTIVE, true, false, false, false}, true, true},
        {{0, 0, ACTIVITY_ACTIVE, true, false, false, false}, false, true},
        {{IF, BLOCKING_BY_STI, ACTIVITY_ACTIVE, true, false, false, false}, false, false},
        {{IF, BLOCKING_BY_MOV_SS, ACTIVITY_ACTIVE, true, false, false, false}, false, false},
        {{IF, BLOCKING_BY_NMI, ACTIVITY_ACTIVE, true, false, false, false}, true, false},
        {{IF, 0, ACTIVITY_HLT, true, false, false, false}, true, true},
        {{0, 0, ACTIVITY_HLT, true, false, false, false}, false, true},
        {{IF, 0, ACTIVITY_SHUTDOWN, true, false, false, false}, false, true},
        {{IF, 0, ACTIVITY_WAIT_FOR_SIPI, true, false, false, false}, false, false},
        {{IF, 0, ACTIVITY_ACTIVE, true, true, false, false}, false, false},
        {{IF, 0, ACTIVITY_ACTIVE, true, false, false, true}, true, false},
        {{IF, 0, ACTIVITY_HLT, true, false, false, true}, true, false},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        assert_int_equal(event_interrupt_allowed(&rows[i].state), rows[i].interrupt);
        assert_int_equal(event_nmi_allowed(&rows[i].state), rows[i].nmi);
    }
}

/* SDM 3, table 6-1: what is a fault. */
static void faults(void **state)
{
    (void)state;
    static const char type[] = "FT-TTFFFAFFFFFFFFFAFFFFFFFFFFFFF"; /* fault, trap, abort */
    for (uint8_t vector = 0; vector < 32; vector++)
        assert_int_equal(event_is_fault(vector), type[vector] == 'F');
}

/* The table of SDM 3, 6.15, vector by vector. B benign, C contributory, P page fault, D #DF. */
static void double_fault(void **state)
{
    (void)state;
    static const char class[] = "CBBBBBBBDBCCCCPBBBBBPCBBBBBBBBBB";
    for (uint8_t first = 0; first < 32; first++)
        for (uint8_t second = 0; second < 32; second++) {
            struct event event = event_exception(first, 0);
            bool serious = class[second] == 'C' || class[second] == 'P';
            enum event_outcome expected = EVENT_SECOND;
            if (class[first] == 'D' && serious)
                expected = EVENT_SHUTDOWN;
            else if (class[first] == 'P' && serious)
                expected = EVENT_DOUBLE_FAULT;
            else if (class[first] == 'C' && class[second] == 'C')
                expected = EVENT_DOUBLE_FAULT;
            assert_int_equal(event_combine(&event, second), expected);

            /* INT n, interrupts and NMI are benign whatever their vector. */
            event.type = EVENT_SOFTWARE_INTERRUPT;
            assert_int_equal(event_combine(&event, second), EVENT_SECOND);
            event.type = EVENT_INTERRUPT;
            assert_int_equal(event_combine(&event, second), EVENT_SECOND);
        }
    struct event event = event_exception(VECTOR_DE + 32, 0);
    assert_int_equal(event_combine(&event, VECTOR_GP), EVENT_SECOND);
}

enum { NONE, NMI_W = 1, INT_W = 2, SHUTDOWN = 4 };

enum { by_sti = BLOCKING_BY_STI, by_mov_ss = BLOCKING_BY_MOV_SS, by_nmi = BLOCKING_BY_NMI };
enum { active, hlt, shutdown, sipi }; /* activity states */
static const struct {
    uint32_t requeue, exception; /* as words */
    unsigned nmis;
    int vector; /* of the waiting interrupt, or -1 */
    uint64_t rflags;
    uint32_t interruptibility, activity;
    uint32_t inject;
    unsigned flags;
} plan_rows[] = {
    /* Nothing is pending. */
    {0, 0, 0, -1, IF, 0, active, 0, NONE},
    /* One event is pending, and the guest can or cannot take it. */
    {0, 0, 0, 0x20, IF, 0, active, 0x80000020, NONE},
    {0, 0, 0, 0x20, 0, 0, active, 0, INT_W},
    {0, 0, 0, 0x20, IF, by_sti, active, 0, INT_W},
    {0, 0, 0, 0x20, IF, by_mov_ss, active, 0, INT_W},
    {0, 0, 0, 0x20, IF, by_nmi, active, 0x80000020, NONE},
    {0, 0, 0, 0x20, IF, 0, hlt, 0x80000020, NONE},
    {0, 0, 0, 0x20, IF, 0, shutdown, 0, INT_W},
    {0, 0, 1, -1, 0, 0, active, 0x80000202, NONE},
    {0, 0, 1, -1, 0, by_nmi, active, 0, NMI_W},
    {0, 0, 1, -1, 0, by_mov_ss, active, 0, NMI_W},
    {0, 0, 1, -1, IF, by_sti, active, 0, INT_W},
    {0, 0, 1, -1, 0, 0, shutdown, 0x80000202, NONE},
    {0, 0, 1, -1, 0, 0, sipi, 0, NMI_W},
    {0, 0x80000b0d, 0, -1, 0, by_mov_ss, active, 0x80000b0d, NONE},
    {0x80000b0e, 0, 0, -1, 0, 0, active, 0x80000b0e, NONE},
    {0x80000202, 0, 0, -1, 0, 0, active, 0x80000202, NONE},
    {0x80000480, 0, 0, -1, 0, 0, active, 0x80000480, NONE},
    /* Several events are pending. */
    {0, 0, 1, 0x20, IF, 0, active, 0x80000202, INT_W},
    {0, 0, 2, -1, IF, 0, active, 0x80000202, NMI_W},
    {0, 0, 2, 0x20, IF, 0, active, 0x80000202, NMI_W | INT_W},
    {0, 0, 1, 0x20, IF, by_nmi, active, 0x80000020, NMI_W},
    {0, 0, 1, 0x20, IF, by_mov_ss, active, 0, NMI_W | INT_W},
    {0, 0, 1, 0x20, 0, by_nmi, active, 0, NMI_W | INT_W},
    {0, 0, 1, 0x20, IF, by_sti, active, 0, INT_W},
    {0, 0x80000b0d, 1, -1, IF, by_sti, active, 0x80000b0d, NMI_W},
    {0, 0x80000306, 1, 0x20, IF, 0, active, 0x80000306, NMI_W | INT_W},
    {0x80000030, 0, 1, 0x20, IF, 0, active, 0x80000030, NMI_W | INT_W},
    {0x80000030, 0, 0, 0x20, IF, 0, active, 0x80000030, INT_W},
    /* An exception raised while another event was delivered. */
    {0x80000030, 0x80000b0e, 0, -1, IF, 0, active, 0x80000b0e, NONE},
    {0x80000b0d, 0x80000b0e, 0, -1, IF, 0, active, 0x80000b0e, NONE},
    {0x80000b0d, 0x80000b0d, 0, -1, IF, 0, active, 0x80000b08, NONE},
    {0x80000b0e, 0x80000b0d, 0, 0x20, IF, 0, active, 0x80000b08, INT_W},
    {0x80000300, 0x80000300, 1, -1, IF, 0, active, 0x80000b08, NMI_W},
    {0x80000b08, 0x80000b0e, 2, 0x20, IF, 0, active, 0, SHUTDOWN},
    {0x80000b08, 0x80000306, 0, -1, IF, 0, active, 0x80000306, NONE},
};

static void plans(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(plan_rows); i++) {
        struct event_state now = {plan_rows[i].rflags,
                                  plan_rows[i].interruptibility,
                                  plan_rows[i].activity,
                                  true,
                                  false,
                                  false,
                                  false};
        struct event_pending pending = {
            .requeue = event_decode(plan_rows[i].requeue, 0, 0),
            .exception = event_decode(plan_rows[i].exception, 0, 0),
            .nmis = plan_rows[i].nmis,
            .interrupt = plan_rows[i].vector >= 0,
            .vector = (uint8_t)plan_rows[i].vector,
        };
        struct event_plan plan = event_plan(&pending, &now);
        unsigned flags = (plan.nmi_window ? NMI_W : 0) | (plan.interrupt_window ? INT_W : 0) |
                         (plan.shutdown ? SHUTDOWN : 0);
        if (event_encode(&plan.inject) != plan_rows[i].inject || flags != plan_rows[i].flags)
            fail_msg("row %u: inject 0x%x flags %u", i, event_encode(&plan.inject), flags);
    }
}

/* Any events are pending. For each event that is not delivered now, its window is requested, except
 * that no window opens for an NMI that waits for a TD's VEINFO.GET, and that an NMI which blocking
 * by STI delays waits for the window of an interrupt: on some CPUs its own is open already, and the
 * guest would never execute the instruction that ends the blocking. The event that is delivered is
 * one that the guest can take. */
static void nothing_is_lost(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 1u << 14; i++) {
        struct event_state now = {i & 1 ? IF : 0, i >> 1 & 0xf, i >> 5 & 3, true,
                                  i & BIT(12),    false,        i & BIT(13)};
        struct event_pending pending = {
            .requeue = event_decode(i & BIT(7) ? 0x80000030 : 0, 0, 0),
            .exception = event_decode(i & BIT(8) ? 0x80000306 : 0, 0, 0),
            .nmis = (i >> 9 & 3) % 3,
            .interrupt = i & BIT(11),
            .vector = 0x55,
        };
        struct event_plan plan = event_plan(&pending, &now);
        bool nmi = plan.inject.valid && plan.inject.type == EVENT_NMI;
        bool interrupt =
            plan.inject.valid && plan.inject.type == EVENT_INTERRUPT && plan.inject.vector == 0x55;

        assert_false(plan.shutdown);
        bool waits = pending.nmis - nmi > 0 && !now.holds_nmis;
        bool sti = now.interruptibility & BLOCKING_BY_STI && !plan.inject.valid;
        assert_int_equal(plan.nmi_window, waits && !sti);
        assert_int_equal(plan.interrupt_window,
                         (pending.interrupt && !interrupt) || (waits && sti));
        if (nmi)
            assert_true(event_nmi_allowed(&now));
        if (interrupt)
            assert_true(event_interrupt_allowed(&now));
        if (pending.exception.valid)
            assert_int_equal(event_encode(&plan.inject), 0x80000306);
        else if (pending.requeue.valid)
            assert_int_equal(event_encode(&plan.inject), 0x80000030);
    }
}

/* In real mode #DF pushes no error code either. */
static void double_fault_in_real_mode(void **state)
{
    (void)state;
    struct event_state now = {.protected_mode = false};
    struct event_pending pending = {
        .requeue = event_exception(VECTOR_GP, 0),
        .exception = event_exception(VECTOR_GP, 0),
    };
    struct event_plan plan = event_plan(&pending, &now);
    assert_int_equal(event_encode(&plan.inject), 0x80000308);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words),           cmocka_unit_test(requeued),
        cmocka_unit_test(nmi_blocking),    cmocka_unit_test(exits_of_iret),
        cmocka_unit_test(allowed),         cmocka_unit_test(double_fault),
        cmocka_unit_test(plans),           cmocka_unit_test(faults),
        cmocka_unit_test(nothing_is_lost), cmocka_unit_test(double_fault_in_real_mode),
    };
    return cmocka_run_group_tests_name("vmx events", tests, NULL, NULL);
}
