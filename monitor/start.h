/* SPDX-License-Identifier: MIT */
/* How VMs begin: those of a machine that begins with the monitor, each of which is paused when it
 * has been created until somebody lets it go; and those that `start` starts again. */
#pragma once

#include "vm/vm.h"

/* From now on, new VMs are paused. */
void monitor_holds_new(void);

/* Called for each VM that is in the registry, before its vCPUs run for the first time. */
void monitor_sees(struct vm *vm);

/* Resumes what monitor_sees() has paused, and no longer pauses new VMs. */
void monitor_lets_go(void);

/* What becomes of a guest that is to start again. */
struct start_answer {
    enum {
        START_NO_GUEST,  /* there is no guest with this number or name */
        START_NOT_BEGUN, /* its turn has not come yet, so it starts by itself */
        START_EXISTS,    /* its VM exists, or waits for memory */
        START_TOO_MANY,  /* `limit` VMs exist, and no further one may */
        START_BEGINS,    /* its VM is created from now on, for run `run`; that of the boot was 1 */
    } how;
    unsigned number, run, limit;
    char name[VM_NAME_SIZE];
};

/* Called once, before the first command: `again` is how `start` starts a guest. */
void monitor_may_start(void (*again)(const char *which, struct start_answer *answer));
