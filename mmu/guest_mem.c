/* SPDX-License-Identifier: MIT */
/*
 * The one accessor to guest memory (decision D16); see mmu/mmu.h. It goes through the slots, not
 * the tables, so it needs no SPTE and leaves none; pages never touched are allocated as a fault
 * would. Writes hold the lock, shared, so that mmu_host_remap() copies a page that nobody changes.
 */
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/string.h"
#include "mmu/backing.h"
#include "mmu/dirty.h"
#include "mmu/memslot.h"
#include "mmu/mmu.h"
#include "mmu/sides.h"

/* What has never been touched gets a large block while the VM is made. Later that would take long,
 * and nobody who comes here can be told to come again. */
static unsigned level_here(const struct mmu *mmu)
{
    return __atomic_load_n(&mmu->tlb.cpus, __ATOMIC_RELAXED) ? EPT_LEVEL_4K : mmu_levels();
}

/* The host address of `gpa`, good to the end of its page. NULL with *error set as in mmu.h.
 * `access` in EPT_ bits; `refused`: slot flags that forbid it. */
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
    if (unlikely(page_is_none(page))) {
        *error = backing_populate(&slot->backing, &mmu->clearing, offset, level_here(mmu));
        if (*error) {
            log_error("guest memory: no page left for frame %#lx; %s", gfn.v, page_shortage());
            return NULL;
        }
        page = backing_page(&slot->backing, offset, &level);
    }
    return phys_to_virt(hpa_add(page, page_offset(gpa.v)));
}

/* What fits into the page of `gpa`, at most `size`. */
static size_t chunk(gpa_t gpa, size_t size)
{
    size_t room = PAGE_SIZE - page_offset(gpa.v);
    return size < room ? size : room;
}

/* What a CPU reads or writes at once is so here, too: an index that a device shares with its driver
 * never appears half written. */
static void copy(void *to, const void *from, size_t size)
{
    switch (size) {
    case 2:
        __builtin_memcpy(to, from, 2);
        break;
    case 4:
        __builtin_memcpy(to, from, 4);
        break;
    case 8:
        __builtin_memcpy(to, from, 8);
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
        size_t length = chunk(gpa, size);
        const void *from = guest_address(mmu, gpa, access, MEMSLOT_INVALID, &error);
        if (!from)
            return error;
        copy(to, from, length);
        to += length;
        size -= length;
        gpa = gpa_add(gpa, length);
    }
    return 0;
}

static int write_bytes(struct mmu *mmu, gpa_t gpa, const void *buffer, size_t size,
                       uint64_t refused)
{
    const char *from = buffer;
    while (size) {
        int error;
        size_t length = chunk(gpa, size);
        read_lock(&mmu->lock);
        void *to = guest_address(mmu, gpa, EPT_WRITE, refused, &error);
        if (to) {
            copy(to, from, length);
            dirty_note(mmu, mmu_gfn(mmu, gpa), 1);
        }
        read_unlock(&mmu->lock);
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
    return write_bytes(mmu, gpa, buffer, size, MEMSLOT_INVALID | MEMSLOT_READONLY);
}

int guest_load(struct mmu *mmu, gpa_t gpa, const void *buffer, size_t size)
{
    return write_bytes(mmu, gpa, buffer, size, MEMSLOT_INVALID);
}

static bool exchange(void *at, size_t size, uint64_t old, uint64_t new)
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
    read_lock(&mmu->lock);
    void *at =
        guest_address(mmu, gpa, EPT_READ | EPT_WRITE, MEMSLOT_INVALID | MEMSLOT_READONLY, &error);
    if (at) {
        error = exchange(at, size, old, new) ? 0 : -EAGAIN;
        if (!error)
            dirty_note(mmu, mmu_gfn(mmu, gpa), 1);
    }
    read_unlock(&mmu->lock);
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
