/* SPDX-License-Identifier: MIT */
/*
 * All of the 8254, compared with a model that counts tick by tick as the data sheet describes it:
 * each counter's elements, its output, and every rise of counter 0's line. Random control words,
 * counts, latches, read-backs, gates and times.
 */
#include "tests/unit/support.h"

#include "dev/pit.h"
#include "lib/bits.h"

#include <string.h>

#define TSC_PER_TICK 40ull /* of a TSC that counts whole ticks of the timer */
#define STEPS        200000u

static uint64_t tick;
static struct pit pit;
static bool line = true; /* as a BIOS leaves it */
static unsigned rises;

static uint64_t tsc(void)
{
    return tick * TSC_PER_TICK;
}

static void set_line(void *context, unsigned number, bool level)
{
    assert_ptr_equal(context, &pit);
    assert_int_equal(number, 0);
    rises += level && !line;
    line = level;
}

static void changed(void *context)
{
    assert_ptr_equal(context, &pit);
}

/* ---- The model ------------------------------------------------------------------------------- */

struct counter {
    unsigned mode, access;
    bool bcd, gate, out, armed, counting, null;
    unsigned element, reload; /* what counts, and what is loaded next; decimal with `bcd` */
    bool first_half, odd_step, strobe;
    int low_byte; /* of two that are written, or -1 */
    bool high_is_next;
    int count_latch, status_latch; /* or -1 */
};

static struct counter counters[3];
static unsigned model_rises;

static unsigned modulus(const struct counter *c)
{
    return c->bcd ? 10000 : 0x10000;
}

static void out(struct counter *c, bool level)
{
    model_rises += level && !c->out && c == &counters[0];
    c->out = level;
}

static void load(struct counter *c)
{
    c->element = c->reload;
    c->null = false;
    c->counting = true;
}

/* One clock of a counter that counts. */
static void clock_counter(struct counter *c)
{
    bool held = !c->gate && c->mode != 1 && c->mode != 5;
    if (!c->counting || held)
        return;
    switch (c->mode) {
    case 2:
        if (--c->element == 1)
            out(c, false);
        if (c->element == 0) {
            load(c);
            out(c, true);
        }
        return;
    case 3: /* an odd count is loaded less 1, and the first half has a tick more */
        if (c->element == 0 || (c->element == 2 && !(c->odd_step && c->first_half))) {
            c->first_half = !c->first_half;
            c->odd_step = c->reload & 1;
            load(c);
            c->element &= ~1u;
            out(c, c->first_half);
        } else {
            c->element -= 2;
        }
        return;
    default:
        if (c->strobe)
            out(c, true);
        c->strobe = false;
        c->element = (c->element + modulus(c) - 1) % modulus(c);
        if (c->element || !c->armed)
            return;
        c->armed = false;
        if (c->mode < 2)
            out(c, true);
        else
            out(c, false), c->strobe = true;
    }
}

static void start(struct counter *c)
{
    load(c);
    c->armed = true;
    c->strobe = false;
    c->first_half = true;
    c->odd_step = c->reload & 1;
    if (c->mode == 3)
        c->element &= ~1u;
    out(c, c->mode > 1);
}

static void written(struct counter *c, unsigned count)
{
    unsigned value =
        c->bcd ? count % 16 + count / 16 % 16 * 10 + count / 256 % 16 * 100 + count / 4096 * 1000
               : count;
    c->reload = value ? value : modulus(c);
    if (c->reload == 1 && (c->mode == 2 || c->mode == 3))
        c->reload = 2;
    c->null = true;
    if (c->mode == 0 || c->mode == 4 || ((c->mode == 2 || c->mode == 3) && !c->counting))
        start(c);
}

static void model_write(struct counter *c, uint8_t value)
{
    if (c->access == 1) {
        written(c, value);
    } else if (c->access == 2) {
        written(c, (unsigned)value << 8);
    } else if (c->access == 3 && c->low_byte < 0) {
        c->low_byte = value;
        if (c->mode == 0) {
            c->counting = false;
            c->null = true;
            out(c, false);
        }
    } else if (c->access == 3) {
        unsigned count = (unsigned)value << 8 | (unsigned)c->low_byte;
        c->low_byte = -1;
        written(c, count);
    }
}

static unsigned shown(const struct counter *c)
{
    unsigned value = c->counting ? c->element % modulus(c) : 0;
    return c->bcd ? value % 10 | value / 10 % 10 << 4 | value / 100 % 10 << 8 | value / 1000 << 12
                  : value;
}

static uint8_t model_read(struct counter *c)
{
    if (c->status_latch >= 0) {
        uint8_t status = (uint8_t)c->status_latch;
        c->status_latch = -1;
        return status;
    }
    unsigned count = c->count_latch >= 0 ? (unsigned)c->count_latch : shown(c);
    bool high = c->access == 2 || (c->access == 3 && c->high_is_next);
    if (c->access == 3)
        c->high_is_next = !c->high_is_next;
    if (c->access == 1 || high)
        c->count_latch = -1;
    return (uint8_t)(high ? count >> 8 : count);
}

static void model_latch(struct counter *c, bool count, bool status)
{
    if (count && c->count_latch < 0)
        c->count_latch = (int)shown(c);
    if (status && c->status_latch < 0)
        c->status_latch = c->out << 7 | (c->null || !c->counting) << 6 | (int)c->access << 4 |
                          (int)c->mode << 1 | c->bcd;
}

static void model_command(uint8_t command)
{
    unsigned which = command >> 6;
    if (which == 3) {
        for (unsigned i = 0; i < 3; i++)
            if (command >> (i + 1) & 1)
                model_latch(&counters[i], !(command & 0x20), !(command & 0x10));
        return;
    }
    struct counter *c = &counters[which];
    if (!(command & 0x30)) {
        model_latch(c, true, false);
        return;
    }
    bool was_high = c->out;
    *c = (struct counter){.gate = c->gate, .out = was_high, .low_byte = -1, .null = true};
    c->count_latch = c->status_latch = -1;
    c->access = command >> 4 & 3;
    c->mode = command >> 1 & 7;
    c->mode -= c->mode > 5 ? 4 : 0;
    c->bcd = command & 1;
    out(c, c->mode != 0);
}

static void model_gate(struct counter *c, bool gate)
{
    bool rise = gate && !c->gate;
    bool periodic = c->mode == 2 || c->mode == 3;
    c->gate = gate;
    if (periodic && !gate)
        out(c, true);
    if (rise && ((periodic && c->counting) ||
                 ((c->mode == 1 || c->mode == 5) && (c->reload && (c->null || c->counting)))))
        start(c);
}

/* ---- Both ------------------------------------------------------------------------------------ */

static uint64_t random_state = 1;
static uint64_t rnd(uint64_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (random_state >> 11) % below;
}

static void both_write(unsigned port, uint8_t value)
{
    pit_ops.write(&pit, NULL, port, 1, value);
    if (port < 3)
        model_write(&counters[port], value);
    else if (port == 3)
        model_command(value);
    else
        model_gate(&counters[2], value & 1);
}

static void compare(unsigned step)
{
    uint8_t control = (uint8_t)pit_ops.read(&pit, NULL, 0x21, 1);
    if (!!(control & 0x20) != counters[2].out)
        fail_msg("step %u: output of counter 2 in mode %u is %d", step, counters[2].mode,
                 !!(control & 0x20));
    if (rises != model_rises)
        fail_msg("step %u: %u rises of counter 0 in mode %u, not %u", step, rises, counters[0].mode,
                 model_rises);
}

/* Lets a tick pass. The line is looked at in each, at first to see that the deadline is right. */
static void pass_tick(void)
{
    uint64_t due = pit_deadline(&pit);
    unsigned before = model_rises;
    tick++;
    for (unsigned i = 0; i < 3; i++)
        clock_counter(&counters[i]);
    bool rose = model_rises != before;
    if (rose && due > tsc() && pit.not_soon <= tsc())
        fail_msg("tick %lu: a rise, but the deadline is %lu", tick, due);
    if (due == PIT_NEVER)
        assert_false(rose);
    pit_tick(&pit);
}

static void random_write(void)
{
    unsigned which = (unsigned)rnd(3);
    switch (rnd(8)) {
    case 0:
        both_write(3, (uint8_t)(rnd(4) << 6 | rnd(64)));
        break;
    case 1:
        both_write(3, (uint8_t)(which << 6 | (1 + rnd(3)) << 4 | rnd(8) << 1 | !rnd(4)));
        break;
    case 2:
        both_write(0x21, (uint8_t)rnd(2));
        break;
    case 3:
    case 4:
        both_write(which, (uint8_t)(rnd(3) ? rnd(16) : rnd(256)));
        both_write(which, (uint8_t)(rnd(4) ? 0 : rnd(2)));
        break;
    default:
        both_write(which, (uint8_t)(rnd(2) ? rnd(12) : rnd(256)));
    }
}

static void as_the_model(void **state)
{
    (void)state;
    unsigned rounds = (unsigned)support_rounds(STEPS);
    tick = 1000000;
    pit_init(&pit, tsc, TSC_PER_TICK * PIT_HZ);
    pit.complete = true;
    pit.line = (struct line){set_line, &pit, 0};
    pit.changed = changed;
    pit.context = &pit;
    for (unsigned i = 0; i < 3; i++)
        counters[i] = (struct counter){
            .gate = i < 2, .low_byte = -1, .count_latch = -1, .status_latch = -1, .null = true};
    counters[0].mode = 3;
    counters[0].out = true;
    for (unsigned step = 0; step < rounds; step++) {
        unsigned which = (unsigned)rnd(3);
        if (rnd(3) == 0)
            random_write();
        uint8_t got = 0, want = 0;
        if (rnd(2)) {
            got = (uint8_t)pit_ops.read(&pit, NULL, which, 1);
            want = model_read(&counters[which]);
        }
        if (got != want)
            fail_msg("step %u: counter %u in mode %u%s reads %#x, not %#x", step, which,
                     counters[which].mode, counters[which].bcd ? ", BCD" : "", got, want);
        compare(step);
        for (uint64_t n = rnd(4) ? rnd(4) : rnd(40); n; n--)
            pass_tick();
        compare(step);
    }
    assert_true(model_rises > rounds / 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_the_model)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
