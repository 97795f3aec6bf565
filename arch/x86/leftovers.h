/* SPDX-License-Identifier: MIT */
/*
 * What the firmware's setup, or a system that ran before, can leave switched on in a CPU, and what
 * would mislead or disturb the hypervisor and its guests (rule N141):
 *
 *   - the limit of CPUID's leaves, which firmware has for Windows NT 4: a leaf above the limit, as
 *     those of XSAVE are, gets the answer of another one;
 *   - Intel PT: the CPU stores packets into memory that may belong to somebody else by now; VMXON
 *     ends that only on CPUs that cannot trace in VMX operation;
 *   - performance counters, whose overflows may be NMIs;
 *   - exceptions of instructions that guests may execute, and that CPUID does not announce to them
 *     (rule N128).
 *
 * Pure, but for its MSRs.
 */
#pragma once

/* Switches it off, with a line for what was on. Called on each CPU once its exceptions are handled,
 * and before CPUID is used. */
void leftovers_end(unsigned cpu);
