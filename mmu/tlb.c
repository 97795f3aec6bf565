/* The flush ledger and the VPIDs; see the header. Calls INVEPT and INVVPID through ept/. */
#include "mmu/tlb.h"

#include "mmu/spte.h"

#define VPIDS 4096u /* of 65,536: enough for the vCPUs that 64 pCPUs can run */

struct tlb_cpu tlb_cpus[TLB_CPUS];

static uint64_t last_debt;
static uint64_t vpid_used[VPIDS / 64] = {1}; /* 0 is the host's */

static uint64_t new_debt(void)
{
    return __atomic_add_fetch(&last_debt, 1, __ATOMIC_SEQ_CST);
}

void tlb_ledger_init(struct mmu *mmu)
{
    mmu->tlb = (struct tlb_ledger){.debt = new_debt()};
}

void tlb_ledger_close(struct mmu *mmu)
{
    for (unsigned cpu = 0; cpu < TLB_CPUS; cpu++) {
        if (tlb_cpus[cpu].mmu == mmu)
            tlb_cpus[cpu] = (struct tlb_cpu){0};
    }
}

void tlb_owe(struct mmu *mmu)
{
    __atomic_store_n(&mmu->tlb.debt, new_debt(), __ATOMIC_RELEASE);
}

/* The one INVEPT. The debt is read first: what becomes owed meanwhile stays owed. */
static void flush_eptp(struct mmu *mmu, unsigned pcpu, enum invept_reason reason)
{
    uint64_t debt = __atomic_load_n(&mmu->tlb.debt, __ATOMIC_ACQUIRE);
    invept(spte_format.caps.invept_single ? INVEPT_SINGLE : INVEPT_ALL, mmu->eptp);
    mmu->stats.invept[reason]++;
    mmu->tlb.paid[pcpu] = debt;
    if (tlb_cpus[pcpu].mmu == mmu)
        tlb_cpus[pcpu].entered = debt;
}

void tlb_pay_debt(struct mmu *mmu, unsigned pcpu)
{
    bool same_root = tlb_cpus[pcpu].mmu == mmu;
    mmu->tlb.cpus |= BIT(pcpu);
    tlb_cpus[pcpu].mmu = mmu;
    flush_eptp(mmu, pcpu, same_root ? INVEPT_DEBT : INVEPT_ROOT_LOAD);
}

void tlb_flush_before_reuse(struct mmu *mmu)
{
    unsigned self = tlb_this_cpu();
    for (unsigned cpu = 0; cpu < TLB_CPUS; cpu++) {
        if (!(mmu->tlb.cpus & BIT(cpu)) || mmu->tlb.paid[cpu] == mmu->tlb.debt)
            continue;
        BUG_ON(cpu != self); /* with more than one pCPU: request, kick, wait */
        flush_eptp(mmu, cpu, INVEPT_REUSE);
    }
}

uint16_t tlb_vpid_alloc(struct mmu *mmu)
{
    if (!spte_format.caps.invvpid_types)
        return 0;
    for (unsigned i = 0; i < ARRAY_SIZE(vpid_used); i++) {
        if (vpid_used[i] == ~0ull)
            continue;
        unsigned bit = (unsigned)__builtin_ctzll(~vpid_used[i]);
        vpid_used[i] |= BIT(bit);
        uint16_t vpid = (uint16_t)(i * 64 + bit);
        tlb_invvpid(mmu, INVVPID_SINGLE, vpid, GVA(0), INVVPID_NEW);
        return vpid;
    }
    return 0;
}

void tlb_vpid_free(uint16_t vpid)
{
    if (!vpid)
        return;
    BUG_ON(vpid >= VPIDS || !(vpid_used[vpid / 64] & BIT(vpid % 64)));
    vpid_used[vpid / 64] &= ~BIT(vpid % 64);
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
    mmu->stats.invvpid[reason]++;
}
