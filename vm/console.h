/* SPDX-License-Identifier: MIT */
/*
 * A guest's serial output. The bytes are assembled into lines, and KTAP results are counted.
 *
 * Each line is shown with an indentation of four spaces, as a KTAP subtest of the VM. The
 * hypervisor's own lines are not indented, so a guest cannot forge one. A byte that is not
 * printable is shown as an escape like `\x1b`, so a guest cannot control the terminal. A tab
 * becomes a space, and the CR of a CR LF pair is dropped.
 *
 * A live console is for a guest with which a person interacts: each byte is shown at once and
 * unchanged, and no results are counted.
 */
#pragma once

#include "vm/transcript.h"
#include "lib/types.h"

#define CONSOLE_LINE_MAX 240 /* characters after escaping; longer lines are broken */

struct console {
    struct transcript *transcript; /* gets the lines; NULL: they are printed at once */
    char line[CONSOLE_LINE_MAX + 1];
    unsigned length;
    bool live;
    bool returned; /* the last byte was a CR, whose LF may follow */
    unsigned passed, failed, skipped;
    unsigned earlier; /* number of results before the guest reset its VM for the last time */
    unsigned planned; /* since then: number of results that a KTAP plan `1..planned` announced */
};

/* Adds a byte that the guest has sent. The caller serialises the calls for one console. */
void console_put(struct console *console, uint8_t byte);

/* Shows the last line if it does not end with a newline. */
void console_finish(struct console *console);

/* The number of KTAP results that the guest has reported. */
static inline unsigned console_results(const struct console *console)
{
    return console->passed + console->failed + console->skipped;
}

/* The number of those that a plan can count. */
static inline unsigned console_results_since_reset(const struct console *console)
{
    return console_results(console) - console->earlier;
}

/* Called when the guest resets its VM, which starts anew: the guest may print another plan. */
void console_reset(struct console *console);
