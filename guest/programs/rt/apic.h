/* SPDX-License-Identifier: MIT */
/*
 * The local APIC of this CPU, accessed by its page in xAPIC mode and by its MSRs in x2APIC mode.
 * Registers are named by their offset in the page.
 */
#pragma once

#include "guest/programs/rt/rt.h"

#define APIC             0xfee00000u
#define APIC_REG_ID      0x20u
#define APIC_REG_VERSION 0x30u
#define APIC_REG_TPR     0x80u
#define APIC_REG_PPR     0xa0u
#define APIC_REG_EOI     0xb0u
#define APIC_REG_LDR     0xd0u
#define APIC_REG_SVR     0xf0u
#define APIC_REG_ISR     0x100u
#define APIC_REG_IRR     0x200u
#define APIC_REG_ESR     0x280u
#define APIC_REG_ICR     0x300u
#define APIC_REG_HIGH    0x310u
#define APIC_REG_TIMER   0x320u
#define APIC_REG_INITIAL 0x380u
#define APIC_REG_CURRENT 0x390u
#define APIC_REG_DIVIDE  0x3e0u

#define MSR_APIC_BASE    0x1bu
#define MSR_TSC_DEADLINE 0x6e0u
#define MSR_X2APIC       0x800u /* the first register */
#define APIC_BASE_BSP    BIT(8) /* bootstrap processor */
#define APIC_BASE_X2APIC BIT(10)
#define APIC_BASE_ENABLE BIT(11)

/* Switches this CPU's APIC to x2APIC mode. From now on all CPUs access their APICs by MSRs. */
void apic_enter_x2apic(void);
extern bool apic_is_x2apic;

uint32_t apic_read(unsigned reg);
void apic_write(unsigned reg, uint32_t value);
unsigned apic_id(void);

/* The logical ID of a CPU, valid after that CPU has called apic_take_logical_id(). */
uint32_t apic_logical_id(unsigned apic_id);
void apic_take_logical_id(void);

/* Fields of an interrupt command, without the vector. */
#define ICR_FIXED   0x0000u
#define ICR_LOWEST  0x0100u
#define ICR_NMI     0x0400u
#define ICR_INIT    0x0500u
#define ICR_STARTUP 0x0600u
#define ICR_LOGICAL 0x0800u
#define ICR_ASSERT  0x4000u
#define ICR_LEVEL   0x8000u
#define ICR_SELF    0x40000u
#define ICR_ALL     0x80000u
#define ICR_OTHERS  0xc0000u
void send_ipi(uint32_t destination, uint32_t command);
