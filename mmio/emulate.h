/* SPDX-License-Identifier: MIT */
/*
 * Emulates the instruction at RIP that accessed MMIO: fetch, decode, translate, access the devices,
 * write back, and advance RIP.
 *
 * The exit reports the guest-physical address of the access. The instruction decoded at RIP must
 * lead to this address by a new translation. If it does not, the CPU used an outdated translation,
 * which is legal, and the emulation would access another address: so nothing is emulated (D6).
 *
 * All faults are raised before anything is written to a device, to memory or to a register.
 */
#pragma once

#include "mmio/vcpu.h"

enum mmio_target {
    TARGET_DEVICE,   /* the MMU reported the GPA as MMIO */
    TARGET_MEMORY,   /* a write-protected page: RAM is tried before devices */
    TARGET_DOORBELL, /* a doorbell: only a write that begins at the GPA is emulated */
    TARGET_UNKNOWN,  /* the MMU was not asked; only for mmio_known_move() */
};

/* Emulates the instruction. For TARGET_DOORBELL, `*rings` becomes false if the access does not ring
 * the doorbell; then nothing was done. The caller is inside an epoch. Takes no lock and allocates
 * nothing, unless an access that crosses into RAM populates a page. */
enum mmio_outcome mmio_emulate(struct mmio_vcpu *vcpu, gpa_t gpa, enum mmio_target target,
                               bool *rings) MUST_CHECK;

/* Writes the value of a load to a general register of `size` bytes, as gpr_write() (mmio/execute.h)
 * does. `signed_size`, if not 0: the value has this size in bytes and is sign-extended. */
void mmio_fill_register(struct cpu_regs *cpu, unsigned gpr, unsigned size, unsigned signed_size,
                        uint64_t value);
