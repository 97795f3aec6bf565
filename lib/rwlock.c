/* The waiting halves of the reader/writer lock; see the header. Touches nothing but the lock. */
#include "lib/rwlock.h"

void rwlock_wait_read(struct rwlock *lock)
{
    __atomic_fetch_add(&lock->waiting, 1, __ATOMIC_RELAXED);
    do {
        __atomic_fetch_sub(&lock->word, 1, __ATOMIC_RELAXED);
        while (__atomic_load_n(&lock->word, __ATOMIC_RELAXED) & RWLOCK_WRITER)
            cpu_relax();
    } while (__atomic_fetch_add(&lock->word, 1, __ATOMIC_ACQUIRE) & RWLOCK_WRITER);
    __atomic_fetch_sub(&lock->waiting, 1, __ATOMIC_RELAXED);
}

/* First the writer's bit, against other writers and new readers; then the readers leave. */
void rwlock_wait_write(struct rwlock *lock)
{
    __atomic_fetch_add(&lock->waiting, 1, __ATOMIC_RELAXED);
    while (__atomic_fetch_or(&lock->word, RWLOCK_WRITER, __ATOMIC_ACQUIRE) & RWLOCK_WRITER) {
        while (__atomic_load_n(&lock->word, __ATOMIC_RELAXED) & RWLOCK_WRITER)
            cpu_relax();
    }
    while (__atomic_load_n(&lock->word, __ATOMIC_ACQUIRE) != RWLOCK_WRITER)
        cpu_relax();
    __atomic_fetch_sub(&lock->waiting, 1, __ATOMIC_RELAXED);
}
