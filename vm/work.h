/* SPDX-License-Identifier: MIT */
/*
 * What a pCPU has to do beside the turns of vCPUs: VMs that it makes or takes apart. That takes
 * long, so it is done in pieces, of at most 50,000 instructions, and has turns like those of a
 * vCPU: when a vCPU waits for the pCPU, a turn ends after a slice; and a vCPU that runs has slices
 * while there is work (sched_waiting()). Between two pieces nothing of the work is left on the
 * pCPU: no current VMCS, nobody whose words or pages they are.
 *
 * The work of a pCPU is its own: nobody else looks at it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct work {
    /* Does the next piece. False: that was the last one, and the work may not be touched any more,
     * unless it has been added again. */
    bool (*piece)(struct work *work);
    struct work *next;
};

/* Behind what this pCPU has to do already. */
void work_add(struct work *work);

/* A turn of it; there is some. */
void work_turn(void);

/* How many pieces all pCPUs have done, and the TSC ticks of the longest. */
struct work_counts {
    uint64_t pieces, longest;
};
struct work_counts work_counts(void);
