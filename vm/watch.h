/* SPDX-License-Identifier: MIT */
/*
 * Watches: what the hypervisor has to look at from time to time, on whichever pCPU comes first,
 * because no interrupt tells it. The console's input (vm/input.h) is looked at with them.
 *
 * A pCPU that runs a vCPU, or halts with it, has its timer set for the next look. A pCPU that runs
 * none has no timer that would wake it. If no pCPU runs a vCPU, because all are paused, one of
 * them, the sentry, looks at the TSC instead of halting, and the others halt.
 */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"
#include "vm/input.h"

struct watch {
    /* Looks, in at most 50,000 instructions, and returns the TSC value at which to look again, or
     * ~0. Called by one CPU at a time, which may have a VMCS current. */
    uint64_t (*look)(uint64_t now);
    uint64_t due;  /* TSC */
    uint32_t soon; /* look as soon as possible, whatever `due` says */
    struct watch *next;
};

/* Adds a watch, which stays for ever, and is due at once. */
void watch_add(struct watch *watch);

/* Makes the watch due. Any CPU may call this, also from the watch itself. */
void watch_soon(struct watch *watch);

/* TSC value at which the first watch is due. */
extern uint64_t watches_due;

/* TSC value at which the console's input or a watch is to be looked at. */
static inline uint64_t watch_next(void)
{
    uint64_t input = READ_ONCE(input_due), others = READ_ONCE(watches_due);
    return input < others ? input : others;
}

/* Looks at what is due. Any CPU may call this; if another one is looking, it does nothing. */
void watch_look(uint64_t now);

/* Waits until this pCPU, which is marked as idle (vm/sched.h), is woken, or has looked at what is
 * due as the sentry. */
void watch_idle(void);

/* The number + 1 of the pCPU that looks at the TSC for all, the sentry, or 0; atomic. */
extern uint32_t sentry;

/* If this pCPU is the sentry, another one relieves it. */
void watch_relieve(void);

/* Called when this pCPU has found something else to do. As long as a pCPU has a vCPU, there is
 * hardly ever a sentry. */
static inline void watch_leave(void)
{
    if (unlikely(READ_ONCE(sentry)))
        watch_relieve();
}
