/*
 * Epochs: when may memory be freed that others read without a lock (decision D11)?
 *
 * A reader takes nothing and announces nothing. Each CPU passes a point now and then where it holds
 * no pointer that it read without a lock (before each VM entry), and there writes down the number
 * of the current epoch. Whoever has unlinked something begins a new epoch; when every CPU has seen
 * it, all pointers read before are gone. So a reader costs nothing, and a pass two plain moves.
 *
 * A CPU that is offline (does not run the loop) holds no pointers and is not waited for. Freshly
 * started, all are. A CPU in the guest passes when it is made to exit.
 *
 * Each CPU reads what belongs to one owner, a VM, at a time, and says which when it goes online:
 * who frees memory of an owner's waits for that owner's CPUs, and disturbs no other.
 */
#pragma once

#include "lib/cpu_local.h"
#include "lib/compiler.h"
#include "lib/spinlock.h"

#include <stdbool.h>
#include <stdint.h>

struct epoch_cpu {
    uint64_t seen;     /* 0: offline */
    const void *owner; /* whose memory it reads; NULL: anybody's */
} __attribute__((aligned(64)));

extern struct epoch_cpu epoch_cpus[CPUS_MAX];
extern uint64_t epoch_current;
extern unsigned epoch_cpu_count; /* the CPUs that there are; CPUS_MAX until somebody knows */

static inline uint64_t epoch_now(void)
{
    return __atomic_load_n(&epoch_current, __ATOMIC_ACQUIRE);
}

/* This CPU holds nothing that it read before `epoch` was current. */
static inline void epoch_pass_at(struct epoch_cpu *cpu, uint64_t epoch)
{
    __atomic_store_n(&cpu->seen, epoch, __ATOMIC_RELEASE);
}

static inline void epoch_pass(uint64_t cpu, uint64_t epoch)
{
    epoch_pass_at(&epoch_cpus[cpu], epoch);
}

/* Between these two a CPU may read without locks what belongs to `owner`; NULL: to anybody. */
void epoch_online(unsigned cpu, const void *owner);
void epoch_offline(unsigned cpu);

/* After unlinking: the number that the owner's CPUs must have seen before the memory is freed. */
uint64_t epoch_begin(void);

/* Has every CPU seen it that is online for this owner, NULL: for any? */
bool epoch_over(uint64_t epoch, const void *owner);

/* Waits until it is. The caller, `self`, holds nothing itself and passes meanwhile. `kick` makes a
 * CPU pass soon; it is called once for each CPU that lags, for all of them before the first is
 * waited for. */
void epoch_wait(uint64_t epoch, const void *owner, unsigned self, void (*kick)(unsigned cpu));

/* Takes a lock whose holders may wait for an epoch: passes as long as it is taken. The caller holds
 * no pointer and no other lock. */
void epoch_lock(struct spinlock *lock, unsigned self);
