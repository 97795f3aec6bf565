/* SPDX-License-Identifier: MIT */
/* The driver of the serial ports; see the header. */
#include "arch/x86/serial.h"

#include "arch/x86/cpu.h"

#define COM1 0x3f8
#define COM2 0x2f8

enum {
    UART_DATA,
    UART_INTERRUPT_ENABLE,
    UART_FIFO,
    UART_LINE_CONTROL,
    UART_MODEM_CONTROL,
    UART_LINE_STATUS,
    UART_SCRATCH = 7,
};

#define LINE_8N1          0x03
#define LINE_DIVISOR      0x80
#define STATUS_RECEIVED   0x01
#define STATUS_EMPTY      0x20 /* there is room for a character */
#define STATUS_IDLE       0x40 /* the shift register is empty, too */
#define WAIT_LIMIT        1000000u
#define DIVISOR_115200    1
#define FIFO_ENABLE_CLEAR 0x07
#define MODEM_DTR_RTS     0x03

static bool dead;

static void port_init(uint16_t port)
{
    outb(port + UART_LINE_CONTROL, LINE_DIVISOR | LINE_8N1);
    outb(port + UART_DATA, DIVISOR_115200);
    outb(port + UART_INTERRUPT_ENABLE, 0); /* high half of the divisor */
    outb(port + UART_LINE_CONTROL, LINE_8N1);
    outb(port + UART_INTERRUPT_ENABLE, 0);
    outb(port + UART_FIFO, FIFO_ENABLE_CLEAR);
    outb(port + UART_MODEM_CONTROL, MODEM_DTR_RTS);
}

void serial_init(void)
{
    port_init(COM1);
    dead = inb(COM1 + UART_LINE_STATUS) == 0xff;
}

static void serial_wait_for(uint8_t status)
{
    for (unsigned i = 0; !dead && !(inb(COM1 + UART_LINE_STATUS) & status); i++)
        dead = i == WAIT_LIMIT;
}

static void serial_put(char c)
{
    serial_wait_for(STATUS_EMPTY);
    if (!dead)
        outb(COM1 + UART_DATA, (uint8_t)c);
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
    return !dead && inb(COM1 + UART_LINE_STATUS) & STATUS_RECEIVED ? inb(COM1 + UART_DATA) : -1;
}

void serial_drain(void)
{
    serial_wait_for(STATUS_IDLE);
}

/* ---- The second port ------------------------------------------------------------------------- */

/* Without a port, reads give all ones. The scratch register keeps what is written to it. */
bool serial2_init(void)
{
    port_init(COM2);
    outb(COM2 + UART_SCRATCH, 0x5a);
    return inb(COM2 + UART_SCRATCH) == 0x5a && inb(COM2 + UART_LINE_STATUS) != 0xff;
}

int serial2_read(void)
{
    return inb(COM2 + UART_LINE_STATUS) & STATUS_RECEIVED ? inb(COM2 + UART_DATA) : -1;
}

unsigned serial2_room(void)
{
    return inb(COM2 + UART_LINE_STATUS) & STATUS_EMPTY ? SERIAL_FIFO : 0;
}

void serial2_put(uint8_t byte)
{
    outb(COM2 + UART_DATA, byte);
}

bool serial2_is_idle(void)
{
    return inb(COM2 + UART_LINE_STATUS) & STATUS_IDLE;
}
