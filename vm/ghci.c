/* SPDX-License-Identifier: MIT */
/* The GHCI's hypercalls; see the header. Every register is the guest's word. */
#include "vm/ghci.h"

#include "lib/errno.h"
#include "mmu/memslot.h"
#include "arch/x86/regs.h"

/* What RCX may expose: general registers but RAX, RCX and RSP, and XMM registers. */
#define EXPOSABLE (0xffff0000ull | (0xffffull & ~(BIT(0) | BIT(1) | BIT(4))))

/* ---- Addresses ------------------------------------------------------------------------------- */

/* The plain address of one that means memory, or a device, on one of the two sides: no other stolen
 * bit, and nothing beyond what the VM can have. */
static bool plain(const struct ghci *g, uint64_t address, gpa_t *gpa, bool *shared)
{
    uint32_t role = mmu_role(g->mmu, GPA(address));
    gfn_t gfn = mmu_gfn(g->mmu, GPA(address));
    *shared = role & ROLE_SHARED;
    *gpa = GPA(gfn_to_gpa(gfn).v | page_offset(address));
    return !(role & ROLE_EXECUTE_ONLY) && gfn.v < memslot_gfn_end(g->mmu);
}

/* The same of a range, whose ends must be on the same side. */
static bool plain_range(const struct ghci *g, uint64_t first, uint64_t size, gpa_t *gpa,
                        bool *shared)
{
    gpa_t last;
    bool last_shared;
    return size && first + size > first && plain(g, first, gpa, shared) &&
           plain(g, first + size - 1, &last, &last_shared) && *shared == last_shared;
}

/* ---- Leaves. Each returns what goes into R10 ------------------------------------------------- */

static uint64_t get_info(uint64_t *gpr)
{
    if (gpr[GPR_R12])
        return GHCI_INVALID_OPERAND;
    gpr[GPR_R11] = gpr[GPR_R12] = gpr[GPR_R13] = gpr[GPR_R14] =
        0; /* no more than the base leaves */
    return GHCI_SUCCESS;
}

/* R11 says how far it is. False: nothing has been done, and no register has changed. */
static bool map_gpa(const struct ghci *g, uint64_t *gpr)
{
    uint64_t address = gpr[GPR_R12], size = gpr[GPR_R13], done = 0, result = GHCI_SUCCESS;
    gpa_t gpa;
    bool shared;
    if (!plain_range(g, address, size, &gpa, &shared))
        result = GHCI_INVALID_OPERAND;
    else if (page_offset(address) || page_offset(size))
        result = GHCI_ALIGN_ERROR;
    for (uint64_t pages = size >> PAGE_SHIFT; result == GHCI_SUCCESS && done < pages;) {
        int64_t now =
            done && g->interrupted(g->context)
                ? -EINPROGRESS
                : mmu_convert(g->mmu, gpa_add(gpa, done * PAGE_SIZE), pages - done, shared);
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

/* The device of the last request again: whatever that one was asked holds as long as the slots and
 * the bus are what they were. */
static inline bool request_again(const struct ghci *g, uint64_t *gpr)
{
    const struct ghci_memo *m = g->memo;
    uint64_t address = gpr[GPR_R14];
    if (gpr[GPR_RCX] != GHCI_EXPOSED || gpr[GPR_R10] || gpr[GPR_R11] != GHCI_REQUEST_MMIO ||
        gpr[GPR_R12] != m->size || gpr[GPR_R13] != m->write ||
        mmu_slot_generation(g->mmu) != m->generation || bus_sequence(g->bus) != m->place.sequence ||
        address - m->place.first > m->place.span)
        return false;
    const struct bus_region *region = &m->place.region;
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

/* For where this page and the place of the bus meet. The generation is from before the slots were
 * asked; a place that rings is not remembered. */
static void remember(const struct ghci *g, const uint64_t *gpr, uint64_t generation)
{
    uint64_t address = gpr[GPR_R14], size = gpr[GPR_R12];
    struct bus_hint *place = &g->memo->place;
    *g->memo = (struct ghci_memo){.size = size, .write = gpr[GPR_R13], .generation = generation};
    if (page_offset(address) + size > PAGE_SIZE || generation & SLOT_UPDATE_IN_PROGRESS)
        return;
    bus_hint_fill(g->bus, place, address, (unsigned)size, gpr[GPR_R13]);
    uint64_t first = address & PAGE_MASK, last = first + PAGE_SIZE - size;
    if (place->first + place->span < last)
        last = place->first + place->span;
    if (place->first > first)
        first = place->first;
    place->first = first;
    place->span = last - first;
    if (place->doorbell)
        place->sequence = 0;
}

static uint64_t request_mmio(const struct ghci *g, uint64_t *gpr)
{
    uint64_t size = gpr[GPR_R12], write = gpr[GPR_R13];
    gpa_t gpa;
    bool shared;
    if ((size != 1 && size != 2 && size != 4 && size != 8) || write > 1 ||
        !plain_range(g, gpr[GPR_R14], size, &gpa, &shared) || !shared)
        return GHCI_INVALID_OPERAND;
    const struct memslots *slots = memslots(g->mmu);
    uint64_t generation = memslots_generation(slots);
    if (memslot_find(slots, gpa_to_gfn(gpa)) ||
        memslot_find(slots, gpa_to_gfn(gpa_add(gpa, size - 1))))
        return GHCI_INVALID_OPERAND; /* memory is no device */
    remember(g, gpr, generation);
    if (write)
        bus_write(g->bus, g->vcpu, gpr[GPR_R14], (unsigned)size, gpr[GPR_R15]);
    else
        gpr[GPR_R11] = bus_read(g->bus, g->vcpu, gpr[GPR_R14], (unsigned)size);
    return GHCI_SUCCESS;
}

bool ghci_call(const struct ghci *g)
{
    uint64_t *gpr = g->gpr, exposed = gpr[GPR_RCX];
    if (likely(request_again(g, gpr)))
        return true;
    if (exposed & ~EXPOSABLE || ~exposed & GHCI_EXPOSED) {
        gpr[GPR_RAX] = GHCI_BAD_EXPOSURE;
        return true;
    }
    gpr[GPR_RAX] = 0;
    if (gpr[GPR_R10])
        gpr[GPR_R10] = GHCI_UNKNOWN_LEAF; /* nobody's own calls */
    else if (gpr[GPR_R11] == GHCI_REQUEST_MMIO)
        gpr[GPR_R10] = request_mmio(g, gpr);
    else if (gpr[GPR_R11] == GHCI_MAP_GPA)
        return map_gpa(g, gpr);
    else if (gpr[GPR_R11] == GHCI_GET_INFO)
        gpr[GPR_R10] = get_info(gpr);
    else
        gpr[GPR_R10] = GHCI_UNKNOWN_LEAF;
    return true;
}
