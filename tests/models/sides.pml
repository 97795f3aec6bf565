/* SPDX-License-Identifier: MIT */
/*
 * A page changes sides while other CPUs use it: convert_frames() of mmu/sides.c, sides_reach() of
 * mmu/sides.h, and faults.
 *
 * One CPU converts the page, CONVERSIONS times. On two other CPUs a guest reads and writes the page
 * through either side, by translations in the TLB or in the tables; faults map it; and the
 * hypervisor reads it without a lock and writes it with the lock. Each user first checks whether
 * the access is allowed, and makes it some time later, in the same epoch. Data carries the side on
 * which it was written. The model proves for every interleaving of all steps that nobody reads on
 * one side what was written on the other. Store buffers would add nothing: the converter's stores
 * become visible in order, and `converting` becomes visible before the epoch begins, because that
 * takes a locked instruction.
 *
 * Each MUTANT_ omits or moves one step, and the proof must fail then.
 */
#ifndef CONVERSIONS
#define CONVERSIONS 2
#endif
#define USERS 2
#define CLEAR 2 /* value of `page`; the other values are the side on which it was written */

bit side;            /* of the page, in slot->shared */
byte page = CLEAR;
bit converting;
bit odd;             /* mmu->invalidate_sequence */
byte sequence;       /* mmu->invalidate_sequence as a count */
byte readers;        /* of mmu->lock */
bit owned;
bit mapped[2];       /* for each side, whether its SPTE maps the page */
byte epoch, seen[USERS];
bit tlb[4];          /* 2 * CPU + side */

inline clear_and_hand_over(to)
{
#ifdef MUTANT_CONVERTED_TOO_SOON
    converting = 0;
#endif
#ifndef MUTANT_CLEARED_BEFORE_THE_EPOCH
    page = CLEAR;
#endif
#ifdef MUTANT_CONVERTED_BEFORE_THE_SIDE
    converting = 0;
#endif
#ifndef MUTANT_SIDE_CHANGES_BEFORE_THE_EPOCH
    side = to;
#endif
    converting = 0
}

active proctype converter()
{
    byte left = CONVERSIONS, user;
    do
    :: left == 0 -> break
    :: else ->
#ifndef MUTANT_FAULTS_GO_ON
        atomic { odd = 1; sequence++ };
#endif
#ifndef MUTANT_WITHOUT_THE_LOCK
        owned = 1;
        readers == 0;
#endif
#ifndef MUTANT_ACCESSOR_GOES_ON
        converting = 1;
#endif
#ifdef MUTANT_SIDE_CHANGES_BEFORE_THE_EPOCH
        side = !side;
#endif
#ifndef MUTANT_NOT_ZAPPED
        mapped[0] = 0;
        mapped[1] = 0;
#endif
        owned = 0;
#ifdef MUTANT_CLEARED_BEFORE_THE_EPOCH
        page = CLEAR;
#endif
        epoch++;
#ifndef MUTANT_NO_EPOCH
        seen[0] == epoch;
        seen[1] == epoch;
#endif
        clear_and_hand_over(!side);
        atomic { odd = 0; sequence++; left-- }
    od
}

/* Checks that the access is allowed; if not, goes to `again`. */
inline ask(how)
{
#ifdef MUTANT_SIDE_ASKED_FIRST
    atomic {
        if
        :: side != how -> goto again
        :: else
        fi
    };
#endif
    atomic {
        if
        :: converting -> goto again
        :: else
        fi
    };
#ifndef MUTANT_SIDE_ASKED_FIRST
    atomic {
        if
        :: side != how -> goto again
        :: else
        fi
    }
#endif
}

#define reads(how) assert(page == CLEAR || page == how)

active [USERS] proctype user()
{
    byte self = _pid - 1, now;
    bit how, locked;

again:
    atomic {
        if
        :: locked -> readers--; locked = 0
        :: else
        fi;
        now = 0
    };
    do
    :: atomic { seen[self] = epoch; /* and the flush that zaps owe is paid */
            tlb[2 * self] = tlb[2 * self] && mapped[0];
            tlb[2 * self + 1] = tlb[2 * self + 1] && mapped[1] }
    :: atomic { how = 0; break }
    :: atomic { how = 1; break }
    od;
end_using:
    if
    :: /* the guest */
        atomic { tlb[2 * self + how] || mapped[how] -> tlb[2 * self + how] = 1 };
        if
        :: reads(how)
        :: page = how
        fi
    :: /* a fault */
        now = sequence;
        atomic { !owned -> readers++; locked = 1 };
        atomic {
            if
            :: odd || now != sequence || side != how -> goto again
            :: else
            fi
        };
        mapped[how] = 1
    :: skip; /* guest_read(), guest_page() */
        ask(how);
        reads(how)
    :: /* guest_write() */
        atomic { !owned -> readers++; locked = 1 };
        ask(how);
        page = how
    fi;
    goto again
}
