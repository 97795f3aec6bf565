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

struct stolen {
    uint64_t mask;             /* of an alias */
    uint8_t shift[STOLEN_MAX]; /* of an alias; one that is not declared looks at a bit that is 0 */
};

#define STOLEN_NONE ((struct stolen){.shift = {63, 63}})

/* `which` of the two, not declared yet, becomes the bit at `shift` of an alias. */
static inline void stolen_declare(struct stolen *stolen, unsigned which, unsigned shift)
{
    stolen->mask |= BIT(shift);
    stolen->shift[which] = (uint8_t)shift;
}

/* Two declared bits make four combinations; the first one declared counts 1, the second 2. */
static inline unsigned stolen_value(const struct stolen *stolen, alias_t alias)
{
    return (unsigned)((alias.v >> stolen->shift[0] & 1) | (alias.v >> stolen->shift[1] & 1) << 1);
}

static inline gfn_t stolen_strip(const struct stolen *stolen, alias_t alias)
{
    return GFN(alias.v & ~stolen->mask);
}

/* The stolen bits of the root with number `value`. */
static inline uint64_t stolen_bits(const struct stolen *stolen, unsigned value)
{
    return ((value & 1ull) << stolen->shift[0] | (value >> 1 & 1ull) << stolen->shift[1]) &
           stolen->mask;
}

struct root {
    uint32_t role;
    uint64_t bits; /* its stolen bits, of an alias: the beginning of its window */
};

static inline alias_t root_alias(const struct root *root, gfn_t gfn)
{
    return ALIAS(gfn.v | root->bits);
}
