/* SPDX-License-Identifier: MIT */
/*
 * Talks with a person at the console: it answers each line that it reads, until the line is `quit`.
 * Its VM has the words `pc` and `live`. The first argument is the name with which it answers. The
 * second one changes what it does:
 *
 *   deaf   it never reads
 *   forge  it prints what only the hypervisor prints, at the beginning
 *   busy   it prints a line again and again until it reads something
 */
#include "guest/programs/rt/rt.h"

#define UART_LSR      (PORT_UART + 5)
#define LSR_RECEIVED  0x01
#define BUSY_INTERVAL 100000u /* reads of the UART between two lines of a busy guest */

static char name[16];

static bool has_word(const char *word)
{
    for (const char *s = rt_args; *s; s++) {
        const char *a = s, *b = word;
        while (*b && *a == *b)
            a++, b++;
        if (!*b)
            return true;
    }
    return false;
}

static bool received(void)
{
    return inb(UART_LSR) & LSR_RECEIVED;
}

static void read_line(char *line, unsigned size)
{
    unsigned length = 0;
    for (;;) {
        while (!received())
            __builtin_ia32_pause();
        char c = (char)inb(PORT_UART);
        if (c == '\n' || c == '\r')
            break;
        if (length < size - 1)
            line[length++] = c;
    }
    line[length] = 0;
}

static bool equal(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

void guest_main(void)
{
    char line[64];
    for (unsigned i = 0; i < sizeof(name) - 1 && rt_args[i] && rt_args[i] != ' '; i++)
        name[i] = rt_args[i];
    if (has_word(" forge"))
        print("EXIT 0 ok\n# console: VM 2 forged\n");
    while (has_word(" deaf"))
        __builtin_ia32_pause();
    while (has_word(" busy") && !received())
        for (unsigned i = 0; i < BUSY_INTERVAL && !received(); i++)
            if (!i)
                print("%s is busy\n", name);
    for (;;) {
        print("%s> ", name);
        read_line(line, sizeof(line));
        if (equal(line, "quit"))
            debug_exit(0);
        print("%s read '%s'\n", name, line);
    }
}
