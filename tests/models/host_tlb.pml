/* SPDX-License-Identifier: MIT */
/*
 * Blocks of memory leave the hypervisor's direct map and become private to a TD: lib/host_tlb.h,
 * and private_pool_create() and secure_block_add() of ept/ (rule X16).
 *
 * Three CPUs, of which one or two make and end TDs with a block each. A CPU may cache the
 * translation of a block whenever the block is mapped, and keeps it until it flushes its TLB. It
 * flushes in the handler of a kick, an NMI, which may arrive between any two steps of the code that
 * it interrupts, also while that code flushes by itself. A CPU that is halted or in a guest runs
 * nothing but the handler. The model proves for every interleaving of all steps: while a block is
 * private, no CPU has a translation of it.
 *
 * Each MUTANT_ omits or moves one step, and the proof must fail then.
 */
#define CPUS 3
/* OWNERS: the CPUs that make TDs, each with a block of its own; ROUNDS: how often each does. */

bit mapped[2] = 1, private[2];
byte debt;
byte paid[CPUS];
bit kicked[CPUS];
bit cached0[CPUS] = 1, cached1[CPUS] = 1; /* translations of block 0 and 1 */

#define is_cached(block) \
    (block == 0 && (cached0[0] || cached0[1] || cached0[2]) || \
     block == 1 && (cached1[0] || cached1[1] || cached1[2]))

/* host_tlb_pay() on the CPU `cpu`. */
inline pay(cpu, owed)
{
#ifdef MUTANT_DEBT_READ_LATE
    atomic { cached0[cpu] = 0; cached1[cpu] = 0 };
    owed = debt;
#else
    owed = debt;
#ifndef MUTANT_NOT_FLUSHED
    atomic { cached0[cpu] = 0; cached1[cpu] = 0 };
#endif
#endif
    atomic {
        if
        :: paid[cpu] < owed -> paid[cpu] = owed
        :: else
        fi;
        owed = 0
    }
}

/* Reads the newest debt, and then what each CPU has paid. */
inline look_whether_paid()
{
    owed = debt;
    other = 0;
    over = 1;
    do
#ifdef MUTANT_ONE_CPU_FORGOTTEN
    :: atomic { other == CPUS - 1 -> break }
#else
    :: atomic { other == CPUS -> break }
#endif
    :: atomic {
        else ->
        if
        :: paid[other] < owed -> over = 0
        :: else
        fi;
        other++
    }
    od;
    atomic { other = 0; owed = 0 }
}

active [OWNERS] proctype owner()
{
    byte self = _pid, round, other, owed;
    bit over;
    do
    :: round < ROUNDS ->
#ifdef MUTANT_OWED_BEFORE_HIDDEN
        debt++;
        mapped[self] = 0;
#else
        mapped[self] = 0; /* page_hide() */
        debt++;
#endif
#ifndef MUTANT_OWN_TLB_FORGOTTEN
        pay(self, owed);
#else
        atomic { owed = debt; paid[self] = owed; owed = 0 };
#endif
        atomic { kicked[0] = 1; kicked[1] = 1; kicked[2] = 1 };
        over = 0;
#ifndef MUTANT_NOT_WAITED
        do
        :: !over -> look_whether_paid()
        :: over -> break
        od;
#endif
        atomic { assert(!is_cached(self)); private[self] = 1 }; /* secure_block_add() */
        atomic { private[self] = 0; over = 0 }; /* it has left the map of owners */
        mapped[self] = 1; /* page_show() */
        round++
    :: else -> break
    od
}

/* What a CPU caches on its own, and the handler of the NMI, between any two steps of the others. */
active [CPUS] proctype cpu()
{
    byte self = _pid - OWNERS, owed;
end:
    do
    :: atomic { mapped[0] && !cached0[self] -> cached0[self] = 1 }
    :: atomic { mapped[1] && !cached1[self] -> cached1[self] = 1 }
    :: atomic { kicked[self] -> kicked[self] = 0 };
       pay(self, owed)
    :: atomic { private[0] && cached0[self] -> assert(0) }
    :: atomic { private[1] && cached1[self] -> assert(0) }
    od
}
