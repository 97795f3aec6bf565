/* SPDX-License-Identifier: MIT */
/*
 * Proofs over stolen bits, for CBMC: for one or two of them, wherever they may stand, and all
 * addresses.
 */
#include "ept/format.h"
#include "mmu/root.h"
#include "tests/proofs/proof.h"

#define LOW  (STOLEN_LOW - PAGE_SHIFT)
#define HIGH (EPT_GPA_BITS - PAGE_SHIFT)

/* None, one or two bits, in any order, and their roots. Returns how many of these there are. */
static unsigned any_roots(struct root *roots, struct stolen *stolen)
{
    unsigned count = nondet_unsigned(), first = nondet_unsigned(), second = nondet_unsigned();
    ASSUME(count <= STOLEN_MAX && first >= LOW && first < HIGH && second >= LOW && second < HIGH &&
           first != second);
    *stolen = (struct stolen){0};
    roots[0] = (struct root){0};
    if (count > 0)
        roots_double(roots, 1, stolen, first);
    if (count > 1)
        roots_double(roots, 2, stolen, second);
    return 1u << count;
}

static uint64_t window(const struct stolen *stolen)
{
    return stolen->mask ? stolen->mask & -stolen->mask : BIT(HIGH);
}

static const struct root *any_root(const struct root *roots, unsigned count)
{
    unsigned number = nondet_unsigned();
    ASSUME(number < count);
    return &roots[number];
}

static gfn_t any_gfn(const struct stolen *stolen)
{
    uint64_t gfn = nondet_word();
    ASSUME(gfn < window(stolen));
    return GFN(gfn);
}

/* An alias says its root and its frame again. */
void prove_alias_is_inverse(void)
{
    struct stolen stolen;
    struct root roots[ROOTS_MAX];
    const struct root *root = any_root(roots, any_roots(roots, &stolen));
    gfn_t gfn = any_gfn(&stolen);
    alias_t alias = root_alias(root, gfn);
    PROVE(root_of(roots, &stolen, alias) == root);
    PROVE(stolen_strip(&stolen, alias).v == gfn.v);
}

/* Every address belongs to a root that exists, and is made of its bits and its frame. */
void prove_every_address_has_a_root(void)
{
    struct stolen stolen;
    struct root roots[ROOTS_MAX];
    unsigned count = any_roots(roots, &stolen);
    alias_t alias = ALIAS(nondet_word() & (BIT(HIGH) - 1));
    const struct root *root = root_of(roots, &stolen, alias);
    PROVE(root < roots + count);
    PROVE((stolen_strip(&stolen, alias).v | root->bits) == alias.v);
    PROVE(!(stolen_strip(&stolen, alias).v & root->bits));
}

/* W9: no entry stands for two roots, or for two frames. What one entry of a table covers, up to
 * 1 GiB, lies within one window, so that neither a large leaf nor a table of level 2 is shared. */
void prove_windows_are_apart(void)
{
    struct stolen stolen;
    struct root roots[ROOTS_MAX];
    unsigned count = any_roots(roots, &stolen), level = nondet_unsigned();
    const struct root *a = any_root(roots, count), *b = any_root(roots, count);
    gfn_t gfn_a = any_gfn(&stolen), gfn_b = any_gfn(&stolen);
    ASSUME(level >= EPT_LEVEL_4K && level <= EPT_LEVEL_1G);
    unsigned shift = 9 * (level - 1);
    bool same_entry = root_alias(a, gfn_a).v >> shift == root_alias(b, gfn_b).v >> shift;
    PROVE(same_entry == (a == b && gfn_a.v >> shift == gfn_b.v >> shift));
}

/* The aliases of a root are one window: as far apart as their frames, and none leaves it. */
void prove_a_root_is_a_window(void)
{
    struct stolen stolen;
    struct root roots[ROOTS_MAX];
    const struct root *root = any_root(roots, any_roots(roots, &stolen));
    gfn_t gfn = any_gfn(&stolen);
    PROVE(root_alias(root, gfn).v == root->bits + gfn.v);
    PROVE(root->bits + window(&stolen) <= BIT(HIGH));
}
