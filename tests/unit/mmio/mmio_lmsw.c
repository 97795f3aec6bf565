/* SPDX-License-Identifier: MIT */
/* LMSW for tests of the emulator that have no vCPU; in a file of its own, because they bring their
 * registers themselves. */
#include "mmio/vcpu.h"

/* PE can be set, but not cleared, as vm/control_rules.c has it; the rest is its own test's. */
bool mmio_lmsw(struct mmio_vcpu *vcpu, uint16_t word)
{
    uint64_t cr0 = cpu_reg(vcpu->cpu, REG_CR0);
    cpu_set_reg(vcpu->cpu, REG_CR0, (cr0 & ~0xeull) | (word & 0xf));
    return true;
}
