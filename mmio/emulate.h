/*
 * Emulation of the one instruction at RIP that touched MMIO: fetch, decode, translate, access the
 * devices, write back, advance RIP.
 *
 * The exit says which guest-physical address was touched. What we decode at RIP and translate
 * afresh must lead to the same address, or else the CPU acted on an outdated translation (which is
 * legal), and emulating would act on another one (decision D6).
 *
 * All faults are decided before anything is written, to a device, to memory or to a register.
 */
#pragma once

#include "mmio/vcpu.h"

enum mmio_target {
    TARGET_DEVICE,   /* the MMU said that the GPA is MMIO */
    TARGET_MEMORY,   /* a write-protected page: memory first, then devices */
    TARGET_DOORBELL, /* a doorbell: only a write that begins at the GPA counts */
    TARGET_UNKNOWN,  /* nobody was asked yet; for mmio_known_move() */
};

/* Emulates. For TARGET_DOORBELL, `*rings` is false if the access is none of the doorbell's; then
 * nothing was done. Needs an epoch; takes no lock and allocates nothing (but memory that the other
 * half of an access may populate). */
enum mmio_outcome mmio_emulate(struct mmio_vcpu *vcpu, gpa_t gpa, enum mmio_target target,
                               bool *rings) MUST_CHECK;

/* Puts what a load read into a general register of `size` bytes, as gpr_write() does
 * (mmio/execute.h); from `signed_size` bytes, if that is not 0, with its sign. */
void mmio_fill_register(struct cpu_regs *cpu, unsigned gpr, unsigned size, unsigned signed_size,
                        uint64_t value);
