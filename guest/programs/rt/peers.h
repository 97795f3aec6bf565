/* SPDX-License-Identifier: MIT */
/*
 * Peers: the other CPUs of a VM, which repeat one function while the first CPU changes memory or
 * rights that they use (rt/peers.c). A turn without exits keeps a peer in the guest with all its
 * translations, so only a flush that reaches the peer can remove one.
 */
#pragma once

#include "guest/programs/rt/smp.h"

struct peer {
    unsigned number; /* from 1 */
    volatile uint64_t turns, wrong;
    volatile uint64_t answered;
    uint64_t remembered; /* free for use by the turns; 0 before the first one */
} __attribute__((aligned(64)));

/* Starts the peers if necessary, and lets them call `turn` repeatedly; returns when each peer has
 * called it once. */
void peers_start(void (*turn)(struct peer *self));

/* Returns when each peer has taken a turn that began after the call. */
void peers_turn(void);

/* Sends each peer a request and waits for the answers. A turn that sees peer_asked() handles the
 * request and then increments self->answered. */
void peers_ask(void);
bool peer_asked(const struct peer *self);

/* Stops the peers and returns the number of their turns. Expects that no peer counted a wrong. */
uint64_t peers_stop(void);

unsigned peers_count(void);

/* The number in the program's argument, or `otherwise` by default. */
uint64_t peers_rounds(uint64_t otherwise);
