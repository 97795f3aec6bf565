/* SPDX-License-Identifier: MIT */
/*
 * The linear address of a memory operand: the effective address, then segmentation with the checks
 * and faults of SDM 3, 5.3 to 5.5 (limits, types, canonical addresses).
 */
#pragma once

#include "mmio/fetch.h"

/* The effective address, which is the offset in the segment: base + index + displacement. `next` is
 * RIP after the instruction. */
uint64_t mmio_effective(struct cpu_regs *cpu, const struct insn *insn, uint64_t next);

/* Stores the linear address of `size` bytes at `offset` in `*linear`. False if the access faults;
 * then `*vector` is that of the fault (12 or 13), whose error code is 0. In 64-bit code the
 * function reads no segment register, except the base of FS or GS. */
bool mmio_segment(struct cpu_regs *cpu, const struct walk_context *context, unsigned segment,
                  uint64_t offset, unsigned size, bool write, uint64_t *linear,
                  uint8_t *vector) MUST_CHECK;
