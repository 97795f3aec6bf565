/* SPDX-License-Identifier: MIT */
/*
 * The three ways in which a guest turns its machine off or resets it.
 *
 * ACPI's sleep control register (ACPI 6.5, 4.8.3.7) turns the machine off when SLP_EN is written
 * with the sleep type of S5. The reset register at port 0xcf9, which ACPI's FADT names with the
 * value 6, resets it when bit 2 changes from 0 to 1. The keyboard controller's command port 0x64
 * resets it when a command pulses output line 0.
 *
 * They call `off` or `reset`. The sleep status register reads 0, because the machine never wakes
 * from a sleep state. Port 0x64 reads all ones, from which drivers conclude that there is no
 * keyboard controller.
 *
 * Callers serialise accesses.
 */
#pragma once

#include "mmio/bus.h"

#define POWER_SLEEP_PORTS 2 /* the control and the status register */
#define POWER_S5          5 /* the sleep type of S5, for the DSDT's \_S5 */
#define POWER_RESET_VALUE 6 /* the value that the FADT gives for the reset register */

struct power {
    void (*off)(void *context, const char *how);
    void (*reset)(void *context, const char *how);
    void *context;
    uint8_t reset_register; /* at port 0xcf9 */
};

extern const struct bus_ops power_sleep_ops, power_reset_ops, power_keyboard_ops;
