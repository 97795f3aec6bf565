/* SPDX-License-Identifier: MIT */
/* Accesses to MSRs, control registers, XCR0 and counters that are refused. */
#pragma once

#include "lib/compiler.h"

struct vcpu;

/* Raises #GP(0) for the instruction that has caused the exit. The guest sees the #GP itself; the
 * message is for its user, in case that the guest does not expect it. `format` says what was
 * refused: "RDMSR of MSR 0x48". The first 16 refusals of a VM are printed, in its report. */
COLD void access_refuse(struct vcpu *vcpu, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Prints, as access_refuse() does, what a TD's VMM refuses by the status of a TDVMCALL. */
COLD void access_report_refusal(struct vcpu *vcpu, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
