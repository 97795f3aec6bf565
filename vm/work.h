/* SPDX-License-Identifier: MIT */
/*
 * The work of a pCPU other than the turns of vCPUs: it creates and destroys VMs. That takes long,
 * so it is done in pieces of at most 50,000 instructions, and shares the pCPU with vCPUs as they
 * share it with each other: while a vCPU waits for the pCPU, a turn of work ends after a slice, and
 * while there is work, a vCPU that runs is limited to slices (sched_waiting()). Between two pieces
 * the work leaves no trace on the pCPU: no VMCS is current, and messages and pages are attributed
 * to no VM.
 *
 * Each pCPU has a list of its own, which no other CPU accesses.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct work {
    /* Does the next piece. Returns false if that was the last one: then this struct may be gone,
     * unless it has been added again. */
    bool (*piece)(struct work *work);
    struct work *next;
    bool keeps_keys; /* what is typed meanwhile waits until the work is over */
};

/* Appends work to this pCPU's list. */
void work_add(struct work *work);

/* Puts work before the rest of this pCPU's list, for work that somebody waits for and that is soon
 * over. It begins when the current piece is over. */
void work_add_first(struct work *work);

/* Does this pCPU's work for a turn, and looks at the watches that are due, unless the work keeps
 * keys and the monitor has not the console. The list must not be empty (pcpu_has_work()). */
void work_turn(void);

/* The number of pieces that all pCPUs have done, and the TSC ticks of the longest one. */
struct work_counts {
    uint64_t pieces, longest;
};
struct work_counts work_counts(void);
