/* SPDX-License-Identifier: MIT */
/*
 * Waiting for another CPU that was given something to do and kicked. A CPU answers within some
 * thousands of instructions, whatever guest it runs. A CPU that does not answer is lost, and
 * nothing that it may still use can be freed safely. After each second of waiting, a message says
 * so and the CPU is kicked again; after PATIENCE_SECONDS the machine stops. The message says which
 * CPU waits for which, for what, and for how long.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define PATIENCE_SECONDS 10u

struct patience {
    unsigned self, other; /* `self` waits for `other` */
    const char *what;
    uint64_t since; /* TSC at the first turn; 0: before it */
    unsigned seconds;
};

/* Sets the TSC ticks of a second. Until it has been called, or with 0, waiting has no bound. */
void patience_set(uint64_t ticks);

/* One turn of a waiting loop. `kick` is called for `other` again after each second. Returns true
 * when PATIENCE_SECONDS have passed. */
bool cpu_is_lost(struct patience *patience, void (*kick)(unsigned cpu));

/* One turn of a loop that cannot give up: when the time has passed, the machine stops. */
void wait_for_cpu(struct patience *patience, void (*kick)(unsigned cpu));
