/* SPDX-License-Identifier: MIT */
/* Implements rt/apic.h. */
#include "guest/programs/rt/apic.h"

#define XAPIC_ID_SHIFT 24

bool apic_is_x2apic;

static uint32_t msr_of(unsigned reg)
{
    return MSR_X2APIC + reg / 16;
}

void apic_enter_x2apic(void)
{
    wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | APIC_BASE_X2APIC);
    apic_is_x2apic = true;
}

uint32_t apic_read(unsigned reg)
{
    return apic_is_x2apic ? (uint32_t)rdmsr(msr_of(reg)) : read32(APIC + reg);
}

void apic_write(unsigned reg, uint32_t value)
{
    if (apic_is_x2apic)
        wrmsr(msr_of(reg), value);
    else
        write32(APIC + reg, value);
}

unsigned apic_id(void)
{
    uint32_t id = apic_read(APIC_REG_ID);
    return apic_is_x2apic ? id : id >> XAPIC_ID_SHIFT;
}

uint32_t apic_logical_id(unsigned apic_id)
{
    return apic_is_x2apic ? apic_id / 16 << 16 | 1u << apic_id % 16 : 1u << apic_id % 8;
}

void apic_take_logical_id(void)
{
    if (!apic_is_x2apic)
        write32(APIC + APIC_REG_LDR, apic_logical_id(apic_id()) << XAPIC_ID_SHIFT);
}

void send_ipi(uint32_t destination, uint32_t command)
{
    command |= command & ICR_LEVEL ? 0 : ICR_ASSERT;
    if (apic_is_x2apic) {
        wrmsr(msr_of(APIC_REG_ICR), (uint64_t)destination << 32 | command);
        return;
    }
    write32(APIC + APIC_REG_HIGH, destination << XAPIC_ID_SHIFT);
    write32(APIC + APIC_REG_ICR, command);
}
