/* SPDX-License-Identifier: MIT */
/*
 * Roots (decision D4). A VM may declare *stolen bits* of its guest-physical addresses: bits that do
 * not address memory but select a kind of access. Each combination of their values has its own
 * root, with a role that limits what the root's mappings allow.
 *
 * The CPU walks from a single EPTP, so all roots share one top table, the *composite*. Walks are
 * indexed by the *alias* of a frame, which is the GFN together with the stolen bits of the root;
 * SPTEs, slots and logs contain plain GFNs. Memory ends below the lowest stolen bit, so the aliases
 * of one root form a contiguous window. A table that covers no more than a window therefore belongs
 * to exactly one root, and roots share no entries.
 *
 * Without stolen bits there is one root, whose window is the whole guest-physical address space.
 */
#pragma once

#include "ept/format.h"
#include "lib/compiler.h"
#include "lib/types.h"

/* ---- Roles ----------------------------------------------------------------------------------- */
#define ROLE_RIGHTS       EPT_RWX /* EPT_RWX: the most that mappings may allow */
#define ROLE_PRIVATE      BIT(3)
#define ROLE_SHARED       BIT(4)
#define ROLE_EXECUTE_ONLY BIT(5)
#define ROLE_CONVERTS     BIT(6) /* accesses that the role refuses become #VE */
#define ROLE_MIRROR       BIT(7) /* the CPU never walks the root, which allows nothing */

#define ROLE_FIELDS(op)                                                                  \
    (ROLE_RIGHTS op ROLE_PRIVATE op ROLE_SHARED op ROLE_EXECUTE_ONLY op ROLE_CONVERTS op \
         ROLE_MIRROR)
_Static_assert(ROLE_FIELDS(|) == ROLE_FIELDS(+), "no two fields overlap");

/* Can the addresses of the role be MMIO? Shared ones can, and all ordinary ones of a VM without
 * sides (rule F3). */
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
#define STOLEN_LOW 30u /* lowest bit of a GPA: a 1 GiB leaf must not be wider than a window */

/* The meaning of a stolen bit that is 1. */
enum stolen_purpose {
    STOLEN_SHARED,       /* the shared side, without fetches; 0 selects the private side */
    STOLEN_EXECUTE_ONLY, /* fetches only */
};

/* The declared stolen bits, as a mask of an alias. */
struct stolen {
    uint64_t mask;
};

static inline gfn_t stolen_strip(const struct stolen *stolen, alias_t alias)
{
    return GFN(alias.v & ~stolen->mask);
}

struct root {
    uint32_t role;
    uint64_t bits; /* values of the stolen bits in an alias: the start of the root's window */
};

static inline alias_t root_alias(const struct root *root, gfn_t gfn)
{
    return ALIAS(gfn.v | root->bits);
}

/* Doubles the number of roots, which is `count`: after the roots in which `bit` of an alias is 0
 * come as many in which it is 1. All stolen bits of the first root are 0. */
static inline void roots_double(struct root *roots, unsigned count, struct stolen *stolen,
                                unsigned bit)
{
    stolen->mask |= BIT(bit);
    for (unsigned i = 0; i < count; i++)
        roots[count + i] = (struct root){.role = roots[i].role, .bits = roots[i].bits | BIT(bit)};
}

/* The root to which an alias belongs. */
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
