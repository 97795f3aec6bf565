/* SPDX-License-Identifier: MIT */
/*
 * Halted vCPUs on two CPUs: vm/sleep.c with its callers in vm/run.c, vm/sched.c and vm/ipi.c.
 * idle.pml shows that a CPU without a vCPU wakes up, and kick.pml that a CPU in a running guest
 * notices requests.
 *
 * Each vCPU runs when it has mail, may send mail, and halts. Its CPU halts with it; or, if another
 * vCPU is waiting anywhere, the vCPU leaves the CPU and sleeps in the CPU's list, until the sender
 * of mail claims it, takes it off the list and puts it into a queue, here any queue. The model
 * proves for every interleaving of all steps:
 *
 *   - no mail stays unread: no vCPU that has mail sleeps, waits or halts forever
 *   - no vCPU is on two CPUs, or in a list and elsewhere
 *
 * Each MUTANT_ omits or moves one step, and one of the two statements must fail then.
 */
#define CPUS  2
#define VCPUS 3
#define NONE  3
#define MAILS 2 /* sent by all vCPUs together */

bit mail[VCPUS];      /* mail has arrived; also ATTENTION_MAIL */
bit kicked[VCPUS];    /* ATTENTION_KICK */
byte asleep[VCPUS];   /* vcpu->sched.asleep: CPU number + 1, else 0 */
byte listed[VCPUS];   /* CPU number + 1 of the list that holds the vCPU, else 0 */
byte queued[VCPUS];   /* CPU number + 1 of the queue that holds the vCPU, else 0 */
byte on[VCPUS];       /* mailbox.pcpu */
bit locked[CPUS];     /* the lock of a list */
byte current[CPUS];   /* pcpus[].vcpu */
bit wake[CPUS];       /* the flag that cpu_idle() checks */
bit timer_is_0[CPUS];
bit halted[CPUS];     /* the CPU is halted, with its vCPU or idle */
bit sent[CPUS], nmi[CPUS];
byte mails = MAILS;

inline lock(cpu)
{
    atomic { !locked[cpu] -> locked[cpu] = 1 }
}

/* The handler. That cpu_idle() starts again is as good as not to halt. */
inline look_up(cpu)
{
    if
    :: current[cpu] != NONE ->
        kicked[current[cpu]] = 1;
#ifndef MUTANT_TIMER_NOT_ZEROED
        timer_is_0[cpu] = 1
#endif
    :: else
    fi;
    halted[cpu] = 0
}

proctype nmis(byte self)
{
end:
    do
    :: d_step { nmi[self] -> nmi[self] = 0; sent[self] = 0; look_up(self) }
    od
}

inline kick(cpu)
{
    d_step {
        if
        :: cpu == self -> look_up(cpu)
        :: cpu != self && !sent[cpu] -> sent[cpu] = 1; nmi[cpu] = 1
        :: else
        fi
    }
}

/* sched_add() */
inline add(v)
{
    assert(!queued[v] && !listed[v] && !on[v]);
    if
    :: to = 0
    :: to = 1
    fi;
    queued[v] = to + 1;
    wake[to] = 1;
    kick(to)
}

/* claim(), in one step */
inline claim(v)
{
    d_step { bed = asleep[v]; asleep[v] = 0 }
}

/* ipi_post() and sleep_alert() */
inline send(v)
{
#ifdef MUTANT_SLEEPER_LOOKED_FOR_FIRST
    claim(v);
    mail[v] = 1;
#else
    mail[v] = 1;
#endif
    to = on[v];
#ifndef MUTANT_NOT_KICKED
    if
    :: to -> kick(to - 1)
    :: else
    fi;
#endif
#ifndef MUTANT_SLEEPER_LOOKED_FOR_FIRST
    claim(v);
#endif
    if
    :: bed ->
        lock(bed - 1);
        listed[v] = 0;
        locked[bed - 1] = 0;
        add(v)
    :: else
    fi;
    bed = 0
}

/* sleep_add() */
inline sleep(v)
{
    bed = 0;
#ifdef MUTANT_MAIL_LOOKED_AT_FIRST
    found = mail[v];
#endif
    lock(self);
    assert(!queued[v] && !listed[v] && !on[v]);
    listed[v] = self + 1;
    asleep[v] = self + 1;
#ifdef MUTANT_MAIL_NOT_LOOKED_AT
    found = 0;
#endif
#if !defined(MUTANT_MAIL_LOOKED_AT_FIRST) && !defined(MUTANT_MAIL_NOT_LOOKED_AT)
    found = mail[v];
#endif
    if
    :: found ->
        claim(v);
        if
        :: bed -> listed[v] = 0
        :: else
        fi
    :: else
    fi;
    locked[self] = 0;
    if
    :: bed -> add(v)
    :: else
    fi;
    bed = 0
}

/* A vCPU in this CPU's list that no other CPU has claimed, or NONE. */
inline take_sleeper()
{
    lock(self);
    v = 0;
    do
    :: v == VCPUS -> v = NONE; break
    :: v < VCPUS && listed[v] == self + 1 ->
#ifdef MUTANT_TAKEN_WITHOUT_CLAIM
        bed = 1;
#else
        claim(v);
#endif
        if
        :: bed -> listed[v] = 0; break
        :: else -> v++
        fi
    :: else -> v++
    od;
    bed = 0;
    locked[self] = 0
}

/* The first that waits here, or else elsewhere; queue_remove() holds the queue's lock. */
inline take_queued()
{
    d_step {
        v = 0;
        do
        :: v == VCPUS || queued[v] == self + 1 -> break
        :: else -> v++
        od;
        if
        :: v == VCPUS ->
            v = 0;
            do
            :: v == VCPUS || queued[v] -> break
            :: else -> v++
            od
        :: else
        fi;
        if
        :: v == VCPUS -> v = NONE
        :: else -> queued[v] = 0
        fi
    }
}

proctype cpu(byte self)
{
    byte v, to, bed;
    bit found;

take:
    wake[self] = 0;
    take_queued();
    if
    :: v == NONE -> take_sleeper()
    :: else
    fi;
    if
    :: v == NONE ->
        d_step { halted[self] = !wake[self] };
end_idle:
        !halted[self];
        goto take
    :: else
    fi;
    /* begin() */
    assert(!queued[v] && !listed[v] && !on[v]);
    current[self] = v;
    on[v] = self + 1;
look:
    kicked[v] = 0;
    found = mail[v];
    mail[v] = 0;
    timer_is_0[self] = 0;
#ifndef MUTANT_ARMING_UNDOES_A_KICK
    if
    :: kicked[v] -> timer_is_0[self] = 1
    :: else
    fi;
#endif
    if
    :: found -> /* the guest runs, and halts again */
        do
        :: atomic { mails -> mails-- }; send((v + 1) % VCPUS)
        :: atomic { mails -> mails-- }; send((v + 2) % VCPUS)
        :: break
        od;
        goto look
    :: else
    fi;
    if
    :: wake[self] || queued[0] || queued[1] || queued[2] -> goto leave
    :: else
    fi;
    d_step { halted[self] = !timer_is_0[self] }; /* VMRESUME into the HLT state */
end_halted:
    !halted[self];
    goto look;
leave:
    on[v] = 0;
    current[self] = NONE;
    sleep(v);
    goto take
}

/* When no process can make a step any more, all mail is read, and no vCPU waits for a CPU. */
proctype monitor()
{
end:
    timeout ->
        assert(!mail[0] && !mail[1] && !mail[2]);
        assert(!queued[0] && !queued[1] && !queued[2])
}

init {
    atomic {
        current[0] = NONE;
        current[1] = NONE;
        mail[0] = 1;
        queued[0] = 1;
        queued[1] = 1;
        queued[2] = 2;
        run nmis(0); run nmis(1);
        run cpu(0); run cpu(1);
        run monitor()
    }
}
