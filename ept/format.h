/*
 * The words of EPT as the CPU reads them (SDM 3, 29.3.2 and 29.3.3): table entries and the EPTP.
 *
 * A walk has four levels: 4 (one entry covers 512 GiB), 3 (1 GiB), 2 (2 MiB) and 1 (4 KiB). At
 * levels 3 and 2 bit 7 makes the entry a leaf; level 1 is always one. An entry whose bits 2:0 are
 * clear is not present, and the CPU ignores all of its bits but 63. Nothing here knows of VMs.
 */
#pragma once

#include "lib/bits.h"
#include "lib/types.h"

/* ---- An entry -------------------------------------------------------------------------------- */
#define EPT_READ         BIT(0)
#define EPT_WRITE        BIT(1)
#define EPT_EXECUTE      BIT(2)
#define EPT_MEMTYPE      BITS(5, 3) /* leaf only; must be 0 above */
#define EPT_IPAT         BIT(6)     /* leaf only: the guest's PAT does not count */
#define EPT_LARGE        BIT(7)     /* levels 3 and 2: a leaf */
#define EPT_ACCESSED     BIT(8)     /* set by the CPU if EPTP_AD */
#define EPT_DIRTY        BIT(9)     /* the same, leaf only */
#define EPT_EXECUTE_USER BIT(10)    /* only with mode-based execute control */
#define EPT_SOFTWARE_LOW BIT(11)    /* the one low bit that no CPU reads */
#define EPT_ADDRESS      BITS(51, 12)
#define EPT_SOFTWARE     BITS(62, 52) /* ignored unless SPP, VGW, PW or SSS are enabled */
#define EPT_SUPPRESS_VE  BIT(63)      /* a violation here exits, even with EPT-violation #VE */

#define EPT_RWX (EPT_READ | EPT_WRITE | EPT_EXECUTE)

/* The fields of an entry fill the word, and no two overlap: both sums agree with all ones. */
#define EPT_FIELDS(op)                                                                            \
    (EPT_READ op EPT_WRITE op EPT_EXECUTE op EPT_MEMTYPE op EPT_IPAT op EPT_LARGE op EPT_ACCESSED \
         op EPT_DIRTY op EPT_EXECUTE_USER op EPT_SOFTWARE_LOW op EPT_ADDRESS op EPT_SOFTWARE op   \
             EPT_SUPPRESS_VE)
_Static_assert(EPT_FIELDS(|) == ~0ull, "every bit of an EPT entry has a name");
_Static_assert(EPT_FIELDS(^) == ~0ull && EPT_FIELDS(+) == ~0ull, "and only one");

/* ---- EPTP (SDM 3, 25.6.11) ------------------------------------------------------------------- */
#define EPTP_MEMTYPE BITS(2, 0)
#define EPTP_WALK    BITS(5, 3) /* levels minus one */
#define EPTP_AD      BIT(6)
#define EPTP_SSS     BIT(7) /* supervisor shadow-stack control */
#define EPTP_ZERO    BITS(11, 8)
#define EPTP_ADDRESS BITS(51, 12) /* alone tags cached translations (rule T4) */
#define EPTP_ZERO_HI BITS(63, 52)

#define EPTP_FIELDS(op) \
    (EPTP_MEMTYPE op EPTP_WALK op EPTP_AD op EPTP_SSS op EPTP_ZERO op EPTP_ADDRESS op EPTP_ZERO_HI)
_Static_assert(EPTP_FIELDS(|) == ~0ull && EPTP_FIELDS(+) == ~0ull, "an EPTP's fields tile it");

/* ---- Memory types (SDM 3, table 12-2); 2, 3 and 7 are reserved ------------------------------- */
#define MEMTYPE_UC 0ull
#define MEMTYPE_WC 1ull
#define MEMTYPE_WT 4ull
#define MEMTYPE_WP 5ull
#define MEMTYPE_WB 6ull

#define MEMTYPE_RESERVED (BIT(2) | BIT(3) | BIT(7)) /* a bit for each reserved type */

/* ---- Levels ---------------------------------------------------------------------------------- */
#define EPT_LEVEL_4K   1u
#define EPT_LEVEL_2M   2u
#define EPT_LEVEL_1G   3u
#define EPT_LEVEL_512G 4u
#define EPT_LEVELS     4u
#define EPT_ENTRIES    512u

#define EPT_GPA_BITS 48u /* what four levels can translate */

/* The index that `alias` selects in a table of `level`. */
static inline unsigned ept_index(alias_t alias, unsigned level)
{
    return (unsigned)(alias.v >> (9 * (level - 1))) & (EPT_ENTRIES - 1);
}

/* How many 4 KiB frames one entry of `level` covers. */
static inline uint64_t ept_frames(unsigned level)
{
    return 1ull << (9 * (level - 1));
}

/* The first frame that the entry of `level` covers that `gfn` lies in. */
static inline gfn_t ept_first_frame(gfn_t gfn, unsigned level)
{
    return GFN(align_down(gfn.v, ept_frames(level)));
}
