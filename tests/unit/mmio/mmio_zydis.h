/* SPDX-License-Identifier: MIT */
/*
 * A second opinion on instructions: Zydis, a decoder that others wrote. For any bytes it and ours
 * must agree on whether this is an instruction, on one that we emulate, its length, the memory
 * operand and its address, sizes and direction, the other operand, and LOCK and REP. The classes
 * of inputs on which they may differ stand in mmio_zydis.c, each with the reason.
 */
#pragma once

#include "mmio/decode.h"

struct zydis_counts {
    unsigned long inputs;
    unsigned long emulated;  /* both say: this instruction, on memory */
    unsigned long registers; /* in the table, but between registers */
    unsigned long undefined; /* we say #UD */
    unsigned long other;     /* not in the table */
    unsigned long truncated;
    unsigned long rows[512];      /* how often each row of the table was met */
    unsigned long differences[8]; /* of each listed class */
};
extern struct zydis_counts zydis_counts;

/* Decodes `count` bytes, 1 to 15, both ways. NULL if they agree, else what differs. */
const char *zydis_compare(const uint8_t *bytes, unsigned count, enum code_size code);
