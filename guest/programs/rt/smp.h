/* SPDX-License-Identifier: MIT */
/*
 * The other CPUs of a guest (rt/smp.c, rt/ap.S). Each runs the functions that it is given, one at
 * a time; between them it spins, so that it stays in the guest.
 */
#pragma once

#include "guest/programs/rt/apic.h"

#define CPUS_MAX 16u

/* CPUs that the MADT lists, and those that run, numbered from 0, the one that runs guest_main(). */
unsigned cpu_total(void);
extern volatile unsigned cpus_running;

/* Starts the CPUs with the APIC IDs first..last by INIT and SIPI. Returns false if one of them does
 * not arrive. */
bool start_cpus(unsigned first, unsigned last);

/* The APIC ID of the CPU with that number, and the IA32_APIC_BASE that it found. */
unsigned apic_id_of(unsigned cpu);
uint64_t apic_base_on_arrival(unsigned cpu);

/* Lets a CPU run a function. finished() waits for its end, and returns false after about 10^9
 * ticks. */
void run_on(unsigned cpu, void (*function)(void));
bool finished(unsigned cpu);

/* For CPUs that were stopped by INIT: those that arrive from now on are numbered from 1 again. */
void forget_cpus(void);

static inline void pause(void)
{
    __asm__ volatile("pause" : : : "memory");
}
