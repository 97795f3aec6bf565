/* SPDX-License-Identifier: MIT */
/* Implements rt/smp.h. */
#include "guest/programs/rt/smp.h"

#include "guest/programs/rt/acpi.h"

#define TRAMPOLINE 0x8000u
#define PATIENCE   1000000000ull

extern uint8_t rt_ap_trampoline[], rt_ap_trampoline_end[];
extern volatile uint32_t rt_ap_arrived;
void rt_ap_main(uint32_t number);

volatile unsigned cpus_running = 1;

static struct {
    void (*volatile job)(void);
    volatile uint32_t apic_id;
    volatile uint64_t apic_base;
} cpus[2 * CPUS_MAX];

unsigned cpu_total(void)
{
    static unsigned total;
    if (!total)
        total = madt_cpus(NULL, 0);
    return total;
}

unsigned apic_id_of(unsigned cpu)
{
    return cpu ? cpus[cpu].apic_id : 0;
}

uint64_t apic_base_on_arrival(unsigned cpu)
{
    return cpus[cpu].apic_base;
}

void rt_ap_main(uint32_t number)
{
    load_idt((uint64_t)rt_idt);
    cpus[number].apic_base = rdmsr(MSR_APIC_BASE);
    if (apic_is_x2apic)
        apic_enter_x2apic();
    cpus[number].apic_id = apic_id();
    apic_write(APIC_REG_SVR, 0x1ff);
    __atomic_add_fetch(&cpus_running, 1, __ATOMIC_SEQ_CST);
    for (;;) {
        while (!cpus[number].job)
            pause();
        cpus[number].job();
        cpus[number].job = NULL;
    }
}

bool start_cpus(unsigned first, unsigned last)
{
    memcpy((void *)(uintptr_t)TRAMPOLINE, rt_ap_trampoline,
           (size_t)(rt_ap_trampoline_end - rt_ap_trampoline));
    for (unsigned id = first; id <= last; id++) {
        unsigned before = cpus_running;
        send_ipi(id, ICR_INIT);
        send_ipi(id, ICR_INIT | ICR_LEVEL); /* INIT level de-assert, as old kernels send it */
        send_ipi(id, ICR_STARTUP | TRAMPOLINE >> 12);
        send_ipi(id, ICR_STARTUP | TRAMPOLINE >> 12);
        for (uint64_t end = rdtsc() + PATIENCE; cpus_running == before;) {
            if (rdtsc() > end)
                return false;
            pause();
        }
    }
    return true;
}

void forget_cpus(void)
{
    rt_ap_arrived = 0;
    cpus_running = 1;
    for (unsigned i = 0; i < 2 * CPUS_MAX; i++)
        cpus[i].job = NULL;
}

void run_on(unsigned cpu, void (*function)(void))
{
    cpus[cpu].job = function;
}

bool finished(unsigned cpu)
{
    for (uint64_t end = rdtsc() + PATIENCE; cpus[cpu].job;) {
        if (rdtsc() > end)
            return false;
        pause();
    }
    return true;
}
