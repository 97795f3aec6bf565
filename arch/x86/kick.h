/*
 * Getting another CPU's attention by cpu_kick() (lib/cpu_local.h): it leaves what it waits in,
 * soon, and looks at what it was told in memory. The kick is an NMI, because external interrupts
 * can be held off (decision D11).
 *
 * At most one NMI of ours is on its way to a CPU: who finds one there already need not send
 * another, for the CPU takes note of it first and looks afterwards. So kicks are not lost, and an
 * NMI that nobody sent is told from them.
 */
#pragma once

#include "arch/x86/exceptions.h"
#include "lib/compiler.h"
#include "lib/cpu_local.h"

/* What a kicked CPU calls, from the NMI: it may have interrupted anything. */
void kick_set_hook(void (*hook)(void));

/* For exception(): an NMI has come. False: it is not ours. Does not return on a CPU that is to
 * stop. */
bool kick_received(struct exception_frame *frame);

/* Halts, with interrupts off, unless or until `*word` is not 0 or a kick comes. A kick between the
 * look and the halt is not lost: the NMI goes back to before the look. */
void cpu_idle(const void *word);

/* Lets an idle CPU call `work`. One thing at a time. */
void cpu_give_work(unsigned number, void (*work)(void));

/* Whether it has done so, or does within that time. */
bool cpu_wait_work(unsigned number, unsigned milliseconds) MUST_CHECK;

/* The life of every CPU but the boot CPU: idle, work, idle. */
NORETURN void cpu_work_loop(void);

/* All other CPUs halt for ever. The first caller returns, another one never does. */
void cpus_stop_others(void);
