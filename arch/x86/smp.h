/* Starting the other CPUs. */
#pragma once

#include "boot/boot_info.h"

/* Wakes the CPUs that the MADT lists, one after the other, until `limit` are in use, this one
 * among them. Each ends up in cpu_work_loop(). One that does not answer or does not fit is left
 * out, after a sentence that says how far it came. Memory, TSC and ACPI must be ready. */
void smp_start(const struct boot_info *info, unsigned limit, bool x2apic);
