/* SPDX-License-Identifier: MIT */
/*
 * The x2APIC front end of the local APIC: register N is MSR 0x800 + N (SDM 3, 11.12.1.2). Called by
 * vm/msr.c.
 */
#pragma once

#include "lib/compiler.h"
#include "dev/lapic.h"

/* Read and write an MSR of the x2APIC. Return false, without any effect, where the guest gets #GP:
 * the MSR does not exist in the APIC's mode, it is write-only or read-only, or the value has
 * reserved bits set. */
bool lapic_msr_read(struct lapic *lapic, uint32_t msr, uint64_t *value) MUST_CHECK;
bool lapic_msr_write(struct lapic *lapic, uint32_t msr, uint64_t value) MUST_CHECK;
