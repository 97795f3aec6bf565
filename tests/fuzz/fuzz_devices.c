/* SPDX-License-Identifier: MIT */
/*
 * The I/O APIC, the UART, the clocks and the power registers under libFuzzer, connected as in a PC.
 * An input is a sequence of accesses of any offset and size that the bus passes on, of bytes that
 * arrive, of times, and of EOIs. After each step, the level of the UART's line agrees with its
 * registers and with the pin of the I/O APIC, the I/O APIC has sent the messages and has the
 * entries of a model, the clock shows the date of the C library, and registers that are read-only
 * or do not exist are unchanged.
 */
#include "tests/unit/dev/ioapic_model.h"
#include "tests/unit/support.h"

#include "dev/pit.h"
#include "dev/pm_timer.h"
#include "dev/power.h"
#include "dev/rtc.h"
#include "dev/uart.h"
#include "lib/bits.h"

#include <time.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PIN 4u

static const uint8_t *next, *end_of_input;
static struct ioapic ioapic;
static struct uart uart;
static struct rtc rtc;
static struct power power;
static struct pm_timer pm_timer;
static struct pit pit;
static uint8_t model_index; /* of the I/O APIC */
static unsigned sends;
static unsigned waiting;         /* bytes that the UART has not taken yet */
static uint64_t now, shown, tsc; /* ms; ms, the time that the clock shows; ticks */

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
    sends++;
    (void)level;
    return accepted;
}

static void set_line(void *context, unsigned pin, bool level)
{
    if (pin < IOAPIC_PINS)
        model_line(pin, level);
    ioapic_set_line(context, pin, level);
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

static uint64_t tsc_now(void)
{
    return tsc;
}

static void end(void *context, const char *how)
{
    assert_ptr_equal(context, &power);
    assert_non_null(how);
}

/* ---- Models ---------------------------------------------------------------------------------- */

static void ioapic_written(uint64_t offset, unsigned size, uint32_t value)
{
    if (offset == 0)
        model_index = (uint8_t)value;
    else if (size == 4 && offset == 0x40)
        model_end((uint8_t)value);
    else if (size == 4 && offset == 0x10 && model_index >= 0x10 && model_index < 0x40)
        model_write(model_index - 0x10u, value);
}

/* One or two decimal digits, in the form that register B chooses. */
static uint8_t digits(int number, uint8_t b)
{
    return (uint8_t)(b & 4 ? number : number / 10 * 16 + number % 10);
}

/* Returns what a register of the clock shows if it is one of the time, else -1. If register A was
 * read within the last 10 ms, the clock still shows the time of that read. */
static int date_shown(unsigned reg)
{
    struct tm date;
    time_t seconds = (time_t)(shown / 1000);
    uint8_t b = rtc.memory[11];
    gmtime_r(&seconds, &date);
    int year = date.tm_year + 1900, hour = date.tm_hour % 12 ? date.tm_hour % 12 : 12;
    switch (reg) {
    case 0:
        return digits(date.tm_sec, b);
    case 2:
        return digits(date.tm_min, b);
    case 4:
        return b & 2 ? digits(date.tm_hour, b) : digits(hour, b) | (date.tm_hour >= 12) << 7;
    case 6:
        return digits(date.tm_wday + 1, b);
    case 7:
        return digits(date.tm_mday, b);
    case 8:
        return digits(date.tm_mon + 1, b);
    case 9:
        return digits(year % 100, b);
    case 0x32:
        return digits(year / 100, b);
    default:
        return -1;
    }
}

static void rtc_was_read(uint64_t offset, uint64_t value)
{
    if (offset == 0) {
        assert_int_equal(value, 0xff);
        return;
    }
    if (rtc.index == 10 || now - shown > 10)
        shown = now;
    int date = date_shown(rtc.index);
    if (date >= 0)
        assert_int_equal(value, date);
    if (rtc.index == 10)
        assert_int_equal(value & 0x80, 0);
}

static void pm_timer_was_read(uint64_t offset, unsigned size, uint64_t value)
{
    uint32_t count = (uint32_t)((unsigned __int128)tsc * 3579545 / pm_timer.tsc_hz);
    for (unsigned i = 0; i < size && offset + i < 4; i++)
        assert_int_equal((uint8_t)(value >> 8 * i), (uint8_t)(count >> 8 * (offset + i)));
}

/* ---- Steps ----------------------------------------------------------------------------------- */

static const struct {
    const struct bus_ops *ops;
    void *device;
    uint32_t size;
} devices[] = {{&ioapic_ops, &ioapic, 0x50},        {&uart_connected_ops, &uart, UART_PORTS},
               {&rtc_ops, &rtc, RTC_PORTS},         {&power_sleep_ops, &power, 2},
               {&power_reset_ops, &power, 1},       {&pm_timer_ops, &pm_timer, PM_TIMER_PORTS},
               {&ioapic_ops, &ioapic, IOAPIC_SIZE}, {&power_keyboard_ops, &power, 1},
               {&pit_ops, &pit, PIT_PORTS}};

static void access_device(uint8_t what)
{
    unsigned which = what % ARRAY_SIZE(devices), size = 1;
    const struct bus_ops *ops = devices[which].ops;
    if (ops == &ioapic_ops || ops == &pm_timer_ops)
        size = 1u << (what >> 3) % 3;
    uint64_t offset = take(2) % devices[which].size / size * size;
    if (what & 0x80) {
        uint32_t value = take(size);
        if (ops == &ioapic_ops)
            ioapic_written(offset, size, value);
        ops->write(devices[which].device, NULL, offset, size, value);
        return;
    }
    uint64_t value = ops->read(devices[which].device, NULL, offset, size);
    if (ops == &rtc_ops)
        rtc_was_read(offset, value);
    if (ops == &pm_timer_ops)
        pm_timer_was_read(offset, size, value);
}

static void write_entry(uint8_t number, uint32_t value)
{
    ioapic_written(0, 1, 0x10u + number);
    ioapic_ops.write(&ioapic, NULL, 0, 1, 0x10u + number);
    ioapic_written(0x10, 4, value);
    ioapic_ops.write(&ioapic, NULL, 0x10, 4, value);
}

/* The steps other than a single access: bytes that arrive, an EOI, another line, an entry of the
 * I/O APIC, the UART's pin, and the passing of time. */
static void other_step(unsigned kind)
{
    uint32_t pin;
    uint8_t vector;
    switch (kind) {
    case 0:
        waiting += take(1) % 64;
        uart_receive(&uart);
        break;
    case 1:
        vector = (uint8_t)take(1);
        model_end(vector);
        ioapic_eoi(&ioapic, vector);
        break;
    case 2:
        pin = take(1) % 32;
        if (pin != PIN)
            set_line(&ioapic, pin, take(1) & 1);
        break;
    case 3:
        vector = (uint8_t)take(1);
        write_entry((uint8_t)(take(1) % 0x30), (take(1) & 0xa1) << 8 | take(1) << 16 | vector);
        break;
    case 4:
        now += take(2);
        tsc += (uint64_t)take(4) << take(1) % 32;
        break;
    default:
        accepted = take(1) & 1;
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
        /* The delivery status is computed when the entry is read. */
        assert_true(ioapic.entries[pin] == (model_entry(pin) & ~PENDING));
        assert_int_equal(ioapic.asserted >> pin & 1, model[pin].line);
    }
    assert_int_equal(sends, model_sends);
    assert_int_equal(ioapic.index, model_index);
    assert_int_equal(ioapic.id & ~0x0f000000u, 0);
    assert_int_equal(ioapic.lock.taken, 0);
    assert_true(rtc.index < CMOS_REGISTERS && rtc.shown <= now);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    next = data;
    end_of_input = data + size;
    waiting = sends = model_index = 0;
    now = shown = 1000000000000 + ((uint64_t)take(2) << 24);
    tsc = 0;
    accepted = true;
    model_reset();
    ioapic_init(&ioapic, send, &ioapic);
    uart_init(&uart, transmit, NULL);
    uart_connect(&uart, &(struct line){set_line, &ioapic, PIN}, source, &waiting);
    rtc_init(&rtc, clock_now, 32 << 20);
    power = (struct power){.off = end, .reset = end, .context = &power};
    pit_init(&pit, tsc_now, 1 + (uint64_t)take(4) * 1000);
    pm_timer = (struct pm_timer){.tsc = tsc_now, .tsc_hz = 1 + (uint64_t)take(4) * 1000};
    while (next < end_of_input) {
        uint8_t what = (uint8_t)take(1);
        if ((what & 0x60) == 0x60)
            other_step(what % 8);
        else
            access_device(what);
        check();
    }
    return 0;
}
