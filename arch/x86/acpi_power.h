/* SPDX-License-Identifier: MIT */
/*
 * How a machine restarts and switches itself off by ACPI: the reset register of the FADT, and the
 * sleep state S5 by its PM1 registers or, where ACPI is hardware-reduced, by its sleep registers.
 * The hypervisor interprets no AML; it only finds two numbers in it. Pure.
 */
#pragma once

#include "boot/boot_info.h"

/* Reads the tables, and maps the registers that are in memory, so that nothing is left to be found
 * out when the machine ends. Says what is not used, and why. Called after acpi_init(). */
void acpi_power_init(const struct boot_info *info);

/* Writes the reset register, and enters S5. They return false if the machine has nothing of the
 * kind, and true if it does not obey, or not at once. */
bool acpi_reset(void);
bool acpi_power_off(void);
