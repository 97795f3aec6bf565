/* SPDX-License-Identifier: MIT */
/*
 * The formats of EPT entries and of the EPTP as the CPU reads them (SDM 3, 29.3.2 and 29.3.3).
 *
 * A walk has four levels: 4 (one entry covers 512 GiB), 3 (1 GiB), 2 (2 MiB) and 1 (4 KiB). At
 * levels 3 and 2, bit 7 makes an entry a leaf; an entry of level 1 is always a leaf. An entry whose
 * bits 2:0 are clear is not present, and the CPU ignores all of its bits except bit 63. This file
 * knows nothing of VMs.
 */
#pragma once

#include "lib/bits.h"
#include "lib/types.h"

/* ---- An entry -------------------------------------------------------------------------------- */
#define EPT_READ         BIT(0)
#define EPT_WRITE        BIT(1)
#define EPT_EXECUTE      BIT(2)
#define EPT_MEMTYPE      BITS(5, 3) /* leaf only; must be 0 in an entry that points to a table */
#define EPT_IPAT         BIT(6)     /* leaf only: the guest's PAT is ignored */
#define EPT_LARGE        BIT(7)     /* at levels 3 and 2: the entry is a leaf */
#define EPT_ACCESSED     BIT(8)     /* set by the CPU if EPTP_AD is set */
#define EPT_DIRTY        BIT(9)     /* leaf only; set by the CPU if EPTP_AD is set */
#define EPT_EXECUTE_USER BIT(10)    /* only with mode-based execute control */
#define EPT_SOFTWARE_LOW BIT(11)    /* the only low bit that every CPU ignores */
#define EPT_ADDRESS      BITS(51, 12)
#define EPT_SOFTWARE     BITS(62, 52) /* ignored unless SPP, VGW, PW or SSS is enabled */
#define EPT_SUPPRESS_VE  BIT(63)      /* an EPT violation exits even with EPT-violation #VE */

#define EPT_RWX (EPT_READ | EPT_WRITE | EPT_EXECUTE)

/* The fields of an entry cover its 64 bits, and no two overlap: their union, exclusive-or and sum
 * are all ones. */
#define EPT_FIELDS(op)                                                                            \
    (EPT_READ op EPT_WRITE op EPT_EXECUTE op EPT_MEMTYPE op EPT_IPAT op EPT_LARGE op EPT_ACCESSED \
         op EPT_DIRTY op EPT_EXECUTE_USER op EPT_SOFTWARE_LOW op EPT_ADDRESS op EPT_SOFTWARE op   \
             EPT_SUPPRESS_VE)
_Static_assert(EPT_FIELDS(|) == ~0ull, "every bit of an EPT entry has a name");
_Static_assert(EPT_FIELDS(^) == ~0ull && EPT_FIELDS(+) == ~0ull, "no bit has two names");

/* ---- EPTP (SDM 3, 25.6.11) ------------------------------------------------------------------- */
#define EPTP_MEMTYPE BITS(2, 0)
#define EPTP_WALK    BITS(5, 3) /* number of levels minus 1 */
#define EPTP_AD      BIT(6)
#define EPTP_SSS     BIT(7) /* supervisor shadow-stack control */
#define EPTP_ZERO    BITS(11, 8)
#define EPTP_ADDRESS BITS(51, 12) /* the only part that tags cached translations (rule T4) */
#define EPTP_ZERO_HI BITS(63, 52)

#define EPTP_FIELDS(op) \
    (EPTP_MEMTYPE op EPTP_WALK op EPTP_AD op EPTP_SSS op EPTP_ZERO op EPTP_ADDRESS op EPTP_ZERO_HI)
_Static_assert(EPTP_FIELDS(|) == ~0ull && EPTP_FIELDS(+) == ~0ull,
               "an EPTP's fields cover it, without overlap");

/* ---- Memory types (SDM 3, table 12-2); 2, 3 and 7 are reserved ------------------------------- */
#define MEMTYPE_UC 0ull
#define MEMTYPE_WC 1ull
#define MEMTYPE_WT 4ull
#define MEMTYPE_WP 5ull
#define MEMTYPE_WB 6ull

#define MEMTYPE_RESERVED (BIT(2) | BIT(3) | BIT(7)) /* bit mask of the reserved types */

/* ---- Levels ---------------------------------------------------------------------------------- */
#define EPT_LEVEL_4K   1u
#define EPT_LEVEL_2M   2u
#define EPT_LEVEL_1G   3u
#define EPT_LEVEL_512G 4u
#define EPT_LEVELS     4u
#define EPT_ENTRIES    512u

#define EPT_GPA_BITS 48u /* width of the addresses that four levels translate */

/* The index of the entry for `alias` in a table of `level`. */
static inline unsigned ept_index(alias_t alias, unsigned level)
{
    return (unsigned)(alias.v >> (9 * (level - 1))) & (EPT_ENTRIES - 1);
}

/* The number of 4 KiB frames that one entry of `level` covers. */
static inline uint64_t ept_frames(unsigned level)
{
    return 1ull << (9 * (level - 1));
}

/* The first frame of the range that the entry for `gfn` covers at `level`. */
static inline gfn_t ept_first_frame(gfn_t gfn, unsigned level)
{
    return GFN(align_down(gfn.v, ept_frames(level)));
}
