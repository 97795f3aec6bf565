/* SPDX-License-Identifier: MIT */
/*
 * Ends its VM, which has the word `pc`, as an operating system powers a machine off; or, with the
 * argument `reset` or `keyboard`, as one resets it. The VM must end with the result `exit`. If the
 * guest goes on after that, it fails.
 */
#include "guest/programs/rt/rt.h"

#define SLEEP_S5       (BIT(5) | 5 << 2)
#define RESET_SYSTEM   0x02
#define RESET_CPU      0x04
#define KEYBOARD_RESET 0xfe

static bool asked_for(const char *word)
{
    const char *s = rt_args;
    while (*s && *s == *word)
        s++, word++;
    return !*s && !*word;
}

void guest_main(void)
{
    print("KTAP version 1\n1..1\n");
    /* None of these writes may end the VM. */
    outb(PORT_SLEEP, BIT(5) | 3 << 2);
    outb(PORT_SLEEP, 5 << 2);
    outb(PORT_RESET, RESET_SYSTEM);
    outb(PORT_KEYBOARD, KEYBOARD_RESET | 1);
    print("ok 1 still_on\n");
    if (asked_for("reset"))
        outb(PORT_RESET, RESET_SYSTEM | RESET_CPU);
    else if (asked_for("keyboard"))
        outb(PORT_KEYBOARD, KEYBOARD_RESET);
    else
        outb(PORT_SLEEP, SLEEP_S5);
    print("Bail out! the machine goes on\n");
    debug_exit(1);
}
