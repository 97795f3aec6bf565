/*
 * At which rate the TSC counts, from sources each of which may be missing, stand still or lie.
 * Pure.
 *
 * A clock of the chipset (HPET, ACPI's PM timer, the PIT) is measured against the TSC twice in a
 * row; only one that counts, and evenly, has a say. What the CPU says of itself (CPUID leaves 15h
 * and 16h, MSR_PLATFORM_INFO) is one more source, and no more than one: an emulator that makes it
 * up makes up all of it. Sources that agree support each other. The rate that has the most support
 * wins, and of two with the same support the one that was measured, the better clock first.
 */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"

/* ---- Clocks ---------------------------------------------------------------------------------- */

/* A counter that wraps at a power of two and counts up at a known rate. */
struct clock {
    uint32_t (*read)(const struct clock *clock);
    uint64_t hz;
    uint32_t mask;  /* the counter's bits that can be relied on */
    uint64_t place; /* for `read`: a port or an address */
};

/* Measures the TSC, which `tsc` reads, against the clock, in about 3 ms of it. Returns kHz, or 0
 * with `*why` a reason that follows the clock's name: "stands still", ... `*why` is undefined where
 * there is none. */
uint64_t clock_measure(const struct clock *clock, uint64_t (*tsc)(void), const char **why);

/* ---- What the CPU says ----------------------------------------------------------------------- */

struct tsc_cpu {
    uint32_t family, model;
    uint32_t leaf15[3];     /* EAX, EBX, ECX: denominator, numerator, crystal in Hz */
    uint32_t leaf16_mhz;    /* EAX */
    uint64_t platform_info; /* the MSR; 0: it can't be read */
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
#define TSC_CLOCKS TSC_BY_CPUID15 /* those before it are measured */

struct tsc_sources {
    uint64_t khz[TSC_SOURCES];    /* 0: this one has no say, */
    const char *why[TSC_SOURCES]; /* and why not; NULL: it is not there */
};

/* Fills in what the CPU says of itself. */
void tsc_ask_cpu(const struct tsc_cpu *cpu, struct tsc_sources *sources);

/* The rate in kHz, never 0, with a sentence that says by which sources, and what speaks against
 * it. */
uint64_t tsc_decide(const struct tsc_sources *sources, char *sentence, size_t size);
