/* SPDX-License-Identifier: MIT */
/*
 * What a debugger wants of a VM, and how its vCPUs do it. A VM without a debugger has none of this.
 *
 * - Software breakpoints: while there are any, #BP exits. One that is the debugger's stops the VM,
 *   with RIP at the INT3; any other is given back to the guest as it was.
 * - Hardware breakpoints: while the guest enables none of its own, DR0 to DR3 and DR7 have the
 *   debugger's values during each turn of a vCPU. The guest, whose MOV DR exits, sees its own.
 *   Accesses that are emulated meet them, too (mmio/breakpoints.h).
 * - Watched memory beyond the debug registers is in write-tracked pages (rule N10): after each
 *   write to one the debugger compares.
 * - A step executes one instruction, by the method of vm/pass.h, which the guest cannot see:
 *   neither RFLAGS.TF nor the monitor trap flag is used. Interrupts and NMIs wait meanwhile. If an
 *   exception is delivered instead, the step ends before the first instruction of its handler.
 *
 * The debugger changes its wishes while the VM is paused; each vCPU follows at the beginning of its
 * next turn, or when it is resumed during one.
 */
#pragma once

#include "lib/types.h"

struct vcpu;

enum debugger_stop {
    DEBUGGER_NO_STOP,
    DEBUGGER_BREAKPOINT,
    DEBUGGER_HARDWARE, /* `detail` is a mask of the breakpoints that were met */
    DEBUGGER_STEPPED,
    DEBUGGER_WRITTEN, /* watched memory has changed; `detail` is its linear address */
};

#define DEBUGGER_SLOTS 4 /* DR0 to DR3 */

struct debugger {
    bool software;                    /* #BP exits */
    uint64_t address[DEBUGGER_SLOTS]; /* linear */
    uint64_t dr7;                     /* the bits that enable and describe them; 0: none */
    uint32_t generation;              /* counts changes of code */
    unsigned watches;                 /* pieces of watched memory, whose pages are write-tracked */

    /* All are called on the vCPU's pCPU after an exit. */
    bool (*owns)(struct vcpu *vcpu, uint64_t linear); /* is the INT3 there the debugger's? */
    void (*stopped)(struct vcpu *vcpu, enum debugger_stop why, uint64_t detail);
    void (*written)(struct vcpu *vcpu);  /* after a write to a tracked page, if `watches` */
    void (*remapped)(struct vcpu *vcpu); /* after a change of the slots, if `watches` */
};

/* A vCPU's part. */
struct debugger_vcpu {
    bool applied; /* the debug registers are the debugger's; the guest's are: */
    uint64_t guest_address[DEBUGGER_SLOTS], guest_dr7;
    uint32_t generation;                /* of the code that the emulator's caches have seen */
    void (*stepped)(struct vcpu *vcpu); /* called on its pCPU when the step is over */
    bool step_began, step_armed, nmis_were_blocked;
    uint64_t step_rip, interruptibility, pending_debug; /* before the step */
};

/* Called when a turn of the vCPU has begun, and before it ends. */
void debugger_begin(struct vcpu *vcpu);
void debugger_end(struct vcpu *vcpu);

/* Give the debug registers back to the guest, and take them again if the guest lets them free. The
 * exit of MOV DR is handled between these two. */
void debugger_yield(struct vcpu *vcpu);
void debugger_take(struct vcpu *vcpu);

/* Handles the exit of #BP or #DB. Returns false if the exception is the guest's. */
bool debugger_exception(struct vcpu *vcpu);

/* Called when the vCPU has written to a tracked page, or may have done so. */
void debugger_written(struct vcpu *vcpu);

/* Called when the vCPU has changed the VM's memory slots, or the tracking of a page: what was
 * tracked for the debugger may be so no more. */
void debugger_remapped(struct vcpu *vcpu);

/* Makes the vCPU execute one instruction when it is resumed, and call `stepped`, which pauses it.
 * Called in a visit. The VM need not have a debugger. */
void debugger_step(struct vcpu *vcpu, void (*stepped)(struct vcpu *vcpu));

/* Takes such a step back, if it has not been made. Called in a visit. Returns false if there is
 * none. */
bool debugger_step_cancel(struct vcpu *vcpu);

/* The step, as vm/run.c makes it: after each exit; before the entry's events are chosen, when false
 * says that the step is over; and after that. */
void debugger_step_exited(struct vcpu *vcpu);
bool debugger_step_prepare(struct vcpu *vcpu);
void debugger_step_arm(struct vcpu *vcpu);
