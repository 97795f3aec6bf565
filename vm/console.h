/* SPDX-License-Identifier: MIT */
/*
 * A guest's serial output: bytes become lines, and lines that are KTAP results are counted.
 *
 * Each line is shown indented by four spaces, as a KTAP subtest of the VM; no line of ours is, so a
 * guest can't speak for us. What is not printable is shown as `\x1b` is: a guest must not be able
 * to write to our terminal what it likes. Tabs become a space, and the CR of CR and LF goes.
 */
#pragma once

#include "vm/transcript.h"
#include "lib/types.h"

#define CONSOLE_LINE_MAX 240 /* characters, as they are shown; longer ones are broken */

struct console {
    struct transcript *transcript; /* where its lines go; NULL: printed at once */
    char line[CONSOLE_LINE_MAX + 1];
    unsigned length;
    bool returned; /* the last byte was a CR, whose LF may follow */
    unsigned passed, failed, skipped;
    unsigned planned; /* by a KTAP plan, 1..planned */
};

void console_put(struct console *console, uint8_t byte);

/* Shows an unfinished last line. */
void console_finish(struct console *console);

/* Results that KTAP lines reported. */
static inline unsigned console_results(const struct console *console)
{
    return console->passed + console->failed + console->skipped;
}
