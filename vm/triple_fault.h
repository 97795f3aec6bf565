/* SPDX-License-Identifier: MIT */
/*
 * Finds out why a guest has had a triple fault.
 *
 * The exit itself says only where: its RIP and RSP are those of the instruction or the event whose
 * delivery failed first, but the IDT-vectoring information is not valid (SDM 3, 28.2.4), and a
 * guest's exceptions do not exit. An exit on #DF would not tell either, for the same reason. So the
 * vCPU, which will never run again, repeats what it did, now with all exceptions intercepted: first
 * the instruction at RIP, as a single step, and if that does not fault, the event that the last
 * entry with an event injected. Each exception that is found is injected in turn, so that the one
 * that its delivery raises is found as well, up to the end of the chain (vm/fault_chain.h).
 *
 * Nothing of this costs anything before the triple fault. There are at most 32 entries of at most
 * 100 microseconds each, and no exit of them is handled, so that the guest reaches no device.
 */
#pragma once

#include "lib/compiler.h"

#include <stdbool.h>

struct vcpu;

/* Ends the VM of a vCPU that had a triple fault (ATTENTION_SHUTDOWN), with a message about the
 * cause. Called on the pCPU that runs the vCPU, before its state is saved. */
void triple_fault_end(struct vcpu *vcpu) COLD;
