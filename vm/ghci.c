/* SPDX-License-Identifier: MIT */
/* The hypercalls of the GHCI (vm/ghci.h). The guest chooses every register, so none is trusted. */
#include "vm/ghci.h"

#include "lib/errno.h"
#include "arch/x86/regs.h"
#include "mmu/memslot.h"
#include "tdx/tdcall.h"

#define EXPOSED_BY_REPLAY BITS(15, 10) /* R10 to R15 */

/* ---- Addresses ------------------------------------------------------------------------------- */

/* Splits an address into its GPA without stolen bits and its side, private or shared. Returns false
 * if another stolen bit is set, or if the GPA is beyond what the VM can have. */
static bool ghci_plain(const struct ghci *g, uint64_t address, gpa_t *gpa, bool *shared)
{
    uint32_t role = mmu_role(g->mmu, GPA(address));
    gfn_t gfn = mmu_gfn(g->mmu, GPA(address));
    *shared = role & ROLE_SHARED;
    *gpa = GPA(gfn_to_gpa(gfn).v | page_offset(address));
    return !(role & ROLE_EXECUTE_ONLY) && gfn.v < memslot_gfn_end(g->mmu);
}

/* Splits the first address of a range. Returns false if either end is invalid, or if the two ends
 * are on different sides. */
static bool ghci_plain_range(const struct ghci *g, uint64_t first, uint64_t size, gpa_t *gpa,
                             bool *shared)
{
    gpa_t last;
    bool last_shared;
    return size && first + size > first && ghci_plain(g, first, gpa, shared) &&
           ghci_plain(g, first + size - 1, &last, &last_shared) && *shared == last_shared;
}

/* ---- Leaves. Each returns the completion code for R10 ---------------------------------------- */

static uint64_t ghci_get_info(const struct ghci *g, uint64_t *gpr)
{
    if (gpr[GPR_R12])
        return g->td ? g->td->more(g->context, gpr) : GHCI_INVALID_OPERAND;
    /* All zero: only the base leaves exist. */
    gpr[GPR_R11] = gpr[GPR_R12] = gpr[GPR_R13] = gpr[GPR_R14] = 0;
    return GHCI_SUCCESS;
}

static int64_t ghci_convert(const struct ghci *g, gpa_t gpa, uint64_t pages, bool shared)
{
    return g->td ? g->td->convert(g->context, gpa, pages, shared)
                 : mmu_convert(g->mmu, gpa, pages, shared);
}

/* R11 returns the address up to which pages are converted. Returns false if nothing was converted
 * yet because another vCPU is changing the slots; then no register has changed. */
static bool ghci_map_gpa(const struct ghci *g, uint64_t *gpr)
{
    uint64_t address = gpr[GPR_R12], size = gpr[GPR_R13], done = 0, result = GHCI_SUCCESS;
    gpa_t gpa;
    bool shared;
    if (!ghci_plain_range(g, address, size, &gpa, &shared))
        result = GHCI_INVALID_OPERAND;
    else if (page_offset(address) || page_offset(size))
        result = GHCI_ALIGN_ERROR;
    for (uint64_t pages = size >> PAGE_SHIFT; result == GHCI_SUCCESS && done < pages;) {
        int64_t now = done && g->interrupted(g->context)
                          ? -EINPROGRESS
                          : ghci_convert(g, gpa_add(gpa, done * PAGE_SIZE), pages - done, shared);
        if (now == -EINPROGRESS && !done)
            return false;
        if (now < 0)
            result = now == -EINPROGRESS ? GHCI_RETRY : GHCI_INVALID_OPERAND;
        else
            done += (uint64_t)now;
    }
    gpr[GPR_R10] = result;
    gpr[GPR_R11] = address + done * PAGE_SIZE;
    return true;
}

/* Repeats the last request for another address of its range. The checks of that request still hold,
 * because neither the slots nor the bus have changed. */
static inline bool ghci_request_again(const struct ghci *g, uint64_t *gpr)
{
    const struct ghci_replay *m = g->replay;
    uint64_t address = gpr[GPR_R14];
    if (gpr[GPR_RCX] != m->exposed || gpr[GPR_R10] || gpr[GPR_R11] != GHCI_REQUEST_MMIO ||
        gpr[GPR_R12] != m->size || gpr[GPR_R13] != m->write ||
        mmu_slot_generation(g->mmu) != m->generation || bus_sequence(g->bus) != m->range.sequence ||
        address - m->range.first > m->range.span)
        return false;
    const struct bus_region *region = &m->range.region;
    uint64_t offset = address - region->start;
    if (m->write)
        region->ops->write(region->device, g->vcpu, offset, (unsigned)m->size,
                           gpr[GPR_R15] & ~0ull >> (64 - 8 * m->size));
    else
        gpr[GPR_R11] = region->ops->read(region->device, g->vcpu, offset, (unsigned)m->size) &
                       ~0ull >> (64 - 8 * m->size);
    gpr[GPR_RAX] = gpr[GPR_R10] = 0;
    return true;
}

/* Fills the replay entry for the intersection of this page and the bus range. The generation was
 * read before the slots were searched. A range that is a doorbell is not kept, nor is a call that
 * does not expose all registers of the leaf. */
static void ghci_remember(const struct ghci *g, const uint64_t *gpr, uint64_t generation)
{
    uint64_t address = gpr[GPR_R14], size = gpr[GPR_R12], exposed = g->gpr[GPR_RCX];
    struct bus_hint *range = &g->replay->range;
    *g->replay = (struct ghci_replay){
        .exposed = exposed, .size = size, .write = gpr[GPR_R13], .generation = generation};
    if (page_offset(address) + size > PAGE_SIZE || generation & SLOT_UPDATE_IN_PROGRESS ||
        ~exposed & EXPOSED_BY_REPLAY)
        return;
    bus_hint_fill(g->bus, range, address, (unsigned)size, gpr[GPR_R13]);
    uint64_t first = address & PAGE_MASK, last = first + PAGE_SIZE - size;
    if (range->first + range->span < last)
        last = range->first + range->span;
    if (range->first > first)
        first = range->first;
    range->first = first;
    range->span = last - first;
    if (range->doorbell)
        range->sequence = 0;
}

static uint64_t ghci_request_mmio(const struct ghci *g, uint64_t *gpr)
{
    uint64_t size = gpr[GPR_R12], write = gpr[GPR_R13];
    gpa_t gpa;
    bool shared;
    if ((size != 1 && size != 2 && size != 4 && size != 8) || write > 1 ||
        !ghci_plain_range(g, gpr[GPR_R14], size, &gpa, &shared) || !shared)
        return GHCI_INVALID_OPERAND;
    const struct memslots *slots = memslots(g->mmu);
    uint64_t generation = memslots_generation(slots);
    if (memslot_find(slots, gpa_to_gfn(gpa)) ||
        memslot_find(slots, gpa_to_gfn(gpa_add(gpa, size - 1))))
        return GHCI_INVALID_OPERAND; /* memory is no device */
    ghci_remember(g, gpr, generation);
    if (write)
        bus_write(g->bus, g->vcpu, gpr[GPR_R14], (unsigned)size, gpr[GPR_R15]);
    else
        gpr[GPR_R11] = bus_read(g->bus, g->vcpu, gpr[GPR_R14], (unsigned)size);
    return GHCI_SUCCESS;
}

/* Executes the leaf on a copy of the registers that are exposed. Returns false as ghci_call(). */
static bool ghci_leaf(const struct ghci *g, uint64_t *gpr)
{
    if (gpr[GPR_R10])
        gpr[GPR_R10] = GHCI_UNKNOWN_LEAF; /* R10 other than 0: a vendor's own call */
    else if (gpr[GPR_R11] == GHCI_REQUEST_MMIO)
        gpr[GPR_R10] = ghci_request_mmio(g, gpr);
    else if (gpr[GPR_R11] == GHCI_MAP_GPA)
        return ghci_map_gpa(g, gpr);
    else if (gpr[GPR_R11] == GHCI_GET_INFO)
        gpr[GPR_R10] = ghci_get_info(g, gpr);
    else
        gpr[GPR_R10] = g->td ? g->td->more(g->context, gpr) : GHCI_UNKNOWN_LEAF;
    return true;
}

bool ghci_call(const struct ghci *g)
{
    uint64_t *gpr = g->gpr;
    if (likely(ghci_request_again(g, gpr)))
        return true;
    uint64_t exposed = gpr[GPR_RCX], seen[GPR_COUNT] = {0};
    if (exposed & ~TDVMCALL_EXPOSABLE) {
        gpr[GPR_RAX] = GHCI_BAD_EXPOSURE;
        return true;
    }
    exposed &= BIT(GPR_COUNT) - 1; /* XMM registers are exposed to nobody here */
    for (uint64_t left = exposed; left; left &= left - 1)
        seen[__builtin_ctzll(left)] = gpr[__builtin_ctzll(left)];
    if (!ghci_leaf(g, seen))
        return false;
    for (uint64_t left = exposed; left; left &= left - 1)
        gpr[__builtin_ctzll(left)] = seen[__builtin_ctzll(left)];
    gpr[GPR_RAX] = 0;
    return true;
}
