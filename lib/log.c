/* The log ring and the consoles behind it. */
#include "lib/log.h"

#include "lib/spinlock.h"
#include "lib/string.h"

static char ring[LOG_RING_SIZE];
static size_t written; /* since the start; the ring holds the last LOG_RING_SIZE of it */
static void (*consoles[LOG_CONSOLES])(const char *text, size_t length);
static unsigned console_count;
static unsigned warnings;

/* Lines of several CPUs stay whole. Who holds this for so long has died in here, perhaps of what
 * is to be printed now: then that is printed nevertheless. */
static struct spinlock lock;
#define PATIENCE 100000000u

static void emit(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        ring[(written + i) % LOG_RING_SIZE] = text[i];
    written += length;
    for (unsigned i = 0; i < console_count; i++)
        consoles[i](text, length);
}

void log_add_console(void (*write)(const char *text, size_t length))
{
    if (console_count == LOG_CONSOLES)
        return;
    consoles[console_count++] = write;
    if (written > LOG_RING_SIZE)
        write(ring + written % LOG_RING_SIZE, LOG_RING_SIZE - written % LOG_RING_SIZE);
    write(ring, written % LOG_RING_SIZE);
}

void log_line(enum log_level level, const char *format, ...)
{
    static const char *const prefix[] = {
        [LOG_INFO] = "", [LOG_WARN] = "WARN: ", [LOG_ERROR] = "error: "};
    char line[LOG_LINE_MAX];
    va_list arguments;

    int start = snprintf(line, sizeof(line) - 1, "%s", prefix[level]);
    va_start(arguments, format);
    int length =
        start + vsnprintf(line + start, sizeof(line) - 1 - (size_t)start, format, arguments);
    va_end(arguments);
    if (length > LOG_LINE_MAX - 2)
        length = LOG_LINE_MAX - 2;
    line[length] = '\n';
    for (unsigned i = 0; !spin_trylock(&lock) && i < PATIENCE; i++)
        cpu_relax();
    if (level == LOG_WARN)
        warnings++;
    emit(line, (size_t)length + 1);
    spin_unlock(&lock);
}

unsigned log_warnings(void)
{
    return warnings;
}
