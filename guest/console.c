#include "guest/console.h"

#include "lib/string.h"

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

static void count(struct console *console)
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
}

static void end_line(struct console *console)
{
    console->line[console->length] = 0;
    console->length = 0;
    count(console);
    transcript_line(console->transcript, "%s%s", starts_with(console->line, "BENCH ") ? "" : "    ",
                    console->line);
}

void console_put(struct console *console, uint8_t byte)
{
    if (byte == '\r')
        return;
    if (byte == '\n') {
        end_line(console);
        return;
    }
    if (console->length == CONSOLE_LINE_MAX)
        end_line(console);
    if (byte == '\t')
        byte = ' ';
    console->line[console->length++] = byte < 0x20 || byte > 0x7e ? '.' : (char)byte;
}

void console_finish(struct console *console)
{
    if (console->length)
        end_line(console);
}
