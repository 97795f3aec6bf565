/* SPDX-License-Identifier: MIT */
/* Reads the clocks with which the TSC can be measured, as the hardware and the firmware's tables
 * provide them. arch/x86/tsc_rate.c evaluates them. */
#include "arch/x86/tsc.h"

#include "arch/x86/acpi.h"
#include "arch/x86/cpu.h"
#include "arch/x86/fadt.h"
#include "arch/x86/guarded.h"
#include "arch/x86/paging.h"
#include "arch/x86/pc_parts.h"
#include "arch/x86/tsc_rate.h"
#include "lib/log.h"
#include "lib/string.h"

static uint64_t khz;

static uint64_t read_tsc(void)
{
    return rdtsc();
}

static void tsc_measure(enum tsc_source source, const struct clock *clock,
                        struct tsc_sources *sources)
{
    sources->khz[source] = clock_measure(clock, read_tsc, &sources->why[source]);
}

/* ---- HPET (IA-PC HPET Specification 1.0a, 2.3) ----------------------------------------------- */

#define HPET_TABLE_SIZE 56u
#define HPET_SPACE      40u /* 0: memory */
#define HPET_ADDRESS    44u
#define HPET_SIZE       0x400u
#define HPET_PERIOD     1u /* index of a 32-bit register; in femtoseconds */
#define HPET_CONFIG     4u
#define HPET_COUNTER    60u
#define HPET_ENABLE     1u
#define HPET_PERIOD_MIN 100000u
#define HPET_PERIOD_MAX 100000000u
#define FEMTOSECONDS    1000000000000000ull

static uint32_t read_hpet(const struct clock *clock)
{
    return ((const volatile uint32_t *)clock->place)[HPET_COUNTER];
}

static void ask_hpet(const struct boot_info *info, struct tsc_sources *sources)
{
    const struct acpi_header *table = acpi_table("HPET");
    const char **why = &sources->why[TSC_BY_HPET];
    uint64_t address;
    if (!table || table->length < HPET_TABLE_SIZE || ((const uint8_t *)table)[HPET_SPACE])
        return;
    memcpy(&address, (const uint8_t *)table + HPET_ADDRESS, sizeof(address));
    *why = "lies in RAM, if ACPI is right, and is left alone";
    if (address % sizeof(uint64_t) || boot_touches_ram(info, HPA(address), HPET_SIZE))
        return;
    volatile uint32_t *hpet = physical_map(HPA(address), HPET_SIZE, MAP_UNCACHED);
    *why = "can't be mapped";
    if (!hpet)
        return;
    uint32_t period = hpet[HPET_PERIOD], config = hpet[HPET_CONFIG];
    *why = "is not where ACPI says: no clock has its period";
    if (period < HPET_PERIOD_MIN || period > HPET_PERIOD_MAX)
        return;
    const struct clock clock = {.read = read_hpet,
                                .hz = FEMTOSECONDS / period,
                                .mask = UINT32_MAX,
                                .place = (uint64_t)hpet};
    hpet[HPET_CONFIG] = config | HPET_ENABLE;
    tsc_measure(TSC_BY_HPET, &clock, sources);
    hpet[HPET_CONFIG] = config;
}

/* ---- ACPI's PM timer (ACPI 6.5, 4.8.3.3) ----------------------------------------------------- */

#define PM_TIMER_HZ   3579545u
#define PM_TIMER_MASK 0xffffffu /* the bits that every PM timer has */

static uint32_t read_pm_timer(const struct clock *clock)
{
    return inl((uint16_t)clock->place);
}

static void ask_pm_timer(struct tsc_sources *sources)
{
    struct fadt fadt;
    if (!fadt_read(&fadt) || !fadt.pm_timer || fadt.pm_timer > UINT16_MAX ||
        fadt_is_reduced(&fadt) || fadt.pm_timer_length != sizeof(uint32_t))
        return;
    const struct clock clock = {
        .read = read_pm_timer, .hz = PM_TIMER_HZ, .mask = PM_TIMER_MASK, .place = fadt.pm_timer};
    tsc_measure(TSC_BY_PM_TIMER, &clock, sources);
}

/* ---- The PIT's channel 2, which makes no interrupts ------------------------------------------ */

#define PIT_CHANNEL2 0x42
#define PIT_COMMAND  0x43
#define PIT_GATE     0x61
#define PIT_HZ       1193182u
#define PIT_MODE0    0xb0 /* channel 2, low byte first; counts down and continues after 0 */
#define PIT_LATCH    0x80
#define GATE_ON      0x01
#define SPEAKER_ON   0x02

static uint32_t read_pit(const struct clock *clock)
{
    (void)clock;
    outb(PIT_COMMAND, PIT_LATCH);
    uint32_t low = inb(PIT_CHANNEL2);
    return 0 - (low | (uint32_t)inb(PIT_CHANNEL2) << 8);
}

static void ask_pit(struct tsc_sources *sources)
{
    const struct clock clock = {.read = read_pit, .hz = PIT_HZ, .mask = UINT16_MAX};
    if (!pc_has(PC_PIT))
        return;
    uint8_t gate = inb(PIT_GATE);
    if (gate == 0xff) { /* nothing answers, so nothing is written */
        sources->why[TSC_BY_PIT] = "stands still";
        return;
    }
    outb(PIT_GATE, (uint8_t)((gate & ~SPEAKER_ON) | GATE_ON));
    outb(PIT_COMMAND, PIT_MODE0);
    outb(PIT_CHANNEL2, 0xff);
    outb(PIT_CHANNEL2, 0xff);
    tsc_measure(TSC_BY_PIT, &clock, sources);
    outb(PIT_GATE, gate);
}

/* ---------------------------------------------------------------------------------------------- */

#define MSR_PLATFORM_INFO     0xceu
#define MSR_TSC_ADJUST        0x3bu
#define CPUID7_EBX_TSC_ADJUST BIT(1)

static void ask_cpu(struct tsc_sources *sources)
{
    const uint32_t leaves = cpuid(0, 0).eax, signature = cpuid(1, 0).eax;
    struct tsc_cpu cpu = {.family = signature >> 8 & 0xf,
                          .model = (signature >> 4 & 0xf) | (signature >> 12 & 0xf0)};
    if (leaves >= 0x15) {
        struct cpuid leaf = cpuid(0x15, 0);
        cpu.leaf15[0] = leaf.eax;
        cpu.leaf15[1] = leaf.ebx;
        cpu.leaf15[2] = leaf.ecx;
    }
    if (leaves >= 0x16)
        cpu.leaf16_mhz = cpuid(0x16, 0).eax & 0xffff;
    (void)rdmsr_safe(MSR_PLATFORM_INFO, &cpu.platform_info);
    tsc_ask_cpu(&cpu, sources);
}

void tsc_calibrate(const struct boot_info *info)
{
    struct tsc_sources sources = {0};
    char message[LOG_LINE_MAX];
    ask_hpet(info, &sources);
    ask_pm_timer(&sources);
    ask_pit(&sources);
    ask_cpu(&sources);
    khz = tsc_decide(&sources, message, sizeof(message));
    log_info("TSC: %s", message);
}

uint64_t tsc_khz(void)
{
    return khz;
}

static bool has_adjust(void)
{
    return cpuid(0, 0).eax >= 7 && cpuid(7, 0).ebx & CPUID7_EBX_TSC_ADJUST;
}

bool tsc_read_adjust(uint64_t *value)
{
    return has_adjust() && rdmsr_safe(MSR_TSC_ADJUST, value);
}

bool tsc_write_adjust(uint64_t value)
{
    return has_adjust() && wrmsr_safe(MSR_TSC_ADJUST, value);
}

void tsc_wait(uint64_t microseconds)
{
    uint64_t end = rdtsc() + microseconds * khz / 1000;
    while (rdtsc() < end)
        __builtin_ia32_pause();
}
