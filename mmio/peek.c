/* SPDX-License-Identifier: MIT */
/* Reads the instruction at RIP for purposes other than emulation: for the message with which a VM
 * ends, and to recognise IRET. Pure. */
#include "mmio/fetch.h"

unsigned mmio_fetch_peek(struct mmio_vcpu *vcpu, uint8_t *bytes)
{
    struct walk_context context;
    uint64_t linear;
    walk_context_load(&context, vcpu->cpu, vcpu->mmu);
    uint64_t rip = cpu_reg(vcpu->cpu, REG_RIP);
    unsigned count = 0, allowed = mmio_fetch_limit(vcpu->cpu, &context, rip, &linear);
    while (count < allowed) {
        struct translation code;
        if (mmio_cache_translate(&vcpu->cache, &context, GVA(linear + count), KEY_FETCH, &code) !=
                WALK_OK ||
            guest_read(vcpu->mmu, code.gpa, bytes + count, 1, ACCESS_FETCH))
            break;
        count++;
    }
    return count;
}

bool mmio_at_iret(struct mmio_vcpu *vcpu)
{
    uint8_t bytes[INSN_MAX];
    struct walk_context context;
    walk_context_load(&context, vcpu->cpu, vcpu->mmu);
    unsigned count = mmio_fetch_peek(vcpu, bytes);
    return decode_is_iret(bytes, count, mmio_code_size(&context));
}
