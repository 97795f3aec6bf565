/*
 * Fetching the instruction at RIP: through the guest's page tables, inside CS, and decoded. The CPU
 * hands us neither the bytes nor the length (rule F5), so this happens at every emulation; kept
 * walks and decoded instructions make the repeated case short.
 */
#pragma once

#include "mmio/vcpu.h"

/* The instruction at `rip`, valid until the next fetch of this vCPU. MMIO_DONE: `*insn` is decoded
 * and, unless `*memory` is false, accesses memory. Other outcomes end the emulation; `gpa` is the
 * exit's, for sentences. */
enum mmio_outcome mmio_fetch(struct mmio_vcpu *vcpu, const struct walk_context *context,
                             uint64_t rip, gpa_t gpa, const struct insn **insn,
                             bool *memory) MUST_CHECK;

/* In mmio/peek.c: up to 15 bytes at RIP as far as they can be read, for a message. Returns their
 * number. */
unsigned mmio_fetch_peek(struct mmio_vcpu *vcpu, uint8_t *bytes);

/* Whether the instruction at RIP is an IRET, as far as can be read. */
bool mmio_at_iret(struct mmio_vcpu *vcpu);

/* 16, 32 or 64-bit code, by EFER.LMA, CS.L and CS.D. */
static inline enum code_size mmio_code_size(const struct walk_context *context)
{
    if ((context->key & (KEY_LMA | KEY_CODE64)) == (KEY_LMA | KEY_CODE64))
        return CODE_64;
    return context->key & KEY_CODE32 ? CODE_32 : CODE_16;
}

/* Bits 63:47 all equal: an address that 4-level paging can translate. */
static inline bool address_is_canonical(uint64_t address)
{
    return address + BIT(47) < BIT(48);
}

/* The linear address of RIP, and how many bytes from there may be fetched at most: up to the limit
 * of CS, the canonical hole, or as many as an instruction can have. */
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
