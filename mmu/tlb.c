/* SPDX-License-Identifier: MIT */
/* The flush ledger and the VPIDs; see the header. Calls INVEPT and INVVPID through ept/. */
#include "mmu/tlb.h"

#include "lib/patience.h"
#include "mmu/spte.h"
#include "mmu/trace.h"

#define VPIDS 4096u /* of 65,536: enough for the vCPUs of 64 pCPUs */

struct tlb_cpu tlb_cpus[CPUS_MAX];

static uint64_t last_ledger;
static uint64_t vpid_used[VPIDS / 64] = {1}; /* 0 belongs to the host */

void tlb_ledger_init(struct mmu *mmu)
{
    uint64_t number = __atomic_add_fetch(&last_ledger, 1, __ATOMIC_RELAXED);
    mmu->tlb = (struct tlb_ledger){.debt = number << TLB_DEBT_SHIFT};
}

/* Counts the reasons of the debts from `paid` + 1 to `debt`, and returns them as a bit mask. A pCPU
 * that has never been in this guest (`paid` is 0) has cached no translation that could be wrong. A
 * single debt often has the reason of the one before, so that reason is tried first. */
static uint64_t debt_reasons_between(struct mmu *mmu, unsigned pcpu, uint64_t paid, uint64_t debt)
{
    enum debt_reason guess = __atomic_load_n(&mmu->tlb.guess, __ATOMIC_RELAXED);
    uint64_t reasons = 0;
    if (debt == paid + 1 && __atomic_load_n(&mmu->tlb.newest[guess], __ATOMIC_RELAXED) == debt) {
        mmu->invept_for[pcpu][guess]++;
        return BIT(guess);
    }
    for (unsigned i = 0; paid && i < DEBT_REASONS; i++) {
        if (!tlb_reason_is_owed(mmu, i, paid))
            continue;
        reasons |= BIT(i);
        mmu->invept_for[pcpu][i]++;
        __atomic_store_n(&mmu->tlb.guess, (enum debt_reason)i, __ATOMIC_RELAXED);
    }
    return reasons;
}

/* Executes INVEPT; nothing else does. The debt is read first, so a debt that is made meanwhile
 * stays owed. `paid` may be published before INVEPT, because this CPU cannot enter the guest in
 * between. So a CPU that waits for this one continues without waiting for the INVEPT itself. */
void tlb_pay_debt(struct mmu *mmu, unsigned pcpu)
{
    struct tlb_cpu *cpu = &tlb_cpus[pcpu];
    __atomic_fetch_or(&mmu->tlb.cpus, BIT(pcpu), __ATOMIC_SEQ_CST);
    uint64_t debt = tlb_debt(mmu), paid = mmu->tlb.paid[pcpu];
    __atomic_store_n(&mmu->tlb.paid[pcpu], debt, __ATOMIC_SEQ_CST);
    bool same_root = cpu->entered >> TLB_DEBT_SHIFT == debt >> TLB_DEBT_SHIFT;
    invept(spte_format.caps.invept_single ? INVEPT_SINGLE : INVEPT_ALL, mmu->eptp);
    mmu->cpu[pcpu].stats.invept[same_root ? INVEPT_DEBT : INVEPT_ROOT_LOAD]++;
    uint64_t reasons = debt_reasons_between(mmu, pcpu, paid, debt);
    trace(invept, same_root ? INVEPT_DEBT : INVEPT_ROOT_LOAD, reasons, debt);
    cpu->entered = debt;
}

/* May the pCPU be in this guest with translations from before `debt`? A pCPU that is about to pay
 * also counts, until it has stored `paid`, which it does before it enters. */
static bool tlb_is_behind(const struct mmu *mmu, unsigned pcpu, uint64_t debt)
{
    return __atomic_load_n(&tlb_cpus[pcpu].running, __ATOMIC_SEQ_CST) == mmu &&
           __atomic_load_n(&mmu->tlb.paid[pcpu], __ATOMIC_SEQ_CST) < debt;
}

bool tlb_is_paid(const struct mmu *mmu, uint64_t debt)
{
    uint64_t left = __atomic_load_n(&mmu->tlb.cpus, __ATOMIC_SEQ_CST) & ~BIT(this_cpu());
    for (; left; left &= left - 1)
        if (tlb_is_behind(mmu, (unsigned)__builtin_ctzll(left), debt))
            return false;
    return true;
}

void tlb_sync(struct mmu *mmu)
{
    uint64_t debt = tlb_debt(mmu), behind = 0;
    uint64_t cpus = __atomic_load_n(&mmu->tlb.cpus, __ATOMIC_SEQ_CST);
    unsigned self = this_cpu();

    for (uint64_t left = cpus & ~BIT(self); left; left &= left - 1) {
        unsigned pcpu = (unsigned)__builtin_ctzll(left);
        if (tlb_is_behind(mmu, pcpu, debt)) {
            behind |= BIT(pcpu);
            trace(remote_flush, pcpu, debt);
            cpu_kick(pcpu);
        }
    }
    for (; behind; behind &= behind - 1) {
        unsigned pcpu = (unsigned)__builtin_ctzll(behind);
        struct patience patience = {.self = self, .other = pcpu, .what = "a flush of its TLB"};
        while (tlb_is_behind(mmu, pcpu, debt))
            wait_for_cpu(&patience, cpu_kick);
        mmu->cpu[self].stats.remote_flushes++;
    }
}

void tlb_wait_epoch(const void *owner)
{
    epoch_wait(epoch_begin(), owner, this_cpu(), cpu_kick);
}

/* Takes the lowest free VPID; 0 if there is none. */
static uint16_t vpid_take(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(vpid_used); i++) {
        uint64_t used = __atomic_load_n(&vpid_used[i], __ATOMIC_RELAXED);
        while (used != ~0ull) {
            unsigned bit = (unsigned)__builtin_ctzll(~used);
            if (__atomic_compare_exchange_n(&vpid_used[i], &used, used | BIT(bit), false,
                                            __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
                return (uint16_t)(i * 64 + bit);
        }
    }
    return 0;
}

uint16_t tlb_vpid_alloc(struct mmu *mmu)
{
    uint16_t vpid = spte_format.caps.invvpid_types ? vpid_take() : 0;
    tlb_invvpid(mmu, INVVPID_SINGLE, vpid, GVA(0), INVVPID_NEW);
    return vpid;
}

void tlb_vpid_free(uint16_t vpid)
{
    if (!vpid)
        return;
    BUG_ON(vpid >= VPIDS);
    uint64_t before = __atomic_fetch_and(&vpid_used[vpid / 64], ~BIT(vpid % 64), __ATOMIC_RELEASE);
    BUG_ON(!(before & BIT(vpid % 64)));
}

static bool is_canonical(gva_t address)
{
    return ((int64_t)(address.v << 16) >> 16) == (int64_t)address.v;
}

void tlb_invvpid(struct mmu *mmu, unsigned type, uint16_t vpid, gva_t address,
                 enum invvpid_reason reason)
{
    if (!vpid)
        return;
    unsigned types = spte_format.caps.invvpid_types;
    bool narrow = type == INVVPID_ADDRESS || type == INVVPID_GLOBALS;
    if (narrow && (!(types >> type & 1) || (type == INVVPID_ADDRESS && !is_canonical(address))))
        type = INVVPID_SINGLE;
    if (!(types >> type & 1))
        type = types >> INVVPID_ALL & 1 ? INVVPID_ALL : INVVPID_SINGLE;
    BUG_ON(!(types >> type & 1));
    invvpid(type, type == INVVPID_ALL ? 0 : vpid, type == INVVPID_ADDRESS ? address : GVA(0));
    mmu->cpu[this_cpu()].stats.invvpid[reason]++;
}
