/* SPDX-License-Identifier: MIT */
/* Accesses to MSRs, control registers, XCR0 and counters that are refused with #GP. */
#pragma once

#include "lib/compiler.h"

struct vcpu;

/* Reports that the guest got `outcome` ("#GP") instead of what `access` says ("RDMSR of MSR 0x48").
 * The guest sees the outcome itself; the message is for its user, in case that the guest does not
 * expect it. The first 16 refusals of a VM are printed, in its report. */
COLD void access_report_refusal(struct vcpu *vcpu, const char *access, const char *outcome);

/* Raises #GP(0) for the instruction that has caused the exit, and reports the access. */
COLD void access_refuse(struct vcpu *vcpu, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
