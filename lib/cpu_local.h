/*
 * The CPUs of the machine, for code that does not know what a CPU is: how many there can be, which
 * one executes this, and how to get another one's attention. CPUs are numbered from 0, the boot
 * CPU, in the order in which they were started.
 */
#pragma once

#define CPUS_MAX 64u /* CPUs that are used; arrays have a place for each */

/* The number of the CPU that executes this, below CPUS_MAX. A function and all that it calls run on
 * one CPU. Supplied by arch/x86/cpus.c; arch/x86/this_cpu.h has it inline, for the exit path. */
unsigned this_cpu(void);

/* Makes another CPU look at what has been written for it: a debt in the flush ledger, an epoch, a
 * vCPU in its queue. A CPU in a guest leaves it; one in the hypervisor looks before its next entry.
 * Supplied by arch/x86/kick.c. */
void cpu_kick(unsigned cpu);
