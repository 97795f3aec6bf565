/* SPDX-License-Identifier: MIT */
/* See the header. Called by the port bus. Pure. */
#include "dev/pm_timer.h"

/* Converts the whole seconds and the remainder separately, so that no intermediate value overflows
 * while the TSC's frequency is below 5 THz. */
static uint32_t pm_timer_count(const struct pm_timer *timer)
{
    uint64_t tsc = timer->tsc();
    return (uint32_t)(tsc / timer->tsc_hz * PM_TIMER_HZ +
                      tsc % timer->tsc_hz * PM_TIMER_HZ / timer->tsc_hz);
}

static uint64_t pm_timer_read(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size)
{
    (void)vcpu, (void)size;
    return (uint64_t)pm_timer_count(device) >> 8 * offset;
}

static void pm_timer_write(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                           uint64_t value)
{
    (void)device, (void)vcpu, (void)offset, (void)size, (void)value;
}

const struct bus_ops pm_timer_ops = {
    .name = "pm timer", .read = pm_timer_read, .write = pm_timer_write};
