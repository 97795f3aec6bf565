/* SPDX-License-Identifier: MIT */
/*
 * What the CPU sees of the tables of one VM, frame by frame, and what it may see during a change
 * from one such view to another. For mmu_stores.h. Include this in one file.
 */
#pragma once

#include "tests/unit/mmu/mmu_world.h"

#include "mmu/backing.h"
#include "mmu/dirty.h"
#include "mmu/sides.h"
#include "mmu/track.h"

static struct mmu mmu;

enum sight {
    SEES_NOTHING, /* a violation */
    SEES_RAM,
    SEES_MMIO,
    SEES_NONSENSE, /* a misconfiguration that is no MMIO SPTE */
};

struct view {
    uint64_t page;
    uint8_t sight;
    uint8_t rights;
};

/* The frames that are checked, by index: RAM from 0 on, and some of devices; then, with stolen
 * bits, the RAM again through execute-only addresses, and all of that again through shared
 * addresses. */
#define WINDOW     0x1800u
#define DEVICE     0xfe000ull
#define DEVICES    64u
#define CODE_BIT   38u
#define SHARED_BIT 39u
#define CODE       (1ull << (CODE_BIT - 12))
#define SHARED     (1ull << (SHARED_BIT - 12))
#define PLAIN      (WINDOW + DEVICES)
#define VIEWS      (PLAIN + WINDOW + PLAIN)

static inline uint64_t view_frame(unsigned i)
{
    uint64_t shared = i >= PLAIN + WINDOW ? SHARED : 0;
    if (shared)
        i -= PLAIN + WINDOW;
    else if (i >= PLAIN)
        return CODE | (i - PLAIN);
    return shared | (i < WINDOW ? i : DEVICE + i - WINDOW);
}

static inline bool is_mmio_word(uint64_t word)
{
    return (word & 0x8000000000000807) == 6;
}

static inline bool points_to_table(uint64_t word, unsigned level)
{
    return word & 7 && level > 1 && !(word & 0x80);
}

static inline uint64_t *table_of(uint64_t word)
{
    return phys_to_virt(HPA(word & 0x000ffffffffff000));
}

static inline struct view look(uint64_t frame)
{
    uint64_t *table = table_of(mmu_eptp(&mmu));
    unsigned rights = 7;
    for (unsigned level = 4;; level--) {
        unsigned shift = 9 * (level - 1);
        uint64_t word = table[frame >> shift & 511];
        if (!(word & 7))
            return (struct view){.sight = SEES_NOTHING};
        if (level == 1 && is_mmio_word(word))
            return (struct view){.sight = SEES_MMIO};
        if (hw_misconfigured(word, level))
            return (struct view){.sight = SEES_NONSENSE};
        rights &= word & 7;
        if (points_to_table(word, level)) {
            table = table_of(word);
            continue;
        }
        uint64_t inside = frame & ((1ull << shift) - 1);
        return (struct view){(word & 0x000ffffffffff000) + inside * 4096, SEES_RAM,
                             (uint8_t)rights};
    }
}

static inline bool same_view(struct view a, struct view b)
{
    return a.sight == b.sight && a.page == b.page && a.rights == b.rights;
}

/* May a frame have translated like this between `old` and `new`? */
static inline bool may_be_seen(struct view v, struct view old, struct view new, bool gap)
{
    unsigned rights = 0;
    if (v.sight == SEES_NOTHING)
        return gap || old.sight != SEES_RAM || new.sight != SEES_RAM;
    if (v.sight == SEES_MMIO)
        return old.sight == SEES_MMIO || new.sight == SEES_MMIO;
    if (old.sight == SEES_RAM && old.page == v.page)
        rights |= old.rights;
    if (new.sight == SEES_RAM &&new.page == v.page)
        rights |= new.rights;
    return v.sight == SEES_RAM && v.rights && !(v.rights & ~rights);
}
