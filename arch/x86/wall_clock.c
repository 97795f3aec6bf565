/* SPDX-License-Identifier: MIT */
/* See the header. */
#include "arch/x86/wall_clock.h"

#include "arch/x86/cmos.h"
#include "arch/x86/cpu.h"
#include "arch/x86/pc_parts.h"
#include "arch/x86/tsc.h"
#include "lib/log.h"

#define UPDATE_MS 3 /* an update takes less than 2 ms */

static uint64_t start_seconds = 946684800; /* of 2000 */
static uint64_t start_tsc;

static uint8_t cmos_read(uint8_t reg)
{
    outb(PORT_CMOS_INDEX, reg);
    return inb(PORT_CMOS_DATA);
}

/* After a read of register A without the bit, the time is stable for 244 us. */
static void wait_for_update(void)
{
    uint64_t end = rdtsc() + UPDATE_MS * tsc_khz();
    while (cmos_read(CMOS_A) & CMOS_A_UPDATING && rdtsc() < end)
        ;
}

void wall_clock_start(void)
{
    static const uint8_t used[] = {CMOS_SECOND, CMOS_MINUTE, CMOS_HOUR, CMOS_DAY,    CMOS_MONTH,
                                   CMOS_YEAR,   CMOS_B,      CMOS_D,    CMOS_CENTURY};
    uint8_t registers[CMOS_REGISTERS] = {0};
    struct calendar date;
    if (!pc_has(PC_RTC)) {
        start_tsc = rdtsc();
        log_info("clock: there is no RTC; 2000-01-01 is assumed");
        return;
    }
    wait_for_update();
    start_tsc = rdtsc();
    for (unsigned i = 0; i < ARRAY_SIZE(used); i++)
        registers[used[i]] = cmos_read(used[i]);
    if (cmos_decode(registers, &date))
        start_seconds = calendar_seconds(&date);
    else
        log_info("clock: the RTC holds no valid time; 2000-01-01 is assumed");
}

uint64_t wall_clock_ms(void)
{
    return start_seconds * 1000 + (rdtsc() - start_tsc) / tsc_khz();
}
