/* SPDX-License-Identifier: MIT */
/*
 * Register values that would make VM entry refuse the guest state (SDM 3, 27.3.1). Each one is
 * refused as on a CPU, with #GP(0), and the register keeps its value: by the CPU itself or, if the
 * instruction exits, by the hypervisor. The VM `refused_exits` has gva_cache=exits, with which more
 * of these instructions exit.
 */
#include "guest/programs/mmio/forms.h"

#define MSR_EFER    0xc0000080u
#define MSR_PAT     0x277u
#define EFER_LME    BIT(8)
#define EFER_LMA    BIT(10)
#define CR0_PE      BIT(0)
#define CR0_NW      BIT(29)
#define CR0_CD      BIT(30)
#define CR0_PG      BIT(31)
#define XCR0_X87    BIT(0)
#define CR4_OSXSAVE BIT(18)

extern uint64_t rt_gdt[], rt_pd[4][512];

/* ---- Registers that can be read back --------------------------------------------------------- */

static uint32_t the_msr;

#define CONTROL(name)                                                                \
    static uint64_t get_##name(void)                                                 \
    {                                                                                \
        uint64_t value;                                                              \
        __asm__ volatile("mov %%" #name ", %0" : "=r"(value));                       \
        return value;                                                                \
    }                                                                                \
    static void set_##name(void *value)                                              \
    {                                                                                \
        __asm__ volatile("mov %0, %%" #name : : "r"(*(uint64_t *)value) : "memory"); \
    }
CONTROL(cr0)
CONTROL(cr3)
CONTROL(cr4)
CONTROL(dr6)
CONTROL(dr7)

static uint64_t get_msr(void)
{
    return rdmsr(the_msr);
}

static void set_msr(void *value)
{
    wrmsr(the_msr, *(uint64_t *)value);
}

static uint64_t get_xcr0(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static void set_xcr0(void *value)
{
    uint64_t v = *(uint64_t *)value;
    __asm__ volatile("xsetbv" : : "c"(0), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)));
}

struct reg {
    const char *name;
    uint64_t (*get)(void);
    void (*set)(void *value);
};
static const struct reg cr0 = {"CR0", get_cr0, set_cr0}, cr3 = {"CR3", get_cr3, set_cr3},
                        cr4 = {"CR4", get_cr4, set_cr4}, dr6 = {"DR6", get_dr6, set_dr6},
                        dr7 = {"DR7", get_dr7, set_dr7}, msr = {"an MSR", get_msr, set_msr},
                        xcr0 = {"XCR0", get_xcr0, set_xcr0};

/* Tries a value, and restores the old one. Returns true if the value was refused, in which case
 * nothing has changed. */
static bool refuses(const struct reg *reg, uint64_t value)
{
    uint64_t old = reg->get();
    struct fault fault = try_run(reg->set, &value);
    bool same = reg->get() == old;
    reg->set(&old);
    if (fault.taken &&
        !(EXPECT_EQ(fault.vector, VECTOR_GP) && EXPECT_EQ(fault.error, 0) && EXPECT(same)))
        print("# by %s = 0x%lx\n", reg->name, value);
    return fault.taken;
}

static void must_refuse(const struct reg *reg, uint64_t value)
{
    if (!EXPECT(refuses(reg, value)))
        print("# %s took 0x%lx\n", reg->name, value);
}

/* Tries to change each bit. The VM continues in any case. Returns the bits that were refused. */
static uint64_t each_bit(const struct reg *reg, uint64_t except)
{
    uint64_t refused = 0;
    for (unsigned bit = 0; bit < 64; bit++)
        if (!(except & BIT(bit)) && refuses(reg, reg->get() ^ BIT(bit)))
            refused |= BIT(bit);
    return refused;
}

static void control_registers(void)
{
    uint64_t at = get_cr0(), physical = cpuid(0x80000008).eax & 0xff;

    EXPECT_EQ(each_bit(&cr0, 0) | CR0_NW, BITS(63, 31) | CR0_NW | CR0_PE);
    must_refuse(&cr0, at & ~CR0_PG); /* CR0.PG cannot be cleared in 64-bit mode */
    must_refuse(&cr0, at & ~CR0_PE);
    must_refuse(&cr0, (at | CR0_NW) & ~CR0_CD);
    uint64_t refused = each_bit(&cr4, 0);
    EXPECT_EQ(refused & (CR4_PAE | BIT(12) | BITS(63, 32)), CR4_PAE | BIT(12) | BITS(63, 32));
    must_refuse(&cr4, get_cr4() & ~CR4_PAE);
    for (uint64_t bit = physical; bit < 64; bit++)
        must_refuse(&cr3, get_cr3() | BIT(bit));
}

/* PCIDs can be enabled only while the PCID is 0. */
static void pcid(void)
{
    uint64_t root = get_cr3(), other = root | 8;
    set_cr3(&other);
    must_refuse(&cr4, get_cr4() | CR4_PCIDE);
    set_cr3(&root);
    EXPECT(!refuses(&cr4, get_cr4() | CR4_PCIDE));
}

static void debug_registers(void)
{
    EXPECT_EQ(each_bit(&dr6, 0), BITS(63, 32));
    EXPECT_EQ(each_bit(&dr7, BITS(7, 0) | BIT(13)), BITS(63, 32));
}

static void model_specific(void)
{
    static const uint32_t addresses[] = {0x175,      0x176,      0xc0000100, 0xc0000101,
                                         0xc0000102, 0xc0000082, 0xc0000083};
    the_msr = MSR_EFER; /* LMA is ignored, LME can't change, the others are SCE and NXE */
    uint64_t refused = each_bit(&msr, 0);
    EXPECT_EQ(refused, ~(BIT(0) | EFER_LMA | BIT(11)));
    the_msr = MSR_PAT;
    for (unsigned byte = 0; byte < 8; byte++)
        for (uint64_t type = 0; type < 256; type++) {
            uint64_t value = (get_msr() & ~(0xffull << 8 * byte)) | type << 8 * byte;
            bool is_type = type < 8 && type != 2 && type != 3;
            if (!EXPECT_EQ(refuses(&msr, value), !is_type))
                print("# entry %d of the PAT is %lu\n", byte, type);
        }
    for (unsigned i = 0; i < ARRAY_SIZE(addresses); i++) {
        the_msr = addresses[i];
        must_refuse(&msr, BIT(62));
        must_refuse(&msr, 0x1234ull << 48);
        must_refuse(&msr, 0x7fffull << 48);
    }
    the_msr = 0x1d9; /* IA32_DEBUGCTL, which not every CPU has */
    if (under_eptvisor())
        EXPECT_EQ(each_bit(&msr, 0), ~0ull);
}

/* Any set of the first 20 components: if the CPU refuses it, the guest gets #GP, and the hypervisor
 * continues. */
static void features(void)
{
    uint64_t taken = 0;
    if (!(cpuid(1).ecx & BIT(26))) {
        note("xsave", 0);
        return;
    }
    write_cr4(read_cr4() | CR4_OSXSAVE);
    for (uint64_t set = 0; set < BIT(12); set++) { /* bits 0 to 9; bits 17 to 19 in turn */
        uint64_t value = (set & 0x3ff) | (set >> 10) << 17;
        taken += !refuses(&xcr0, value);
        taken += !refuses(&xcr0, value | BIT(19));
    }
    for (unsigned bit = 20; bit < 64; bit++)
        must_refuse(&xcr0, XCR0_X87 | BIT(bit));
    must_refuse(&xcr0, 0);
    note("sets", taken);
    EXPECT(taken >= 2);
}

/* ---- Tables ---------------------------------------------------------------------------------- */

struct table {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

static void lgdt(void *table)
{
    __asm__ volatile("lgdt %0" : : "m"(*(struct table *)table));
}

static void lidt(void *table)
{
    __asm__ volatile("lidt %0" : : "m"(*(struct table *)table));
}

static void ltr(void *selector)
{
    __asm__ volatile("ltr %w0" : : "r"(*(uint64_t *)selector));
}

static void lldt(void *selector)
{
    __asm__ volatile("lldt %w0" : : "r"(*(uint64_t *)selector));
}

/* Puts a system descriptor of 16 bytes in place of the two 16-bit segments. */
static void set_system(uint64_t type, uint64_t base)
{
    rt_gdt[SEL_CODE16 / 8] = 0x67 | field_put(base, BITS(39, 16)) | (0x80 | type) << 40 |
                             field_put(base >> 24, BITS(63, 56));
    rt_gdt[SEL_CODE16 / 8 + 1] = base >> 32;
}

static void tables(void)
{
    struct table table = {0xff, BIT(47)};
    EXPECT_EQ(try_run(lgdt, &table).vector, VECTOR_GP);
    EXPECT_EQ(try_run(lidt, &table).vector, VECTOR_GP);
    uint64_t old[2] = {rt_gdt[SEL_CODE16 / 8], rt_gdt[SEL_CODE16 / 8 + 1]}, selector = SEL_CODE16;
    const struct {
        uint64_t type, base;
        void (*load)(void *selector);
    } bad[] = {
        {1, 0x10000, ltr},  {3, 0x10000, ltr},  {9, BIT(47), ltr},
        {11, 0x10000, ltr}, {2, BIT(47), lldt}, {9, 0x10000, lldt},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        set_system(bad[i].type, bad[i].base);
        struct fault fault = try_run(bad[i].load, &selector);
        if (!EXPECT_EQ(fault.vector, VECTOR_GP) || !EXPECT_EQ(fault.error, SEL_CODE16))
            print("# a descriptor of type %lu\n", bad[i].type);
    }
    rt_gdt[SEL_CODE16 / 8] = old[0];
    rt_gdt[SEL_CODE16 / 8 + 1] = old[1];
}

/* ---- Outside long mode ----------------------------------------------------------------------- */

extern uint8_t refused_activate[], refused_fault[], refused_wrap[], refused_low[],
    refused_low_end[];
extern uint32_t refused_tr;
extern uint64_t refused_idt[];

static struct form_call call;

static uint64_t tss_descriptor(uint64_t type)
{
    static uint8_t tss[104] __attribute__((aligned(16)));
    uint64_t base = (uint64_t)tss;
    return 0x67 | field_put(base, BITS(39, 16)) | (0x80 | type) << 40 |
           field_put(base >> 24, BITS(63, 56));
}

/* IA-32e mode has no 16-bit TSS. */
static void activation(uint32_t cd)
{
    uint64_t fault = (uint64_t)refused_fault, old[2];
    memcpy(old, &rt_gdt[SEL_CODE16 / 8], sizeof(old));
    rt_gdt[SEL_CODE16 / 8] = tss_descriptor(9);
    rt_gdt[6] = tss_descriptor(1); /* in place of the user's data segment */
    refused_tr = 6 * 8;
    refused_idt[13] = (fault & 0xffff) | SEL_CODE32 << 16 | 0x8eull << 40 | (fault >> 16) << 48;
    call = (struct form_call){
        .offset = (uint32_t)(uint64_t)refused_activate,
        .cs = SEL_CODE32,
        .ds = SEL_DATA,
        .cr0 = 0x33 | cd,
    };
    legacy_call(&call);
    load_idt((uint64_t)rt_idt);
    memcpy(&rt_gdt[SEL_CODE16 / 8], old, sizeof(old));
    rt_gdt[6] = 0x00cff3000000ffff;
    rt_gdt[SEL_TSS / 8] &= ~BIT(41); /* not busy */
    __asm__ volatile("ltr %w0" : : "r"(SEL_TSS));
    EXPECT_EQ(call.rax, 0x101); /* refused first, then successful */
}

static void activation_of_long_mode(void)
{
    activation(0);
    /* the MOV that activates IA-32e mode clears CD as well, so it exits */
    activation((uint32_t)CR0_CD);
}

/* Outside long mode, the L bit of CS has no effect: EIP wraps at 4 GiB. */
static void end_of_32_bit_code(void)
{
    static uint32_t directory[1024] __attribute__((aligned(4096)));
    static uint8_t top[2 * RT_2M] __attribute__((aligned(4 << 20)));
    uint64_t old = rt_gdt[SEL_CODE16 / 8], low;
    for (uint32_t i = 0; i < 1023; i++)
        directory[i] = i << 22 | (uint32_t)(PTE_P | PTE_W | PTE_PS);
    directory[1023] = (uint32_t)(uint64_t)top | (uint32_t)(PTE_P | PTE_W | PTE_PS);
    memcpy(&top[sizeof(top) - 2], (const uint8_t[]){0x0f, 0xa2}, 2); /* CPUID */
    memcpy(&low, (void *)0, sizeof(low));
    memcpy((void *)0, refused_low, (size_t)(refused_low_end - refused_low));
    rt_gdt[SEL_CODE16 / 8] = 0x00ef9b000000ffff; /* D and L */
    call = (struct form_call){
        .offset = (uint32_t)(uint64_t)refused_wrap,
        .cs = SEL_CODE32,
        .ds = SEL_DATA,
        .cr0 = 0x80010033u,
        .cr3 = (uint32_t)(uint64_t)directory,
        .cr4 = (uint32_t)CR4_PSE,
    };
    legacy_call(&call);
    rt_gdt[SEL_CODE16 / 8] = old;
    memcpy((void *)0, &low, sizeof(low));
    EXPECT_EQ(call.rax, 1);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"control_registers", control_registers, 0},
        {"pcid", pcid, NEED_PCID},
        {"debug_registers", debug_registers, 0},
        {"model_specific", model_specific, 0},
        {"features", features, 0},
        {"tables", tables, 0},
        {"activation_of_long_mode", activation_of_long_mode, 0},
        {"end_of_32_bit_code", end_of_32_bit_code, 0},
    };
    run_tests(tests, ARRAY_SIZE(tests));
}
