/* SPDX-License-Identifier: MIT */
/*
 * How a guest turns its machine off or resets it:
 *
 * off    ACPI's sleep control register (ACPI 6.5, 4.8.3.7): SLP_EN with the type of S5 reset  the
 * reset register at port 0xcf9, where bit 2 rises: ACPI's FADT names it, with the value 6; and the
 * keyboard controller at port 0x64, by a command that pulses its line 0
 *
 * Each of them calls a function; the machine does not come back. The sleep status register says
 * that it has not slept. There is no keyboard: port 0x64 reads all ones, which drivers take for
 * that.
 *
 * Callers serialise accesses.
 */
#pragma once

#include "mmio/bus.h"

#define POWER_SLEEP_PORTS 2 /* control, status */
#define POWER_S5          5 /* the sleep type for the DSDT's \_S5 */
#define POWER_RESET_VALUE 6 /* for the FADT */

struct power {
    void (*end)(void *context, const char *how);
    void *context;
    uint8_t reset; /* the register at port 0xcf9 */
};

extern const struct bus_ops power_sleep_ops, power_reset_ops, power_keyboard_ops;
