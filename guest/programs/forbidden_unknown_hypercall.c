/* SPDX-License-Identifier: MIT */
/*
 * Ends its VM by a hypercall that does not exist (expect=unknown-hypercall).
 */
#include "guest/programs/rt/rt.h"

static void unknown_hypercall(void)
{
    struct hypercall call = {0};

    hypercall(0xff, &call);
}

void guest_main(void)
{
    run_forbidden("unknown_hypercall", unknown_hypercall);
}
