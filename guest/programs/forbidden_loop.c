/* SPDX-License-Identifier: MIT */
/*
 * Exceptions that occur during their own delivery, without end: no instruction ever completes, so
 * no event at an instruction boundary ends the loop (CVE-2015-8104, CVE-2015-5307). The budget ends
 * it (expect=budget), because #DB and #AC exit. The argument `ac` selects #AC instead of #DB.
 */
#include "guest/programs/rt/rt.h"

#define DR7_RW   3ull /* on each access */
#define DR7_LEN8 2ull

void loop_ac(void); /* loop/ac.S */

static uint8_t stack[4096] __attribute__((aligned(4096)));

/* A data breakpoint where the frame of #DB is pushed. */
static void loop_db(void)
{
    uint64_t where = (uint64_t)stack + sizeof(stack) - 8;
    set_stack(VECTOR_DB, (uint64_t)stack + sizeof(stack));
    look_for(VECTOR_DB, 0);
    __asm__ volatile("mov %0, %%dr0" : : "r"(where));
    __asm__ volatile("mov %0, %%dr7" : : "r"(0x400ull | 2 | DR7_RW << 16 | DR7_LEN8 << 18));
    (void)read64(where);
}

void guest_main(void)
{
    run_forbidden("loop", rt_args[0] == 'a' ? loop_ac : loop_db);
}
