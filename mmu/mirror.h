/* SPDX-License-Identifier: MIT */
/*
 * The mirror of a protected VM (decision D5, rules X2 to X4).
 *
 * The CPU translates a protected VM's private addresses by the *external tables*, which the secure
 * side keeps (ept/secure.h); the private half of the composite points to them. mmu/ can neither
 * read nor write them. Its own private root is a *mirror*, which the CPU never walks: it says which
 * entries the external tables have, so that faults, conversions and deletions can work as they do
 * for all other memory.
 *
 * Each change of the mirror is carried to the external tables by an operation of struct mirror_ops.
 * A CPU that changes an entry makes it FROZEN by compare-exchange, so that no other CPU acts on it;
 * calls the operation; and then stores the new entry or, if the operation was refused, the old one.
 * A mirror has two kinds of present entry:
 *
 *   a link   the external entry points to a table
 *   a leaf   the external entry has the page, PENDING or MAPPED
 *
 * Each has all rights; or none, which says that the external entry is BLOCKED, and that the
 * operation that should have followed was refused. It is tried again.
 *
 * A page is removed in three steps. *Block* makes the entry translate nothing; *track* begins an
 * epoch of the VM's CPUs, for which tlb_sync() waits; *remove* has the page scrubbed, and only then
 * it returns to the pool of private frames. A large leaf is split by the same steps, the last of
 * which replaces it by a table; and by the same steps an empty table is freed, when a large page is
 * to be in its place. A page whose removal is refused stays where it is, is counted
 * (mirror.stats.stuck), and is never given to anybody else.
 *
 * The roots of the iterator (mmu/tdp.h) don't include the mirror. So what zaps, ages, logs, splits,
 * write-protects or recovers memory applies to the shared half only. The role of the mirror's root
 * grants no rights: every access of the guest to it is a fault for mirror_fault(), and the
 * accessors to guest memory (guest_read() and so on) refuse it.
 */
#pragma once

#include "ept/secure.h"
#include "mmu/spte.h"
#include "mmu/types.h"

/* What the mirror asks of the secure side: the functions of ept/secure.h, and a pool of frames that
 * have no owner. All may be called by several CPUs at once, with the MMU's lock held. Each returns
 * a status of the TDX module, TDX_SUCCESS or why nothing has been changed. */
struct mirror_ops {
    /* A private frame without an owner, or PAGE_NONE if there is none; and its return. */
    hpa_t (*take)(struct secure_td *td, unsigned level);
    void (*give)(struct secure_td *td, hpa_t page, unsigned level);

    uint64_t (*link)(struct secure_td *td, gfn_t gfn, unsigned level, hpa_t table);
    uint64_t (*add)(struct secure_td *td, gfn_t gfn, hpa_t page, const void *source);
    /* TDX_INTERRUPTED_RESUMABLE: it has done a part, and is called again with the same page. */
    uint64_t (*aug)(struct secure_td *td, gfn_t gfn, unsigned level, hpa_t page);
    uint64_t (*accept)(struct secure_td *td, gfn_t gfn, unsigned level);
    uint64_t (*block)(struct secure_td *td, gfn_t gfn, unsigned level);
    uint64_t (*track)(struct secure_td *td);
    uint64_t (*split)(struct secure_td *td, gfn_t gfn, hpa_t table);
    uint64_t (*remove)(struct secure_td *td, gfn_t gfn, unsigned level);
    uint64_t (*free)(struct secure_td *td, gfn_t gfn, unsigned level);
    uint64_t (*read)(struct secure_td *td, gfn_t gfn, unsigned level, hpa_t *page,
                     enum secure_state *state);
    uint64_t (*finalise)(struct secure_td *td);
    uint64_t (*stop)(struct secure_td *td);
};

/* The shared bit of a VM with a mirror: each half of the composite is one entry then, and the
 * private one points to the root of the external tables, which has entries of 1 GiB. */
#define MIRROR_SHARED_BIT 39u

/* ---- For vm/ --------------------------------------------------------------------------------- */

/* Gives the VM a mirror of the external tables of `td`, which has been created. Called after
 * mmu_steal_bit(), which has declared MIRROR_SHARED_BIT as the only stolen bit, and before the
 * first slot. Returns 0, or -ENOMEM; or -EINVAL after a message. */
int mmu_mirror(struct mmu *mmu, const struct mirror_ops *ops, struct secure_td *td) MUST_CHECK;

/* The epochs of the VM's CPUs, for struct secure_host: an epoch is a debt of the flush ledger. It
 * is over when each CPU that was in the guest has left it or flushed its TLB. */
uint64_t mirror_epoch_begin(struct mmu *mmu);
bool mirror_epoch_over(const struct mmu *mmu, uint64_t epoch);

/* Adds a page of the initial image, a copy of `content`, and verifies that the frame is translated
 * to the page that was added. Returns 0; or, after a message, -EEXIST: the frame has been added
 * already; -EIO: the secure side refuses it, because the VM is finalised; -EFAULT: no slot covers
 * the frame; -EACCES: it is shared; -ENOMEM. The caller holds no lock of the MMU. */
int mmu_td_add(struct mmu *mmu, gfn_t gfn, const void *content) MUST_CHECK;

/* From now on no page can be added, and the guest may run. 0, or -EIO after a message. */
int mmu_td_finalise(struct mmu *mmu) MUST_CHECK;

/* The guest accepts the page at `gpa`, of `level`. Returns 0, and its status in *status; -EAGAIN:
 * the page has been provided, and the guest executes the instruction again; or, after a message, an
 * error that ends the VM: -EFAULT, -EACCES, -EIO, -ENOMEM. */
int mmu_td_accept(struct mmu *mmu, gpa_t gpa, unsigned level, uint64_t *status) MUST_CHECK;

/* What the mirror has done. */
struct mirror_stats mmu_mirror_stats(const struct mmu *mmu);

static inline bool mmu_has_mirror(const struct mmu *mmu)
{
    return mmu->mirror.table;
}

/* ---- Private to mmu/ ------------------------------------------------------------------------- */

/* An access of the guest to a private frame. Returns FAULT_FIXED: a page was added, which is
 * PENDING; FAULT_SPURIOUS or FAULT_RETRY; FAULT_VE: the page is PENDING, and the guest handles it;
 * or, after a message, -EACCES (it is PENDING or shared), -EFAULT, -EIO or -ENOMEM. */
int mirror_fault(struct mmu_cpu *self, gfn_t gfn) MUST_CHECK;

/* An entry of the mirror, and the value that it had when it was found. */
struct mirror_place {
    gfn_t gfn; /* the first frame that it covers */
    unsigned level;
    const uint64_t *sptep;
    uint64_t old;
};

/* The entry for the frame, or the lowest one on the way to it. */
struct mirror_place mirror_find(const struct mmu *mmu, gfn_t gfn, unsigned lowest);

/* Is there a page behind the private frame, usable or BLOCKED? */
static inline bool mirror_has_leaf(const struct mmu *mmu, gfn_t gfn)
{
    struct mirror_place at = mirror_find(mmu, gfn, EPT_LEVEL_4K);
    return spte_is_leaf(at.old, at.level);
}

/* mirror_freeze() makes the entry FROZEN, or returns false if it is no longer `old`. mirror_thaw()
 * ends that. */
bool mirror_freeze(struct mmu_cpu *self, const struct mirror_place *at) MUST_CHECK;
void mirror_thaw(struct mmu_cpu *self, const struct mirror_place *at, uint64_t new);

/* The leaf for a page; and for one that is BLOCKED. */
uint64_t mirror_leaf(hpa_t page, unsigned level);

static inline bool mirror_is_blocked(uint64_t present)
{
    return !(present & EPT_RWX);
}

/* Says which operation the secure side has refused, and returns -EIO. */
int mirror_refused(struct mmu *mmu, const char *operation, gfn_t gfn, unsigned level,
                   uint64_t status);

/* Splits the leaf that covers the frame, if it is larger than `level` or BLOCKED. Returns 0; or,
 * after a message, -EACCES: it is a small page that is BLOCKED; -EIO; -ENOMEM. The caller has
 * called tdp_top_up() and holds no lock. */
int mirror_split_frame(struct mmu_cpu *self, gfn_t gfn, unsigned level) MUST_CHECK;

/* Frees the table of small pages that covers the frame, if it is empty. Returns 1 if it did; 0; or
 * -EIO after a message. The caller holds no lock. */
int mirror_free_table(struct mmu_cpu *self, gfn_t gfn) MUST_CHECK;

/* The removal of a piece of a range. */
#define MIRROR_BATCH 32u
struct mirror_batch {
    gfn_t next; /* where the next piece begins */
    unsigned used;
    struct mirror_place place[MIRROR_BATCH];
};

/* Freezes, blocks and tracks the leaves of the first piece of [first, end), which are then in
 * `batch`; splits leaves that lie in the range only in part. batch->next is the end of the piece.
 * If this is refused, *error is set, and batch->next is the first frame that has not been blocked.
 * The caller has called tdp_top_up() and holds the lock exclusively. */
void mirror_block(struct mmu_cpu *self, struct mirror_batch *batch, gfn_t first, gfn_t end,
                  int *error);

/* Removes the pages of the batch, and returns their frames to the pool. The caller needs no lock:
 * the entries are FROZEN. Returns 0, or -EIO if a page is stuck. */
int mirror_remove(struct mmu_cpu *self, const struct mirror_batch *batch);

/* Removes a piece of [*next, end); sets *next to the end of the piece. Pages that are stuck are
 * skipped. The caller holds no lock but slots_lock. */
void mirror_zap_piece(struct mmu *mmu, gfn_t *next, gfn_t end);

/* At the end of the VM: tells the secure side that the guest never runs again, and unlinks the
 * mirror's tables. The pages are taken back by the owner of the pool, after mmu_destroy(). */
void mirror_stop(struct mmu *mmu);
