/* SPDX-License-Identifier: MIT */
/* See the header. Pure. */
#include "launch/needs.h"

#include "vm/layout.h"
#include "vm/transcript.h"
#include "lib/trace.h"
#include "mmu/mmu.h"
#include "mmu/tables.h"

#define SLOTS           (GUEST_RAM_PIECES + 3u) /* RAM, BIOS area, #VE areas or boot shim, VGA */
#define PIECE_SIZE      (512 * PAGE_SIZE)       /* RAM described by one page of mmu/backing.h */
#define VCPU_PAGES      11u           /* VMCS, MSR bitmap, PML, extended state, #VE, APIC */
#define TD_SHARED_PART  8u            /* of its RAM, */
#define TD_SHARED_LEAST (68ull << 20) /* and so many bytes, can be shared by a TD */
#define TRACE_LINE      128u          /* approximate bytes of text for one trace event */

static uint64_t pages_of(uint64_t bytes)
{
    return (bytes + PAGE_SIZE - 1) / PAGE_SIZE;
}

/* Returns the number of pages that an allocation takes, which is a power of two. */
static uint64_t block_of(uint64_t bytes)
{
    uint64_t block = 1;
    while (block < pages_of(bytes))
        block *= 2;
    return block;
}

void vm_needs(struct vm_needs *needs, const struct vm_size *size)
{
    uint64_t pieces = size->ram / PIECE_SIZE + 2 * SLOTS, pages = pages_of(size->ram);
    uint64_t directories = SLOTS + block_of(pieces * sizeof(uint64_t));
    uint64_t bitmaps = size->sides ? SLOTS + block_of(pages / 8) : 0;

    /* Private RAM of a TD is part of size->td. A TD shares its buffers for devices (Linux'
     * swiotlb), for which Linux takes a sixteenth of its RAM, and at least 64 MiB. */
    uint64_t shared = pages / TD_SHARED_PART + pages_of(TD_SHARED_LEAST);
    if (size->td && shared < pages)
        pages = shared;
    *needs = (struct vm_needs){
        /* The pages of the BIOS area and of a VGA's text memory need no addend: they are smaller
         * than the hole from 640 KiB to 1 MiB, which size->ram includes but which has no RAM. */
        .ram = pages + (size->ve ? size->vcpus : 0),
        .tables = tdp_tables_most(pages_of(size->ram) + SLOTS, size->pcpus) + 1,
        .slots = pieces + directories + bitmaps + 2,
        .vcpus = size->vcpus * (VCPU_PAGES + block_of(size->vcpu_size)),
        .report =
            TRANSCRIPT_PAGES + (size->traced ? pages_of(TRACE_RING * TRACE_LINE) : 0) * size->pcpus,
        .disks = size->disks,
        .net = size->net,
        .kut = size->kut,
        .td = size->td,
        .limit = pages_of(size->limit),
    };
}

uint64_t vm_needs_sum(const struct vm_needs *n)
{
    return n->ram + n->tables + n->slots + n->vcpus + n->report + n->disks + n->net + n->kut +
           n->td + n->limit;
}
