/*
 * MOV to CR0, CR3 and CR4, CLTS and LMSW, where they exit: for the bits that we own always, and
 * with gva_cache=exits for everything that changes what an address means (decision D6, rule C2).
 *
 * What the CPU would do is done in full: the checks and #GPs of the SDM, IA-32e mode, the PDPTEs of
 * PAE paging, and the flush of the TLB.
 */
#include "arch/x86/cpu.h"
#include "guest/vm.h"
#include "lib/assert.h"
#include "mmu/tlb.h"
#include "vmx/vmcs.h"

/* The qualification of a control-register access (SDM 3, table 28-3). */
#define CR_NUMBER   BITS(3, 0)
#define CR_TYPE     BITS(5, 4)
#define CR_GPR      BITS(11, 8)
#define LMSW_SOURCE BITS(31, 16)

enum cr_access_type {
    CR_MOV_TO,
    CR_MOV_FROM,
    CR_CLTS,
    CR_LMSW,
};

#define CR0_DEFINED                                                                            \
    (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | \
     CR0_PG)
#define CR0_LMSW (CR0_PE | CR0_MP | CR0_EM | CR0_TS)

/* Owned always: what must not reach the CPU as the guest wants it, and what decides translations and
 * is hardly ever changed, so that what is kept of an access (mmio/hot.h) need not ask for it. */
#define CR0_OWNED (CR0_NE | CR0_CD | CR0_NW | CR0_PG)
#define CR4_OWNED (CR4_PSE | CR4_PAE | CR4_SMEP | CR4_SMAP | CR4_PKE)

/* Owned always, so that a change of them exits: CPUID shows them. */
#define CR4_SHOWN (CR4_OSXSAVE | CR4_PKE)

/* Owned with gva_cache=exits: what else a translation depends on, or the TLB. */
#define CR0_TRANSLATION CR0_WP
#define CR4_TRANSLATION (CR4_PGE | CR4_PCIDE)

/* A change of these reloads the PDPTEs (SDM 3, 4.4.1), of those flushes the TLB (4.10.4.1). */
#define CR0_PDPTE CR0_PG
#define CR4_PDPTE (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP)
#define CR4_FLUSH (CR4_PAE | CR4_PGE | CR4_PSE)

#define PCID_MASK    BITS(11, 0)
#define CR3_NO_FLUSH BIT(63)
#define PDPTE_P      BIT(0)
#define TSS_BUSY_16  3 /* the type of TR */

static uint64_t reg(struct vcpu *vcpu, enum cpu_reg name)
{
    return cpu_reg(&vcpu->vmx.regs, name);
}

static void set(struct vcpu *vcpu, enum cpu_reg name, uint64_t value)
{
    cpu_set_reg(&vcpu->vmx.regs, name, value);
}

/* IA-32e mode has none, and an entry with one is refused (SDM 2, MOV to CR; SDM 3, 27.3.1.2). */
static bool tss_is_16_bit(void)
{
    return (vmread(VMCS_GUEST_TR_ACCESS_RIGHTS) & SEG_AR_TYPE) == TSS_BUSY_16;
}

static void flush(struct vcpu *vcpu, unsigned type)
{
    mmio_cache_clear_gva(&vcpu->mmio.cache);
    tlb_invvpid(&vcpu->vm->mmu, type, vcpu->vpid, GVA(0), INVVPID_GUEST);
}

void control_registers_setup(struct vcpu *vcpu)
{
    bool exits = vcpu->mmio.cache.mode == GVA_CACHE_EXITS;
    uint64_t cr4_fixed = vmx_cr4_must_be_1(&vmx.msrs) | ~cpuid_cr4_offered();

    vmwrite(VMCS_CR0_GUEST_HOST_MASK, CR0_OWNED | (exits ? CR0_TRANSLATION : 0));
    vmwrite(VMCS_CR4_GUEST_HOST_MASK, cr4_fixed | CR4_OWNED | CR4_SHOWN | (exits ? CR4_TRANSLATION : 0));
    if (exits)
        vmx_set_primary(PRIMARY_CR3_LOAD_EXITING | PRIMARY_INVLPG_EXITING, true);
}

/* PAE paging as cr0, cr4 and EFER.LMA say: the four PDPTEs come from memory now. False: #GP. */
static bool load_pdptes(struct vcpu *vcpu, uint64_t cr0, uint64_t cr3, uint64_t cr4)
{
    uint64_t reserved = BITS(2, 1) | BITS(8, 5) | BITS(63, vmx.maxphyaddr), pdptes[4];

    if (!(cr0 & CR0_PG) || !(cr4 & CR4_PAE) || reg(vcpu, REG_EFER) & EFER_LMA)
        return true;
    if (guest_read(&vcpu->vm->mmu, GPA(cr3 & BITS(31, 5)), pdptes, sizeof(pdptes), ACCESS_READ))
        return false;
    for (unsigned i = 0; i < ARRAY_SIZE(pdptes); i++)
        if (pdptes[i] & PDPTE_P && pdptes[i] & reserved)
            return false;
    for (unsigned i = 0; i < ARRAY_SIZE(pdptes); i++)
        set(vcpu, REG_PDPTE0 + i, pdptes[i]);
    return true;
}

static void set_lma(struct vcpu *vcpu, bool on)
{
    uint64_t efer = reg(vcpu, REG_EFER), controls = vmread(VMCS_ENTRY_CONTROLS);
    set(vcpu, REG_EFER, on ? efer | EFER_LMA : efer & ~EFER_LMA);
    vmwrite(VMCS_ENTRY_CONTROLS, on ? controls | ENTRY_IA32E_GUEST : controls & ~ENTRY_IA32E_GUEST);
}

/* False: #GP(0), and nothing has changed. */
static bool set_cr0(struct vcpu *vcpu, uint64_t value)
{
    uint64_t old = reg(vcpu, REG_CR0), changed, cr4 = reg(vcpu, REG_CR4),
             efer = reg(vcpu, REG_EFER);
    bool code64 = reg(vcpu, REG_SEG_AR + SEG_CS) & SEG_AR_L;

    if (value & ~0xffffffffull)
        return false;
    value = (value & CR0_DEFINED) | CR0_ET;
    changed = old ^ value;
    if ((value & CR0_PG && !(value & CR0_PE)) || (value & CR0_NW && !(value & CR0_CD)))
        return false;
    if (changed & CR0_PG && efer & EFER_LME) {
        if (code64 || (value & CR0_PG && !(cr4 & CR4_PAE)))
            return false;
        if (value & CR0_PG && tss_is_16_bit())
            return false;
        if (!(value & CR0_PG) && cr4 & CR4_PCIDE)
            return false;
        set_lma(vcpu, value & CR0_PG);
    }
    if (changed & CR0_PDPTE && !load_pdptes(vcpu, value, reg(vcpu, REG_CR3), cr4))
        return false;
    set(vcpu, REG_CR0, value);
    if (changed & CR0_PG)
        flush(vcpu, INVVPID_SINGLE);
    else if (changed & CR0_WP)
        mmio_cache_clear_gva(&vcpu->mmio.cache);
    return true;
}

static bool set_cr3(struct vcpu *vcpu, uint64_t value)
{
    uint64_t cr4 = reg(vcpu, REG_CR4);
    bool pcid = cr4 & CR4_PCIDE, no_flush = pcid && value & CR3_NO_FLUSH;

    if (pcid)
        value &= ~CR3_NO_FLUSH;
    if (reg(vcpu, REG_EFER) & EFER_LMA && value & BITS(63, vmx.maxphyaddr))
        return false;
    if (!load_pdptes(vcpu, reg(vcpu, REG_CR0), value, cr4))
        return false;
    set(vcpu, REG_CR3, value);
    /* The cache knows nothing of PCIDs: it forgets even where the TLB may keep (rule C2). */
    if (no_flush)
        mmio_cache_clear_gva(&vcpu->mmio.cache);
    else
        flush(vcpu, INVVPID_GLOBALS);
    return true;
}

static bool set_cr4(struct vcpu *vcpu, uint64_t value)
{
    uint64_t old = reg(vcpu, REG_CR4), changed = old ^ value, cr3 = reg(vcpu, REG_CR3);
    bool lma = reg(vcpu, REG_EFER) & EFER_LMA;

    if (value & ~cpuid_cr4_offered())
        return false;
    if (lma && !(value & CR4_PAE))
        return false;
    if (changed & value & CR4_PCIDE && (!lma || cr3 & PCID_MASK))
        return false;
    if (changed & CR4_PDPTE && !load_pdptes(vcpu, reg(vcpu, REG_CR0), cr3, value))
        return false;
    set(vcpu, REG_CR4, value);
    if (changed & CR4_SHOWN)
        cpuid_update(vcpu);
    if (changed & CR4_FLUSH || changed & old & CR4_PCIDE || changed & value & CR4_SMEP)
        flush(vcpu, INVVPID_SINGLE);
    else
        mmio_cache_clear_gva(&vcpu->mmio.cache);
    return true;
}

static bool mov_to(struct vcpu *vcpu, unsigned number, uint64_t value)
{
    bool long_mode = reg(vcpu, REG_EFER) & EFER_LMA && reg(vcpu, REG_SEG_AR + SEG_CS) & SEG_AR_L;
    if (!long_mode)
        value = (uint32_t)value;
    switch (number) {
    case 0:
        return set_cr0(vcpu, value);
    case 3:
        return set_cr3(vcpu, value);
    case 4:
        return set_cr4(vcpu, value);
    case 8: /* bits 7:4 of the task priority */
        if (value > 15)
            return false;
        lapic_write(&vcpu->lapic, LAPIC_TPR, (uint32_t)value << 4);
        return true;
    default:
        BUG_ON(true);
    }
}

void exit_cr_access(struct vcpu *vcpu)
{
    uint64_t qualification = vmx_exit_qualification(&vcpu->vmx.exit);
    unsigned gpr = (unsigned)field_get(qualification, CR_GPR);
    uint64_t cr0 = reg(vcpu, REG_CR0), lmsw = field_get(qualification, LMSW_SOURCE);
    bool done = true;

    switch ((enum cr_access_type)field_get(qualification, CR_TYPE)) {
    case CR_MOV_TO:
        done = mov_to(vcpu, (unsigned)field_get(qualification, CR_NUMBER),
                      cpu_gpr(&vcpu->vmx.regs, gpr));
        break;
    case CR_MOV_FROM: /* of CR8; CR3 is read without an exit */
        cpu_set_gpr(&vcpu->vmx.regs, gpr, lapic_read(&vcpu->lapic, LAPIC_TPR) >> 4);
        break;
    case CR_CLTS:
        done = set_cr0(vcpu, cr0 & ~CR0_TS);
        break;
    case CR_LMSW: /* can set PE, but not clear it */
        done = set_cr0(vcpu, (cr0 & ~(CR0_LMSW & ~CR0_PE)) | (lmsw & CR0_LMSW));
        break;
    }
    if (done)
        vmx_skip_instruction(&vcpu->vmx);
    else
        vmx_raise(&vcpu->vmx, VECTOR_GP, 0);
}

/* LMA follows CR0.PG and is not written. What LME decides is fixed while paging is on. */
bool control_set_efer(struct vcpu *vcpu, uint64_t value)
{
    uint64_t old = reg(vcpu, REG_EFER);
    if (value & ~(EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE))
        return false;
    if ((value ^ old) & EFER_LME && reg(vcpu, REG_CR0) & CR0_PG)
        return false;
    set(vcpu, REG_EFER, (value & ~EFER_LMA) | (old & EFER_LMA));
    return true;
}
