/* SPDX-License-Identifier: MIT */
/* See the header. Called by the port bus. Pure. */
#include "dev/pit.h"

#include "lib/bits.h"

/* Ports, from that of counter 0 on. */
#define OFFSET_COUNTER_2 2u
#define OFFSET_COMMAND   3u
#define OFFSET_CONTROL   0x21u

/* Commands. */
#define SELECTED(command) ((command) >> 6)
#define BYTES(command)    ((command) >> 4 & 3)
#define MODE(command)     ((command) >> 1 & 7)
#define COUNTER_2         2u
#define BYTES_LATCH       0u /* the count is latched; nothing else changes */
#define BYTES_LOW         1u
#define BYTES_HIGH        2u
#define BYTES_BOTH        3u
#define MODE_ONE_SHOT     0u
#define MODE_RATE         2u
#define MODE_SQUARE       3u
#define MODE_IS_PERIODIC  2u /* this bit: modes 2, 3, and their second names 6, 7 */

/* Bits of the system control port. */
#define CONTROL_GATE    BIT(0)
#define CONTROL_SPEAKER BIT(1)
#define CONTROL_REFRESH BIT(4) /* toggles every 15 us */
#define CONTROL_OUT     BIT(5)

#define REFRESH_HZ 66287u

static uint64_t ticks_of(const struct pit *pit, uint64_t tsc, uint64_t hz)
{
    return tsc / pit->tsc_hz * hz + tsc % pit->tsc_hz * hz / pit->tsc_hz;
}

/* Ticks that were counted since the counter was loaded. */
static uint64_t pit_ran(const struct pit *pit)
{
    if (!pit->loaded || !(pit->control & CONTROL_GATE))
        return pit->ran;
    return pit->ran + ticks_of(pit, pit->tsc() - pit->since, PIT_HZ);
}

/* In the periodic modes the counter starts again at its end, and in mode 3 it counts by two. In the
 * others it goes on below 0. */
static uint16_t pit_count(const struct pit *pit)
{
    uint64_t ran = pit_ran(pit);
    if (!pit->loaded)
        return 0;
    if (!(pit->mode & MODE_IS_PERIODIC))
        return (uint16_t)(pit->count - ran);
    if ((pit->mode & 3) == MODE_SQUARE)
        ran *= 2;
    return (uint16_t)(pit->count - ran % pit->count);
}

/* Mode 0 raises the output at the end of the count, and mode 3 lowers it in the second half of each
 * period. The pulses of one tick of the other modes are not shown. */
static bool pit_output(const struct pit *pit)
{
    uint64_t ran = pit_ran(pit);
    if (pit->mode == MODE_ONE_SHOT)
        return pit->loaded && ran >= pit->count;
    if ((pit->mode & 3) == MODE_SQUARE && pit->loaded)
        return ran % pit->count * 2 < pit->count;
    return true;
}

static void pit_set_gate(struct pit *pit, uint8_t control)
{
    uint8_t changed = pit->control ^ control;
    if (changed & CONTROL_GATE) {
        pit->ran = pit_ran(pit);
        pit->since = pit->tsc();
        if (control & CONTROL_GATE && pit->mode != MODE_ONE_SHOT)
            pit->ran = 0; /* the rising edge starts the count again */
    }
    pit->control = control;
}

static void pit_command(struct pit *pit, uint8_t command)
{
    if (SELECTED(command) != COUNTER_2)
        return;
    if (BYTES(command) == BYTES_LATCH) {
        if (!pit->is_latched)
            pit->latched = pit_count(pit);
        pit->is_latched = true;
        return;
    }
    pit->bytes = BYTES(command);
    pit->mode = MODE(command);
    pit->loaded = pit->is_latched = pit->high_next_read = pit->high_next_write = false;
    pit->ran = 0;
}

static void pit_load(struct pit *pit, uint32_t count)
{
    pit->count = count ? count : 0x10000;
    pit->loaded = true;
    pit->ran = 0;
    pit->since = pit->tsc();
}

static void pit_write_count(struct pit *pit, uint8_t value)
{
    switch (pit->bytes) {
    case BYTES_LOW:
        return pit_load(pit, value);
    case BYTES_HIGH:
        return pit_load(pit, (uint32_t)value << 8);
    case BYTES_BOTH:
        if (pit->high_next_write)
            pit_load(pit, (uint32_t)value << 8 | pit->low);
        else
            pit->low = value;
        pit->high_next_write = !pit->high_next_write;
        return;
    }
}

static uint8_t pit_read_count(struct pit *pit)
{
    uint16_t count = pit->is_latched ? pit->latched : pit_count(pit);
    bool high = pit->bytes == BYTES_HIGH || (pit->bytes == BYTES_BOTH && pit->high_next_read);
    if (pit->bytes == BYTES_BOTH)
        pit->high_next_read = !pit->high_next_read;
    if (high || pit->bytes == BYTES_LOW)
        pit->is_latched = false;
    return (uint8_t)(high ? count >> 8 : count);
}

static uint64_t pit_read(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size)
{
    struct pit *pit = device;
    (void)vcpu, (void)size;
    if (offset == OFFSET_COUNTER_2)
        return pit_read_count(pit);
    if (offset != OFFSET_CONTROL)
        return ~0ull;
    return pit->control | (pit_output(pit) ? CONTROL_OUT : 0) |
           (ticks_of(pit, pit->tsc(), REFRESH_HZ) & 1 ? CONTROL_REFRESH : 0);
}

static void pit_write(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                      uint64_t value)
{
    (void)vcpu, (void)size;
    if (offset == OFFSET_COUNTER_2)
        pit_write_count(device, (uint8_t)value);
    else if (offset == OFFSET_COMMAND)
        pit_command(device, (uint8_t)value);
    else if (offset == OFFSET_CONTROL)
        pit_set_gate(device, value & (CONTROL_GATE | CONTROL_SPEAKER));
}

const struct bus_ops pit_ops = {.name = "pit", .read = pit_read, .write = pit_write};
