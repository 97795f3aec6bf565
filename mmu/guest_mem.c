/* SPDX-License-Identifier: MIT */
/*
 * The only accessors to guest memory (decision D16); see mmu/mmu.h. They use the slots rather than
 * the tables, so they need no SPTEs and create none. Pages that have never been touched are
 * allocated as by a fault. Writes hold the lock shared, so that no page changes while
 * mmu_host_remap() copies it. If a block has been copied in part, writes hold the lock exclusively
 * and are repeated in the copy.
 */
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/string.h"
#include "mmu/backing.h"
#include "mmu/change.h"
#include "mmu/dirty.h"
#include "mmu/memslot.h"
#include "mmu/mmu.h"
#include "mmu/sides.h"

/* The highest level at which an access may allocate. While the VM is being created, first touches
 * allocate large blocks: clearing them takes long, but the caller can be told to call again. Later
 * it cannot, so only pages are allocated. */
static unsigned level_to_populate(const struct mmu *mmu)
{
    return __atomic_load_n(&mmu->tlb.cpus, __ATOMIC_RELAXED) ? EPT_LEVEL_4K : mmu_levels();
}

/* guest_address() of a frame in the slot that has no page yet. */
static NOINLINE void *guest_first_touch(struct mmu *mmu, const struct memslot *slot, gpa_t gpa,
                                        int *error)
{
    gfn_t gfn = mmu_gfn(mmu, gpa);
    uint64_t offset = gfn.v - slot->base.v;
    unsigned level;
    *error = backing_populate(&slot->backing, &mmu->clearing, offset, level_to_populate(mmu));
    if (*error == -EINPROGRESS)
        return NULL;
    if (*error) {
        log_error("guest memory: no page left for frame %#lx; %s", gfn.v, page_shortage());
        return NULL;
    }
    hpa_t page = backing_page(&slot->backing, offset, &level);
    return phys_to_virt(hpa_add(page, page_offset(gpa.v)));
}

/* The host address of `gpa`, valid to the end of the page; or NULL, with *error set to an error of
 * guest_read(). `access` consists of EPT_ bits; `refused` are the slot flags that forbid the
 * access. */
static void *guest_address(struct mmu *mmu, gpa_t gpa, uint64_t access, uint64_t refused,
                           int *error)
{
    gfn_t gfn = mmu_gfn(mmu, gpa);
    const struct memslot *slot = memslot_find(memslots(mmu), gfn);
    uint32_t role = mmu_role(mmu, gpa);
    *error = access & ~role || !role_has_mmio(role) ? -EACCES : -EFAULT;
    if (unlikely(access & ~role))
        return NULL;
    if (unlikely(!slot))
        return NULL;

    unsigned level;
    uint64_t offset = gfn.v - slot->base.v;
    if (unlikely(!sides_reach(mmu, slot, offset, role))) {
        *error = -EACCES;
        return NULL;
    }
    if (unlikely(slot->flags & refused))
        return NULL;
    hpa_t page = backing_page(&slot->backing, offset, &level);
    if (unlikely(page_is_none(page)))
        return guest_first_touch(mmu, slot, gpa, error);
    return phys_to_virt(hpa_add(page, page_offset(gpa.v)));
}

/* The number of bytes from `gpa` to the end of its page, at most `size`. */
static size_t guest_chunk(gpa_t gpa, size_t size)
{
    size_t room = PAGE_SIZE - page_offset(gpa.v);
    return size < room ? size : room;
}

#define COPY_AT_ONCE(type)                                                              \
    __atomic_store_n((type *)to, __atomic_load_n((const type *)from, __ATOMIC_RELAXED), \
                     __ATOMIC_RELAXED)

/* Copies 2, 4 or 8 aligned bytes with a single load and store, as a CPU does: an index that a
 * device shares with its driver is never seen half written. */
static void guest_copy(void *to, const void *from, size_t size)
{
    bool aligned = !(((uintptr_t)to | (uintptr_t)from) & (size - 1));
    switch (likely(aligned) ? size : 0) {
    case 2:
        COPY_AT_ONCE(uint16_t);
        break;
    case 4:
        COPY_AT_ONCE(uint32_t);
        break;
    case 8:
        COPY_AT_ONCE(uint64_t);
        break;
    default:
        memcpy(to, from, size);
    }
}

int guest_read(struct mmu *mmu, gpa_t gpa, void *buffer, size_t size, enum mmu_access access)
{
    char *to = buffer;
    while (size) {
        int error;
        size_t length = guest_chunk(gpa, size);
        const void *from = guest_address(mmu, gpa, access, MEMSLOT_INVALID, &error);
        if (!from)
            return error;
        guest_copy(to, from, length);
        to += length;
        size -= length;
        gpa = gpa_add(gpa, length);
    }
    return 0;
}

static bool is_copied(const struct mmu *mmu)
{
    return __atomic_load_n(&mmu->changing.copying.copied, __ATOMIC_RELAXED);
}

/* Takes the lock for a write. Returns true if it is held exclusively. */
static bool lock_to_write(struct mmu *mmu)
{
    read_lock(&mmu->lock);
    if (likely(!is_copied(mmu)))
        return false;
    read_unlock(&mmu->lock);
    write_lock(&mmu->lock);
    return true;
}

/* Drops the lock after a write to the page at `at`, enters the page into the dirty log, and repeats
 * the write in a copy in progress. `at` is NULL if nothing was written. */
static void unlock_written(struct mmu *mmu, bool owned, gfn_t gfn, const void *at)
{
    if (at)
        dirty_note(mmu, gfn, 1);
    if (likely(!owned)) {
        read_unlock(&mmu->lock);
        return;
    }
    if (at)
        remap_follow(mmu, gfn, (const void *)((uintptr_t)at & PAGE_MASK));
    write_unlock(&mmu->lock);
}

static int guest_write_slots(struct mmu *mmu, gpa_t gpa, const void *buffer, size_t size,
                             uint64_t refused)
{
    const char *from = buffer;
    while (size) {
        int error;
        size_t length = guest_chunk(gpa, size);
        bool owned = lock_to_write(mmu);
        void *to = guest_address(mmu, gpa, EPT_WRITE, refused, &error);
        if (to)
            guest_copy(to, from, length);
        unlock_written(mmu, owned, mmu_gfn(mmu, gpa), to);
        if (!to)
            return error;
        from += length;
        size -= length;
        gpa = gpa_add(gpa, length);
    }
    return 0;
}

int guest_write(struct mmu *mmu, gpa_t gpa, const void *buffer, size_t size)
{
    return guest_write_slots(mmu, gpa, buffer, size, MEMSLOT_INVALID | MEMSLOT_READONLY);
}

int guest_load(struct mmu *mmu, gpa_t gpa, const void *buffer, size_t size)
{
    return guest_write_slots(mmu, gpa, buffer, size, MEMSLOT_INVALID);
}

int guest_may_write(struct mmu *mmu, gpa_t gpa)
{
    int error;
    bool may = guest_address(mmu, gpa, EPT_WRITE, MEMSLOT_INVALID | MEMSLOT_READONLY, &error);
    return may ? 0 : error;
}

static bool exchange_entry(void *at, size_t size, uint64_t old, uint64_t new)
{
    uint32_t old32 = (uint32_t)old;
    if (size == 8)
        return __atomic_compare_exchange_n((uint64_t *)at, &old, new, false, __ATOMIC_SEQ_CST,
                                           __ATOMIC_SEQ_CST);
    return __atomic_compare_exchange_n((uint32_t *)at, &old32, (uint32_t) new, false,
                                       __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

int guest_cmpxchg(struct mmu *mmu, gpa_t gpa, size_t size, uint64_t old, uint64_t new)
{
    int error;
    if ((size != 4 && size != 8) || gpa.v & (size - 1))
        return -EINVAL;
    bool owned = lock_to_write(mmu);
    void *at =
        guest_address(mmu, gpa, EPT_READ | EPT_WRITE, MEMSLOT_INVALID | MEMSLOT_READONLY, &error);
    if (at)
        error = exchange_entry(at, size, old, new) ? 0 : -EAGAIN;
    unlock_written(mmu, owned, mmu_gfn(mmu, gpa), error ? NULL : at);
    return error;
}

const void *guest_page(struct mmu *mmu, gpa_t gpa, enum mmu_access access)
{
    gfn_t gfn = mmu_gfn(mmu, gpa);
    uint32_t role = mmu_role(mmu, gpa);
    if (access & ~role)
        return NULL;
    const struct memslot *slot = memslot_find(memslots(mmu), gfn);
    if (!slot || slot->flags & MEMSLOT_INVALID)
        return NULL;
    unsigned level;
    uint64_t offset = gfn.v - slot->base.v;
    if (!sides_reach(mmu, slot, offset, role))
        return NULL;
    hpa_t page = backing_page(&slot->backing, offset, &level);
    return page_is_none(page) ? NULL : phys_to_virt(page);
}
