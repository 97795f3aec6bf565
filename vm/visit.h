/* SPDX-License-Identifier: MIT */
/*
 * Visits: code that runs on a vCPU's own pCPU between two exits, with its VMCS current. That is the
 * only way to read or write the state of a vCPU from outside.
 *
 *     static void read_rip(struct vcpu *vcpu, void *context) { ... cpu_reg(&vcpu->vmx.regs, ...) }
 *     visit_begin(vcpu, &mine);
 *     ... return to other work, and look again ...
 *     if (visit_done(&mine)) ...
 *
 * The visitor holds the VM (vm/registry.h) until the visit is done, and waits for it by looking
 * again later; it never spins. A vCPU that runs is kicked, one that sleeps or is paused is woken
 * for a short turn, and one that waits in a run queue is visited when its turn comes. A vCPU that
 * has ended or waits for a start-up IPI has no turns: its visits are done without a call, which
 * visit_called() tells. The calls of one vCPU's visits are made one after the other, in the order
 * of visit_begin(). The time that they take does not count against the budget of the VM.
 *
 * No visit is lost: each vCPU has a list of visits, which is open or closed. visit_begin() either
 * adds the visit to an open list or finds it closed, in one atomic operation; and whoever closes
 * the list takes all visits that are in it (tests/models/visit.pml).
 */
#pragma once

#include "lib/types.h"

struct vcpu;

struct visit {
    void (*call)(struct vcpu *vcpu, void *context); /* takes at most 50,000 instructions */
    void *context;
    struct visit *next;
    uint32_t done; /* VISIT_CALLED or VISIT_MISSED */
};

enum {
    VISIT_CALLED = 1,
    VISIT_MISSED, /* the vCPU has ended or waits for a start-up IPI; nothing was called */
};

/* Begins a visit. `visit` must stay what it is until visit_done(). Any CPU may call this, also from
 * a visit of the same vCPU. */
void visit_begin(struct vcpu *vcpu, struct visit *visit);

/* Returns true when the visit is over; what the call has written can be read then. */
static inline bool visit_done(const struct visit *visit)
{
    return __atomic_load_n(&visit->done, __ATOMIC_ACQUIRE);
}

/* Returns whether a visit that is done has called its function. */
static inline bool visit_called(const struct visit *visit)
{
    return visit->done == VISIT_CALLED;
}

/* Makes the calls of the visits that wait. Called by the pCPU that runs the vCPU, when the visit is
 * requested. */
void visit_receive(struct vcpu *vcpu);

/* Opens a vCPU's list, when the vCPU starts to have turns. Closes it, before another CPU may use
 * the vCPU or free it. A new vCPU's is closed. Called by the CPU that owns the vCPU. */
void visit_open(struct vcpu *vcpu);
void visit_close(struct vcpu *vcpu);

/* Returns true if the vCPU has turns. Any CPU may call this; the answer may be old. */
bool visit_is_open(const struct vcpu *vcpu);
