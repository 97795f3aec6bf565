/* SPDX-License-Identifier: MIT */
/*
 * The MMIO state of one vCPU and the outcomes of MMIO exits. vm/ embeds a struct mmio_vcpu in each
 * vCPU, passes it to mmio_violation() and mmio_misconfig(), and acts on the outcome.
 */
#pragma once

#include "mmio/breakpoints.h"
#include "mmio/bus.h"
#include "mmio/cache.h"
#include "mmio/replay_entry.h"

enum mmio_outcome {
    /* Emulated. RIP is advanced unless iterations of a string instruction remain. The caller ends
     * the interrupt shadow (STI, MOV SS), and makes the debug trap of `single_step` and
     * `breakpoints_met` pending. */
    MMIO_DONE,
    MMIO_REENTER, /* nothing changed: enter the guest again */
    MMIO_INJECT,  /* inject `fault`; RIP points to the instruction */
    MMIO_STALE,   /* the CPU used an outdated translation: execute INVVPID, enter again */
    MMIO_PASS,    /* a write to tracked RAM that is not emulated: let the CPU make it */
    MMIO_VE,      /* deliver #VE to the guest */
    MMIO_END,     /* end this VM for the reason in `end` and `text` */
};

enum mmio_end {
    MMIO_END_NONE,
    MMIO_END_DELIVERY,    /* the delivery of an event accessed MMIO */
    MMIO_END_MISCONFIG,   /* an EPT misconfiguration that is not MMIO */
    MMIO_END_UNSUPPORTED, /* the decoder does not know the instruction */
    MMIO_END_FETCH,       /* instructions in MMIO */
    MMIO_END_TABLES,      /* guest page tables in MMIO, or read-only */
    MMIO_END_PAGING,      /* an unsupported paging mode */
    MMIO_END_STALE,       /* MMIO_STALE did not help repeatedly */
    MMIO_END_MEMORY,      /* out of host memory, or another error of the MMU */
};

struct mmio_fault {
    uint8_t vector;
    bool has_error_code; /* false in real mode */
    uint32_t error_code;
    uint64_t cr2; /* for a page fault */
};

/* Counters of guest/abi.h, except the hits of the GVA cache, which are in cache.gva_hits. */
struct mmio_stats {
    uint64_t cache_hits;
    uint64_t spte_hits;
    uint64_t spte_stale;
    uint64_t emulated;
    uint64_t stale_translations;
    uint64_t faults_not_fixed[FAULT_RESULTS]; /* by the result of mmu_fault(); [0]: errors */
};

struct mmio_vcpu {
    struct cpu_regs *cpu;
    struct mmu *mmu;
    struct bus *mmio_bus;
    struct mmio_stats stats;

    /* The details of the outcome. */
    struct mmio_fault fault;
    bool single_step;
    uint64_t breakpoints_met; /* in the format of breakpoints_met(), and BREAKPOINTS_MOV_SS */
    enum mmio_end end;
    char text[256];

    uint64_t stale_rip;   /* RIP of the last MMIO_STALE */
    unsigned stale_count; /* consecutive MMIO_STALE outcomes at stale_rip */

    struct breakpoints breakpoints;
    struct mmio_cache cache;
    struct replays replays;
};

void mmio_vcpu_init(struct mmio_vcpu *vcpu, struct cpu_regs *cpu, struct mmu *mmu, struct bus *bus,
                    const struct walk_limits *limits, enum gva_cache mode);

/* Completes an instruction before which RFLAGS was `rflags`: sets RIP to `next`, clears RF, and
 * sets `single_step` if TF was set (SDM 3, 18.3.1.1). */
void mmio_advance(struct mmio_vcpu *vcpu, uint64_t next, uint64_t rflags);

/* Fills in a fault and returns MMIO_INJECT. */
enum mmio_outcome mmio_inject(struct mmio_vcpu *vcpu, const struct walk_context *context,
                              uint8_t vector, uint32_t error_code);

/* Does what LMSW does with CR0. Returns false if it raises #GP. Supplied by vm/control_regs.c. */
bool mmio_lmsw(struct mmio_vcpu *vcpu, uint16_t word) MUST_CHECK;

/* Counts a successful mmu_mmio_check(). */
static inline void mmio_count_check(struct mmio_vcpu *vcpu, const struct mmio_info *info)
{
    if (info->renewed)
        vcpu->stats.spte_stale++;
    else
        vcpu->stats.spte_hits++;
}

/* Whether the address lies in a read-only slot; for messages. */
bool mmio_is_read_only(const struct mmio_vcpu *vcpu, gpa_t gpa);

/* Writes the message of a VM's end to vcpu->text: `what`, then the GPA, RIP and the bytes at RIP,
 * then `advice`. Returns MMIO_END. The caller ends the VM and logs the message. */
enum mmio_outcome mmio_end(struct mmio_vcpu *vcpu, enum mmio_end reason, gpa_t gpa,
                           const char *what, const char *advice);

/* The end of a VM whose instruction, which `what` describes, is not emulated. */
enum mmio_outcome mmio_not_emulated(struct mmio_vcpu *vcpu, gpa_t gpa, const char *what);

/* Writes the message of a VM's end for an access with the ACCESS_ bits `access` at `gpa` for which
 * the MMU returned `error`. Returns MMIO_END. */
enum mmio_outcome mmio_refused(struct mmio_vcpu *vcpu, gpa_t gpa, uint32_t access, int error);

/* The outcome of a failed translation of `address`: MMIO_INJECT, MMIO_REENTER or MMIO_END. */
enum mmio_outcome mmio_walk_failed(struct mmio_vcpu *vcpu, const struct walk_context *context,
                                   enum walk_result result, uint64_t address,
                                   const struct translation *translation);
