/* SPDX-License-Identifier: MIT */
/*
 * Compares two CPUs: a guest that moves between them must not notice a difference, nor may the
 * hypervisor. The VMX controls are negotiated once, on the boot CPU, and so are CPUID's answers.
 * Pure: the caller reads the MSRs and executes CPUID.
 */
#pragma once

#include "lib/compiler.h"
#include "vmx/controls.h"

/* The output registers of CPUID that must agree. */
struct cpuid_register {
    uint32_t leaf, subleaf;
    unsigned reg; /* 0: EAX to 3: EDX */
    uint32_t but; /* bits that reflect the CPU's state and are ignored */
    const char *name;
};
#define CPUID_REGISTERS 14u
extern const struct cpuid_register cpuid_registers[CPUID_REGISTERS];

/* The MTRRs (SDM 3, 12.11): capabilities, default type, fixed and variable ranges. The firmware
 * sets them alike on all CPUs; where it has not, the same memory has two types. */
#define MTRRS          33u
#define MTRRS_VARIABLE 13u /* the first of the variable ranges, which come in pairs */
extern const uint16_t mtrr_msrs[MTRRS];

struct vmx_identity {
    struct vmx_msrs msrs;
    uint32_t cpuid[CPUID_REGISTERS];
    uint64_t mtrrs[MTRRS]; /* 0 where a CPU has none */
};

/* Returns false if the CPUs differ, and writes a message that names the first difference to
 * `text`. */
bool vmx_alike(const struct vmx_identity *boot, const struct vmx_identity *other, char *text,
               size_t size) MUST_CHECK;
