/* SPDX-License-Identifier: MIT */
/* The driver of the first serial port; see the header. */
#include "arch/x86/serial.h"

#include "arch/x86/cpu.h"

#define COM1 0x3f8

enum {
    UART_DATA = COM1,
    UART_INTERRUPT_ENABLE = COM1 + 1,
    UART_FIFO = COM1 + 2,
    UART_LINE_CONTROL = COM1 + 3,
    UART_MODEM_CONTROL = COM1 + 4,
    UART_LINE_STATUS = COM1 + 5,
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

void serial_init(void)
{
    outb(UART_LINE_CONTROL, LINE_DIVISOR | LINE_8N1);
    outb(UART_DATA, DIVISOR_115200);
    outb(UART_INTERRUPT_ENABLE, 0); /* high half of the divisor */
    outb(UART_LINE_CONTROL, LINE_8N1);
    outb(UART_INTERRUPT_ENABLE, 0);
    outb(UART_FIFO, FIFO_ENABLE_CLEAR);
    outb(UART_MODEM_CONTROL, MODEM_DTR_RTS);
    dead = inb(UART_LINE_STATUS) == 0xff;
}

static void serial_wait_for(uint8_t status)
{
    for (unsigned i = 0; !dead && !(inb(UART_LINE_STATUS) & status); i++)
        dead = i == WAIT_LIMIT;
}

static void serial_put(char c)
{
    serial_wait_for(STATUS_EMPTY);
    if (!dead)
        outb(UART_DATA, (uint8_t)c);
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
    return !dead && inb(UART_LINE_STATUS) & STATUS_RECEIVED ? inb(UART_DATA) : -1;
}

void serial_drain(void)
{
    serial_wait_for(STATUS_IDLE);
}
