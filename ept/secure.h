/* SPDX-License-Identifier: MIT */
/*
 * The secure side: what the TDX module is for the memory of protected VMs (decisions D5 and D23).
 *
 * A TD's private memory is translated by *external tables*, which belong to the secure side alone.
 * The hypervisor asks for each change by one of the functions below, which trusts nothing that it
 * is told. It looks at the tables and at the map of page owners (ept/secure_frames.h), and refuses
 * with a status of the TDX module (ept/tdx_status.h) what the module refuses. A call that is
 * refused has changed nothing, except that the contents of a FREE page that it was given may be
 * lost. In this way a mistake in mmu/, whose mirror is the other half, is seen at once, and cannot
 * give one page to two owners or show a page's contents to anybody else.
 *
 * A page that enters a TD is cleared first. One that leaves is removed in three steps: *block*
 * makes its entry translate nothing, *track* begins a new epoch of the TD, and *remove* is refused
 * until no CPU can have the old translation. Then the page is scrubbed, and only then it is FREE.
 *
 * It differs from the module in these: a page is cleared when it is added, not when it is accepted,
 * so that ACCEPT takes no longer for a large page; tracking is needed before the TD is finalised,
 * too; what is blocked can only be removed or split; and there are no leaves of 1 GiB.
 *
 * The functions take the TD's lock, so they may be called by several CPUs at once; the caller is
 * outside of the guest. Levels are those of ept/format.h. The file knows nothing of mmu/, of VMs or
 * of VMX; the hosted tests compile it as it is.
 */
#pragma once

#include "ept/secure_frames.h"
#include "lib/spinlock.h"

#include <stddef.h>

/* The calls of the hypervisor, with their names. */
#define SECURE_CALLS(X)           \
    X(TABLE_ADD, "table_add")     \
    X(PAGE_ADD, "page_add")       \
    X(PAGE_AUG, "page_aug")       \
    X(BLOCK, "range_block")       \
    X(TRACK, "track")             \
    X(PAGE_REMOVE, "page_remove") \
    X(DEMOTE, "page_demote")      \
    X(TABLE_REMOVE, "table_remove")

enum secure_call {
#define X(name, text) SECURE_CALL_##name,
    SECURE_CALLS(X)
#undef X
        SECURE_CALL_COUNT,
};

/* A call that was refused with a status that is not TDX_*_BUSY or the like. */
struct secure_refusal {
    enum secure_call call;
    unsigned level;
    gfn_t gfn;
    hpa_t page;              /* the page that was given, or that the entry points to */
    enum secure_state state; /* of the entry that was found */
    uint64_t status;
};

/* What the secure side needs of the machine. `context` is the TD's. */
struct secure_host {
    /* The frame's contents. The pointer is valid until this CPU's next call. */
    void *(*window)(void *context, hpa_t frame);

    /* Begins an epoch of the CPUs and returns its number. It is over when each CPU that was in the
     * TD has left it or flushed its TLB since, and none enters without having flushed. Full
     * barriers on both sides. `over` may be asked about the newest epoch only. */
    uint64_t (*epoch_begin)(void *context);
    bool (*epoch_over)(void *context, uint64_t epoch);

    /* A page of the initial image: its contents, as they are in the TD's memory now. */
    void (*measure)(void *context, gfn_t gfn, const void *content);

    /* The hypervisor has asked for something that is never right. NULL: nobody wants to know. */
    void (*refused)(void *context, const struct secure_refusal *refusal);
};

enum secure_life {
    SECURE_BUILDING,  /* the initial image is being added */
    SECURE_FINALISED, /* the guest may run */
    SECURE_STOPPED,   /* the guest never runs again, and its pages are taken back */
};

/* A page that was found MAPPED, as long as no entry has lost rights since: what a TDCALL reads, the
 * instruction and the tables that lead to it, is mostly what the last one has read. */
#define SECURE_FOUND 32u
struct secure_found {
    uint64_t gfn, losses; /* `losses` is 0 if nothing was found */
    hpa_t page;
};

struct secure_td {
    const struct secure_host *host;
    void *context;
    struct secure_map *map;
    hpa_t root;          /* the top external table */
    unsigned root_level; /* of its entries */
    uint64_t gfn_end;    /* private guest frames are below */
    bool pending_ve;     /* an access to a PENDING page becomes #VE; else it exits */
    struct spinlock lock;
    enum secure_life life;
    struct secure_found found[SECURE_FOUND]; /* by the low bits of the guest frame */
    uint64_t losses;                         /* 1, and 1 for each entry that has lost rights */
    uint64_t epoch;                          /* number of times that track has succeeded */
    uint64_t newest; /* the epoch of the CPUs that the last track has begun */
    uint64_t owned;  /* frames of which the TD is the owner */
};

/* ---- The life of a TD ------------------------------------------------------------------------ */

/* Makes a TD, of which the caller has set all members above `lock`; the others are 0. Its root is
 * taken from the pool. `gfn_end` is a multiple of what an entry of the root covers, and the root
 * has entries up to there; else TDX_OPERAND_INVALID. Other refusals: secure_claim(). A TD that is
 * refused is like one that has been stopped and has no page. */
uint64_t secure_td_create(struct secure_td *td) MUST_CHECK;

/* From now on no page can be added, but guest memory can be. TDX_OP_STATE_INCORRECT: it was called
 * before. */
uint64_t secure_td_finalise(struct secure_td *td) MUST_CHECK;

/* The guest does not run any more. From now on every call but secure_page_reclaim() is refused with
 * TDX_LIFECYCLE_STATE_INCORRECT. */
uint64_t secure_td_stop(struct secure_td *td) MUST_CHECK;

/* Scrubs a page or table of a stopped TD, and makes it FREE. TDX_LIFECYCLE_STATE_INCORRECT: the TD
 * has not been stopped. TDX_FLUSHVP_NOT_DONE: a CPU may still be in its guest. TDX_OPERAND_BUSY:
 * another CPU is returning it. TDX_PAGE_METADATA_INCORRECT: it is no page of the TD. */
uint64_t secure_page_reclaim(struct secure_td *td, hpa_t page) MUST_CHECK;

/* Can the struct be freed: has the TD no page any more? */
static inline bool secure_td_is_gone(const struct secure_td *td)
{
    return !__atomic_load_n(&td->owned, __ATOMIC_ACQUIRE);
}

/* ---- Changes --------------------------------------------------------------------------------- *
 * All of these return TDX_OPERAND_INVALID for a level that they don't have, and for a guest frame
 * that is not aligned to the level or not below `gfn_end`; TDX_EPT_WALK_FAILED, if no table leads
 * to the entry; and TDX_EPT_ENTRY_STATE_INCORRECT for an entry in another state than they need.
 * Those which are given a page refuse it as secure_claim() does. */

/* Link: makes the empty entry at `level` (2M or above) point to an empty table. */
uint64_t secure_table_add(struct secure_td *td, gfn_t gfn, unsigned level, hpa_t table) MUST_CHECK;

/* Adds a page of 4 KiB to the initial image: copies `source`, and has the copy measured. MAPPED at
 * once. TDX_OP_STATE_INCORRECT: the TD is finalised. */
uint64_t secure_page_add(struct secure_td *td, gfn_t gfn, hpa_t page,
                         const void *source) MUST_CHECK;

/* Adds a page of 4 KiB or 2 MiB, cleared and PENDING. TDX_OP_STATE_INCORRECT: the TD is not
 * finalised. TDX_INTERRUPTED_RESUMABLE: a part of a large page has been cleared, which takes long;
 * nothing else has changed. The caller may do something else and repeats the call, or does not. */
uint64_t secure_page_aug(struct secure_td *td, gfn_t gfn, unsigned level, hpa_t page) MUST_CHECK;

/* For the guest: makes a PENDING page MAPPED. TDX_PAGE_ALREADY_ACCEPTED: it is, maybe as a part of
 * a larger one. TDX_PAGE_SIZE_MISMATCH: `level` is 2M, and there is a table whose 512 pages are
 * not all PENDING, or all MAPPED. If all are PENDING, they are accepted together, so that a guest
 * need not know whether the hypervisor could give it a large page; the module refuses that. With
 * TDX_EPT_WALK_FAILED and TDX_EPT_ENTRY_STATE_INCORRECT, ACCEPT exits as an EPT violation. */
uint64_t secure_page_accept(struct secure_td *td, gfn_t gfn, unsigned level) MUST_CHECK;

/* Makes the entry of a leaf or table BLOCKED. What is below a blocked table stays as it is, and
 * cannot be reached any more. TDX_GPA_RANGE_ALREADY_BLOCKED: it was. */
uint64_t secure_range_block(struct secure_td *td, gfn_t gfn, unsigned level) MUST_CHECK;

/* Begins an epoch of the TD. TDX_PREVIOUS_TLB_EPOCH_BUSY: the one before is not over. */
uint64_t secure_track(struct secure_td *td) MUST_CHECK;

/* The following three need a BLOCKED entry (TDX_GPA_RANGE_NOT_BLOCKED), and need that an epoch
 * which began later is over (TDX_TLB_TRACKING_NOT_DONE), or that two have begun later. */

/* Removes a page and makes it FREE. It is scrubbed before it is used again, or leaves the map. */
uint64_t secure_page_remove(struct secure_td *td, gfn_t gfn, unsigned level) MUST_CHECK;

/* Splits a leaf of 2 MiB, by a table with 512 leaves in the state before it was blocked. */
uint64_t secure_page_demote(struct secure_td *td, gfn_t gfn, hpa_t table) MUST_CHECK;

/* Removes an empty table: TDX_EPT_PAGE_NOT_FREE, if it is not. */
uint64_t secure_table_remove(struct secure_td *td, gfn_t gfn, unsigned level) MUST_CHECK;

/* ---- Questions ------------------------------------------------------------------------------- */

/* The state of the entry for `gfn` at `level`: of what it points to, or FREE if it is empty. *page
 * is set unless it is FREE. */
uint64_t secure_read(struct secure_td *td, gfn_t gfn, unsigned level, hpa_t *page,
                     enum secure_state *state) MUST_CHECK;

/* ---- Private bytes --------------------------------------------------------------------------- *
 * Nothing else lets the hypervisor see or change what is in a TD's memory. They read or write
 * `size` bytes at `offset` of the guest frame, which don't cross the end of the frame, for what the
 * guest itself has asked for: the bytes of its instruction, the report that it wants.
 * TDX_EPT_WALK_FAILED, TDX_EPT_ENTRY_STATE_INCORRECT: the page is not MAPPED.
 * TDX_OPERAND_INVALID: not a private frame, or the range is not within it. */
uint64_t secure_read_private(struct secure_td *td, gfn_t gfn, unsigned offset, void *buffer,
                             size_t size) MUST_CHECK;
uint64_t secure_write_private(struct secure_td *td, gfn_t gfn, unsigned offset, const void *buffer,
                              size_t size) MUST_CHECK;
