/* SPDX-License-Identifier: MIT */
/*
 * The speculation vulnerabilities of a CPU, and what can be done about each (docs/SECURITY.md).
 *
 * The decision is pure: its inputs are CPUID and IA32_ARCH_CAPABILITIES; its results are a set of
 * vulnerabilities, a set of actions, and a status line for each vulnerability.
 * IA32_ARCH_CAPABILITIES takes precedence; where it reports nothing, a table of models decides,
 * which is Intel's list of affected processors. arch/x86/mitigate.c carries out the actions.
 */
#pragma once

#include "lib/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The names are those in Linux's /sys/devices/system/cpu/vulnerabilities, where it has them. */
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

/* The relevant parts of CPUID and of the MSR. */
struct flaw_input {
    bool intel;
    uint32_t family, model, stepping; /* extended family and model included */
    uint32_t physical_bits;
    uint32_t cpuid7_ebx, cpuid7_edx, cpuid7_2_edx;
    uint32_t cpuid1_ecx;
    uint64_t arch_capabilities; /* 0 if the CPU does not have this MSR */
    bool nx_huge;               /* large pages are not executable */
};

/* The actions. The first four are done when a CPU starts to run another VM, the next two around
 * each exit, and the others once. */
#define DO_L1D_FLUSH_MSR  (1u << 0) /* IA32_FLUSH_CMD */
#define DO_L1D_FLUSH_READ (1u << 1) /* without that MSR: reads twice the size of the L1D */
#define DO_VERW           (1u << 2) /* clears the core's buffers, if the microcode supports that */
#define DO_IBPB           (1u << 3)
#define DO_RSB_FILL       (1u << 4) /* also where returns leave the run loop */
#define DO_IBRS_AT_EXIT   (1u << 5)
#define DO_IBRS_ALWAYS    (1u << 6)  /* enhanced IBRS, enabled once */
#define DO_BHI_DIS_S      (1u << 7)  /* in the same MSR as IBRS, enabled once */
#define DO_TSX_OFF        (1u << 8)  /* IA32_TSX_CTRL */
#define DO_CLEAR_GPRS     (1u << 9)  /* the guest's registers, at each exit */
#define DO_KEEP_MICROCODE (1u << 10) /* clears bits that disable microcode mitigations */

struct flaw_verdict {
    uint32_t flaws;           /* a bit for each enum flaw */
    uint32_t actions;         /* DO_ */
    unsigned l1tf_cache_bits; /* width of the L1D's tags (rule S9); 0: no L1TF */
};

/* The values of the word `mitigations=`. */
enum mitigations {
    MITIGATIONS_OFF,
    MITIGATIONS_AUTO,
    MITIGATIONS_FORCE, /* every action that this CPU can carry out; for tests */
};

void flaws_decide(const struct flaw_input *in, enum mitigations wanted, struct flaw_verdict *out);

/* Do two CPUs need the same actions, and does `other` need nx_huge only if the boot CPU does? Both
 * are chosen once, on the boot CPU. If not, `text` says why. */
bool flaws_alike(const struct flaw_input *boot, const struct flaw_input *other,
                 enum mitigations wanted, char *text, size_t size) MUST_CHECK;

const char *flaw_name(enum flaw flaw);

/* Writes the status of one vulnerability: "Not affected", "Mitigation: …" or "Vulnerable: …". */
void flaw_status(const struct flaw_input *in, const struct flaw_verdict *verdict, enum flaw flaw,
                 char *text, size_t size);
