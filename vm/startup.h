/* SPDX-License-Identifier: MIT */
/*
 * Pending INITs, start-up IPIs and NMIs of a vCPU (SDM 3, 9.4.4 and 11.6.1). Each vCPU has a state
 * of 32 bits, which the senders and the vCPU change by compare-exchange.
 *
 * A vCPU waits for a start-up IPI, or it is active: it runs, sleeps, or is in a run queue. The
 * state records what has arrived since the vCPU last read it: an INIT, the first start-up IPI after
 * the INIT, and an NMI after the start-up IPI. As on a CPU, a start-up IPI is ignored if the vCPU
 * is active and no INIT is pending, an INIT discards what arrived before it, and an NMI is lost
 * between an INIT and the start-up IPI that follows. One state holds all three because their order
 * matters: an NMI that was sent after the start-up IPI must not be taken before the vCPU has
 * stopped.
 *
 * Pure; called by vm/ipi.c.
 */
#pragma once

#include "lib/compiler.h"

#include <stdbool.h>
#include <stdint.h>

/* 0: the vCPU waits for a start-up IPI. */
#define STARTUP_ACTIVE 0x100u
#define STARTUP_INIT   0x200u /* an INIT is pending, for which the vCPU has not stopped yet */
#define STARTUP_VECTOR 0x400u /* a start-up IPI is pending, with the vector in the low byte */
#define STARTUP_NMI    0x800u /* an NMI is pending; with STARTUP_VECTOR, for the code that starts */

/* Called by the sender of an INIT. Returns true if the vCPU is active, so that the caller has to
 * alert it. */
bool startup_init(uint32_t *state);

/* Called by the sender of a start-up IPI. Returns true if the vCPU was waiting for it, so that the
 * caller has to put the vCPU into a run queue. */
bool startup_send(uint32_t *state, uint8_t vector) MUST_CHECK;

/* Called by the sender of an NMI. Returns true if the NMI is now pending, so that the caller has to
 * alert the vCPU. */
bool startup_nmi(uint32_t *state);

/* Called by the vCPU. Returns true if an INIT is pending, for which the vCPU has to stop. */
static inline bool startup_is_stopped(const uint32_t *state)
{
    return __atomic_load_n(state, __ATOMIC_SEQ_CST) & STARTUP_INIT;
}

/* Returns true if the vCPU is active and no INIT is pending. Any CPU may call this. */
static inline bool startup_is_active(const uint32_t *state)
{
    return (__atomic_load_n(state, __ATOMIC_SEQ_CST) & (STARTUP_ACTIVE | STARTUP_INIT)) ==
           STARTUP_ACTIVE;
}

/* Called after the vCPU has left its pCPU because of an INIT. Returns true if a start-up IPI has
 * arrived since, so that the vCPU runs again; otherwise it waits for one from now on. */
bool startup_restarts(uint32_t *state) MUST_CHECK;

/* Called when the vCPU gets a pCPU for the first time after a start-up IPI. Returns the vector, or
 * -1 if an INIT has arrived since and no start-up IPI after that, so that the vCPU has to leave
 * again by startup_restarts(). */
int startup_take(uint32_t *state) MUST_CHECK;

/* Called by the vCPU. Returns true if an NMI was pending for its guest, and clears it. */
bool startup_take_nmi(uint32_t *state) MUST_CHECK;
