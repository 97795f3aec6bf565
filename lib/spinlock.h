/* SPDX-License-Identifier: MIT */
/*
 * A lock for short critical sections: a CPU that finds it taken spins. Without contention it costs
 * one locked instruction to take and a plain store to release.
 */
#pragma once

#include "lib/compiler.h"

#include <stdbool.h>
#include <stdint.h>

struct spinlock {
    uint32_t taken;
};

/* The body of a loop that waits for another CPU. Supplied by arch/x86/cpus.c. */
void cpu_relax(void);

static inline bool MUST_CHECK spin_trylock(struct spinlock *lock)
{
    return !__atomic_exchange_n(&lock->taken, 1, __ATOMIC_ACQUIRE);
}

static inline void spin_lock(struct spinlock *lock)
{
    while (unlikely(!spin_trylock(lock))) {
        while (__atomic_load_n(&lock->taken, __ATOMIC_RELAXED))
            cpu_relax();
    }
}

static inline void spin_unlock(struct spinlock *lock)
{
    __atomic_store_n(&lock->taken, 0, __ATOMIC_RELEASE);
}
