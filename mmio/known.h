/* SPDX-License-Identifier: MIT */
/*
 * The second fast path, for moves without a replay entry (mmio/replay.h) whose parts are all
 * cached: the decoded instruction, the walks of the code and of the operand, and usually the bus
 * range. Each part is compared with the current guest state (D6), and the access is made.
 *
 * Accesses take this path if there are more different ones than replay entries. All others are left
 * to the emulator, which caches the parts. In mode `off` the parts are never cached.
 */
#pragma once

#include "mmio/emulate.h"

/* Why this path does not make an access. */
enum known_why {
    KNOWN_SERVES,
    KNOWN_NO_MOVE,     /* the instruction is not decoded, or no plain move in flat 64-bit code */
    KNOWN_OTHER_MODE,  /* the mode is not that of the last emulated code */
    KNOWN_TRACED,      /* MMIO events are traced */
    KNOWN_BREAKPOINTS, /* the guest has breakpoints on data */
    KNOWN_MEMORY,      /* a write to tracked RAM */
    KNOWN_CODE_END,    /* 16 bytes at RIP do not lie in one page */
    KNOWN_CODE_WALK,   /* no cached walk to the instruction serves */
    KNOWN_CODE_BYTES,  /* the instruction at RIP is another one now */
    KNOWN_DATA_WALK,   /* no cached walk to the operand serves */
    KNOWN_DATA_WP,     /* the walk depends on CR0.WP */
    KNOWN_OTHER_GPA,   /* the operand leads to another address than that of the exit */
    KNOWN_DATA_END,    /* the operand crosses a page boundary */
    KNOWN_ALIGNMENT,   /* #AC is possible */
    KNOWN_UNCLAIMED,   /* no device, or one to which the access would be split */
    KNOWN_FAR,         /* the offset in the device exceeds 32 bits */
    KNOWN_UNPROVEN,    /* the MMU has not said of this page that it is MMIO in this generation */
};

/* The parts of an access, from the exit to the device. */
struct known {
    uint64_t rip;
    gpa_t gpa;
    uint64_t mode; /* cpu_mode() */
    const struct walk_context *context;
    const struct cached_walk *code, *data;
    struct decoded *decoded;
    uint64_t registers; /* move_registers() */
    struct bus_range *range;
    const struct move_access *access;
};

/* Makes the access if all its parts are cached, and advances RIP and RFLAGS; no single-step trap is
 * pending then. False: nothing was done. The exit was for `gpa`, which is of kind `target`. The
 * caller is inside an epoch. */
bool mmio_known_move(struct mmio_vcpu *vcpu, gpa_t gpa, enum mmio_target target) MUST_CHECK;

/* Makes a replay entry of the access that was just emulated if all its parts are cached now. */
void mmio_known_keep(struct mmio_vcpu *vcpu, const struct walk_context *context, uint64_t rip,
                     gpa_t gpa, enum mmio_target target);

/* Caches the mode of the current code if its moves are eligible for mmio_known_move(). */
void mmio_known_mode(struct mmio_vcpu *vcpu, const struct walk_context *context);
