/* SPDX-License-Identifier: MIT */
/* Phrases that several commands say. */
#pragma once

#include "lib/types.h"

struct vm;
struct vcpu;

/* Whether the memory and registers of the VM may be shown. */
bool monitor_may_show(const struct vm *vm);

/* The state of a vCPU as another CPU sees it at this moment: "runs on CPU 1", "paused, halted". It
 * may be another one when the text is read. */
void vcpu_state_text(const struct vcpu *vcpu, char *text, size_t size);

/* How long from now to a TSC value, as in "1.250 ms"; "never". */
void time_text(uint64_t now, uint64_t at, char *text, size_t size);
