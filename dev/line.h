/* SPDX-License-Identifier: MIT */
/*
 * An interrupt line of a device: a number and a level. The device sets the level and does not know
 * the receiver. The function that the line is connected to (an I/O APIC's) decides what a change of
 * the level means. A line that is all zero is not connected, and setting it has no effect.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct line {
    /* Called with the level by each call of line_set(), even if the level has not changed. May be
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
