/* SPDX-License-Identifier: MIT */
/* A TD's private memory; see the header. Which pages are PENDING is one bit for each frame. */
#include "vm/td_memory.h"

#include "ept/tdx_status.h"
#include "lib/errno.h"
#include "lib/trace.h"
#include "mmu/memslot.h"
#include "mmu/sides.h"
#include "tdx/measure.h"
#include "tdx/td.h"
#include "vm/vm.h"

#define LARGE_FRAMES 512u

/* ---- States ---------------------------------------------------------------------------------- */

const char *td_page_state_name(enum td_page_state state)
{
    static const char *const names[] = {
        [TD_PAGE_NONE] = "no RAM",
        [TD_PAGE_SHARED] = "SHARED",
        [TD_PAGE_CONVERTING] = "being converted",
        [TD_PAGE_PENDING] = "PENDING",
        [TD_PAGE_ACCEPTED] = "MAPPED",
    };
    return names[state];
}

static uint64_t *pending_word(const struct td *td, gfn_t gfn)
{
    return &td->pending[gfn.v / 64];
}

static bool is_pending(const struct td *td, gfn_t gfn)
{
    return __atomic_load_n(pending_word(td, gfn), __ATOMIC_ACQUIRE) & BIT(gfn.v % 64);
}

/* Returns whether the frame was PENDING. */
static bool pending_clear(const struct td *td, gfn_t gfn)
{
    uint64_t bit = BIT(gfn.v % 64);
    return __atomic_fetch_and(pending_word(td, gfn), ~bit, __ATOMIC_ACQ_REL) & bit;
}

static void pending_set(const struct td *td, gfn_t gfn)
{
    __atomic_fetch_or(pending_word(td, gfn), BIT(gfn.v % 64), __ATOMIC_ACQ_REL);
}

enum td_page_state td_page_state(struct vm *vm, gpa_t gpa)
{
    const gfn_t gfn = gpa_to_gfn(gpa);
    const struct memslot *slot = memslot_find(memslots(&vm->mmu), gfn);
    if (!slot)
        return TD_PAGE_NONE;
    const uint64_t offset = gfn.v - slot->base.v;
    if (sides_reach(&vm->mmu, slot, offset, ROLE_SHARED))
        return TD_PAGE_SHARED;
    if (!sides_reach(&vm->mmu, slot, offset, ROLE_PRIVATE))
        return TD_PAGE_CONVERTING;
    return is_pending(vm->td, gfn) ? TD_PAGE_PENDING : TD_PAGE_ACCEPTED;
}

/* ---- Private bytes --------------------------------------------------------------------------- */

/* 0 if all pages of the range are private and accepted. */
static int check_accepted(struct vm *vm, gpa_t gpa, size_t size)
{
    for (uint64_t page = gpa.v & PAGE_MASK; page < gpa.v + size; page += PAGE_SIZE) {
        enum td_page_state state = td_page_state(vm, GPA(page));
        if (state != TD_PAGE_ACCEPTED)
            return state == TD_PAGE_NONE ? -EFAULT : -EACCES;
    }
    return 0;
}

int td_private_read(struct vm *vm, gpa_t gpa, void *buffer, size_t size)
{
    int error = check_accepted(vm, gpa, size);
    return error ? error : guest_read(&vm->mmu, gpa, buffer, size, ACCESS_READ);
}

int td_private_write(struct vm *vm, gpa_t gpa, const void *buffer, size_t size)
{
    int error = check_accepted(vm, gpa, size);
    return error ? error : guest_write(&vm->mmu, gpa, buffer, size);
}

/* ---- PAGE.ACCEPT ----------------------------------------------------------------------------- */

/* The memory is zero already: a frame is cleared when it is allocated and when it is converted. */
static uint64_t accept(struct vm *vm, gpa_t gpa, unsigned level)
{
    const gfn_t first = gpa_to_gfn(gpa);
    const uint64_t frames = level ? LARGE_FRAMES : 1;
    uint64_t pending = 0;
    for (uint64_t i = 0; i < frames; i++) {
        switch (td_page_state(vm, gfn_to_gpa(GFN(first.v + i)))) {
        case TD_PAGE_CONVERTING:
            return TD_ACCEPT_RETRY;
        case TD_PAGE_NONE:
        case TD_PAGE_SHARED:
            return TD_ACCEPT_NONE;
        case TD_PAGE_PENDING:
            pending++;
            break;
        case TD_PAGE_ACCEPTED:
            break;
        }
    }
    if (!pending)
        return TDX_PAGE_ALREADY_ACCEPTED | level;
    if (pending < frames) /* the module would have the range as small pages */
        return TDX_PAGE_SIZE_MISMATCH | level;
    for (uint64_t i = 0; i < frames; i++)
        (void)pending_clear(vm->td, GFN(first.v + i));
    return TDX_SUCCESS;
}

uint64_t td_accept(struct vm *vm, gpa_t gpa, unsigned level)
{
    uint64_t status = accept(vm, gpa, level);
    trace(accept, gpa.v, level, status);
    return status;
}

/* ---- MapGPA ---------------------------------------------------------------------------------- */

/* Frames that become private are PENDING before anybody can use them, and those that were private
 * already stay as they are. */
int64_t td_convert(struct vm *vm, gpa_t gpa, uint64_t pages, bool shared)
{
    const gfn_t first = gpa_to_gfn(gpa);
    if (pages > CONVERT_FRAMES)
        pages = CONVERT_FRAMES;
    for (uint64_t i = 0; i < pages && !shared; i++)
        if (td_page_state(vm, gfn_to_gpa(GFN(first.v + i))) == TD_PAGE_SHARED)
            pending_set(vm->td, GFN(first.v + i));
    int64_t done = mmu_convert(&vm->mmu, gpa, pages, shared);
    for (uint64_t i = 0; done > 0 && i < (uint64_t)done && shared; i++)
        (void)pending_clear(vm->td, GFN(first.v + i));
    if (done > 0)
        trace(convert, gpa.v, (uint64_t)done, shared);
    return done;
}

/* ---- The initial image ----------------------------------------------------------------------- */

int td_add_page(struct vm *vm, gfn_t gfn, const void *content, bool extend)
{
    struct td *td = vm->td;
    if (td->finalised)
        return -EPERM;
    if (td_page_state(vm, gfn_to_gpa(gfn)) == TD_PAGE_NONE)
        return -EFAULT;
    if (!is_pending(td, gfn))
        return -EEXIST;
    const gpa_t gpa = gfn_to_gpa(gfn);
    int error = guest_load(&vm->mmu, gpa, content, PAGE_SIZE);
    if (error)
        return error;
    (void)pending_clear(td, gfn);
    tdx_measure_page(td->measurement, gpa);
    for (uint64_t at = 0; extend && at < PAGE_SIZE; at += TDX_MR_CHUNK)
        tdx_measure_chunk(td->measurement, gpa_add(gpa, at), (const char *)content + at);
    td->pages_added++;
    return 0;
}

int td_finalise(struct vm *vm)
{
    if (vm->td->finalised)
        return -EPERM;
    tdx_measure_finalise(vm->td->measurement);
    vm->td->finalised = true;
    return 0;
}
