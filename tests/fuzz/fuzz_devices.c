/* SPDX-License-Identifier: MIT */
/*
 * The I/O APIC, the UART, the clock and the power registers under libFuzzer, connected as in a PC.
 * An input is a row of accesses of any offset and size that the bus lets through, of bytes that
 * arrive, and of EOIs. After each one the line is what the UART's registers say, and so it is at
 * the pin; what is read-only or does not exist has not changed.
 */
#include "tests/unit/support.h"

#include "dev/ioapic.h"
#include "dev/power.h"
#include "dev/rtc.h"
#include "dev/uart.h"
#include "lib/bits.h"

#include <stdlib.h>

int LLVMFuzzerInitialize(int *count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PIN 4u

static const uint8_t *next, *end_of_input;
static struct ioapic ioapic;
static struct uart uart;
static struct rtc rtc;
static struct power power;
static unsigned waiting; /* bytes that the UART has not taken yet */
static uint64_t now;

static uint32_t take(unsigned bytes)
{
    uint32_t word = 0;
    while (bytes--)
        word = word << 8 | (next < end_of_input ? *next++ : 0);
    return word;
}

static bool send(void *context, const struct lapic_message *message, bool level)
{
    assert_ptr_equal(context, &ioapic);
    assert_true(message->mode == LAPIC_FIXED || message->mode == LAPIC_LOWEST);
    assert_true(message->destination <= 0xff);
    return level;
}

static void transmit(void *context, uint8_t byte)
{
    (void)context, (void)byte;
}

static int source(void *context)
{
    assert_ptr_equal(context, &waiting);
    return waiting ? (int)(waiting-- % 256) : -1;
}

static uint64_t clock_now(void)
{
    return now;
}

static void end(void *context, const char *how)
{
    assert_ptr_equal(context, &power);
    assert_non_null(how);
}

static void access_device(uint8_t what)
{
    static const struct {
        const struct bus_ops *ops;
        void *device;
        uint32_t size;
    } devices[] = {{&ioapic_ops, &ioapic, 0x50},        {&uart_connected_ops, &uart, UART_PORTS},
                   {&rtc_ops, &rtc, RTC_PORTS},         {&power_sleep_ops, &power, 2},
                   {&power_reset_ops, &power, 1},       {&power_keyboard_ops, &power, 1},
                   {&ioapic_ops, &ioapic, IOAPIC_SIZE}, {&uart_connected_ops, &uart, UART_PORTS}};
    unsigned which = what % 8, size = 1;
    if (devices[which].ops == &ioapic_ops)
        size = 1u << (what >> 3) % 3;
    uint64_t offset = take(2) % devices[which].size / size * size;
    if (what & 0x80)
        devices[which].ops->write(devices[which].device, NULL, offset, size, take(size));
    else
        (void)devices[which].ops->read(devices[which].device, NULL, offset, size);
}

/* What is not one access: bytes that arrive, an EOI, another line, an entry of the I/O APIC. */
static void other_step(unsigned kind)
{
    uint32_t pin;
    switch (kind) {
    case 0:
        waiting += take(1) % 64;
        uart_receive(&uart);
        break;
    case 1:
        ioapic_eoi(&ioapic, (uint8_t)take(1));
        break;
    case 2:
        pin = take(1) % 32;
        if (pin != PIN)
            ioapic_set_line(&ioapic, pin, take(1) & 1);
        break;
    default:
        ioapic_ops.write(&ioapic, NULL, 0, 1, 0x10 + take(1) % 0x30);
        ioapic_ops.write(&ioapic, NULL, 0x10, 4, take(4));
    }
}

static void check(void)
{
    /* OUT2 without loopback, and anything but "none" in IIR; reading it acknowledges. */
    bool connected = (uart.mcr & 0x18) == 0x08, asserted = uart.asserted;
    assert_int_equal(asserted, ioapic.asserted >> PIN & 1);
    bool pending = !(uart_connected_ops.read(&uart, NULL, 2, 1) & 1);
    assert_int_equal(asserted, connected && pending);
    assert_true(uart.received_count <= sizeof(uart.received));
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        assert_int_equal(ioapic.entries[pin] & (BITS(55, 17) | BIT(12)), 0);
        assert_true(!(ioapic.entries[pin] & BIT(14)) || ioapic.entries[pin] & BIT(15));
    }
    assert_int_equal(ioapic.id & ~0x0f000000u, 0);
    assert_int_equal(ioapic.lock.taken, 0);
    assert_true(rtc.index < CMOS_REGISTERS && rtc.shown <= now);
}

/* Cmocka ends a program whose assertions fail outside a test; with this it aborts, and is seen. */
int LLVMFuzzerInitialize(int *count, char ***arguments)
{
    (void)count, (void)arguments;
    return setenv("CMOCKA_TEST_ABORT", "1", 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    next = data;
    end_of_input = data + size;
    waiting = 0;
    now = 1000000000000;
    ioapic_init(&ioapic, send, &ioapic);
    uart_init(&uart, transmit, NULL);
    uart_connect(&uart, &(struct line){ioapic_set_line, &ioapic, PIN}, source, &waiting);
    rtc_init(&rtc, clock_now, 32 << 20);
    power = (struct power){.end = end, .context = &power};
    while (next < end_of_input) {
        uint8_t what = (uint8_t)take(1);
        if ((what & 0x60) == 0x60)
            other_step(what & 3);
        else
            access_device(what);
        check();
    }
    return 0;
}
