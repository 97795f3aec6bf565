/* SPDX-License-Identifier: MIT */
/*
 * A reader/writer spinlock: any number of readers, or one writer. Each of the four operations is
 * one locked instruction when the lock is not contended. A waiting writer keeps new readers out, so
 * a reader must not take the lock a second time. A holder neither sleeps nor waits for a CPU that
 * may be waiting for the lock.
 */
#pragma once

#include "lib/spinlock.h"

struct rwlock {
    uint32_t state; /* RWLOCK_WRITER, and the number of readers and of failing attempts */
};

#define RWLOCK_WRITER 0x80000000u /* the sign bit */

/* The slow paths of read_lock() and write_lock(). */
void rwlock_wait_read(struct rwlock *lock);
void rwlock_wait_write(struct rwlock *lock);

static inline void read_lock(struct rwlock *lock)
{
    if (unlikely((int32_t)__atomic_add_fetch(&lock->state, 1, __ATOMIC_ACQUIRE) < 0))
        rwlock_wait_read(lock);
}

static inline void read_unlock(struct rwlock *lock)
{
    __atomic_fetch_sub(&lock->state, 1, __ATOMIC_RELEASE);
}

static inline void write_lock(struct rwlock *lock)
{
    uint32_t nobody = 0;
    if (unlikely(!__atomic_compare_exchange_n(&lock->state, &nobody, RWLOCK_WRITER, false,
                                              __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)))
        rwlock_wait_write(lock);
}

/* Subtracts the writer's bit instead of clearing the whole value, because readers whose attempt
 * fails are counted in it for a moment. */
static inline void write_unlock(struct rwlock *lock)
{
    __atomic_fetch_sub(&lock->state, RWLOCK_WRITER, __ATOMIC_RELEASE);
}
