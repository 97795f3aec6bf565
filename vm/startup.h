/* SPDX-License-Identifier: MIT */
/*
 * INIT and start-up IPIs on their way to a vCPU (SDM 3, 9.4.4 and 11.6.1): one word for each vCPU,
 * which the senders and the vCPU change by compare-exchange.
 *
 * A vCPU waits for a start-up IPI, or it is active: it runs, sleeps, or is in a run queue. What
 * came since it looked last is kept in the word: that an INIT came, and the first start-up IPI
 * after that. One to a vCPU that runs and has no INIT on its way is ignored, as by the CPU.
 *
 * Pure; called by vm/ipi.c.
 */
#pragma once

#include "lib/compiler.h"

#include <stdbool.h>
#include <stdint.h>

/* All zero: it waits for a start-up IPI. */
#define STARTUP_ACTIVE 0x100u
#define STARTUP_INIT   0x200u /* an INIT came that the vCPU has not followed yet */
#define STARTUP_VECTOR 0x400u /* a start-up IPI came, with the vector in the low byte */

/* Senders. startup_init() returns true if the vCPU is active and has to be told. */
bool startup_init(uint32_t *word);

/* Does a start-up IPI count, as long as nothing else happens? */
static inline bool startup_counts(uint32_t word)
{
    return !(word & STARTUP_ACTIVE) || (word & (STARTUP_INIT | STARTUP_VECTOR)) == STARTUP_INIT;
}

/* True: the vCPU has waited for this, and the caller puts it into a run queue. */
bool startup_send(uint32_t *word, uint8_t vector) MUST_CHECK;

/* The vCPU's side. Has an INIT come that it has to follow? */
static inline bool startup_is_stopped(const uint32_t *word)
{
    return __atomic_load_n(word, __ATOMIC_SEQ_CST) & STARTUP_INIT;
}

/* It has left its pCPU to follow the INIT. True: a start-up IPI has come since, and it is to run
 * again; else it waits for one from now on. */
bool startup_restarts(uint32_t *word) MUST_CHECK;

/* At the beginning of its first turn after a start-up IPI: the vector; or -1 if an INIT came since
 * and no start-up IPI after it, so that the vCPU has to leave again by startup_restarts(). */
int startup_take(uint32_t *word) MUST_CHECK;
