/* SPDX-License-Identifier: MIT */
/*
 * A frame of a protected VM is faulted in, accepted, removed and converted at once: mmu/mirror.c,
 * mmu/mirror_remove.c, convert_frames() of mmu/sides.c, and what the secure side does in between
 * (rules X2, X3, X5, W4).
 *
 * One CPU takes the frame from the mirror, ROUNDS times, and then changes its side or, as the
 * deletion of a slot, does not. On two other CPUs the guest uses the frame by the external entry or
 * by its TLB, may leave and enter, faults, and accepts. There is one frame in the pool. The secure
 * side may refuse any operation. The model proves for every interleaving of all steps:
 *
 *   - whoever uses the frame by the external entry or a TLB uses one that belongs to the VM, and is
 *     on the private side
 *   - when an entry of the mirror is not FROZEN, the external entry is what it says
 *   - only the CPU that made an entry FROZEN ends that
 *   - a frame is added on the private side only, and is given back once
 *
 * Each MUTANT_ omits or moves one step, and the proof must fail then.
 */
#ifndef ROUNDS
#define ROUNDS 3
#endif
#define USERS 2

mtype = { NONE, FROZEN, LEAF, STUCK };       /* the mirror's entry */
mtype = { EMPTY, PENDING, MAPPED, BLOCKED }; /* the external entry */

mtype mirror = NONE, external = EMPTY;
bit ours;            /* the frame belongs to the VM; else it is in the pool */
bit shared;          /* the side of the guest's frame */
bit odd;             /* mmu->invalidate_sequence, */
byte sequence;       /* and how often it has changed */
byte readers;        /* of mmu->lock */
bit owned;
bit inside[USERS], tlb[USERS], behind[USERS];

#define AGREE \
    ((mirror == NONE && external == EMPTY) || (mirror == STUCK && external == BLOCKED) || \
     (mirror == LEAF && (external == PENDING || external == MAPPED)))

/* Ends the change of the entry, which this CPU has made FROZEN. */
inline thaw(value)
{
    atomic {
        assert(mirror == FROZEN);
        mirror = value;
        assert(AGREE)
    }
}

/* ---- The CPU that removes the frame ---------------------------------------------------------- */

inline track()
{
#ifndef MUTANT_NOT_TRACKED
    atomic { behind[0] = 1; behind[1] = 1 };
#ifndef MUTANT_NOT_WAITED
    !inside[0] || !behind[0];
    !inside[1] || !behind[1];
#endif
#endif
    skip
}

/* Block and track, with the lock. The entry was LEAF, or STUCK since an earlier attempt. */
inline block(old)
{
    atomic { old = mirror; mirror = FROZEN };
    if
    :: old == LEAF ->
        if
        :: atomic { external = BLOCKED; blocked = 1 }
        :: skip /* refused */
        fi
    :: else -> blocked = 1
    fi;
    if
    :: !blocked -> thaw(old)
    :: else -> track()
    fi
}

/* Remove, without the lock. */
inline remove()
{
    if
    :: external = EMPTY; /* the secure side scrubs the page */
       thaw(NONE);
       atomic { assert(ours); ours = 0 }
    :: thaw(STUCK) /* refused */
#ifdef MUTANT_STUCK_IS_GIVEN
       ; ours = 0
#endif
    fi
}

active proctype remover()
{
    byte left = ROUNDS;
    bit blocked, flips;
    mtype old;
    do
    :: left == 0 -> break
    :: else ->
        atomic {
            left--;
            blocked = 0;
            old = NONE;
            if
            :: flips = 1
            :: flips = 0
            fi
        };
#ifndef MUTANT_FAULTS_GO_ON
        atomic { odd = 1; sequence++ };
#endif
#ifndef MUTANT_WITHOUT_THE_LOCK
        owned = 1;
        readers == 0;
#endif
        if
        :: mirror == LEAF || mirror == STUCK -> block(old)
        :: else
        fi;
        owned = 0;
        if
        :: blocked -> remove()
        :: else
        fi;
        if
#ifdef MUTANT_SIDE_CHANGES_ANYWAY
        :: flips -> shared = !shared
#else
        :: flips && mirror == NONE -> shared = !shared
#endif
        :: else
        fi;
        atomic { odd = 0; sequence++ }
    od
}

/* ---- The other CPUs -------------------------------------------------------------------------- */

/* A fault, or an ACCEPT that finds no page. */
inline provide()
{
    now = sequence;
    atomic { !owned -> readers++ };
    if
    :: atomic { odd || now != sequence || shared -> readers-- }
    :: else ->
        if
#ifdef MUTANT_FROZEN_IS_EMPTY
        :: atomic { mirror == NONE || mirror == FROZEN -> mirror = FROZEN };
#else
        :: atomic { mirror == NONE -> mirror = FROZEN };
#endif
            if
            :: atomic { !ours -> ours = 1 };
                if
                :: atomic { assert(!shared && external == EMPTY); external = PENDING };
                    thaw(LEAF)
                :: /* refused */
#ifdef MUTANT_REFUSED_IS_STORED
                    thaw(LEAF)
#else
                    thaw(NONE);
                    atomic { assert(ours); ours = 0 }
#endif
                fi
            :: else -> thaw(NONE) /* no frame is left */
            fi
        :: else
        fi;
        readers--
    fi
}

active [USERS] proctype user()
{
    byte self = _pid - 1, now;
    do
    :: inside[self] ->
        if
        :: atomic { external == MAPPED -> tlb[self] = 1; assert(ours && !shared) }
        :: atomic { tlb[self] -> assert(ours && !shared && external != EMPTY) }
        :: atomic { inside[self] = 0 }
        fi
    :: else ->
        if
        :: atomic { /* the flush that is owed is paid at the entry */
               tlb[self] = tlb[self] && !behind[self];
               behind[self] = 0;
               inside[self] = 1 }
        :: provide()
        :: atomic { external == PENDING -> external = MAPPED } /* ACCEPT */
        fi;
end_outside:
        skip
    od
}
