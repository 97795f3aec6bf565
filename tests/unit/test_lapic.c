/*
 * The local APIC (SDM 3, chapter 11): its registers one by one, then priorities and the timer
 * against naive models, with random operations.
 */
#include "tests/unit/support.h"

#include "lib/bits.h"
#include "lib/compiler.h"
#include "mmio/dev/lapic.h"
#include "mmio/dev/lapic_mmio.h"

#include <string.h>

#define MASKED   0x10000u
#define PERIODIC 0x20000u
#define DEADLINE 0x40000u

static struct lapic apic;
static uint64_t tsc;
static unsigned nmis, interrupt_calls, timer_calls;

static uint64_t host_now(void *context)
{
    assert_ptr_equal(context, &apic);
    return tsc;
}

static void host_interrupt(void *context)
{
    assert_ptr_equal(context, &apic);
    interrupt_calls++;
}

static void host_timer(void *context)
{
    assert_ptr_equal(context, &apic);
    timer_calls++;
}

static void host_nmi(void *context)
{
    assert_ptr_equal(context, &apic);
    nmis++;
}

static const struct lapic_host host = {host_now, host_interrupt, host_timer, host_nmi};

static int setup(void **state)
{
    (void)state;
    support_reset();
    tsc = 1000;
    nmis = interrupt_calls = timer_calls = 0;
    lapic_init(&apic, 0, &host, &apic);
    return 0;
}

static int setup_on(void **state)
{
    setup(state);
    lapic_write(&apic, LAPIC_SVR, 0x1ff);
    return 0;
}

static uint32_t get(unsigned reg)
{
    return lapic_read(&apic, reg);
}

static void put(unsigned reg, uint32_t value)
{
    lapic_write(&apic, reg, value);
}

static uint32_t errors(void)
{
    put(LAPIC_ESR, 0);
    return get(LAPIC_ESR);
}

/* ---- Registers ------------------------------------------------------------------------------- */

/* SDM 3, 11.4.7.1, and table 11-1 for what may be written. */
static void registers(void **state)
{
    (void)state;
    static const struct {
        unsigned reg;
        uint32_t reset, after_ones; /* all ones written, software-enabled */
    } rows[] = {
        {LAPIC_ID, 0, 0},
        {LAPIC_VERSION, 0x50014, 0x50014},
        {LAPIC_TPR, 0, 0xff},
        {LAPIC_PPR, 0, 0xff}, /* as TPR */
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
        {LAPIC_ICR, 0, 0xccfff}, /* last: it sends, to nobody but others */
    };
    assert_int_equal(get(LAPIC_SVR), 0xff);
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
        assert_int_equal(get(rows[i].reg), rows[i].reset);
    put(LAPIC_SVR, ~0u);
    assert_int_equal(get(LAPIC_SVR), 0x1ff);
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

/* SDM 3, 11.4.7.2: masked for good, no fixed interrupts, but NMIs; what waits goes on waiting. */
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
    lapic_enable(&apic, false);
    assert_int_equal(lapic_pending(&apic), -1);
    assert_false(lapic_accepts(&apic));
    assert_true(ops->read(&apic, NULL, 0x20, 4) == ~0ull);
    ops->write(&apic, NULL, 0x80, 4, 0x66);
    lapic_enable(&apic, true);
    assert_int_equal(ops->read(&apic, NULL, 0x80, 4), 0);
    assert_int_equal(ops->read(&apic, NULL, 0xf0, 4), 0xff);
}

/* ---- IPIs and errors ------------------------------------------------------------------------- */

/* Who is addressed (SDM 3, 11.6.2): the APIC's id is 0. */
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
        {0x00, ~0u, 0xff, 0x800, false}, /* in no group */
        {0x04, ~0u, 0x04, 0x0, false},   /* no logical id, but a physical one */
        {0x32, 0, 0x36, 0x800, true},    /* cluster 3 */
        {0x32, 0, 0x34, 0x800, false},   {0x32, 0, 0x22, 0x800, false}, /* cluster 2 */
        {0x32, 0, 0xf2, 0x800, true},                                   /* all clusters */
        {0x32, 0, 0xf4, 0x800, false},   {0, ~0u, 0x01, 0x40000, true}, /* self */
        {0, ~0u, 0x01, 0x80000, true},                                  /* all */
        {0, ~0u, 0x00, 0xc0000, false},                                 /* all but self */
        {0, ~0u, 0x00, 0x100, true},  /* lowest priority: the only CPU */
        {0, ~0u, 0x00, 0x200, false}, /* SMI */
        {0, ~0u, 0x00, 0x300, false}, /* reserved */
        {0, ~0u, 0x00, 0x500, false}, /* INIT */
        {0, ~0u, 0x00, 0x600, false}, /* start-up */
        {0, ~0u, 0x00, 0x700, false}, /* ExtINT */
        {0, ~0u, 0x00, 0xc000, true}, /* level and trigger mode do not matter */
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
    assert_int_equal(get(LAPIC_ESR), 0); /* only a write brings it up to date */
    assert_int_equal(lapic_pending(&apic), 0xfe);
    assert_int_equal(lapic_acknowledge(&apic), 0xfe);
    put(LAPIC_EOI, 0);
    get(0x00); /* the interrupt is armed by a write only */
    assert_int_equal(lapic_pending(&apic), -1);
    assert_int_equal(errors(), BIT(5) | BIT(6) | BIT(7));
    assert_int_equal(errors(), 0);
    get(0x00);
    assert_int_equal(lapic_pending(&apic), 0xfe);

    setup_on(state);
    put(LAPIC_ICR, 0xc0003); /* sent, but not to us */
    assert_int_equal(errors(), BIT(5));
    lapic_accept(&apic, 15);
    assert_int_equal(errors(), BIT(6));
    put(LAPIC_ICR, 0x400); /* an NMI's vector means nothing */
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

static uint32_t random_state;
static uint32_t random_below(uint32_t n)
{
    random_state = random_state * 1664525 + 1013904223;
    return (random_state >> 8) % n;
}

/* No change of what is pending may go unannounced: the entry path looks only when told to. */
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
            assert_int_equal(before, -1); /* nothing in IRR was above it */
        }
        check_announced(before, calls);
        compare();
    }
    assert_true(taken > 100 && held > 100);
}

/* ---- The timer ------------------------------------------------------------------------------- */

static void one_shot(void **state)
{
    (void)state;
    static const struct {
        uint32_t divide, by;
    } rows[] = {{0x0, 2},  {0x1, 4},  {0x2, 8},   {0x3, 16},
                {0x8, 32}, {0x9, 64}, {0xa, 128}, {0xb, 1}};
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        setup_on(state);
        put(LAPIC_LVT_TIMER, 0x70);
        put(LAPIC_DIVIDE, rows[i].divide);
        put(LAPIC_INITIAL_COUNT, 10);
        uint64_t start = tsc, end = start + 10 * rows[i].by;
        assert_int_equal(lapic_deadline(&apic), end);
        for (; tsc < end; tsc++) {
            assert_int_equal(get(LAPIC_CURRENT_COUNT), 10 - (tsc - start) / rows[i].by);
            assert_int_equal(lapic_pending(&apic), -1);
        }
        lapic_tick(&apic);
        assert_int_equal(lapic_pending(&apic), 0x70);
        assert_int_equal(get(LAPIC_CURRENT_COUNT), 0);
        assert_int_equal(get(LAPIC_INITIAL_COUNT), 10);
        lapic_acknowledge(&apic);
        tsc += 10000;
        lapic_tick(&apic);
        assert_int_equal(get(LAPIC_IRR + 3), 0); /* once */
        assert_true(lapic_deadline(&apic) == LAPIC_NEVER);
    }
    put(LAPIC_INITIAL_COUNT, ~0u);
    assert_int_equal(get(LAPIC_CURRENT_COUNT), ~0u);
    put(LAPIC_INITIAL_COUNT, 0);
    assert_int_equal(get(LAPIC_CURRENT_COUNT), 0);
    assert_true(lapic_deadline(&apic) == LAPIC_NEVER);
}

/* Expiries in between are not lost nor doubled, however late someone looks. */
static void periodic(void **state)
{
    (void)state;
    put(LAPIC_LVT_TIMER, 0x70 | PERIODIC);
    put(LAPIC_DIVIDE, 0); /* by 2 */
    put(LAPIC_INITIAL_COUNT, 50);
    uint64_t start = tsc;
    random_state = 2;
    for (unsigned i = 0, periods = 0; i < 1000; i++) {
        tsc += 1 + random_below(i % 2 ? 40 : 400);
        uint64_t elapsed = tsc - start;
        lapic_tick(&apic);
        assert_int_equal(get(LAPIC_IRR + 3), elapsed / 100 > periods ? BIT(16) : 0);
        assert_int_equal(get(LAPIC_CURRENT_COUNT), (100 - elapsed % 100 + 1) / 2);
        if (elapsed / 100 > periods) { /* while it waits, another one changes nothing */
            assert_true(lapic_deadline(&apic) == LAPIC_NEVER);
            unsigned calls = timer_calls;
            assert_int_equal(lapic_acknowledge(&apic), 0x70);
            assert_true(timer_calls > calls);
            put(LAPIC_EOI, 0);
        }
        periods = (unsigned)(elapsed / 100);
        assert_int_equal(lapic_deadline(&apic), start + 100 * (periods + 1));
    }
    put(LAPIC_LVT_TIMER, 0x70); /* one-shot from now on: the count runs to its end */
    tsc = lapic_deadline(&apic);
    lapic_tick(&apic);
    assert_int_equal(lapic_acknowledge(&apic), 0x70);
    assert_int_equal(get(LAPIC_CURRENT_COUNT), 0);
}

static void masked_timer(void **state)
{
    (void)state;
    put(LAPIC_LVT_TIMER, 0x70 | MASKED);
    put(LAPIC_DIVIDE, 0xb);
    put(LAPIC_INITIAL_COUNT, 100);
    assert_true(lapic_deadline(&apic) == LAPIC_NEVER);
    tsc += 40;
    assert_int_equal(get(LAPIC_CURRENT_COUNT), 60);
    put(LAPIC_DIVIDE, 0); /* by 2: the count stands */
    assert_int_equal(get(LAPIC_CURRENT_COUNT), 60);
    tsc += 119;
    assert_int_equal(get(LAPIC_CURRENT_COUNT), 1);
    tsc += 1;
    put(LAPIC_LVT_TIMER, 0x70); /* unmasked too late */
    assert_int_equal(lapic_pending(&apic), -1);
    put(LAPIC_INITIAL_COUNT, 5);
    tsc += 10;
    put(LAPIC_LVT_TIMER, 0x70 | MASKED); /* masked too late */
    assert_int_equal(lapic_pending(&apic), 0x70);

    /* An illegal vector is an error, and worth an exit once. */
    put(LAPIC_LVT_TIMER, 0x5 | PERIODIC);
    put(LAPIC_INITIAL_COUNT, 5);
    tsc = lapic_deadline(&apic);
    lapic_tick(&apic);
    assert_true(lapic_deadline(&apic) == LAPIC_NEVER);
    unsigned calls = timer_calls;
    assert_int_equal(errors(), BIT(6));
    assert_true(timer_calls > calls);
    assert_int_equal(lapic_deadline(&apic), tsc + 10);
}

/* SDM 3, 11.5.4.1. */
static void tsc_deadline(void **state)
{
    (void)state;
    put(LAPIC_LVT_TIMER, 0x70);
    lapic_set_tsc_deadline(&apic, tsc + 10); /* another mode: ignored */
    assert_int_equal(lapic_tsc_deadline(&apic), 0);
    put(LAPIC_INITIAL_COUNT, 100);
    put(LAPIC_LVT_TIMER, 0x70 | DEADLINE); /* disarms */
    assert_int_equal(get(LAPIC_INITIAL_COUNT), 0);
    assert_true(lapic_deadline(&apic) == LAPIC_NEVER);
    put(LAPIC_INITIAL_COUNT, 100); /* ignored */
    assert_int_equal(get(LAPIC_CURRENT_COUNT), 0);
    assert_int_equal(get(LAPIC_INITIAL_COUNT), 0);

    uint64_t end = tsc + 50;
    lapic_set_tsc_deadline(&apic, end);
    assert_int_equal(lapic_tsc_deadline(&apic), end);
    assert_int_equal(lapic_deadline(&apic), end);
    assert_int_equal(get(LAPIC_CURRENT_COUNT), 0);
    put(LAPIC_DIVIDE, 3); /* of no concern */
    tsc = end - 1;
    lapic_tick(&apic);
    assert_int_equal(lapic_pending(&apic), -1);
    tsc = end;
    assert_int_equal(lapic_tsc_deadline(&apic), 0);
    assert_int_equal(lapic_acknowledge(&apic), 0x70);

    put(LAPIC_EOI, 0);
    lapic_set_tsc_deadline(&apic, end); /* past: at once */
    assert_int_equal(lapic_pending(&apic), 0x70);
    assert_int_equal(lapic_tsc_deadline(&apic), 0);
    lapic_acknowledge(&apic);
    lapic_set_tsc_deadline(&apic, tsc + 5);
    lapic_set_tsc_deadline(&apic, 0); /* disarms */
    assert_true(lapic_deadline(&apic) == LAPIC_NEVER);
    lapic_set_tsc_deadline(&apic, tsc + 5);
    put(LAPIC_LVT_TIMER, 0x70 | DEADLINE | PERIODIC); /* reserved: nothing runs */
    assert_true(lapic_deadline(&apic) == LAPIC_NEVER);
    lapic_set_tsc_deadline(&apic, tsc + 5);
    assert_int_equal(lapic_tsc_deadline(&apic), 0);
    put(LAPIC_LVT_TIMER, 0x70);
    assert_true(lapic_deadline(&apic) == LAPIC_NEVER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(registers, setup),
        cmocka_unit_test_setup(absent_registers, setup),
        cmocka_unit_test_setup(software_disabled, setup_on),
        cmocka_unit_test_setup(page, setup_on),
        cmocka_unit_test_setup(destinations, setup_on),
        cmocka_unit_test_setup(error_register, setup_on),
        cmocka_unit_test_setup(priorities, setup_on),
        cmocka_unit_test_setup(one_shot, setup_on),
        cmocka_unit_test_setup(periodic, setup_on),
        cmocka_unit_test_setup(masked_timer, setup_on),
        cmocka_unit_test_setup(tsc_deadline, setup_on),
    };
    return cmocka_run_group_tests_name("local APIC", tests, NULL, NULL);
}
