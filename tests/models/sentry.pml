/* SPDX-License-Identifier: MIT */
/*
 * Who looks at the watches while no pCPU has a vCPU (vm/watch.c, with vm/sched.c and the loop of
 * main/guests.c): one pCPU, the sentry, and the others halt. idle.pml shows that a pCPU does not
 * halt when its wake flag has been set; here both are one step.
 *
 * Each CPU takes vCPUs from its queue, adds vCPUs to the queues of others, and as the sentry may
 * find work that takes long. The model proves for every interleaving of all steps that a CPU never
 * halts, and a sentry never begins such work while a CPU halts, if nobody is left who looks: each
 * other CPU halts or works.
 *
 * Each MUTANT_ omits or moves one step, and this must fail then.
 */
#define CPUS 3

byte sentry;        /* the number + 1, or 0 */
bit idle[CPUS];     /* the mask of the CPUs that found no vCPU */
bit wake[CPUS], asleep[CPUS];
bit queued[CPUS];   /* a vCPU waits for this CPU */
bit has[CPUS];      /* pcpus[].vcpu */
bit works[CPUS];
byte turns = 1, jobs = 1; /* vCPUs that are added, and work that is found, by all together */

#define LOOKS(cpu) (!asleep[cpu] && !works[cpu])
#define SOMEBODY_LOOKS (LOOKS(0) || LOOKS(1) || LOOKS(2))

inline wake_up(to)
{
    d_step { wake[to] = 1; asleep[to] = 0 }
}

/* sched_claim_idle() reads the mask once, and then clears the bits one after the other. */
inline wake_one()
{
    atomic { seen[0] = idle[0]; seen[1] = idle[1]; seen[2] = idle[2] };
    to = 0;
    do
    :: to < CPUS && seen[to] ->
        atomic { found = idle[to]; idle[to] = 0 };
        if
        :: found -> wake_up(to); break
        :: else -> to++
        fi
    :: to < CPUS && !seen[to] -> to++
    :: to == CPUS -> break
    od
}

/* pcpus_have_vcpu(), which looks at one CPU after the other */
inline look_for_vcpus()
{
    found = has[0];
    found = found || has[1];
    found = found || has[2]
}

inline leave()
{
    if
    :: sentry == self + 1 ->
        idle[self] = 0;
#ifdef MUTANT_WOKEN_BEFORE_LEFT
        wake_one();
        sentry = 0
#else
        sentry = 0;
#ifndef MUTANT_NOT_RELIEVED
        wake_one()
#endif
#endif
    :: else
    fi
}

proctype cpu(byte self)
{
    byte to;
    bit found;
    bit seen[CPUS];

    if
    :: self == 0 -> goto run_vcpu
    :: else
    fi;
take:
    wake[self] = 0;
#ifndef MUTANT_IDLE_MARKED_LATE
    idle[self] = 1;
#endif
    if
    :: queued[self] -> queued[self] = 0; idle[self] = 0; goto run_vcpu
    :: else
    fi;
    do
    :: look_for_vcpus();
        if
        :: !found -> break
        :: found && sentry == self + 1 ->
            sentry = 0;
#ifdef MUTANT_NO_SECOND_LOOK
            goto sleep
#endif
        :: found && sentry != self + 1 -> goto sleep
        fi
    od;
    atomic {
        if
        :: !sentry -> sentry = self + 1
        :: else
        fi;
        found = sentry == self + 1
    };
    if
    :: found -> goto watches
    :: else
    fi;
sleep:
#ifdef MUTANT_IDLE_MARKED_LATE
    idle[self] = 1;
#endif
    atomic {
        asleep[self] = !wake[self];
        assert(SOMEBODY_LOOKS)
    };
end_asleep:
    !asleep[self];
    goto take;
watches:
    if
    :: goto take /* it was woken, or has looked and found nothing */
    :: atomic { jobs -> jobs-- };
        leave();
        atomic {
            works[self] = 1;
            assert(SOMEBODY_LOOKS || !(asleep[0] || asleep[1] || asleep[2]))
        };
        works[self] = 0;
        goto take
    fi;
run_vcpu:
    leave();
    has[self] = 1;
    do
    :: atomic { turns -> turns-- };
        to = (self + 1) % CPUS;
        queued[to] = 1;
        wake_up(to)
    :: break
    od;
    has[self] = 0;
    goto take
}

init {
    atomic { run cpu(0); run cpu(1); run cpu(2) }
}
