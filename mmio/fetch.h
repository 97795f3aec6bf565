/* SPDX-License-Identifier: MIT */
/*
 * Fetches the instruction at RIP through the guest's page tables, checks the limit of CS, and
 * decodes the instruction. The exit reports neither the bytes nor a valid length (F5), so every
 * emulation fetches; cached walks and decoded instructions make repeated fetches cheap.
 */
#pragma once

#include "mmio/vcpu.h"

/* Fetches and decodes the instruction at `rip`. MMIO_DONE: `*insn` is valid until the next fetch of
 * this vCPU, and `*memory` tells whether the instruction accesses memory. Other outcomes end the
 * emulation. `gpa` is the GPA of the exit, for messages. */
enum mmio_outcome mmio_fetch(struct mmio_vcpu *vcpu, const struct walk_context *context,
                             uint64_t rip, gpa_t gpa, const struct insn **insn,
                             bool *memory) MUST_CHECK;

/* Reads up to 15 bytes at RIP for a message, up to the first that cannot be read. Returns the
 * number of bytes. In mmio/peek.c. */
unsigned mmio_fetch_peek(struct mmio_vcpu *vcpu, uint8_t *bytes);

/* Whether the instruction at RIP is an IRET; false if its bytes cannot be read. */
bool mmio_at_iret(struct mmio_vcpu *vcpu);

/* The code size, from EFER.LMA, CS.L and CS.D. */
static inline enum code_size mmio_code_size(const struct walk_context *context)
{
    if ((context->key & (KEY_LMA | KEY_CODE64)) == (KEY_LMA | KEY_CODE64))
        return CODE_64;
    return context->key & KEY_CODE32 ? CODE_32 : CODE_16;
}

/* Whether bits 63:47 are all equal, as 4-level paging requires. */
static inline bool address_is_canonical(uint64_t address)
{
    return address + BIT(47) < BIT(48);
}

/* Stores the linear address of RIP in `*linear` and returns how many bytes may be fetched from
 * there: up to the limit of CS or the non-canonical range, and at most INSN_MAX. */
static inline unsigned mmio_fetch_limit(struct cpu_regs *cpu, const struct walk_context *context,
                                        uint64_t rip, uint64_t *linear)
{
    uint64_t left;
    if (likely(mmio_code_size(context) == CODE_64)) {
        *linear = rip;
        left = rip >> 63 ? INSN_MAX : BIT(47) - rip;
        if (unlikely(!address_is_canonical(rip)))
            left = 0;
    } else {
        uint64_t limit = (uint32_t)cpu_reg(cpu, REG_SEG_LIMIT + SEG_CS);
        *linear = (uint32_t)(cpu_reg(cpu, REG_SEG_BASE + SEG_CS) + rip);
        left = (uint32_t)rip <= limit ? limit - (uint32_t)rip + 1 : 0;
    }
    return left < INSN_MAX ? (unsigned)left : INSN_MAX;
}
