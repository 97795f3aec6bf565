/*
 * Moves of which all parts are known, but that were not made in this combination before, or are not
 * kept as one (mmio/replay.h): the instruction was decoded, the pages of its code and its operand
 * were walked to, and perhaps its place on the bus was looked up. Then the access is made from
 * these parts, after each has been compared with what a fresh look would read (decision D6).
 *
 * This is what an access costs that is one of very many. Whatever is not like that is left to the
 * emulator, which brings the parts. In mode `off` there are none.
 */
#pragma once

#include "mmio/emulate.h"

/* All that leads from an exit to a device. */
struct known {
    uint64_t rip;
    gpa_t gpa;
    uint64_t mode; /* cpu_mode() */
    const struct walk_context *context;
    const struct memo *code, *data;
    const struct decoded *decoded;
    uint64_t registers;               /* move_registers() */
    struct place *place;              /* on the bus */
    const struct move_access *access; /* there */
};

/* Makes the access if all of it is known; RIP and RFLAGS go on, and no single step is due. False:
 * nothing was done. The exit was for `gpa`, which is what the target says. Needs an epoch. */
bool mmio_known_move(struct mmio_vcpu *vcpu, gpa_t gpa, enum mmio_target target) MUST_CHECK;

/* Keeps an access that was just emulated (mmio/replay.h), if all of its parts are known by now. */
void mmio_known_keep(struct mmio_vcpu *vcpu, const struct walk_context *context, uint64_t rip,
                     gpa_t gpa, enum mmio_target target);

/* The code that has just been looked at is of the kind whose moves are remembered. */
void mmio_known_mode(struct mmio_vcpu *vcpu, const struct walk_context *context);
