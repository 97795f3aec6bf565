/*
 * Which flaws of speculation a CPU has, and what can be done about each (docs/SECURITY.md).
 *
 * The decision is pure: CPUID and IA32_ARCH_CAPABILITIES in, a set of flaws, a set of actions and a
 * sentence for each flaw out. What a CPU says of itself in IA32_ARCH_CAPABILITIES counts; where it
 * says nothing, a table of models does, which is Intel's list of affected processors. The actions
 * are carried out by arch/x86/mitigate.c.
 */
#pragma once

#include "lib/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The names are those of Linux' /sys/devices/system/cpu/vulnerabilities, where it has them. */
#define FLAWS(X)                        \
    X(GDS, "gather_data_sampling")      \
    X(ITLB_MULTIHIT, "itlb_multihit")   \
    X(ITS, "indirect_target_selection") \
    X(L1TF, "l1tf")                     \
    X(MDS, "mds")                       \
    X(MMIO, "mmio_stale_data")          \
    X(RFDS, "reg_file_data_sampling")   \
    X(RETBLEED, "retbleed")             \
    X(SSB, "spec_store_bypass")         \
    X(SPECTRE_V1, "spectre_v1")         \
    X(SPECTRE_V2, "spectre_v2")         \
    X(BHI, "branch_history_injection")  \
    X(SRBDS, "srbds")                   \
    X(TAA, "tsx_async_abort")           \
    X(VMSCAPE, "vmscape")

enum flaw {
#define X(name, text) FLAW_##name,
    FLAWS(X)
#undef X
        FLAW_COUNT,
};

/* What CPUID and the MSR say. */
struct flaw_input {
    bool intel;
    uint32_t family, model, stepping; /* with the extended parts */
    uint32_t physical_bits;
    uint32_t cpuid7_ebx, cpuid7_edx, cpuid7_2_edx;
    uint32_t cpuid1_ecx;
    uint64_t arch_capabilities; /* 0 where the CPU has no such MSR */
    bool nx_huge;               /* large pages are not executable */
};

/* What is done. The first four when a CPU begins to work for another VM, the next two around each
 * exit, the rest once. */
#define DO_L1D_FLUSH_MSR  (1u << 0) /* IA32_FLUSH_CMD */
#define DO_L1D_FLUSH_READ (1u << 1) /* the same by reading twice the size of the cache */
#define DO_VERW           (1u << 2) /* buffers of the core, with microcode that lets VERW do it */
#define DO_IBPB           (1u << 3)
#define DO_RSB_FILL       (1u << 4) /* where returns leave the loop of exits, too */
#define DO_IBRS_AT_EXIT   (1u << 5)
#define DO_IBRS_ALWAYS    (1u << 6)  /* enhanced: for good */
#define DO_BHI_DIS_S      (1u << 7)  /* with it */
#define DO_TSX_OFF        (1u << 8)  /* IA32_TSX_CTRL */
#define DO_CLEAR_GPRS     (1u << 9)  /* the guest's, at each exit */
#define DO_KEEP_MICROCODE (1u << 10) /* bits of IA32_MCU_OPT_CTRL that would switch it off */

struct flaw_verdict {
    uint32_t flaws;           /* a bit for each enum flaw */
    uint32_t actions;         /* DO_ */
    unsigned l1tf_cache_bits; /* the width of the L1D's tags, for rule S9; 0: no L1TF */
};

enum mitigations { /* of the command line */
                   MITIGATIONS_OFF,
                   MITIGATIONS_AUTO,
                   MITIGATIONS_FORCE, /* all that this CPU can do, whatever its flaws; for tests */
};

void flaws_decide(const struct flaw_input *in, enum mitigations wanted, struct flaw_verdict *out);

const char *flaw_name(enum flaw flaw);

/* "Not affected", "Mitigation: …", "Vulnerable: …". */
void flaw_sentence(const struct flaw_input *in, const struct flaw_verdict *verdict, enum flaw flaw,
                   char *text, size_t size);
