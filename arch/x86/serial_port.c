/* SPDX-License-Identifier: MIT */
/* The driver of 16550s; see the header. Pure. */
#include "arch/x86/serial_port.h"

#include "arch/x86/host_port.h"
#include "lib/bits.h"

enum {
    UART_DATA,
    UART_INTERRUPT_ENABLE,
    UART_FIFO,
    UART_LINE_CONTROL,
    UART_MODEM_CONTROL,
    UART_LINE_STATUS,
    UART_MODEM_STATUS,
    UART_SCRATCH,
};

#define LINE_8N1          0x03
#define LINE_DIVISOR      0x80
#define STATUS_RECEIVED   0x01
#define STATUS_EMPTY      0x20 /* there is room for a character */
#define STATUS_IDLE       0x40 /* the shift register is empty, too */
#define FIFO_ENABLE_CLEAR 0x07
#define MODEM_DTR         0x01
#define MODEM_RTS         0x02
#define MODEM_OUT1        0x04
#define MODEM_OUT2        0x08
#define MODEM_LOOP        0x10
#define MODEM_STATUS_NOW  0xf0
#define STATUS_CTS        0x10 /* what the four outputs become when they are looped back */
#define STATUS_DSR        0x20
#define STATUS_RI         0x40
#define STATUS_DCD        0x80
#define IDLE_LIMIT        100000u
#define DIVISOR_MAX       0xffffu

static volatile void *uart_place(const struct serial_port *port, unsigned index)
{
    return (volatile uint8_t *)port->memory + index * port->at.stride;
}

static uint8_t uart_read(const struct serial_port *port, unsigned index)
{
    if (!port->memory)
        return host_port_read((uint16_t)(port->at.address + index));
    return (uint8_t)host_register_read(uart_place(port, index), port->at.width);
}

static void uart_write(const struct serial_port *port, unsigned index, uint8_t value)
{
    if (!port->memory)
        host_port_write((uint16_t)(port->at.address + index), value);
    else
        host_register_write(uart_place(port, index), port->at.width, value);
}

unsigned serial_port_divisor(const struct serial_port *port)
{
    if (!port->at.clock || !port->at.baud)
        return 0;
    uint64_t tick = 16ull * port->at.baud, divisor = (port->at.clock + tick / 2) / tick;
    uint64_t made = divisor * tick,
             wrong = made > port->at.clock ? made - port->at.clock : port->at.clock - made;
    return divisor <= DIVISOR_MAX && wrong * 100 <= (uint64_t)port->at.clock * SERIAL_BAUD_ERROR
               ? (unsigned)divisor
               : 0;
}

static bool scratch_keeps(const struct serial_port *port, uint8_t value)
{
    uart_write(port, UART_SCRATCH, value);
    return uart_read(port, UART_SCRATCH) == value;
}

static bool loop_shows(const struct serial_port *port, uint8_t outputs, uint8_t inputs)
{
    uart_write(port, UART_MODEM_CONTROL, MODEM_LOOP | outputs);
    return (uart_read(port, UART_MODEM_STATUS) & MODEM_STATUS_NOW) == inputs;
}

const char *serial_port_prove(const struct serial_port *port)
{
    if (uart_read(port, UART_LINE_STATUS) == 0xff)
        return "nothing answers (its line status is 0xff)";
    uint8_t scratch = uart_read(port, UART_SCRATCH);
    bool keeps = scratch_keeps(port, 0x5a) && scratch_keeps(port, 0xa5);
    uart_write(port, UART_SCRATCH, scratch);
    if (!keeps)
        return "its scratch register does not keep what is written to it";
    /* What the firmware has just sent must not be looped back. */
    for (unsigned i = 0; !serial_port_is_idle(port) && i < IDLE_LIMIT; i++)
        ;
    uint8_t control = uart_read(port, UART_MODEM_CONTROL);
    bool loops = loop_shows(port, MODEM_RTS | MODEM_OUT2, STATUS_CTS | STATUS_DCD) &&
                 loop_shows(port, MODEM_DTR | MODEM_OUT1, STATUS_DSR | STATUS_RI);
    uart_write(port, UART_MODEM_CONTROL, control);
    return loops ? NULL : "its modem status does not show the modem control when looped back";
}

void serial_port_program(const struct serial_port *port)
{
    unsigned divisor = serial_port_divisor(port);
    if (divisor) {
        uart_write(port, UART_LINE_CONTROL, LINE_DIVISOR | LINE_8N1);
        uart_write(port, UART_DATA, (uint8_t)divisor);
        uart_write(port, UART_INTERRUPT_ENABLE, (uint8_t)(divisor >> 8));
    }
    uart_write(port, UART_LINE_CONTROL, LINE_8N1);
    uart_write(port, UART_INTERRUPT_ENABLE, 0);
    uart_write(port, UART_FIFO, FIFO_ENABLE_CLEAR);
    uart_write(port, UART_MODEM_CONTROL, MODEM_DTR | MODEM_RTS);
}

void serial_port_leave(const struct serial_port *port)
{
    uart_write(port, UART_FIFO, 0);
}

bool serial_port_has_room(const struct serial_port *port)
{
    return uart_read(port, UART_LINE_STATUS) & STATUS_EMPTY;
}

bool serial_port_is_idle(const struct serial_port *port)
{
    return uart_read(port, UART_LINE_STATUS) & STATUS_IDLE;
}

void serial_port_put(const struct serial_port *port, uint8_t byte)
{
    uart_write(port, UART_DATA, byte);
}

int serial_port_get(const struct serial_port *port)
{
    return uart_read(port, UART_LINE_STATUS) & STATUS_RECEIVED ? uart_read(port, UART_DATA) : -1;
}
