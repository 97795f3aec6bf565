/* SPDX-License-Identifier: MIT */
/*
 * Proofs about stolen bits, for CBMC: for none, one or two of them, at any position, and all
 * addresses.
 */
#include "ept/format.h"
#include "mmu/root.h"
#include "tests/proofs/proof.h"

#define LOW  (STOLEN_LOW - PAGE_SHIFT)
#define HIGH (EPT_GPA_BITS - PAGE_SHIFT)

/* Declares none, one or two stolen bits, in any order. Returns the number of roots. */
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

static uint64_t window_frames(const struct stolen *stolen)
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
    uint64_t gfn = nondet_u64();
    ASSUME(gfn < window_frames(stolen));
    return GFN(gfn);
}

/* The root and the frame can be read back from an alias. */
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

/* Every address belongs to an existing root, and consists of the root's bits and of its frame. */
void prove_every_address_has_a_root(void)
{
    struct stolen stolen;
    struct root roots[ROOTS_MAX];
    unsigned count = any_roots(roots, &stolen);
    alias_t alias = ALIAS(nondet_u64() & (BIT(HIGH) - 1));
    const struct root *root = root_of(roots, &stolen, alias);
    PROVE(root < roots + count);
    PROVE((stolen_strip(&stolen, alias).v | root->bits) == alias.v);
    PROVE(!(stolen_strip(&stolen, alias).v & root->bits));
}

/* W9: no entry belongs to two roots, or to two frames of its level. The range that an entry covers,
 * up to 1 GiB, lies within one window, so no large leaf and no table of level 2 is shared. */
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

/* The aliases of a root form a window: they are as far apart as their frames, and do not leave it.
 */
void prove_a_root_is_a_window(void)
{
    struct stolen stolen;
    struct root roots[ROOTS_MAX];
    const struct root *root = any_root(roots, any_roots(roots, &stolen));
    gfn_t gfn = any_gfn(&stolen);
    PROVE(root_alias(root, gfn).v == root->bits + gfn.v);
    PROVE(root->bits + window_frames(&stolen) <= BIT(HIGH));
}
