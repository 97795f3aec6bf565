/* SPDX-License-Identifier: MIT */
/*
 * The other CPUs of a guest (rt/smp.c, rt/ap.S). Each runs the functions that it is given, one at
 * a time; between them it spins, so that it stays in the guest.
 */
#pragma once

#include "guest/programs/rt/apic.h"

#define CPUS_MAX 16u

/* The number of CPUs that the MADT lists, and of those that run. Running CPUs are numbered; CPU 0
 * runs guest_main(). */
unsigned cpu_total(void);
extern volatile unsigned cpus_running;

/* Starts the CPUs with the APIC IDs `first` to `last` by INIT and start-up IPIs. Returns false if
 * one of them does not arrive. */
bool start_cpus(unsigned first, unsigned last);

/* The APIC ID of the CPU with this number, and its initial IA32_APIC_BASE. */
unsigned apic_id_of(unsigned cpu);
uint64_t apic_base_on_arrival(unsigned cpu);

/* Lets a CPU run a function. finished() waits until the function has returned, and returns false
 * after about 10^9 ticks. */
void run_on(unsigned cpu, void (*function)(void));
bool finished(unsigned cpu);

/* Called after an INIT has stopped the other CPUs: CPUs that arrive from now on are numbered from 1
 * again. */
void forget_cpus(void);

static inline void pause(void)
{
    __asm__ volatile("pause" : : : "memory");
}
