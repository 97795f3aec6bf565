/* SPDX-License-Identifier: MIT */
/* See the header. Called by the port bus. Pure. */
#include "dev/rtc.h"

#define SHOWN_MS 10

#define A_DIVIDER  0x26 /* time base of 32,768 Hz, and the default rate of periodic interrupts */
#define B_WRITABLE (CMOS_B_SET | CMOS_B_BINARY | CMOS_B_24_HOURS)

/* Registers of the battery-backed memory that a PC's firmware sets. Sizes are in KiB; the size
 * above 16 MiB is in units of 64 KiB. */
#define NVRAM_EQUIPMENT     0x14
#define NVRAM_BASE_KIB      0x15
#define NVRAM_EXTENDED_KIB  0x17
#define NVRAM_EXTENDED_KIB2 0x30
#define NVRAM_ABOVE_16M     0x34
#define EQUIPMENT_FPU       0x02

static void rtc_store_size(struct rtc *rtc, unsigned reg, uint64_t size)
{
    uint64_t kept = size < 0xffff ? size : 0xffff;
    rtc->memory[reg] = (uint8_t)kept;
    rtc->memory[reg + 1] = (uint8_t)(kept >> 8);
}

void rtc_init(struct rtc *rtc, uint64_t (*now)(void), uint64_t ram)
{
    *rtc = (struct rtc){.now = now, .shown = now()};
    rtc->memory[CMOS_A] = A_DIVIDER;
    rtc->memory[CMOS_B] = CMOS_B_24_HOURS;
    rtc->memory[NVRAM_EQUIPMENT] = EQUIPMENT_FPU;
    uint64_t kib = ram >> 10;
    rtc_store_size(rtc, NVRAM_BASE_KIB, 640);
    rtc_store_size(rtc, NVRAM_EXTENDED_KIB, kib > 1024 ? kib - 1024 : 0);
    rtc_store_size(rtc, NVRAM_EXTENDED_KIB2, kib > 1024 ? kib - 1024 : 0);
    rtc_store_size(rtc, NVRAM_ABOVE_16M, kib > 16384 ? (kib - 16384) / 64 : 0);
}

static bool rtc_shows_time(unsigned reg)
{
    return reg == CMOS_SECOND || reg == CMOS_MINUTE || reg == CMOS_HOUR ||
           (reg >= CMOS_WEEKDAY && reg <= CMOS_YEAR) || reg == CMOS_CENTURY;
}

static uint8_t rtc_read_register(struct rtc *rtc)
{
    uint64_t now = rtc->now();
    if (rtc->index == CMOS_A || now - rtc->shown > SHOWN_MS)
        rtc->shown = now;
    if (rtc->index == CMOS_C) /* no interrupt is pending */
        return 0;
    if (rtc->index == CMOS_D)
        return CMOS_D_VALID;
    if (!rtc_shows_time(rtc->index))
        return rtc->memory[rtc->index];
    struct calendar date = calendar_of(rtc->shown / 1000);
    return cmos_encode(&date, rtc->index, rtc->memory[CMOS_B]);
}

static void rtc_write_register(struct rtc *rtc, uint8_t value)
{
    if (rtc->index == CMOS_A)
        value &= (uint8_t)~CMOS_A_UPDATING;
    else if (rtc->index == CMOS_B)
        value &= B_WRITABLE;
    else if (rtc->index == CMOS_C || rtc->index == CMOS_D || rtc_shows_time(rtc->index))
        return;
    rtc->memory[rtc->index] = value;
}

/* The index register is write-only, as in a PC: it reads all ones. */
static uint64_t rtc_read(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size)
{
    (void)vcpu, (void)size;
    return offset ? rtc_read_register(device) : 0xff;
}

static void rtc_write(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                      uint64_t value)
{
    struct rtc *rtc = device;
    (void)vcpu, (void)size;
    if (offset)
        rtc_write_register(rtc, (uint8_t)value);
    else
        rtc->index = value % CMOS_REGISTERS;
}

const struct bus_ops rtc_ops = {.name = "rtc", .read = rtc_read, .write = rtc_write, .sizes = 1};
