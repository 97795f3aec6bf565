/* SPDX-License-Identifier: MIT */
/*
 * How a change of the set of slots is carried out; see mmu_change() in mmu/mmu.h. change_slots.c
 * has the steps of each kind of change.
 *
 * A change can take long, because it clears memory and walks ranges of tables. So it is a sequence
 * of short steps. If something is waiting for the pCPU after a step (mmu_pauses()), slots_lock is
 * dropped and the caller is told to call again. The state of the change is kept in the VM's MMU, so
 * a vCPU that is stopped in the middle of a change delays nobody: the next vCPU that needs the
 * slots continues the change.
 */
#include "mmu/change.h"

#include "lib/assert.h"
#include "lib/errno.h"
#include "mmu/backing.h"
#include "mmu/memslot.h"
#include "mmu/mmu.h"
#include "mmu/spte.h"
#include "mmu/tdp.h"
#include "mmu/tlb.h"
#include "mmu/zap.h"

#define FILL_QWORDS 16384u /* filled in one piece */

/* ---- Steps that several kinds share ---------------------------------------------------------- */

/* mmu_help() reads the step without the lock. */
static void change_set_step(struct changing *now, int (*step)(struct mmu *mmu))
{
    __atomic_store_n(&now->step, step, __ATOMIC_RELAXED);
}

int change_then(struct mmu *mmu, int (*step)(struct mmu *mmu))
{
    change_set_step(&mmu->changing, step);
    return -EINPROGRESS;
}

int change_finish(struct mmu *mmu)
{
    (void)mmu;
    return 0;
}

void change_fill(struct changing *now, void *at, uint64_t pages, uint64_t value)
{
    struct filling *f = now->filling;
    while (f->qwords)
        f++;
    *f = (struct filling){at, pages * (PAGE_SIZE / sizeof(uint64_t)), value};
}

static int change_fill_piece(struct mmu *mmu)
{
    struct changing *now = &mmu->changing;
    for (unsigned i = 0; i < ARRAY_SIZE(now->filling); i++) {
        struct filling *f = &now->filling[i];
        uint64_t qwords = f->qwords < FILL_QWORDS ? f->qwords : FILL_QWORDS;
        if (!qwords)
            continue;
        f->qwords -= qwords;
        __asm__ volatile("rep stosq" : "+D"(f->at), "+c"(qwords) : "a"(f->value) : "memory");
        return -EINPROGRESS;
    }
    return change_then(mmu, now->after);
}

int change_fill_first(struct mmu *mmu, int (*after)(struct mmu *mmu))
{
    mmu->changing.after = after;
    return change_then(mmu, change_fill_piece);
}

static int change_settle(struct mmu *mmu)
{
    struct changing *now = &mmu->changing;
    if (now->room)
        memslots_use_room(mmu, now->room);
    now->room = NULL;
    memslots_settle(mmu, now->from);
    return change_then(mmu, now->after);
}

/* Makes the spare copy of the set the current one, and returns when nobody reads the old copy any
 * more (rule F7). Between the two stores of the generation, readers see the new slots and
 * SLOT_UPDATE_IN_PROGRESS, and trust no MMIO SPTE. When the 19 bits of the generation in SPTEs
 * wrap, all MMIO SPTEs are removed before the new generation becomes visible (rule F8). None with
 * an old generation can be installed then, because nobody reads the old copy. */
static void change_publish_set(struct mmu *mmu)
{
    struct memslots *old = mmu->slots, *next = mmu->spare;
    uint64_t generation = old->generation;
    next->generation = generation | SLOT_UPDATE_IN_PROGRESS;
    __atomic_store_n(&mmu->slots, next, __ATOMIC_SEQ_CST);
    tlb_wait_epoch(mmu);
    mmu->spare = old;
    generation++;
    if (!(generation & SPTE_GENERATION_MASK))
        tdp_zap_all(mmu, DEBT_NEW_GENERATION);
    __atomic_store_n(&next->generation, generation, __ATOMIC_SEQ_CST);
}

int change_publish(struct mmu *mmu, unsigned from, int (*after)(struct mmu *mmu))
{
    struct changing *now = &mmu->changing;
    now->from = now->room ? 0 : from;
    now->after = after;
    change_publish_set(mmu);
    now->owned = (struct memslot){0}; /* the memory belongs to a slot now */
    return change_then(mmu, change_settle);
}

/* The increments of the sequence invalidate what has been cached of the pages, and make faults
 * retry until nobody can find the old set any more. */
int change_publish_less(struct mmu *mmu, unsigned from, int (*after)(struct mmu *mmu))
{
    __atomic_add_fetch(&mmu->invalidate_sequence, 1, __ATOMIC_SEQ_CST);
    int result = change_publish(mmu, from, after);
    __atomic_add_fetch(&mmu->invalidate_sequence, 1, __ATOMIC_SEQ_CST);
    return result;
}

static int change_zap_piece(struct mmu *mmu)
{
    struct changing *now = &mmu->changing;
    return tdp_zap_piece(mmu, &now->iter, now->zap_flags, now->zap_reason)
               ? change_then(mmu, now->after)
               : -EINPROGRESS;
}

int change_zap(struct mmu *mmu, gfn_t first, gfn_t end, unsigned flags, enum debt_reason reason,
               int (*after)(struct mmu *mmu))
{
    struct changing *now = &mmu->changing;
    tdp_iter_start(&now->iter, mmu, first, end);
    now->zap_flags = flags;
    now->zap_reason = reason;
    now->after = after;
    return change_then(mmu, change_zap_piece);
}

int change_zap_slot(struct mmu *mmu, unsigned flags, enum debt_reason reason,
                    int (*after)(struct mmu *mmu))
{
    const struct memslot *slot = &mmu->changing.slot;
    return change_zap(mmu, slot->base, memslot_end(slot), flags, reason, after);
}

/* ---- The change in progress ------------------------------------------------------------------ */

/* Frees the copy of a page or block whose copying has not finished. This happens only at the end of
 * the VM, when no vCPU writes. Otherwise nothing is stored, because guest_write() reads `copied`
 * without slots_lock. */
static void change_drop_copy(struct copying *copying)
{
    if (!copying->held)
        return;
    page_free(copying->to, copying->order);
    copying->held = false;
    copying->copied = 0;
}

/* Frees the memory that does not belong to a slot yet. It may be only partly filled. */
static void change_drop_owned(struct changing *now)
{
    struct memslot *owned = &now->owned;
    if (owned->backing.directory)
        backing_discard(&owned->backing);
    memslot_free_parts(owned);
    memslots_free_set(now->room);
    change_drop_copy(&now->copying);
    *owned = (struct memslot){0};
    now->room = NULL;
    for (unsigned i = 0; i < ARRAY_SIZE(now->filling); i++)
        now->filling[i].qwords = 0;
}

/* Executes steps until the change is over or something is waiting for the pCPU. The caller holds
 * slots_lock. */
static int change_continue(struct mmu *mmu)
{
    struct changing *now = &mmu->changing;
    int result;
    do {
        result = now->step(mmu);
    } while (result == -EINPROGRESS && !mmu_pauses());
    if (result != -EINPROGRESS) {
        change_set_step(now, NULL);
        change_drop_owned(now); /* nothing is left unless the change has failed */
    }
    return result;
}

int change_start(struct mmu *mmu, struct mmu_change *change, int (*first)(struct mmu *mmu))
{
    struct changing *now = &mmu->changing;
    change->number = ++now->number;
    now->what = *change;
    change_set_step(now, first);
    return change_continue(mmu);
}

/* Tries to take slots_lock. If the lock is taken, this pCPU passes the epoch, because the pCPU that
 * holds the lock may be waiting for that. A pCPU that has done one piece of a long operation gives
 * way to a pCPU that has found the lock taken; otherwise it would take the lock again before the
 * other pCPU could. It gives way only once, because the other pCPU may no longer want the lock. */
static bool slots_try_lock(struct mmu *mmu)
{
    unsigned self = this_cpu(), wish = __atomic_load_n(&mmu->slots_wish, __ATOMIC_RELAXED);
    bool gives_way = wish && wish != self + 1;
    if (!gives_way && spin_trylock(&mmu->slots_lock)) {
        if (wish)
            __atomic_store_n(&mmu->slots_wish, 0, __ATOMIC_RELAXED);
        return true;
    }
    __atomic_store_n(&mmu->slots_wish, gives_way ? 0 : self + 1, __ATOMIC_RELAXED);
    if (__atomic_load_n(&epoch_cpus[self].seen, __ATOMIC_RELAXED))
        epoch_pass(self, epoch_now());
    cpu_relax();
    return false;
}

int memslots_lock(struct mmu *mmu)
{
    if (!slots_try_lock(mmu))
        return -EINPROGRESS;
    if (mmu->changing.step)
        (void)change_continue(mmu);
    if (!mmu->changing.step)
        return 0;
    spin_unlock(&mmu->slots_lock);
    return -EINPROGRESS;
}

int change_request(struct mmu *mmu, struct mmu_change *change, int (*first)(struct mmu *mmu))
{
    struct changing *now = &mmu->changing;
    if (!slots_try_lock(mmu))
        return -EINPROGRESS;
    bool begun = change->number;
    int result = 0; /* the change has begun, and another vCPU has finished it */
    if (now->step && (!begun || now->number == change->number))
        result = change_continue(mmu);
    if (now->step)
        result = begun && now->number != change->number ? 0 : -EINPROGRESS;
    else if (!begun)
        result = change_start(mmu, change, first);
    spin_unlock(&mmu->slots_lock);
    return result;
}

void mmu_help(struct mmu *mmu)
{
    if (__atomic_load_n(&mmu->changing.step, __ATOMIC_RELAXED) && !memslots_lock(mmu))
        spin_unlock(&mmu->slots_lock);
}

void change_abandon(struct mmu *mmu)
{
    change_drop_owned(&mmu->changing);
}
