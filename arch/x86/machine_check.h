/* SPDX-License-Identifier: MIT */
/*
 * Machine checks: the exception #MC by which a CPU reports that the hardware has failed (SDM 3,
 * chapter 16). A CPU whose CR4.MCE is 0 shuts down instead, without a word, and mostly resets the
 * machine.
 *
 * Most CPUs send a machine check to all others, too, and each of them enters its handler at the
 * same time. The first of them prints what all have found in their banks, and ends the machine; the
 * others stop.
 */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"

/* Called on each CPU once its IDT is loaded: names the error that was left in a bank by what ran
 * before, clears the banks, has all errors signalled, and sets CR4.MCE (SDM 3, 16.8). */
void machine_check_init_cpu(void);

/* Called by the handler of #MC on each CPU that gets one. Prints all that the banks say; `where` is
 * what was interrupted: "in the hypervisor at RIP …". Returns on the first CPU only, which then
 * ends the machine; the others halt for ever. Waits for them and for locks, but never without a
 * limit, because each of them may have been hit by the error. */
void machine_check_report(const char *where);

/* For a machine check that has interrupted a guest: reports it, and ends the machine. */
NORETURN void machine_check_end(const char *where);
