/* SPDX-License-Identifier: MIT */
/*
 * Access to the vector registers, which always hold the guest's values (decision D9). The compiler
 * uses none of them, so no register changes except the one that is accessed.
 */
#include "vmx/extra_state.h"

#include "arch/x86/cpu.h"
#include "lib/string.h"
#include "vmx/xcr0.h"

/* clang-format off */
#define EACH_REGISTER(MOVE) \
    MOVE(0) MOVE(1) MOVE(2) MOVE(3) MOVE(4) MOVE(5) MOVE(6) MOVE(7) \
    MOVE(8) MOVE(9) MOVE(10) MOVE(11) MOVE(12) MOVE(13) MOVE(14) MOVE(15)
/* clang-format on */

#define GET(instruction, kind, n)                                                       \
    case n:                                                                             \
        __asm__ volatile(instruction " %%" kind #n ", (%0)" : : "r"(bytes) : "memory"); \
        break;
#define SET(instruction, kind, n)                                                    \
    case n:                                                                          \
        __asm__ volatile(instruction " (%0), %%" kind #n : : "r"(bytes) : "memory"); \
        break;
#define GET_XMM(n)   GET("movdqu", "xmm", n)
#define GET_YMM(n)   GET("vmovdqu", "ymm", n)
#define SET_XMM(n)   SET("movdqu", "xmm", n)
#define SET_CLEAR(n) SET("vmovdqu", "xmm", n)
#define SET_YMM(n)   SET("vmovdqu", "ymm", n)

void extra_vector_get(unsigned reg, void *bytes, unsigned size)
{
    if (size == 16)
        switch (reg) {
            EACH_REGISTER(GET_XMM)
        }
    else
        switch (reg) {
            EACH_REGISTER(GET_YMM)
        }
}

void extra_vector_set(unsigned reg, const void *bytes, unsigned size, bool clear_rest)
{
    if (size == 32)
        switch (reg) {
            EACH_REGISTER(SET_YMM)
        }
    else if (clear_rest)
        switch (reg) {
            EACH_REGISTER(SET_CLEAR)
        }
    else
        switch (reg) {
            EACH_REGISTER(SET_XMM)
        }
}

/* clang-format off */
#define EACH_MMX(MOVE) MOVE(0) MOVE(1) MOVE(2) MOVE(3) MOVE(4) MOVE(5) MOVE(6) MOVE(7)
/* clang-format on */
#define GET_MMX(n)                                             \
    case n:                                                    \
        __asm__ volatile("movq %%mm" #n ", %0" : "=m"(value)); \
        break;
#define SET_MMX(n)                                           \
    case n:                                                  \
        __asm__ volatile("movq %0, %%mm" #n : : "m"(value)); \
        break;

uint64_t extra_mmx_get(unsigned reg)
{
    uint64_t value = 0;
    switch (reg) {
        EACH_MMX(GET_MMX)
    }
    return value;
}

void extra_mmx_set(unsigned reg, uint64_t value)
{
    switch (reg) {
        EACH_MMX(SET_MMX)
    }
}

#define FSW_ERROR BIT(7)

bool extra_x87_error(void)
{
    uint16_t status;
    __asm__ volatile("fnstsw %0" : "=m"(status));
    return status & FSW_ERROR;
}

#define CPUIDD_XSAVEC BIT(1)
#define YMM_HIGH      576u /* offset of the high half of YMM0, after the XSAVE header */

bool extra_compaction_works(void)
{
    static uint8_t area[YMM_HIGH + 256] __attribute__((aligned(64)));
    uint8_t pattern[32];
    if ((extra_xcr0() & (XCR0_SSE | XCR0_AVX)) != (XCR0_SSE | XCR0_AVX) ||
        !(cpuid(0xd, 1).eax & CPUIDD_XSAVEC))
        return true;
    memset(pattern, 0x5a, sizeof(pattern));
    extra_vector_set(0, pattern, sizeof(pattern), true);
    memset(area, 0, sizeof(area));
    __asm__ volatile("xsavec64 (%0)"
                     :
                     : "r"(area), "a"(XCR0_X87 | XCR0_SSE | XCR0_AVX), "d"(0)
                     : "memory");
    bool works = !memcmp(area + YMM_HIGH, pattern + 16, 16);
    memset(pattern, 0, sizeof(pattern));
    extra_vector_set(0, pattern, sizeof(pattern), true);
    return works;
}
