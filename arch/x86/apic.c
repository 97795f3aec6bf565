/* SPDX-License-Identifier: MIT */
/* The local APIC, as far as it is used to start and to interrupt other CPUs; see the header. */
#include "arch/x86/apic.h"

#include "arch/x86/cpu.h"
#include "arch/x86/paging.h"
#include "lib/log.h"
#include "lib/page.h"
#include "lib/spinlock.h"

#define CPUID1_APIC   BIT(9)  /* EDX */
#define CPUID1_X2APIC BIT(21) /* ECX */
#define BASE_X2APIC   BIT(10)
#define BASE_ENABLED  BIT(11)
#define BASE_ADDRESS  BITS(51, 12)

/* Registers by number: each has 16 bytes in the xAPIC's page, and one MSR from 800h on. */
#define APIC_ID       0x02u
#define APIC_ICR      0x30u
#define APIC_ICR_HIGH 0x31u
#define MSR_X2APIC    0x800u

/* The interrupt command register: physical destination, edge-triggered (SDM 3, 11.6.1). */
#define ICR_NMI     (4u << 8)
#define ICR_INIT    (5u << 8)
#define ICR_STARTUP (6u << 8)
#define ICR_ASSERT  (1u << 14)
#define ICR_PENDING (1u << 12)

static volatile uint32_t (*page)[4]; /* NULL: x2APIC */

bool apic_init(bool x2apic)
{
    struct cpuid features = cpuid(1, 0);
    uint64_t base = features.edx & CPUID1_APIC ? rdmsr(MSR_APIC_BASE) : 0;

    if (!(base & BASE_ENABLED)) {
        log_error("this CPU's local APIC is %s; no other CPU can be started",
                  features.edx & CPUID1_APIC ? "switched off by the firmware" : "missing");
        return false;
    }
    if (base & BASE_X2APIC || (x2apic && features.ecx & CPUID1_X2APIC)) {
        wrmsr(MSR_APIC_BASE, base | BASE_X2APIC);
        return true;
    }
    page = physical_map(HPA(base & BASE_ADDRESS), PAGE_SIZE, MAP_UNCACHED);
    if (!page)
        log_error("the local APIC at %#llx cannot be mapped; no other CPU can be started",
                  base & BASE_ADDRESS);
    return page;
}

void apic_init_cpu(void)
{
    if (apic_is_x2apic())
        wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | BASE_X2APIC);
}

bool apic_is_x2apic(void)
{
    return !page;
}

uint32_t apic_id(void)
{
    return page ? page[APIC_ID][0] >> 24 : (uint32_t)rdmsr(MSR_X2APIC + APIC_ID);
}

uint32_t apic_id_max(void)
{
    return page ? 0xfe : 0xfffffffe;
}

/* WRMSR to an x2APIC register is not serializing and may overtake earlier stores, so fences come
 * before it (SDM 3, 11.12.3). */
static void apic_write_icr(uint32_t id, uint32_t command)
{
    if (!page) {
        __asm__ volatile("mfence; lfence" ::: "memory");
        wrmsr(MSR_X2APIC + APIC_ICR, (uint64_t)id << 32 | command);
        return;
    }
    while (page[APIC_ICR][0] & ICR_PENDING)
        cpu_relax();
    page[APIC_ICR_HIGH][0] = id << 24;
    page[APIC_ICR][0] = command;
}

void apic_send_init(uint32_t id)
{
    apic_write_icr(id, ICR_INIT | ICR_ASSERT);
}

void apic_send_startup(uint32_t id, hpa_t start)
{
    apic_write_icr(id, ICR_STARTUP | ICR_ASSERT | (uint32_t)(start.v >> PAGE_SHIFT));
}

void apic_send_nmi(uint32_t id)
{
    apic_write_icr(id, ICR_NMI | ICR_ASSERT);
}
