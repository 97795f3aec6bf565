/* SPDX-License-Identifier: MIT */
/*
 * Visits and pauses of one vCPU (vm/visit.c, vm/pause.c), which runs, sleeps while it is paused
 * (vm/sleep.c), and at the end stops for ever, as for an INIT without a start-up IPI. halt.pml
 * shows that a vCPU that was woken runs, and kick.pml that a kick ends a guest: here a kick is a
 * flag, and a woken vCPU runs at once.
 *
 * Two pausers each pause the vCPU, wait until it is out of its guest, and resume it; two visitors
 * visit it. The model proves for every interleaving of all steps:
 *
 *   - each visit is done, and none is made to a vCPU that has stopped
 *   - a pauser that has been told that the vCPU is out never finds it in its guest
 *   - a vCPU that nobody pauses any more goes on
 *
 * Each MUTANT_ omits or moves one step, and one of these statements must fail then.
 */
#define GDB     1
#define MONITOR 2
#define OUT     4

bit open = 1;    /* vcpu->visits is not NULL */
byte listed;     /* number of visits in the list */
byte done;       /* number of visits that were made or missed */
bit visit, pause, kick; /* ATTENTION_VISIT, ATTENTION_PAUSE, and a kick that arrives */
byte paused;     /* vcpu->paused */
bit asleep;      /* vcpu->sched.asleep */
bit in_guest;
bit told[3];     /* by pauser: pause_reached() has returned true */

/* sleep_alert(): a kick if the vCPU runs, and a claim if it sleeps. */
inline alert()
{
    kick = 1;
    asleep = 0
}

active [2] proctype visitor()
{
    /* visit_begin() */
#ifdef MUTANT_LIST_TESTED_FIRST
    if
    :: open -> listed++
    :: !open -> done++; goto end
    fi;
#else
    atomic {
        if
        :: open -> listed++
        :: else -> done++; goto end
        fi
    };
#endif
#ifndef MUTANT_VISIT_NOT_REQUESTED
    visit = 1;
#endif
    alert();
end:
    skip
}

proctype pauser(byte who)
{
    atomic { paused = paused | who };
    pause = 1;
    alert();
    /* pause_reached(), again and again */
reached:
    atomic {
        ((paused & OUT) || !open) -> told[who] = 1
    };
    assert(!in_guest);
    atomic { told[who] = 0; paused = paused & (7 - who) };
#ifdef MUTANT_RESUMER_CLEARS_REQUEST
    if
    :: (paused & 3) == 0 -> pause = 0
    :: else
    fi;
#endif
#ifndef MUTANT_RESUMED_WITHOUT_ALERT
    alert()
#endif
}

active proctype vcpu()
{
    byte old;
    byte turns = 0;

attend:
    kick = 0;
    if
    :: visit ->
#ifdef MUTANT_VISIT_CLEARED_LATE
        atomic { done = done + listed; listed = 0 };
        visit = 0
#else
        visit = 0;
        atomic { done = done + listed; listed = 0 }
#endif
    :: else
    fi;
    /* pause_holds() */
    if
    :: pause ->
#ifndef MUTANT_PAUSE_CLEARED_LATE
        pause = 0;
#endif
#ifdef MUTANT_OUT_WITHOUT_EXCHANGE
        old = paused;
        if
        :: old & 3 -> paused = old | OUT
        :: else -> paused = 0
        fi;
#else
        atomic {
            old = paused;
            if
            :: old & 3 -> paused = old | OUT
            :: else -> paused = 0
            fi
        };
#endif
#ifdef MUTANT_PAUSE_CLEARED_LATE
        pause = 0;
#endif
        if
        :: old & 3 -> pause = 1
        :: else
        fi
    :: else
    fi;
    if
    :: pause -> goto sleeps
    :: else
    fi;
    if
    :: turns < 2 -> turns++
    :: goto stops
    fi;
    /* the entry, unless a kick has set the timer to 0 */
    atomic {
        if
        :: !kick ->
            in_guest = 1;
            assert(!told[GDB] && !told[MONITOR])
        :: else
        fi
    };
end_guest:
    if
    :: kick
    :: turns < 2
    fi;
    in_guest = 0;
    goto attend;

sleeps: /* sleep_add() */
    asleep = 1;
#ifndef MUTANT_MESSAGES_NOT_LOOKED_AT
    if
    :: visit || (pause && paused <= OUT) -> asleep = 0
    :: else
    fi;
#endif
end_asleep:
    !asleep;
    goto attend;

stops: /* visit_close() */
    atomic {
#ifndef MUTANT_CLOSED_WITH_A_VISIT
        done = done + listed;
        listed = 0;
#endif
        open = 0
    }
}

/* When no process can make a step any more, both visits are done, and the vCPU is not asleep. */
active proctype monitor()
{
end:
    timeout ->
        assert(done == 2 && !listed);
        assert(!asleep && paused <= OUT)
}

init {
    atomic { run pauser(GDB); run pauser(MONITOR) }
}
