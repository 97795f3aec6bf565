/* SPDX-License-Identifier: MIT */
/* Measures clocks and decides on the TSC's rate; see the header. Pure. */
#include "arch/x86/tsc_rate.h"

#include "lib/bits.h"
#include "lib/string.h"

/* ---- Clocks ---------------------------------------------------------------------------------- */

#define INTERVAL_US    1500u
#define READS_MAX      2000000u /* bounds the measurement if the TSC stands still, too */
#define TRIES          5u
#define TSC_KHZ_MAX    10000000u /* no CPU has a faster TSC */
#define TICKS_MAX      (TSC_KHZ_MAX / 1000u * INTERVAL_US)
#define DISAGREE_PARTS 100u /* rates agree if they differ by at most one part in this number */
#define ASSUMED_KHZ    4000000u

struct sample {
    uint64_t tsc;
    uint32_t count;
};

/* Samples the clock and the TSC together. It keeps the fastest of several reads, because an SMI or
 * a hypervisor may interrupt some of them. */
static struct sample clock_sample(const struct clock *clock, uint64_t (*tsc)(void))
{
    struct sample best = {0, 0};
    uint64_t shortest = UINT64_MAX;
    for (unsigned i = 0; i < TRIES; i++) {
        uint64_t before = tsc();
        uint32_t count = clock->read(clock);
        uint64_t taken = tsc() - before;
        if (taken < shortest) {
            shortest = taken;
            best = (struct sample){before + taken / 2, count};
        }
    }
    return best;
}

static bool rates_agree(uint64_t a, uint64_t b)
{
    return (a > b ? a - b : b - a) <= (a > b ? a : b) / DISAGREE_PARTS;
}

static uint64_t clock_rate(const struct clock *clock, uint64_t ticks, uint32_t counted)
{
    uint64_t scaled;
    if (__builtin_mul_overflow(ticks, clock->hz, &scaled))
        return UINT64_MAX;
    return scaled / counted / 1000;
}

/* Measures until the clock has counted one interval after a first sample. Returns kHz, or 0 and a
 * reason. */
static uint64_t clock_measure_once(const struct clock *clock, uint64_t (*tsc)(void),
                                   const char **why)
{
    const uint64_t wanted = clock->hz * INTERVAL_US / 1000000;
    const struct sample start = clock_sample(clock, tsc);
    uint32_t counted = 0;
    for (unsigned i = 0; i < READS_MAX && counted < wanted; i++) {
        bool late = tsc() - start.tsc >
                    TICKS_MAX; /* checked before the read, because both may have advanced */
        counted = (clock->read(clock) - start.count) & clock->mask;
        if (late && counted < wanted)
            break;
    }
    if (counted < wanted) {
        *why = counted ? "is too slow to be true" : "stands still";
        return 0;
    }
    const struct sample end = clock_sample(clock, tsc);
    uint64_t khz = clock_rate(clock, end.tsc - start.tsc, (end.count - start.count) & clock->mask);
    *why = khz ? "is too slow to be true" : "counts while the TSC does not";
    return khz > TSC_KHZ_MAX ? 0 : khz;
}

uint64_t clock_measure(const struct clock *clock, uint64_t (*tsc)(void), const char **why)
{
    uint64_t first = clock_measure_once(clock, tsc, why);
    uint64_t second = first ? clock_measure_once(clock, tsc, why) : 0;
    if (!second)
        return 0;
    if (!rates_agree(first, second)) {
        *why = "counts unevenly";
        return 0;
    }
    return (first + second) / 2;
}

/* ---- What the CPU says ----------------------------------------------------------------------- */

/* The crystal's frequency on models whose CPUID leaf 15h does not report it (SDM 3, 20.7.3). */
static uint32_t crystal_hz(uint32_t model)
{
    switch (model) {
    case 0x55: /* Xeon Scalable of the first generations */
        return 25000000;
    case 0x4e: /* Core of the sixth and seventh generation */
    case 0x5e:
    case 0x8e:
    case 0x9e:
        return 24000000;
    case 0x5c: /* Goldmont */
        return 19200000;
    default:
        return 0;
    }
}

/* The unit, in kHz, of bits 15:8 of MSR_PLATFORM_INFO. Returns 0 on models on which these bits are
 * undefined or have another meaning, such as Atoms (SDM 4, 2.8 and later). */
static uint32_t ratio_khz(uint32_t model)
{
    static const uint8_t nehalem[] = {0x1a, 0x1e, 0x1f, 0x2e, 0x25, 0x2c, 0x2f};
    static const uint8_t later[] = {
        0x2a, 0x2d, 0x3a, 0x3e, 0x3c, 0x3f, 0x45, 0x46, 0x3d, 0x47, 0x4f, 0x56, 0x4e, 0x5e,
        0x55, 0x8e, 0x9e, 0xa5, 0xa6, 0x66, 0x7d, 0x7e, 0x6a, 0x6c, 0x8c, 0x8d, 0xa7, 0x97,
        0x9a, 0xb7, 0xba, 0xbf, 0x8f, 0xcf, 0xaa, 0xac, 0xad, 0xae, 0xb5, 0xbd, 0xc5, 0xc6};
    if (memchr(nehalem, (int)model, sizeof(nehalem)))
        return 133333;
    return memchr(later, (int)model, sizeof(later)) ? 100000 : 0;
}

void tsc_ask_cpu(const struct tsc_cpu *cpu, struct tsc_sources *sources)
{
    const bool known = cpu->family == 6;
    uint64_t denominator = cpu->leaf15[0], numerator = cpu->leaf15[1], crystal = cpu->leaf15[2];
    if (!crystal && known)
        crystal = crystal_hz(cpu->model);
    if (denominator && numerator && crystal)
        sources->khz[TSC_BY_CPUID15] = crystal * numerator / denominator / 1000;
    if (known)
        sources->khz[TSC_BY_PLATFORM_INFO] =
            field_get(cpu->platform_info, BITS(15, 8)) * ratio_khz(cpu->model);
    sources->khz[TSC_BY_CPUID16] = cpu->leaf16_mhz * 1000ull;
    for (unsigned i = TSC_CLOCKS; i < TSC_SOURCES; i++) {
        if (sources->khz[i] <= TSC_KHZ_MAX)
            continue;
        sources->khz[i] = 0;
        sources->why[i] = "is too fast to be true";
    }
}

/* ---- The decision ---------------------------------------------------------------------------- */

static const char *const names[TSC_SOURCES] = {
    [TSC_BY_HPET] = "the HPET",
    [TSC_BY_PM_TIMER] = "the PM timer",
    [TSC_BY_PIT] = "the PIT",
    [TSC_BY_CPUID15] = "CPUID leaf 15h",
    [TSC_BY_PLATFORM_INFO] = "MSR_PLATFORM_INFO",
    [TSC_BY_CPUID16] = "CPUID leaf 16h",
};

/* The support for a source: two for each clock that agrees with it (including itself), and one if
 * any of the CPU's own values does. */
static unsigned support_for(const struct tsc_sources *sources, unsigned source)
{
    unsigned support = 0, cpu_agrees = 0;
    for (unsigned i = 0; i < TSC_SOURCES; i++) {
        if (!sources->khz[i] || !rates_agree(sources->khz[i], sources->khz[source]))
            continue;
        if (i < TSC_CLOCKS)
            support += 2;
        else
            cpu_agrees = 1;
    }
    return support + cpu_agrees;
}

/* The source with the most support; TSC_SOURCES if no source is usable. */
static unsigned best_source(const struct tsc_sources *sources)
{
    unsigned best = TSC_SOURCES, most = 0;
    for (unsigned i = 0; i < TSC_SOURCES; i++) {
        unsigned support = sources->khz[i] ? support_for(sources, i) : 0;
        if (support <= most)
            continue;
        best = i;
        most = support;
    }
    /* If the crystal's rate agrees with the best source, it is the more exact one. */
    if (best < TSC_SOURCES && sources->khz[TSC_BY_CPUID15] &&
        rates_agree(sources->khz[TSC_BY_CPUID15], sources->khz[best]))
        best = TSC_BY_CPUID15;
    return best;
}

struct text {
    char *at;
    size_t size, used;
};

static void text_append(struct text *text, const char *format, ...) PRINTF(2, 3);
static void text_append(struct text *text, const char *format, ...)
{
    va_list arguments;
    if (text->used >= text->size)
        return;
    va_start(arguments, format);
    text->used +=
        (size_t)vsnprintf(text->at + text->used, text->size - text->used, format, arguments);
    va_end(arguments);
}

uint64_t tsc_decide(const struct tsc_sources *sources, char *message, size_t size)
{
    struct text text = {.at = message, .size = size};
    unsigned best = best_source(sources), agreeing = 0, others = 0;
    uint64_t khz = best < TSC_SOURCES ? sources->khz[best] : ASSUMED_KHZ;

    if (best < TSC_SOURCES)
        text_append(&text, "%lu kHz by %s", khz, names[best]);
    else
        text_append(&text,
                    "%lu kHz are assumed, so that no wait is too short: no clock counts, and the "
                    "CPU does not report its rate",
                    khz);
    for (unsigned i = 0; i < TSC_SOURCES; i++)
        if (i != best && sources->khz[i] && rates_agree(sources->khz[i], khz))
            text_append(&text, "%s%s", agreeing++ ? ", " : ", confirmed by ", names[i]);
    if (best < TSC_SOURCES && !agreeing)
        text_append(&text, "; nothing confirms it");
    for (unsigned i = 0; i < TSC_SOURCES; i++)
        if (sources->khz[i] && !rates_agree(sources->khz[i], khz))
            text_append(&text, "%s%s (%lu kHz)", others++ ? ", " : "; not believed: ", names[i],
                        sources->khz[i]);
    for (unsigned i = 0; i < TSC_SOURCES; i++)
        if (!sources->khz[i] && sources->why[i])
            text_append(&text, "; %s %s", names[i], sources->why[i]);
    return khz;
}
