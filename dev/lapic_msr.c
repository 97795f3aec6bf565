/* SPDX-License-Identifier: MIT */
#include "dev/lapic_msr.h"

#include "lib/bits.h"

#define FIRST_MSR 0x800u

#define READ  1
#define WRITE 2

/* Legal accesses to each register, and the bits that a write may set (SDM 3, table 11-6). Delivery
 * status and remote IRR of an LVT entry are read-only rather than reserved, so setting them causes
 * no #GP. Bit 12 of the ICR, the xAPIC's delivery status, is ignored as on Intel's CPUs. ICR_HIGH
 * and DFR do not exist as MSRs. */
static const struct {
    uint8_t access;
    uint64_t bits;
} registers[] = {
    [LAPIC_ID] = {READ, 0},
    [LAPIC_VERSION] = {READ, 0},
    [LAPIC_TPR] = {READ | WRITE, BITS(7, 0)},
    [LAPIC_PPR] = {READ, 0},
    [LAPIC_EOI] = {WRITE, 0},
    [LAPIC_LDR] = {READ, 0},
    [LAPIC_SVR] = {READ | WRITE, BITS(9, 0)},
    [LAPIC_ISR... LAPIC_IRR + 7] = {READ, 0},
    [LAPIC_ESR] = {READ | WRITE, 0},
    [LAPIC_ICR] = {READ | WRITE, BITS(63, 32) | BITS(19, 18) | BITS(15, 14) | BITS(12, 0)},
    [LAPIC_LVT_TIMER] = {READ | WRITE, BITS(18, 16) | BIT(12) | BITS(7, 0)},
    [LAPIC_LVT_THERMAL... LAPIC_LVT_PERFORMANCE] = {READ | WRITE, BIT(16) | BIT(12) | BITS(10, 0)},
    [LAPIC_LVT_LINT0... LAPIC_LVT_LINT1] = {READ | WRITE, BITS(16, 12) | BITS(10, 0)},
    [LAPIC_LVT_ERROR] = {READ | WRITE, BIT(16) | BIT(12) | BITS(7, 0)},
    [LAPIC_INITIAL_COUNT] = {READ | WRITE, BITS(31, 0)},
    [LAPIC_CURRENT_COUNT] = {READ, 0},
    [LAPIC_DIVIDE] = {READ | WRITE, BIT(3) | BITS(1, 0)},
    [LAPIC_SELF_IPI] = {WRITE, BITS(7, 0)},
};
_Static_assert(ARRAY_SIZE(registers) == 0x40, "a row for each register");

static bool lapic_msr_allows(const struct lapic *lapic, uint32_t reg, uint8_t access)
{
    return lapic->mode == LAPIC_X2APIC && reg < ARRAY_SIZE(registers) &&
           registers[reg].access & access;
}

bool lapic_msr_read(struct lapic *lapic, uint32_t msr, uint64_t *value)
{
    uint32_t reg = msr - FIRST_MSR;
    if (!lapic_msr_allows(lapic, reg, READ))
        return false;
    *value = lapic_read(lapic, reg);
    if (reg == LAPIC_ICR)
        *value |= (uint64_t)lapic_read(lapic, LAPIC_ICR_HIGH) << 32;
    return true;
}

bool lapic_msr_write(struct lapic *lapic, uint32_t msr, uint64_t value)
{
    uint32_t reg = msr - FIRST_MSR;
    if (!lapic_msr_allows(lapic, reg, WRITE) || value & ~registers[reg].bits)
        return false;
    if (reg == LAPIC_ICR)
        lapic_write(lapic, LAPIC_ICR_HIGH, (uint32_t)(value >> 32));
    lapic_write(lapic, reg, (uint32_t)value);
    return true;
}
