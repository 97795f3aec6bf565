/* SPDX-License-Identifier: MIT */
/*
 * SPTEs: the entries that the MMU stores in EPT tables. The bits that the CPU interprets are in
 * ept/format.h. This is the one table of the bits that the CPU ignores, and of the three kinds of
 * entry that translate nothing:
 *
 *   NONPRESENT  empty. Every new table is full of it, and every zap stores it (rule S7). Bit 63
 *               keeps the CPU from converting the violation to #VE, so 0 is never stored here.
 *   FROZEN      another CPU is changing the entry; nobody else may store into it (rule W4).
 *   MMIO        no slot covers the frame. Bits 2:0 are 110b, write and execute without read, so
 *               the CPU exits with a misconfiguration. The generation of the slots in the entry
 *               tells whether it is still valid. A VM whose guest takes #VE uses the value 0
 *               instead of 110b (rule S12).
 *
 * Bit 11 alone decides whether an SPTE is present (rule S2). No bit position is written out
 * anywhere but here and in ept/format.h.
 */
#pragma once

#include "ept/caps.h"
#include "ept/format.h"

/* ---- Bits of a present SPTE ------------------------------------------------------------------ */
#define SPTE_MMU_PRESENT EPT_SOFTWARE_LOW

#define SPTE_AD_TYPE        BITS(53, 52)
#define SPTE_AD_ENABLED     0ull    /* the CPU sets bits 8 and 9 */
#define SPTE_AD_DISABLED    BIT(52) /* it sets neither; bit 8 is Accessed by software (S5) */
#define SPTE_AD_WRPROT_ONLY BIT(53) /* dirty logging by write protection (rule S6) */
#define SPTE_SAVED_SHIFT    54      /* access tracking saves R and X here while they are clear */
#define SPTE_SAVED          (BIT(54) | BIT(56))
#define SPTE_HOST_WRITABLE  BIT(57) /* the slot allows writes; constant while the SPTE is present */
#define SPTE_MMU_WRITABLE   BIT(58) /* a fast fault may set W */
#define SPTE_NX_SPLIT       BIT(59) /* a table: replaces a large page that was executed (N1) */
#define SPTE_SUPPRESS_VE    EPT_SUPPRESS_VE

/* ---- Entries that are not present ------------------------------------------------------------ */
#define SPTE_NONPRESENT EPT_SUPPRESS_VE
#define SPTE_FROZEN     (EPT_SUPPRESS_VE | 0x5a0ull)

#define SPTE_MMIO_MASK  (EPT_SUPPRESS_VE | EPT_RWX)
#define SPTE_MMIO_VALUE (EPT_WRITE | EPT_EXECUTE) /* of a normal VM */
#define SPTE_MMIO_NEVER EPT_LARGE                 /* matches no entry: caching is off */

#define SPTE_GENERATION_LOW  BITS(10, 3)
#define SPTE_GENERATION_HIGH BITS(62, 52)
#define SPTE_GENERATION_BITS 19
#define SPTE_GENERATION_MASK (BIT(SPTE_GENERATION_BITS) - 1)

/* The invariants of the layout (rule S1). */
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

/* ---- The format, which is decided at boot and common to all VMs ------------------------------ */
struct spte_format {
    bool mmio_caching;      /* in force, which may be less than was requested (rule S10) */
    uint64_t mmio_value;    /* the initial MMIO value of each VM */
    uint64_t mmio_gfn_end;  /* frames from here on get no MMIO SPTE (rule S11) */
    uint64_t mmio_gpa_mask; /* GPA bits that an MMIO SPTE stores at their own position */
    uint64_t l1tf_mask;     /* on CPUs with L1TF: bits that are 1; the GPA's are 5 above (S9) */
    uint64_t leaf;          /* constant bits of a leaf that may be read and executed */
    uint64_t nonleaf;       /* constant bits of an entry that points to a table */
    struct ept_caps caps;

    /* By level: the leaf of a slot without attributes, except for its address; the bits by which
     * such a leaf is recognised, and their values. Where this CPU has no leaves, no entry matches.
     */
    struct {
        uint64_t value, fixed, match;
    } default_leaf[EPT_LEVELS + 1];
};
extern struct spte_format spte_format;

/* Computes the format anew, regardless of what it was before (rules P15, P16). `mmio_caching` and
 * `ad` are requests; `l1tf_cache_bits` is the width of the L1D's tags on CPUs with L1TF, else 0. */
void spte_setup(const struct ept_caps *caps, bool mmio_caching, bool ad, unsigned l1tf_cache_bits);

/* Removes rights from the default leaves above level 1. Called after spte_setup(). */
void spte_deny_large(uint64_t rights);

/* ---- Predicates ------------------------------------------------------------------------------ */
static inline bool spte_is_present(uint64_t spte)
{
    return spte & SPTE_MMU_PRESENT;
}

/* `value` is the MMIO value of the VM: SPTE_MMIO_NEVER while MMIO caching is off. */
static inline bool spte_is_mmio(uint64_t spte, uint64_t value)
{
    return (spte & (SPTE_MMIO_MASK | SPTE_MMU_PRESENT)) == value;
}

/* Is `old` an MMIO SPTE, and does `new` differ from it in the generation only? */
static inline bool spte_is_renewal(uint64_t old, uint64_t new, uint64_t value)
{
    return spte_is_mmio(old, value) &&
           !((old ^ new) & ~(SPTE_GENERATION_LOW | SPTE_GENERATION_HIGH));
}

static inline bool spte_is_leaf(uint64_t spte, unsigned level)
{
    return spte_is_present(spte) && (level == EPT_LEVEL_4K || spte & EPT_LARGE);
}

/* spte_is_nonleaf() in one compare, for an entry above level 1. */
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

/* Could the CPU deliver #VE for an access to this entry? Never so in a VM without #VE (rule S15).
 */
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
    SPTE_CLASS_TRACKED, /* a leaf whose R and X are saved in SPTE_SAVED */
    SPTE_CLASS_ALIEN,   /* never stored by the MMU */
};

/* Every 64-bit value has exactly one class (rule S2). */
enum spte_class spte_classify(uint64_t spte, unsigned level, uint64_t mmio_value);

/* ---- Constructors ---------------------------------------------------------------------------- */

/* A leaf that maps `page`, which is aligned to the page size of `level`. */
static inline uint64_t spte_leaf(hpa_t page, unsigned level, bool writable)
{
    uint64_t spte = spte_format.leaf | page.v;
    if (level > EPT_LEVEL_4K)
        spte |= EPT_LARGE;
    if (writable)
        spte |= EPT_WRITE | SPTE_HOST_WRITABLE | SPTE_MMU_WRITABLE;
    return spte;
}

/* The leaf of a slot without attributes. For a level that has leaves on this CPU. */
static inline uint64_t spte_default_leaf(hpa_t page, unsigned level)
{
    return spte_format.default_leaf[level].value | page.v;
}

/* Is it a default leaf: the constant bits as the format has them, and an address that is aligned to
 * the level and below MAXPHYADDR? A leaf of level 1 may lack X. */
static inline bool spte_is_default_leaf(uint64_t spte, unsigned level)
{
    return (spte & spte_format.default_leaf[level].fixed) == spte_format.default_leaf[level].match;
}

/* Is it a default leaf but for A and D, which the CPU may have set? */
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

/* Example (rule S8): frame 0xfee00, generation 0x12345 and value 110b give 0x12300000fee0022e. */
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

/* The bits that are moved down must be masked; KVM's commit daa07cbc9ae3 did not (rule S9). */
static inline gfn_t spte_mmio_gfn(uint64_t spte)
{
    return gpa_to_gfn(
        GPA((spte & spte_format.mmio_gpa_mask) | (spte >> 5 & spte_format.l1tf_mask)));
}

/* Access tracking, for leaves without hardware A/D bits: spte_track_access() clears R, W and X and
 * saves R and X, spte_restore_access() restores them. An access to a tracked leaf must exit, so the
 * leaf never converts to #VE. W is not saved: MMU_WRITABLE tells whether it may be set again (rule
 * S5). */
uint64_t spte_track_access(uint64_t spte);
uint64_t spte_restore_access(uint64_t spte);
