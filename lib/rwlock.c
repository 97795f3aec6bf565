/* SPDX-License-Identifier: MIT */
/* The slow paths of the reader/writer lock; see the header. They touch nothing but the lock. */
#include "lib/rwlock.h"

void rwlock_wait_read(struct rwlock *lock)
{
    do {
        __atomic_fetch_sub(&lock->state, 1, __ATOMIC_RELAXED);
        while (__atomic_load_n(&lock->state, __ATOMIC_RELAXED) & RWLOCK_WRITER)
            cpu_relax();
    } while (__atomic_fetch_add(&lock->state, 1, __ATOMIC_ACQUIRE) & RWLOCK_WRITER);
}

/* Sets the writer's bit first, which keeps out other writers and new readers; then waits until the
 * readers have left. */
void rwlock_wait_write(struct rwlock *lock)
{
    while (__atomic_fetch_or(&lock->state, RWLOCK_WRITER, __ATOMIC_ACQUIRE) & RWLOCK_WRITER) {
        while (__atomic_load_n(&lock->state, __ATOMIC_RELAXED) & RWLOCK_WRITER)
            cpu_relax();
    }
    while (__atomic_load_n(&lock->state, __ATOMIC_ACQUIRE) != RWLOCK_WRITER)
        cpu_relax();
}
