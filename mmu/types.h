/* SPDX-License-Identifier: MIT */
/*
 * The state of one VM's MMU. It is public so that a VM can embed it; only mmu/ looks inside.
 */
#pragma once

#include "lib/cpu_local.h"
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
#define MEMSLOT_LOG_DIRTY BIT(4)  /* pages that are written are noted; see mmu/dirty.h */
#define MEMSLOT_SHARED    BIT(5)  /* its pages begin their life on the shared side */
#define MEMSLOT_PINNED    BIT(6)  /* keeps its host pages, and can't be deleted or moved */
#define MEMSLOT_SIDED     BIT(30) /* of a VM that tells private from shared memory */
#define MEMSLOT_INVALID   BIT(31) /* being deleted or moved: faults wait (rule P5) */

#define MEMSLOT_FLAGS    (MEMSLOT_READONLY | MEMSLOT_LOG_DIRTY | MEMSLOT_SHARED | MEMSLOT_PINNED)
#define MEMSLOT_FOR_LIFE ((uint32_t)(MEMSLOT_SHARED | MEMSLOT_PINNED | MEMSLOT_SIDED))
#define MEMSLOT_NO_WISH  (MEMSLOT_SHARED | MEMSLOT_PINNED) /* all the same to a mapping */
_Static_assert(!((MEMSLOT_FLAGS | MEMSLOT_SIDED | MEMSLOT_INVALID) & ROLE_RIGHTS),
               "a fault has the rights that a role denies in the same word");

/* Set in a generation while an update is in progress; never part of an MMIO SPTE (rule F7). */
#define SLOT_UPDATE_IN_PROGRESS BIT(63)

/* The host pages behind a slot: a directory with a word for each 2 MiB piece. The pieces are
 * aligned to guest addresses of 2 MiB where the slot was created; `phase` is where in its piece the
 * slot begins, in frames. All that changes is behind `directory`, so copies of this are alike. */
struct backing {
    uint64_t *directory;
    uint64_t pages;
    uint32_t pieces;
    uint16_t phase;
    uint16_t giant_phase; /* in its GiB, in pieces */
};

struct memslot {
    gfn_t base;
    uint32_t id;
    uint32_t flags;
    struct backing backing;
    uint64_t *shared;  /* a bit for each page, in a VM with sides; see mmu/sides.h */
    uint64_t *dirty;   /* a bit for each page, with MEMSLOT_LOG_DIRTY */
    uint16_t *tracked; /* how often each page is write-tracked; NULL: none ever was (rule N10) */
};

/* Blocks of 2 MiB and 1 GiB that are being cleared, in pieces, for the place where each is to
 * stand. A place has one at most, so all of them are memory that the VM has been promised. */
#define CLEARING_MAX 8u

struct clearing {
    struct spinlock lock;
    unsigned used; /* of these, there is a block in so many */
    struct clearing_block {
        const uint64_t *place; /* its first directory word; NULL: there is none here */
        hpa_t block;
        unsigned order;
        uint64_t words; /* that are cleared */
        bool busy;      /* a pCPU is at it */
    } blocks[CLEARING_MAX];
};

/* One copy of the set of slots, sorted by address. Never changed once published. */
struct memslots {
    uint64_t generation;
    unsigned used;
    unsigned order; /* of its own pages */
    struct memslot slot[];
};

/* ---- The flush ledger ------------------------------------------------------------------------ */

enum invept_reason {
    INVEPT_DEBT,      /* a VM entry paid for changes of the tables */
    INVEPT_ROOT_LOAD, /* a pCPU entered with another EPTP than the last time (rule T5) */
    INVEPT_REASONS,
};

enum invvpid_reason {
    INVVPID_NEW,       /* a VPID got a new owner */
    INVVPID_GUEST,     /* emulation of a guest's own flush */
    INVVPID_STALE,     /* a translation was found stale (decision D6) */
    INVVPID_MIGRATION, /* the vCPU came from another pCPU */
    INVVPID_REASONS,
};

/* Why a flush is owed: what the change of the tables was made for. */
enum debt_reason {
    DEBT_NONE, /* a change that never owes one */
#define X(name, text) DEBT_##name,
    FLUSH_REASONS(X)
#undef X
        DEBT_REASONS,
};

/* The debts of one EPTP. A debt's number is unique in the machine: the VM's own number above
 * TLB_DEBT_SHIFT, a count below. So one compare tells a pCPU both that it loaded this EPTP last and
 * that it owes nothing for it. */
#define TLB_DEBT_SHIFT 40

struct tlb_ledger {
    uint64_t debt;                 /* the newest change that owes a flush */
    uint64_t paid[CPUS_MAX];       /* the newest debt that each pCPU has paid */
    uint64_t cpus;                 /* pCPUs that have ever entered with this EPTP */
    uint64_t newest[DEBT_REASONS]; /* the newest debt for each reason */
    enum debt_reason guess;        /* the reason that was found last */
};

/* ---- The MMU --------------------------------------------------------------------------------- */
struct mmu_stats {
    uint64_t faults;            /* EPT violations handled */
    uint64_t fast_faults;       /* of them, without the lock */
    uint64_t slot_searches;     /* made for faults */
    uint64_t mmio_spte_created; /* MMIO SPTEs stored */
    uint64_t mmio_spte_hits;    /* accesses answered by a current one */
    uint64_t mmio_spte_stale;   /* accesses that met an outdated one */
    uint64_t pages[EPT_LEVELS]; /* leaves mapped now, by level */
    uint64_t tables;            /* table pages linked now, without the root */
    uint64_t full_zaps;         /* the whole composite emptied */
    uint64_t spte_changes;      /* stores of SPTEs (rule P8) */
    uint64_t splits;            /* large leaves replaced by tables */
    uint64_t nx_splits;         /* tables now that an execution made out of a large page */
    uint64_t collapses;         /* tables replaced by large leaves */
    uint64_t remote_flushes;    /* that waited for another pCPU */
    uint64_t invept[INVEPT_REASONS];
    uint64_t invvpid[INVVPID_REASONS];
};

/* The first of the frames that are being converted, above their number; 0: none are. One word, so
 * that it is read at once. */
#define CONVERTING_SHIFT 10

#define TABLE_CACHE (EPT_LEVELS - 1) /* what one fault can need at most */

/* What each pCPU has of an MMU for itself. Counters wrap on one pCPU where another one takes away
 * what this one added; the sum over all is right. */
struct mmu_cpu {
    struct mmu *mmu;
    hpa_t table_cache[TABLE_CACHE]; /* filled with NONPRESENT, for the next fault */
    unsigned table_cache_used;
    unsigned slot_hint; /* the index of the slot that the last fault found */
    struct mmu_stats stats;
} __attribute__((aligned(64)));

/* What has been unlinked, and waits until no CPU can be reading it (rule W6). */
#define RETIRED_MAX  256u
#define RETIRED_KEPT 16u /* so many wait for the next fault */
#define DOOMED_MAX   8u  /* memory of deleted slots */

struct retired {
    hpa_t page;
    alias_t alias;  /* of a table: the first that it covers, or what that means */
    uint32_t level; /* of the table; what it links goes with it. 0: plain pages */
    uint32_t order; /* of those */
    bool logs;      /* a table: its D bits are for the dirty log, as its slots are still there */
    uint64_t epoch;
};

/* How far a range is walked in every root: before this entry. See mmu/tdp.h. */
struct tdp_iter {
    const struct mmu *mmu;
    const struct root *root, *end_root; /* the same: the walk is over */
    gfn_t first, end;
    gfn_t gfn;      /* the first frame of the range that this entry covers */
    unsigned level; /* of this entry */
    uint64_t old;   /* a snapshot of it */
    const uint64_t *sptep;
    const uint64_t *tables[EPT_LEVELS + 1];
};

/* The recovery of large pages: how far it is. Changed with `lock` owned. */
struct nx_recovery {
    uint64_t wanted;      /* so many tables are still to go; 0: nothing is in progress */
    unsigned ends;        /* how often the end of all tables was reached since it began */
    struct tdp_iter iter; /* where the next piece goes on */
};

/* How far a caller of mmu_zap_some() or mmu_age_some() is. */
struct mmu_walk {
    bool begun;
    uint64_t count;
    struct tdp_iter iter;
};

/* How far a table is freed, with all that it links. */
struct table_walk {
    unsigned top,
        level;     /* of the table, and of the one below it that is freed now; top 0: none is */
    bool logs;     /* as above */
    alias_t alias; /* of the next entry */
    const uint64_t *tables[EPT_LEVELS + 1];
    unsigned index[EPT_LEVELS + 1];
};

/* A change of the set of slots, as it is asked for; see mmu_change(). */
enum mmu_change_kind {
    CHANGE_ADD,      /* id, gpa, pages, flags */
    CHANGE_DELETE,   /* id */
    CHANGE_MOVE,     /* id, gpa */
    CHANGE_FLAGS,    /* id, flags */
    CHANGE_COUNTERS, /* gpa: its slot gets room to count who tracks which page */
    CHANGE_REMAP,    /* gpa: the page or block behind it gets another place in host memory */
    CHANGE_KINDS,
};

struct mmu_change {
    enum mmu_change_kind kind;
    uint32_t id, flags;
    gpa_t gpa;
    uint64_t pages;
    uint64_t number; /* 0: it has not begun */
};

/* Memory that is still to be filled, so many words of it. */
struct filling {
    uint64_t *at, words, value;
};

/* A page or block that is copied to another place in host memory, and how far. No CPU has a
 * translation to it, and faults are tried again until it is over. What the hypervisor itself writes
 * meanwhile goes into both. Changed with `lock` owned. */
struct copying {
    gfn_t first;
    unsigned order;
    bool held; /* `to` has been allocated, and nothing refers to it yet */
    hpa_t from, to;
    uint64_t copied; /* bytes; 0: nobody has to write twice */
};

/* The change that is in progress, and how far it is. Only one is at a time. It belongs to the VM
 * and not to the vCPU that asked for it: whoever needs it to be over does some of it. */
struct changing {
    int (*step)(struct mmu *mmu);  /* what comes next; NULL: none is in progress */
    int (*after)(struct mmu *mmu); /* this step, if it is one that several kinds have */
    uint64_t number;               /* of this one, or of the last */
    struct mmu_change what;
    unsigned index;        /* of the slot */
    unsigned from;         /* the first index at which the two copies of the set differ */
    struct memslot slot;   /* what it was, or is to be */
    struct memslot owned;  /* what hangs on no slot yet */
    struct memslots *room; /* larger, takes the place of the copy that nobody reads */
    struct filling filling[3];
    struct copying copying;
    unsigned zap_flags;
    enum debt_reason zap_reason;
    struct tdp_iter iter;
};

/* Locks, outermost first: `slots_lock` for changes of slots and what hangs on them; `lock`, shared
 * by faults and owned by zaps; `retired_lock`. Holders of `lock` may wait for pCPUs to leave the
 * guest, never for an epoch. */
struct mmu {
    const uint64_t *composite; /* where all walks begin, whatever their root */
    unsigned root_level;       /* of the composite */
    uint64_t eptp;
    struct stolen stolen;
    struct root roots[ROOTS_MAX]; /* by the value of the stolen bits */
    unsigned root_count;
    uint64_t mmio_value; /* this VM's own (rule S12) */
    struct tlb_ledger tlb;
    struct rwlock lock;

    struct spinlock slots_lock;
    unsigned slots_wish;    /* the pCPU that has found it taken, + 1; 0: none */
    struct memslots *slots; /* the current one of two copies */
    struct memslots *spare; /* the other, which nobody reads */
    struct changing changing;
    struct clearing clearing;
    uint64_t slot_pages;            /* in all slots, bounds the tables */
    uint64_t invalidate_sequence;   /* odd while guest pages lose their place */
    uint64_t converting;            /* frames that neither side has now */
    uint32_t logging;               /* slots that log dirty pages */
    struct track_opening *openings; /* tracked frames that may be written now */
    bool access_tracked;            /* some SPTE may have lost its access bits to aging */
    struct nx_recovery nx;

    struct spinlock retired_lock;
    unsigned retired_first, retired_used, retired_reserved;
    struct retired retired[RETIRED_MAX]; /* a ring, oldest first */
    bool tidying;                        /* a pCPU frees some of this, and has `dying` */
    struct table_walk dying;
    unsigned doomed_used;
    struct backing doomed[DOOMED_MAX];

    bool destroying; /* the first piece of mmu_destroy_piece() has been done */

    struct mmu_cpu cpu[CPUS_MAX];
    uint64_t invept_for[CPUS_MAX][DEBT_REASONS]; /* each pCPU's that paid debts for this reason */
};
