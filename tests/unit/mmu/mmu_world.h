/* SPDX-License-Identifier: MIT */
/*
 * The environment of mmu/ in a hosted test: a CPU that walks EPT tables as the SDM says, the two
 * invalidation instructions, and a vCPU that faults until its access is done.
 *
 * The walker writes its bits as numbers on purpose, to check ept/format.h. Include this in one file
 * of each test program.
 */
#pragma once

#include "tests/unit/support.h"

#include "ept/caps.h"
#include "ept/invalidate.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "mmu/memslot.h"
#include "mmu/mirror.h"
#include "mmu/mmu.h"
#include "mmu/spte.h"
#include "mmu/map.h"
#include "mmu/retired.h"
#include "mmu/self.h"
#include "mmu/store.h"
#include "mmu/tables.h"
#include "mmu/tdp.h"
#include "mmu/zap.h"
#include "mmu/tlb.h"

/* Without pages of 1 GiB, which take the arena long to allocate. */
#define WORLD_CAPS                                                                                \
    (EPT_CAP_EXEC_ONLY | EPT_CAP_WALK_4 | EPT_CAP_UC | EPT_CAP_WB | EPT_CAP_2M | EPT_CAP_INVEPT | \
     EPT_CAP_AD | EPT_CAP_INVEPT_SINGLE | EPT_CAP_INVEPT_ALL | EPT_CAP_INVVPID |                  \
     EPT_CAP_INVVPID_ADDRESS | EPT_CAP_INVVPID_SINGLE | EPT_CAP_INVVPID_ALL |                     \
     EPT_CAP_INVVPID_GLOBALS)
#define WORLD_MAXPHYADDR 40u

static void (*invept_hook)(unsigned type, uint64_t eptp);
static unsigned invept_calls;
static unsigned invvpid_calls;
static unsigned invvpid_last_type;

void invept(unsigned type, uint64_t eptp)
{
    __atomic_add_fetch(&invept_calls, 1, __ATOMIC_RELAXED);
    if (invept_hook)
        invept_hook(type, eptp);
}

void invvpid(unsigned type, uint16_t vpid, gva_t address)
{
    (void)vpid;
    (void)address;
    invvpid_calls++;
    invvpid_last_type = type;
}

/* Another CPU that is in the guest leaves it and passes the epoch. A test may add something. */
static void (*kick_hook)(unsigned pcpu);
static unsigned kicks;

static inline void world_leave(unsigned pcpu)
{
    tlb_leave(pcpu);
    epoch_pass(pcpu, epoch_now());
}

void cpu_kick(unsigned pcpu)
{
    __atomic_add_fetch(&kicks, 1, __ATOMIC_RELAXED);
    if (kick_hook)
        kick_hook(pcpu);
    else
        world_leave(pcpu);
}

/* Called for each leaf whose D bit the CPU sets, with the address that PML would log. */
static void (*modified_hook)(gfn_t gfn);

static inline void world_reset(uint64_t msr, const struct mmu_config *config)
{
    struct ept_caps caps;
    support_reset();
    invept_hook = NULL;
    kick_hook = NULL;
    modified_hook = NULL;
    kicks = 0;
    memset(tlb_cpus, 0, sizeof(tlb_cpus));
    memset(epoch_cpus, 0, sizeof(epoch_cpus));
    invept_calls = invvpid_calls = 0;
    support_cpu = 0;
    assert_int_equal(ept_caps_parse(&caps, msr, WORLD_MAXPHYADDR), 0);
    assert_int_equal(mmu_setup(&caps, config), 0);
}

/* ---- The CPU --------------------------------------------------------------------------------- */

enum hw_result {
    HW_OK,
    HW_VIOLATION,
    HW_MISCONFIG,
};

struct hw_translation {
    enum hw_result result;
    hpa_t page;          /* the 4 KiB page of the frame */
    unsigned permission; /* bits 2:0, the AND of all levels */
    unsigned level;      /* the level at which the walk ended */
    bool converts;       /* a violation that the CPU may turn into #VE */
};

/* Does the CPU refuse this present entry? MAXPHYADDR is 40, and all page sizes exist. */
static inline bool hw_misconfigured(uint64_t entry, unsigned level)
{
    unsigned rwx = entry & 7;
    bool leaf = level == 1 || (level < 4 && entry >> 7 & 1);
    if (rwx == 2 || rwx == 6 || entry & 0x000fff0000000000)
        return true;
    if (!leaf)
        return entry & 0x78 || (level == 4 && entry & 0x80);
    unsigned type = entry >> 3 & 7;
    if (type == 2 || type == 3 || type == 7)
        return true;
    return (level == 2 && entry & 0x1ff000) || (level == 3 && entry & 0x3ffff000);
}

/* Sets A and, for a store, D. */
static inline void hw_set_used(uint64_t *leaf, gfn_t gfn, unsigned access)
{
    bool modifies = access & 2 && !(*leaf & 0x200);
    *leaf |= access & 2 ? 0x300 : 0x100;
    if (modifies && modified_hook)
        modified_hook(gfn);
}

/* Continues a walk from `table` of `level`, in which `permission` is allowed so far. Sets A and D
 * as a CPU does. */
static inline struct hw_translation hw_walk_from(uint64_t *table, unsigned level,
                                                 unsigned permission, gfn_t gfn, unsigned access,
                                                 bool ad)
{
    for (;; level--) {
        uint64_t *entry = &table[gfn.v >> (9 * (level - 1)) & 511];
        struct hw_translation end = {.result = HW_VIOLATION, .level = level};
        end.converts = !(*entry >> 63);
        if (!(*entry & 7))
            return end;
        if (hw_misconfigured(*entry, level)) {
            end.result = HW_MISCONFIG;
            return end;
        }
        permission &= *entry & 7;
        hpa_t target = HPA(*entry & 0x000ffffffffff000);
        if (level > 1 && !(*entry & 0x80)) {
            if (ad)
                *entry |= 0x100;
            table = phys_to_virt(target);
            continue;
        }
        end.permission = permission;
        end.page = hpa_add(target, (gfn.v & ((1ull << 9 * (level - 1)) - 1)) << 12);
        if (access & ~permission)
            return end;
        if (ad)
            hw_set_used(entry, gfn, access);
        end.result = HW_OK;
        return end;
    }
}

/* A walk of a CPU whose TLB is empty. `access` has bits 2:0 of an entry: 1 read, 2 write, 4 fetch.
 */
static inline struct hw_translation hw_walk(uint64_t eptp, gfn_t gfn, unsigned access)
{
    assert_int_equal(eptp & 0x3f, 3 << 3 | 6); /* four levels, write-back */
    return hw_walk_from(phys_to_virt(HPA(eptp & 0x000ffffffffff000)), 4, 7, gfn, access,
                        eptp >> 6 & 1);
}

/* ---- A vCPU without TLB ---------------------------------------------------------------------- */

struct world_access {
    int outcome; /* FAULT_FIXED: RAM was accessed; FAULT_EMULATE: a device; negative: the VM ends */
    hpa_t page;
    unsigned violations;
    unsigned misconfigurations;
    struct mmio_info info;
};

/* One access of a guest, which exits and enters until it is done. */
static inline struct world_access world_touch(struct mmu *mmu, gpa_t gpa, unsigned access)
{
    struct world_access result = {0};
    for (unsigned tries = 0; tries < 8; tries++) {
        tlb_enter(mmu, support_cpu);
        tlb_assert_paid(mmu, support_cpu);
        struct hw_translation hw = hw_walk(mmu_eptp(mmu), gpa_to_gfn(gpa), access);
        int outcome;
        if (hw.result == HW_OK) {
            result.outcome = FAULT_FIXED;
            result.page = hw.page;
            return result;
        }
        if (hw.result == HW_VIOLATION && hw.converts && mmu_has_ve(mmu)) {
            result.outcome = FAULT_VE;
            return result;
        }
        if (hw.result == HW_VIOLATION) {
            result.violations++;
            outcome = mmu_fault(mmu, gpa, access | FAULT_FINAL, &result.info);
        } else {
            result.misconfigurations++;
            outcome = mmu_mmio_check(mmu, gpa, &result.info);
            if (outcome == FAULT_INVALID)
                outcome = mmu_fault(mmu, gpa, FAULT_RESERVED, &result.info);
        }
        assert_int_not_equal(outcome, FAULT_CONTINUE); /* inside the MMU only (rule F6) */
        assert_int_not_equal(outcome, FAULT_INVALID);
        if (outcome < 0 || outcome == FAULT_EMULATE) {
            result.outcome = outcome;
            return result;
        }
    }
    fail_msg("the access to %#lx never ends", gpa.v);
    return result;
}

/* ---- Looking at all tables ------------------------------------------------------------------- */

struct world_scan {
    uint64_t leaves[5];
    uint64_t tables;
    uint64_t mmio;
};

/* Every entry of every table has a class, none is 0 (rule S7), none could cause #VE (rule S15), no
 * present one is misconfigured, and MMIO SPTEs are at level 1 only (rule S8). */
static inline void world_scan_table(const struct mmu *mmu, const uint64_t *table, unsigned level,
                                    struct world_scan *scan)
{
    for (unsigned i = 0; i < 512; i++) {
        uint64_t spte = table[i];
        if (table == mmu->composite && i == 0 && mmu_has_mirror(mmu))
            continue; /* the link to the external tables */
        enum spte_class class = spte_classify(spte, level, mmu->mmio_value);
        assert_true(spte != 0 || class == SPTE_CLASS_MMIO);
        if (!mmu_has_ve(mmu) || (class != SPTE_CLASS_MMIO && (spte & EPT_RWX) != EPT_EXECUTE))
            assert_false(spte_is_ve_possible(spte));
        assert_int_not_equal(class, SPTE_CLASS_ALIEN);
        if (class == SPTE_CLASS_MMIO) {
            assert_int_equal(level, 1);
            scan->mmio++;
        } else if (class == SPTE_CLASS_LEAF || class == SPTE_CLASS_TRACKED) {
            assert_false(hw_misconfigured(spte, level));
            scan->leaves[level]++;
        } else if (class == SPTE_CLASS_NONLEAF) {
            assert_false(hw_misconfigured(spte, level));
            scan->tables++;
            world_scan_table(mmu, phys_to_virt(spte_page(spte)), level - 1, scan);
        }
    }
}

/* Scans the tables, and compares the counters with what is found. Retired tables still count, so
 * they are freed first. */
static inline struct world_scan world_check(struct mmu *mmu)
{
    struct world_scan scan = {0};
    tdp_reclaim(mmu, true);
    world_scan_table(mmu, mmu->composite, mmu->root_level, &scan);
    if (mmu_has_mirror(mmu))
        world_scan_table(mmu, mmu->mirror.table, mmu->root_level, &scan);
    struct mmu_stats stats = mmu_stats(mmu);
    for (unsigned level = 1; level <= 4; level++)
        assert_int_equal(stats.pages[level - 1], scan.leaves[level]);
    assert_int_equal(stats.tables, scan.tables);
    return scan;
}
