/* SPDX-License-Identifier: MIT */
/*
 * Decides on the TSC's rate from sources each of which may be missing, stand still or be wrong.
 * Pure.
 *
 * A clock of the chipset (HPET, ACPI's PM timer, the PIT) is measured against the TSC twice in a
 * row and is used only if it counts evenly. The values that the CPU reports (CPUID leaves 15h and
 * 16h, MSR_PLATFORM_INFO) count as one source together, because an emulator that invents one of
 * them invents all of them. Sources that agree support each other. The rate with the most support
 * is used; with equal support, a measured rate takes precedence, the better clock first.
 */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"

/* ---- Clocks ---------------------------------------------------------------------------------- */

/* A counter that wraps at a power of two and counts up at a known rate. */
struct clock {
    uint32_t (*read)(const struct clock *clock);
    uint64_t hz;
    uint32_t mask;  /* the reliable bits of the counter */
    uint64_t place; /* a port or an address, for `read` */
};

/* Measures the TSC, which `tsc` reads, against a clock, in about 3 ms of the clock's time. Returns
 * kHz, or 0 and in `*why` a reason that continues a message after the clock's name ("stands still",
 * …). After success, `*why` is undefined. */
uint64_t clock_measure(const struct clock *clock, uint64_t (*tsc)(void), const char **why);

/* ---- What the CPU says ----------------------------------------------------------------------- */

struct tsc_cpu {
    uint32_t family, model;
    uint32_t leaf15[3];     /* EAX, EBX, ECX: denominator, numerator, crystal in Hz */
    uint32_t leaf16_mhz;    /* EAX */
    uint64_t platform_info; /* MSR_PLATFORM_INFO; 0: the MSR can't be read */
};

/* ---- The decision ---------------------------------------------------------------------------- */

enum tsc_source {
    TSC_BY_HPET,
    TSC_BY_PM_TIMER,
    TSC_BY_PIT,
    TSC_BY_CPUID15,
    TSC_BY_PLATFORM_INFO,
    TSC_BY_CPUID16,
    TSC_SOURCES,
};
#define TSC_CLOCKS TSC_BY_CPUID15 /* the sources before this one are measured */

struct tsc_sources {
    uint64_t khz[TSC_SOURCES];    /* 0: this source is not used */
    const char *why[TSC_SOURCES]; /* why it is not used; NULL: it does not exist */
};

/* Adds the rates that the CPU reports to `sources`. */
void tsc_ask_cpu(const struct tsc_cpu *cpu, struct tsc_sources *sources);

/* Returns the rate in kHz, which is never 0, and writes a message that says which sources it is
 * based on and which contradict it. */
uint64_t tsc_decide(const struct tsc_sources *sources, char *message, size_t size);
