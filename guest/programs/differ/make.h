/* SPDX-License-Identifier: MIT */
/*
 * Generates instructions with a memory operand: a row of the emulator's own table with random
 * prefixes, addressing, immediates and registers. The emulator's decoder says which register value
 * moves the operand to the chosen place; the CPU shows whether the decoder is right about this.
 */
#pragma once

#include "guest/programs/differ/state.h"
#include "mmio/decode.h"

/* Data: three pages at PLACE; in its copies the third one is read-only or not there. */
#define PLACE        0x60000000ull
#define PLACE_RO     0x60004000ull
#define PLACE_ABSENT 0x60008000ull
#define BORDER       0x2000 /* where the third page begins */
#define AREA         160    /* bytes on both sides of it that instructions reach */

#define FS_OFFSET 0x1230ull /* what the bases of FS and GS add, in 64-bit code */
#define GS_OFFSET 0xffffffffffffbaa0ull

struct made {
    uint8_t bytes[32];
    struct insn insn;
    struct state state;
    uint64_t target;     /* the linear address of the operand */
    uint64_t memory;     /* what stands there, */
    bool memory_matters; /* if it is not just anything */
    uint64_t undefined;  /* flags that it leaves undefined */
};

/* Makes one of this row for this code, to run at `rip`. `back` is where branches have to lead, and
 * `stack` where RSP may point. False if nothing came of it: try again. */
bool make(struct made *m, const struct insn_row *row, enum code_size code, uint64_t rip,
          uint64_t back, uint64_t stack);

uint64_t random64(void);
uint32_t random_below(uint32_t end);
extern uint64_t random_state;

/* Leaves out REP MOVS and REP STOS with 32-bit addresses in 64-bit code, upwards. */
extern bool no_fast_strings;
