/* SPDX-License-Identifier: MIT */
/*
 * An interrupt line of a device: a number and a level. The device sets the level and knows nothing
 * of who receives it; whoever connects the line (an I/O APIC) decides what a change of the level
 * means. A line that is not connected, which is all zero, goes nowhere.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct line {
    /* Called with the level at each call of line_set(), also if the level has not changed. May be
     * called on any CPU and with the device's lock held. */
    void (*set)(void *context, unsigned number, bool level);
    void *context;
    unsigned number;
};

static inline void line_set(const struct line *line, bool level)
{
    if (line->set)
        line->set(line->context, line->number, level);
}
