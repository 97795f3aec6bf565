/* SPDX-License-Identifier: MIT */
/*
 * The CPUs of test_mmu_threads.c. Each thread is a pCPU that walks the tables of one VM without any
 * lock, as hardware does. It sets A and D, and keeps what it has found, including pointers to
 * tables, in a TLB until its INVEPT. While a CPU is in the guest, no page to which its TLB leads
 * may be freed.
 *
 * The contents of a page tell where it was written: each CPU has its own 64 bits in each page, with
 * the side, the frame and a number. So a reader notices data of the other side, and each CPU finds
 * its own last write, unless the page has been converted since.
 *
 * The bits of the hardware are written as numbers; see mmu_world.h. Include this in one file.
 */
#pragma once

#include "tests/unit/support.h"

#include "ept/caps.h"
#include "ept/invalidate.h"
#include "lib/errno.h"
#include "mmu/memslot.h"
#include "mmu/mmu.h"
#include "mmu/sides.h"
#include "mmu/self.h"
#include "mmu/tlb.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VCPUS 3u
#define HOST  VCPUS /* the CPU that changes slots */

#define FRAMES 0x1800ull
#define SHARED (1ull << (39 - 12)) /* the shared bit of a frame, in a VM with sides */

static struct mmu mmu;
static bool kicked[VCPUS + 1];
static struct {
    uint64_t begun, ended;
} conversions[FRAMES];

static inline void check(bool condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "FAILED: CPU %u: %s\n", support_cpu, what);
    abort();
}

static inline uint64_t load(const uint64_t *word)
{
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

/* Calls a function that returns -EINPROGRESS until it is over. */
#define AT_ONCE(call)                      \
    __extension__({                        \
        __typeof__(call) result_;          \
        do {                               \
            result_ = (call);              \
        } while (result_ == -EINPROGRESS); \
        result_;                           \
    })

/* ---- TLBs ------------------------------------------------------------------------------------ */

#define IN_ARENA(page) (((page)-SUPPORT_RAM_BASE) / PAGE_SIZE)

/* Translations by frame, with the shared ones in the upper half. An entry is an address, with the
 * rights that need no walk in its low bits; 0: none. */
struct tlb {
    uint64_t leaf[2 * FRAMES];
    uint64_t *table[2 * FRAMES / 512]; /* the table of level 1 */
    bool inside;                       /* whether the CPU is in the guest, where the TLB is used */
    uint8_t *holds;                    /* by page: something in the TLB leads to it */
    uint64_t held[4 * FRAMES], held_count;
};
static struct tlb tlbs[VCPUS];

static inline uint64_t place(uint64_t gfn)
{
    return (gfn & ~SHARED) + (gfn & SHARED ? FRAMES : 0);
}

static inline void hold(struct tlb *tlb, uint64_t page)
{
    uint8_t *held = &tlb->holds[IN_ARENA(page)];
    if (*held) /* accessed by this CPU only */
        return;
    __atomic_store_n(held, 1, __ATOMIC_SEQ_CST);
    tlb->held[tlb->held_count++] = IN_ARENA(page);
}

static inline void on_free(hpa_t block, unsigned order)
{
    for (unsigned cpu = 0; cpu < VCPUS; cpu++) {
        if (!__atomic_load_n(&tlbs[cpu].inside, __ATOMIC_SEQ_CST))
            continue;
        for (uint64_t i = 0; i < 1ull << order; i++)
            check(!__atomic_load_n(&tlbs[cpu].holds[IN_ARENA(block.v) + i], __ATOMIC_SEQ_CST),
                  "a page was freed that a TLB leads to");
    }
}

void invept(unsigned type, uint64_t eptp)
{
    (void)type, (void)eptp;
    if (support_cpu == HOST)
        return;
    struct tlb *tlb = &tlbs[support_cpu];
    check(!tlb->inside, "INVEPT in the guest");
    memset(tlb->leaf, 0, sizeof(tlb->leaf));
    memset(tlb->table, 0, sizeof(tlb->table));
    while (tlb->held_count)
        __atomic_store_n(&tlb->holds[tlb->held[--tlb->held_count]], 0, __ATOMIC_SEQ_CST);
}

void invvpid(unsigned type, uint16_t vpid, gva_t address)
{
    (void)type, (void)vpid, (void)address;
}

void cpu_kick(unsigned pcpu)
{
    __atomic_store_n(&kicked[pcpu], true, __ATOMIC_SEQ_CST);
}

/* ---- Walks ----------------------------------------------------------------------------------- */

/* Walks from a table of `level`. Returns false for an exit; *misconfigured tells its kind. */
static inline bool walk_from(struct tlb *tlb, uint64_t *table, unsigned level, uint64_t gfn,
                             uint64_t access, bool *misconfigured)
{
    bool ad = mmu_config()->ad;
    for (;; level--) {
        uint64_t *entry = &table[gfn >> (9 * (level - 1)) & 511], value = load(entry);
        *misconfigured = (value & 7) == 6;
        if (*misconfigured || access & ~value)
            return false;
        bool leaf = level == 1 || value & 0x80;
        uint64_t set = ad ? (leaf && access & 2 ? 0x300 : 0x100) : 0;
        /* The CPU sets A and D only if the entry is unchanged. */
        while ((value & set) != set &&
               !__atomic_compare_exchange_n(entry, &value, value | set, false, __ATOMIC_SEQ_CST,
                                            __ATOMIC_ACQUIRE)) {
            if (access & ~value || leaf != (level == 1 || !!(value & 0x80)))
                return false; /* the access is repeated */
        }
        uint64_t page = value & 0x000ffffffffff000;
        if (leaf) {
            page += (gfn & ((1ull << 9 * (level - 1)) - 1)) * PAGE_SIZE;
            uint64_t rights = value & 5;
            rights |= ad ? (value | set) >> 8 & value & 2 : value & 2; /* D is not set again */
            tlb->leaf[place(gfn)] = page | rights;
            hold(tlb, page);
            return true;
        }
        table = phys_to_virt(HPA(page));
        hold(tlb, page);
        if (level == 2)
            tlb->table[place(gfn) / 512] = table;
    }
}

/* The page, or NULL for an exit. `access` in bits 2:0 of an entry. */
static inline uint64_t *translate(uint64_t gfn, uint64_t access, bool *misconfigured)
{
    struct tlb *tlb = &tlbs[support_cpu];
    uint64_t *leaf = &tlb->leaf[place(gfn)], *table = tlb->table[place(gfn) / 512];
    if (!*leaf || access & ~*leaf) {
        unsigned level = table ? 1 : 4;
        if (!table)
            table = phys_to_virt(HPA(mmu_eptp(&mmu) & 0x000ffffffffff000));
        if (!walk_from(tlb, table, level, gfn, access, misconfigured))
            return NULL;
    }
    return phys_to_virt(HPA(*leaf & ~4095ull));
}

/* ---- What pages hold ------------------------------------------------------------------------- */

struct mine {
    uint64_t word;        /* the last value that this CPU has written */
    uint64_t conversions; /* number of conversions of the frame that had ended then */
};
static __thread struct mine mine[FRAMES];
static __thread uint64_t stamps;

static inline uint64_t tag(uint64_t gfn)
{
    return (gfn & SHARED ? 2ull : 1ull) << 56 | gfn % 512 << 32;
}

/* The value that this CPU is about to write. */
static inline uint64_t stamp(uint64_t gfn)
{
    uint64_t frame = gfn & ~SHARED;
    mine[frame] = (struct mine){tag(gfn) | (uint32_t)++stamps, load(&conversions[frame].ended)};
    return mine[frame].word;
}

/* This CPU has reached a page through `gfn`; `stays`: its slot is never deleted. */
static inline void check_page(const uint64_t *page, uint64_t gfn, bool stays)
{
    uint64_t frame = gfn & ~SHARED;
    struct mine *m = &mine[frame];
    for (unsigned i = 0; i < VCPUS; i++) {
        uint64_t word = load(&page[i]);
        check(!word || (word & ~0xffffffffull) == tag(gfn),
              "a page shows what was written on the other side, or to another frame");
        if (i != support_cpu || !stays || word == m->word)
            continue;
        check(!word && load(&conversions[frame].begun) != m->conversions, "a write was lost");
        *m = (struct mine){0};
    }
}
