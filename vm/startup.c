/* SPDX-License-Identifier: MIT */
#include "vm/startup.h"

/* Makes `new` of `*old` if that still is the word; else `*old` is what the word has become. */
static bool startup_exchange(uint32_t *word, uint32_t *old, uint32_t new)
{
    return __atomic_compare_exchange_n(word, old, new, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static uint32_t startup_read(const uint32_t *word)
{
    return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

/* A start-up IPI that came before is forgotten: the vCPU waits for another one. */
bool startup_init(uint32_t *word)
{
    uint32_t old = startup_read(word);
    while (old & STARTUP_ACTIVE)
        if (startup_exchange(word, &old, STARTUP_ACTIVE | STARTUP_INIT))
            return true;
    return false;
}

bool startup_send(uint32_t *word, uint8_t vector)
{
    uint32_t old = startup_read(word);
    while (startup_counts(old)) {
        bool waited = !(old & STARTUP_ACTIVE);
        if (startup_exchange(word, &old, old | STARTUP_ACTIVE | STARTUP_VECTOR | vector))
            return waited;
    }
    return false;
}

bool startup_restarts(uint32_t *word)
{
    uint32_t old = startup_read(word);
    for (;;) {
        bool again = old & STARTUP_VECTOR;
        if (startup_exchange(word, &old, again ? old & ~STARTUP_INIT : 0))
            return again;
    }
}

int startup_take(uint32_t *word)
{
    uint32_t old = startup_read(word);
    while (old & STARTUP_VECTOR)
        if (startup_exchange(word, &old, STARTUP_ACTIVE))
            return (uint8_t)old;
    return -1;
}
