/*
 * An INVPCID that exits: its operands, which only the exit's information names, with all the faults
 * that the CPU would find (SDM 2, INVPCID). Called by vm/flushes.c. Pure.
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
    uint64_t pcid, address; /* as far as the type names them */
};

/* `info` is the instruction information (SDM 3, table 28-12), `displacement` the exit's
 * qualification. MMIO_DONE with *invpcid and the breakpoints that it met
 * filled in; or the fault and so on. Needs an epoch. */
enum mmio_outcome mmio_invpcid(struct mmio_vcpu *vcpu, uint64_t info, uint64_t displacement,
                               struct invpcid *invpcid) MUST_CHECK;
