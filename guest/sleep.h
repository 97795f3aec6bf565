/*
 * Halted vCPUs that have left their pCPU to others. They wait in no run queue, so that nobody looks
 * at them in vain, but in a list of that pCPU: for a message, or for the time of their next event,
 * which the pCPU watches over. One that comes into a queue again goes wherever it is best.
 *
 * No message is lost: who sends writes the message and looks then whether the vCPU sleeps; who goes
 * to sleep says so and looks then for messages (tests/models/halt.pml). Whoever clears
 * vcpu->asleep, alone, takes the vCPU off the list and puts it into a queue.
 */
#pragma once

#include "guest/vm.h"

/* A halted vCPU that is on no pCPU any more goes to sleep on this one. It may run elsewhere, or be
 * gone with its VM, when this returns. */
void sleep_add(struct vcpu *vcpu);

/* After something was written for a vCPU: it looks, at once if it runs or sleeps, else when it
 * runs. */
void sleep_alert(struct vcpu *vcpu);

/* TSC: when the first one here is due, TIME_NEVER if there is none; and those that are go into the
 * queues. */
uint64_t sleep_next(void);
void sleep_wake_due(uint64_t now);

/* One that sleeps here, or NULL: for a pCPU that has nothing to run, to halt with. */
struct vcpu *sleep_take(void);
