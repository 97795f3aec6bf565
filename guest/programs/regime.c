/* SPDX-License-Identifier: MIT */
/*
 * Which bits of CR0, CR4 and EFER change without an exit. Replay entries of accesses to devices
 * (mmio/replay.h) depend on the other bits, which change only by exits in each mode of gva_cache=.
 */
#include "guest/programs/rt/rt.h"

#define EXITS_WRMSR COUNTER_EXIT(32)
#define MSR_EFER    0xc0000080u
#define EFER_SCE    BIT(0)
#define EFER_LME    BIT(8)
#define EFER_LMA    BIT(10)
#define EFER_NXE    BIT(11)
#define CR0_TS      BIT(3)
#define CR0_WP      BIT(16)
#define CR4_TSD     BIT(2)
#define CR4_DE      BIT(3)
#define CR4_PSE     BIT(4)
#define CR4_PGE     BIT(7)
#define CR4_SMEP    BIT(20)
#define CR4_SMAP    BIT(21)
#define CR4_PKE     BIT(22)
#define GVA_EXITS   1

static uint64_t read_cr0(void)
{
    uint64_t value;
    __asm__ volatile("mov %%cr0, %0" : "=r"(value));
    return value;
}

static void write_cr0(uint64_t value)
{
    __asm__ volatile("mov %0, %%cr0" : : "r"(value) : "memory");
}

/* Changes the bit, reads it, and changes it back. */
static uint64_t exits_of_cr0(uint64_t bit)
{
    uint64_t old = read_cr0();
    struct watch exits = watch(EXITS_CR);
    write_cr0(old ^ bit);
    uint64_t now = read_cr0();
    write_cr0(old);
    uint64_t count = watched(exits);
    EXPECT_EQ(now, old ^ bit);
    EXPECT_EQ(read_cr0(), old);
    return count;
}

static uint64_t exits_of_cr4(uint64_t bit)
{
    uint64_t old = read_cr4();
    struct watch exits = watch(EXITS_CR);
    write_cr4(old ^ bit);
    uint64_t now = read_cr4();
    write_cr4(old);
    uint64_t count = watched(exits);
    EXPECT_EQ(now, old ^ bit);
    EXPECT_EQ(read_cr4(), old);
    return count;
}

/* The bit of CPUID leaf 7 that enumerates the bit of CR4; 0: the bit of CR4 always exists. */
static bool offered(uint32_t ebx, uint32_t ecx)
{
    if (!ebx && !ecx)
        return true;
    return cpuid(0).eax >= 7 && (cpuid(7).ebx & ebx || cpuid(7).ecx & ecx);
}

static void control_registers(void)
{
    static const struct {
        uint64_t cr4;
        uint32_t ebx, ecx;
        bool always; /* exits in each mode of gva_cache=; otherwise only with gva_cache=exits */
        bool never;
    } bits[] = {
        {CR4_PSE, 0, 0, true, false},        {CR4_SMEP, BIT(7), 0, true, false},
        {CR4_SMAP, BIT(20), 0, true, false}, {CR4_PKE, 0, BIT(3), true, false},
        {CR4_PGE, 0, 0, false, false},       {CR4_TSD, 0, 0, false, true},
        {CR4_DE, 0, 0, false, true},
    };
    bool flushes_exit = hc_config(CONFIG_GVA_CACHE) == GVA_EXITS;
    unsigned count = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(bits); i++) {
        if (!offered(bits[i].ebx, bits[i].ecx))
            continue;
        bool exits = bits[i].always || (flushes_exit && !bits[i].never);
        EXPECT_EQ(exits_of_cr4(bits[i].cr4), exits ? 2 : 0);
        count++;
    }
    EXPECT_EQ(exits_of_cr0(CR0_WP), flushes_exit ? 2 : 0);
    EXPECT_EQ(exits_of_cr0(CR0_TS), 0);
    note("bits", count);
}

static void write_efer(void *value)
{
    wrmsr(MSR_EFER, (uint64_t)(uintptr_t)value);
}

/* Writes exit and reads do not. An invalid value is #GP, as on a CPU. */
static void efer(void)
{
    uint64_t old = rdmsr(MSR_EFER);
    const uint64_t good[] = {old ^ EFER_NXE, old ^ EFER_SCE, old ^ EFER_LMA, old};
    const uint64_t bad[] = {old ^ EFER_LME, old ^ BIT(1), old ^ BIT(63)};
    for (unsigned i = 0; i < ARRAY_SIZE(good); i++) {
        struct watch exits = watch(EXITS_WRMSR);
        write_efer((void *)(uintptr_t)good[i]);
        EXPECT_EQ(watched(exits), 1);
        EXPECT_EQ(rdmsr(MSR_EFER), (good[i] & ~EFER_LMA) | (old & EFER_LMA));
        EXPECT_EQ(watched(exits), 1);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        struct fault fault = try_run(write_efer, (void *)(uintptr_t)bad[i]);
        EXPECT(fault.taken);
        EXPECT_EQ(fault.vector, VECTOR_GP);
        EXPECT_EQ(rdmsr(MSR_EFER), old);
    }
    note("values", ARRAY_SIZE(good) + ARRAY_SIZE(bad));
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"control_registers", control_registers, NEED_TESTCTL},
        {"efer", efer, NEED_TESTCTL},
    };

    run_tests(tests, ARRAY_SIZE(tests));
}
