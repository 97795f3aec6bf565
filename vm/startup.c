/* SPDX-License-Identifier: MIT */
#include "vm/startup.h"

/* Changes the state from `*old` to `new`. If the state is another one, returns false with the state
 * in `*old`. */
static bool startup_exchange(uint32_t *state, uint32_t *old, uint32_t new)
{
    return __atomic_compare_exchange_n(state, old, new, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static uint32_t startup_read(const uint32_t *state)
{
    return __atomic_load_n(state, __ATOMIC_SEQ_CST);
}

/* Returns true between an INIT and the start-up IPI that follows it, whether the vCPU has already
 * stopped for the INIT or not. */
static bool startup_expected(uint32_t state)
{
    return !(state & STARTUP_ACTIVE) || (state & (STARTUP_INIT | STARTUP_VECTOR)) == STARTUP_INIT;
}

/* An INIT discards an earlier start-up IPI and an earlier NMI. */
bool startup_init(uint32_t *state)
{
    uint32_t old = startup_read(state);
    while (old & STARTUP_ACTIVE)
        if (startup_exchange(state, &old, STARTUP_ACTIVE | STARTUP_INIT))
            return true;
    return false;
}

bool startup_send(uint32_t *state, uint8_t vector)
{
    uint32_t old = startup_read(state);
    while (startup_expected(old)) {
        bool waited = !(old & STARTUP_ACTIVE);
        if (startup_exchange(state, &old, old | STARTUP_ACTIVE | STARTUP_VECTOR | vector))
            return waited;
    }
    return false;
}

bool startup_nmi(uint32_t *state)
{
    uint32_t old = startup_read(state);
    while (!startup_expected(old))
        if (startup_exchange(state, &old, old | STARTUP_NMI))
            return true;
    return false;
}

bool startup_restarts(uint32_t *state)
{
    uint32_t old = startup_read(state);
    for (;;) {
        bool again = old & STARTUP_VECTOR;
        if (startup_exchange(state, &old, again ? old & ~STARTUP_INIT : 0))
            return again;
    }
}

int startup_take(uint32_t *state)
{
    uint32_t old = startup_read(state);
    while (old & STARTUP_VECTOR)
        if (startup_exchange(state, &old, STARTUP_ACTIVE | (old & STARTUP_NMI)))
            return (uint8_t)old;
    return -1;
}

bool startup_take_nmi(uint32_t *state)
{
    uint32_t old = startup_read(state);
    while ((old & (STARTUP_NMI | STARTUP_INIT)) == STARTUP_NMI)
        if (startup_exchange(state, &old, old & ~STARTUP_NMI))
            return true;
    return false;
}
