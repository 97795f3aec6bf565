/* SPDX-License-Identifier: MIT */
/* The console's and the debugger's serial ports; see the header. Pure. */
#include "arch/x86/serial.h"

#include "arch/x86/serial_find.h"
#include "arch/x86/tsc.h"
#include "arch/x86/unprivileged.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/spinlock.h"
#include "lib/string.h"
#include "lib/words.h"

#define STALL_MS 1000u /* a port that has had no room for so long has stalled */
#define AGAIN_MS 200u  /* the same for one that has stalled before: 16 characters at 1200 baud */
#define RETRY_MS 100u

static struct serial_port console;
static char where[SERIAL_TEXT_MAX];
static bool begun, is_open; /* `is_open`: the console is a port */

/* What is written while the port is stalled is lost, because nobody may wait for it. */
static struct {
    bool now, before;
    uint64_t since, retry; /* TSC: when it began, and when to look next whether it is over */
    uint64_t lost;         /* characters */
    bool cut;              /* the last line that was sent is not complete */
} stall;
static char last = '\n'; /* the last character that was written, sent or not */

static void serial_open(const struct serial_port *port)
{
    serial_port_program(port);
    console = *port;
    memset(&stall, 0, sizeof(stall));
    is_open = true;
    log_add_console(serial_write, NULL);
}

void serial_begin(const char *command_line)
{
    char value[WORD_TEXT_MAX];
    struct serial_wish wish = {.where = SERIAL_AUTO};
    struct serial_port port;
    begun = true;
    /* A bad value is refused later, with a message that needs a console. */
    if (serial_word_find(command_line, value, sizeof(value)) && serial_word_parse(value, &wish))
        wish = (struct serial_wish){.where = SERIAL_AUTO};
    if (wish.where != SERIAL_OFF && serial_find(&wish, NULL, &port, where))
        serial_open(&port);
}

void serial_last_resort(void)
{
    if (!begun)
        serial_begin("");
}

/* ACPI may name another port than the one that is used so far, or another rate. */
static void serial_follow_acpi(const struct serial_wish *wish, const struct boot_info *info)
{
    struct serial_port port;
    char text[SERIAL_TEXT_MAX];
    if (!serial_find_by_acpi(wish, info, &port, text))
        return;
    bool stays = !port.at.memory && serial_is_at((uint16_t)port.at.address);
    if (stays && !port.at.baud) /* the firmware's rate, which is no longer known */
        return;
    memcpy(where, text, sizeof(where));
    if (stays && port.at.baud == console.at.baud)
        return;
    if (!stays)
        log_info("serial: the console goes on at %s", where);
    serial_drain();
    serial_open(&port);
}

/* What is refused has to be said somewhere. */
static int serial_refuse(const struct boot_info *info, const char *value, const char *problem)
{
    const struct serial_wish any = {.where = SERIAL_AUTO};
    struct serial_port port;
    char text[SERIAL_TEXT_MAX];
    if (!is_open && serial_find(&any, info, &port, text))
        serial_open(&port);
    log_error("command line: serial=%s: %s", value, problem);
    return -EINVAL;
}

int serial_settle(const char *value, const struct boot_info *info)
{
    struct serial_wish wish;
    struct serial_port port;
    const char *problem = serial_word_parse(value, &wish);
    if (problem) {
        log_error("command line: serial=%s: %s; allowed: " SERIAL_WORD_ALLOWED, value, problem);
        return -EINVAL;
    }
    if (wish.where == SERIAL_OFF) {
        log_info("serial: there is no serial console (serial=off)");
        return 0;
    }
    if (is_open && wish.where == SERIAL_AUTO)
        serial_follow_acpi(&wish, info);
    else if (!is_open && serial_find(&wish, info, &port, where))
        serial_open(&port);
    if (!is_open && wish.where != SERIAL_AUTO)
        return serial_refuse(info, value, where);
    log_info("serial: %s%s", is_open ? "the console is at " : "no console; ", where);
    return 0;
}

bool serial_is_at(uint16_t port)
{
    return is_open && !console.at.memory && console.at.address == port;
}

/* ---- Output, also by a port that stalls ------------------------------------------------------ */

/* Returns false if the port has stalled. */
static bool serial_wait_for(bool (*is_ready)(const struct serial_port *port))
{
    if (is_ready(&console))
        return true;
    uint64_t start = rdtsc(), most = tsc_ticks(stall.before ? AGAIN_MS : STALL_MS);
    while (!is_ready(&console)) {
        uint64_t now = rdtsc();
        if (now - start > most) {
            stall.since = stall.lost ? stall.since : start;
            stall.now = stall.before = true;
            stall.retry = now + tsc_ticks(RETRY_MS);
            return false;
        }
        cpu_relax();
    }
    return true;
}

static bool serial_send(char c)
{
    if (!serial_wait_for(serial_port_has_room))
        return false;
    serial_port_put(&console, (uint8_t)c);
    stall.cut = c != '\n';
    return true;
}

/* Says on the port itself what is missing. Returns false if it stalls again meanwhile. */
static bool serial_says_lost(void)
{
    char text[128];
    int length =
        snprintf(text, sizeof(text),
                 "%s# serial: the port did not send for %lu ms; %lu characters are missing "
                 "here\r\n",
                 stall.cut ? "\r\n" : "", (rdtsc() - stall.since) / tsc_ticks(1), stall.lost);
    stall.now = false;
    for (int i = 0; i < length; i++)
        if (!serial_send(text[i]))
            return false;
    stall.lost = 0;
    return true;
}

/* The end of a line whose beginning is lost may look like another line, a result for example, so
 * only whole lines follow. */
static bool serial_is_back(void)
{
    uint64_t now = last == '\n' ? rdtsc() : 0;
    if (now < stall.retry)
        return false;
    stall.retry = now + tsc_ticks(RETRY_MS);
    return serial_port_has_room(&console) && serial_says_lost();
}

static void serial_put(char c)
{
    bool sent = (!stall.now || serial_is_back()) && serial_send(c);
    stall.lost += !sent;
}

void serial_write(const char *text, size_t length)
{
    for (size_t i = 0; i < length && is_open; i++) {
        if (text[i] == '\n' && last != '\r')
            serial_put('\r');
        serial_put(text[i]);
        last = text[i];
    }
}

int serial_read(void)
{
    return is_open ? serial_port_get(&console) : -1;
}

void serial_drain(void)
{
    if (is_open && !stall.now)
        (void)serial_wait_for(serial_port_is_idle);
}

void serial_leave(void)
{
    if (is_open)
        serial_port_leave(&console);
}

/* ---- The second port ------------------------------------------------------------------------- */

static const struct serial_port second = {.at = {.address = SERIAL_COM2,
                                                 .stride = 1,
                                                 .width = 1,
                                                 .clock = SERIAL_CLOCK,
                                                 .baud = SERIAL_BAUD}};

bool serial2_init(void)
{
    if (serial_port_prove(&second))
        return false;
    serial_port_program(&second);
    return true;
}

int serial2_read(void)
{
    return serial_port_get(&second);
}

unsigned serial2_room(void)
{
    return serial_port_has_room(&second) ? SERIAL_FIFO : 0;
}

void serial2_put(uint8_t byte)
{
    serial_port_put(&second, byte);
}

bool serial2_is_idle(void)
{
    return serial_port_is_idle(&second);
}
