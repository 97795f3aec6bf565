/*
 * Waiting for another CPU that was told to do something, and kicked. It answers within some
 * thousands of instructions, whatever guest it runs. One that does not is lost, and with it what it
 * holds: nothing that was waited for can be given away safely. So after a second we say so and kick
 * it again, and after PATIENCE_SECONDS the machine stops, with a sentence that says which CPU waits
 * for which, what for, and how long it has.
 */
#pragma once

#include <stdint.h>

#define PATIENCE_SECONDS 10u

struct patience {
    unsigned self, other; /* who waits for whom */
    const char *what;
    uint64_t since; /* TSC; 0: not yet */
    unsigned seconds;
};

/* TSC ticks of a second; 0, as in the beginning: waits have no bound yet. */
void patience_set(uint64_t ticks);

/* One turn of the loop that waits. `kick` is told of `other` again when it takes long. */
void wait_for_cpu(struct patience *patience, void (*kick)(unsigned cpu));
