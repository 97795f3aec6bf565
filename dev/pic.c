/* SPDX-License-Identifier: MIT */
/* The pair of 8259As; see the header. Called by the port bus, by devices through their lines, and
 * by a vCPU that takes an interrupt. Pure. */
#include "dev/pic.h"

#include "lib/bits.h"
#include "lib/string.h"

#define INPUTS   8u
#define SPURIOUS 7u

enum { MASTER, SLAVE };

/* ICW1, which bit 4 of a write to port 0 distinguishes from OCW2 and OCW3. */
#define ICW1            BIT(4)
#define ICW1_WANTS_ICW4 BIT(0)
#define ICW1_SINGLE     BIT(1)
#define ICW2_BASE       BITS(7, 3)
#define ICW4_AUTO_EOI   BIT(1)
#define ICW4_NESTED     BIT(4) /* the special fully nested mode */

/* OCW2 and OCW3. */
#define OCW3            BIT(3)
#define OCW2_INPUT      BITS(2, 0)
#define OCW2_EOI        BIT(5)
#define OCW2_SPECIFIC   BIT(6)
#define OCW2_ROTATE     BIT(7)
#define OCW3_SERVICE    BIT(0)
#define OCW3_READ       BIT(1)
#define OCW3_POLL       BIT(2)
#define OCW3_SMM        BIT(5)
#define OCW3_SMM_CHANGE BIT(6)

/* What a poll reads. */
#define POLL_REQUEST BIT(7)

/* The inputs whose trigger mode can be chosen. The timer, the keyboard, the cascade, the clock and
 * the coprocessor are edge-triggered. */
static const uint8_t elcr_writable[] = {[MASTER] = 0xf8, [SLAVE] = 0xde};

static uint8_t chip_requests(const struct pic_chip *c)
{
    return (uint8_t)((c->lines & c->level) | (c->edges & ~c->level));
}

static void chip_set_line(struct pic_chip *c, unsigned input, bool level)
{
    uint8_t bit = (uint8_t)BIT(input);
    if (level && !(c->lines & bit))
        c->edges |= bit;
    else if (!level)
        c->edges &= (uint8_t)~bit;
    c->lines = level ? c->lines | bit : c->lines & (uint8_t)~bit;
}

/* ---- Priorities ------------------------------------------------------------------------------ */

/* The priority of an input: 0 is the highest one. */
static unsigned chip_rank(const struct pic_chip *c, unsigned input)
{
    return (input - c->lowest - 1) % INPUTS;
}

/* Returns the input of the highest priority in a set, or -1 if the set is empty. */
static int chip_first(const struct pic_chip *c, uint8_t set)
{
    for (unsigned rank = 0; rank < INPUTS; rank++) {
        unsigned input = (c->lowest + 1 + rank) % INPUTS;
        if (set & BIT(input))
            return (int)input;
    }
    return -1;
}

/* What is in service and holds off other inputs. In the special mask mode, an input that is masked
 * holds off nothing. */
static uint8_t chip_holding(const struct pic_chip *c)
{
    return c->special_mask ? c->in_service & (uint8_t)~c->masked : c->in_service;
}

/* Returns the input whose request the chip would announce, or -1. In the special fully nested mode,
 * the slave may interrupt again while its own interrupt is in service. */
static int chip_request(const struct pic_chip *c)
{
    int request = chip_first(c, chip_requests(c) & (uint8_t)~c->masked);
    int current = chip_first(c, chip_holding(c));
    if (c->step || request < 0)
        return -1;
    if (current < 0 || chip_rank(c, (unsigned)request) < chip_rank(c, (unsigned)current))
        return request;
    return c->special_nested && request == current && request == PIC_CASCADE ? request : -1;
}

/* ---- The pair -------------------------------------------------------------------------------- */

static void pic_set_output(struct pic *pic, bool level)
{
    if (pic->output == level)
        return;
    pic->output = level;
    pic->interrupt(pic->context, level);
}

/* Called with the lock held, after each change. */
static void pic_update(struct pic *pic)
{
    struct pic_chip *master = &pic->chips[MASTER];
    chip_set_line(master, PIC_CASCADE, chip_request(&pic->chips[SLAVE]) >= 0);
    pic_set_output(pic, chip_request(master) >= 0);
}

void pic_init(struct pic *pic, void (*interrupt)(void *context, bool level), void *context)
{
    memset(pic, 0, sizeof(*pic));
    pic->interrupt = interrupt;
    pic->context = context;
    for (unsigned i = 0; i < ARRAY_SIZE(pic->chips); i++) {
        pic->chips[i].lowest = INPUTS - 1;
        pic->chips[i].step = 1;
    }
}

void pic_set_line(void *context, unsigned irq, bool level)
{
    struct pic *pic = context;
    if (irq >= PIC_IRQS || irq == PIC_CASCADE)
        return;
    spin_lock(&pic->lock);
    chip_set_line(&pic->chips[irq / INPUTS], irq % INPUTS, level);
    pic_update(pic);
    spin_unlock(&pic->lock);
}

static void chip_rotate_behind(struct pic_chip *c, unsigned input)
{
    c->lowest = (uint8_t)input;
}

/* Acknowledges the chip's request. Returns its input, or -1 if it has none. */
static int chip_acknowledge(struct pic_chip *c)
{
    int input = chip_request(c);
    if (input < 0)
        return -1;
    c->edges &= (uint8_t)~BIT(input);
    if (!c->auto_eoi)
        c->in_service |= (uint8_t)BIT(input);
    else if (c->auto_rotate)
        chip_rotate_behind(c, (unsigned)input);
    return input;
}

/* The slave's output falls with each acknowledge. If the slave has another request, the output
 * rises again, which is an edge for the master. */
static int slave_acknowledge(struct pic *pic)
{
    int input = chip_acknowledge(&pic->chips[SLAVE]);
    chip_set_line(&pic->chips[MASTER], PIC_CASCADE, false);
    return input;
}

/* The vector of an acknowledged input. One that is no longer requested is spurious. */
static uint8_t chip_vector(const struct pic_chip *c, int input)
{
    return (uint8_t)(c->base + (input < 0 ? SPURIOUS : (unsigned)input));
}

/* Likewise, the master's output falls. */
uint8_t pic_acknowledge(struct pic *pic)
{
    struct pic_chip *master = &pic->chips[MASTER], *slave = &pic->chips[SLAVE];
    spin_lock(&pic->lock);
    int input = chip_acknowledge(master);
    uint8_t vector = input == PIC_CASCADE ? chip_vector(slave, slave_acknowledge(pic))
                                          : chip_vector(master, input);
    pic_set_output(pic, false);
    pic_update(pic);
    spin_unlock(&pic->lock);
    return vector;
}

bool pic_hears(struct pic *pic, unsigned irq)
{
    const struct pic_chip *c = &pic->chips[irq / INPUTS];
    spin_lock(&pic->lock);
    bool hears = !c->step && !((c->masked | chip_requests(c)) & BIT(irq % INPUTS));
    spin_unlock(&pic->lock);
    return hears;
}

/* ---- Commands -------------------------------------------------------------------------------- */

/* ICW1 begins an initialization. Edges that came before it are forgotten. */
static void chip_write_icw1(struct pic_chip *c, uint8_t value)
{
    c->edges = c->in_service = c->masked = 0;
    c->lowest = INPUTS - 1;
    c->special_mask = c->special_nested = c->auto_eoi = c->auto_rotate = false;
    c->reads_service = c->polled = false;
    c->single = value & ICW1_SINGLE;
    c->wants_icw4 = value & ICW1_WANTS_ICW4;
    c->step = 2;
}

/* Writes ICW2, ICW3 or ICW4. */
static void chip_write_icw(struct pic_chip *c, bool is_master, uint8_t value)
{
    uint8_t last = c->wants_icw4 ? 4 : c->single ? 2 : 3;
    if (c->step == 2) {
        c->base = value & ICW2_BASE;
    } else if (c->step == 4) {
        c->auto_eoi = value & ICW4_AUTO_EOI;
        c->special_nested = is_master && value & ICW4_NESTED;
    }
    if (c->step >= last)
        c->step = 0;
    else
        c->step = c->step == 2 && c->single ? 4 : c->step + 1;
}

/* Returns the input that an EOI without a number ends: the one of the highest priority. One that is
 * masked is left alone in the special mask mode. */
static int chip_input_to_end(const struct pic_chip *c, uint8_t command)
{
    return command & OCW2_SPECIFIC ? (int)(command & OCW2_INPUT) : chip_first(c, chip_holding(c));
}

static void chip_write_ocw2(struct pic_chip *c, uint8_t command)
{
    if (command & OCW2_EOI) {
        int input = chip_input_to_end(c, command);
        if (input < 0)
            return;
        c->in_service &= (uint8_t)~BIT(input);
        if (command & OCW2_ROTATE)
            chip_rotate_behind(c, (unsigned)input);
    } else if (!(command & OCW2_SPECIFIC)) {
        c->auto_rotate = command & OCW2_ROTATE;
    } else if (command & OCW2_ROTATE) {
        chip_rotate_behind(c, command & OCW2_INPUT);
    }
}

static void chip_write_ocw3(struct pic_chip *c, uint8_t command)
{
    if (command & OCW3_SMM_CHANGE)
        c->special_mask = command & OCW3_SMM;
    if (command & OCW3_POLL)
        c->polled = true;
    else if (command & OCW3_READ)
        c->reads_service = command & OCW3_SERVICE;
}

static void pic_write(struct pic *pic, unsigned which, uint64_t offset, uint8_t value)
{
    struct pic_chip *c = &pic->chips[which];
    spin_lock(&pic->lock);
    if (offset && c->step > 1)
        chip_write_icw(c, which == MASTER, value);
    else if (offset)
        c->masked = value;
    else if (value & ICW1)
        chip_write_icw1(c, value);
    else if (value & OCW3)
        chip_write_ocw3(c, value);
    else
        chip_write_ocw2(c, value);
    pic_update(pic);
    spin_unlock(&pic->lock);
}

/* A poll acknowledges the chip's own request; the master's does not reach the slave. */
static uint8_t pic_poll(struct pic *pic, unsigned which)
{
    int input = which == SLAVE ? slave_acknowledge(pic) : chip_acknowledge(&pic->chips[MASTER]);
    pic->chips[which].polled = false;
    if (which == MASTER && input >= 0)
        pic_set_output(pic, false);
    pic_update(pic);
    return input < 0 ? 0 : (uint8_t)(POLL_REQUEST | (unsigned)input);
}

static uint8_t pic_read(struct pic *pic, unsigned which, uint64_t offset)
{
    const struct pic_chip *c = &pic->chips[which];
    spin_lock(&pic->lock);
    uint8_t value = c->polled          ? pic_poll(pic, which)
                    : offset           ? c->masked
                    : c->reads_service ? c->in_service
                                       : chip_requests(c);
    spin_unlock(&pic->lock);
    return value;
}

/* ---- Ports ----------------------------------------------------------------------------------- */

static uint64_t master_read(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size)
{
    (void)vcpu, (void)size;
    return pic_read(device, MASTER, offset);
}

static void master_write(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                         uint64_t value)
{
    (void)vcpu, (void)size;
    pic_write(device, MASTER, offset, (uint8_t)value);
}

static uint64_t slave_read(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size)
{
    (void)vcpu, (void)size;
    return pic_read(device, SLAVE, offset);
}

static void slave_write(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                        uint64_t value)
{
    (void)vcpu, (void)size;
    pic_write(device, SLAVE, offset, (uint8_t)value);
}

static uint64_t elcr_read(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size)
{
    const struct pic *pic = device;
    (void)vcpu, (void)size;
    return pic->chips[offset].level;
}

static void elcr_write(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                       uint64_t value)
{
    struct pic *pic = device;
    (void)vcpu, (void)size;
    spin_lock(&pic->lock);
    pic->chips[offset].level = (uint8_t)value & elcr_writable[offset];
    pic_update(pic);
    spin_unlock(&pic->lock);
}

const struct bus_ops pic_master_ops = {
    .name = "pic", .read = master_read, .write = master_write, .sizes = 1};
const struct bus_ops pic_slave_ops = {
    .name = "pic", .read = slave_read, .write = slave_write, .sizes = 1};
const struct bus_ops pic_elcr_ops = {
    .name = "elcr", .read = elcr_read, .write = elcr_write, .sizes = 1};
