/* SPDX-License-Identifier: MIT */
/*
 * Epochs decide when memory may be freed that other CPUs read without a lock (decision D11).
 *
 * A reader takes no lock and announces nothing. Each CPU regularly passes a point at which it holds
 * no pointer that it read without a lock (before each VM entry), and records the number of the
 * current epoch there. A CPU that has unlinked an object begins a new epoch. When every CPU has
 * recorded that epoch, no CPU holds a pointer that it read before. A reader therefore pays nothing,
 * and passing costs two plain moves.
 *
 * An offline CPU, which is one outside of its run loop, holds no pointers, and nobody waits for it.
 * All CPUs begin offline. A CPU in a guest passes when it is made to exit.
 *
 * Each CPU reads objects of one owner (a VM) at a time and names the owner when it goes online.
 * Freeing an owner's memory therefore waits only for the CPUs that are online for this owner and
 * disturbs no others.
 */
#pragma once

#include "lib/cpu_local.h"
#include "lib/compiler.h"
#include "lib/spinlock.h"

#include <stdbool.h>
#include <stdint.h>

struct epoch_cpu {
    uint64_t seen;     /* 0: offline */
    const void *owner; /* the owner whose objects it reads; NULL: any owner's */
} __attribute__((aligned(64)));

extern struct epoch_cpu epoch_cpus[CPUS_MAX];
extern uint64_t epoch_current;
extern unsigned epoch_cpu_count; /* the number of CPUs; CPUS_MAX until it is known */

static inline uint64_t epoch_now(void)
{
    return __atomic_load_n(&epoch_current, __ATOMIC_ACQUIRE);
}

/* Records that this CPU holds no pointer that it read before `epoch` was current. */
static inline void epoch_pass_at(struct epoch_cpu *cpu, uint64_t epoch)
{
    __atomic_store_n(&cpu->seen, epoch, __ATOMIC_RELEASE);
}

static inline void epoch_pass(uint64_t cpu, uint64_t epoch)
{
    epoch_pass_at(&epoch_cpus[cpu], epoch);
}

/* Between epoch_online() and epoch_offline(), a CPU may read objects of `owner` (NULL: of any
 * owner) without locks. */
void epoch_online(unsigned cpu, const void *owner);
void epoch_offline(unsigned cpu);

/* Begins a new epoch after an object has been unlinked. The object may be freed when every CPU of
 * its owner has seen the epoch that is returned. */
uint64_t epoch_begin(void);

/* Has every CPU that is online for this owner (NULL: for any owner) seen `epoch`? */
bool epoch_over(uint64_t epoch, const void *owner);

/* Waits until epoch_over(). The caller, `self`, holds no pointers itself and counts as offline
 * while it waits. `kick` makes a CPU pass soon; it is called once for each CPU that lags, and for
 * all of them before the first one is waited for. */
void epoch_wait(uint64_t epoch, const void *owner, unsigned self, void (*kick)(unsigned cpu));

/* Takes a lock whose holders may wait for an epoch: the caller passes epochs as long as it has to
 * spin. It holds no pointer and no other lock. */
void epoch_lock(struct spinlock *lock, unsigned self);
