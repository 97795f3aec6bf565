/* SPDX-License-Identifier: MIT */
/*
 * The CPU of a TD as its guest sees it: what is direct, what is #VE with which information, what is
 * #GP, and what the host answers when it is asked instead.
 */
#include "guest/programs/rt/td.h"

#define VECTOR_VE 20

#define TDCALL_VEINFO_GET  3
#define TDCALL_CPUIDVE_SET 5
#define TDCALL_VM_RD       7
#define TDCALL_VM_WR       8
#define TD_CTLS            0x1110000300000017ull
#define NUM_VCPUS          0x9010000200000001ull

/* VMX exit reasons, and leaves of TDVMCALL. */
#define REASON_CPUID 10u
#define REASON_HLT   12u
#define REASON_CR    28u
#define REASON_IO    30u
#define REASON_RDMSR 31u
#define REASON_WRMSR 32u

#define INVALID_OPERAND 0x8000000000000000ull

#define CR0_CD_BIT BIT(30)
#define CR0_NE_BIT BIT(5)
#define CR4_MCE    BIT(6)
#define CR4_LA57   BIT(12)
#define CR4_VMXE   BIT(13)

/* ---- Exceptions ------------------------------------------------------------------------------ */

static struct td_registers take_ve(void)
{
    struct td_registers r = {.rax = TDCALL_VEINFO_GET};
    execute_tdcall(&r);
    return r;
}

/* The function must be #VE at `rip`, or anywhere if that is 0. */
static void expect_ve(void (*run)(void *), void *argument, uint32_t reason, uint64_t qualification,
                      uint64_t length)
{
    struct fault fault = try_run(run, argument);
    EXPECT(fault.taken);
    EXPECT_EQ(fault.vector, VECTOR_VE);
    struct td_registers r = take_ve();
    EXPECT_EQ(r.rax, 0);
    EXPECT_EQ((uint32_t)r.rcx, reason);
    EXPECT_EQ(r.rdx, qualification);
    EXPECT_EQ(r.r8, 0);
    EXPECT_EQ(r.r9, 0);
    EXPECT_EQ((uint32_t)r.r10, length);
}

static void expect_fault(void (*run)(void *), void *argument, uint64_t vector)
{
    struct fault fault = try_run(run, argument);
    EXPECT(fault.taken);
    EXPECT_EQ(fault.vector, vector);
    EXPECT_EQ(fault.error, 0);
}

/* ---- CPUID ----------------------------------------------------------------------------------- */

static struct cpuid found;

static void execute_cpuid(void *argument)
{
    uint64_t leaf = (uintptr_t)argument;
    uint32_t a = (uint32_t)leaf, c = (uint32_t)(leaf >> 32);
    __asm__ volatile("cpuid" : "+a"(a), "=b"(found.ebx), "+c"(c), "=d"(found.edx));
    found.eax = a;
    found.ecx = c;
}

static void *leaf_of(uint32_t leaf, uint32_t subleaf)
{
    return (void *)((uint64_t)subleaf << 32 | leaf);
}

static struct cpuid direct(uint32_t leaf, uint32_t subleaf)
{
    struct fault fault = try_run(execute_cpuid, leaf_of(leaf, subleaf));
    EXPECT(!fault.taken);
    return found;
}

static void direct_leaves(void)
{
    EXPECT_EQ(direct(0, 0).eax, 0x23);
    struct cpuid r = direct(1, 0);
    EXPECT_EQ(r.ecx & (BIT(31) | BIT(21) | BIT(24)), BIT(31) | BIT(21) | BIT(24));
    EXPECT_EQ(r.ecx & (BIT(3) | BIT(5) | BIT(6)), 0); /* MONITOR, VMX, SMX */
    EXPECT_EQ(r.ebx >> 24, 0);
    r = direct(0x21, 0);
    EXPECT(r.eax == 0 && r.ebx == 0x65746e49 && r.ecx == 0x20202020 && r.edx == 0x5844546c);
    r = direct(0x15, 0);
    EXPECT(r.eax == 1 && r.ecx == 25000000 && r.edx == 0);
    EXPECT_EQ(direct(7, 0).ecx & BIT(16), 0); /* LA57 */
    EXPECT_EQ(direct(0x80000000, 0).eax, 0x80000008);
    EXPECT(direct(0x80000008, 0).eax % 256 >= 40);
    EXPECT_EQ(direct(0xa, 0).eax, 0);
    r = direct(0x80860000, 0); /* above the highest: as leaf 23h */
    EXPECT_EQ(r.eax | r.ebx | r.ecx | r.edx, 0);
}

static struct td_registers ask_cpuid(uint32_t leaf, uint32_t subleaf)
{
    struct td_registers r = {.r11 = REASON_CPUID, .r12 = leaf, .r13 = subleaf};
    EXPECT_EQ(td_vmcall(&r), 0);
    return r;
}

static void leaves_of_the_host(void)
{
    static const uint32_t leaves[] = {2, 6, 0xb, 0x16, 0x1f, 0x40000000, 0x40000001, 0x80000002};
    for (unsigned i = 0; i < ARRAY_SIZE(leaves); i++)
        expect_ve(execute_cpuid, leaf_of(leaves[i], 0), REASON_CPUID, 0, 2);
    expect_ve(execute_cpuid, leaf_of(4, 5), REASON_CPUID, 0, 2);
    expect_ve(execute_cpuid, leaf_of(0x21, 1), REASON_CPUID, 0, 2);
    struct td_registers r = ask_cpuid(0x40000000, 0);
    EXPECT(r.r12 == 0x40000001 && r.r13 == 0x4b4d564b && r.r14 == 0x564b4d56 && r.r15 == 0x4d);
    r = ask_cpuid(0x40000001, 0);
    EXPECT_EQ(r.r12 | r.r13 | r.r14 | r.r15, 0);
    r = ask_cpuid(0x40000100, 0);
    EXPECT_EQ(r.r12 | r.r13 | r.r14 | r.r15, 0);
    EXPECT_EQ(ask_cpuid(6, 0).r12 & BIT(2), BIT(2)); /* the APIC's timer always runs */
    EXPECT_EQ(ask_cpuid(0xb, 0).r13, 1);             /* one thread a core */
}

static void set_cpuid_ve(uint64_t bits)
{
    struct td_registers r = {.rax = TDCALL_CPUIDVE_SET, .rcx = bits};
    execute_tdcall(&r);
    EXPECT_EQ(r.rax, 0);
}

static void exceptions_on_request(void)
{
    set_cpuid_ve(1); /* supervisor mode */
    expect_ve(execute_cpuid, leaf_of(1, 0), REASON_CPUID, 0, 2);
    expect_ve(execute_cpuid, leaf_of(0x21, 0), REASON_CPUID, 0, 2);
    set_cpuid_ve(2); /* user mode only */
    EXPECT_EQ(direct(0x21, 0).ecx, 0x20202020);
    set_cpuid_ve(0);
}

/* ---- MSRs ------------------------------------------------------------------------------------ */

static uint64_t msr_value;

static void read_msr(void *msr)
{
    uint32_t low, high;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"((uint32_t)(uintptr_t)msr));
    msr_value = (uint64_t)high << 32 | low;
}

static void write_msr(void *msr)
{
    __asm__ volatile("wrmsr"
                     :
                     : "a"((uint32_t)msr_value), "d"((uint32_t)(msr_value >> 32)),
                       "c"((uint32_t)(uintptr_t)msr)
                     : "memory");
}

static void *msr_of(uint32_t msr)
{
    return (void *)(uintptr_t)msr;
}

static uint64_t read_direct(uint32_t msr)
{
    struct fault fault = try_run(read_msr, msr_of(msr));
    EXPECT(!fault.taken);
    return msr_value;
}

static void direct_msrs(void)
{
    EXPECT_EQ(read_direct(0x1a0) & (BIT(34) | BIT(7) | BIT(12)), BIT(12));
    EXPECT_EQ(read_direct(0xbd), 1);
    EXPECT_EQ(read_direct(0x345), 0);
    EXPECT_EQ(read_direct(0x80b), 0); /* write-only, but a page answers */
    EXPECT_EQ(read_direct(0x83f), 0);
    EXPECT_EQ(read_direct(0x808), 0);
    uint64_t tsc = read_direct(0x10);
    EXPECT(read_direct(0x10) > tsc);
    msr_value = 0x30;
    EXPECT(!try_run(write_msr, msr_of(0x808)).taken);
    EXPECT_EQ(read_direct(0x808), 0x30);
    msr_value = 0;
    EXPECT(!try_run(write_msr, msr_of(0x808)).taken);
    EXPECT_EQ(read_direct(0xda0), 0);
    EXPECT(!try_run(write_msr, msr_of(0xda0)).taken); /* no supervisor state */
    EXPECT(!try_run(write_msr, msr_of(0x1d9)).taken);
    msr_value = BIT(8); /* reserved in TPR */
    expect_fault(write_msr, msr_of(0x808), VECTOR_GP);
}

static void msrs_of_the_host(void)
{
    static const uint32_t exceptions[] = {0x1b,  0x3a,  0x8b,  0x140, 0x179,      0x6e0,
                                          0x802, 0x80f, 0x832, 0x838, 0xc0000083, 0x4b560000};
    static const uint32_t faults[] = {0x8c, 0x98, 0xc1, 0x186, 0x500, 0x6a0, 0x800, 0x829, 0xd90};
    msr_value = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(exceptions); i++) {
        expect_ve(read_msr, msr_of(exceptions[i]), REASON_RDMSR, 0, 2);
        expect_ve(write_msr, msr_of(exceptions[i]), REASON_WRMSR, 0, 2);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(faults); i++) {
        expect_fault(read_msr, msr_of(faults[i]), VECTOR_GP);
        expect_fault(write_msr, msr_of(faults[i]), VECTOR_GP);
    }
    expect_ve(write_msr, msr_of(0x10), REASON_WRMSR, 0, 2);
    expect_fault(write_msr, msr_of(0x345), VECTOR_GP);
}

static void only_sce_of_efer(void)
{
    uint64_t efer = read_direct(0xc0000080);
    msr_value = efer ^ BIT(0);
    EXPECT(!try_run(write_msr, msr_of(0xc0000080)).taken);
    EXPECT_EQ(read_direct(0xc0000080), efer ^ BIT(0));
    msr_value = efer;
    EXPECT(!try_run(write_msr, msr_of(0xc0000080)).taken);
    msr_value = efer ^ BIT(11);
    expect_ve(write_msr, msr_of(0xc0000080), REASON_WRMSR, 0, 2);
    EXPECT_EQ(read_direct(0xc0000080), efer);
}

static uint64_t ask_msr(uint32_t reason, uint32_t msr, uint64_t *value)
{
    struct td_registers r = {.r11 = reason, .r12 = msr, .r13 = *value};
    uint64_t status = td_vmcall(&r);
    *value = r.r11;
    return status;
}

static void what_the_host_says_of_msrs(void)
{
    uint64_t value = 0;
    EXPECT_EQ(ask_msr(REASON_RDMSR, 0x1b, &value), 0);
    EXPECT_EQ(value, 0xfee00d00);
    value = 0xfee00900; /* xAPIC mode */
    EXPECT_EQ(ask_msr(REASON_WRMSR, 0x1b, &value), INVALID_OPERAND);
    value = 0xfee00d00;
    EXPECT_EQ(ask_msr(REASON_WRMSR, 0x1b, &value), 0);
    EXPECT_EQ(ask_msr(REASON_RDMSR, 0x802, &value), 0);
    EXPECT_EQ(value, 0);
    EXPECT_EQ(ask_msr(REASON_RDMSR, 0x179, &value), 0);
    EXPECT_EQ(value, 0);
    static const uint32_t unknown[] = {0x10, 0x17, 0x3b, 0x140, 0x1fff, 0xc0000080, 0x4b564d00};
    for (unsigned i = 0; i < ARRAY_SIZE(unknown); i++) {
        EXPECT_EQ(ask_msr(REASON_RDMSR, unknown[i], &value), INVALID_OPERAND);
        value = 0;
        EXPECT_EQ(ask_msr(REASON_WRMSR, unknown[i], &value), INVALID_OPERAND);
    }
    value = 0x4500; /* INIT to the vCPU itself */
    EXPECT_EQ(ask_msr(REASON_WRMSR, 0x830, &value), INVALID_OPERAND);
}

/* ---- Control registers ----------------------------------------------------------------------- */

static uint64_t cr_value;

static void set_cr0(void *argument)
{
    (void)argument;
    __asm__ volatile("mov %0, %%cr0" : : "a"(cr_value) : "memory");
}

static void set_cr4(void *argument)
{
    (void)argument;
    __asm__ volatile("mov %0, %%cr4" : : "a"(cr_value) : "memory");
}

static uint64_t read_cr0(void)
{
    uint64_t value;
    __asm__ volatile("mov %%cr0, %0" : "=r"(value));
    return value;
}

static void control_registers(void)
{
    const uint64_t cr0 = read_cr0(), cr4 = read_cr4();
    EXPECT_EQ(cr0 & (BIT(0) | CR0_NE_BIT | CR0_CD_BIT | BIT(29)), BIT(0) | CR0_NE_BIT);
    EXPECT_EQ(cr4 & (CR4_MCE | CR4_VMXE | BIT(14)), CR4_MCE);
    cr_value = cr0 | CR0_CD_BIT;
    expect_ve(set_cr0, NULL, REASON_CR, 0, 3);
    cr_value = cr0 | BIT(29); /* NW */
    expect_ve(set_cr0, NULL, REASON_CR, 0, 3);
    cr_value = cr0 & ~CR0_NE_BIT;
    expect_fault(set_cr0, NULL, VECTOR_GP);
    cr_value = cr0 & ~BIT(0); /* PE */
    expect_fault(set_cr0, NULL, VECTOR_GP);
    cr_value = cr4 ^ CR4_MCE;
    expect_ve(set_cr4, NULL, REASON_CR, 4, 3);
    cr_value = cr4 ^ CR4_VMXE;
    expect_ve(set_cr4, NULL, REASON_CR, 4, 3);
    cr_value = cr4 ^ BIT(23); /* CET */
    expect_fault(set_cr4, NULL, VECTOR_GP);
    cr_value = cr4 ^ CR4_LA57;
    expect_fault(set_cr4, NULL, VECTOR_GP);
    EXPECT_EQ(read_cr0(), cr0);
    EXPECT_EQ(read_cr4(), cr4);
    cr_value = cr4 ^ BIT(7); /* PGE */
    EXPECT(!try_run(set_cr4, NULL).taken);
    EXPECT_EQ(read_cr4(), cr4 ^ BIT(7));
    cr_value = cr4;
    EXPECT(!try_run(set_cr4, NULL).taken);
    cr_value = cr0 ^ BIT(16); /* WP */
    EXPECT(!try_run(set_cr0, NULL).taken);
    cr_value = cr0;
    EXPECT(!try_run(set_cr0, NULL).taken);
}

/* ---- I/O and HLT ----------------------------------------------------------------------------- */

static void in_byte(void *argument)
{
    uint8_t value;
    (void)argument;
    __asm__ volatile("inb $0x60, %0" : "=a"(value));
}

static void out_dword(void *argument)
{
    (void)argument;
    __asm__ volatile("outl %0, %1" : : "a"(0), "d"((uint16_t)0xcf8));
}

static uint64_t ask_io(uint64_t size, uint64_t write, uint64_t port, uint64_t *value)
{
    struct td_registers r = {
        .r11 = REASON_IO, .r12 = size, .r13 = write, .r14 = port, .r15 = *value};
    uint64_t status = td_vmcall(&r);
    *value = r.r11;
    return status;
}

static void ports(void)
{
    expect_ve(in_byte, NULL, REASON_IO, 0x600048, 2); /* one byte, IN, immediate */
    expect_ve(out_dword, NULL, REASON_IO, 0xcf80003, 1);
    static const uint64_t sizes[] = {0, 3, 5, 8, 1ull << 32};
    uint64_t value = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
        EXPECT_EQ(ask_io(sizes[i], 0, 0x80, &value), INVALID_OPERAND);
    EXPECT_EQ(ask_io(1, 2, 0x80, &value), INVALID_OPERAND);
    EXPECT_EQ(ask_io(1, 0, 0x10000, &value), INVALID_OPERAND);
    value = ~0ull; /* a read returns no more bits than it has asked for */
    EXPECT_EQ(ask_io(1, 0, 0x3fd, &value), 0); /* the serial port's status */
    EXPECT_EQ(value & ~0xffull, 0);
    EXPECT_EQ(value & 0x20, 0x20);
    value = ~0ull;
    EXPECT_EQ(ask_io(4, 0, 0x1230, &value), 0); /* nothing is there */
    EXPECT_EQ(value, 0xffffffff);
    value = ~0ull;
    EXPECT_EQ(ask_io(2, 0, 0x1230, &value), 0);
    EXPECT_EQ(value, 0xffff);
}

static void halt(void *argument)
{
    (void)argument;
    __asm__ volatile("hlt");
}

static volatile unsigned interrupts;

static void count_interrupt(struct frame *frame)
{
    (void)frame;
    interrupts++;
    msr_value = 0;
    write_msr(msr_of(0x80b));
}

static void write_apic(uint32_t msr, uint64_t value)
{
    EXPECT_EQ(ask_msr(REASON_WRMSR, msr, &value), 0);
}

/* An interrupt ends the halt though IF is 0, and is delivered when IF becomes 1: one that is
 * pending already, and one that comes later. */
static void halting(void)
{
    struct td_registers r = {.r11 = REASON_HLT};
    expect_ve(halt, NULL, REASON_HLT, 0, 1);
    set_handler(0x41, count_interrupt);
    write_apic(0x80f, 0x1ff);
    msr_value = 0x41;
    write_msr(msr_of(0x83f)); /* pending */
    EXPECT_EQ(td_vmcall(&r), 0);
    EXPECT_EQ(interrupts, 0);
    __asm__ volatile("sti; nop; cli");
    EXPECT_EQ(interrupts, 1);
    write_apic(0x832, 0x40041); /* TSC-deadline mode */
    write_apic(0x6e0, read_direct(0x10) + 20000);
    r = (struct td_registers){.r11 = REASON_HLT};
    EXPECT_EQ(td_vmcall(&r), 0);
    EXPECT_EQ(interrupts, 1);
    __asm__ volatile("sti; nop; cli");
    EXPECT_EQ(interrupts, 2);
    set_handler(0x41, NULL);
}

/* ---- Fewer exceptions ------------------------------------------------------------------------ */

static uint64_t read_field(uint64_t id)
{
    struct td_registers r = {.rax = TDCALL_VM_RD, .rdx = id};
    execute_tdcall(&r);
    EXPECT_EQ(r.rax, 0);
    return r.r8;
}

static void set_td_ctls(uint64_t bits)
{
    struct td_registers r = {.rax = TDCALL_VM_WR, .rdx = TD_CTLS, .r8 = bits, .r9 = 0xe};
    execute_tdcall(&r);
    EXPECT_EQ(r.rax, 0);
    EXPECT_EQ(read_field(TD_CTLS) & 0xe, bits);
}

static void fewer_exceptions(void)
{
    set_td_ctls(BIT(3));
    EXPECT_EQ(direct(2, 0).eax, 0x00feff01);
    EXPECT_EQ(direct(6, 0).eax, BIT(2));
    EXPECT_EQ(direct(9, 0).eax, 0);
    struct cpuid r = direct(1, 0);
    EXPECT_EQ(r.ecx & BIT(24), 0);
    EXPECT_EQ(r.edx & (BIT(7) | BIT(12) | BIT(14)), 0);
    r = direct(0xb, 0);
    EXPECT(r.ebx == 1 && r.ecx == 0x100 && r.edx == 0);
    r = direct(0x1f, 1);
    EXPECT(r.ebx == read_field(NUM_VCPUS) && r.ecx == 0x201 && r.edx == 0);
    r = direct(0x1f, 2);
    EXPECT(r.eax == 0 && r.ebx == 0 && r.ecx == 2);
    expect_ve(execute_cpuid, leaf_of(0x40000000, 0), REASON_CPUID, 0, 2);
    msr_value = 0;
    expect_fault(write_msr, msr_of(0x6e0), VECTOR_GP);
    expect_fault(read_msr, msr_of(0x179), VECTOR_GP);
    expect_ve(read_msr, msr_of(0x1b), REASON_RDMSR, 0, 2);
    set_td_ctls(0);
    expect_ve(execute_cpuid, leaf_of(2, 0), REASON_CPUID, 0, 2);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"direct_leaves", direct_leaves, 0},
        {"leaves_of_the_host", leaves_of_the_host, 0},
        {"exceptions_on_request", exceptions_on_request, 0},
        {"direct_msrs", direct_msrs, 0},
        {"msrs_of_the_host", msrs_of_the_host, 0},
        {"only_sce_of_efer", only_sce_of_efer, 0},
        {"what_the_host_says_of_msrs", what_the_host_says_of_msrs, 0},
        {"control_registers", control_registers, 0},
        {"ports", ports, 0},
        {"halting", halting, 0},
        {"fewer_exceptions", fewer_exceptions, 0},
    };
    run_tests(tests, ARRAY_SIZE(tests));
}
