/*
 * What is kept of an access so that it can be replayed; see mmio/replay.h. Each vCPU owns its own.
 *
 * What each field proves while it is what it was, and who changes what it is compared with:
 *
 *   rip, cr3        the same instruction in the same address space     the guest, at any time
 *   gpa             the exit is for the same place                     the guest
 *   mode            CPL, paging mode, EFER, CR4: all that decides      the guest; `regime` counts
 *                   how walks and code are read (cpu_mode())           exits that change what
 *                                                                      no exit reads
 *   generation      no slot has come to the place                      changes of the slots
 *   sequence        the pages that are read here are the guest's       slots, host remaps and
 *                                                                      conversions; mmu_forget()
 *   bus_sequence    `access` leads to the device that is there         mmio/bus_change.c
 *   entries, bell   both walks lead where they led: the words that     the guest, in its tables
 *                   a fresh walk would read
 *   code, bytes     the instruction is the one that was decoded        the guest, in its code
 *   registers       the operand is this place (move_registers())       the guest
 *   pkru            the page's key allows it, with REPLAY_KEYED        the guest, by WRPKRU
 *
 * Nothing is compared with the others: `access` is what is replayed, `bell.next` where RIP goes on,
 * `flags` and the counts say which fields are used. A doorbell (mmio/doorbell.h) needs neither the
 * generation, nor the registers, nor the walk of its operand.
 *
 * An entry is written by mmio_replay_keep(). Afterwards only mmio_replay_follow() and
 * mmio_replay_renew() change it: its generation and sequence, once they have seen that the change
 * of the slots moved none of its pages; or they give it up.
 */
#pragma once

#include "mmio/cache.h"
#include "mmio/move.h"

#define MMIO_REPLAYS     (1u << MMIO_REPLAY_BITS)
#define MMIO_REPLAY_BITS 6

/* An entry of a walk, and what it must still say. */
struct replay_word {
    const void *host;
    uint64_t value;
};

/* One instruction, one place that it touched, and one address space. Four cache lines, of which the
 * last two hold the entries of the walks. */
struct replay {
    uint64_t rip; /* REPLAY_NONE: nothing is kept here */
    gpa_t gpa;
    uint64_t cr3;
    uint64_t mode; /* cpu_mode() */
    uint64_t generation, sequence, bus_sequence;
    const uint8_t *code;
    uint64_t bytes[2];
    uint64_t registers; /* move_registers(), if the operand is this place */
    struct move_access access;
    uint32_t pkru; /* if REPLAY_KEYED */
    uint8_t flags; /* REPLAY_ */
    uint8_t first_entry;
    uint8_t code_count, shared_count; /* entries of the walk for the code; of both */
    union {
        struct replay_word
            entries[8]; /* of the walk for the code, then for the data; the last ones */
        struct {        /* REPLAY_BELL */
            struct replay_word code[4];
            uint64_t next; /* RIP behind the instruction */
        } bell;
    };
} __attribute__((aligned(64)));
_Static_assert(sizeof(struct replay) == 256, "an index is a shift");

#define REPLAY_BELL  BIT(0) /* a write that rings a doorbell */
#define REPLAY_KEYED BIT(1) /* CR4.PKE is set */

/* Not canonical, so no instruction is there. */
#define REPLAY_NONE BIT(62)

/* Those of one vCPU, in pairs. */
struct replays {
    struct replay entry[MMIO_REPLAYS];
    uint8_t in_vain[MMIO_REPLAYS / 2]; /* how often what is not kept was looked for in a pair */
};

/* Of a vCPU that is all zero. */
static inline void replays_init(struct replays *replays)
{
    for (unsigned i = 0; i < MMIO_REPLAYS; i++)
        replays->entry[i].rip = REPLAY_NONE;
}
