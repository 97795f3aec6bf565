/* SPDX-License-Identifier: MIT */
/*
 * Roots (decision D4). A VM may declare *stolen bits* of its guest-physical addresses: bits that
 * name no memory but say how the guest means an access. Each combination of their values has a root
 * of its own, with a role that says what its mappings may allow.
 *
 * The CPU walks from one EPTP, so the roots meet in a *composite*. A walk goes by the *alias* of a
 * frame, the GFN with its root's stolen bits; an SPTE, a slot, a log means the plain GFN. Memory
 * ends below the lowest stolen bit, so the aliases of one root are one unbroken window; a table
 * that covers no more than a window belongs to one root alone. No entry exists twice.
 *
 * Without stolen bits there is one root, whose window is everything.
 */
#pragma once

#include "ept/format.h"
#include "lib/compiler.h"
#include "lib/types.h"

/* ---- Roles ----------------------------------------------------------------------------------- */
#define ROLE_RIGHTS       EPT_RWX /* what mappings may allow at most */
#define ROLE_PRIVATE      BIT(3)
#define ROLE_SHARED       BIT(4)
#define ROLE_EXECUTE_ONLY BIT(5)
#define ROLE_CONVERTS     BIT(6) /* what it refuses becomes #VE, if the guest takes that */

#define ROLE_FIELDS(op) \
    (ROLE_RIGHTS op ROLE_PRIVATE op ROLE_SHARED op ROLE_EXECUTE_ONLY op ROLE_CONVERTS)
_Static_assert(ROLE_FIELDS(|) == ROLE_FIELDS(+), "no two fields overlap");

/* Devices are behind shared addresses, or behind all of a VM that knows no sides (rule F3). */
static inline bool role_has_mmio(uint32_t role)
{
    return !(role & (ROLE_PRIVATE | ROLE_EXECUTE_ONLY));
}

static inline const char *role_name(uint32_t role)
{
    if (role & ROLE_EXECUTE_ONLY)
        return role & ROLE_SHARED ? "shared execute-only" : "execute-only";
    return role & ROLE_PRIVATE ? "private" : role & ROLE_SHARED ? "shared" : "ordinary";
}

/* ---- Stolen bits ----------------------------------------------------------------------------- */
#define STOLEN_MAX 2u
#define ROOTS_MAX  (1u << STOLEN_MAX)
#define STOLEN_LOW 30u /* of a GPA: no large leaf may be wider than a window */

/* What a stolen bit says where it is 1. */
enum stolen_purpose {
    STOLEN_SHARED,       /* shared with the hypervisor's side; 0 is private. No fetches */
    STOLEN_EXECUTE_ONLY, /* fetches, and nothing else */
};

/* All that are declared, as a mask of an alias. */
struct stolen {
    uint64_t mask;
};

static inline gfn_t stolen_strip(const struct stolen *stolen, alias_t alias)
{
    return GFN(alias.v & ~stolen->mask);
}

struct root {
    uint32_t role;
    uint64_t bits; /* its stolen bits, of an alias: the beginning of its window */
};

static inline alias_t root_alias(const struct root *root, gfn_t gfn)
{
    return ALIAS(gfn.v | root->bits);
}

/* Each of the `count` roots that there are gets a twin, behind them all, for the other value of
 * `bit` of an alias. The first root is that of the addresses without any. */
static inline void roots_double(struct root *roots, unsigned count, struct stolen *stolen,
                                unsigned bit)
{
    stolen->mask |= BIT(bit);
    for (unsigned i = 0; i < count; i++)
        roots[count + i] = (struct root){.role = roots[i].role, .bits = roots[i].bits | BIT(bit)};
}

/* The root that an alias belongs to. */
static inline const struct root *root_of(const struct root *roots, const struct stolen *stolen,
                                         alias_t alias)
{
    uint64_t bits = alias.v & stolen->mask;
    if (bits) {
        do {
            roots++;
        } while (roots->bits != bits);
    }
    return roots;
}
