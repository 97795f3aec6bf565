/* SPDX-License-Identifier: MIT */
/*
 * SPTEs: what the MMU stores in EPT tables. The hardware's bits stand in ept/format.h; this is the
 * one table of the bits that the CPU ignores, and of the three words that are not translations:
 *
 *   NONPRESENT  nothing here. Every table starts full of it, every zap stores it (rule S7). Bit 63
 *               keeps the CPU from turning the violation into #VE, so 0 is never stored.
 *   FROZEN      being changed by someone else; hands off (rule W4).
 *   MMIO        no slot covers this frame. Bits 2:0 = 110b, write and execute without read, make
 *               the CPU exit with a misconfiguration; the slots' generation says whether it is
 *               still true. A VM whose guest takes #VE uses the value 0 instead (rule S12).
 *
 * Whether an SPTE translates is bit 11 and nothing else (rule S2). No position is spelled anywhere
 * but here and in ept/format.h.
 */
#pragma once

#include "ept/caps.h"
#include "ept/format.h"

/* ---- Bits of a present SPTE ------------------------------------------------------------------ */
#define SPTE_MMU_PRESENT EPT_SOFTWARE_LOW

#define SPTE_AD_TYPE        BITS(53, 52)
#define SPTE_AD_ENABLED     0ull    /* the CPU sets bits 8 and 9 */
#define SPTE_AD_DISABLED    BIT(52) /* nobody does; bit 8 is a software Accessed bit (rule S5) */
#define SPTE_AD_WRPROT_ONLY BIT(53) /* dirty logging by write protection (rule S6) */
#define SPTE_SAVED_SHIFT    54      /* access tracking keeps R and X here while they are clear */
#define SPTE_SAVED          (BIT(54) | BIT(56))
#define SPTE_HOST_WRITABLE  BIT(57) /* the slot allows writes; fixed while the SPTE is present */
#define SPTE_MMU_WRITABLE   BIT(58) /* W may be given back without asking */
#define SPTE_NX_SPLIT       BIT(59) /* a table: stands for a large page that was executed (N1) */
#define SPTE_SUPPRESS_VE    EPT_SUPPRESS_VE

/* ---- Words that are not present -------------------------------------------------------------- */
#define SPTE_NONPRESENT EPT_SUPPRESS_VE
#define SPTE_FROZEN     (EPT_SUPPRESS_VE | 0x5a0ull)

#define SPTE_MMIO_MASK  (EPT_SUPPRESS_VE | EPT_RWX)
#define SPTE_MMIO_VALUE (EPT_WRITE | EPT_EXECUTE) /* of a normal VM */
#define SPTE_MMIO_NEVER EPT_LARGE                 /* a "value" that no word has: caching is off */

#define SPTE_GENERATION_LOW  BITS(10, 3)
#define SPTE_GENERATION_HIGH BITS(62, 52)
#define SPTE_GENERATION_BITS 19
#define SPTE_GENERATION_MASK (BIT(SPTE_GENERATION_BITS) - 1)

/* The layout's promises (rule S1). */
#define SPTE_PRESENT_FIELDS(op)                                                                   \
    (SPTE_MMU_PRESENT op SPTE_AD_TYPE op SPTE_SAVED op SPTE_HOST_WRITABLE op SPTE_MMU_WRITABLE op \
         SPTE_NX_SPLIT op SPTE_SUPPRESS_VE)
_Static_assert(SPTE_PRESENT_FIELDS(|) == SPTE_PRESENT_FIELDS(+), "no two fields overlap");
_Static_assert(!(SPTE_PRESENT_FIELDS(|) & ~(EPT_SOFTWARE | EPT_SOFTWARE_LOW | EPT_SUPPRESS_VE)),
               "our bits are bits that the CPU leaves to us");
_Static_assert(SPTE_AD_ENABLED == 0, "an ordinary SPTE has no type bits (P12)");
_Static_assert((SPTE_AD_DISABLED | SPTE_AD_WRPROT_ONLY) == SPTE_AD_TYPE, "types fill their field");
_Static_assert(SPTE_SAVED == (EPT_READ | EPT_EXECUTE) << SPTE_SAVED_SHIFT, "R and X, not W (S5)");
_Static_assert(!(SPTE_MMU_PRESENT & (SPTE_FROZEN | SPTE_NONPRESENT | SPTE_GENERATION_LOW |
                                     SPTE_GENERATION_HIGH | SPTE_MMIO_MASK)),
               "bit 11 alone says present (P20)");
_Static_assert(!(SPTE_FROZEN & (EPT_RWX | EPT_ADDRESS)), "FROZEN translates nothing (P23)");
_Static_assert(SPTE_FROZEN != SPTE_NONPRESENT, "FROZEN is recognised by equality (P22)");
_Static_assert(!(SPTE_GENERATION_LOW & (EPT_RWX | EPT_ADDRESS)) &&
                   !(SPTE_GENERATION_HIGH & (EPT_ADDRESS | EPT_SUPPRESS_VE)) &&
                   !((SPTE_GENERATION_LOW | SPTE_GENERATION_HIGH) & SPTE_MMIO_MASK),
               "the generation leaves the value and the address alone");
_Static_assert((SPTE_GENERATION_LOW >> 3) + 1 == BIT(8) &&
                   (SPTE_GENERATION_HIGH >> 52) + 1 == BIT(SPTE_GENERATION_BITS - 8),
               "8 low and 11 high bits make 19");
_Static_assert((SPTE_MMIO_VALUE & SPTE_MMIO_MASK) == SPTE_MMIO_VALUE, "value within mask");
_Static_assert((SPTE_FROZEN & SPTE_MMIO_MASK) != SPTE_MMIO_VALUE &&
                   (SPTE_NONPRESENT & SPTE_MMIO_MASK) != SPTE_MMIO_VALUE &&
                   (SPTE_FROZEN & SPTE_MMIO_MASK) != 0 && (SPTE_NONPRESENT & SPTE_MMIO_MASK) != 0,
               "neither is an MMIO SPTE, in a VM of either kind (S12)");
_Static_assert(SPTE_MMIO_NEVER & ~SPTE_MMIO_MASK, "never: has a bit outside of the mask");

/* ---- What the boot decided, the same for all VMs --------------------------------------------- */
struct spte_format {
    bool mmio_caching;      /* what is done, not what was asked for (rule S10) */
    uint64_t mmio_value;    /* the seed of each VM's own value */
    uint64_t mmio_gfn_end;  /* frames from here on get no MMIO SPTE (rule S11) */
    uint64_t mmio_gpa_mask; /* GPA bits that an MMIO SPTE holds in place */
    uint64_t l1tf_mask;     /* address bits held at 1 on CPUs with L1TF, the GPA's 5 above (S9) */
    uint64_t leaf;          /* the constant part of a leaf that may be read and executed */
    uint64_t nonleaf;       /* the constant part of an entry that points to a table */
    struct ept_caps caps;

    /* By level: the leaf of a slot without attributes, but for its address; and the bits that tell such
     * a leaf, with their values. Where this CPU has no leaves, a pair that no word fits. */
    struct {
        uint64_t word, fixed, match;
    } default_leaf[EPT_LEVELS + 1];
};
extern struct spte_format spte_format;

/* Computes the format afresh, whatever it was before (rules P15, P16). `mmio_caching` and `ad` are
 * attributes; `l1tf_cache_bits` is 0 on CPUs without the flaw, else the width of the L1D's tags. */
void spte_setup(const struct ept_caps *caps, bool mmio_caching, bool ad, unsigned l1tf_cache_bits);

/* Takes rights from the default leaves above level 1. After spte_setup(). */
void spte_deny_large(uint64_t rights);

/* ---- Questions ------------------------------------------------------------------------------- */
static inline bool spte_is_present(uint64_t spte)
{
    return spte & SPTE_MMU_PRESENT;
}

/* `value` is the VM's own; it is SPTE_MMIO_NEVER while MMIO SPTEs are off. */
static inline bool spte_is_mmio(uint64_t spte, uint64_t value)
{
    return (spte & (SPTE_MMIO_MASK | SPTE_MMU_PRESENT)) == value;
}

/* Is this an MMIO SPTE whose generation alone changes? */
static inline bool spte_is_renewal(uint64_t old, uint64_t new, uint64_t value)
{
    return spte_is_mmio(old, value) &&
           !((old ^ new) & ~(SPTE_GENERATION_LOW | SPTE_GENERATION_HIGH));
}

static inline bool spte_is_leaf(uint64_t spte, unsigned level)
{
    return spte_is_present(spte) && (level == EPT_LEVEL_4K || spte & EPT_LARGE);
}

/* Above level 1: does it point to a table? One compare for what spte_is_nonleaf() asks of any. */
static inline bool spte_has_table(uint64_t spte)
{
    return (spte & (SPTE_MMU_PRESENT | EPT_LARGE)) == SPTE_MMU_PRESENT;
}

static inline bool spte_is_nonleaf(uint64_t spte, unsigned level)
{
    return level > EPT_LEVEL_4K && spte_has_table(spte);
}

static inline bool spte_ad_enabled(uint64_t spte)
{
    return (spte & SPTE_AD_TYPE) != SPTE_AD_DISABLED;
}

static inline bool spte_is_access_tracked(uint64_t spte)
{
    return spte_is_present(spte) && !spte_ad_enabled(spte) && !(spte & EPT_RWX);
}

/* Could the CPU deliver #VE for this entry? Never, in a VM that has none (rule S15). */
static inline bool spte_is_ve_possible(uint64_t spte)
{
    return !(spte & SPTE_SUPPRESS_VE) && (spte & EPT_RWX) != SPTE_MMIO_VALUE;
}

enum spte_class {
    SPTE_CLASS_NONPRESENT,
    SPTE_CLASS_FROZEN,
    SPTE_CLASS_MMIO,
    SPTE_CLASS_NONLEAF,
    SPTE_CLASS_LEAF,
    SPTE_CLASS_TRACKED, /* a leaf whose R and X are saved away */
    SPTE_CLASS_ALIEN,   /* nothing that the MMU stores */
};

/* Exactly one class for every word (rule S2). */
enum spte_class spte_classify(uint64_t spte, unsigned level, uint64_t mmio_value);

/* ---- Words ----------------------------------------------------------------------------------- */

/* A translation to `page`, which is aligned to the size of `level`. */
static inline uint64_t spte_leaf(hpa_t page, unsigned level, bool writable)
{
    uint64_t spte = spte_format.leaf | page.v;
    if (level > EPT_LEVEL_4K)
        spte |= EPT_LARGE;
    if (writable)
        spte |= EPT_WRITE | SPTE_HOST_WRITABLE | SPTE_MMU_WRITABLE;
    return spte;
}

/* The same, with the rights that a slot without attributes gives. For a level that has leaves. */
static inline uint64_t spte_default_leaf(hpa_t page, unsigned level)
{
    return spte_format.default_leaf[level].word | page.v;
}

/* Is it one of those: of this format, its address within MAXPHYADDR and aligned to the level, and
 * no bit more? A small one may lack X. */
static inline bool spte_is_default_leaf(uint64_t spte, unsigned level)
{
    return (spte & spte_format.default_leaf[level].fixed) == spte_format.default_leaf[level].match;
}

/* Was it one, before the CPU set A or D? */
static inline bool spte_was_default_leaf(uint64_t spte, unsigned level)
{
    const uint64_t ad = EPT_ACCESSED | EPT_DIRTY;
    return ((spte & spte_format.default_leaf[level].fixed) | ad) ==
           (spte_format.default_leaf[level].match | ad);
}

static inline uint64_t spte_nonleaf(hpa_t table)
{
    return spte_format.nonleaf | table.v;
}

static inline hpa_t spte_page(uint64_t spte)
{
    return HPA(spte & EPT_ADDRESS);
}

/* Golden value of rule S8: frame 0xfee00, generation 0x12345, value 110b: 0x12300000fee0022e. */
static inline uint64_t spte_mmio(uint64_t value, gfn_t gfn, uint64_t generation)
{
    uint64_t gpa = gfn_to_gpa(gfn).v;
    return value | gpa | spte_format.l1tf_mask | (gpa & spte_format.l1tf_mask) << 5 |
           field_put(generation, SPTE_GENERATION_LOW) |
           field_put(generation >> 8, SPTE_GENERATION_HIGH);
}

static inline uint64_t spte_mmio_generation(uint64_t spte)
{
    return field_get(spte, SPTE_GENERATION_LOW) | field_get(spte, SPTE_GENERATION_HIGH) << 8;
}

/* The bits restored from above are masked: daa07cbc9ae3 forgot that (rule S9). */
static inline gfn_t spte_mmio_gfn(uint64_t spte)
{
    return gpa_to_gfn(
        GPA((spte & spte_format.mmio_gpa_mask) | (spte >> 5 & spte_format.l1tf_mask)));
}

/* Access tracking, for leaves without hardware A/D only: takes R, W and X away and remembers R and
 * X; and back. What is tracked must exit, so it never converts to #VE. W is not
 * saved, its return is decided by MMU_WRITABLE (rule S5). */
uint64_t spte_track_access(uint64_t spte);
uint64_t spte_restore_access(uint64_t spte);
