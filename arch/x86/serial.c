/* SPDX-License-Identifier: MIT */
/* The console's and the debugger's serial ports; see the header. Pure. */
#include "arch/x86/serial.h"

#include "arch/x86/serial_find.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/string.h"
#include "lib/words.h"

#define WAIT_LIMIT 1000000u

static struct serial_port console;
static char where[SERIAL_TEXT_MAX];
static bool begun, is_open; /* `is_open`: the console is a port that still sends */

static void serial_open(const struct serial_port *port)
{
    serial_port_program(port);
    console = *port;
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

static void serial_wait_for(bool (*is_ready)(const struct serial_port *port))
{
    for (unsigned i = 0; is_open && !is_ready(&console); i++)
        is_open = i < WAIT_LIMIT;
}

static void serial_put(char c)
{
    serial_wait_for(serial_port_has_room);
    if (is_open)
        serial_port_put(&console, (uint8_t)c);
}

void serial_write(const char *text, size_t length)
{
    static char last;
    for (size_t i = 0; i < length; i++) {
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
    serial_wait_for(serial_port_is_idle);
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
