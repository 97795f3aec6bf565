/* SPDX-License-Identifier: MIT */
/*
 * The contents of registers that neither the VMCS nor an exit saves (decision D9), and the effect
 * of exits on them. The program runs in two VMs, the second of which must not find the values of
 * the first: both check that the registers are as after a reset, fill all of them, check that exits
 * preserve them, and end.
 */
#include "guest/programs/rt/rt.h"

#define CR0_MP     BIT(1)
#define CR0_EM     BIT(2)
#define CR0_TS     BIT(3)
#define CR4_FXSR   BIT(9)
#define CR4_XSAVE  BIT(18)
#define CR4_PKE    BIT(22)
#define XCR0_AVX   BIT(2)
#define DR6_RESET  0xffff0ff0u
#define FCW_RESET  0x37f
#define MXCSR_INIT 0x1f80
#define PATTERN    0x5ec7e70000000000ull

/* MSRs that are switched. All accept any canonical address; FMASK and TSC_AUX have 32 bits. */
static const uint32_t msrs[] = {0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084, 0xc0000102};
#define MSR_TSC_AUX 0xc0000103

static uint8_t area[512] __attribute__((aligned(64)));
static uint8_t vectors[16][32] __attribute__((aligned(32)));

static bool has_avx(void)
{
    uint32_t needed = BIT(26) | BIT(28);
    return (cpuid(1).ecx & needed) == needed;
}

static bool has_rdtscp(void)
{
    return cpuid(0x80000001).edx & BIT(27);
}

static bool has_pku(void)
{
    return cpuid(0).eax >= 7 && cpuid(7).ecx & BIT(3);
}

static uint64_t xgetbv(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static void xsetbv(uint64_t value)
{
    __asm__ volatile("xsetbv" : : "c"(0), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)));
}

static uint32_t rdpkru(void)
{
    uint32_t value, zero;
    __asm__ volatile("rdpkru" : "=a"(value), "=d"(zero) : "c"(0));
    return value;
}

static void enable(void)
{
    uint64_t cr0;
    __asm__ volatile("mov %%cr0, %0" : "=r"(cr0));
    __asm__ volatile("mov %0, %%cr0" : : "r"((cr0 | CR0_MP) & ~(CR0_EM | CR0_TS)));
    write_cr4(read_cr4() | CR4_FXSR | (has_avx() ? CR4_XSAVE : 0) | (has_pku() ? CR4_PKE : 0));
}

/* Returns the number of bytes in XMM0 to XMM15, as FXSAVE stores them, that are not `value`. */
static unsigned xmm_differ(uint8_t value)
{
    unsigned differ = 0;
    __asm__ volatile("fxsave64 (%0)" : : "r"(area) : "memory");
    for (unsigned i = 160; i < 160 + 256; i++)
        differ += area[i] != value;
    return differ;
}

#define EACH_YMM(X) \
    X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)

static unsigned ymm_differ(uint8_t value)
{
    unsigned differ = 0;
#define STORE(n) __asm__ volatile("vmovdqu %%ymm" #n ", (%0)" : : "r"(vectors[n]) : "memory");
    EACH_YMM(STORE)
    for (unsigned i = 0; i < 16; i++)
        for (unsigned byte = 0; byte < 32; byte++)
            differ += vectors[i][byte] != value;
    return differ;
}

static void as_after_reset(void)
{
    uint64_t cr2, dr[4], dr6;
    uint16_t fcw;
    uint32_t mxcsr;

    enable();
    EXPECT_EQ(xmm_differ(0), 0);
    memcpy(&fcw, area, sizeof(fcw));
    memcpy(&mxcsr, area + 24, sizeof(mxcsr));
    EXPECT_EQ(fcw, FCW_RESET);
    EXPECT_EQ(mxcsr, MXCSR_INIT);
    __asm__ volatile("mov %%cr2, %0" : "=r"(cr2));
    __asm__ volatile("mov %%dr0, %0\nmov %%dr1, %1\nmov %%dr2, %2\nmov %%dr3, %3"
                     : "=r"(dr[0]), "=r"(dr[1]), "=r"(dr[2]), "=r"(dr[3]));
    __asm__ volatile("mov %%dr6, %0" : "=r"(dr6));
    EXPECT_EQ(cr2 | dr[0] | dr[1] | dr[2] | dr[3], 0);
    EXPECT_EQ(dr6, DR6_RESET);
    for (unsigned i = 0; i < ARRAY_SIZE(msrs); i++)
        EXPECT_EQ(rdmsr(msrs[i]), 0);
    if (has_rdtscp())
        EXPECT_EQ(rdmsr(MSR_TSC_AUX), 0);
    if (has_avx()) {
        EXPECT_EQ(xgetbv(), 1);
        xsetbv(7);
        EXPECT_EQ(ymm_differ(0), 0);
    }
    if (has_pku())
        EXPECT_EQ(rdpkru(), 0);
    note("avx", has_avx());
    note("pku", has_pku());
}

static void fill(void)
{
    memset(vectors, 0xa5, sizeof(vectors));
    if (has_avx()) {
#define LOAD(n) __asm__ volatile("vmovdqu (%0), %%ymm" #n : : "r"(vectors[n]));
        EACH_YMM(LOAD)
    } else {
#define LOAD_XMM(n) __asm__ volatile("movdqu (%0), %%xmm" #n : : "r"(vectors[n]));
        EACH_YMM(LOAD_XMM)
    }
    __asm__ volatile("mov %0, %%cr2" : : "r"(PATTERN));
    __asm__ volatile("mov %0, %%dr0\nmov %0, %%dr1\nmov %0, %%dr2\nmov %0, %%dr3"
                     :
                     : "r"(0x1230ull));
    for (unsigned i = 0; i < ARRAY_SIZE(msrs); i++)
        wrmsr(msrs[i], msrs[i] == 0xc0000084 ? 0x700 : 0x123456789000 + i);
    if (has_rdtscp())
        wrmsr(MSR_TSC_AUX, 77);
    if (has_pku())
        __asm__ volatile("wrpkru" : : "a"(0x50u), "c"(0), "d"(0));
}

/* Exits of several kinds, including an access to a device, change nothing. */
static void kept_over_exits(void)
{
    uint64_t cr2, dr3;

    fill();
    for (unsigned i = 0; i < 100; i++) {
        (void)cpuid(i);
        (void)inb(PORT_UART + 5);
        (void)read32(TESTDEV_A_BASE);
    }
    __asm__ volatile("mov %%cr2, %0" : "=r"(cr2));
    __asm__ volatile("mov %%dr3, %0" : "=r"(dr3));
    EXPECT_EQ(xmm_differ(0xa5), 0);
    if (has_avx())
        EXPECT_EQ(ymm_differ(0xa5), 0);
    EXPECT_EQ(cr2, PATTERN);
    EXPECT_EQ(dr3, 0x1230);
    for (unsigned i = 0; i < ARRAY_SIZE(msrs); i++)
        EXPECT_EQ(rdmsr(msrs[i]), msrs[i] == 0xc0000084 ? 0x700 : 0x123456789000 + i);
    if (has_rdtscp())
        EXPECT_EQ(rdmsr(MSR_TSC_AUX), 77);
    if (has_pku())
        EXPECT_EQ(rdpkru(), 0x50);
}

static void refused_xcr0_run(void *argument)
{
    xsetbv((uint64_t)argument);
}

/* The hypervisor must refuse each value of XSETBV that the CPU would refuse. */
static void xcr0_is_checked(void)
{
    static const uint64_t bad[] = {0, 2, 5, BIT(62), 1 | BIT(3), 1 | BIT(5)};

    if (!has_avx()) {
        note("avx", 0);
        return;
    }
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
        EXPECT_EQ(try_run(refused_xcr0_run, (void *)bad[i]).vector, VECTOR_GP);
    EXPECT_EQ(xgetbv(), 7);
    note("refused", ARRAY_SIZE(bad));
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"as_after_reset", as_after_reset, NEED_EPTVISOR},
        {"kept_over_exits", kept_over_exits, NEED_EPTVISOR},
        {"xcr0_is_checked", xcr0_is_checked, NEED_EPTVISOR},
    };

    run_tests(tests, ARRAY_SIZE(tests));
}
