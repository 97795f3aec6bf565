/* SPDX-License-Identifier: MIT */
#include "vm/console.h"

#include "lib/string.h"
#include "lib/visible.h"

static bool starts_with(const char *text, const char *prefix)
{
    return !strncmp(text, prefix, strlen(prefix));
}

static bool contains(const char *text, const char *word)
{
    for (; *text; text++)
        if (starts_with(text, word))
            return true;
    return false;
}

static unsigned read_number(const char *text)
{
    unsigned value = 0;
    for (; *text >= '0' && *text <= '9' && value < 1000000; text++)
        value = value * 10 + (unsigned)(*text - '0');
    return value;
}

/* Returns true if the line is a KTAP result or plan. */
static bool console_count_result(struct console *console)
{
    const char *line = console->line;
    if (starts_with(line, "not ok "))
        console->failed++;
    else if (starts_with(line, "ok ") && contains(line, "# SKIP"))
        console->skipped++;
    else if (starts_with(line, "ok "))
        console->passed++;
    else if (starts_with(line, "1.."))
        console->planned = read_number(line + 3);
    else
        return false;
    return true;
}

static void console_end_line(struct console *console)
{
    console->line[console->length] = 0;
    console->length = 0;
    transcript_guest(console->transcript, console->line, console_count_result(console));
}

static void console_show_byte(struct console *console, char byte)
{
    char shown[VISIBLE_MAX];
    size_t length = visible(shown, byte);
    if (console->length + length > CONSOLE_LINE_MAX)
        console_end_line(console);
    memcpy(console->line + console->length, shown, length);
    console->length += (unsigned)length;
}

void console_put(struct console *console, uint8_t byte)
{
    if (console->live) {
        transcript_live(console->transcript, (char)byte);
        return;
    }
    bool lone = console->returned && byte != '\n';
    console->returned = byte == '\r';
    if (lone)
        console_show_byte(console, '\r');
    if (byte == '\n')
        console_end_line(console);
    else if (byte != '\r')
        console_show_byte(console, byte == '\t' ? ' ' : (char)byte);
}

void console_reset(struct console *console)
{
    console_finish(console);
    console->planned = 0;
    console->earlier = console_results(console);
}

void console_finish(struct console *console)
{
    if (console->returned)
        console_show_byte(console, '\r');
    console->returned = false;
    if (console->length)
        console_end_line(console);
}
