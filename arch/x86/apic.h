/* The local APIC of this CPU, as far as a CPU needs it to reach others: xAPIC or x2APIC. */
#pragma once

#include "lib/types.h"

/* Chooses how the APIC is used, for all CPUs: by MSRs (x2APIC) if the CPU has them and `x2apic` is
 * set, or if the firmware has left it so; otherwise by its page. False after a sentence: there is
 * no local APIC. */
bool apic_init(bool x2apic);

/* On each further CPU: makes it like the boot CPU. */
void apic_init_cpu(void);

bool apic_is_x2apic(void);
uint32_t apic_id(void);

/* The highest ID that can be reached. */
uint32_t apic_id_max(void);

/* Interrupts of other CPUs. What was stored before is visible to the one that is interrupted. */
void apic_send_init(uint32_t id);
void apic_send_startup(uint32_t id, hpa_t page); /* where it starts, below 1 MiB */
void apic_send_nmi(uint32_t id);
