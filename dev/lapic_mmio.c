/* SPDX-License-Identifier: MIT */
/*
 * The xAPIC page: a register in the first four bytes of every 16. Called by the bus.
 *
 * The SDM (3, 11.4.1) defines only aligned 32-bit accesses. Any other read returns the register's
 * bytes, and zeros between registers; any other write is dropped.
 */
#include "dev/lapic_mmio.h"

#include "dev/lapic.h"

static uint64_t lapic_page_read(void *device, struct mmio_vcpu *vcpu, uint64_t offset,
                                unsigned size)
{
    struct lapic *lapic = device;
    (void)vcpu, (void)size;
    if (lapic->mode != LAPIC_XAPIC)
        return ~0ull;
    if (offset % 16 > 3)
        return 0;
    return (uint64_t)lapic_read(lapic, (unsigned)(offset / 16)) >> (8 * (offset % 4));
}

static void lapic_page_write(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                             uint64_t value)
{
    struct lapic *lapic = device;
    (void)vcpu;
    if (lapic->mode == LAPIC_XAPIC && size == 4 && offset % 16 == 0)
        lapic_write(lapic, (unsigned)(offset / 16), (uint32_t)value);
}

const struct bus_ops lapic_mmio_ops = {
    .name = "local APIC", .read = lapic_page_read, .write = lapic_page_write};
