/* SPDX-License-Identifier: MIT */
#include "vm/control_rules.h"

#include "arch/x86/reg_bits.h"

#define CR0_DEFINED                                                                            \
    (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | \
     CR0_PG)
#define CR0_LMSW (CR0_PE | CR0_MP | CR0_EM | CR0_TS)

/* With PAE paging, a change of one of these bits reloads the PDPTEs (SDM 3, 4.4.1). */
#define CR0_PDPTE (CR0_CD | CR0_NW | CR0_PG)
#define CR4_PDPTE (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP)

/* A change of one of these bits flushes the TLB (SDM 3, 4.10.4.1). */
#define CR4_FLUSH (CR4_PAE | CR4_PGE | CR4_PSE)

#define PCID_MASK     BITS(11, 0)
#define CR3_NO_FLUSH  BIT(63)
#define CR3_PDPT      BITS(31, 5)
#define PDPTE_P       BIT(0)
#define TSS_BUSY_16   3 /* the type in TR's access rights */
#define PDPTE_IGNORED (BITS(4, 3) | BITS(11, 9))

static uint64_t rules_reg(const struct control_rules *r, enum cpu_reg name)
{
    return cpu_reg(r->cpu, name);
}

static void rules_set_reg(const struct control_rules *r, enum cpu_reg name, uint64_t value)
{
    cpu_set_reg(r->cpu, name, value);
}

/* Loads the four PDPTEs from memory if these values select PAE paging. Returns false, which is #GP,
 * if a present PDPTE has a reserved bit set; the registers then stay unchanged. Addresses without
 * memory read as all ones. */
static bool load_pdptes(const struct control_rules *r, uint64_t cr0, uint64_t cr3, uint64_t cr4)
{
    uint64_t usable = BITS(r->maxphyaddr - 1, 12) | PDPTE_IGNORED | PDPTE_P, pdptes[4];

    if (!(cr0 & CR0_PG) || !(cr4 & CR4_PAE) || rules_reg(r, REG_EFER) & EFER_LMA)
        return true;
    if (guest_read(r->mmu, GPA(cr3 & CR3_PDPT), pdptes, sizeof(pdptes), ACCESS_READ))
        return false;
    for (unsigned i = 0; i < ARRAY_SIZE(pdptes); i++)
        if (pdptes[i] & PDPTE_P && pdptes[i] & ~usable)
            return false;
    for (unsigned i = 0; i < ARRAY_SIZE(pdptes); i++)
        rules_set_reg(r, REG_PDPTE0 + i, pdptes[i]);
    return true;
}

/* A change of CR0.PG while EFER.LME is set enters or leaves IA-32e mode (SDM 3, 10.8.5). Returns
 * false if the change is #GP. */
static bool switch_long_mode(const struct control_rules *r, bool on)
{
    bool code64 = rules_reg(r, REG_SEG_AR + SEG_CS) & SEG_AR_L;
    uint64_t cr4 = rules_reg(r, REG_CR4), efer = rules_reg(r, REG_EFER);

    if (code64 || (on && !(cr4 & CR4_PAE)) || (!on && cr4 & CR4_PCIDE))
        return false;
    /* IA-32e mode has no 16-bit TSS, and a VM entry with one is refused (SDM 3, 27.3.1.2). */
    if (on && (r->tr_rights & SEG_AR_TYPE) == TSS_BUSY_16)
        return false;
    rules_set_reg(r, REG_EFER, on ? efer | EFER_LMA : efer & ~EFER_LMA);
    return true;
}

enum control_effect control_set_cr0(const struct control_rules *r, uint64_t value)
{
    uint64_t changed;

    if (value & BITS(63, 32))
        return CONTROL_FAULT;
    value = (value & CR0_DEFINED) | CR0_ET;
    changed = rules_reg(r, REG_CR0) ^ value;
    if ((value & CR0_PG && !(value & CR0_PE)) || (value & CR0_NW && !(value & CR0_CD)))
        return CONTROL_FAULT;
    if (changed & CR0_PG && rules_reg(r, REG_EFER) & EFER_LME &&
        !switch_long_mode(r, value & CR0_PG))
        return CONTROL_FAULT;
    if (changed & CR0_PDPTE && !load_pdptes(r, value, rules_reg(r, REG_CR3), rules_reg(r, REG_CR4)))
        return CONTROL_FAULT;
    rules_set_reg(r, REG_CR0, value);
    if (changed & CR0_PG)
        return CONTROL_FLUSH_GLOBALS;
    return changed & (CR0_PDPTE | CR0_WP) ? CONTROL_FORGET : CONTROL_DONE;
}

/* LMSW can set PE, but not clear it. */
enum control_effect control_lmsw(const struct control_rules *r, uint16_t word)
{
    uint64_t cr0 = rules_reg(r, REG_CR0);
    return control_set_cr0(r, (cr0 & ~(CR0_LMSW & ~CR0_PE)) | (word & CR0_LMSW));
}

enum control_effect control_set_cr3(const struct control_rules *r, uint64_t value)
{
    uint64_t cr4 = rules_reg(r, REG_CR4);
    bool pcid = cr4 & CR4_PCIDE, keep = pcid && value & CR3_NO_FLUSH;

    if (pcid)
        value &= ~CR3_NO_FLUSH;
    if (rules_reg(r, REG_EFER) & EFER_LMA && value & BITS(63, r->maxphyaddr))
        return CONTROL_FAULT;
    if (!load_pdptes(r, rules_reg(r, REG_CR0), value, cr4))
        return CONTROL_FAULT;
    rules_set_reg(r, REG_CR3, value);
    /* Cached walks are not tagged with a PCID, so they are dropped even where the TLB may keep its
     * entries (rule C2). */
    return keep ? CONTROL_FORGET : CONTROL_FLUSH;
}

enum control_effect control_set_cr4(const struct control_rules *r, uint64_t value)
{
    uint64_t old = rules_reg(r, REG_CR4), changed = old ^ value, cr3 = rules_reg(r, REG_CR3);
    bool lma = rules_reg(r, REG_EFER) & EFER_LMA;

    if (value & ~r->cr4_offered || (lma && !(value & CR4_PAE)))
        return CONTROL_FAULT;
    if (changed & value & CR4_PCIDE && (!lma || cr3 & PCID_MASK))
        return CONTROL_FAULT;
    if (changed & CR4_PDPTE && !load_pdptes(r, rules_reg(r, REG_CR0), cr3, value))
        return CONTROL_FAULT;
    rules_set_reg(r, REG_CR4, value);
    if (changed & CR4_FLUSH || changed & old & CR4_PCIDE || changed & value & CR4_SMEP)
        return CONTROL_FLUSH_GLOBALS;
    return CONTROL_FORGET;
}

enum control_effect control_set_efer(const struct control_rules *r, uint64_t value)
{
    uint64_t old = rules_reg(r, REG_EFER);

    if (value & ~(EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE) ||
        ((value ^ old) & EFER_LME && rules_reg(r, REG_CR0) & CR0_PG))
        return CONTROL_FAULT;
    rules_set_reg(r, REG_EFER, (value & ~EFER_LMA) | (old & EFER_LMA));
    return CONTROL_DONE;
}
