/*
 * The other CPUs of a guest (rt/smp.c, rt/ap.S). Each runs the functions that it is given, one at
 * a time; between them it spins, so that it stays in the guest.
 */
#pragma once

#include "guest/programs/rt/rt.h"

#define CPUS_MAX 16u

/* CPUs of the VM, and those that run, numbered from 0, the one that runs guest_main(). */
unsigned cpu_total(void);
extern volatile unsigned cpus_running;

/* Starts the CPUs with the APIC IDs first..last by INIT and SIPI. False: one did not arrive. */
bool start_cpus(unsigned first, unsigned last);

/* The APIC ID of this CPU, and of the CPU with that number. */
unsigned apic_id(void);
unsigned apic_id_of(unsigned cpu);

/* Lets a CPU run a function; finished() waits for its end. False: not within some 10^8 ticks. */
void run_on(unsigned cpu, void (*function)(void));
bool finished(unsigned cpu);

/* For CPUs that were stopped by INIT: those that arrive from now on are numbered from 1 again. */
void forget_cpus(void);

/* Interrupt commands, beside the vector. */
#define ICR_FIXED   0x0000u
#define ICR_LOWEST  0x0100u
#define ICR_NMI     0x0400u
#define ICR_INIT    0x0500u
#define ICR_STARTUP 0x0600u
#define ICR_LOGICAL 0x0800u
#define ICR_ASSERT  0x4000u
#define ICR_LEVEL   0x8000u
#define ICR_SELF    0x40000u
#define ICR_ALL     0x80000u
#define ICR_OTHERS  0xc0000u
void send_ipi(unsigned destination, uint32_t command);

#define APIC          0xfee00000u
#define APIC_REG_ID   0x20u
#define APIC_REG_EOI  0xb0u
#define APIC_REG_LDR  0xd0u
#define APIC_REG_SVR  0xf0u
#define APIC_REG_ICR  0x300u
#define APIC_REG_HIGH 0x310u

static inline void pause(void)
{
    __asm__ volatile("pause" : : : "memory");
}
