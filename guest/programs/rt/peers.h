/* SPDX-License-Identifier: MIT */
/*
 * Peers: the other CPUs of a VM, which all do one thing again and again while the first CPU changes
 * something under them (rt/peers.c). A turn without exits keeps them in the guest, with all the
 * translations that they have: then nothing but a flush that reaches them takes one away.
 */
#pragma once

#include "guest/programs/rt/smp.h"

struct peer {
    unsigned number; /* from 1 */
    volatile uint64_t turns, wrong;
    volatile uint64_t answered;
    uint64_t remembered; /* by the turns; 0 before the first */
} __attribute__((aligned(64)));

/* All peers, started if need be, take turns from now on; returns when each has taken one. */
void peers_start(void (*turn)(struct peer *self));

/* Returns when each peer has taken a turn that began after the call. */
void peers_turn(void);

/* Asks each peer for one thing, and waits for it. A turn does it if peer_asked(), and then says so:
 * self->answered++. */
void peers_ask(void);
bool peer_asked(const struct peer *self);

/* Stops them and returns their turns. Nothing may have been wrong. */
uint64_t peers_stop(void);

unsigned peers_count(void);

/* The number that the program got as its argument, or else `usual`. */
uint64_t peers_rounds(uint64_t usual);
