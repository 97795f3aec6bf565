/* SPDX-License-Identifier: MIT */
/*
 * The monitor: a dialogue with a person at the console of the running machine. The escape key and
 * `m` give it the console (vm/input.h), the command `quit` gives the console back, and with the
 * word `monitor` on the command line the machine begins with it: then each VM is paused when it is
 * created, until `resume` or `quit`.
 *
 * Guests run on meanwhile, and the machine does not end before the monitor has given the console
 * back. The monitor has no CPU of its own: it is work (vm/work.h) of the pCPU that finds something
 * for it to do, a key or a visit that is over, and does a piece of a command, adds to the console's
 * transcript what there is room for, and prints. It waits for nothing.
 */
#pragma once

#include <stdbool.h>

/* Called once, before the guests run. `at_once`: the machine begins with the monitor. */
void monitor_start(bool at_once);

/* Whether the monitor has the console, so that the machine must not end. */
bool monitor_is_open(void);
