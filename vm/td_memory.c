/* SPDX-License-Identifier: MIT */
/* A TD's private memory, of which the MMU has a mirror and the secure side the pages; see the
 * header. */
#include "vm/td_memory.h"

#include "ept/tdx_status.h"
#include "lib/errno.h"
#include "lib/trace.h"
#include "mmu/external.h"
#include "mmu/memslot.h"
#include "mmu/mirror.h"
#include "mmu/sides.h"
#include "tdx/measure.h"
#include "tdx/td.h"
#include "vm/vm.h"

/* ---- States ---------------------------------------------------------------------------------- */

const char *td_page_state_name(enum td_page_state state)
{
    static const char *const names[] = {
        [TD_PAGE_NONE] = "no RAM",
        [TD_PAGE_SHARED] = "SHARED",
        [TD_PAGE_CONVERTING] = "being converted",
        [TD_PAGE_PENDING] = "PENDING",
        [TD_PAGE_BLOCKED] = "BLOCKED",
        [TD_PAGE_ACCEPTED] = "MAPPED",
    };
    return names[state];
}

/* The state in which the secure side has the page. Large pages are looked for first, because
 * another CPU may split one meanwhile: its small pages are found then, but not the other way
 * round. */
static enum td_page_state private_state(struct vm *vm, gfn_t gfn)
{
    struct secure_td *td = &vm->td->external->td;
    for (unsigned level = EPT_LEVEL_2M; level >= EPT_LEVEL_4K; level--) {
        hpa_t page;
        enum secure_state state;
        if (secure_read(td, ept_first_frame(gfn, level), level, &page, &state) ||
            state == SECURE_TABLE)
            continue;
        return state == SECURE_MAPPED    ? TD_PAGE_ACCEPTED
               : state == SECURE_BLOCKED ? TD_PAGE_BLOCKED
                                         : TD_PAGE_PENDING;
    }
    return TD_PAGE_PENDING;
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
    return private_state(vm, gfn);
}

/* ---- Private bytes --------------------------------------------------------------------------- */

/* 0, or why the secure side has refused an access to the page. */
static int refused(struct vm *vm, gpa_t gpa, uint64_t status)
{
    if (!status)
        return 0;
    return td_page_state(vm, gpa) == TD_PAGE_NONE ? -EFAULT : -EACCES;
}

static size_t td_memory_chunk(gpa_t gpa, size_t size)
{
    size_t room = PAGE_SIZE - page_offset(gpa.v);
    return size < room ? size : room;
}

int td_private_read(struct vm *vm, gpa_t gpa, void *buffer, size_t size)
{
    char *to = buffer;
    for (size_t length; size; size -= length, to += length, gpa = gpa_add(gpa, length)) {
        length = td_memory_chunk(gpa, size);
        uint64_t status = secure_read_private(&vm->td->external->td, gpa_to_gfn(gpa),
                                              (unsigned)page_offset(gpa.v), to, length);
        int error = refused(vm, gpa, status);
        if (error)
            return error;
    }
    return 0;
}

int td_private_write(struct vm *vm, gpa_t gpa, const void *buffer, size_t size)
{
    const char *from = buffer;
    for (size_t length; size; size -= length, from += length, gpa = gpa_add(gpa, length)) {
        length = td_memory_chunk(gpa, size);
        uint64_t status = secure_write_private(&vm->td->external->td, gpa_to_gfn(gpa),
                                               (unsigned)page_offset(gpa.v), from, length);
        int error = refused(vm, gpa, status);
        if (error)
            return error;
    }
    return 0;
}

/* ---- PAGE.ACCEPT ----------------------------------------------------------------------------- */

/* The level of the page that was accepted before, which may be larger than the one asked for. */
static unsigned accepted_level(struct vm *vm, gpa_t gpa, unsigned level)
{
    unsigned found;
    hpa_t host;
    if (mmu_gpa_to_pfn(&vm->mmu, gpa, &host, &found))
        return level;
    return found - EPT_LEVEL_4K > level ? found - EPT_LEVEL_4K : level;
}

static uint64_t td_memory_accept(struct vm *vm, gpa_t gpa, unsigned level)
{
    uint64_t status;
    int error = mmu_td_accept(&vm->mmu, gpa, level + EPT_LEVEL_4K, &status);
    if (error)
        return error == -EAGAIN ? TD_ACCEPT_RETRY : TD_ACCEPT_NONE;
    if (status == TDX_PAGE_ALREADY_ACCEPTED)
        level = accepted_level(vm, gpa, level);
    return status ? status | level : TDX_SUCCESS;
}

uint64_t td_accept(struct vm *vm, gpa_t gpa, unsigned level)
{
    uint64_t status = td_memory_accept(vm, gpa, level);
    trace(accept, gpa.v, level, status);
    return status;
}

/* ---- MapGPA ---------------------------------------------------------------------------------- */

int64_t td_convert(struct vm *vm, gpa_t gpa, uint64_t pages, bool shared)
{
    int64_t done = mmu_convert(&vm->mmu, gpa, pages, shared);
    if (done > 0)
        trace(convert, gpa.v, (uint64_t)done, shared);
    return done;
}

/* ---- The initial image ----------------------------------------------------------------------- */

/* TDH.MEM.PAGE.ADD, of the page that was added. */
void td_measure_page(struct mmu *mmu, gfn_t gfn, const void *content)
{
    const struct td *td = container_of(mmu, struct vm, mmu)->td;
    (void)content; /* which TDH.MR.EXTEND measures, if at all */
    tdx_measure_page(td->measurement, gfn_to_gpa(gfn));
}

int td_add_page(struct vm *vm, gfn_t gfn, const void *content, bool extend)
{
    struct td *td = vm->td;
    if (td->finalised)
        return -EPERM;
    if (!tdx_measuring(td->measurement)) {
        int error = mmu_td_add(&vm->mmu, gfn, content);
        if (error)
            return error;
        td->pages_added++;
    }
    if (!extend || tdx_measure_contents(td->measurement, gfn_to_gpa(gfn), content))
        return 0;
    return -EINPROGRESS;
}

int td_finalise(struct vm *vm)
{
    if (vm->td->finalised)
        return -EPERM;
    int error = mmu_td_finalise(&vm->mmu);
    if (error)
        return error;
    tdx_measure_finalise(vm->td->measurement);
    vm->td->finalised = true;
    return 0;
}
