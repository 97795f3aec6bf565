/* SPDX-License-Identifier: MIT */
/*
 * Each bit of CR4 and of XCR0, and each MSR of a feature, exists if and only if CPUID reports the
 * feature (SDM 1, chapter 13; SDM 3, 2.5 and 2.6; SDM 4). With the argument `dump`, all leaves are
 * printed.
 */
#include "guest/programs/rt/apic.h"

static struct cpuid leaf(uint32_t number, uint32_t subleaf)
{
    struct cpuid r;
    __asm__ volatile("cpuid"
                     : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
                     : "a"(number), "c"(subleaf)
                     : "memory");
    return r;
}

enum word { EAX, EBX, ECX, EDX };

/* The leaf, subleaf, register and bit of a feature. */
struct feature {
    uint32_t leaf, subleaf;
    enum word word;
    unsigned bit;
};

static bool has(const struct feature *f)
{
    if (f->leaf > leaf(f->leaf & BIT(31), 0).eax || (f->leaf == 7 && f->subleaf > leaf(7, 0).eax))
        return false;
    struct cpuid r = leaf(f->leaf, f->subleaf);
    const uint32_t words[] = {r.eax, r.ebx, r.ecx, r.edx};
    return words[f->word] & BIT(f->bit);
}

/* ---- CR4 ------------------------------------------------------------------------------------- */

static const struct {
    unsigned bit;
    struct feature feature;
} cr4_bits[] = {
    {0, {1, 0, EDX, 1}},   /* VME */
    {1, {1, 0, EDX, 1}},   /* PVI */
    {2, {1, 0, EDX, 4}},   /* TSD */
    {3, {1, 0, EDX, 2}},   /* DE */
    {4, {1, 0, EDX, 3}},   /* PSE */
    {5, {1, 0, EDX, 6}},   /* PAE: not cleared here */
    {6, {1, 0, EDX, 7}},   /* MCE */
    {7, {1, 0, EDX, 13}},  /* PGE */
    {9, {1, 0, EDX, 24}},  /* OSFXSR */
    {10, {1, 0, EDX, 25}}, /* OSXMMEXCPT */
    {11, {7, 0, ECX, 2}},  /* UMIP */
    {12, {7, 0, ECX, 16}}, /* LA57 */
    {13, {1, 0, ECX, 5}},  /* VMXE */
    {14, {1, 0, ECX, 6}},  /* SMXE */
    {16, {7, 0, EBX, 0}},  /* FSGSBASE */
    {17, {1, 0, ECX, 17}}, /* PCIDE */
    {18, {1, 0, ECX, 26}}, /* OSXSAVE */
    {19, {7, 0, ECX, 23}}, /* KL */
    {20, {7, 0, EBX, 7}},  /* SMEP */
    {21, {7, 0, EBX, 20}}, /* SMAP */
    {22, {7, 0, ECX, 3}},  /* PKE */
    {23, {7, 0, ECX, 7}},  /* CET */
    {24, {7, 0, ECX, 31}}, /* PKS */
    {25, {7, 0, EDX, 5}},  /* UINTR */
    {27, {7, 1, EAX, 6}},  /* LASS */
    {28, {7, 1, EAX, 26}}, /* LAM */
    {32, {7, 1, EAX, 17}}, /* FRED */
    {15, {3, 0, EAX, 31}}, /* this and the following bits are reserved: no CPUID bit */
    {26, {3, 0, EAX, 31}}, {29, {3, 0, EAX, 31}}, {30, {3, 0, EAX, 31}},
    {31, {3, 0, EAX, 31}}, {33, {3, 0, EAX, 31}}, {63, {3, 0, EAX, 31}},
};

static void flip_cr4(void *bit)
{
    uint64_t before = read_cr4();
    write_cr4(before ^ (uint64_t)bit);
    write_cr4(before);
}

static void cr4(void)
{
    unsigned settable = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(cr4_bits); i++) {
        if (cr4_bits[i].bit == 5) /* 64-bit mode needs it */
            continue;
        bool faults = try_run(flip_cr4, (void *)BIT(cr4_bits[i].bit)).taken;
        if (faults == has(&cr4_bits[i].feature)) {
            print("# CR4 bit %u: %s\n", cr4_bits[i].bit, faults ? "#GP" : "can be set");
            EXPECT(faults != has(&cr4_bits[i].feature));
        }
        settable += !faults;
    }
    note("settable", settable);
}

/* ---- MSRs ------------------------------------------------------------------------------------ */

static const struct {
    uint32_t msr;
    struct feature feature;
} msrs[] = {
    {0x3b, {7, 0, EBX, 1}},   /* IA32_TSC_ADJUST */
    {0x48, {7, 0, EDX, 26}},  /* IA32_SPEC_CTRL */
    {0x8c, {7, 0, ECX, 30}},  /* IA32_SGXLEPUBKEYHASH0 */
    {0xe1, {7, 0, ECX, 5}},   /* IA32_UMWAIT_CONTROL */
    {0xfe, {1, 0, EDX, 12}},  /* IA32_MTRRCAP */
    {0x10a, {7, 0, EDX, 29}}, /* IA32_ARCH_CAPABILITIES */
    /* IA32_TSX_CTRL, enumerated by IA32_ARCH_CAPABILITIES */
    {0x122, {7, 0, EDX, 29}},
    {0x123, {7, 0, EDX, 9}},                /* IA32_MCU_OPT_CTRL */
    {0x174, {1, 0, EDX, 11}},               /* IA32_SYSENTER_CS */
    {0x179, {1, 0, EDX, 14}},               /* IA32_MCG_CAP */
    {0x1c4, {0xd, 1, EAX, 4}},              /* IA32_XFD */
    {0x277, {1, 0, EDX, 16}},               /* IA32_PAT */
    {0x345, {1, 0, ECX, 15}},               /* IA32_PERF_CAPABILITIES */
    {0x480, {1, 0, ECX, 5}},                /* IA32_VMX_BASIC */
    {0x560, {7, 0, EBX, 25}},               /* IA32_RTIT_OUTPUT_BASE */
    {0x600, {1, 0, EDX, 21}},               /* IA32_DS_AREA */
    {0x6a0, {7, 0, ECX, 7}},                /* IA32_U_CET */
    {0x6e0, {1, 0, ECX, 24}},               /* IA32_TSC_DEADLINE */
    {0x6e1, {7, 0, ECX, 31}},               /* IA32_PKRS */
    {0x981, {7, 0, ECX, 13}},               /* IA32_TME_CAPABILITY */
    {0xc80, {1, 0, ECX, 11}},               /* IA32_DEBUG_INTERFACE */
    {0xc8d, {7, 0, EBX, 12}},               /* IA32_QM_EVTSEL */
    {0xc90, {7, 0, EBX, 15}},               /* IA32_L3_MASK_0 */
    {0xd90, {7, 0, EBX, 14}},               /* IA32_BNDCFGS */
    {0xd93, {7, 0, ECX, 29}},               /* IA32_PASID */
    {0xda0, {0xd, 1, EAX, 3}},              /* IA32_XSS */
    {0xc0000080, {0x80000001, 0, EDX, 20}}, /* IA32_EFER */
    {0xc0000081, {0x80000001, 0, EDX, 11}}, /* IA32_STAR */
    {0xc0000103, {0x80000001, 0, EDX, 27}}, /* IA32_TSC_AUX */
    {0xc0000102, {0x80000001, 0, EDX, 29}}, /* IA32_KERNEL_GS_BASE */
};

static void do_rdmsr(void *msr)
{
    (void)rdmsr((uint32_t)(uint64_t)msr);
}

static void rewrite_msr(void *msr)
{
    wrmsr((uint32_t)(uint64_t)msr, rdmsr((uint32_t)(uint64_t)msr));
}

static void msrs_exist(void)
{
    unsigned there = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(msrs); i++) {
        bool read = !try_run(do_rdmsr, (void *)(uint64_t)msrs[i].msr).taken;
        bool written = read && !try_run(rewrite_msr, (void *)(uint64_t)msrs[i].msr).taken;
        if (read != has(&msrs[i].feature) || (read && !written)) {
            print("# MSR %x: %s\n", msrs[i].msr, !read ? "#GP" : written ? "exists" : "read-only");
            EXPECT(read == has(&msrs[i].feature) && read == written);
        }
        there += read;
    }
    note("there", there);
}

/* ---- XCR0 ------------------------------------------------------------------------------------ */

static void do_xsetbv(void *value)
{
    uint64_t v = (uint64_t)value;
    __asm__ volatile("xsetbv" : : "c"(0), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)));
}

/* SDM 1, 13.3. */
static bool xcr0_is_valid(uint64_t value, uint64_t supported)
{
    uint64_t mpx = value & BITS(4, 3), avx512 = value & BITS(7, 5), amx = value & BITS(18, 17);
    return value & 1 && !(value & ~supported) && (!(value & 4) || value & 2) &&
           (!mpx || mpx == BITS(4, 3)) && (!amx || amx == BITS(18, 17)) &&
           (!avx512 || (avx512 == BITS(7, 5) && value & 4));
}

static uint64_t supported_xcr0(void)
{
    struct cpuid d = leaf(0xd, 0);
    return (uint64_t)d.edx << 32 | d.eax;
}

static bool enable_xsave(void)
{
    if (!(cpuid(1).ecx & BIT(26)))
        return false;
    write_cr4(read_cr4() | BIT(18));
    EXPECT(cpuid(1).ecx & BIT(27)); /* OSXSAVE */
    return true;
}

static void xcr0(void)
{
    uint64_t supported = supported_xcr0();
    if (!enable_xsave())
        return;
    for (uint64_t value = 0; value < 0x400; value++)
        EXPECT_EQ(!try_run(do_xsetbv, (void *)value).taken, xcr0_is_valid(value, supported));
    for (unsigned bit = 10; bit < 64; bit++)
        EXPECT_EQ(!try_run(do_xsetbv, (void *)(3 | BIT(bit))).taken,
                  xcr0_is_valid(3 | BIT(bit), supported));
    do_xsetbv((void *)1ull);
    note("supported", supported);
}

/* Each component has a size, and the size of each area follows from its components. */
static void xsave_area(void)
{
    uint64_t supported = supported_xcr0();
    if (!enable_xsave())
        return;
    uint32_t end = 576;
    for (unsigned i = 2; i < 63; i++) {
        struct cpuid c = leaf(0xd, i);
        EXPECT_EQ(c.eax != 0, (supported & BIT(i)) != 0);
        if (!(supported & BIT(i)))
            continue;
        if (c.ebx + c.eax > end)
            end = c.ebx + c.eax;
        uint64_t with = 3 | BIT(i) | (BIT(i) & BITS(7, 5) ? BITS(7, 5) | 4 : 0);
        do_xsetbv((void *)with);
        EXPECT(leaf(0xd, 0).ebx >= c.ebx + c.eax);
    }
    EXPECT_EQ(leaf(0xd, 0).ecx, end);
    do_xsetbv((void *)supported);
    EXPECT_EQ(leaf(0xd, 0).ebx, end);
    do_xsetbv((void *)1ull);
    EXPECT_EQ(leaf(0xd, 0).ebx, 576);
    note("area", end);
}

/* XSAVEC stores what XSAVE stores. */
static void compaction(void)
{
    static uint8_t area[4096] __attribute__((aligned(64)));
    static const uint8_t pattern[32] = {1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12,
                                        13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24};
    if (!(supported_xcr0() & 4) || !(leaf(0xd, 1).eax & BIT(1)) || !enable_xsave())
        return;
    write_cr4(read_cr4() | BIT(9));
    do_xsetbv((void *)7ull);
    __asm__ volatile("vmovdqu (%0), %%ymm3; xsavec64 (%1)"
                     :
                     : "r"(pattern), "r"(area), "a"(7), "d"(0)
                     : "memory");
    for (unsigned i = 0; i < 16; i++)
        EXPECT_EQ(area[576 + 3 * 16 + i], pattern[16 + i]);
    do_xsetbv((void *)1ull);
    note("compacts", 1);
}

static uint32_t rotate_left(uint32_t value, unsigned by)
{
    return value << by | value >> (32 - by);
}

/* SHA1RNDS4 does four of the first twenty rounds of SHA-1 (FIPS 180-4, 6.1.2). */
static void sha(void)
{
    static const struct feature SHA = {7, 0, EBX, 29};
    uint32_t state[4] = {0x10325476, 0x98badcfe, 0xefcdab89, 0x67452301};
    static const uint32_t words[4] = {0xc3d2e1f0, 0x00000001, 0x80000000, 0xdeadbeef};
    if (!has(&SHA))
        return;
    uint32_t d = state[0], c = state[1], b = state[2], a = state[3], e = 0;
    for (unsigned i = 0; i < 4; i++) {
        uint32_t next = rotate_left(a, 5) + ((b & c) | (~b & d)) + e + 0x5a827999 + words[3 - i];
        e = d, d = c, c = rotate_left(b, 30), b = a, a = next;
    }
    write_cr4(read_cr4() | BIT(9));
    __asm__ volatile("movdqu %0, %%xmm0; movdqu %1, %%xmm1; sha1rnds4 $0, %%xmm1, %%xmm0;"
                     "movdqu %%xmm0, %0"
                     : "+m"(state)
                     : "m"(words));
    EXPECT_EQ(state[3], a);
    EXPECT_EQ(state[2], b);
    EXPECT_EQ(state[1], c);
    EXPECT_EQ(state[0], d);
    note("sha", 1);
}

/* ADCX and ADOX add CF and OF, and set them to the carry. */
static void adx(void)
{
    static const struct feature ADX = {7, 0, EBX, 19};
    static const uint64_t terms[] = {0, 1, BIT(63), ~0ull, ~0ull >> 1};
    if (!has(&ADX))
        return;
    for (unsigned i = 0; i < ARRAY_SIZE(terms); i++)
        for (unsigned j = 0; j < ARRAY_SIZE(terms); j++) {
            uint64_t by_cf = terms[i], by_of = terms[i], sum = terms[i] + terms[j];
            uint8_t cf, of;
            __asm__ volatile("test %0, %0; adcx %4, %0; adox %4, %1; setc %2; seto %3"
                             : "+r"(by_cf), "+r"(by_of), "=&q"(cf), "=&q"(of)
                             : "r"(terms[j])
                             : "cc");
            EXPECT_EQ(by_cf, sum);
            EXPECT_EQ(by_of, sum);
            EXPECT_EQ(cf, sum < terms[i]);
            EXPECT_EQ(of, sum < terms[i]);
        }
    note("adx", 1);
}

/* GF2P8AFFINEQB multiplies a matrix, whose rows are bytes, with each byte: this matrix reverses the
 * order of the bits. */
static void gfni(void)
{
    static const struct feature GFNI = {7, 0, ECX, 8};
    static const uint64_t reverses[2] = {0x8040201008040201, 0x8040201008040201};
    uint64_t bytes[2] = {0x0123456789abcdef, 0x00ff807f01fe55aa};
    if (!has(&GFNI))
        return;
    write_cr4(read_cr4() | BIT(9));
    __asm__ volatile("movdqu %0, %%xmm0; movdqu %1, %%xmm1; gf2p8affineqb $0, %%xmm1, %%xmm0;"
                     "movdqu %%xmm0, %0"
                     : "+m"(bytes)
                     : "m"(reverses));
    EXPECT_EQ(bytes[0], 0x80c4a2e691d5b3f7);
    EXPECT_EQ(bytes[1], 0x00ff01fe807faa55);
    note("gfni", 1);
}

/* ---- Other features -------------------------------------------------------------------------- */

static void beyond_the_highest(void)
{
    static const uint32_t offsets[] = {1, 2, 0x100, 0x10000};
    uint32_t max = leaf(0, 0).eax, extended = leaf(0x80000000, 0).eax;
    for (unsigned i = 0; i < ARRAY_SIZE(offsets); i++)
        for (uint32_t subleaf = 0; subleaf < 3; subleaf++) {
            struct cpuid want = leaf(max, subleaf), got = leaf(max + offsets[i], subleaf);
            struct cpuid above = leaf(extended + offsets[i], subleaf);
            EXPECT_EQ(got.eax, want.eax);
            EXPECT_EQ(got.ebx, want.ebx);
            EXPECT_EQ(got.ecx, want.ecx);
            EXPECT_EQ(got.edx, want.edx);
            EXPECT_EQ(above.edx, want.edx);
        }
    EXPECT_EQ(leaf(0x40000002, 0).edx | leaf(0x40000002, 0).eax, 0);
}

/* The bit for focus-processor checking in SVR can be written in both modes of the APIC. */
static void spurious_vector(void)
{
    apic_write(APIC_REG_SVR, 0x3ff);
    EXPECT_EQ(apic_read(APIC_REG_SVR), 0x3ff);
    apic_enter_x2apic();
    wrmsr(MSR_X2APIC + 0xf, 0x3ff);
    EXPECT_EQ(rdmsr(MSR_X2APIC + 0xf), 0x3ff);
    wrmsr(MSR_X2APIC + 0xf, 0x1ff);
}

static void dump_leaf(uint32_t number, uint32_t subleaf)
{
    struct cpuid r = leaf(number, subleaf);
    print("# %08x.%x: %08x %08x %08x %08x\n", number, subleaf, r.eax, r.ebx, r.ecx, r.edx);
}

static void dump(void)
{
    for (uint32_t i = 0; i <= leaf(0, 0).eax; i++)
        for (uint32_t subleaf = 0; subleaf < (i == 4 || i == 7 || i == 0xd ? 10 : 1); subleaf++)
            dump_leaf(i, subleaf);
    for (uint32_t i = 0x80000000; i <= leaf(0x80000000, 0).eax; i++)
        dump_leaf(i, 0);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"cr4", cr4, NEED_EPTVISOR},
        {"msrs_exist", msrs_exist, NEED_EPTVISOR},
        {"xcr0", xcr0, NEED_EPTVISOR},
        {"xsave_area", xsave_area, NEED_EPTVISOR},
        {"compaction", compaction, NEED_EPTVISOR},
        {"sha", sha, NEED_EPTVISOR},
        {"adx", adx, NEED_EPTVISOR},
        {"gfni", gfni, NEED_EPTVISOR},
        {"beyond_the_highest", beyond_the_highest, NEED_EPTVISOR},
        {"spurious_vector", spurious_vector, NEED_EPTVISOR},
    };
    if (*rt_args == 'd')
        dump();
    run_tests(tests, ARRAY_SIZE(tests));
}
