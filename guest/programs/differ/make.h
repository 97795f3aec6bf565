/* SPDX-License-Identifier: MIT */
/*
 * Generates instructions with a memory operand: a row of the emulator's own table with random
 * prefixes, addressing, immediates and registers. The emulator's decoder says which register value
 * moves the operand to the chosen place; the CPU shows whether the decoder is right about this.
 */
#pragma once

#include "guest/programs/differ/state.h"
#include "mmio/decode.h"

/* The data are three pages at PLACE. In copies of it, the third page is read-only or not
 * present. */
#define PLACE        0x60000000ull
#define PLACE_RO     0x60004000ull
#define PLACE_ABSENT 0x60008000ull
#define BORDER       0x2000 /* offset of the third page */
#define AREA         160    /* bytes on both sides of the border that instructions may access */

#define FS_OFFSET 0x1230ull /* offset of the bases of FS and GS in 64-bit code */
#define GS_OFFSET 0xffffffffffffbaa0ull

struct made {
    uint8_t bytes[32];
    struct insn insn;
    struct state state;
    uint64_t target;     /* the linear address of the operand */
    uint64_t memory;     /* the initial contents of the operand, used only */
    bool memory_matters; /* if this is set */
    uint64_t undefined;  /* flags that the instruction leaves undefined */
};

/* Makes an instruction of this row for this code size, to be run at `rip`. Branches have to lead to
 * `back`, and RSP may point to `stack`. Returns false if the attempt failed, so that the caller
 * tries again. */
bool make(struct made *m, const struct insn_row *row, enum code_size code, uint64_t rip,
          uint64_t back, uint64_t stack);

uint64_t random64(void);
uint32_t random_below(uint32_t end);
extern uint64_t random_state;

/* Do not generate ascending REP MOVS and REP STOS with 32-bit addresses in 64-bit code. */
extern bool no_fast_strings;
