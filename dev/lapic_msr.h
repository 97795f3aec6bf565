/*
 * The front end of the local APIC in MSRs, the x2APIC's (SDM 3, 11.12.1.2): register N is MSR
 * 0x800 + N. Called by vm/msr.c.
 */
#pragma once

#include "lib/compiler.h"
#include "dev/lapic.h"

/* False: #GP, and nothing has happened. It is no MSR of an APIC in this mode, it may not be read or
 * written, or the value has reserved bits. */
bool lapic_msr_read(struct lapic *lapic, uint32_t msr, uint64_t *value) MUST_CHECK;
bool lapic_msr_write(struct lapic *lapic, uint32_t msr, uint64_t value) MUST_CHECK;
