/* SPDX-License-Identifier: MIT */
/* The arguments and results of a hypercall, and the hypercalls that are not in vm/hypercall.c. */
#pragma once

#include "lib/types.h"

struct vcpu;

#define CALL_ARGUMENTS 4

struct call {
    uint64_t rbx, rcx, rdx, rsi; /* arguments; rbx and rcx also carry results */
};

/* Executes a TDVMCALL (vm/ghci.h), after the TDCALL was completed. If it takes long, the rest is
 * left to hypercall_go_on(). */
void hypercall_of_td(struct vcpu *vcpu);

/* vm/test_devices.c */
int64_t call_doorbell_add(struct vcpu *vcpu, struct call *call);
int64_t call_doorbell_remove(struct vcpu *vcpu, struct call *call);
int64_t call_doorbell_rings(struct vcpu *vcpu, struct call *call);
int64_t call_window(struct vcpu *vcpu, struct call *call);
