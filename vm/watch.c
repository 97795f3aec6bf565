/* SPDX-License-Identifier: MIT */
#include "vm/watch.h"

#include "arch/x86/tsc.h"
#include "lib/spinlock.h"
#include "vm/input.h"
#include "vm/pcpu.h"
#include "vm/sched.h"
#include "vm/transcript.h"
#include "vm/vcpu.h"

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

/* While a pCPU has a vCPU, it looks at the watches. The last one that loses its vCPU comes here
 * after that, and finds none that has one. */
void watch_idle(void)
{
    uint64_t next = watch_next();
    if (next == TIME_NEVER || pcpus_have_vcpu()) {
        sched_idle();
        return;
    }
    sched_idle_until(next);
    watch_look(rdtsc());
}
