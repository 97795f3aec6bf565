/* SPDX-License-Identifier: MIT */
/*
 * The local APIC (SDM 3, chapter 11): each of its registers, IPIs, errors, and random operations
 * whose priorities are compared with a simple model.
 */
#include "tests/unit/dev/lapic_world.h"

#include "lib/compiler.h"
#include "dev/lapic_mmio.h"

#include <string.h>

/* ---- Registers ------------------------------------------------------------------------------- */

/* The values after reset (SDM 3, 11.4.7.1), and the writable bits (table 11-1). */
static void registers(void **state)
{
    (void)state;
    static const struct {
        unsigned reg;
        uint32_t reset, after_ones; /* read back after writing all ones, while enabled */
    } rows[] = {
        {LAPIC_ID, 0, 0},
        {LAPIC_VERSION, 0x50014, 0x50014},
        {LAPIC_TPR, 0, 0xff},
        {LAPIC_PPR, 0, 0xff}, /* follows TPR */
        {LAPIC_LDR, 0, 0xff000000},
        {LAPIC_DFR, ~0u, ~0u},
        {LAPIC_ISR, 0, 0},
        {LAPIC_TMR + 7, 0, 0},
        {LAPIC_IRR + 3, 0, 0},
        {LAPIC_ESR, 0, 0},
        {LAPIC_ICR_HIGH, 0, 0xff000000},
        {LAPIC_LVT_TIMER, MASKED, 0x700ff},
        {LAPIC_LVT_THERMAL, MASKED, 0x107ff},
        {LAPIC_LVT_PERFORMANCE, MASKED, 0x107ff},
        {LAPIC_LVT_LINT0, MASKED, 0x1a7ff},
        {LAPIC_LVT_LINT1, MASKED, 0x1a7ff},
        {LAPIC_LVT_ERROR, MASKED, 0x100ff},
        {LAPIC_CURRENT_COUNT, 0, 0},
        {LAPIC_DIVIDE, 0, 0xb},
        {LAPIC_ICR, 0, 0xccfff}, /* last, because it sends, but to the other CPUs only */
    };
    assert_int_equal(get(LAPIC_SVR), 0xff);
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
        assert_int_equal(get(rows[i].reg), rows[i].reset);
    put(LAPIC_SVR, ~0u);
    assert_int_equal(get(LAPIC_SVR), 0x3ff);
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
        put(rows[i].reg, ~0u);
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
        assert_int_equal(get(rows[i].reg), rows[i].after_ones);
    put(LAPIC_DFR, 0);
    assert_int_equal(get(LAPIC_DFR), 0x0fffffff);
    assert_int_equal(errors(), 0);
}

static void absent_registers(void **state)
{
    (void)state;
    static const unsigned absent[] = {0x00, 0x01, 0x04, 0x07, 0x09, 0x0c, 0x29, 0x2e,
                                      0x2f, 0x3a, 0x3b, 0x3d, 0x3f, 0x40, 0x50, 0xff};
    for (unsigned i = 0; i < ARRAY_SIZE(absent); i++) {
        assert_int_equal(get(absent[i]), 0);
        assert_int_equal(errors(), BIT(7));
        put(absent[i], 0);
        assert_int_equal(errors(), BIT(7));
        assert_int_equal(errors(), 0);
    }
}

/* While the APIC is disabled by software, LVT entries are masked and stay so, fixed interrupts are
 * dropped, NMIs are accepted, and pending interrupts stay pending (SDM 3, 11.4.7.2). */
static void software_disabled(void **state)
{
    (void)state;
    put(LAPIC_LVT_TIMER, 0x30);
    put(LAPIC_LVT_LINT0, 0x31);
    lapic_accept(&apic, 0x40);
    put(LAPIC_SVR, 0xff);
    assert_int_equal(get(LAPIC_LVT_TIMER), 0x30 | MASKED);
    assert_int_equal(get(LAPIC_LVT_LINT0), 0x31 | MASKED);
    put(LAPIC_LVT_TIMER, 0x32);
    assert_int_equal(get(LAPIC_LVT_TIMER), 0x32 | MASKED);
    assert_false(lapic_accepts(&apic));
    lapic_accept(&apic, 0x50);
    put(LAPIC_ICR, 0x40051);
    assert_int_equal(lapic_pending(&apic), 0x40);
    put(LAPIC_ICR, 0x400);
    assert_int_equal(nmis, 1);
    put(LAPIC_SVR, 0x1ff);
    assert_int_equal(get(LAPIC_LVT_LINT0), 0x31 | MASKED);
    assert_int_equal(lapic_acknowledge(&apic), 0x40);
}

static void page(void **state)
{
    (void)state;
    const struct bus_ops *ops = &lapic_mmio_ops;
    put(LAPIC_TPR, 0x35);
    put(LAPIC_LVT_LINT0, 0x8712);
    assert_int_equal(ops->read(&apic, NULL, 0x80, 4), 0x35);
    assert_int_equal(ops->read(&apic, NULL, 0x350, 4), 0x8712);
    assert_int_equal(ops->read(&apic, NULL, 0x351, 1) & 0xff, 0x87);
    assert_int_equal(ops->read(&apic, NULL, 0x352, 2), 0);
    assert_int_equal(ops->read(&apic, NULL, 0x350, 8), 0x8712);
    assert_int_equal(ops->read(&apic, NULL, 0x354, 4), 0);
    assert_int_equal(ops->read(&apic, NULL, 0x35c, 8), 0);
    ops->write(&apic, NULL, 0x80, 1, 0x11);
    ops->write(&apic, NULL, 0x80, 8, 0x22);
    ops->write(&apic, NULL, 0x82, 4, 0x33);
    ops->write(&apic, NULL, 0x84, 4, 0x44);
    assert_int_equal(get(LAPIC_TPR), 0x35);
    ops->write(&apic, NULL, 0x80, 4, 0x55);
    assert_int_equal(get(LAPIC_TPR), 0x55);

    lapic_accept(&apic, 0x80);
    assert_true(lapic_set_mode(&apic, LAPIC_OFF));
    assert_int_equal(lapic_pending(&apic), -1);
    assert_false(lapic_accepts(&apic));
    assert_true(ops->read(&apic, NULL, 0x20, 4) == ~0ull);
    ops->write(&apic, NULL, 0x80, 4, 0x66);
    assert_true(lapic_set_mode(&apic, LAPIC_XAPIC));
    assert_int_equal(ops->read(&apic, NULL, 0x80, 4), 0);
    assert_int_equal(ops->read(&apic, NULL, 0xf0, 4), 0xff);
}

/* ---- IPIs and errors ------------------------------------------------------------------------- */

/* Which destinations address the APIC (SDM 3, 11.6.2), whose ID is 0. */
static void destinations(void **state)
{
    (void)state;
    static const struct {
        uint32_t ldr, dfr, high, low;
        bool here;
    } rows[] = {
        {0, ~0u, 0x00, 0x0, true},      /* physical */
        {0, ~0u, 0x01, 0x0, false},     /* another CPU's */
        {0, ~0u, 0xff, 0x0, true},      /* broadcast */
        {0x04, ~0u, 0x06, 0x800, true}, /* logical, flat */
        {0x04, ~0u, 0x03, 0x800, false}, {0x04, ~0u, 0xff, 0x800, true},
        {0x00, ~0u, 0xff, 0x800, false}, /* its logical ID is 0 */
        {0x04, ~0u, 0x04, 0x0, false},   /* a physical ID that equals its logical one */
        {0x32, 0, 0x36, 0x800, true},    /* cluster 3 */
        {0x32, 0, 0x34, 0x800, false},   {0x32, 0, 0x22, 0x800, false}, /* cluster 2 */
        {0x32, 0, 0xf2, 0x800, true},                                   /* all clusters */
        {0x32, 0, 0xf4, 0x800, false},   {0, ~0u, 0x01, 0x40000, true}, /* self */
        {0, ~0u, 0x01, 0x80000, true},                                  /* all */
        {0, ~0u, 0x00, 0xc0000, false},                                 /* all but self */
        {0, ~0u, 0x00, 0x100, true},  /* lowest priority, on the only CPU */
        {0, ~0u, 0x00, 0x200, false}, /* SMI */
        {0, ~0u, 0x00, 0x300, false}, /* reserved */
        {0, ~0u, 0x00, 0x500, false}, /* INIT */
        {0, ~0u, 0x00, 0x600, false}, /* start-up */
        {0, ~0u, 0x00, 0x700, false}, /* ExtINT */
        {0, ~0u, 0x00, 0xc000, true}, /* level and trigger mode are ignored */
        {0, ~0u, 0x00, 0x8000, true},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        setup_on(state);
        put(LAPIC_LDR, rows[i].ldr << 24);
        put(LAPIC_DFR, rows[i].dfr);
        put(LAPIC_ICR_HIGH, rows[i].high << 24);
        put(LAPIC_ICR, rows[i].low | 0x61);
        if (lapic_pending(&apic) != (rows[i].here ? 0x61 : -1))
            fail_msg("row %u", i);
        assert_int_equal(get(LAPIC_ICR), rows[i].low | 0x61); /* delivery status: idle */
        assert_int_equal(nmis, 0);
        assert_int_equal(errors(), 0);
        put(LAPIC_ICR, (rows[i].low & ~0x700u) | 0x400);
        assert_int_equal(nmis, rows[i].here || rows[i].low & 0x600);
    }
}

static void error_register(void **state)
{
    (void)state;
    put(LAPIC_LVT_ERROR, 0xfe);
    put(LAPIC_ICR, 0x4000f);
    assert_int_equal(get(LAPIC_ESR), 0); /* only a write to ESR updates it */
    assert_int_equal(lapic_pending(&apic), 0xfe);
    assert_int_equal(lapic_acknowledge(&apic), 0xfe);
    put(LAPIC_EOI, 0);
    get(0x00); /* only a write to ESR arms the interrupt */
    assert_int_equal(lapic_pending(&apic), -1);
    assert_int_equal(errors(), BIT(5) | BIT(6) | BIT(7));
    assert_int_equal(errors(), 0);
    get(0x00);
    assert_int_equal(lapic_pending(&apic), 0xfe);

    setup_on(state);
    put(LAPIC_ICR, 0xc0003); /* sent to all others */
    assert_int_equal(errors(), BIT(5));
    lapic_accept(&apic, 15);
    assert_int_equal(errors(), BIT(6));
    put(LAPIC_ICR, 0x400); /* the vector of an NMI is ignored */
    lapic_accept(&apic, 16);
    assert_int_equal(errors(), 0);
    assert_int_equal(get(LAPIC_IRR), BIT(16));
    put(LAPIC_LVT_ERROR, 3); /* the error interrupt itself has an illegal vector */
    get(0x00);
    assert_int_equal(errors(), BIT(6) | BIT(7));
}

/* ---- Priorities, against a naive model ------------------------------------------------------- */

static struct {
    bool irr[256], isr[256];
    unsigned tpr;
    bool on;
} model;

static unsigned model_ppr(void)
{
    unsigned in_service = 0;
    for (unsigned v = 0; v < 256; v++)
        if (model.isr[v])
            in_service = v;
    return model.tpr / 16 >= in_service / 16 ? model.tpr : in_service / 16 * 16;
}

static int model_pending(void)
{
    for (int v = 255; v >= 0; v--)
        if (model.irr[v])
            return (unsigned)v / 16 > model_ppr() / 16 ? v : -1;
    return -1;
}

static void compare(void)
{
    assert_int_equal(get(LAPIC_PPR), model_ppr());
    assert_int_equal(get(LAPIC_TPR), model.tpr);
    assert_int_equal(lapic_pending(&apic), model_pending());
    for (unsigned v = 0; v < 256; v++) {
        assert_int_equal(get(LAPIC_IRR + v / 32) >> v % 32 & 1, model.irr[v]);
        assert_int_equal(get(LAPIC_ISR + v / 32) >> v % 32 & 1, model.isr[v]);
    }
}

/* Every change of lapic_pending() must be announced by a callback, because the entry path checks
 * for interrupts only after one. */
static void check_announced(int before, unsigned calls)
{
    if (lapic_pending(&apic) != before)
        assert_true(interrupt_calls > calls);
}

static void priorities(void **state)
{
    (void)state;
    unsigned taken = 0, held = 0;
    random_state = 1;
    memset(&model, 0, sizeof(model));
    model.on = true;
    for (unsigned i = 0; i < 20000; i++) {
        int before = lapic_pending(&apic);
        unsigned calls = interrupt_calls, v = 16 + random_below(240);
        switch (random_below(8)) {
        case 0:
            model.tpr = random_below(3) ? random_below(256) : 0;
            put(LAPIC_TPR, model.tpr);
            break;
        case 1:
        case 2:
            put(LAPIC_ICR, 0x40000 | v);
            model.irr[v] |= model.on;
            break;
        case 3:
            lapic_accept(&apic, (uint8_t)v);
            model.irr[v] |= model.on;
            break;
        case 4:
        case 5:
            put(LAPIC_EOI, random_state);
            for (unsigned s = 255; s > 0; s--)
                if (model.isr[s]) {
                    model.isr[s] = false;
                    break;
                }
            break;
        case 6:
            if (!random_below(8)) {
                model.on = !model.on;
                put(LAPIC_SVR, model.on ? 0x1ff : 0xff);
            }
            break;
        default:
            held += before < 0;
            if (before < 0)
                break;
            taken++;
            assert_int_equal(lapic_acknowledge(&apic), before);
            model.irr[before] = false;
            model.isr[before] = true;
            before = lapic_pending(&apic);
            assert_int_equal(before, -1); /* nothing in IRR was above PPR */
        }
        check_announced(before, calls);
        compare();
    }
    assert_true(taken > 100 && held > 100);
}

/* An APIC that begins to accept messages, or gets another address, says so: a message that nobody
 * accepted may be sent again. */
static void says_when_it_can_be_reached(void **state)
{
    (void)state;
    static const struct {
        unsigned reg; /* 0: the mode is set */
        uint32_t value;
        unsigned calls;
    } rows[] = {
        {LAPIC_LDR, 0x01000000, 0}, {LAPIC_SVR, 0x1ff, 1},      {LAPIC_SVR, 0x1ff, 1},
        {LAPIC_LDR, 0x02000000, 1}, {LAPIC_DFR, 0x0fffffff, 1}, {LAPIC_TPR, 0, 0},
        {LAPIC_EOI, 0, 0},          {LAPIC_SVR, 0xff, 0},       {LAPIC_DFR, 0xffffffff, 0},
        {LAPIC_SVR, 0x1ff, 1},      {0, LAPIC_X2APIC, 1},       {0, LAPIC_X2APIC, 0},
        {0, LAPIC_OFF, 0},          {0, LAPIC_XAPIC, 0},        {LAPIC_SVR, 0x100, 1},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        reachable_calls = 0;
        if (rows[i].reg)
            put(rows[i].reg, rows[i].value);
        else
            assert_true(lapic_set_mode(&apic, rows[i].value));
        assert_int_equal(reachable_calls, rows[i].calls);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(registers, setup),
        cmocka_unit_test_setup(absent_registers, setup),
        cmocka_unit_test_setup(software_disabled, setup_on),
        cmocka_unit_test_setup(says_when_it_can_be_reached, setup),
        cmocka_unit_test_setup(page, setup_on),
        cmocka_unit_test_setup(destinations, setup_on),
        cmocka_unit_test_setup(error_register, setup_on),
        cmocka_unit_test_setup(priorities, setup_on),
    };
    return cmocka_run_group_tests_name("local APIC", tests, NULL, NULL);
}
