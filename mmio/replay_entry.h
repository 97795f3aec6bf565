/* SPDX-License-Identifier: MIT */
/*
 * Replay entries; see mmio/replay.h. Each vCPU owns its own entries.
 *
 * The table says what each field proves if it equals the current state, and who changes this state:
 *
 *   rip, cr3        the same instruction in the same address space     the guest, at any time
 *   gpa             the exit has the same GPA                          the guest
 *   mode            CPL, paging mode, EFER and CR4, which determine    the guest; `regime` counts
 *                   how walks and code are read (cpu_mode())           the exits that change bits
 *                                                                      which no exit reads
 *   generation      no slot was added at the GPA                       changes of the slots
 *   sequence        the pages read here still belong to the guest      slots, host remaps and
 *                                                                      conversions; mmu_forget()
 *   bus_sequence    `access` leads to the current device               mmio/bus_change.c
 *   entries, bell   both walks have the same result: the entries       the guest, in its tables
 *                   that a new walk would read
 *   code, bytes     the instruction is the decoded one                 the guest, in its code
 *   registers       the operand has the same address                   the guest
 *                   (move_registers())
 *   pkru            the page's key allows it, with REPLAY_KEYED        the guest, by WRPKRU
 *
 * The other fields are not compared: `access` is the access to replay, `bell.next` the new RIP, and
 * `flags` and the counts tell which fields are used. A doorbell (mmio/doorbell.h) compares neither
 * the generation, nor the registers, nor the walk of its operand.
 *
 * mmio_replay_keep() writes an entry. Afterwards only mmio_replay_follow() and mmio_replay_renew()
 * change it: they update its generation and sequence if a change of the slots moved none of its
 * pages, or make it empty.
 */
#pragma once

#include "mmio/cache.h"
#include "mmio/move.h"

#define MMIO_REPLAYS     (1u << MMIO_REPLAY_BITS)
#define MMIO_REPLAY_BITS 6

/* A paging-structure entry of a walk, and the value that it had. */
struct replay_value {
    const void *host;
    uint64_t value;
};

/* One instruction, one GPA that it accessed, and one address space. Four cache lines, of which the
 * last two hold the entries of the walks. */
struct replay {
    uint64_t rip; /* REPLAY_NONE: empty */
    gpa_t gpa;
    uint64_t cr3;
    uint64_t mode; /* cpu_mode() */
    uint64_t generation, sequence, bus_sequence;
    const uint8_t *code;
    uint64_t bytes[2];
    uint64_t registers; /* move_registers() of the operand */
    struct move_access access;
    uint32_t pkru; /* valid with REPLAY_KEYED */
    uint8_t flags; /* REPLAY_ */
    uint8_t first_entry;
    uint8_t code_count,
        shared_count; /* entries of the code's walk, and those common to both walks */
    union {
        struct replay_value
            entries[8]; /* the code's walk, then the rest of the data's; from first_entry */
        struct {        /* REPLAY_BELL */
            struct replay_value code[4];
            uint64_t next; /* RIP after the instruction */
        } bell;
    };
} __attribute__((aligned(64)));
_Static_assert(sizeof(struct replay) == 256, "mmio_replay_at() shifts by 8");

#define REPLAY_BELL  BIT(0) /* a write that rings a doorbell */
#define REPLAY_KEYED BIT(1) /* CR4.PKE is set */

/* Why an entry does not serve an access: the first thing that differs, in the order in which the
 * fast path compares them. */
enum replay_why {
    REPLAY_SERVES,
    REPLAY_OTHER_RIP, /* the entry is another instruction's, or empty */
    REPLAY_OTHER_GPA,
    REPLAY_OTHER_CR3,
    REPLAY_OTHER_MODE,
    REPLAY_OTHER_BUS,
    REPLAY_OTHER_GENERATION,
    REPLAY_OTHER_SEQUENCE,
    REPLAY_OTHER_REGISTERS,
    REPLAY_OTHER_ENTRY, /* of the guest's page tables */
    REPLAY_OTHER_BYTES,
    REPLAY_OTHER_PKRU,
};

/* Not canonical, so that no RIP equals it. */
#define REPLAY_NONE BIT(62)

/* The entries of one vCPU, in pairs. */
struct replays {
    struct replay entry[MMIO_REPLAYS];
    uint8_t misses[MMIO_REPLAYS / 2]; /* misses in each pair */
};

/* `replays` is all zero. */
static inline void replays_init(struct replays *replays)
{
    for (unsigned i = 0; i < MMIO_REPLAYS; i++)
        replays->entry[i].rip = REPLAY_NONE;
}
