/* SPDX-License-Identifier: MIT */
/* How pages are added to the mirror; see the header. */
#include "mmu/mirror.h"

#include "ept/tdx_status.h"
#include "lib/assert.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "mmu/huge.h"
#include "mmu/memslot.h"
#include "mmu/mmu.h"
#include "mmu/self.h"
#include "mmu/sides.h"
#include "mmu/store.h"
#include "mmu/tables.h"
#include "mmu/tdp.h"
#include "mmu/tlb.h"

#define PROVIDED_AT_LEAST 8u /* small pages, before the guest executes its ACCEPT again */

static COLD int no_frame(gfn_t gfn, const char *what)
{
    log_error("MMU: no private frame is left for %s of private frame %#lx; give the VM more memory",
              what, gfn.v);
    return -ENOMEM;
}

/* ---- Adding ---------------------------------------------------------------------------------- */

/* Links a table below the empty entry. Returns 0, FAULT_RETRY or an error. */
static int mirror_link(struct mmu_cpu *self, const struct mirror_place *at)
{
    struct mirror *mirror = &self->mmu->mirror;
    if (!mirror_freeze(self, at))
        return FAULT_RETRY;
    hpa_t external = mirror->ops->take(mirror->td, EPT_LEVEL_4K);
    if (unlikely(page_is_none(external))) {
        mirror_thaw(self, at, at->old);
        return no_frame(at->gfn, "an external table");
    }
    uint64_t status = mirror->ops->link(mirror->td, at->gfn, at->level, external);
    if (unlikely(status)) {
        mirror_thaw(self, at, at->old);
        mirror->ops->give(mirror->td, external, EPT_LEVEL_4K);
        return mirror_refused(self->mmu, "link a table for", at->gfn, at->level, status);
    }
    mirror_thaw(self, at, spte_nonleaf(virt_to_phys(tdp_take_table(self))));
    return 0;
}

/* A large page that is being cleared is kept for the next fault that needs one. */
static hpa_t mirror_take_page(struct mirror *mirror, unsigned level)
{
    uint64_t kept =
        level > EPT_LEVEL_4K ? __atomic_exchange_n(&mirror->clearing, 0, __ATOMIC_ACQUIRE) : 0;
    return kept ? HPA(kept) : mirror->ops->take(mirror->td, level);
}

static void keep_page(struct mirror *mirror, hpa_t page, unsigned level)
{
    uint64_t other = __atomic_exchange_n(&mirror->clearing, page.v, __ATOMIC_RELEASE);
    if (other)
        mirror->ops->give(mirror->td, HPA(other), level);
}

/* Clearing a large page takes long, so it is done in pieces. */
static uint64_t mirror_aug(struct mirror *mirror, const struct mirror_place *at, hpa_t page)
{
    uint64_t status;
    do {
        status = mirror->ops->aug(mirror->td, at->gfn, at->level, page);
    } while (status == TDX_INTERRUPTED_RESUMABLE && !mmu_pauses());
    return status;
}

/* Has the table that covers the frame been blocked, and not been freed? */
static bool table_is_blocked(const struct mmu *mmu, gfn_t gfn)
{
    struct mirror_place at = mirror_find(mmu, gfn, EPT_LEVEL_2M);
    return spte_is_nonleaf(at.old, at.level) && mirror_is_blocked(at.old);
}

/* Adds a page in the empty entry: a copy of `content`, or if that is NULL, an empty one that is
 * PENDING. Returns FAULT_FIXED, FAULT_RETRY or an error; FAULT_CONTINUE, if no large frame is left;
 * or FAULT_INVALID, if the table must be freed first. */
static int mirror_set(struct mmu_cpu *self, const struct mirror_place *at, const void *content)
{
    struct mirror *mirror = &self->mmu->mirror;
    if (!mirror_freeze(self, at))
        return FAULT_RETRY;
    hpa_t page = mirror_take_page(mirror, at->level);
    if (unlikely(page_is_none(page))) {
        mirror_thaw(self, at, at->old);
        return at->level > EPT_LEVEL_4K ? FAULT_CONTINUE : no_frame(at->gfn, "the page");
    }
    uint64_t status = content ? mirror->ops->add(mirror->td, at->gfn, page, content)
                              : mirror_aug(mirror, at, page);
    if (unlikely(status)) {
        mirror_thaw(self, at, at->old);
        if (status == TDX_INTERRUPTED_RESUMABLE) {
            keep_page(mirror, page, at->level);
            return FAULT_RETRY;
        }
        mirror->ops->give(mirror->td, page, at->level);
        if (table_is_blocked(self->mmu, at->gfn))
            return FAULT_INVALID;
        return mirror_refused(self->mmu, content ? "add" : "augment", at->gfn, at->level, status);
    }
    mirror_thaw(self, at, mirror_leaf(page, at->level));
    return FAULT_FIXED;
}

/* Adds a page of `level`, or a small one if there is a table already. Returns FAULT_SPURIOUS if
 * there is a leaf, else as mirror_set(). The caller has called tdp_top_up() and holds the lock,
 * shared. */
static int mirror_map(struct mmu_cpu *self, gfn_t gfn, unsigned level, const void *content)
{
    for (;;) {
        struct mirror_place at = mirror_find(self->mmu, gfn, level);
        if (unlikely(at.old == SPTE_FROZEN))
            return FAULT_RETRY;
        if (spte_is_leaf(at.old, at.level))
            return FAULT_SPURIOUS;
        if (spte_is_nonleaf(at.old, at.level)) {
            level--;
            continue;
        }
        if (at.level == level)
            return mirror_set(self, &at, content);
        int result = mirror_link(self, &at);
        if (unlikely(result))
            return result;
    }
}

/* Does the slot cover the 2 MiB with this frame, and are they private? */
static bool is_private_2m(const struct memslot *slot, gfn_t gfn)
{
    uint64_t frames = ept_frames(EPT_LEVEL_2M);
    uint64_t first = align_down(gfn.v, frames) - slot->base.v; /* wraps if it is before the slot */
    return first < slot->backing.pages && slot->backing.pages - first >= frames &&
           !sides_is_shared(slot, first) && sides_uniform(slot, first, frames);
}

/* Private leaves always allow fetches, which large pages may not (rule N1). */
static bool mirror_may_be_large(void)
{
    return mmu_levels() >= EPT_LEVEL_2M && !huge_denied();
}

/* mirror_map() for a frame whose side and slot must be checked. `sequence` was read before the slot
 * was looked up, as for every fault (rule F2). */
static int mirror_map_locked(struct mmu_cpu *self, const struct memslot *slot, gfn_t gfn,
                             unsigned level, const void *content, uint64_t sequence)
{
    if (unlikely(mmu_invalidate_sequence(self->mmu) != (sequence & ~1ull)))
        return FAULT_RETRY;
    if (unlikely(!sides_match(slot, gfn.v - slot->base.v, ROLE_PRIVATE)))
        return sides_refuse(gfn, ROLE_PRIVATE);
    bool large = level > EPT_LEVEL_4K && mirror_may_be_large() && is_private_2m(slot, gfn);
    int result = mirror_map(self, gfn, large ? EPT_LEVEL_2M : EPT_LEVEL_4K, content);
    if (unlikely(result == FAULT_CONTINUE))
        result = mirror_map(self, gfn, EPT_LEVEL_4K, content);
    return result;
}

/* Adds a page for the frame, of `level` at most, as mirror_map(). */
static int mirror_provide(struct mmu_cpu *self, gfn_t gfn, unsigned level, const void *content)
{
    struct mmu *mmu = self->mmu;
    int result = tdp_top_up(self);
    if (unlikely(result))
        return result;
    uint64_t sequence = mmu_invalidate_sequence(mmu);
    const struct memslot *slot = memslot_find(memslots(mmu), gfn);
    if (unlikely(!slot)) {
        log_error("MMU: no memslot covers private frame %#lx, and such addresses reach no devices",
                  gfn.v);
        return -EFAULT;
    }
    if (unlikely(slot->flags & MEMSLOT_INVALID)) {
        result = FAULT_RETRY;
    } else {
        read_lock(&mmu->lock);
        result = mirror_map_locked(self, slot, gfn, level, content, sequence);
        read_unlock(&mmu->lock);
    }
    if (unlikely(result == FAULT_RETRY))
        mmu_help(mmu); /* a change of the slots may be the reason */
    if (unlikely(result == FAULT_INVALID)) {
        result = mirror_free_table(self, gfn);
        return result < 0 ? result : FAULT_RETRY;
    }
    return result;
}

/* ---- Faults ---------------------------------------------------------------------------------- */

static COLD int refuse_pending(gfn_t gfn, unsigned level)
{
    log_error("MMU: an access to private frame %#lx, which is PENDING at level %u: the guest must "
              "accept a page before it uses it",
              gfn.v, level);
    return -EACCES;
}

/* The guest has faulted on a frame that has a page. */
static int mirror_fault_present(struct mmu_cpu *self, gfn_t gfn)
{
    const struct mirror *mirror = &self->mmu->mirror;
    struct mirror_place at = mirror_find(self->mmu, gfn, EPT_LEVEL_4K);
    hpa_t page;
    enum secure_state state;
    if (!spte_is_leaf(at.old, at.level))
        return FAULT_RETRY;
    if (mirror_is_blocked(at.old)) {
        int error = mirror_split_frame(self, gfn, EPT_LEVEL_2M);
        return error ? error : FAULT_RETRY;
    }
    if (mirror->ops->read(mirror->td, at.gfn, at.level, &page, &state) || state == SECURE_FREE ||
        state == SECURE_BLOCKED || state == SECURE_TABLE)
        return FAULT_RETRY; /* another CPU is changing it */
    if (state == SECURE_MAPPED)
        return FAULT_SPURIOUS;
    return mirror->td->pending_ve ? FAULT_VE : refuse_pending(gfn, at.level);
}

int mirror_fault(struct mmu_cpu *self, gfn_t gfn)
{
    self->stats.faults++;
    int result = mirror_provide(self, gfn, EPT_LEVEL_4K, NULL);
    return unlikely(result == FAULT_SPURIOUS) ? mirror_fault_present(self, gfn) : result;
}

/* ---- What the guest and its loader ask for --------------------------------------------------- */

/* The first of 512 frames, from the one at `i` on, whose entry is empty; EPT_ENTRIES if there is
 * none. The entries of a table are read one after the other, without a walk to each. */
static uint64_t next_missing(const struct mmu *mmu, gfn_t first, uint64_t i)
{
    struct mirror_place at = mirror_find(mmu, first, EPT_LEVEL_4K);
    if (at.level > EPT_LEVEL_4K)
        return at.old == SPTE_NONPRESENT ? i : EPT_ENTRIES;
    while (i < EPT_ENTRIES && __atomic_load_n(&at.sptep[i], __ATOMIC_ACQUIRE) != SPTE_NONPRESENT)
        i++;
    return i;
}

/* Adds the small pages that are missing in a range of 2 MiB, and after the first few of them no
 * more once something is waiting for the pCPU (rule N102). Each time the guest executes its ACCEPT
 * again, which looks at the whole table; so one page at a time would take long where something is
 * always waiting. Returns -EAGAIN if it has added any, 0 if none was missing, or an error. */
static int provide_small(struct mmu_cpu *self, gfn_t first)
{
    unsigned added = 0;
    for (uint64_t i = next_missing(self->mmu, first, 0); i < EPT_ENTRIES;
         i = next_missing(self->mmu, first, i + 1)) {
        if (added >= PROVIDED_AT_LEAST && mmu_pauses())
            break;
        int error = mirror_provide(self, GFN(first.v + i), EPT_LEVEL_4K, NULL);
        if (error < 0)
            return error;
        added++;
    }
    return added ? -EAGAIN : 0;
}

/* The guest accepts 2 MiB where there is a table. An empty one goes, if there can be a large page;
 * otherwise it is filled, so that all small pages can be accepted together. */
static int make_acceptable(struct mmu_cpu *self, gfn_t gfn)
{
    const struct memslot *slot = memslot_find(memslots(self->mmu), gfn);
    if (!slot || !is_private_2m(slot, gfn))
        return 0;
    int result = mirror_may_be_large() ? mirror_free_table(self, gfn) : 0;
    if (result)
        return result < 0 ? result : -EAGAIN;
    return provide_small(self, gfn);
}

/* An ACCEPT that finds no page is executed again when there is one. So is one of a small page
 * within a large one, which is split. */
int mmu_td_accept(struct mmu *mmu, gpa_t gpa, unsigned level, uint64_t *status)
{
    struct mmu_cpu *self = mmu_self(mmu);
    const struct mirror *mirror = &mmu->mirror;
    gfn_t gfn = mmu_gfn(mmu, gpa);
    *status = mmu_role(mmu, gpa) & ROLE_MIRROR ? mirror->ops->accept(mirror->td, gfn, level)
                                               : TDX_OPERAND_INVALID;
    if (unlikely(*status == TDX_PAGE_SIZE_MISMATCH))
        return make_acceptable(self, gfn);
    if (*status != TDX_EPT_WALK_FAILED && *status != TDX_EPT_ENTRY_STATE_INCORRECT)
        return 0;
    int result = mirror_provide(self, gfn, level, NULL);
    if (result == FAULT_SPURIOUS) {
        result = tdp_top_up(self);
        if (!result)
            result = mirror_split_frame(self, gfn, level);
    }
    return result < 0 ? result : -EAGAIN;
}

/* Compares what the mirror says with what the secure side says. */
static int verify_added(struct mmu *mmu, gfn_t gfn)
{
    unsigned level;
    hpa_t ours = PAGE_NONE, theirs = PAGE_NONE;
    enum secure_state state = SECURE_FREE;
    uint64_t status = mmu->mirror.ops->read(mmu->mirror.td, gfn, EPT_LEVEL_4K, &theirs, &state);
    int error = mmu_gpa_to_pfn(mmu, gfn_to_gpa(gfn), &ours, &level);
    if (!error && !status && state == SECURE_MAPPED && ours.v == theirs.v)
        return 0;
    log_error("MMU: private frame %#lx was added as page %#lx, but the secure side has %#lx in "
              "state %u (status %#lx)",
              gfn.v, ours.v, theirs.v, state, status);
    return -EIO;
}

int mmu_td_add(struct mmu *mmu, gfn_t gfn, const void *content)
{
    int result;
    do {
        result = mirror_provide(mmu_self(mmu), gfn, EPT_LEVEL_4K, content);
    } while (result == FAULT_RETRY);
    if (result == FAULT_SPURIOUS) {
        log_error("MMU: private frame %#lx has been added to the VM already", gfn.v);
        return -EEXIST;
    }
    return result < 0 ? result : verify_added(mmu, gfn);
}

int mmu_td_finalise(struct mmu *mmu)
{
    uint64_t status = mmu->mirror.ops->finalise(mmu->mirror.td);
    return status ? mirror_refused(mmu, "finalise the VM of", GFN(0), mmu->root_level, status) : 0;
}
