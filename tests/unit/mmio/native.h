/* SPDX-License-Identifier: MIT */
/*
 * One instruction run by the CPU of this machine, in 64, 32 or 16-bit code, from a state of our
 * choosing to the state that it leaves: the last word on what an emulated one must do.
 *
 * The code lies in a page of its own at an address that is free in every process, so the same
 * address can be mapped in a guest. Any register may have any value, RSP too: state is loaded and
 * saved by absolute addresses.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define NATIVE_BASE  0x40000000ull /* NATIVE_PAGES pages of data, for operands */
#define NATIVE_PAGES 4u
#define NATIVE_CS    0x40030000ull /* the base of 16-bit code */
#define NATIVE_CODE  0x40030800ull /* where the instruction stands */
#define NATIVE_AFTER 0x40030c00ull /* jump here to end, from anywhere */

/* The modes, and what segment registers hold in them. Data segments of 16-bit code begin at
 * NATIVE_BASE, all others and the stack's at 0. */
struct native_mode {
    unsigned bits; /* 64, 32 or 16 */
    uint16_t cs, ds;
    uint64_t cs_base, ds_base;
};
extern const struct native_mode native_modes[3]; /* 16, 32, 64: as enum code_size */

struct native_state {
    uint64_t gpr[16]; /* in the order of ModRM */
    uint64_t rflags;  /* arithmetic flags and DF */
    uint8_t vectors[16][32];
    uint64_t mmx[8];
};

/* Maps the pages. False if the CPU has no AVX: then nothing of `vectors` counts. */
bool native_init(void);

/* Whether this kernel lets us have the mode. */
bool native_has(const struct native_mode *mode);

/* Runs `size` bytes of code. Returns 0, or the vector of the fault that it raised (0x100 for #DE,
 * 13 for #PF too). After a fault `state` is as it was. In narrow code only the low halves of
 * registers are set and defined. */
unsigned native_run(const struct native_mode *mode, const void *code, unsigned size,
                    struct native_state *state);

static inline uint8_t *native_page(unsigned page)
{
    return (uint8_t *)(uintptr_t)(NATIVE_BASE + page * 4096ull);
}
