/* SPDX-License-Identifier: MIT */
/*
 * What CPUID and the microcode say about a CPU, as far as a person who reads the log wants to know
 * it, or a message depends on it: which CPU it is, which hypervisor is below it, which kind of core
 * it is, and how many threads its core and its package have.
 *
 * cpu_facts.c is pure: the caller executes CPUID. cpu_facts_read.c does that on this machine.
 */
#pragma once

#include "arch/x86/unprivileged.h"
#include "lib/types.h"

/* The hypervisors that are known by the name that they give at CPUID leaf 40000000h. */
enum hypervisor {
    HYPERVISOR_NONE,
    HYPERVISOR_KVM,
    HYPERVISOR_TCG, /* QEMU's emulator */
    HYPERVISOR_HYPER_V,
    HYPERVISOR_VMWARE,
    HYPERVISOR_VIRTUALBOX,
    HYPERVISOR_XEN,
    HYPERVISOR_OTHER,
};

/* CPUID.1AH:EAX bits 31:24, or 0 on a CPU that is not hybrid (SDM 2, CPUID). */
#define CORE_KIND_EFFICIENT   0x20u /* Intel Atom */
#define CORE_KIND_PERFORMANCE 0x40u /* Intel Core */

struct cpu_facts {
    char vendor[13]; /* "GenuineIntel" */
    char brand[49];  /* without the spaces before it; empty if the CPU does not say it */
    uint32_t signature;
    uint32_t family, model, stepping; /* extended family and model included */
    uint32_t microcode;               /* the revision of the loaded update, or 0: unknown */
    unsigned physical_bits;           /* MAXPHYADDR */
    bool vmx, smx, svm;
    uint32_t core_kind;
    unsigned threads_of_core, threads_of_package; /* 0: unknown */
    enum hypervisor below;
    char below_name[13]; /* the hypervisor's name for itself, empty without one */
};

/* Executes CPUID, or looks it up. A hypervisor's leaves are asked for only if there is one. */
typedef struct cpuid cpuid_ask(uint32_t leaf, uint32_t subleaf);

/* Everything but the microcode's revision, which stays 0. */
void cpu_facts_parse(struct cpu_facts *facts, cpuid_ask *ask);

/* MAXPHYADDR; 36 if the CPU has no leaf that says it (SDM 2A, CPUID). */
unsigned cpu_physical_bits(cpuid_ask *ask);

/* The end of the physical addresses that exist and fit into the direct map. What is at or above it
 * would be mapped over the image. */
uint64_t cpu_mappable_end(cpuid_ask *ask);

/* "performance core", "efficient core", or NULL if the CPU is not hybrid. */
const char *core_kind_name(uint32_t kind);

/* "KVM", …; for HYPERVISOR_OTHER "another hypervisor". */
const char *hypervisor_name(enum hypervisor hypervisor);

/* Prints two lines: the CPU's name, and its model, microcode, threads, and what is below it. */
void cpu_facts_log(const struct cpu_facts *facts);

/* ---- On the machine (cpu_facts_read.c) ------------------------------------------------------- */

/* The facts of the CPU that executes this, with the microcode's revision. */
void cpu_facts_read(struct cpu_facts *facts);

/* The boot CPU's facts, read by the first call, which the boot CPU makes before others start. */
const struct cpu_facts *cpu_facts(void);
