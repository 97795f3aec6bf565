/* SPDX-License-Identifier: MIT */
/*
 * How changes of the set of slots are carried out; see mmu_change() in mmu/mmu.h. What each of them
 * does stands in change_slots.c.
 *
 * Any of them may take long: memory is cleared, a range of tables is walked. So a change is a
 * sequence of steps, each of which holds its CPU for no longer than a piece does (mmu_pauses()),
 * and between two of which slots_lock is given back. What has been asked for stands in the VM's
 * MMU, so that a vCPU that was stopped halfway holds up nobody: the next one that needs the slots
 * goes on with it.
 */
#include "mmu/change.h"

#include "lib/assert.h"
#include "lib/errno.h"
#include "mmu/backing.h"
#include "mmu/memslot.h"
#include "mmu/mmu.h"
#include "mmu/tdp.h"
#include "mmu/tlb.h"
#include "mmu/zap.h"

#define FILL_WORDS 16384u /* a piece */

/* ---- Steps that several kinds have ----------------------------------------------------------- */

/* mmu_help() reads it without the lock. */
static void set_step(struct changing *now, int (*step)(struct mmu *mmu))
{
    __atomic_store_n(&now->step, step, __ATOMIC_RELAXED);
}

/* A step returns this when another one follows. */
int change_then(struct mmu *mmu, int (*step)(struct mmu *mmu))
{
    set_step(&mmu->changing, step);
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
    while (f->words)
        f++;
    *f = (struct filling){at, pages * (PAGE_SIZE / sizeof(uint64_t)), value};
}

static int fill(struct mmu *mmu)
{
    struct changing *now = &mmu->changing;
    for (unsigned i = 0; i < ARRAY_SIZE(now->filling); i++) {
        struct filling *f = &now->filling[i];
        uint64_t words = f->words < FILL_WORDS ? f->words : FILL_WORDS;
        if (!words)
            continue;
        f->words -= words;
        __asm__ volatile("rep stosq" : "+D"(f->at), "+c"(words) : "a"(f->value) : "memory");
        return -EINPROGRESS;
    }
    return change_then(mmu, now->after);
}

/* Fills what has been asked for, and goes on there. */
int change_fill_first(struct mmu *mmu, int (*after)(struct mmu *mmu))
{
    mmu->changing.after = after;
    return change_then(mmu, fill);
}

static int settle(struct mmu *mmu)
{
    struct changing *now = &mmu->changing;
    if (now->room)
        memslots_use_room(mmu, now->room);
    now->room = NULL;
    memslots_settle(mmu, now->from);
    return change_then(mmu, now->after);
}

/* The new set becomes the current one. */
int change_publish(struct mmu *mmu, unsigned from, int (*after)(struct mmu *mmu))
{
    struct changing *now = &mmu->changing;
    now->from = now->room ? 0 : from;
    now->after = after;
    memslots_publish(mmu);
    now->owned = (struct memslot){0}; /* it hangs on a slot now */
    return change_then(mmu, settle);
}

/* The same where pages lose their place or a right: what is remembered of them is looked up again,
 * and until nobody finds the old set any more, faults are tried again. */
int change_publish_less(struct mmu *mmu, unsigned from, int (*after)(struct mmu *mmu))
{
    __atomic_add_fetch(&mmu->invalidate_sequence, 1, __ATOMIC_SEQ_CST);
    int result = change_publish(mmu, from, after);
    __atomic_add_fetch(&mmu->invalidate_sequence, 1, __ATOMIC_SEQ_CST);
    return result;
}

static int zap(struct mmu *mmu)
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
    return change_then(mmu, zap);
}

int change_zap_slot(struct mmu *mmu, unsigned flags, enum debt_reason reason,
                    int (*after)(struct mmu *mmu))
{
    const struct memslot *slot = &mmu->changing.slot;
    return change_zap(mmu, slot->base, memslot_end(slot), flags, reason, after);
}

/* ---- Going on ------------------------------------------------------------------------------- */

/* What hangs on no slot yet, and may be half filled. */
static void abandon(struct changing *now)
{
    struct memslot *owned = &now->owned;
    if (owned->backing.directory)
        backing_discard(&owned->backing);
    memslot_free_parts(owned);
    memslots_free_set(now->room);
    remap_abandon(&now->copying);
    *owned = (struct memslot){0};
    now->room = NULL;
    for (unsigned i = 0; i < ARRAY_SIZE(now->filling); i++)
        now->filling[i].words = 0;
}

/* With slots_lock held, as far as it goes. */
static int go_on(struct mmu *mmu)
{
    struct changing *now = &mmu->changing;
    int result;
    do {
        result = now->step(mmu);
    } while (result == -EINPROGRESS && !mmu_pauses());
    if (result != -EINPROGRESS) {
        set_step(now, NULL);
        abandon(now); /* if it has failed */
    }
    return result;
}

int change_begin(struct mmu *mmu, struct mmu_change *change)
{
    struct changing *now = &mmu->changing;
    change->number = ++now->number;
    now->what = *change;
    set_step(now, change_first[change->kind]);
    return go_on(mmu);
}

/* The lock alone; who waits for it meanwhile passes. Who has done one piece of something long gives
 * way to a pCPU that has found the lock taken: without that, it would have the lock again before
 * the other one looks. It does so once, as that one may have gone. */
static bool try_lock(struct mmu *mmu)
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
    if (!try_lock(mmu))
        return -EINPROGRESS;
    if (mmu->changing.step)
        (void)go_on(mmu);
    if (!mmu->changing.step)
        return 0;
    spin_unlock(&mmu->slots_lock);
    return -EINPROGRESS;
}

int mmu_change(struct mmu *mmu, struct mmu_change *change)
{
    struct changing *now = &mmu->changing;
    if (!try_lock(mmu))
        return -EINPROGRESS;
    bool begun = change->number;
    int result = 0; /* begun, and somebody else has made the last of it */
    if (now->step && (!begun || now->number == change->number))
        result = go_on(mmu);
    if (now->step)
        result = begun && now->number != change->number ? 0 : -EINPROGRESS;
    else if (!begun)
        result = change_begin(mmu, change);
    spin_unlock(&mmu->slots_lock);
    return result;
}

void mmu_help(struct mmu *mmu)
{
    if (__atomic_load_n(&mmu->changing.step, __ATOMIC_RELAXED) && !memslots_lock(mmu))
        spin_unlock(&mmu->slots_lock);
}

static int at_once(struct mmu *mmu, struct mmu_change change)
{
    int result;
    do {
        result = mmu_change(mmu, &change);
    } while (result == -EINPROGRESS);
    return result;
}

int mmu_slot_add(struct mmu *mmu, uint32_t id, gpa_t gpa, uint64_t pages, uint32_t flags)
{
    return at_once(mmu,
                   (struct mmu_change){
                       .kind = CHANGE_ADD, .id = id, .gpa = gpa, .pages = pages, .flags = flags});
}

int mmu_slot_delete(struct mmu *mmu, uint32_t id)
{
    return at_once(mmu, (struct mmu_change){.kind = CHANGE_DELETE, .id = id});
}

int mmu_slot_move(struct mmu *mmu, uint32_t id, gpa_t gpa)
{
    return at_once(mmu, (struct mmu_change){.kind = CHANGE_MOVE, .id = id, .gpa = gpa});
}

int mmu_slot_flags(struct mmu *mmu, uint32_t id, uint32_t flags)
{
    return at_once(mmu, (struct mmu_change){.kind = CHANGE_FLAGS, .id = id, .flags = flags});
}

int mmu_host_remap(struct mmu *mmu, gpa_t gpa)
{
    return at_once(mmu, (struct mmu_change){.kind = CHANGE_REMAP, .gpa = gpa});
}

void change_abandon(struct mmu *mmu)
{
    abandon(&mmu->changing);
}
