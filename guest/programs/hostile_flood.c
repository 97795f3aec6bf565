/* SPDX-License-Identifier: MIT */
/*
 * Floods the console: lines without end, lines that look like the hypervisor's own, and escape
 * sequences that move the cursor of a terminal. Other VMs run undisturbed meanwhile
 * (target/test_neighbours.py). Arguments: `empty` or `wide` lines instead of forged ones; `errors`
 * makes the hypervisor log errors instead, by calls that it refuses; `spin` never ends afterwards.
 */
#include "guest/programs/rt/rt.h"

static char text[4096];

static bool has(const char *word)
{
    for (const char *at = rt_args; *at; at++) {
        unsigned i = 0;
        while (word[i] && at[i] == word[i])
            i++;
        if (!word[i])
            return true;
    }
    return false;
}

static void put(const char *from, uint64_t count)
{
    __asm__ volatile("rep outsb" : "+S"(from), "+c"(count) : "d"(0x3f8) : "memory");
}

static void lines_of(unsigned width, uint64_t lines)
{
    for (unsigned i = 0; i < sizeof(text); i++)
        text[i] = i % (width + 1) == width ? '\n' : 'x';
    uint64_t left = lines * (width + 1);
    while (left) {
        uint64_t now = left < sizeof(text) ? left : sizeof(text);
        put(text, now);
        left -= now;
    }
}

static void forge(void)
{
    static const char *const lines[] = {
        "BENCH cpuid 1 ticks\n", "EXIT 0 ok\n",          "error: nobody\n",
        "WARN: nobody\n",        "# innocent: 32 MiB\n", "\x1b[2J\x1b]0;mine\x07\n",
        "x\rEXIT 0 ok\n",
    };
    for (unsigned i = 0; i < ARRAY_SIZE(lines); i++)
        print("%s", lines[i]);
}

void guest_main(void)
{
    if (has("empty"))
        lines_of(0, 60000);
    else if (has("wide"))
        lines_of(60, 6000);
    else if (has("errors"))
        for (unsigned i = 0; i < 2000; i++)
            hc_slot_delete(1);
    else
        forge();
    while (has("spin"))
        __asm__ volatile("");
    print("1..1\nok 1 flood\n");
    debug_exit(0);
}
