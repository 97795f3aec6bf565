/* SPDX-License-Identifier: MIT */
/* See the header. Called by the port bus. Pure. */
#include "dev/power.h"

#include "lib/bits.h"

#define SLEEP_TYPE   BITS(4, 2)
#define SLEEP_ENABLE BIT(5)

#define RESET_CPU      BIT(2)
#define RESET_WRITABLE (BIT(3) | BIT(2) | BIT(1)) /* full reset, CPU reset, system reset */

/* Commands 0xf0 to 0xff pulse those output lines of the keyboard controller whose bits are 0. */
#define KEYBOARD_PULSES 0xf0
#define KEYBOARD_RESET  BIT(0)

static uint64_t power_sleep_read(void *device, struct mmio_vcpu *vcpu, uint64_t offset,
                                 unsigned size)
{
    (void)device, (void)vcpu, (void)offset, (void)size;
    return 0; /* SLP_EN is write-only, and WAK_STS is never set */
}

static void power_sleep_write(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                              uint64_t value)
{
    const struct power *power = device;
    (void)vcpu, (void)size;
    if (offset == 0 && value & SLEEP_ENABLE && field_get(value, SLEEP_TYPE) == POWER_S5)
        power->off(power->context, "powered off, by ACPI's S5");
}

static uint64_t power_reset_read(void *device, struct mmio_vcpu *vcpu, uint64_t offset,
                                 unsigned size)
{
    const struct power *power = device;
    (void)vcpu, (void)offset, (void)size;
    return power->reset_register;
}

static void power_reset_write(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                              uint64_t value)
{
    struct power *power = device;
    (void)vcpu, (void)offset, (void)size;
    bool rises = value & RESET_CPU && !(power->reset_register & RESET_CPU);
    power->reset_register = value & RESET_WRITABLE;
    if (rises)
        power->reset(power->context, "reset, by port 0xcf9");
}

static uint64_t power_keyboard_read(void *device, struct mmio_vcpu *vcpu, uint64_t offset,
                                    unsigned size)
{
    (void)device, (void)vcpu, (void)offset, (void)size;
    return ~0ull;
}

static void power_keyboard_write(void *device, struct mmio_vcpu *vcpu, uint64_t offset,
                                 unsigned size, uint64_t value)
{
    const struct power *power = device;
    (void)vcpu, (void)offset, (void)size;
    if ((value & KEYBOARD_PULSES) == KEYBOARD_PULSES && !(value & KEYBOARD_RESET))
        power->reset(power->context, "reset, by the keyboard controller's port");
}

const struct bus_ops power_sleep_ops = {
    .name = "sleep registers", .read = power_sleep_read, .write = power_sleep_write, .sizes = 1};
const struct bus_ops power_reset_ops = {
    .name = "reset register", .read = power_reset_read, .write = power_reset_write, .sizes = 1};
const struct bus_ops power_keyboard_ops = {.name = "keyboard controller",
                                           .read = power_keyboard_read,
                                           .write = power_keyboard_write,
                                           .sizes = 1};
