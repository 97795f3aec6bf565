/*
 * Proofs over stolen bits, for CBMC: for one or two of them, wherever they may stand, and all
 * addresses.
 */
#include "ept/format.h"
#include "mmu/root.h"
#include "tests/proofs/proof.h"

#define LOW  (STOLEN_LOW - PAGE_SHIFT)
#define HIGH (EPT_GPA_BITS - PAGE_SHIFT)

/* None, one or two bits, in any order. Returns how many values they make. */
static unsigned any_stolen(struct stolen *stolen)
{
    unsigned count = nondet_unsigned(), first = nondet_unsigned(), second = nondet_unsigned();
    ASSUME(count <= STOLEN_MAX && first >= LOW && first < HIGH && second >= LOW && second < HIGH &&
           first != second);
    *stolen = STOLEN_NONE;
    if (count > 0)
        stolen_declare(stolen, 0, first);
    if (count > 1)
        stolen_declare(stolen, 1, second);
    return 1u << count;
}

static uint64_t window(const struct stolen *stolen)
{
    return stolen->mask ? stolen->mask & -stolen->mask : BIT(HIGH);
}

static struct root any_root(const struct stolen *stolen, unsigned values, unsigned *value)
{
    *value = nondet_unsigned();
    ASSUME(*value < values);
    return (struct root){.bits = stolen_bits(stolen, *value)};
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
    unsigned value, values = any_stolen(&stolen);
    struct root root = any_root(&stolen, values, &value);
    gfn_t gfn = any_gfn(&stolen);
    alias_t alias = root_alias(&root, gfn);
    PROVE(stolen_value(&stolen, alias) == value);
    PROVE(stolen_strip(&stolen, alias).v == gfn.v);
}

/* Every address belongs to a root that exists, and is made of its bits and its frame. */
void prove_every_address_has_a_root(void)
{
    struct stolen stolen;
    unsigned values = any_stolen(&stolen);
    alias_t alias = ALIAS(nondet_word() & (BIT(HIGH) - 1));
    unsigned value = stolen_value(&stolen, alias);
    PROVE(value < values);
    PROVE((stolen_strip(&stolen, alias).v | stolen_bits(&stolen, value)) == alias.v);
    PROVE(!(stolen_strip(&stolen, alias).v & stolen_bits(&stolen, value)));
}

/* W9: no entry stands for two roots, or for two frames. What one entry of a table covers, up to
 * 1 GiB, lies within one window, so that neither a large leaf nor a table of level 2 is shared. */
void prove_windows_are_apart(void)
{
    struct stolen stolen;
    unsigned a, b, values = any_stolen(&stolen), level = nondet_unsigned();
    struct root root_a = any_root(&stolen, values, &a), root_b = any_root(&stolen, values, &b);
    gfn_t gfn_a = any_gfn(&stolen), gfn_b = any_gfn(&stolen);
    ASSUME(level >= EPT_LEVEL_4K && level <= EPT_LEVEL_1G);
    alias_t alias_a = root_alias(&root_a, gfn_a), alias_b = root_alias(&root_b, gfn_b);
    unsigned shift = 9 * (level - 1);
    bool same_entry = alias_a.v >> shift == alias_b.v >> shift;
    PROVE(same_entry == (a == b && gfn_a.v >> shift == gfn_b.v >> shift));
}

/* The aliases of a root are one window: as far apart as their frames, and none leaves it. */
void prove_a_root_is_a_window(void)
{
    struct stolen stolen;
    unsigned value, values = any_stolen(&stolen);
    struct root root = any_root(&stolen, values, &value);
    gfn_t gfn = any_gfn(&stolen);
    PROVE(root_alias(&root, gfn).v == root.bits + gfn.v);
    PROVE(root.bits + window(&stolen) <= BIT(HIGH));
}
