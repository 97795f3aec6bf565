#include "arch/x86/tsc.h"

#include "arch/x86/cpu.h"

#define PIT_CHANNEL2 0x42
#define PIT_COMMAND  0x43
#define PIT_GATE     0x61
#define PIT_HZ       1193182u
#define PIT_MODE0    0xb0 /* channel 2, low then high byte, interrupt on terminal count */
#define MEASURE_MS   10u
#define GATE_ON      0x01
#define SPEAKER_ON   0x02
#define OUTPUT       0x20
#define SPIN_LIMIT   10000000u

static uint64_t khz;

void tsc_calibrate(void)
{
    uint16_t count = PIT_HZ * MEASURE_MS / 1000;
    uint8_t gate = inb(PIT_GATE) & (uint8_t)~SPEAKER_ON;

    outb(PIT_GATE, gate & (uint8_t)~GATE_ON);
    outb(PIT_COMMAND, PIT_MODE0);
    outb(PIT_CHANNEL2, (uint8_t)count);
    outb(PIT_CHANNEL2, (uint8_t)(count >> 8));
    outb(PIT_GATE, gate | GATE_ON);
    uint64_t start = rdtsc();
    for (unsigned i = 0; i < SPIN_LIMIT && !(inb(PIT_GATE) & OUTPUT); i++)
        ;
    khz = (rdtsc() - start) / MEASURE_MS;
    outb(PIT_GATE, gate);
    if (!khz)
        khz = 1;
}

uint64_t tsc_khz(void)
{
    return khz;
}

void tsc_wait(uint64_t microseconds)
{
    uint64_t end = rdtsc() + microseconds * khz / 1000;
    while (rdtsc() < end)
        __builtin_ia32_pause();
}
