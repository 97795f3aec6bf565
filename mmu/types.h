/* SPDX-License-Identifier: MIT */
/*
 * The state of one VM's MMU. It is public so that a VM can embed it; only mmu/ looks inside.
 */
#pragma once

#include "ept/format.h"
#include "lib/compiler.h"
#include "lib/cpu_local.h"
#include "lib/flush_reasons.h"
#include "lib/rwlock.h"
#include "lib/types.h"
#include "mmu/root.h"

/* ---- Slots ----------------------------------------------------------------------------------- */
#define MEMSLOTS_MAX      4160u   /* 4096 and the VM's own */
#define MEMSLOT_READONLY  BIT(3)  /* the guest may read and execute; writes are emulated */
#define MEMSLOT_LOG_DIRTY BIT(4)  /* written pages are logged; see mmu/dirty.h */
#define MEMSLOT_SHARED    BIT(5)  /* its pages start on the shared side */
#define MEMSLOT_PINNED    BIT(6)  /* keeps its host pages, and cannot be deleted or moved */
#define MEMSLOT_SIDED     BIT(30) /* its VM tells private from shared memory */
#define MEMSLOT_INVALID   BIT(31) /* is being deleted or moved: faults wait (rule P5) */

#define MEMSLOT_FLAGS    (MEMSLOT_READONLY | MEMSLOT_LOG_DIRTY | MEMSLOT_SHARED | MEMSLOT_PINNED)
#define MEMSLOT_FOR_LIFE ((uint32_t)(MEMSLOT_SHARED | MEMSLOT_PINNED | MEMSLOT_SIDED))
#define MEMSLOT_INERT    (MEMSLOT_SHARED | MEMSLOT_PINNED) /* no effect on SPTEs */
_Static_assert(!((MEMSLOT_FLAGS | MEMSLOT_SIDED | MEMSLOT_INVALID) & ROLE_RIGHTS),
               "a fault keeps slot flags and the rights that its role denies in one value");

/* Set in the generation while the slots are being updated; never part of an MMIO SPTE (rule F7). */
#define SLOT_UPDATE_IN_PROGRESS BIT(63)

#define BACKING_PAGES_ONLY UINT16_MAX /* no blocks, so that each page can be taken out */

/* The host pages behind a slot: a directory with an entry for each 2 MiB piece. Pieces are aligned
 * to 2 MiB of the guest-physical address at which the slot was created. Only the memory behind
 * `directory` ever changes, so all copies of this struct stay equal. */
struct backing {
    uint64_t *directory;
    uint64_t pages;
    uint32_t pieces;
    uint16_t phase;       /* offset of the slot's start in its first piece, in frames */
    uint16_t giant_phase; /* of the first piece in its GiB, in pieces; or BACKING_PAGES_ONLY */
};

struct memslot {
    gfn_t base;
    uint32_t id;
    uint32_t flags;
    struct backing backing;
    uint64_t *shared;  /* one bit per page, in a VM with sides (mmu/sides.h); else NULL */
    uint64_t *dirty;   /* one bit per page, with MEMSLOT_LOG_DIRTY; else NULL */
    uint16_t *tracked; /* per page, how often it is write-tracked; NULL: never (mmu/track.h) */
};
_Static_assert(sizeof(struct memslot) == 64, "a slot is found by a shift, in one cache line");

/* Blocks of 2 MiB and 1 GiB that are being cleared in pieces, each for one directory entry. An
 * entry has at most one such block, so they never exceed the memory promised to the VM. */
#define CLEARING_MAX 8u

struct clearing {
    struct spinlock lock;
    unsigned used; /* elements of `blocks` that hold a block */
    struct clearing_block {
        const uint64_t *place; /* the first directory entry it is for; NULL: element is free */
        hpa_t block;
        unsigned order;
        uint64_t qwords; /* cleared so far */
        bool busy;       /* a pCPU is clearing it */
    } blocks[CLEARING_MAX];
};

/* One copy of the set of slots, sorted by address. Never changed while it is published, except for
 * its generation. */
struct memslots {
    uint64_t generation;
    unsigned used;
    unsigned order; /* of the block that holds this struct */
    struct memslot slot[];
};

/* ---- The flush ledger ------------------------------------------------------------------------ */

enum invept_reason {
    INVEPT_DEBT,      /* a VM entry paid a debt: the tables had changed */
    INVEPT_ROOT_LOAD, /* the pCPU's last entry was with another EPTP (rule T5) */
    INVEPT_REASONS,
};

enum invvpid_reason {
    INVVPID_NEW,       /* the VPID got a new owner */
    INVVPID_GUEST,     /* emulation of a flush by the guest */
    INVVPID_STALE,     /* a cached translation was found to be stale (decision D6) */
    INVVPID_MIGRATION, /* the vCPU came from another pCPU */
    INVVPID_REASONS,
};

/* Why a flush is owed: the purpose of the change to the tables. */
enum debt_reason {
    DEBT_NONE, /* the change never owes a flush */
#define X(name, text) DEBT_##name,
    FLUSH_REASONS(X)
#undef X
        DEBT_REASONS,
};

/* The debts of one EPTP. Debt numbers are unique in the machine: the bits from TLB_DEBT_SHIFT up
 * identify the VM, the bits below count its debts. So one compare tells a pCPU both that its last
 * entry was with this EPTP and that it owes no flush for it. */
#define TLB_DEBT_SHIFT 40

struct tlb_ledger {
    uint64_t debt;                 /* number of the newest debt */
    uint64_t paid[CPUS_MAX];       /* per pCPU, the newest debt that it has paid */
    uint64_t cpus;                 /* bit mask of pCPUs that ever entered with this EPTP */
    uint64_t newest[DEBT_REASONS]; /* per reason, its newest debt */
    enum debt_reason guess;        /* reason of the last payment, tried first by the next one */
};

/* ---- The MMU --------------------------------------------------------------------------------- */
struct mmu_stats {
    uint64_t faults;            /* EPT violations handled */
    uint64_t fast_faults;       /* faults repaired without the lock */
    uint64_t slot_searches;     /* slot lookups by faults */
    uint64_t mmio_spte_created; /* MMIO SPTEs stored */
    uint64_t mmio_spte_hits;    /* MMIO accesses that found a current MMIO SPTE */
    uint64_t mmio_spte_stale;   /* MMIO accesses that found an outdated one */
    uint64_t pages[EPT_LEVELS]; /* leaves mapped now, by level */
    uint64_t tables;            /* table pages linked now, without the root */
    uint64_t full_zaps;         /* times that all roots were emptied */
    uint64_t spte_changes;      /* stores of SPTEs (rule P8) */
    uint64_t splits;            /* large leaves replaced by tables */
    uint64_t nx_splits;         /* tables that exist now because a large page was executed */
    uint64_t collapses;         /* tables replaced by large leaves */
    uint64_t remote_flushes;    /* waits for another pCPU to flush or leave the guest */
    uint64_t invept[INVEPT_REASONS];
    uint64_t invvpid[INVVPID_REASONS];
};

/* `converting` of struct mmu: the first of the frames that are being converted from this bit up,
 * their number below it; 0 while none are. One 64-bit value, so that it is read atomically. */
#define CONVERTING_SHIFT 10

#define TABLE_CACHE (EPT_LEVELS - 1) /* the most tables that one fault can need */

/* Each pCPU's own part of an MMU. Where one pCPU adds and another one subtracts, a counter of the
 * latter wraps; the sum over all pCPUs is right. */
struct mmu_cpu {
    struct mmu *mmu;
    hpa_t table_cache[TABLE_CACHE]; /* pages full of NONPRESENT, for the next fault */
    unsigned table_cache_used;
    unsigned slot_hint; /* index of the slot that the last fault found */
    struct mmu_stats stats;
} __attribute__((aligned(64)));

/* Pages and tables that have been unlinked, and are freed when no CPU can be reading them any more
 * (rule W6). */
#define RETIRED_MAX  256u
#define RETIRED_KEPT 16u /* up to this number is left for the next fault to free */
#define DOOMED_MAX   8u  /* deleted slots whose memory is not freed yet */

struct retired {
    hpa_t page;
    alias_t alias;  /* of a table with `logs`: the first alias that it covers */
    uint32_t level; /* of a table, which is freed with all that it links; 0: plain pages */
    uint32_t order; /* of plain pages */
    bool logs;      /* of a table: the dirty log takes its D bits, since its slots still exist */
    uint64_t epoch;
};

/* A walk over a range of frames in every root, standing at one entry; see mmu/tdp.h. */
struct tdp_iter {
    const struct mmu *mmu;
    const struct root *root, *end_root; /* equal: the walk is over */
    gfn_t first, end;
    gfn_t gfn;      /* the first frame within the range that the entry covers */
    unsigned level; /* the entry's level */
    uint64_t old;   /* the entry's value when the walk came to it */
    const uint64_t *sptep;
    const uint64_t *tables[EPT_LEVELS + 1];
};

/* The state of the recovery of large pages. Changed while `lock` is held exclusively. */
struct nx_recovery {
    uint64_t wanted;      /* tables that are still to be zapped; 0: no recovery is in progress */
    unsigned ends;        /* times that the end of all tables was reached since it began */
    struct tdp_iter iter; /* where the next piece continues */
};

/* The entries on the way to an address: spte[top] down to spte[lowest], the first one that is
 * misconfigured or points to no table. */
struct ept_path {
    unsigned top, lowest;
    uint64_t spte[EPT_LEVELS + 1];
};

/* The state of mmu_zap_some() or mmu_age_some() between two calls. */
struct mmu_walk {
    bool begun;
    uint64_t count;
    struct tdp_iter iter;
};

/* The state of freeing one retired table with all that it links. */
struct table_walk {
    unsigned top;   /* level of the retired table; 0: no table is being freed */
    unsigned level; /* of the table below it that is being freed now */
    bool logs;      /* as in struct retired */
    alias_t alias;  /* of the next entry */
    const uint64_t *tables[EPT_LEVELS + 1];
    unsigned index[EPT_LEVELS + 1];
};

/* A requested change of the set of slots; see mmu_change(). The fields that each kind uses: */
enum mmu_change_kind {
    CHANGE_ADD,      /* id, gpa, pages, flags */
    CHANGE_DELETE,   /* id */
    CHANGE_MOVE,     /* id, gpa */
    CHANGE_FLAGS,    /* id, flags */
    CHANGE_COUNTERS, /* gpa: its slot gets the counters of write tracking */
    CHANGE_REMAP,    /* gpa: the page or block behind it moves to other host memory */
    CHANGE_KINDS,
};

struct mmu_change {
    enum mmu_change_kind kind;
    uint32_t id, flags;
    gpa_t gpa;
    uint64_t pages;
    uint64_t number; /* 0: it has not begun */
};

/* Memory that is still to be filled with a value. */
struct filling {
    uint64_t *at, qwords, value;
};

/* The state of copying a page or block to other host memory. No CPU has a translation to it, and
 * faults retry until it is over. Writes of the hypervisor go to both copies meanwhile. Changed
 * while `lock` is held exclusively. */
struct copying {
    gfn_t first;
    unsigned order;
    bool held; /* `to` has been allocated, and nothing refers to it yet */
    hpa_t from, to;
    uint64_t copied; /* bytes; 0: writes need not go to `to` */
};

/* The change of the slots that is in progress, of which a VM has one at a time. It belongs to the
 * VM, not to the vCPU that requested it: any vCPU that needs the slots carries it on. */
struct changing {
    int (*step)(struct mmu *mmu);  /* the next step; NULL: no change is in progress */
    int (*after)(struct mmu *mmu); /* the step after `step`, where several kinds share `step` */
    uint64_t number;               /* of this change, or of the last one */
    struct mmu_change what;
    unsigned index;        /* of the slot */
    unsigned from;         /* the lowest index at which the two copies of the set differ */
    struct memslot slot;   /* the slot as it was, or as it will be */
    struct memslot owned;  /* memory that belongs to no slot yet */
    struct memslots *room; /* a larger copy, which replaces the one that nobody reads; or NULL */
    struct filling filling[3];
    struct copying copying;
    gfn_t mirror_next; /* where the removal of the slot from the mirror continues */
    unsigned zap_flags;
    enum debt_reason zap_reason;
    struct tdp_iter iter;
};

/* The mirror of a protected VM's external tables; see mmu/mirror.h. */
struct mirror {
    const uint64_t *table; /* the top table of the private root; NULL: the VM has no mirror */
    const struct mirror_ops *ops;
    struct secure_td *td;
    uint64_t clearing; /* address of a large page, a part of which is cleared already; or 0 */
    struct mirror_stats {
        uint64_t refused; /* operations that the secure side has refused */
        uint64_t stuck;   /* frames that are BLOCKED now because of that */
    } stats;
};

/* Locks, outermost first: `slots_lock` for changes of the slots and of what belongs to them;
 * `lock`, which faults take shared and zaps exclusively; `retired_lock`. A holder of `lock` may
 * wait for pCPUs to leave the guest, but never for an epoch. */
struct mmu {
    const uint64_t *composite; /* the top table, in which all roots meet (mmu/root.h) */
    unsigned root_level;       /* of the composite */
    uint64_t eptp;
    struct stolen stolen;
    struct root roots[ROOTS_MAX]; /* by the value of the stolen bits */
    unsigned root_count;
    struct mirror mirror;
    uint64_t mmio_value; /* of this VM's MMIO SPTEs, under SPTE_MMIO_MASK (S12) */
    struct tlb_ledger tlb;
    struct rwlock lock;

    struct spinlock slots_lock;
    unsigned slots_wish;    /* the pCPU that has found slots_lock taken, + 1; 0: none */
    struct memslots *slots; /* the copy of the set that readers use */
    struct memslots *spare; /* the other copy, which nobody reads */
    struct changing changing;
    struct clearing clearing;
    uint64_t slot_pages;            /* pages in all slots; bounds the number of tables */
    uint64_t counters_born;         /* slots that have ever got counters for write tracking */
    uint64_t invalidate_sequence;   /* odd while frames lose their host pages or rights */
    uint64_t converting;            /* frames that belong to neither side now; see above */
    uint32_t logging;               /* number of slots that log dirty pages */
    struct track_opening *openings; /* tracked frames that may be written now */
    bool access_tracked;            /* aging may have taken R, W and X from some SPTE */
    struct nx_recovery nx;

    struct spinlock retired_lock;
    unsigned retired_first, retired_used, retired_reserved;
    struct retired retired[RETIRED_MAX]; /* a ring, oldest first */
    bool tidying;                        /* a pCPU is freeing a piece, and owns `dying` */
    struct table_walk dying;
    unsigned doomed_used;
    struct backing doomed[DOOMED_MAX];

    bool destroying; /* the first piece of mmu_destroy_piece() has been done */

    struct mmu_cpu cpu[CPUS_MAX];
    uint64_t invept_for[CPUS_MAX][DEBT_REASONS]; /* INVEPTs that paid a debt for the reason */
};
