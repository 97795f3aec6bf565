/*
 * From an instruction's operand to a linear address: effective address, then segmentation, with the
 * checks and faults of SDM 3, 5.3 to 5.5 (limits, types, canonical addresses). Alignment checks are
 * not repeated: the CPU made them before it exited.
 */
#pragma once

#include "mmio/fetch.h"

/* The linear address of `insn`'s memory operand. `next` is RIP after the instruction. False if the
 * access faults; then `*vector` says which fault (12 or 13, error code 0). In flat 64-bit code it
 * reads no segment register. */
bool mmio_linear(struct cpu_regs *cpu, const struct walk_context *context, const struct insn *insn,
                 uint64_t next, uint64_t *linear, uint8_t *vector) MUST_CHECK;
