/*
 * A reader/writer spinlock: any number of readers, or one writer. Each of the four operations is
 * one locked instruction where nobody is in the way. A waiting writer keeps new readers out, so a
 * reader must not take the lock a second time. Holders do not sleep, and whoever waits for it must
 * not be waited for by a holder.
 */
#pragma once

#include "lib/spinlock.h"

struct rwlock {
    uint32_t word;    /* RWLOCK_WRITER, and the number of readers, of which some only try */
    uint32_t waiting; /* how many spin */
};

#define RWLOCK_WRITER 0x80000000u /* the sign */

/* The slow halves. */
void rwlock_wait_read(struct rwlock *lock);
void rwlock_wait_write(struct rwlock *lock);

static inline void read_lock(struct rwlock *lock)
{
    if (unlikely((int32_t)__atomic_add_fetch(&lock->word, 1, __ATOMIC_ACQUIRE) < 0))
        rwlock_wait_read(lock);
}

static inline void read_unlock(struct rwlock *lock)
{
    __atomic_fetch_sub(&lock->word, 1, __ATOMIC_RELEASE);
}

static inline void write_lock(struct rwlock *lock)
{
    uint32_t nobody = 0;
    if (unlikely(!__atomic_compare_exchange_n(&lock->word, &nobody, RWLOCK_WRITER, false,
                                              __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)))
        rwlock_wait_write(lock);
}

/* Readers that only try come and go, so the word is not simply cleared. */
static inline void write_unlock(struct rwlock *lock)
{
    __atomic_fetch_sub(&lock->word, RWLOCK_WRITER, __ATOMIC_RELEASE);
}

/* Does anybody spin? For holders who could give way. */
static inline bool rwlock_contended(const struct rwlock *lock)
{
    return __atomic_load_n(&lock->waiting, __ATOMIC_RELAXED);
}
