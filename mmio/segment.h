/*
 * From an instruction's operand to a linear address: effective address, then segmentation, with the
 * checks and faults of SDM 3, 5.3 to 5.5 (limits, types, canonical addresses).
 */
#pragma once

#include "mmio/fetch.h"

/* The offset inside the segment that base, index and displacement make. `next` is RIP after the
 * instruction. */
uint64_t mmio_effective(struct cpu_regs *cpu, const struct insn *insn, uint64_t next);

/* The linear address of `size` bytes at `offset`. False if the access faults; then `*vector` says
 * which fault (12 or 13, error code 0). In flat 64-bit code it reads no segment register. */
bool mmio_segment(struct cpu_regs *cpu, const struct walk_context *context, unsigned segment,
                  uint64_t offset, unsigned size, bool write, uint64_t *linear,
                  uint8_t *vector) MUST_CHECK;
