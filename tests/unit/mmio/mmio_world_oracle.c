/* SPDX-License-Identifier: MIT */
/*
 * The guest paging of the tests' CPU, as the SDM tells it, one mode after the other. It spells its
 * bits on purpose: it is the second opinion on mmio/walk.c.
 */
#include "arch/x86/reg_bits.h"
#include "tests/unit/mmio/mmio_world.h"

#include <string.h>

struct reading {
    uint8_t *(*memory)(uint64_t gpa);
    const struct walk_limits *limits;
    struct oracle out;
    bool writable, user, executable;
    uint8_t *seen[4];
    unsigned wide, count;
};

static bool fetch_entry(struct reading *r, uint64_t gpa, uint64_t *entry)
{
    *entry = 0;
    uint8_t *at = r->memory(gpa);
    if (!at) {
        r->out.outside = true;
        r->out.gpa = gpa;
        return false;
    }
    memcpy(entry, at, r->wide);
    r->seen[r->count++] = at;
    return true;
}

/* One entry of PAE or 4-level paging. True: go on with it. */
static bool long_entry(struct reading *r, uint64_t gpa, int level, bool four_levels,
                       uint64_t *entry)
{
    if (!fetch_entry(r, gpa, entry))
        return false;
    uint64_t e = *entry;
    if (!(e & 1)) {
        r->out.fault = true;
        return false;
    }
    bool bad = false;
    for (int bit = r->limits->physical_bits; bit <= 51; bit++)
        bad |= e >> bit & 1;
    if (!four_levels)
        for (int bit = 52; bit <= 62; bit++)
            bad |= e >> bit & 1;
    if (!(world.regs[REG_EFER] & EFER_NXE) && e >> 63)
        bad = true;
    if (e & PTE_PS) {
        if (level == 4 || (level == 3 && !r->limits->page_1g))
            bad = true;
        for (int bit = 13; bit < (level == 3 ? 30 : 21); bit++)
            if (level == 3 || level == 2)
                bad |= e >> bit & 1;
    }
    if (bad) {
        r->out.fault = true;
        r->out.error_code = 1 | 8;
        return false;
    }
    r->writable &= (e & PTE_W) != 0;
    r->user &= (e & PTE_U) != 0;
    r->executable &= !(e >> 63);
    return true;
}

static bool walk_long(struct reading *r, uint64_t gva, uint64_t *leaf)
{
    bool four = world.regs[REG_EFER] & EFER_LMA;
    uint64_t at = world.regs[REG_CR3] & 0xffffffffff000ull;
    r->wide = 8;
    if (!four) {
        uint64_t pdpte = world.regs[REG_PDPTE0 + (gva >> 30 & 3)];
        if (!(pdpte & 1)) {
            r->out.fault = true;
            return false;
        }
        at = pdpte & 0xffffffffff000ull;
    }
    for (int level = four ? 4 : 2; level >= 1; level--) {
        unsigned shift = 12 + 9 * (unsigned)(level - 1);
        if (!long_entry(r, (at & 0xffffffffff000ull) + 8 * (gva >> shift & 511), level, four, leaf))
            return false;
        at = *leaf & 0xffffffffff000ull;
        if (level == 1 || (level < 4 && *leaf & PTE_PS)) {
            uint64_t low = (1ull << shift) - 1;
            r->out.gpa = (at & ~low) | (gva & low);
            return true;
        }
    }
    return false;
}

static bool walk_short(struct reading *r, uint64_t gva, uint64_t *leaf)
{
    r->wide = 4;
    uint64_t pde, pte;
    if (!fetch_entry(r, (world.regs[REG_CR3] & 0xfffff000) + 4 * (gva >> 22), &pde))
        return false;
    r->out.fault = !(pde & 1);
    if (r->out.fault)
        return false;
    r->writable = pde & PTE_W;
    r->user = pde & PTE_U;
    *leaf = pde;
    if (pde & PTE_PS && world.regs[REG_CR4] & CR4_PSE) {
        bool bad = pde >> 21 & 1;
        for (int bit = 13; bit <= 20; bit++)
            if (bit - 13 + 32 >= r->limits->physical_bits)
                bad |= pde >> bit & 1;
        r->out.gpa = (pde & 0xffc00000) | (pde >> 13 & 0xff) << 32 | (gva & 0x3fffff);
        r->out.fault = bad;
        r->out.error_code = bad ? 9 : 0;
        return !bad;
    }
    if (!fetch_entry(r, (pde & 0xfffff000) + 4 * (gva >> 12 & 1023), &pte))
        return false;
    r->out.fault = !(pte & 1);
    if (r->out.fault)
        return false;
    r->writable &= (pte & PTE_W) != 0;
    r->user &= (pte & PTE_U) != 0;
    *leaf = pte;
    r->out.gpa = (pte & 0xfffff000) | (gva & 0xfff);
    return true;
}

/* SDM 3, 4.6.1, sentence by sentence: supervisor-mode accesses, then user-mode ones. */
static bool allowed(const struct reading *r, bool user, bool write, bool fetch)
{
    bool wp = world.regs[REG_CR0] & CR0_WP;
    bool smap = world.regs[REG_CR4] & CR4_SMAP, smep = world.regs[REG_CR4] & CR4_SMEP;
    bool ac = world.regs[REG_RFLAGS] & RFLAGS_AC;
    if (user) {
        if (!r->user)
            return false;
        return fetch ? r->executable : write ? r->writable : true;
    }
    if (fetch)
        return r->executable && !(r->user && smep);
    if (r->user && smap && !ac)
        return false;
    return write ? r->writable || !wp : true;
}

struct oracle world_oracle(uint8_t *(*memory)(uint64_t gpa), uint64_t gva, bool write, bool fetch,
                           const struct walk_limits *limits)
{
    struct reading r = {.memory = memory, .limits = limits, .writable = true, .user = true};
    r.executable = true;
    uint64_t cr4 = world.regs[REG_CR4], efer = world.regs[REG_EFER], leaf = 0;
    bool user = (world.regs[REG_SEG_AR + SEG_SS] >> 5 & 3) == 3;
    if (!(world.regs[REG_CR0] & CR0_PG)) {
        r.out.gpa = gva;
        return r.out;
    }
    bool found = cr4 & CR4_PAE ? walk_long(&r, gva, &leaf) : walk_short(&r, gva, &leaf);
    if (found) {
        bool key = false;
        if (efer & EFER_LMA && cr4 & CR4_PKE && r.user && !fetch) {
            unsigned pair = world.regs[REG_PKRU] >> (2 * (leaf >> 59 & 15)) & 3;
            key = pair & 1 || (pair & 2 && write && (user || world.regs[REG_CR0] & CR0_WP));
        }
        r.out.fault = key || !allowed(&r, user, write, fetch);
        r.out.error_code = r.out.fault ? 1 | (key ? 0x20 : 0) : 0;
    }
    if (r.out.fault) {
        bool names_fetch = cr4 & CR4_SMEP || (cr4 & CR4_PAE && efer & EFER_NXE);
        r.out.error_code |= (write ? 2 : 0) | (user ? 4 : 0) | (fetch && names_fetch ? 0x10 : 0);
    }
    for (unsigned i = 0; found && !r.out.fault && i < r.count; i++)
        *r.seen[i] |= i + 1 == r.count && write ? 0x60 : 0x20;
    return r.out;
}
