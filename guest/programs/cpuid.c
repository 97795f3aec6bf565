/* SPDX-License-Identifier: MIT */
/*
 * CPUID follows each change that the guest makes to its CPU, so no answer is outdated. Leaves that
 * do not exist answer as the SDM says.
 */
#include "guest/programs/rt/smp.h"

#define CR4_OSXSAVE BIT(18)
#define CR4_PKE     BIT(22)
#define CR4_DE      BIT(3)

#define LEAF1_ECX_XSAVE   BIT(26)
#define LEAF1_ECX_OSXSAVE BIT(27)
#define LEAF7_ECX_PKU     BIT(3)
#define LEAF7_ECX_OSPKE   BIT(4)
#define D1_EAX_COMPACTED  (BIT(1) | BIT(3)) /* XSAVEC, XSAVES */

#define XCR0_X87   BIT(0)
#define XSAVE_LEAF 0xdu
#define ROUNDS     20

static struct cpuid cpuid_sub(uint32_t leaf, uint32_t subleaf)
{
    struct cpuid r;
    __asm__ volatile("cpuid"
                     : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
                     : "a"(leaf), "c"(subleaf)
                     : "memory");
    return r;
}

static bool same(const struct cpuid *a, const struct cpuid *b)
{
    return a->eax == b->eax && a->ebx == b->ebx && a->ecx == b->ecx && a->edx == b->edx;
}

/* ---- Answers that follow the guest's state --------------------------------------------------- */

/* A bit of CR4, and the bit of a leaf's ECX that reflects it. Writes that change only other bits
 * must not change the answer. */
static void follows(uint64_t cr4_bit, uint32_t leaf, uint32_t ecx_bit)
{
    uint64_t cr4 = read_cr4() & ~cr4_bit;
    for (unsigned i = 0; i < ROUNDS; i++) {
        bool on = i & 1;
        write_cr4(cr4 | (on ? cr4_bit : 0));
        EXPECT_EQ(!!(cpuid(leaf).ecx & ecx_bit), on);
        write_cr4(cr4 | (on ? cr4_bit : 0) | CR4_DE);
        EXPECT_EQ(!!(cpuid(leaf).ecx & ecx_bit), on);
        EXPECT_EQ(read_cr4(), cr4 | (on ? cr4_bit : 0) | CR4_DE);
    }
    write_cr4(cr4);
}

static void osxsave(void)
{
    if (cpuid(1).ecx & LEAF1_ECX_XSAVE)
        follows(CR4_OSXSAVE, 1, LEAF1_ECX_OSXSAVE);
    else
        note("xsave", 0);
}

static void ospke(void)
{
    if (cpuid(0).eax >= 7 && cpuid(7).ecx & LEAF7_ECX_PKU)
        follows(CR4_PKE, 7, LEAF7_ECX_OSPKE);
    else
        note("pku", 0);
}

/* The size of XSAVE's area for these components, computed from the subleaf of each (SDM 1,
 * 13.4). */
static uint32_t size_of(uint64_t components, bool compacted)
{
    uint32_t size = 576;
    for (unsigned i = 2; i < 63; i++) {
        if (!(components >> i & 1))
            continue;
        struct cpuid part = cpuid_sub(XSAVE_LEAF, i);
        if (compacted && part.ecx & 2)
            size = (size + 63) & ~63u;
        uint32_t end = (compacted ? size : part.ebx) + part.eax;
        size = end > size ? end : size;
    }
    return size;
}

static void write_xcr0(void *value)
{
    uint64_t xcr0 = (uint64_t)value;
    __asm__ volatile("xsetbv" : : "c"(0), "a"((uint32_t)xcr0), "d"((uint32_t)(xcr0 >> 32)));
}

/* Holds for every value that the CPU accepts; a value that it refuses changes nothing. */
static void xsave_sizes(void)
{
    if (!(cpuid(1).ecx & LEAF1_ECX_XSAVE)) {
        note("xsave", 0);
        return;
    }
    unsigned taken = 0;
    uint64_t current = XCR0_X87;
    write_cr4(read_cr4() | CR4_OSXSAVE);
    bool compacted = cpuid_sub(XSAVE_LEAF, 1).eax & D1_EAX_COMPACTED;
    for (uint64_t xcr0 = 0; xcr0 < BIT(10); xcr0++) {
        if (!try_run(write_xcr0, (void *)xcr0).taken) {
            current = xcr0;
            taken++;
        }
        EXPECT_EQ(cpuid_sub(XSAVE_LEAF, 0).ebx, size_of(current, false));
        if (compacted)
            EXPECT_EQ(cpuid_sub(XSAVE_LEAF, 1).ebx, size_of(current, true));
    }
    write_xcr0((void *)XCR0_X87);
    write_cr4(read_cr4() & ~CR4_OSXSAVE);
    EXPECT(taken >= 2);
    note("taken", taken);
}

/* An INIT clears CR4. */
static volatile uint32_t shown_before, shown_after;

static void switch_on(void)
{
    write_cr4(read_cr4() | CR4_OSXSAVE);
    shown_before = cpuid(1).ecx;
}

static void look_again(void)
{
    shown_after = cpuid(1).ecx;
}

static void after_init(void)
{
    if (cpu_total() == 1 || !(cpuid(1).ecx & LEAF1_ECX_XSAVE)) {
        note("cpus", cpu_total());
        return;
    }
    EXPECT(start_cpus(1, 1));
    run_on(1, switch_on);
    EXPECT(finished(1));
    send_ipi(1, ICR_INIT);
    forget_cpus();
    EXPECT(start_cpus(1, 1));
    run_on(1, look_again);
    EXPECT(finished(1));
    EXPECT_EQ(shown_before & LEAF1_ECX_OSXSAVE, LEAF1_ECX_OSXSAVE);
    EXPECT_EQ(shown_after & LEAF1_ECX_OSXSAVE, 0);
    note("cpus", cpus_running);
}

/* ---- Constant answers ------------------------------------------------------------------------ */

/* The upper halves of RAX and RCX are ignored, and those of the answer's registers are cleared. */
static void upper_halves(void)
{
    static const uint32_t leaves[] = {0, 1, 2, 4, 7, 0xb, 0xd, 0x40000000, 0x80000001, 0x7fffffff};
    for (unsigned i = 0; i < ARRAY_SIZE(leaves); i++) {
        uint64_t rax = leaves[i] | 0xdeadbeef00000000, rcx = 0xdeadbeef00000000;
        uint64_t rbx = ~0ull, rdx = ~0ull;
        __asm__ volatile("cpuid" : "+a"(rax), "+b"(rbx), "+c"(rcx), "+d"(rdx) : : "memory");
        struct cpuid right = cpuid(leaves[i]);
        EXPECT_EQ(rax, right.eax);
        EXPECT_EQ(rbx, right.ebx);
        EXPECT_EQ(rcx, right.ecx);
        EXPECT_EQ(rdx, right.edx);
    }
}

/* SDM 2A, CPUID: above the highest leaf of either range, the answer is that of the highest basic
 * leaf, for the same ECX. */
static void beyond_the_highest(void)
{
    uint32_t highest = cpuid(0).eax, extended = cpuid(0x80000000).eax;
    const uint32_t leaves[] = {highest + 1,  highest + 0x100, 0x3fffffff, 0x7fffffff,
                               extended + 1, 0x90000000,      0xffffffff};
    for (unsigned i = 0; i < ARRAY_SIZE(leaves); i++) {
        for (uint32_t subleaf = 0; subleaf < 4; subleaf++) {
            struct cpuid right = cpuid_sub(highest, subleaf), got = cpuid_sub(leaves[i], subleaf);
            EXPECT(same(&got, &right));
        }
    }
    note("highest", highest);
}

/* SDM 2A, CPUID: of leaves 4, 7 and 0xd, subleaves that are not there are zeros. */
static void behind_the_last_subleaf(void)
{
    static const struct cpuid zero;
    static const uint32_t places[][2] = {{4, 31},  {4, ~0u},  {7, 31},
                                         {7, ~0u}, {0xd, 63}, {0xd, ~0u}};
    for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
        struct cpuid got = cpuid_sub(places[i][0], places[i][1]);
        EXPECT(places[i][0] > cpuid(0).eax || same(&got, &zero));
    }
}

static void hypervisor_range(void)
{
    static const struct cpuid zero;
    uint32_t highest = cpuid(0x40000000).eax;
    EXPECT(highest >= 0x40000000 && highest < 0x40000100);
    for (uint32_t leaf = highest + 1; leaf < highest + 0x210; leaf++) {
        struct cpuid got = cpuid(leaf);
        EXPECT(leaf == 0x40000100 || same(&got, &zero));
    }
    struct cpuid kvm = cpuid(0x40000100);
    EXPECT_EQ(kvm.eax, 0x40000101);
    EXPECT_EQ(kvm.ebx, 0x4b4d564b); /* "KVMKVMKVM" */
    EXPECT_EQ(kvm.ecx, 0x564b4d56);
    EXPECT_EQ(kvm.edx, 0x4d);
}

/* The answers do not change, in whatever order the leaves are queried. */
static void asked_again(void)
{
    static const uint32_t ranges[] = {0, 0x40000000, 0x40000100, 0x80000000};
    static struct cpuid before[ARRAY_SIZE(ranges) * 0x22][4];
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned n = 0; n < ARRAY_SIZE(before) * 4; n++) {
            unsigned at = round ? ARRAY_SIZE(before) * 4 - 1 - n : n, i = at / 4, subleaf = at % 4;
            struct cpuid got = cpuid_sub(ranges[i / 0x22] + i % 0x22, subleaf);
            if (round)
                EXPECT(same(&got, &before[i][subleaf]));
            before[i][subleaf] = got;
        }
    }
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"osxsave", osxsave, 0},
        {"ospke", ospke, 0},
        {"xsave_sizes", xsave_sizes, NEED_EPTVISOR}, /* the emulator's own sizes are wrong */
        {"after_init", after_init, NEED_EPTVISOR},
        {"upper_halves", upper_halves, NEED_EPTVISOR},
        {"beyond_the_highest", beyond_the_highest, NEED_EPTVISOR},
        {"behind_the_last_subleaf", behind_the_last_subleaf, NEED_EPTVISOR},
        {"hypervisor_range", hypervisor_range, NEED_EPTVISOR},
        {"asked_again", asked_again, 0},
    };

    run_tests(tests, ARRAY_SIZE(tests));
}
