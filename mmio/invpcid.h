/* SPDX-License-Identifier: MIT */
/*
 * Reads the operands of an INVPCID that exited, from the exit's instruction information, with all
 * the faults that the CPU would raise (SDM 2, INVPCID). Called by vm/flushes.c. Pure.
 */
#pragma once

#include "mmio/vcpu.h"

enum invpcid_type {
    INVPCID_ADDRESS,
    INVPCID_PCID,
    INVPCID_ALL,
    INVPCID_ALL_BUT_GLOBALS,
};

struct invpcid {
    enum invpcid_type type;
    uint64_t pcid, address; /* valid if the type uses them */
};

/* `info` is the instruction information (SDM 3, table 28-12), `displacement` the exit
 * qualification. MMIO_DONE: `*invpcid` and vcpu->breakpoints_met are valid; else MMIO_INJECT,
 * MMIO_END or MMIO_REENTER. The caller is inside an epoch. */
enum mmio_outcome mmio_invpcid(struct mmio_vcpu *vcpu, uint64_t info, uint64_t displacement,
                               struct invpcid *invpcid) MUST_CHECK;
