/* SPDX-License-Identifier: MIT */
/* The registers that run.S loads and stores; C and assembly include this. */
#pragma once

#define STATE_RFLAGS  128
#define STATE_VECTORS 160

#ifndef __ASSEMBLER__
#include <stddef.h>
#include <stdint.h>

struct state {
    uint64_t gpr[16];
    uint64_t rflags;
    uint64_t unused[3];
    uint64_t vectors[16][4];
};
_Static_assert(offsetof(struct state, rflags) == STATE_RFLAGS &&
                   offsetof(struct state, vectors) == STATE_VECTORS,
               "run.S");

extern struct state differ_state;
extern uint64_t differ_entry; /* the offset of the instruction in its segment */
extern uint8_t differ_has_avx;
#endif
