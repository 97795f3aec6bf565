/* SPDX-License-Identifier: MIT */
/*
 * When may memory be freed that three CPUs read without a lock? lib/epoch.[ch] with tlb_enter() and
 * tlb_wait_epoch() of mmu/tlb.[ch], and tdp_reclaim().
 *
 * Each CPU repeatedly chooses what to do: it is offline and idle; it works for another VM, and
 * never reacts to this one; it is in the guest, with translations in its TLB; it handles an exit,
 * and holds a pointer; or it replaces the object that all CPUs read. The old object is freed when
 * its epoch is over. The CPU either waits for that, with or without a lock that other CPUs want, or
 * checks again later. A plain store goes into the CPU's store buffer, from which stores become
 * visible at any time, in order, as on x86 (TSO); a locked instruction empties the buffer first.
 * The model proves for every interleaving of all steps:
 *
 *   - no CPU holds a pointer to a freed object, and no CPU in the guest a translation to it
 *   - no CPU waits forever, though guests never exit by themselves and idle CPUs never wake up
 *
 * Each MUTANT_ omits or moves one step, and one of the two statements must fail then.
 */
#define CPUS 3
#ifndef RECLAIMS
#define RECLAIMS 2 /* of all CPUs together */
#endif
#ifndef RECLAIMERS
#define RECLAIMERS 1 /* number of CPUs that reclaim */
#endif
#define NONE 255

byte epoch = 1;
byte object;           /* to which tables and pointers lead now */
bit freed[RECLAIMS + 1];
byte debt = 1;         /* mmu->tlb.debt */
byte seen[CPUS];       /* epoch_cpus[].seen */
bit other_vm[CPUS];    /* epoch_cpus[].owner is not this VM */
byte pointer[CPUS] = NONE;
byte translation[CPUS] = NONE;
bit inside[CPUS];      /* in the guest */
bit kicked[CPUS];
bit lock;              /* mmu->slots_lock */
byte reclaims = RECLAIMS;
byte waiting;          /* number of CPUs that wait for an epoch */

/* The store buffers. One store to `seen` is enough: while an older value is visible for longer,
 * other CPUs only wait longer. The other variables are stored plainly by a mutant only. */
mtype = { SEEN, OBJECT, DEBT, EPOCH };
/* `owner` is stored before an exchange that empties the buffer, so it is never in the buffer. */
#ifdef MUTANT_UNLINKED_PLAINLY
chan buffer[CPUS] = [3] of { mtype, byte };
#else
chan buffer[CPUS] = [1] of { mtype, byte };
#endif
#define drained empty(buffer[self])

proctype drain(byte self)
{
    byte value;
end:
    do
    :: atomic { buffer[self]?SEEN(value) -> seen[self] = value; value = 0 }
    :: atomic { buffer[self]?OBJECT(value) -> object = value; value = 0 }
    :: atomic { buffer[self]?DEBT(value) -> debt = value; value = 0 }
    :: atomic { buffer[self]?EPOCH(value) -> epoch = value; value = 0 }
    od
}

inline online()
{
#ifndef MUTANT_OWNER_SAID_LATE
    other_vm[self] = 0;
#endif
#ifdef MUTANT_ONLINE_WITHOUT_A_FENCE
    buffer[self]!SEEN(epoch)
#else
    atomic { drained -> seen[self] = epoch }
#endif
}

/* A CPU goes online, works for another VM, and stays in its guest or goes offline. */
inline work_elsewhere()
{
    other_vm[self] = 1;
    atomic { drained -> seen[self] = epoch };
    if
    :: skip;
end_elsewhere:
        false
    :: buffer[self]!SEEN(0)
    fi
}

#ifdef MUTANT_OTHER_VMS_WAITED_FOR
#define lags(cpu) (seen[cpu] && seen[cpu] < mine)
#else
#define lags(cpu) (seen[cpu] && seen[cpu] < mine && !other_vm[cpu])
#endif

/* epoch_wait(). */
inline wait()
{
    atomic { waiting++; other = 0 };
#ifndef MUTANT_WAITS_ONLINE
    buffer[self]!SEEN(0);
#endif
    do
    :: atomic { other == CPUS -> break }
    :: atomic { other == self -> other++ }
    :: else ->
#ifndef MUTANT_NO_KICK
        if
        :: lags(other) -> kicked[other] = 1
        :: else
        fi;
#endif
#ifndef MUTANT_NO_WAIT
        !lags(other);
#endif
        other++
    od;
    atomic { waiting--; other = 0 };
#ifndef MUTANT_WAITS_ONLINE
    online()
#endif
}

inline begin()
{
    atomic { drained -> epoch++; mine = epoch }
}

/* Replaces the object. All CPUs must have seen epoch `mine` before `old` is freed. */
inline unlink()
{
#ifdef MUTANT_BEGUN_FIRST
    begin();
#endif
#ifdef MUTANT_UNLINKED_PLAINLY
    old = object;
    buffer[self]!OBJECT(old + 1);
    buffer[self]!DEBT(debt + 1);
    mine = epoch + 1;
    buffer[self]!EPOCH(mine);
#else
    atomic { drained -> old = object; object++ };
    atomic { drained -> debt++ };
#ifndef MUTANT_BEGUN_FIRST
    begin();
#endif
#endif
}

inline free()
{
    d_step {
        freed[old] = 1;
        assert(pointer[0] != old && pointer[1] != old && pointer[2] != old);
        assert(!(inside[0] && translation[0] == old));
        assert(!(inside[1] && translation[1] == old));
        assert(!(inside[2] && translation[2] == old));
        old = NONE;
        mine = 0
    }
}

/* CPU 2 may sleep; the other CPUs reclaim. */
proctype cpu(byte self)
{
    byte now, owed, entered, other, mine, old = NONE;
    bit has_lock;

idle:
    if
    :: self == 2 -> goto asleep
    :: self < 2
    fi;
    online();
attend:
#ifdef MUTANT_OWNER_SAID_LATE
    if
    :: other_vm[self] -> pointer[self] = object; other_vm[self] = 0
    :: else
    fi;
#endif
    kicked[self] = 0;
enter:
#ifdef MUTANT_DEBT_READ_FIRST
    owed = debt;
    atomic { drained -> now = epoch };
#else
    now = epoch;
    atomic { drained -> owed = debt }; /* after the exchange that announces "in the guest" */
#endif
#ifdef MUTANT_FORGETS_A_KICK
    kicked[self] = 0;
#endif
    atomic {
#ifndef MUTANT_ENTERS_WITH_A_DEBT
        if
        :: entered != owed -> translation[self] = NONE; entered = owed /* INVEPT */
        :: else
        fi;
#endif
        buffer[self]!SEEN(now);
        now = 0;
        owed = 0
    };
    atomic {
        pointer[self] = NONE;
        if
        :: kicked[self] -> goto attend /* out again at once */
        :: else -> inside[self] = 1
        fi;
        if
        :: translation[self] == NONE -> translation[self] = object; assert(!freed[object])
        :: else
        fi
    };
    if
    :: skip
    :: self < 2;
end_in_guest:
        kicked[self] /* this CPU exits only because of a kick */
    fi;
    inside[self] = 0;

    if /* the reason of the exit */
    :: skip
    :: atomic { pointer[self] = object; assert(!freed[object]) };
#ifndef MUTANT_PASSES_WITH_A_POINTER
       pointer[self] = NONE
#endif
    :: atomic { self < RECLAIMERS && reclaims && old == NONE -> reclaims-- };
       if
       :: skip
       :: skip; /* with the lock */
          do
          :: atomic { !lock && drained -> lock = 1; has_lock = 1; break }
#ifndef MUTANT_LOCKED_OUT
          :: atomic { lock -> now = epoch }; /* epoch_lock(): passes the epoch */
             atomic { buffer[self]!SEEN(now); now = 0 }
#endif
          od
       fi;
       unlink();
       if
       :: wait(); free()
       :: !has_lock /* tdp_retire() */
       fi;
       if
       :: atomic { has_lock -> has_lock = 0; lock = 0 }
       :: else
       fi
    :: atomic { old != NONE -> other = 0 }; /* tdp_reclaim() */
       do
       :: atomic { other == CPUS -> other = 0; free(); break }
       :: atomic { other < CPUS && other != self && lags(other) -> other = 0; break }
       :: atomic { else -> other++ }
       od
    fi;
    if
    :: kicked[self] -> goto attend
    :: !kicked[self] -> goto enter
#ifndef MUTANT_IDLE_ONLINE
    :: self == 2 -> buffer[self]!SEEN(0)
#else
    :: self == 2
#endif
    fi;
    goto idle;
asleep:
    if
    :: skip;
end_asleep:
        false
    :: work_elsewhere(); goto asleep
#if RECLAIMERS == 1
    :: online(); goto attend
#endif
    fi
}

/* When no process can make a step any more, no CPU may be waiting. */
proctype monitor()
{
end:
    timeout -> assert(!waiting)
}

init {
    atomic {
        run drain(0); run drain(1); run drain(2);
        run cpu(0); run cpu(1); run cpu(2);
        run monitor()
    }
}
