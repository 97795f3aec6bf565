/* SPDX-License-Identifier: MIT */
/* Starts the other CPUs. */
#pragma once

#include "boot/boot_info.h"

/* Starts the CPUs that the MADT lists, one after the other, until `limit` CPUs are in use,
 * including the boot CPU. Each enters cpu_work_loop(). A CPU that does not answer, or whose TSC
 * does not fit, is left out after a message that says how far it came. Memory, TSC and ACPI must be
 * initialized. */
void smp_start(const struct boot_info *info, unsigned limit, bool x2apic);
