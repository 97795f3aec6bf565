/* SPDX-License-Identifier: MIT */
/*
 * The MMIO flow. Called by vm/ for EPT violations and misconfigurations. Pure: it queries the MMU,
 * the bus and the cache, and calls the emulator.
 */
#include "mmio/flow.h"

#include "lib/compiler.h"
#include "lib/log.h"
#include "lib/trace.h"
#include "mmio/emulate.h"
#include "mmio/doorbell.h"
#include "mmio/replay.h"

static COLD enum mmio_outcome flow_end_delivery(struct mmio_vcpu *v, gpa_t gpa)
{
    if (mmio_is_read_only(v, gpa))
        return mmio_end(v, MMIO_END_DELIVERY, gpa, "an event's delivery wrote to read-only memory",
                        "keep GDT, TSS and stacks where they can be written");
    return mmio_end(v, MMIO_END_DELIVERY, gpa, "an event's delivery touched MMIO",
                    "keep IDT, GDT, TSS and stacks in RAM");
}

static enum mmio_outcome flow_emulate(struct mmio_vcpu *v, gpa_t gpa, bool delivering)
{
    bool rings;
    if (unlikely(delivering))
        return flow_end_delivery(v, gpa);
    return mmio_emulate(v, gpa, TARGET_DEVICE, &rings);
}

/* Replays the access of an EPT violation (mmio/replay.h). With mmio_caching=0, each access is a
 * violation. For a misconfiguration, the exit handler replays before it calls mmio_misconfig(). */
static bool flow_replay(struct mmio_vcpu *v, gpa_t gpa, uint64_t generation)
{
    cpu_reg_load_usual(v->cpu);
    uint64_t rip = cpu_reg(v->cpu, REG_RIP), cr3 = cpu_reg(v->cpu, REG_CR3);
    uint64_t rflags = cpu_reg(v->cpu, REG_RFLAGS);
    uint64_t mode = cpu_mode(v->cpu, rflags, cpu_reg(v->cpu, REG_SEG_AR + SEG_CS));
    struct replay *replay = mmio_replay_find(v, rip, gpa, cr3, mode);
    if (!replay)
        return false;
    return replay->flags & REPLAY_BELL
               ? mmio_replay_bell(v, replay, rflags, mmio_advance)
               : mmio_replay_move(v, replay, rflags, mmio_advance, &generation);
}

/* What follows from the result of a fault. */
enum flow_answer {
    FLOW_REENTER,  /* the guest executes the instruction again */
    FLOW_VE,       /* the guest gets #VE */
    FLOW_REFUSED,  /* the MMU has refused the access: the VM ends */
    FLOW_PASS,     /* a write to a tracked page by the CPU itself: it is let through */
    FLOW_MEMORY,   /* a write to a tracked page by an instruction: it is emulated */
    FLOW_DELIVERY, /* the delivery of an event touched MMIO: the VM ends */
    FLOW_TABLES,   /* the walk of the guest's tables touched MMIO: the VM ends */
    FLOW_FETCH,    /* the instruction itself is in MMIO: the VM ends */
    FLOW_EMULATE,
};

static ALWAYS_INLINE enum flow_answer flow_of_fault(int result, uint32_t error_code,
                                                    bool delivering)
{
    bool tables = !(error_code & (FAULT_RESERVED | FAULT_FINAL));
    if (result == FAULT_FIXED || result == FAULT_SPURIOUS || result == FAULT_RETRY)
        return FLOW_REENTER;
    if (result == FAULT_VE)
        return FLOW_VE;
    if (result == FAULT_WRITE_PROTECTED) /* the CPU completes its implicit writes itself */
        return delivering || tables ? FLOW_PASS : FLOW_MEMORY;
    if (result != FAULT_EMULATE)
        return FLOW_REFUSED;
    if (delivering)
        return FLOW_DELIVERY;
    if (tables)
        return FLOW_TABLES;
    return error_code & ACCESS_FETCH ? FLOW_FETCH : FLOW_EMULATE;
}

enum mmio_outcome mmio_not_mapped(struct mmio_vcpu *vcpu, gpa_t gpa, uint32_t error_code,
                                  bool delivering, int result, const struct mmio_info *info)
{
    struct mmio_vcpu *v = vcpu;
    bool rings;
    v->stats.faults_not_fixed[result < 0 ? 0 : result]++;
    if (result == FAULT_EMULATE)
        mmio_cache_fill(&v->cache, info);
    switch (flow_of_fault(result, error_code, delivering)) {
    case FLOW_REENTER:
        return MMIO_REENTER;
    case FLOW_VE:
        return MMIO_VE;
    case FLOW_PASS:
        return MMIO_PASS;
    case FLOW_MEMORY:
        return mmio_emulate(v, gpa, TARGET_MEMORY, &rings);
    case FLOW_DELIVERY:
        return flow_emulate(v, gpa, true);
    case FLOW_TABLES:
        return mmio_end(v, MMIO_END_TABLES, gpa,
                        "a guest page table lies in MMIO or read-only memory",
                        "put page tables into RAM");
    case FLOW_FETCH:
        return mmio_end(v, MMIO_END_FETCH, gpa, "the instruction itself lies outside RAM",
                        "run code from RAM");
    case FLOW_EMULATE:
        return flow_replay(v, gpa, info->generation) ? MMIO_DONE : flow_emulate(v, gpa, false);
    case FLOW_REFUSED:
        break;
    }
    return mmio_refused(v, gpa, error_code, result);
}

enum mmio_outcome mmio_violation(struct mmio_vcpu *vcpu, gpa_t gpa, uint32_t error_code,
                                 bool delivering)
{
    struct mmio_info info;
    int result = mmu_fault(vcpu->mmu, gpa, error_code, &info);
    if (mmio_is_mapped(result))
        return MMIO_REENTER;
    return mmio_not_mapped(vcpu, gpa, error_code, delivering, result, &info);
}

enum mmio_outcome mmio_misconfig(struct mmio_vcpu *vcpu, gpa_t gpa, bool delivering)
{
    struct mmio_vcpu *v = vcpu;
    /* 1: a doorbell rings regardless of the slots, but not during the delivery of an event, because
     * there is no instruction to complete. */
    if (unlikely(bus_doorbell_any(v->mmio_bus, gpa.v)) && !delivering) {
        bool rings = true;
        enum mmio_outcome outcome = mmio_emulate(v, gpa, TARGET_DOORBELL, &rings);
        if (rings) {
            trace(fast_mmio, gpa.v);
            return outcome;
        }
    }
    /* 2 */
    if (likely(mmio_cache_hit(&v->cache, gpa, mmu_slot_generation(v->mmu)))) {
        v->stats.cache_hits++;
        trace(vcpu_match_mmio, 0, gpa.v, 0, true);
        return flow_emulate(v, gpa, delivering);
    }
    struct mmio_info info;
    switch (mmu_mmio_check(v->mmu, gpa, &info)) {
    case FAULT_EMULATE: /* 3, or 4 without a slot */
        mmio_count_check(v, &info);
        mmio_cache_fill(&v->cache, &info);
        return flow_emulate(v, gpa, delivering);
    case FAULT_INVALID: /* 4 */
        v->stats.spte_stale++;
        return mmio_violation(v, gpa, FAULT_RESERVED, delivering);
    case FAULT_RETRY: /* 5 */
        return MMIO_REENTER;
    default: /* 6: the MMU has dumped the levels */
        return mmio_end(v, MMIO_END_MISCONFIG, gpa, "an EPT misconfiguration that is no MMIO",
                        PLEASE_REPORT "the levels above");
    }
}
