/* SPDX-License-Identifier: MIT */
/*
 * MSRs that do not exist raise #GP; MSRs that belong to the guest keep what it writes.
 */
#include "guest/programs/rt/rt.h"

#define MSR_BETWEEN_BITMAPS 0x4b560000u /* in no MSR bitmap: it always exits */
#define MSR_UNUSED          0x00001fffu
#define MSR_EFER            0xc0000080u
#define MSR_STAR            0xc0000081u
#define MSR_KERNEL_GS_BASE  0xc0000102u
#define MSR_VMX_BASIC       0x480u

static uint64_t last_read;

static void read_argument(void *msr)
{
    uint32_t low, high;

    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"((uint32_t)(uintptr_t)msr));
    last_read = (uint64_t)high << 32 | low;
}

static void write_argument(void *msr)
{
    wrmsr((uint32_t)(uintptr_t)msr, 0);
}

static void expect_gp(void (*access)(void *), uint32_t msr)
{
    struct fault fault = try_run(access, (void *)(uintptr_t)msr);

    EXPECT(fault.taken);
    EXPECT_EQ(fault.vector, VECTOR_GP);
    EXPECT_EQ(fault.error, 0);
}

static void unknown(void)
{
    expect_gp(read_argument, MSR_BETWEEN_BITMAPS);
    expect_gp(write_argument, MSR_BETWEEN_BITMAPS);
    expect_gp(read_argument, MSR_UNUSED);
    expect_gp(write_argument, MSR_UNUSED);
}

/* CPUID offers no VMX, so its MSRs are not there either. */
static void no_vmx(void)
{
    EXPECT_EQ(cpuid(1).ecx & BIT(5), 0);
    expect_gp(read_argument, MSR_VMX_BASIC);
}

static void efer(void)
{
    EXPECT(!try_run(read_argument, (void *)(uintptr_t)MSR_EFER).taken);
    EXPECT_EQ(last_read & 0x500, 0x500); /* LMA, LME */
}

static void own(void)
{
    static const uint32_t msrs[] = {MSR_STAR, MSR_KERNEL_GS_BASE};

    for (unsigned i = 0; i < ARRAY_SIZE(msrs); i++) {
        wrmsr(msrs[i], 0x123456789000);
        EXPECT(!try_run(read_argument, (void *)(uintptr_t)msrs[i]).taken);
        EXPECT_EQ(last_read, 0x123456789000);
    }
}

/* ---- The TSC --------------------------------------------------------------------------------- */

#define MSR_TSC          0x10u
#define MSR_TSC_ADJUST   0x3bu
#define MSR_TSC_DEADLINE 0x6e0u
/* ticks: more than a few lines of code take, even if the hypervisor is nested */
#define SOON (1ull << 22)

#define APIC         0xfee00000ull
#define APIC_EOI     (APIC + 0xb0)
#define APIC_SVR     (APIC + 0xf0)
#define APIC_TIMER   (APIC + 0x320)
#define LVT_DEADLINE BIT(18)
#define VECTOR_TIMER 0x41

/* The TSC continues from the value that was written, by whichever instruction it is read. */
static void tsc_written(void)
{
    static const uint64_t values[] = {0, 1ull << 60, ~0ull - SOON, 0x123456789abcull};

    for (unsigned i = 0; i < ARRAY_SIZE(values); i++) {
        wrmsr(MSR_TSC, values[i]);
        uint64_t first = rdtsc() - values[i], second = rdmsr(MSR_TSC) - values[i];
        EXPECT(first < SOON);
        EXPECT(second > first);
        EXPECT(second < SOON);
    }
}

/* A write to the TSC changes IA32_TSC_ADJUST by the same amount, and vice versa. */
static void tsc_adjust(void)
{
    if (!(cpuid(7).ebx & BIT(1))) {
        expect_gp(read_argument, MSR_TSC_ADJUST);
        expect_gp(write_argument, MSR_TSC_ADJUST);
        return;
    }
    uint64_t before = rdtsc(), adjust = rdmsr(MSR_TSC_ADJUST);
    wrmsr(MSR_TSC_ADJUST, adjust + (1ull << 40));
    EXPECT_EQ(rdmsr(MSR_TSC_ADJUST), adjust + (1ull << 40));
    EXPECT(rdtsc() - before - (1ull << 40) < SOON);
    wrmsr(MSR_TSC, before);
    /* back to the old value, minus the time that has passed */
    EXPECT(adjust - rdmsr(MSR_TSC_ADJUST) < SOON);
    EXPECT(rdtsc() - before < SOON);
}

/* A deadline is a value of the guest's TSC, even if that is changed before it is reached. */
static void deadline_follows(void)
{
    look_for(VECTOR_TIMER, 0);
    write32(APIC_SVR, 0x1ff);
    write32(APIC_TIMER, LVT_DEADLINE | VECTOR_TIMER);
    wrmsr(MSR_TSC, 0);
    wrmsr(MSR_TSC_DEADLINE, 1ull << 50);
    EXPECT_EQ(rdmsr(MSR_TSC_DEADLINE), 1ull << 50);
    wrmsr(MSR_TSC, (1ull << 50) - SOON);
    EXPECT_EQ(rdmsr(MSR_TSC_DEADLINE), 1ull << 50);
    EXPECT_EQ(seen.count, 0);
    __asm__ volatile("sti; hlt; cli" : : : "memory");
    uint64_t now = rdtsc();
    EXPECT_EQ(seen.count, 1);
    EXPECT(now - (1ull << 50) < SOON);
    EXPECT_EQ(rdmsr(MSR_TSC_DEADLINE), 0);
    write32(APIC_EOI, 0);

    wrmsr(MSR_TSC_DEADLINE, 5); /* long ago */
    __asm__ volatile("sti; nop; cli" : : : "memory");
    EXPECT_EQ(seen.count, 2);
    write32(APIC_EOI, 0);
    write32(APIC_TIMER, BIT(16));
    set_handler(VECTOR_TIMER, NULL);
    note("arrived", seen.count);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"unknown_msrs", unknown, NEED_EPTVISOR},
        {"no_vmx", no_vmx, NEED_EPTVISOR},
        {"efer", efer, 0},
        {"own_msrs", own, 0},
        {"tsc_written", tsc_written, 0},
        {"tsc_adjust", tsc_adjust, NEED_EPTVISOR},
        {"deadline_follows_tsc", deadline_follows, NEED_EPTVISOR},
    };

    run_tests(tests, ARRAY_SIZE(tests));
}
