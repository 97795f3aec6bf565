/*
 * MSRs: those that do not exist raise #GP, those that belong to the guest keep what it writes.
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

void guest_main(void)
{
    static const struct test tests[] = {
        {"unknown_msrs", unknown, NEED_EPTVISOR},
        {"no_vmx", no_vmx, NEED_EPTVISOR},
        {"efer", efer, 0},
        {"own_msrs", own, 0},
    };

    run_tests(tests, ARRAY_SIZE(tests));
}
