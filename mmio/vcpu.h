/*
 * What the MMIO path knows of one vCPU, and what it answers. vm/ embeds one in each vCPU, gives
 * it to mmio_violation() and mmio_misconfig(), and does what the outcome says.
 */
#pragma once

#include "mmio/breakpoints.h"
#include "mmio/bus.h"
#include "mmio/cache.h"
#include "mmio/replay_entry.h"

enum mmio_outcome {
    /* Emulated; RIP advanced, or in the middle of a repetition not. The caller ends the interrupt
     * shadow (STI, MOV SS), and makes the debug trap pending that `single_step` and
     * `breakpoints_met` tell of. */
    MMIO_DONE,
    MMIO_REENTER, /* nothing changed: enter the guest again */
    MMIO_INJECT,  /* inject `fault`; RIP stands at the instruction */
    MMIO_STALE,   /* the CPU used an outdated translation: INVVPID, enter again */
    MMIO_PASS, /* a write to tracked RAM that no emulated instruction makes: let the CPU make it */
    MMIO_VE,   /* the guest's own to handle, as #VE */
    MMIO_END,  /* end this VM: `end` and `text` say why */
};

enum mmio_end {
    MMIO_END_NONE,
    MMIO_END_DELIVERY,    /* MMIO touched while an event was delivered */
    MMIO_END_MISCONFIG,   /* a real EPT misconfiguration */
    MMIO_END_UNSUPPORTED, /* the decoder does not know the instruction */
    MMIO_END_FETCH,       /* instructions in MMIO */
    MMIO_END_TABLES,      /* guest page tables in MMIO, or read-only */
    MMIO_END_PAGING,      /* a paging mode that is not offered */
    MMIO_END_STALE,       /* the translation stays outdated */
    MMIO_END_MEMORY,      /* out of host memory, or another error of the MMU */
};

struct mmio_fault {
    uint8_t vector;
    bool has_error_code; /* false in real mode */
    uint32_t error_code;
    uint64_t cr2; /* for a page fault */
};

/* For the counters of guest/abi.h. The GVA cache's hits are in cache.gva_hits. */
struct mmio_stats {
    uint64_t cache_hits;
    uint64_t spte_hits;
    uint64_t spte_stale;
    uint64_t emulated;
    uint64_t stale_translations;
    uint64_t faults_not_fixed[FAULT_RESULTS]; /* by what mmu_fault() said; 0: errors */
};

struct mmio_vcpu {
    struct cpu_regs *cpu;
    struct mmu *mmu;
    struct bus *mmio_bus;
    struct mmio_stats stats;

    /* The answer, beside the outcome. */
    struct mmio_fault fault;
    bool single_step;
    uint64_t breakpoints_met; /* as breakpoints_met() has them */
    enum mmio_end end;
    char text[256];

    uint64_t stale_rip; /* how often in a row this RIP was answered with MMIO_STALE */
    unsigned stale_count;

    struct breakpoints breakpoints;
    struct mmio_cache cache;
    struct replays replays;
};

void mmio_vcpu_init(struct mmio_vcpu *vcpu, struct cpu_regs *cpu, struct mmu *mmu, struct bus *bus,
                    const struct walk_limits *limits, enum gva_cache mode);

/* Completes the instruction at RIP, before which RFLAGS were `rflags`: RIP, and RF and TF as after
 * any instruction (SDM 3, 18.3.1.1). */
void mmio_advance(struct mmio_vcpu *vcpu, uint64_t next, uint64_t rflags);

/* Fills in a fault and returns MMIO_INJECT. */
enum mmio_outcome mmio_inject(struct mmio_vcpu *vcpu, const struct walk_context *context,
                              uint8_t vector, uint32_t error_code);

/* What mmu_mmio_check() answered, for the counters. */
static inline void mmio_count_check(struct mmio_vcpu *vcpu, const struct mmio_info *info)
{
    if (info->renewed)
        vcpu->stats.spte_stale++;
    else
        vcpu->stats.spte_hits++;
}

/* Does the address lie in a slot that the guest must not write? For sentences. */
bool mmio_is_read_only(const struct mmio_vcpu *vcpu, gpa_t gpa);

/* The sentence of a VM's end: `what`, then where, the bytes at RIP, then what to `do`. Returns
 * MMIO_END. Not logged here: the caller ends the VM with it. */
enum mmio_outcome mmio_end(struct mmio_vcpu *vcpu, enum mmio_end reason, gpa_t gpa,
                           const char *what, const char *advice);

/* The same of memory that the MMU would not give: `error` is what it said of an access by these
 * ACCESS_ bits at `gpa`. */
enum mmio_outcome mmio_refused(struct mmio_vcpu *vcpu, gpa_t gpa, uint32_t access, int error);

/* What a failed translation means for the guest: the fault, another try, or the end. `address` is
 * what was translated, `at` the offending GPA. */
enum mmio_outcome mmio_walk_failed(struct mmio_vcpu *vcpu, const struct walk_context *context,
                                   enum walk_result result, uint64_t address,
                                   const struct translation *translation);
