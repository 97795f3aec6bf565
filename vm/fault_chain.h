/* SPDX-License-Identifier: MIT */
/*
 * The exceptions that led to a triple fault, and the text about them for the user.
 *
 * The chain begins with the event that the guest raised or that arrived: an exception, INT n, an
 * interrupt or an NMI. Each further step is an exception that the CPU raised during the delivery of
 * what the steps before it add up to (event_combine()): of the step before it or, if these were two
 * faults, of #DF. Pure: vm/triple_fault.c observes the steps.
 */
#pragma once

#include "vmx/event.h"

#include <stddef.h>

struct fault_step {
    struct event event;
    uint64_t address; /* of #PF: the linear address */
};

#define FAULT_STEPS 6 /* an interrupt, whose delivery raises an exception, and so on */

struct fault_chain {
    struct fault_step steps[FAULT_STEPS];
    unsigned count; /* 0: not even the first step is known */
    bool complete;  /* the last step was raised during the delivery of #DF */
};

/* The registers of the guest that explain why a delivery failed. */
struct fault_state {
    uint64_t rip, rsp, cr2, cr3;
    uint64_t idt_base;
    uint32_t idt_limit;
    unsigned gate_size; /* bytes of an IDT entry: 4 in real mode, 16 in IA-32e mode, otherwise 8 */
};

/* The event whose delivery comes next: what a CPU does after the steps so far. No event if the
 * chain is complete or empty. */
struct event fault_chain_next(const struct fault_chain *chain);

/* Adds an exception that was raised during the delivery of fault_chain_next(), or the first step.
 * Returns false if the chain has become complete, or has no room for another step. */
bool fault_chain_add(struct fault_chain *chain, const struct fault_step *step);

/* Formats one step, for example "#PF page fault, error code 0x2, address 0x10". */
void fault_step_text(const struct fault_step *step, char *text, size_t size);

/* Formats all further steps, for example "its delivery raised #NP …; the delivery of #DF raised …".
 * Returns false if there is none. */
bool fault_chain_text(const struct fault_chain *chain, char *text, size_t size);

/* Returns what the user can look at, by the step that broke the first delivery. */
void fault_chain_advice(const struct fault_chain *chain, const struct fault_state *state,
                        char *text, size_t size);
