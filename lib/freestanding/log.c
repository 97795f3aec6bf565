/* SPDX-License-Identifier: MIT */
/* The log ring and the consoles behind it. */
#include "lib/log.h"

#include "lib/assert.h"
#include "lib/spinlock.h"
#include "lib/string.h"
#include "lib/visible.h"

static char ring[LOG_RING_SIZE];
static size_t
    written; /* characters since the start; the ring holds the last LOG_RING_SIZE of them */
static struct {
    void (*write)(const char *text, size_t length);
    size_t (*room)(char next); /* or NULL */
} consoles[LOG_CONSOLES];
static unsigned console_count;
static unsigned warnings;
static char last_error[LOG_LINE_MAX];
static bool after_error; /* the last line was an error */
static bool unfinished;  /* the last character was not a newline */
static bool (*diverted)(enum log_level level, const char *line);

/* Keeps the lines of several CPUs whole. A CPU that holds the lock for longer than PATIENCE turns
 * has died inside this file, possibly because of the message that is to be printed now, so the
 * message is printed without the lock. */
static struct spinlock lock;
#define PATIENCE 100000000u

static void log_emit(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        ring[(written + i) % LOG_RING_SIZE] = text[i];
    written += length;
    for (unsigned i = 0; i < console_count; i++)
        consoles[i].write(text, length);
}

void log_add_console(void (*write)(const char *text, size_t length), size_t (*room)(char next))
{
    unsigned known = 0;
    while (known < console_count && consoles[known].write != write)
        known++;
    BUG_ON(known == LOG_CONSOLES);
    consoles[known].room = room;
    consoles[known].write = write;
    console_count += known == console_count;
    log_replay(write);
}

void log_replay(void (*write)(const char *text, size_t length))
{
    if (written > LOG_RING_SIZE)
        write(ring + written % LOG_RING_SIZE, LOG_RING_SIZE - written % LOG_RING_SIZE);
    write(ring, written % LOG_RING_SIZE);
}

const char *log_last_error(void)
{
    return last_error;
}

void log_divert(bool (*divert)(enum log_level level, const char *line))
{
    bool (*before)(enum log_level, const char *) =
        __atomic_exchange_n(&diverted, divert, __ATOMIC_SEQ_CST);
    if (!divert && before)
        (void)before(LOG_INFO, NULL);
}

static void log_take_lock(void)
{
    for (unsigned i = 0; !spin_trylock(&lock) && i < PATIENCE; i++)
        cpu_relax();
}

void log_text(const char *text, size_t length)
{
    log_take_lock();
    log_emit(text, length);
    unfinished = length ? text[length - 1] != '\n' : unfinished;
    spin_unlock(&lock);
}

size_t log_room(char next)
{
    size_t least = SIZE_MAX;
    log_take_lock();
    for (unsigned i = 0; i < console_count; i++) {
        size_t room = consoles[i].room ? consoles[i].room(next) : SIZE_MAX;
        least = room < least ? room : least;
    }
    spin_unlock(&lock);
    return least;
}

static void log_print_line(char *line, size_t length)
{
    line[length] = '\n';
    log_take_lock();
    if (unfinished)
        log_emit("\n", 1);
    log_emit(line, length + 1);
    unfinished = false;
    spin_unlock(&lock);
}

void log_line(enum log_level level, const char *format, ...)
{
    static const char *const prefix[] = {
        [LOG_INFO] = "", [LOG_WARN] = "WARN: ", [LOG_ERROR] = "error: "};
    char raw[LOG_LINE_MAX], line[LOG_LINE_MAX];
    va_list arguments;

    int start = snprintf(raw, sizeof(raw), "%s", prefix[level]);
    va_start(arguments, format);
    vsnprintf(raw + start, sizeof(raw) - (size_t)start, format, arguments);
    va_end(arguments);
    visible_text(line, sizeof(line) - 1, raw);
    bool goes_on = __atomic_exchange_n(&after_error, level == LOG_ERROR, __ATOMIC_RELAXED);
    if (level == LOG_ERROR && !goes_on)
        snprintf(last_error, sizeof(last_error), "%s", line + start);
    if (level == LOG_WARN)
        __atomic_add_fetch(&warnings, 1, __ATOMIC_RELAXED);
    bool (*divert)(enum log_level, const char *) = __atomic_load_n(&diverted, __ATOMIC_ACQUIRE);
    if (!divert || !divert(level, line))
        log_print_line(line, strlen(line));
}

unsigned log_warnings(void)
{
    return __atomic_load_n(&warnings, __ATOMIC_RELAXED);
}
