/* SPDX-License-Identifier: MIT */
/* The interrupts of the machine, none of which the hypervisor uses. */
#pragma once

/* Masks all interrupts, those that are pending as well, and leaves NMIs. The firmware may have left
 * a timer running that interrupts. Called on each CPU, as soon as it runs the hypervisor. */
void interrupts_mask(void);
