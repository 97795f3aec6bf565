/* SPDX-License-Identifier: MIT */
/*
 * The TLBs of test_mmu_adversary.c, one for each CPU. A TLB keeps every translation and every
 * pointer to a table that the CPU has ever found in a walk, tagged by EPTP[51:12] (rule T4), until
 * an INVEPT of that CPU covers it. The guest frames in use are two windows of 16 MiB, each seen
 * through up to four aliases, so a TLB can be an array.
 */
#pragma once

#include "tests/unit/mmu/mmu_world.h"

#include <stdlib.h>
#include <string.h>

#define FRAMES  4096u
#define PIECE   512u
#define ALIASES 4u /* number 1: shared, 2: execute-only, 3: both */
#define PLACES  (ALIASES * 2 * FRAMES)

static uint64_t step; /* number of the step, for messages */

#define WAYS 8

struct cached {
    hpa_t page; /* of memory or of a table */
    unsigned permission;
    bool used;
    bool dirty;  /* a write does not set D again */
    bool listed; /* in the first way of a set: the set is in the list of those that are not empty */
};

/* Tags are EPTP[51:12] (rule T4), with the CPU in the low bits. A test has few roots; each gets a
 * number when it is first seen. */
#define TAGS 32
static uint64_t tag_of[TAGS];
static unsigned tags;

struct tlb {
    struct cached leaf[PLACES][WAYS];
    struct cached table[4][PLACES / PIECE]
                       [WAYS]; /* [level]: the tables to which entries of the level point */
    struct cached *set[PLACES + 4 * (PLACES / PIECE)]; /* the sets that are not empty */
    uint32_t sets;
};
static struct tlb *tlbs[TAGS];

static inline void tlb_forget(struct tlb *tlb)
{
    while (tlb->sets)
        memset(tlb->set[--tlb->sets], 0, WAYS * sizeof(struct cached));
}

static inline struct tlb *tlb_of(uint64_t eptp)
{
    uint64_t tag = (eptp & 0x000ffffffffff000) | support_cpu;
    unsigned i = 0;
    while (i < tags && tag_of[i] != tag)
        i++;
    if (i == tags) { /* if there is no room, reuse the next one: a CPU may drop translations */
        static unsigned turn;
        if (tags < TAGS)
            tlbs[tags++] = calloc(1, sizeof(struct tlb));
        else
            i = turn++ % TAGS;
        tlb_forget(tlbs[i]);
        tag_of[i] = tag;
    }
    return tlbs[i];
}

static inline void adversary_invept(unsigned type, uint64_t eptp)
{
    if (type == INVEPT_SINGLE) {
        tlb_forget(tlb_of(eptp));
    } else {
        for (unsigned i = 0; i < tags; i++) {
            if ((tag_of[i] & 0xfff) == support_cpu)
                tlb_forget(tlbs[i]);
        }
    }
}

/* The target of an access: the frame, the alias, and the address by which the CPU walks. */
struct place {
    gfn_t gfn;
    unsigned alias;
    gfn_t walked;
    unsigned index; /* in the arrays of a TLB */
};

static inline void remember(struct tlb *tlb, struct cached *set, hpa_t page, unsigned permission,
                            bool dirty)
{
    for (unsigned i = 0; i < WAYS; i++) {
        if (set[i].used && set[i].page.v == page.v && set[i].permission == permission &&
            set[i].dirty == dirty)
            return;
        if (!set[i].used) {
            set[i] = (struct cached){page, permission, true, dirty, set[i].listed};
            if (!set[0].listed)
                tlb->set[tlb->sets++] = set;
            set[0].listed = true;
            return;
        }
    }
    /* A set fills up with stale translations only if a flush is missing, which an earlier check
     * would have found. */
    fail_msg("a frame has more than %d translations in the TLB", WAYS);
}

/* The CPU walks from `table` and caches all that it finds. */
static inline struct hw_translation walk_and_remember(struct tlb *tlb, uint64_t *table,
                                                      unsigned level, unsigned permission,
                                                      const struct place *place, unsigned access,
                                                      bool ad)
{
    unsigned allowed = permission;
    uint64_t *at = table;
    for (unsigned l = level; l > 1; l--) {
        uint64_t entry = at[place->walked.v >> (9 * (l - 1)) & 511];
        if (!(entry & 7) || hw_misconfigured(entry, l) || entry & 0x80)
            break;
        allowed &= entry & 7;
        hpa_t next = HPA(entry & 0x000ffffffffff000);
        remember(tlb, tlb->table[l - 1][place->index / PIECE], next, allowed, false);
        at = phys_to_virt(next);
    }
    struct hw_translation t = hw_walk_from(table, level, permission, place->walked, access, ad);
    if (t.result == HW_OK)
        remember(tlb, tlb->leaf[place->index], t.page, t.permission, !ad || access & 2);
    return t;
}

/* Checks that nothing in the TLB of a CPU in the guest leads to a freed page, of a table or of
 * guest memory. */
static inline void check_freed(const struct tlb *tlb)
{
    for (uint32_t i = 0; i < tlb->sets; i++) {
        for (const struct cached *way = tlb->set[i]; way < tlb->set[i] + WAYS; way++) {
            if (way->used && !support_page_is_used(way->page))
                fail_msg("step %lu: the TLB leads to the freed page %#lx", step, way->page.v);
        }
    }
}
