/* SPDX-License-Identifier: MIT */
/*
 * A model of the I/O APIC. It keeps neither remote IRR nor entries: it knows the last values that
 * the guest wrote, and for each pin whether a message is in progress. Include it in one file.
 */
#pragma once

#include "dev/ioapic.h"
#include "lib/bits.h"

#include <string.h>

#define LEVEL      BIT(15)
#define MASK       BIT(16)
#define REMOTE_IRR BIT(14)
#define PENDING    BIT(12)

static struct {
    uint32_t low, high; /* as written */
    bool line, under_way;
} model[IOAPIC_PINS];
static unsigned model_sends; /* number of messages so far */
static bool accepted;        /* whether an APIC accepts a message that is sent now */

static inline void model_reset(void)
{
    memset(model, 0, sizeof(model));
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
        model[pin].low = MASK;
    model_sends = 0;
}

static inline void model_send(unsigned pin)
{
    unsigned mode = model[pin].low >> 8 & 7;
    if (mode > 1)
        return;
    model_sends++;
    model[pin].under_way = accepted && model[pin].low & LEVEL;
}

static inline void model_look(unsigned pin)
{
    if (model[pin].low & LEVEL && !(model[pin].low & MASK) && model[pin].line &&
        !model[pin].under_way)
        model_send(pin);
}

static inline void model_end(uint8_t vector)
{
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
        if (model[pin].under_way && (uint8_t)model[pin].low == vector) {
            model[pin].under_way = false;
            model_look(pin);
        }
}

static inline void model_line(unsigned pin, bool level)
{
    bool rises = level && !model[pin].line;
    model[pin].line = level;
    if (rises && !(model[pin].low & (LEVEL | MASK)))
        model_send(pin);
    model_look(pin);
}

/* Writes half of an entry: the register 0x10 + `number`. */
static inline void model_write(unsigned number, uint32_t value)
{
    unsigned pin = number / 2;
    if (number % 2) {
        model[pin].high = value & 0xff000000;
    } else {
        model[pin].low = value;
        model[pin].under_way &= !!(value & LEVEL);
    }
    model_look(pin);
}

static inline uint64_t model_entry(unsigned pin)
{
    uint64_t low = (model[pin].low & 0x1afffu) | (model[pin].under_way ? REMOTE_IRR : 0);
    if (model[pin].low & LEVEL && !(model[pin].low & (MASK | 0x600)) && model[pin].line &&
        !model[pin].under_way)
        low |= PENDING;
    return low | (uint64_t)model[pin].high << 32;
}
