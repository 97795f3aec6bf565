/* SPDX-License-Identifier: MIT */
/* The VMs of a machine that begins with the monitor: each is paused when it has been created, until
 * somebody lets it go. */
#pragma once

struct vm;

/* From now on, new VMs are paused. */
void monitor_holds_new(void);

/* Called for each VM that is in the registry, before its vCPUs run for the first time. */
void monitor_sees(struct vm *vm);

/* Resumes what monitor_sees() has paused, and no longer pauses new VMs. */
void monitor_lets_go(void);
