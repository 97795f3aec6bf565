/*
 * Changes of the set of slots: adding, deleting, moving, other flags; see mmu_change() in mmu/mmu.h.
 *
 * Any of them may take long: memory is cleared, a range of tables is walked. So a change is a
 * sequence of steps, each of which holds its CPU for no longer than a piece does (mmu_pauses()),
 * and between two of which slots_lock is given back. What has been asked for stands in the VM's
 * MMU, so that a vCPU that was stopped halfway holds up nobody: the next one that needs the slots
 * goes on with it.
 *
 * A slot that goes away is first marked INVALID, so that a fault on it waits instead of taking it
 * for MMIO (rule P5); then its SPTEs are zapped, the flush is paid, and only then it leaves the set
 * and its pages are freed (rule F9). MMIO SPTEs are never looked for: the generation outdates them.
 *
 * Faults are turned away while a set is replaced, and not during the whole change: when nobody
 * reads the old set any more, each one meets the mark, or the new flags.
 */
#include "mmu/change.h"

#include "lib/assert.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/string.h"
#include "mmu/backing.h"
#include "mmu/dirty.h"
#include "mmu/huge.h"
#include "mmu/memslot.h"
#include "mmu/mmu.h"
#include "mmu/page_bitmap.h"
#include "mmu/retired.h"
#include "mmu/sides.h"
#include "mmu/tdp.h"
#include "mmu/tlb.h"
#include "mmu/track.h"
#include "mmu/zap.h"

#define FILL_WORDS 16384u /* a piece */

/* ---- Steps that several kinds have ----------------------------------------------------------- */

/* A step returns this when another one follows. */
static int then(struct mmu *mmu, int (*step)(struct mmu *mmu))
{
    mmu->changing.step = step;
    return -EINPROGRESS;
}

static int finish(struct mmu *mmu)
{
    (void)mmu;
    return 0;
}

static void fill_later(struct changing *now, void *at, uint64_t pages, uint64_t value)
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
    return then(mmu, now->after);
}

/* Fills what has been asked for, and goes on there. */
static int fill_first(struct mmu *mmu, int (*after)(struct mmu *mmu))
{
    mmu->changing.after = after;
    return then(mmu, fill);
}

static int settle(struct mmu *mmu)
{
    struct changing *now = &mmu->changing;
    if (now->room)
        memslots_use_room(mmu, now->room);
    now->room = NULL;
    memslots_settle(mmu, now->from);
    return then(mmu, now->after);
}

/* The new set becomes the current one. */
static int publish(struct mmu *mmu, unsigned from, int (*after)(struct mmu *mmu))
{
    struct changing *now = &mmu->changing;
    now->from = now->room ? 0 : from;
    now->after = after;
    memslots_publish(mmu);
    now->owned = (struct memslot){0}; /* it hangs on a slot now */
    return then(mmu, settle);
}

/* The same where pages lose their place or a right: what is remembered of them is looked up again,
 * and until nobody finds the old set any more, faults are tried again. */
static int publish_less(struct mmu *mmu, unsigned from, int (*after)(struct mmu *mmu))
{
    __atomic_add_fetch(&mmu->invalidate_sequence, 1, __ATOMIC_SEQ_CST);
    int result = publish(mmu, from, after);
    __atomic_add_fetch(&mmu->invalidate_sequence, 1, __ATOMIC_SEQ_CST);
    return result;
}

static int zap(struct mmu *mmu)
{
    struct changing *now = &mmu->changing;
    return tdp_zap_piece(mmu, &now->iter, now->zap_flags, now->zap_reason) ? then(mmu, now->after)
                                                                           : -EINPROGRESS;
}

static int zap_slot(struct mmu *mmu, unsigned flags, enum debt_reason reason,
                    int (*after)(struct mmu *mmu))
{
    struct changing *now = &mmu->changing;
    tdp_iter_start(&now->iter, mmu, now->slot.base, memslot_end(&now->slot));
    now->zap_flags = flags;
    now->zap_reason = reason;
    now->after = after;
    return then(mmu, zap);
}

/* The first slot that logs by PML: from the return on no vCPU is in the guest that does not know,
 * as each looks when it pays the debt. Whoever wants the D bits cleared does that afterwards: a bit
 * that was set without PML would keep the page out of the log for good. */
static void count_logging(struct mmu *mmu, uint32_t old, uint32_t new)
{
    uint32_t change = (new &MEMSLOT_LOG_DIRTY ? 1u : 0u) - (old & MEMSLOT_LOG_DIRTY ? 1u : 0u);
    uint32_t logging = __atomic_add_fetch(&mmu->logging, change, __ATOMIC_SEQ_CST);
    if (change == 1 && logging == 1 && dirty_method() == DIRTY_PML) {
        tlb_owe(mmu, DEBT_LOG_STARTED);
        tlb_sync(mmu);
    }
}

/* Where MMIO SPTEs let the CPU deliver #VE, no exit comes that could find one outdated: they go
 * when memory takes their place (rule F10). Nobody installs one any more, since the set is
 * published. */
static int forget_mmio(struct mmu *mmu)
{
    return mmu_has_ve(mmu) ? zap_slot(mmu, ZAP_MMIO, DEBT_SLOT_ADDED, finish) : finish(mmu);
}

/* ---- Refusals -------------------------------------------------------------------------------- */

static int check_flags(const struct mmu *mmu, uint32_t id, uint32_t flags)
{
    bool sides = mmu_has_sides(mmu);
    if (!(flags & ~(uint32_t)(sides ? MEMSLOT_FLAGS : MEMSLOT_FLAGS & ~MEMSLOT_SHARED)))
        return 0;
    log_error("slot %u: flags %#x are unknown; 8 (read-only), 16 (log dirty pages)%s and 64 "
              "(pinned) are allowed",
              id, flags, sides ? ", 32 (shared)" : "");
    return -EINVAL;
}

/* Does [base, base + pages) touch a slot other than number `except`? */
static int check_overlap(const struct memslots *slots, uint32_t id, gfn_t base, uint64_t pages,
                         unsigned except)
{
    const struct memslot *other = memslot_overlapped(slots, base, pages, except);
    if (!other)
        return 0;
    log_error("slot %u: frames %#lx to %#lx overlap slot %u at %#lx to %#lx", id, base.v,
              base.v + pages - 1, other->id, other->base.v, memslot_end(other).v - 1);
    return -EEXIST;
}

/* The slot that the change is about. */
static int find_id(struct mmu *mmu, uint32_t id)
{
    struct changing *now = &mmu->changing;
    now->index = memslot_index(mmu->slots, id);
    if (now->index < mmu->slots->used) {
        now->slot = mmu->slots->slot[now->index];
        return 0;
    }
    log_error("slot %u does not exist", id);
    return -EINVAL;
}

/* The same, of one that may go. */
static int find_free_to_go(struct mmu *mmu, uint32_t id)
{
    int error = find_id(mmu, id);
    if (error || !(mmu->changing.slot.flags & MEMSLOT_PINNED))
        return error;
    log_error("slot %u is pinned: the CPU writes to its host pages", id);
    return -EBUSY;
}

static int check_new(const struct mmu *mmu, const char *what, const struct mmu_change *change)
{
    int error = memslot_check_range(mmu, what, change->gpa, change->pages);
    if (!error)
        error = check_flags(mmu, change->id, change->flags);
    if (error)
        return error;
    if (memslot_by_id(mmu->slots, change->id)) {
        log_error("%s exists already; delete it first", what);
        return -EEXIST;
    }
    error =
        check_overlap(mmu->slots, change->id, gpa_to_gfn(change->gpa), change->pages, MEMSLOTS_MAX);
    if (!error && mmu->slots->used == MEMSLOTS_MAX) {
        log_error("%s: all %u slots are in use", what, MEMSLOTS_MAX);
        error = -ENOSPC;
    }
    return error;
}

/* ---- A new slot ------------------------------------------------------------------------------ */

/* What hangs on no slot yet, and may be half filled. */
static void abandon(struct changing *now)
{
    struct memslot *owned = &now->owned;
    if (owned->backing.directory)
        backing_discard(&owned->backing);
    memslot_free_parts(owned);
    memslots_free_set(now->room);
    *owned = (struct memslot){0};
    now->room = NULL;
    for (unsigned i = 0; i < ARRAY_SIZE(now->filling); i++)
        now->filling[i].words = 0;
}

static int equip_bitmap(struct changing *now, uint64_t **bitmap, uint64_t value)
{
    uint64_t pages = now->owned.backing.pages;
    *bitmap = page_bitmap_alloc(pages);
    if (!*bitmap)
        return -ENOMEM;
    fill_later(now, *bitmap, page_bitmap_size(pages), value);
    return 0;
}

/* All that hangs on a new slot, or -ENOMEM. */
static int equip(const struct mmu *mmu, struct changing *now, uint64_t pages)
{
    struct memslot *slot = &now->owned;
    int error = backing_init(&slot->backing, slot->base, pages);
    if (error)
        return error;
    fill_later(now, slot->backing.directory, backing_directory_size(&slot->backing), 0);
    if (slot->flags & MEMSLOT_LOG_DIRTY)
        error = equip_bitmap(now, &slot->dirty, 0);
    if (!error && mmu_has_sides(mmu)) {
        error = equip_bitmap(now, &slot->shared, slot->flags & MEMSLOT_SHARED ? ~0ull : 0);
        slot->flags |= (uint32_t)MEMSLOT_SIDED;
    }
    return error;
}

static int add_publish(struct mmu *mmu)
{
    struct changing *now = &mmu->changing;
    now->slot = now->owned;
    unsigned at = memslots_insert(mmu, &now->slot);
    __atomic_fetch_add(&mmu->slot_pages, now->slot.backing.pages, __ATOMIC_RELAXED);
    count_logging(mmu, 0, now->slot.flags);
    return publish(mmu, at, forget_mmio);
}

static int add(struct mmu *mmu)
{
    struct changing *now = &mmu->changing;
    const struct mmu_change *what = &now->what;
    char name[24];
    snprintf(name, sizeof(name), "slot %u", what->id);
    int error = check_new(mmu, name, what);
    if (error)
        return error;
    now->owned =
        (struct memslot){.base = gpa_to_gfn(what->gpa), .id = what->id, .flags = what->flags};
    error = equip(mmu, now, what->pages);
    if (error)
        log_error("%s: no memory to keep track of %#lx pages; make it smaller", name, what->pages);
    else
        error = memslots_make_room(mmu, &now->room);
    return error ? error : fill_first(mmu, add_publish);
}

/* ---- A slot that goes away, or elsewhere ----------------------------------------------------- */

/* Its pages are freed in pieces, when nobody can reach them. */
static int delete_unlink(struct mmu *mmu)
{
    struct changing *now = &mmu->changing;
    if (!tdp_can_doom(mmu)) {
        (void)tdp_reclaim_piece(mmu, true);
        return -EINPROGRESS;
    }
    memslots_remove(mmu, now->index);
    __atomic_fetch_sub(&mmu->slot_pages, now->slot.backing.pages, __ATOMIC_RELAXED);
    int result = publish(mmu, now->index, finish);
    count_logging(mmu, now->slot.flags, 0);
    tdp_doom(mmu, &now->slot.backing);
    memslot_free_parts(&now->slot);
    return result;
}

static int move_relink(struct mmu *mmu)
{
    struct changing *now = &mmu->changing;
    now->slot.base = gpa_to_gfn(now->what.gpa);
    return publish(mmu, memslots_replace(mmu, now->index, &now->slot), forget_mmio);
}

/* What tables that are cut off already say of writes is said of frames, so it is read before these
 * are others. */
static int move_log(struct mmu *mmu)
{
    return tdp_drain_piece(mmu) ? then(mmu, move_relink) : -EINPROGRESS;
}

/* Afterwards no CPU reaches the slot's pages. A log that goes on counts D bits, which are lost with
 * whole tables. */
static int zap_invalid(struct mmu *mmu)
{
    const struct changing *now = &mmu->changing;
    if (now->what.kind == CHANGE_DELETE)
        return zap_slot(mmu, ZAP_TABLES, DEBT_SLOT_GONE, delete_unlink);
    bool logs = now->slot.flags & MEMSLOT_LOG_DIRTY;
    return zap_slot(mmu, logs ? 0 : ZAP_TABLES, DEBT_SLOT_GONE, logs ? move_log : move_relink);
}

static int retire(struct mmu *mmu)
{
    struct changing *now = &mmu->changing;
    memslots_begin(mmu)->slot[now->index].flags |= (uint32_t)MEMSLOT_INVALID;
    return publish_less(mmu, now->index, zap_invalid);
}

static int delete (struct mmu *mmu)
{
    int error = find_free_to_go(mmu, mmu->changing.what.id);
    return error ? error : retire(mmu);
}

static int move(struct mmu *mmu)
{
    struct changing *now = &mmu->changing;
    const struct mmu_change *what = &now->what;
    char name[24];
    snprintf(name, sizeof(name), "slot %u", what->id);
    int error = find_free_to_go(mmu, what->id);
    if (error)
        return error;
    gfn_t base = gpa_to_gfn(what->gpa);
    error = memslot_check_range(mmu, name, what->gpa, now->slot.backing.pages);
    if (!error)
        error = check_overlap(mmu->slots, what->id, base, now->slot.backing.pages, now->index);
    if (error || base.v == now->slot.base.v)
        return error;
    return retire(mmu);
}

/* ---- Other flags ----------------------------------------------------------------------------- */

/* What changes of flags leave of tables is freed by the next ones. */
static int tidy(struct mmu *mmu)
{
    (void)tdp_reclaim_piece(mmu, false);
    return 0;
}

static int protect(struct mmu *mmu)
{
    return dirty_protect_piece(mmu, &mmu->changing.iter) ? then(mmu, tidy) : -EINPROGRESS;
}

/* Where a table is missing for it, the slot is zapped instead. */
static int split(struct mmu *mmu)
{
    struct changing *now = &mmu->changing;
    int result = huge_split_piece(mmu, &now->iter);
    if (result < 0)
        return zap_slot(mmu, 0, DEBT_SLOT_FLAGS, tidy);
    if (!result)
        return -EINPROGRESS;
    tdp_iter_start(&now->iter, mmu, now->slot.base, memslot_end(&now->slot));
    return then(mmu, protect);
}

/* What SPTEs say comes from the old flags. If writes are to be noticed from now on, they lose that
 * right; else they go, and faults bring the new ones, large where logging has ended. */
static int apply_flags(struct mmu *mmu)
{
    struct changing *now = &mmu->changing;
    uint32_t change = now->slot.flags ^ now->what.flags;
    if (change == MEMSLOT_LOG_DIRTY && now->what.flags & MEMSLOT_LOG_DIRTY) {
        tdp_iter_start(&now->iter, mmu, now->slot.base, memslot_end(&now->slot));
        return then(mmu, split);
    }
    bool ended = now->slot.flags & change & MEMSLOT_LOG_DIRTY;
    return zap_slot(mmu, ended ? ZAP_MMIO | ZAP_TABLES : 0, DEBT_SLOT_FLAGS, tidy);
}

static int flags_publish(struct mmu *mmu)
{
    struct changing *now = &mmu->changing;
    uint32_t flags = now->what.flags, old = now->slot.flags;
    struct memslot *next = &memslots_begin(mmu)->slot[now->index];
    bool logs = flags & MEMSLOT_LOG_DIRTY;
    next->flags = flags;
    if (!logs)
        next->dirty = NULL;
    else if (now->owned.dirty)
        next->dirty = now->owned.dirty;
    if (logs)
        count_logging(mmu, old, flags);
    int result = publish_less(mmu, now->index, apply_flags);
    if (!logs) {
        count_logging(mmu, old, flags);
        page_bitmap_free(now->slot.dirty, now->slot.backing.pages);
    }
    return result;
}

/* What tables that are cut off already say of writes is from before the log. */
static int flags_forget(struct mmu *mmu)
{
    return tdp_drain_piece(mmu) ? then(mmu, flags_publish) : -EINPROGRESS;
}

static int set_flags(struct mmu *mmu)
{
    struct changing *now = &mmu->changing;
    struct mmu_change *what = &now->what;
    int error = find_id(mmu, what->id);
    if (!error)
        error = check_flags(mmu, what->id, what->flags);
    if (error)
        return error;
    what->flags = (what->flags & ~MEMSLOT_FOR_LIFE) | (now->slot.flags & MEMSLOT_FOR_LIFE);
    if (what->flags == now->slot.flags)
        return 0;
    if (!(what->flags & MEMSLOT_LOG_DIRTY) || now->slot.dirty)
        return flags_publish(mmu);
    now->owned.backing.pages = now->slot.backing.pages;
    if (equip_bitmap(now, &now->owned.dirty, 0)) {
        log_error("slot %u: no memory for a bitmap of %#lx pages", what->id,
                  now->slot.backing.pages);
        return -ENOMEM;
    }
    return fill_first(mmu, flags_forget);
}

/* ---- Room to count who tracks which page ----------------------------------------------------- */

static int counters_publish(struct mmu *mmu)
{
    struct changing *now = &mmu->changing;
    memslots_begin(mmu)->slot[now->index].tracked = now->owned.tracked;
    return publish(mmu, now->index, finish);
}

static int add_counters(struct mmu *mmu)
{
    struct changing *now = &mmu->changing;
    const struct memslot *slot = memslot_find(mmu->slots, gpa_to_gfn(now->what.gpa));
    now->index = (unsigned)(slot - mmu->slots->slot);
    now->owned.backing.pages = slot->backing.pages;
    now->owned.tracked = track_alloc(slot->backing.pages);
    if (!now->owned.tracked) {
        log_error("slot %u: no memory to track writes to %#lx pages", slot->id,
                  slot->backing.pages);
        return -ENOMEM;
    }
    fill_later(now, now->owned.tracked, track_size(slot->backing.pages), 0);
    return fill_first(mmu, counters_publish);
}

/* ---- Interface ------------------------------------------------------------------------------- */

/* With slots_lock held, as far as it goes. */
static int go_on(struct mmu *mmu)
{
    struct changing *now = &mmu->changing;
    int result;
    do {
        result = now->step(mmu);
    } while (result == -EINPROGRESS && !mmu_pauses());
    if (result != -EINPROGRESS) {
        now->step = NULL;
        abandon(now); /* if it has failed */
    }
    return result;
}

int change_begin(struct mmu *mmu, struct mmu_change *change)
{
    static int (*const first[CHANGE_KINDS])(struct mmu * mmu) = {
        [CHANGE_ADD] = add,         [CHANGE_DELETE] = delete,         [CHANGE_MOVE] = move,
        [CHANGE_FLAGS] = set_flags, [CHANGE_COUNTERS] = add_counters,
    };
    struct changing *now = &mmu->changing;
    change->number = ++now->number;
    now->what = *change;
    now->step = first[change->kind];
    return go_on(mmu);
}

/* The lock alone; who waits for it meanwhile passes. */
static bool try_lock(struct mmu *mmu)
{
    unsigned self = this_cpu();
    if (spin_trylock(&mmu->slots_lock))
        return true;
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

void change_abandon(struct mmu *mmu)
{
    abandon(&mmu->changing);
}
