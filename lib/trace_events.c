/* SPDX-License-Identifier: MIT */
/* The table of the trace events, and a record as text. */
#include "lib/assert.h"
#include "lib/flush_reasons.h"
#include "lib/string.h"
#include "lib/trace.h"

static const struct {
    const char *name, *values;
} events[] = {
#define X(name, values) {#name, values},
    TRACE_EVENTS(X)
#undef X
};

const char *trace_name(enum trace_event event)
{
    return events[event].name;
}

const char *trace_values(enum trace_event event)
{
    return events[event].values;
}

/* Writes a letter for each bit that is set, and with `dashes` a dash for each bit that is clear. */
static void trace_letters(char *text, uint64_t value, const char *names, bool dashes)
{
    for (unsigned i = 0; names[i]; i++) {
        if (value >> i & 1)
            *text++ = names[i];
        else if (dashes)
            *text++ = '-';
    }
    *text = 0;
}

static const char *trace_choice(const char *const *names, size_t count, uint64_t value)
{
    return value < count ? names[value] : "?";
}
#define CHOICE(value, ...)                           \
    trace_choice((const char *const[]){__VA_ARGS__}, \
                 ARRAY_SIZE(((const char *const[]){__VA_ARGS__})), value)

/* Writes the names of the flush reasons that are set in `bits`, separated by commas, or a dash if
 * there are none. Bit 0 has no name. */
static int trace_format_debts(char *text, size_t size, uint64_t bits)
{
    static const char *const names[] = {
#define X(name, text) text,
        FLUSH_REASONS(X)
#undef X
    };
    int used = snprintf(text, size, "%s", bits ? "" : "-");
    for (unsigned i = 0; i < ARRAY_SIZE(names) && (size_t)used < size; i++)
        if (bits >> (i + 1) & 1)
            used += snprintf(text + used, size - (size_t)used, "%s%s", used ? "," : "", names[i]);
    return used;
}

static int trace_format_value(char *text, size_t size, char form, uint64_t value)
{
    char some[16];
    switch (form) {
    case 'u':
        return snprintf(text, size, "%lu", value);
    case 'a':
        trace_letters(some, value, "rwx", true);
        return snprintf(text, size, "%s", some);
    case 'e': /* read, write, fetch; entry present, final access, reserved bits */
        trace_letters(some, value, "rwxpfR", false);
        return snprintf(text, size, "%s", some);
    case 'f':
        if ((int64_t)value < 0)
            return snprintf(text, size, "%ld", (int64_t)value);
        return snprintf(text, size, "%s",
                        CHOICE(value, "continue", "retry", "emulate", "write-protected", "invalid",
                               "fixed", "spurious", "#VE"));
    case 'm':
        return snprintf(text, size, "%s", CHOICE(value, "unsatisfied-read", "read", "write"));
    case 's':
        if (value == BIT(63) || value == (BIT(63) | 0x5a0))
            return snprintf(text, size, "%s", value == BIT(63) ? "nonpresent" : "frozen");
        return snprintf(text, size, "%#lx", value);
    case 't':
        return snprintf(text, size, "%s",
                        CHOICE(value, "interrupt", "?", "NMI", "exception", "INT", "INT1", "INT3"));
    case 'l':
        return snprintf(
            text, size, "%s",
            CHOICE(value, "fixed", "lowest", "SMI", "?", "NMI", "INIT", "start-up", "ExtINT"));
    case 'o':
        return value == TRACE_NO_ADDRESS ? snprintf(text, size, "-")
                                         : snprintf(text, size, "%#lx", value);
    case 'd':
        return trace_format_debts(text, size, value);
    case 'i':
        return snprintf(text, size, "%s", CHOICE(value, "debt", "root-load"));
    default:
        return snprintf(text, size, "%#lx", value);
    }
}

int trace_format(const struct trace_record *record, char *text, size_t size)
{
    const char *values = events[record->event].values;
    size_t used = (size_t)snprintf(text, size, "%-22s", events[record->event].name);
    for (unsigned i = 0; *values && used < size; i++) {
        const char *form = strchr(values, ':') + 1;
        BUG_ON(i == TRACE_VALUES);
        used +=
            (size_t)snprintf(text + used, size - used, " %.*s=", (int)(form - 1 - values), values);
        if (used < size)
            used += (size_t)trace_format_value(text + used, size - used, *form, record->values[i]);
        values = form + (form[1] == ' ' ? 2 : 1);
    }
    return (int)used;
}
