/* SPDX-License-Identifier: MIT */
/*
 * Kicks: cpu_kick() (lib/cpu_local.h) makes another CPU leave what it waits in, soon, and look at
 * what was written for it in memory. A kick is an NMI, because external interrupts can be held off
 * (decision D11).
 *
 * At most one NMI of a kick is on its way to a CPU. A CPU that finds `kicked` already set need not
 * send another one, because the target clears the flag before it looks at memory. No kick is lost,
 * therefore, and an NMI from elsewhere is recognized as such.
 */
#pragma once

#include "arch/x86/exceptions.h"
#include "lib/compiler.h"
#include "lib/cpu_local.h"

/* Sets the function that a kicked CPU calls in its NMI handler; the NMI may have interrupted any
 * code. */
void kick_set_hook(void (*hook)(void));

/* Called by exception() for each NMI. Returns false if the NMI was not a kick. Does not return on a
 * CPU that has to stop. */
bool kick_received(struct exception_frame *frame);

/* Halts with interrupts disabled until a kick arrives, unless `*value` is not 0. A kick between the
 * check and HLT is not lost: the NMI handler resumes before the check. */
void cpu_idle(const void *value);

/* Makes an idle CPU call `work`. A CPU has one piece of work at a time. */
void cpu_give_work(unsigned number, void (*work)(void));

/* Waits until the CPU has done its work. Returns false if that takes longer than `milliseconds`. */
bool cpu_wait_work(unsigned number, unsigned milliseconds) MUST_CHECK;

/* The loop of every CPU but the boot CPU: waits for work and does it. */
NORETURN void cpu_work_loop(void);

/* Makes all other CPUs leave VMX operation and halt for ever, soon. Only the first caller returns;
 * a CPU that calls it later never does. */
void cpus_stop_others(void);

/* Waits until they have done so, but no longer than `milliseconds` for all of them. */
void cpus_wait_stopped(unsigned milliseconds);
