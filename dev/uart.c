/* SPDX-License-Identifier: MIT */
/*
 * The 16550A model: eight byte-wide registers. Called by the port bus, which splits a wider access
 * into byte accesses to consecutive registers, as a bus does for an 8-bit device.
 */
#include "dev/uart.h"

#include "lib/bits.h"
#include "lib/string.h"

enum {
    REG_DATA,
    REG_IER,
    REG_IIR_FCR,
    REG_LCR,
    REG_MCR,
    REG_LSR,
    REG_MSR,
    REG_SCR,
};

#define IER_RECEIVED BIT(0)
#define IER_TRANSMIT BIT(1)
#define IER_LINE     BIT(2)
#define IER_MODEM    BIT(3)

#define IIR_NONE     0x1
#define IIR_MODEM    0x0
#define IIR_TRANSMIT 0x2
#define IIR_RECEIVED 0x4
#define IIR_LINE     0x6
#define IIR_TIMEOUT  0xc /* fewer bytes than the trigger level wait, and none has come lately */
#define IIR_FIFO     0xc0

#define FCR_ENABLE        BIT(0)
#define FCR_CLEAR_RECEIVE BIT(1)
#define FCR_TRIGGER       BITS(7, 6)

#define LCR_DLAB BIT(7)

#define MCR_DTR  BIT(0)
#define MCR_RTS  BIT(1)
#define MCR_OUT1 BIT(2)
#define MCR_OUT2 BIT(3)
#define MCR_LOOP BIT(4)

#define LSR_READY   BIT(0)
#define LSR_OVERRUN BIT(1)
#define LSR_EMPTY   0x60 /* holding register and shifter */

#define MSR_DELTAS    0x0f
#define MSR_RING_EDGE BIT(2)
#define MSR_CTS       BIT(4)
#define MSR_DSR       BIT(5)
#define MSR_RING      BIT(6)
#define MSR_DCD       BIT(7)
#define MSR_CONNECTED (MSR_CTS | MSR_DSR | MSR_DCD)

void uart_init(struct uart *uart, void (*transmit)(void *context, uint8_t byte), void *context)
{
    memset(uart, 0, sizeof(*uart));
    uart->transmit = transmit;
    uart->context = context;
    uart->lsr = LSR_EMPTY;
    uart->msr = MSR_CONNECTED;
}

/* Recomputes MSR after a write to MCR; in loopback mode the modem inputs follow the outputs. Bits
 * 3:0 of MSR are set for inputs that have changed since MSR was read; the ring input counts only
 * when it becomes inactive. */
static NOINLINE void uart_update_modem(struct uart *uart)
{
    uint64_t lines = MSR_CONNECTED;
    if (uart->mcr & MCR_LOOP)
        lines = (uart->mcr & MCR_RTS ? MSR_CTS : 0) | (uart->mcr & MCR_DTR ? MSR_DSR : 0) |
                (uart->mcr & MCR_OUT1 ? MSR_RING : 0) | (uart->mcr & MCR_OUT2 ? MSR_DCD : 0);
    uint64_t changed = (uart->msr ^ lines) & 0xf0;
    if (lines & MSR_RING)
        changed &= ~MSR_RING;
    uart->msr = (uint8_t)(lines | (uart->msr & MSR_DELTAS) | changed >> 4);
}

static unsigned uart_depth(const struct uart *uart)
{
    return uart->fcr & FCR_ENABLE ? sizeof(uart->received) : 1;
}

static void uart_loop_back(struct uart *uart, uint8_t byte)
{
    if (uart->received_count >= uart_depth(uart)) {
        uart->lsr |= LSR_OVERRUN;
        if (uart->fcr & FCR_ENABLE)
            return;               /* a full FIFO drops the new byte */
        uart->received_count = 0; /* without the FIFO, the new byte overwrites the old one */
    }
    uart->received[uart->received_count++] = byte;
    uart->lsr |= LSR_READY;
}

/* Takes bytes from the source until the receiver is full or the source is empty. In loopback mode
 * the receiver is disconnected from the source. */
static void uart_fill(struct uart *uart)
{
    int byte;
    if (!uart->source || uart->mcr & MCR_LOOP)
        return;
    while (uart->received_count < uart_depth(uart) &&
           (byte = uart->source(uart->source_context)) >= 0) {
        uart->received[uart->received_count++] = (uint8_t)byte;
        uart->lsr |= LSR_READY;
    }
}

static NOINLINE uint8_t uart_read_data(struct uart *uart)
{
    if (!uart->received_count)
        return 0;
    uint8_t byte = uart->received[0];
    memmove(uart->received, uart->received + 1, --uart->received_count);
    if (!uart->received_count)
        uart->lsr &= (uint8_t)~LSR_READY;
    uart_fill(uart);
    return byte;
}

/* Returns the identification code for received data. The serial line takes no time here, so the
 * timeout after which the FIFO reports fewer bytes than its trigger level has always expired. */
static uint8_t uart_received_event(const struct uart *uart)
{
    static const uint8_t levels[] = {1, 4, 8, 14};
    unsigned level = uart->fcr & FCR_ENABLE ? levels[field_get(uart->fcr, FCR_TRIGGER)] : 1;
    return uart->received_count < level ? IIR_TIMEOUT : IIR_RECEIVED;
}

/* Returns the identification code of the pending interrupt with the highest priority. */
static uint8_t uart_pending(const struct uart *uart)
{
    if (uart->ier & IER_LINE && uart->lsr & LSR_OVERRUN)
        return IIR_LINE;
    if (uart->ier & IER_RECEIVED && uart->lsr & LSR_READY)
        return uart_received_event(uart);
    if (uart->ier & IER_TRANSMIT && uart->transmit_event)
        return IIR_TRANSMIT;
    if (uart->ier & IER_MODEM && uart->msr & MSR_DELTAS)
        return IIR_MODEM;
    return IIR_NONE;
}

/* Reads IIR, which acknowledges a transmit interrupt if that is the one reported. */
static NOINLINE uint8_t uart_read_iir(struct uart *uart)
{
    uint8_t pending = uart_pending(uart);
    if (pending == IIR_TRANSMIT)
        uart->transmit_event = false;
    return (uart->fcr & FCR_ENABLE ? IIR_FIFO : 0) | pending;
}

/* Recomputes the level of the interrupt line, and sets the line if the level has changed. In
 * loopback mode the OUT2 pin is inactive, so the line is not asserted. */
static NOINLINE void uart_update_line(struct uart *uart)
{
    bool asserted =
        (uart->mcr & (MCR_OUT2 | MCR_LOOP)) == MCR_OUT2 && uart_pending(uart) != IIR_NONE;
    if (asserted == uart->asserted)
        return;
    uart->asserted = asserted;
    line_set(&uart->line, asserted);
}

void uart_connect(struct uart *uart, const struct line *line, int (*source)(void *context),
                  void *context)
{
    uart->line = *line;
    uart->source = source;
    uart->source_context = context;
}

void uart_receive(struct uart *uart)
{
    uart_fill(uart);
    uart_update_line(uart);
}

static ALWAYS_INLINE uint8_t uart_read_register(struct uart *uart, uint64_t reg)
{
    uint8_t value;
    switch (reg) {
    case REG_DATA:
        return uart->lcr & LCR_DLAB ? uart->divisor[0] : uart_read_data(uart);
    case REG_IER:
        return uart->lcr & LCR_DLAB ? uart->divisor[1] : uart->ier;
    case REG_IIR_FCR:
        return uart_read_iir(uart);
    case REG_LCR:
        return uart->lcr;
    case REG_MCR:
        return uart->mcr;
    case REG_LSR:
        value = uart->lsr;
        uart->lsr &= (uint8_t)~LSR_OVERRUN;
        return value;
    case REG_MSR:
        value = uart->msr;
        uart->msr &= (uint8_t)~MSR_DELTAS;
        return value;
    case REG_SCR:
        return uart->scr;
    default:
        return 0xff;
    }
}

static NOINLINE void uart_write_data(struct uart *uart, uint8_t byte)
{
    if (uart->lcr & LCR_DLAB) {
        uart->divisor[0] = byte;
        return;
    }
    if (uart->mcr & MCR_LOOP)
        uart_loop_back(uart, byte);
    else
        uart->transmit(uart->context, byte);
    uart->transmit_event = true; /* sending takes no time, so the register is empty again */
}

static NOINLINE void uart_write_fcr(struct uart *uart, uint8_t value)
{
    /* Switching the FIFO on or off also empties it. */
    if (value & FCR_CLEAR_RECEIVE || (value ^ uart->fcr) & FCR_ENABLE) {
        uart->received_count = 0;
        uart->lsr &= (uint8_t)~LSR_READY;
    }
    uart->fcr = value & FCR_ENABLE ? value & (FCR_ENABLE | FCR_TRIGGER) : 0;
    uart_fill(uart);
}

static ALWAYS_INLINE void uart_write_register(struct uart *uart, uint64_t reg, uint8_t value)
{
    switch (reg) {
    case REG_DATA:
        uart_write_data(uart, value);
        break;
    case REG_IER:
        if (uart->lcr & LCR_DLAB) {
            uart->divisor[1] = value;
            break;
        }
        if (value & ~uart->ier & IER_TRANSMIT)
            uart->transmit_event = true;
        uart->ier = value & 0xf;
        break;
    case REG_IIR_FCR:
        uart_write_fcr(uart, value);
        break;
    case REG_LCR:
        uart->lcr = value;
        break;
    case REG_MCR:
        uart->mcr = value & 0x1f;
        uart_update_modem(uart);
        uart_fill(uart);
        break;
    case REG_SCR:
        uart->scr = value;
        break;
    default: /* LSR and MSR are read-only */
        break;
    }
}

static uint64_t uart_read(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size)
{
    (void)vcpu, (void)size;
    return uart_read_register(device, offset);
}

static void uart_write(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                       uint64_t value)
{
    (void)vcpu, (void)size;
    uart_write_register(device, offset, (uint8_t)value);
}

static uint64_t uart_read_connected(void *device, struct mmio_vcpu *vcpu, uint64_t offset,
                                    unsigned size)
{
    uint64_t value = uart_read(device, vcpu, offset, size);
    uart_update_line(device);
    return value;
}

static void uart_write_connected(void *device, struct mmio_vcpu *vcpu, uint64_t offset,
                                 unsigned size, uint64_t value)
{
    uart_write(device, vcpu, offset, size, value);
    uart_update_line(device);
}

const struct bus_ops uart_ops = {
    .name = "uart", .read = uart_read, .write = uart_write, .sizes = 1};
const struct bus_ops uart_connected_ops = {
    .name = "uart", .read = uart_read_connected, .write = uart_write_connected, .sizes = 1};
