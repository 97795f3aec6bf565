/* SPDX-License-Identifier: MIT */
#include "vm/watch.h"

#include "arch/x86/tsc.h"
#include "lib/spinlock.h"
#include "vm/input.h"
#include "vm/pcpu.h"
#include "vm/sched.h"
#include "vm/transcript.h"
#include "vm/vcpu.h"
#include "lib/cpu_local.h"

static struct spinlock lock; /* held while a watch looks */
static struct watch *first;
uint64_t watches_due = TIME_NEVER;

void watch_soon(struct watch *watch)
{
    __atomic_store_n(&watch->soon, 1, __ATOMIC_SEQ_CST);
    __atomic_store_n(&watches_due, 0, __ATOMIC_SEQ_CST);
}

void watch_add(struct watch *watch)
{
    spin_lock(&lock);
    watch->next = first;
    first = watch;
    spin_unlock(&lock);
    watch_soon(watch);
}

/* A watch that becomes due meanwhile sets `watches_due` to 0, which the compare-exchange keeps. */
static void watches_look(uint64_t now)
{
    uint64_t due = TIME_NEVER, never = TIME_NEVER;
    if (!spin_trylock(&lock))
        return;
    __atomic_store_n(&watches_due, TIME_NEVER, __ATOMIC_SEQ_CST);
    for (struct watch *watch = first; watch; watch = watch->next) {
        if (__atomic_exchange_n(&watch->soon, 0, __ATOMIC_SEQ_CST) || now >= watch->due)
            watch->due = watch->look(now);
        due = watch->due < due ? watch->due : due;
    }
    (void)__atomic_compare_exchange_n(&watches_due, &never, due, false, __ATOMIC_SEQ_CST,
                                      __ATOMIC_SEQ_CST);
    spin_unlock(&lock);
}

/* A piece of text is printed as well, so that what is shown in answer to a key does not wait for a
 * CPU that has nothing else to do. */
void watch_look(uint64_t now)
{
    if (now >= READ_ONCE(input_due)) {
        input_poll(now, tsc_khz());
        if (transcript_has_text())
            (void)transcript_print();
    }
    if (now >= __atomic_load_n(&watches_due, __ATOMIC_RELAXED))
        watches_look(now);
}

/* ---- While no pCPU has a vCPU ---------------------------------------------------------------- */

uint32_t sentry;

static uint32_t sentry_now(void)
{
    return __atomic_load_n(&sentry, __ATOMIC_SEQ_CST);
}

/* While a pCPU has a vCPU, it looks at the watches. The last one that loses its vCPU comes to
 * watch_idle() after that, and finds none that has one. */
static bool sentry_is_needed(void)
{
    return watch_next() != TIME_NEVER && !pcpus_have_vcpu();
}

/* Returns true if this pCPU is the sentry from now on. One that is not needed any more lays the
 * duty down before it looks whether that is still so: a pCPU that has found the duty taken, and
 * halts, had no vCPU at that time, which the second look sees (tests/models/sentry.pml). */
static bool sentry_is_me(void)
{
    uint32_t self = this_cpu() + 1, now = 0;
    while (!sentry_is_needed()) {
        if (sentry_now() != self)
            return false;
        __atomic_store_n(&sentry, 0, __ATOMIC_SEQ_CST);
    }
    return __atomic_compare_exchange_n(&sentry, &now, self, false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_SEQ_CST) ||
           now == self;
}

void watch_idle(void)
{
    if (!sentry_is_me()) {
        sched_idle();
        return;
    }
    while (rdtsc() < watch_next() && !sched_is_woken())
        cpu_relax();
    watch_look(rdtsc());
}

/* The duty is laid down before an idle pCPU is looked for, and a pCPU marks itself as idle before
 * it finds the duty taken, so it is woken. */
void watch_relieve(void)
{
    if (sentry_now() != this_cpu() + 1)
        return;
    sched_busy();
    __atomic_store_n(&sentry, 0, __ATOMIC_SEQ_CST);
    sched_wake_one();
}
