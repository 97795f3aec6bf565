/* SPDX-License-Identifier: MIT */
/*
 * A page leaves a TD while its guest runs: block, track and remove of ept/secure.c (rule X13), with
 * the epochs of struct secure_host, which tlb_enter() of mmu/tlb.h keeps.
 *
 * Three CPUs repeatedly choose what to do. In the guest, a CPU loads the entry, caches what it has
 * loaded some time later, and uses what it has cached. It may leave, and enter again with its TLB
 * as it was unless an epoch has begun. Outside, it makes any call of the secure side, in any order,
 * or takes the page for something else when it is FREE, or has its block leave the map. A guest
 * that uses the page writes to it. The model proves for every interleaving of all steps:
 *
 *   - whoever uses the page through the TD's tables or through a TLB uses the TD's page
 *   - the page holds nothing when its block leaves the map of owners, and nothing when the guest is
 *     given it
 *   - no page is returned twice
 *
 * Store buffers would add nothing: a call's stores are visible before its lock is free, and a CPU's
 * entry and the beginning of an epoch are locked instructions.
 *
 * Each MUTANT_ omits or moves one step, and the proof must fail then.
 */
#define CPUS 3

mtype = { FREE, PENDING, MAPPED, BLOCKED }; /* the state; an entry that is empty: FREE */

bit ours = 1;        /* the TD owns the page */
mtype state = MAPPED;
bit readable = 1;    /* the entry's bits 2:0 */
bit dirty = 1;       /* the page holds something */
bit lock;
bit out; /* the page's block is not in the map of owners */

/* Epochs only grow, so how far they are apart is enough: the number of epochs that have begun since
 * the page was blocked (2: or more), and for each CPU, whether one has begun since it flushed. */
byte since = 2;
bit behind[CPUS], unread[CPUS];
bit inside[CPUS], cached[CPUS];

inline take_lock()
{
    atomic { !lock -> lock = 1 }
}

/* secure_host.epoch_over(): looks at one CPU after the other. */
inline look_whether_over()
{
    other = 0;
    over = 1;
    do
    :: atomic { other == CPUS -> break }
    :: atomic {
        else ->
        if
        :: inside[other] && behind[other] -> over = 0
        :: else
        fi;
        other++
    }
    od;
    other = 0
}

inline block()
{
    take_lock();
    if
    :: state == MAPPED ->
#ifdef MUTANT_BLOCKED_LATE
        atomic { state = BLOCKED; since = 0 };
        lock = 0;
        readable = 0
#else
        readable = 0;
        atomic { state = BLOCKED; since = 0 };
        lock = 0
#endif
    :: else -> lock = 0
    fi
}

inline track()
{
    take_lock();
    look_whether_over();
#ifdef MUTANT_PREVIOUS_NOT_WAITED_FOR
    over = 1;
#endif
    if
    :: over ->
        d_step {
            for (other : 0 .. CPUS - 1) {
                behind[other] = 1;
                unread[other] = 1
            }
            other = 0;
            if
            :: since < 2 -> since++
            :: else
            fi
        }
    :: else
    fi;
    atomic { over = 0; lock = 0 }
}

#ifdef MUTANT_EARLIER_EPOCH_COUNTS
#define tracked (since == 2 || over)
#else
#define tracked (since == 2 || (since == 1 && over))
#endif
#ifdef MUTANT_NOT_BLOCKED
#define removable (state == BLOCKED || state == MAPPED)
#else
#define removable (state == BLOCKED)
#endif

/* secure_page_remove(), with lock_and_find_blocked() and secure_give_back(). */
inline remove()
{
    take_lock();
    look_whether_over();
#ifdef MUTANT_EPOCH_NOT_WAITED_FOR
    over = 1;
#endif
    if
    :: removable && tracked ->
#ifdef MUTANT_LOCK_DROPPED
        lock = 0;
        take_lock();
#endif
        atomic { readable = 0; state = FREE; over = 0 };
        lock = 0;
        atomic { assert(ours); ours = 0 }
    :: else -> atomic { over = 0; lock = 0 }
    fi
}

/* secure_page_aug() and secure_page_accept(). */
inline add()
{
    if
#ifdef MUTANT_NOT_CLAIMED_FIRST
    :: !ours && !out ->
        dirty = 0;
        ours = 1;
#else
    :: atomic { !ours && !out -> ours = 1 };
#ifndef MUTANT_NOT_CLEARED
        dirty = 0;
#endif
#endif
        take_lock();
        atomic { assert(state == FREE); state = PENDING };
        lock = 0
    :: else
    fi
}

/* secure_block_remove(), which claims the block as if it were a leaf. */
inline leave()
{
#ifdef MUTANT_SCRUBBED_UNCLAIMED
    !ours && !out;
    dirty = 0;
    atomic { assert(!ours && !dirty); out = 1 }
#else
    atomic { !ours && !out -> ours = 1 };
#ifndef MUTANT_NOT_SCRUBBED
    dirty = 0;
#endif
    atomic { assert(ours && !dirty); ours = 0; out = 1 }
#endif
}

inline accept()
{
    take_lock();
    if
    :: state == PENDING -> atomic { assert(!dirty && ours); state = MAPPED; readable = 1 }
    :: else
    fi;
    lock = 0
}

/* tlb_enter(): says that it is inside before it looks for an epoch. */
inline enter()
{
#ifdef MUTANT_EPOCH_READ_FIRST
    atomic { unread[self] = 0; owes = behind[self] };
    inside[self] = 1;
#else
    inside[self] = 1;
    atomic { unread[self] = 0; owes = behind[self] };
#endif
#ifndef MUTANT_NOT_FLUSHED
    if
    :: owes -> cached[self] = 0
    :: else
    fi;
#endif
    atomic { behind[self] = unread[self]; owes = 0 }
}

inline run_guest()
{
    enter();
    do
    :: readable && !cached[self] -> cached[self] = 1 /* loaded, and cached later */
    :: cached[self] -> atomic { assert(ours && state != FREE); dirty = 1 }
    :: break
    od;
    inside[self] = 0
}

active [CPUS] proctype cpu()
{
    byte self = _pid, other;
    bit over, owes;
end:
    do
    :: run_guest()
    :: block()
    :: track()
    :: remove()
    :: add()
    :: accept()
    :: leave()
    :: atomic { out -> out = 0; dirty = 1 } /* the hypervisor has used it */
    :: atomic { !ours && !out -> dirty = 1 } /* another TD */
    od
}
