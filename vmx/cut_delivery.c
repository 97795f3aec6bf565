/* SPDX-License-Identifier: MIT */
#include "vmx/cut_delivery.h"

#include "arch/x86/reg_bits.h"
#include "arch/x86/unprivileged.h"
#include "vmx/event.h"

#define TRIES 32u
#define NOPS  256u
#define RATIO 32u

#define SHADOW (BLOCKING_BY_STI | BLOCKING_BY_MOV_SS)

/* The smallest of some measurements, because an interrupt of the machine may lengthen one. */
static uint64_t smallest(uint64_t (*measure)(void))
{
    uint64_t least = UINT64_MAX;
    for (unsigned i = 0; i < TRIES; i++) {
        uint64_t ticks = measure();
        least = ticks < least ? ticks : least;
    }
    return least;
}

static uint64_t ticks_of_nothing(void)
{
    uint64_t start = rdtsc();
    return rdtsc() - start;
}

static uint64_t ticks_of_nops(void)
{
    uint64_t start = rdtsc();
    __asm__ volatile(".rept %c0; nop; .endr" : : "i"(NOPS));
    return rdtsc() - start;
}

bool counts_instructions(void)
{
    uint64_t nothing = smallest(ticks_of_nothing);
    return smallest(ticks_of_nops) >= RATIO * (nothing ? nothing : 1);
}

uint32_t cut_delivery(uint32_t info, uint8_t svi, uint64_t rflags, uint32_t interruptibility)
{
    uint32_t interrupt = (uint32_t)EVENT_INFO_VALID | svi; /* EVENT_INTERRUPT is 0 */
    bool accepted = svi && rflags & RFLAGS_IF && !(interruptibility & SHADOW);
    return accepted ? interrupt : info;
}
