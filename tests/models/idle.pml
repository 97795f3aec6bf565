/* SPDX-License-Identifier: MIT */
/*
 * Three CPUs halt when no vCPU is waiting for them: vm/sched.c and cpu_idle() of arch/x86/kick.c.
 *
 * A CPU clears its wake flag, looks into its queue, and halts unless the flag has been set by then;
 * the handler of an NMI between the last check and HLT moves RIP back to the check. The CPU that
 * adds a vCPU sets the flag and kicks. The vCPUs are pinned, so no other CPU takes them. The model
 * proves for every interleaving of all steps that no vCPU is left waiting while all CPUs sleep.
 */
#define CPUS  3
#define TURNS 4 /* additions of a vCPU to the next CPU's queue, by all CPUs together */

byte length[CPUS];
bit wake[CPUS];
bit sent[CPUS], nmi[CPUS];
bit looked[CPUS]; /* between the check of the wake flag and HLT */
bit again[CPUS];  /* the NMI has moved RIP back */
bit asleep[CPUS];
byte turns = TURNS;

proctype nmis(byte self)
{
end:
    do
    :: atomic {
        nmi[self] ->
        nmi[self] = 0;
        sent[self] = 0;
        if
        :: asleep[self] -> asleep[self] = 0
#ifndef MUTANT_NO_WAY_BACK
        :: !asleep[self] && looked[self] -> again[self] = 1
#endif
        :: else
        fi
    }
    od
}

inline add(to)
{
    length[to]++;
#ifndef MUTANT_KICK_ALONE
    wake[to] = 1;
#endif
#ifndef MUTANT_NO_KICK
    atomic {
        if
        :: !sent[to] -> sent[to] = 1; nmi[to] = 1
        :: else
        fi
    }
#endif
}

proctype cpu(byte self)
{
    if
    :: self == 0 -> goto run_guest
    :: else
    fi;
look:
#ifndef MUTANT_WAKE_CLEARED_LATE
    wake[self] = 0;
#endif
    if
    :: length[self] -> length[self]--; goto run_guest
    :: else
    fi;
#ifdef MUTANT_WAKE_CLEARED_LATE
    wake[self] = 0;
#endif
sleep:
    looked[self] = 1;
    if
    :: wake[self] -> looked[self] = 0; goto look
    :: else
    fi;
    atomic {
        looked[self] = 0;
        if
        :: again[self] -> again[self] = 0; goto sleep
        :: else -> asleep[self] = 1
        fi
    }
end_asleep:
    !asleep[self];
    goto look;
run_guest:
    do
    :: atomic { turns -> turns-- }; add((self + 1) % CPUS)
    :: atomic { turns -> turns-- }; add((self + 2) % CPUS)
    :: break
    od;
    goto look
}

proctype monitor()
{
end:
    timeout -> assert(!length[0] && !length[1] && !length[2])
}

init {
    atomic {
        run nmis(0); run nmis(1); run nmis(2);
        run cpu(0); run cpu(1); run cpu(2);
        run monitor()
    }
}
