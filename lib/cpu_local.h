/* SPDX-License-Identifier: MIT */
/*
 * The CPUs of the machine, for code that is independent of the architecture: how many there can be,
 * which one executes the caller, and how to make another one look up. CPUs are numbered from 0,
 * which is the boot CPU, in the order in which they were started.
 */
#pragma once

#define CPUS_MAX 64u /* the most CPUs that are used; arrays have an element for each */

/* Returns the number of the CPU that executes the caller; it is below CPUS_MAX. A function and
 * everything that it calls run on one CPU. Supplied by arch/x86/cpus.c; arch/x86/this_cpu.h has an
 * inline variant for the exit path. */
unsigned this_cpu(void);

/* Makes another CPU look at what has been written for it: a debt in the flush ledger, a new epoch,
 * or a vCPU in its queue. A CPU that runs a guest leaves the guest; a CPU in the hypervisor looks
 * before its next VM entry. Supplied by arch/x86/kick.c. */
void cpu_kick(unsigned cpu);
