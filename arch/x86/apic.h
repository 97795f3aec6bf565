/* SPDX-License-Identifier: MIT */
/* The local APIC of this CPU, in xAPIC or x2APIC mode, as far as a CPU needs it to start and to
 * interrupt other CPUs. */
#pragma once

#include "lib/types.h"

/* Chooses the mode of all CPUs' APICs: x2APIC if the firmware has enabled it, or if `x2apic` is set
 * and the CPU supports it; otherwise xAPIC. Returns false after a message if there is no usable
 * local APIC. */
bool apic_init(bool x2apic);

/* Puts the APIC of another CPU into the mode that apic_init() chose. Called on each CPU but the
 * boot CPU. */
void apic_init_cpu(void);

bool apic_is_x2apic(void);
uint32_t apic_id(void);

/* The highest APIC ID that can be a destination. */
uint32_t apic_id_max(void);

/* Interrupt another CPU. Stores before the call are visible to the interrupted CPU. */
void apic_send_init(uint32_t id);
void apic_send_startup(uint32_t id, hpa_t page); /* the page below 1 MiB at which the CPU starts */
void apic_send_nmi(uint32_t id);
