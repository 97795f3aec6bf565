/* SPDX-License-Identifier: MIT */
/*
 * Requests, kicks and entries of three CPUs: vmx/attention.h, vm/run.c, vm/pcpu.c, mmu/tlb.[ch].
 *
 * Each CPU runs a vCPU of one VM in a loop: attend to all requests, arm the timer, announce "in the
 * guest", pay the debt, enter. While a CPU handles an exit it may change tables and flush the other
 * CPUs, or put a message into another vCPU's mailbox. A kick is an NMI, which can arrive before any
 * step. Each statement of the model is one access to memory that other CPUs see, or one step before
 * which an NMI can arrive. The model proves for every interleaving of all steps:
 *
 *   - when a flush has returned, no CPU is in the guest with a translation from before (T1)
 *   - a flush returns, though guests never exit by themselves
 *   - no message stays unread while the CPU of its vCPU stays in the guest
 *
 * Each MUTANT_ omits or moves one step, and one of the statements must fail then.
 */
#define CPUS    3
#ifndef FLUSHES
#define FLUSHES 1 /* of all CPUs together */
#endif
#ifndef MAILS
#define MAILS 1
#endif

byte version;            /* of the tables */
byte debt;               /* mmu->tlb.debt */
byte entered[CPUS];      /* tlb_cpus[].entered and mmu->tlb.paid[] */
bit running[CPUS];       /* tlb_cpus[].running */
bit inside[CPUS];        /* in the guest itself */
byte translation[CPUS];  /* the version that the TLB may still hold */
bit sent[CPUS];          /* cpu->kicked: an NMI has been sent and not been handled */
bit nmi[CPUS];           /* an NMI is pending at the CPU */
/* ATTENTION_KICK, ATTENTION_TIMER, ATTENTION_MAIL; one instruction changes each without the others.
 */
bit kick_bit[CPUS];
bit timer_bit[CPUS];
bit mail_bit[CPUS];
bit timer_is_0[CPUS];
bit mail[CPUS];          /* a message is in the mailbox */
byte flushes = FLUSHES, mails = MAILS;
byte waiting;            /* flushes that have not returned */

#define attention(cpu) (kick_bit[cpu] || timer_bit[cpu] || mail_bit[cpu])

inline kick(cpu)
{
    d_step {
        if
        :: !sent[cpu] -> sent[cpu] = 1; nmi[cpu] = 1
        :: else
        fi
    }
}

/* The NMI handler, which runs between two steps of its CPU. */
proctype nmis(byte self)
{
end:
    do
    :: atomic {
        nmi[self] ->
        nmi[self] = 0;
#ifndef MUTANT_SENT_CLEARED_LATE
        sent[self] = 0;
#endif
        kick_bit[self] = 1;
        if
        :: inside[self] -> inside[self] = 0
        :: else ->
#ifndef MUTANT_TIMER_NOT_ZEROED
            timer_is_0[self] = 1
#else
            skip
#endif
        fi
    }
    od
}

inline arm()
{
    timer_is_0[self] = 0;
#ifndef MUTANT_ARMING_UNDOES_A_KICK
    if
    :: kick_bit[self] -> timer_is_0[self] = 1
    :: else
    fi
#endif
}

inline flush()
{
    d_step {
        waiting++;
        version++;
        debt++;
        mine = debt
    }
    other = 0;
    do
    :: other == CPUS -> break
    :: other == self -> other++
    :: else ->
        if
        :: running[other] && entered[other] < mine ->
#ifndef MUTANT_NO_KICK
            kick(other);
#endif
#ifndef MUTANT_NO_WAIT
            (!running[other] || entered[other] >= mine)
#endif
        :: else
        fi;
        other++
    od;
    skip;
    d_step {
        waiting--;
        /* Translations from before a later flush are allowed until that one returns. */
        assert(!(inside[0] && translation[0] < mine));
        assert(!(inside[1] && translation[1] < mine));
        assert(!(inside[2] && translation[2] < mine))
    }
}

inline send(to)
{
#ifdef MUTANT_REQUEST_BEFORE_MAIL
    mail_bit[to] = 1;
    mail[to] = 1;
#else
    mail[to] = 1;
    mail_bit[to] = 1;
#endif
#ifndef MUTANT_MAIL_WITHOUT_KICK
    kick(to)
#endif
}

proctype cpu(byte self)
{
    byte owed, mine, other;

attend:
    do
    :: /* look_at_clock() */
#ifndef MUTANT_KICK_CLEARED_LATE
        d_step { kick_bit[self] = 0; timer_bit[self] = 0 };
#endif
        if
        :: mail_bit[self] ->
#ifdef MUTANT_MAIL_CLEARED_LATE
            mail[self] = 0;
            mail_bit[self] = 0
#else
            mail_bit[self] = 0;
            mail[self] = 0
#endif
        :: else
        fi;
#ifdef MUTANT_KICK_CLEARED_LATE
        d_step { kick_bit[self] = 0; timer_bit[self] = 0 };
#endif
        arm();
        if
        :: kick_bit[self]
        :: else -> break
        fi
    od;
    if /* an event is delivered: its source arms the timer again */
    :: arm()
    :: skip
    fi;
#ifdef MUTANT_WHOLE_WORD_CLEARED
    d_step { kick_bit[self] = 0; timer_bit[self] = 0; mail_bit[self] = 0 };
#endif
enter:
#ifdef MUTANT_DEBT_READ_FIRST
    owed = debt;
    running[self] = 1;
#else
    running[self] = 1;
    owed = debt;
#endif
    if
    :: entered[self] != owed ->
        entered[self] = owed; /* published before INVEPT */
#ifndef MUTANT_NO_INVEPT
        translation[self] = version /* walks from now on see the tables as of the debt, or newer */
#endif
    :: else
    fi;
    d_step { /* VMRESUME: an NMI arrives before or after it */
        if
        :: timer_is_0[self] -> inside[self] = 0
        :: else -> inside[self] = 1
        fi
    }
    if
    :: inside[self] ->
        if
        :: skip;
end_in_guest:
            !inside[self] /* this CPU exits only because of a kick */
        :: inside[self] = 0 /* any other exit */
        fi
    :: else -> timer_bit[self] = 1 /* the preemption timer */
    fi;
    running[self] = 0;
#ifdef MUTANT_SENT_CLEARED_LATE
    sent[self] = 0;
#endif
    if /* the reason of the exit */
    :: atomic { flushes -> flushes-- }; flush()
    :: atomic { mails -> mails--; other = (self + 1) % CPUS }; send(other)
    :: atomic { mails -> mails--; other = (self + 2) % CPUS }; send(other)
    :: arm()
    :: skip
    fi;
    if
    :: attention(self) -> goto attend
    :: else
    fi;
    if /* the timer is armed again for the entry: goes_on() in vm/dispatch.c */
    :: timer_is_0[self] = 0;
#ifndef MUTANT_REARMING_UNDOES_A_KICK
        if
        :: attention(self) -> goto attend
        :: else
        fi
#endif
    :: skip
    fi;
    goto enter
}

/* When no process can make a step any more, no CPU may be waiting, and no message unread. */
proctype monitor()
{
end:
    do
    :: timeout ->
        assert(!waiting);
        assert(!mail[0] && !mail[1] && !mail[2]);
        break
    od
}

init {
    atomic {
        run nmis(0); run nmis(1); run nmis(2);
        run cpu(0); run cpu(1); run cpu(2);
        run monitor()
    }
}
