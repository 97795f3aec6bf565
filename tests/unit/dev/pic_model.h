/* SPDX-License-Identifier: MIT */
/*
 * A model of the pair of 8259As, written from the data sheet and for clarity: each chip has an
 * array of inputs, and a list of them in the order of their priorities, which rotation rotates. It
 * shares nothing with dev/pic.c.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct model_input {
    bool line, edge, level_triggered, in_service, masked;
};

struct model_chip {
    struct model_input in[8];
    int order[8]; /* inputs, the one of the highest priority first */
    int icw;      /* the ICW that is expected, or 0; 1: never initialized */
    uint8_t base;
    bool single, fourth, read_isr, poll, smm, sfnm, aeoi, rotating;
};

static struct model_chip model_chips[2];
static bool model_int;
static unsigned model_rises, model_falls; /* of the output */

static void model_order(struct model_chip *c, int lowest)
{
    for (int i = 0; i < 8; i++)
        c->order[i] = (lowest + 1 + i) % 8;
}

static bool model_requested(const struct model_input *in)
{
    return in->level_triggered ? in->line : in->edge;
}

/* Walks down the priorities until something in service stops the walk. */
static int model_winner(const struct model_chip *c, bool master)
{
    if (c->icw)
        return -1;
    for (int i = 0; i < 8; i++) {
        const struct model_input *in = &c->in[c->order[i]];
        bool asks = model_requested(in) && !in->masked;
        bool stops = in->in_service && !(c->smm && in->masked);
        if (asks && (!stops || (master && c->sfnm && c->order[i] == 2)))
            return c->order[i];
        if (stops)
            return -1;
    }
    return -1;
}

static void model_drive(struct model_input *in, bool line)
{
    if (!line)
        in->edge = false;
    else if (!in->line)
        in->edge = true;
    in->line = line;
}

static void model_output(bool level)
{
    model_rises += level && !model_int;
    model_falls += !level && model_int;
    model_int = level;
}

static void model_settle(void)
{
    model_drive(&model_chips[0].in[2], model_winner(&model_chips[1], false) >= 0);
    model_output(model_winner(&model_chips[0], true) >= 0);
}

static void model_reset(void)
{
    memset(model_chips, 0, sizeof(model_chips));
    model_int = false;
    model_rises = model_falls = 0;
    for (int i = 0; i < 2; i++) {
        model_chips[i].icw = 1;
        model_order(&model_chips[i], 7);
    }
}

static void model_line(unsigned irq, bool level)
{
    if (irq != 2 && irq < 16)
        model_drive(&model_chips[irq / 8].in[irq % 8], level);
    model_settle();
}

static int model_take(int which)
{
    struct model_chip *c = &model_chips[which];
    int input = model_winner(c, which == 0);
    if (which == 1) /* its output goes low in any case */
        model_drive(&model_chips[0].in[2], false);
    if (input < 0)
        return -1;
    c->in[input].edge = false;
    c->in[input].in_service = true;
    if (c->aeoi) {
        c->in[input].in_service = false;
        if (c->rotating)
            model_order(c, input);
    }
    return input;
}

static uint8_t model_acknowledge(void)
{
    int input = model_take(0), which = 0;
    if (input == 2) {
        input = model_take(1);
        which = 1;
    }
    model_output(false);
    uint8_t vector = (uint8_t)(model_chips[which].base + (input < 0 ? 7 : input));
    model_settle();
    return vector;
}

static uint8_t model_set(const struct model_chip *c, bool service)
{
    uint8_t set = 0;
    for (int i = 0; i < 8; i++)
        set |= (uint8_t)((service ? c->in[i].in_service : model_requested(&c->in[i])) << i);
    return set;
}

static uint8_t model_read(int which, unsigned port)
{
    struct model_chip *c = &model_chips[which];
    uint8_t value = 0;
    if (c->poll) {
        int input = model_take(which);
        c->poll = false;
        if (which == 0 && input >= 0)
            model_output(false);
        model_settle();
        return input < 0 ? 0 : (uint8_t)(0x80 + input);
    }
    if (port == 0)
        return model_set(c, c->read_isr);
    for (int i = 0; i < 8; i++)
        value |= (uint8_t)(c->in[i].masked << i);
    return value;
}

static void model_first_icw(struct model_chip *c, uint8_t value)
{
    struct model_chip fresh = {.icw = 2, .base = c->base};
    for (int i = 0; i < 8; i++) {
        fresh.in[i].line = c->in[i].line;
        fresh.in[i].level_triggered = c->in[i].level_triggered;
    }
    *c = fresh;
    model_order(c, 7);
    c->single = value >> 1 & 1;
    c->fourth = value & 1;
}

static void model_next_icw(struct model_chip *c, bool master, uint8_t value)
{
    switch (c->icw) {
    case 2:
        c->base = value & 0xf8;
        c->icw = !c->single ? 3 : c->fourth ? 4 : 0;
        break;
    case 3:
        c->icw = c->fourth ? 4 : 0;
        break;
    default:
        c->aeoi = value >> 1 & 1;
        c->sfnm = master && value >> 4 & 1;
        c->icw = 0;
    }
}

static void model_eoi(struct model_chip *c, int input, bool rotates)
{
    if (input < 0)
        return;
    c->in[input].in_service = false;
    if (rotates)
        model_order(c, input);
}

static int model_to_end(const struct model_chip *c)
{
    for (int i = 0; i < 8; i++) {
        const struct model_input *in = &c->in[c->order[i]];
        if (in->in_service && !(c->smm && in->masked))
            return c->order[i];
    }
    return -1;
}

static void model_ocw2(struct model_chip *c, uint8_t value)
{
    int input = value & 7;
    switch (value >> 5) {
    case 0:
        c->rotating = false;
        break;
    case 4:
        c->rotating = true;
        break;
    case 1:
    case 5:
        model_eoi(c, model_to_end(c), value >> 5 == 5);
        break;
    case 3:
    case 7:
        model_eoi(c, input, value >> 5 == 7);
        break;
    case 6:
        model_order(c, input);
        break;
    }
}

static void model_write(int which, unsigned port, uint8_t value)
{
    struct model_chip *c = &model_chips[which];
    if (port == 1 && c->icw >= 2) {
        model_next_icw(c, which == 0, value);
    } else if (port == 1) {
        for (int i = 0; i < 8; i++)
            c->in[i].masked = value >> i & 1;
    } else if (value & 0x10) {
        model_first_icw(c, value);
    } else if (value & 8) {
        if (value & 0x40)
            c->smm = value >> 5 & 1;
        if (value & 4)
            c->poll = true;
        else if (value & 2)
            c->read_isr = value & 1;
    } else {
        model_ocw2(c, value);
    }
    model_settle();
}

static void model_elcr(int which, uint8_t value)
{
    value &= which ? 0xde : 0xf8;
    for (int i = 0; i < 8; i++)
        model_chips[which].in[i].level_triggered = value >> i & 1;
    model_settle();
}
