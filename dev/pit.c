/* SPDX-License-Identifier: MIT */
/* See the header. Called by the port bus, and by vm/ for the interrupt. Pure. */
#include "dev/pit.h"

#include "lib/bits.h"
#include "lib/string.h"

/* Ports, from that of counter 0 on. */
#define OFFSET_COMMAND 3u
#define OFFSET_CONTROL 0x21u
#define COUNTER_2      2u

/* Control words. */
#define SELECTED(command) ((command) >> 6)
#define BYTES(command)    ((command) >> 4 & 3)
#define MODE(command)     ((command) >> 1 & 7)
#define COMMAND_BCD       BIT(0)
#define READ_BACK         3u     /* is selected: the command latches several counters */
#define READ_BACK_COUNT   BIT(5) /* these two are active low */
#define READ_BACK_STATUS  BIT(4)
#define BYTES_LATCH       0u /* the count is latched; nothing else changes */
#define BYTES_LOW         1u
#define BYTES_HIGH        2u
#define BYTES_BOTH        3u

/* The modes; 6 and 7 are second names of 2 and 3. */
#define MODE_END_OF_COUNT    0u
#define MODE_ONE_SHOT        1u /* by the gate */
#define MODE_RATE            2u
#define MODE_SQUARE          3u
#define MODE_STROBE          4u
#define MODE_HARDWARE_STROBE 5u /* by the gate */

/* The status that a read-back command latches: output, no count loaded yet, control word. */
#define STATUS_OUT  BIT(7)
#define STATUS_NULL BIT(6)

/* Bits of the system control port. */
#define CONTROL_GATE    BIT(0)
#define CONTROL_SPEAKER BIT(1)
#define CONTROL_REFRESH BIT(4) /* toggles every 15 us */
#define CONTROL_OUT     BIT(5)

#define REFRESH_HZ  66287u
#define SHORTEST_HZ 10000u /* the rate to which interrupts are limited */

/* ---- Time ------------------------------------------------------------------------------------ */

static uint64_t ticks_of(const struct pit *pit, uint64_t tsc, uint64_t hz)
{
    return tsc / pit->tsc_hz * hz + tsc % pit->tsc_hz * hz / pit->tsc_hz;
}

static uint64_t pit_now(const struct pit *pit)
{
    return ticks_of(pit, pit->tsc(), PIT_HZ);
}

/* The first TSC value that belongs to a tick. */
static uint64_t tsc_of(const struct pit *pit, uint64_t tick)
{
    return tick / PIT_HZ * pit->tsc_hz + (tick % PIT_HZ * pit->tsc_hz + PIT_HZ - 1) / PIT_HZ;
}

/* ---- One counter ----------------------------------------------------------------------------- */

static bool is_periodic(const struct pit_counter *c)
{
    return c->mode == MODE_RATE || c->mode == MODE_SQUARE;
}

static bool is_triggered(const struct pit_counter *c)
{
    return c->mode == MODE_ONE_SHOT || c->mode == MODE_HARDWARE_STROBE;
}

/* Ticks that were counted since the counter was loaded. */
static uint64_t counter_ran(const struct pit_counter *c, uint64_t now)
{
    return c->frozen ? c->ran : now - c->since;
}

/* Ticks for which mode 3 keeps the output high; the rest of the period it is low. */
static uint32_t high_half(uint32_t count)
{
    return (count + 1) / 2;
}

/* Loads the pending count of a periodic counter if the time for it has come. */
static void counter_advance(struct pit_counter *c, uint64_t now)
{
    if (!c->pending || !c->loaded || c->frozen || !is_periodic(c) || now < c->load_at)
        return;
    c->since = c->load_at - (c->load_low ? high_half(c->pending) : 0);
    c->count = c->pending;
    c->pending = 0;
}

/* A running periodic counter loads its next count at the end of the period or, in mode 3, of half a
 * period, after which it goes on with the low half of the new one. */
static void counter_plan(struct pit_counter *c, uint64_t now)
{
    uint64_t in_period = counter_ran(c, now) % c->count;
    c->load_low = c->mode == MODE_SQUARE && in_period < high_half(c->count);
    c->load_at = now - in_period + (c->load_low ? high_half(c->count) : c->count);
}

static uint16_t counter_value(const struct pit_counter *c, uint64_t now)
{
    uint64_t ran = counter_ran(c, now);
    if (!c->loaded)
        return 0;
    if (c->mode == MODE_RATE)
        return (uint16_t)(c->count - ran % c->count);
    if (c->mode == MODE_SQUARE) {
        uint64_t in_period = ran % c->count, high = high_half(c->count);
        uint64_t half = in_period < high ? in_period : in_period - high;
        return (uint16_t)((c->count & ~1u) - 2 * half);
    }
    return (uint16_t)(c->bcd ? (c->count + 10000 - ran % 10000) % 10000 : c->count - ran);
}

static bool counter_output(const struct pit_counter *c, uint64_t now)
{
    uint64_t ran = counter_ran(c, now);
    switch (c->mode) {
    case MODE_END_OF_COUNT:
        return c->loaded && ran >= c->count;
    case MODE_ONE_SHOT:
        return !c->loaded || ran >= c->count;
    case MODE_RATE:
        return !c->loaded || !c->gate || ran % c->count != c->count - 1;
    case MODE_SQUARE:
        return !c->loaded || !c->gate || ran % c->count < high_half(c->count);
    default:
        return !c->loaded || ran != c->count;
    }
}

/* Returns the tick after `now` in which the output rises next, or PIT_NEVER. The gate is open. */
static uint64_t counter_next_rise(const struct pit_counter *c, uint64_t now)
{
    uint64_t ran = now - c->since, last = c->count;
    if (!c->loaded)
        return PIT_NEVER;
    if (c->pending && c->load_low && is_periodic(c))
        return c->load_at + c->pending / 2;
    if (is_periodic(c))
        return now - ran % c->count + c->count;
    if (c->mode == MODE_STROBE || c->mode == MODE_HARDWARE_STROBE)
        last++; /* the strobe is low for a tick */
    return ran < last ? c->since + last : PIT_NEVER;
}

static void counter_load(struct pit_counter *c, uint64_t now)
{
    c->count = c->pending;
    c->pending = 0;
    c->loaded = true;
    c->since = now;
    c->ran = 0;
    c->frozen = !c->gate && !is_triggered(c);
}

static uint32_t from_bcd(uint32_t digits)
{
    return digits % 16 + digits / 16 % 16 * 10 + digits / 256 % 16 * 100 + digits / 4096 * 1000;
}

static uint16_t to_bcd(unsigned value)
{
    return (uint16_t)(value % 10 | value / 10 % 10 << 4 | value / 100 % 10 << 8 |
                      value / 1000 % 10 << 12);
}

/* A complete count was written. A count of 0 stands for the largest one. Periodic counters accept
 * no 1, which is taken for 2. A counter that its gate triggers waits for that, and a periodic one
 * that is running for the end of its period. */
static void counter_new_count(struct pit_counter *c, uint16_t written, uint64_t now)
{
    uint32_t count = c->bcd ? from_bcd(written) : written;
    if (!count)
        count = c->bcd ? 10000 : 0x10000;
    if (count == 1 && is_periodic(c))
        count = 2;
    c->pending = count;
    if (is_periodic(c) && c->loaded)
        counter_plan(c, now);
    else if (!is_triggered(c))
        counter_load(c, now);
}

/* In mode 0, the first of two bytes stops the counter. */
static void counter_write(struct pit_counter *c, uint8_t value, uint64_t now)
{
    counter_advance(c, now);
    switch (c->bytes) {
    case BYTES_LOW:
        counter_new_count(c, value, now);
        return;
    case BYTES_HIGH:
        counter_new_count(c, (uint16_t)(value << 8), now);
        return;
    case BYTES_BOTH:
        if (c->high_next_write)
            counter_new_count(c, (uint16_t)(value << 8 | c->low), now);
        else if (c->mode == MODE_END_OF_COUNT)
            c->loaded = false;
        c->low = value;
        c->high_next_write = !c->high_next_write;
        return;
    }
}

static uint16_t counter_shown(struct pit_counter *c, uint64_t now)
{
    counter_advance(c, now);
    uint16_t value = counter_value(c, now);
    return c->bcd ? to_bcd(value) : value;
}

static uint8_t counter_read(struct pit_counter *c, uint64_t now)
{
    if (c->status_latched) {
        c->status_latched = false;
        return c->status;
    }
    uint16_t count = c->is_latched ? c->latched : counter_shown(c, now);
    bool high = c->bytes == BYTES_HIGH || (c->bytes == BYTES_BOTH && c->high_next_read);
    if (c->bytes == BYTES_BOTH)
        c->high_next_read = !c->high_next_read;
    if (high || c->bytes == BYTES_LOW)
        c->is_latched = false;
    return (uint8_t)(high ? count >> 8 : count);
}

static void counter_latch(struct pit_counter *c, uint64_t now)
{
    if (!c->is_latched)
        c->latched = counter_shown(c, now);
    c->is_latched = true;
}

static void counter_latch_status(struct pit_counter *c, uint64_t now)
{
    counter_advance(c, now);
    if (!c->status_latched)
        c->status = (uint8_t)((counter_output(c, now) ? STATUS_OUT : 0) |
                              (!c->loaded || c->pending ? STATUS_NULL : 0) |
                              (unsigned)c->bytes << 4 | (unsigned)c->mode << 1 | c->bcd);
    c->status_latched = true;
}

/* A closed gate stops the counter, except where only its rise matters, which starts the count. */
static void counter_set_gate(struct pit_counter *c, bool gate, uint64_t now)
{
    bool rises = gate && !c->gate;
    if (gate == c->gate)
        return;
    counter_advance(c, now);
    c->ran = counter_ran(c, now);
    c->gate = gate;
    if (is_triggered(c)) {
        if (rises && !c->pending && c->loaded)
            c->pending = c->count;
        if (rises && c->pending)
            counter_load(c, now);
        return;
    }
    c->frozen = !gate;
    if (!rises)
        return;
    if (is_periodic(c) && c->pending)
        c->count = c->pending;
    c->pending = is_periodic(c) ? 0 : c->pending;
    c->since = is_periodic(c) ? now : now - c->ran;
}

/* ---- The timer ------------------------------------------------------------------------------- */

void pit_init(struct pit *pit, uint64_t (*tsc)(void), uint64_t tsc_hz)
{
    memset(pit, 0, sizeof(*pit));
    pit->tsc = tsc;
    pit->tsc_hz = tsc_hz;
    for (unsigned i = 0; i < COUNTER_2; i++)
        pit->counters[i].gate = true;
    pit->counters[0].mode = MODE_SQUARE; /* its output is high */
    pit->seen = pit_now(pit);
}

/* Shows a rise since the last call on the line, and with `falls` a fall, too. */
static void pit_tick_at(struct pit *pit, uint64_t now, bool falls)
{
    struct pit_counter *c = &pit->counters[0];
    if (counter_next_rise(c, pit->seen) <= now) {
        pit->not_soon = pit->tsc() + pit->tsc_hz / SHORTEST_HZ;
        line_set(&pit->line, false);
        line_set(&pit->line, true);
    } else if (falls) {
        line_set(&pit->line, counter_output(c, now));
    }
    counter_advance(c, now);
    pit->seen = now;
}

void pit_tick(struct pit *pit)
{
    pit_tick_at(pit, pit_now(pit), false);
}

void pit_update(struct pit *pit)
{
    pit_tick_at(pit, pit_now(pit), true);
}

uint64_t pit_deadline(const struct pit *pit)
{
    uint64_t tick = counter_next_rise(&pit->counters[0], pit->seen);
    if (tick == PIT_NEVER)
        return PIT_NEVER;
    uint64_t tsc = tsc_of(pit, tick);
    return tsc > pit->not_soon ? tsc : pit->not_soon;
}

static struct pit_counter *pit_counter(struct pit *pit, uint64_t number)
{
    return number == COUNTER_2 || (pit->complete && number < COUNTER_2) ? &pit->counters[number]
                                                                        : NULL;
}

static void pit_read_back(struct pit *pit, uint8_t command, uint64_t now)
{
    for (unsigned i = 0; i < PIT_COUNTERS; i++) {
        struct pit_counter *c = command & BIT(i + 1) ? pit_counter(pit, i) : NULL;
        if (c && !(command & READ_BACK_COUNT))
            counter_latch(c, now);
        if (c && !(command & READ_BACK_STATUS))
            counter_latch_status(c, now);
    }
}

static void pit_command(struct pit *pit, uint8_t command, uint64_t now)
{
    struct pit_counter *c = pit_counter(pit, SELECTED(command));
    if (SELECTED(command) == READ_BACK)
        pit_read_back(pit, command, now);
    if (!c)
        return;
    if (BYTES(command) == BYTES_LATCH) {
        counter_latch(c, now);
        return;
    }
    *c = (struct pit_counter){.gate = c->gate,
                              .bytes = BYTES(command),
                              .mode = MODE(command) > MODE_HARDWARE_STROBE ? MODE(command) - 4
                                                                           : MODE(command),
                              .bcd = command & COMMAND_BCD};
}

/* ---- Ports ----------------------------------------------------------------------------------- */

static uint64_t pit_read(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size)
{
    struct pit *pit = device;
    uint64_t now = pit_now(pit);
    (void)vcpu, (void)size;
    if (pit->complete)
        pit_tick_at(pit, now, true);
    if (offset < PIT_COUNTERS && pit_counter(pit, offset))
        return counter_read(&pit->counters[offset], now);
    if (offset != OFFSET_CONTROL)
        return ~0ull;
    counter_advance(&pit->counters[COUNTER_2], now);
    return pit->control | (counter_output(&pit->counters[COUNTER_2], now) ? CONTROL_OUT : 0) |
           (ticks_of(pit, pit->tsc(), REFRESH_HZ) & 1 ? CONTROL_REFRESH : 0);
}

static void pit_write_port(struct pit *pit, uint64_t offset, uint8_t value, uint64_t now)
{
    struct pit_counter *c = offset < PIT_COUNTERS ? pit_counter(pit, offset) : NULL;
    if (c) {
        counter_write(c, value, now);
    } else if (offset == OFFSET_COMMAND) {
        pit_command(pit, value, now);
    } else if (offset == OFFSET_CONTROL) {
        pit->control = value & (CONTROL_GATE | CONTROL_SPEAKER);
        counter_set_gate(&pit->counters[COUNTER_2], value & CONTROL_GATE, now);
    }
}

/* What is written changes the output from now on. */
static void pit_write(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                      uint64_t value)
{
    struct pit *pit = device;
    uint64_t now = pit_now(pit);
    (void)vcpu, (void)size;
    if (pit->complete)
        pit_tick_at(pit, now, true);
    pit_write_port(pit, offset, (uint8_t)value, now);
    if (!pit->complete)
        return;
    line_set(&pit->line, counter_output(&pit->counters[0], now));
    pit->changed(pit->context);
}

const struct bus_ops pit_ops = {.name = "pit", .read = pit_read, .write = pit_write};
