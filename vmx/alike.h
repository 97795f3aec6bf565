/*
 * Are two CPUs alike, as far as a guest that moves between them, and we, could tell? What VMX
 * offers was negotiated once, on the boot CPU, and CPUID answers guests from whatever CPU they are
 * on. Pure: the caller reads the MSRs and CPUID.
 */
#pragma once

#include "lib/compiler.h"
#include "vmx/controls.h"

/* The words of CPUID that must agree. */
struct cpuid_word {
    uint32_t leaf, subleaf;
    unsigned reg; /* 0 EAX … 3 EDX */
    uint32_t but; /* bits that show the CPU's state, not what it is */
    const char *name;
};
#define CPUID_WORDS 14u
extern const struct cpuid_word cpuid_words[CPUID_WORDS];

struct vmx_identity {
    struct vmx_msrs msrs;
    uint32_t cpuid[CPUID_WORDS];
};

/* False after a sentence in `text` that names the first difference. */
bool vmx_alike(const struct vmx_identity *boot, const struct vmx_identity *other, char *text,
               size_t size) MUST_CHECK;
