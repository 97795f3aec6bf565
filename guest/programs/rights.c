/* SPDX-License-Identifier: MIT */
/*
 * Rights of a cached MMIO access, beyond those of remap.c (rule C6): protection keys, and SMAP with
 * and without AC. A cached walk never grants more than the CPU would: the result is a page fault
 * with the right error code, and no access to the device.
 */
#include "guest/programs/rt/rt.h"

#define DEV      ((uint64_t)TESTDEV_A_BASE)
#define RW       (PTE_P | PTE_W)
#define VA       TEST_VA
#define KEY(n)   ((uint64_t)(n) << 59)
#define AD(n)    (1u << (2 * (n)))
#define WD(n)    (2u << (2 * (n)))
#define CR0_WP   BIT(16)
#define CR4_SMEP BIT(20)
#define CR4_SMAP BIT(21)
#define CR4_PKE  BIT(22)

/* Bits of a page fault's error code. */
#define PRESENT 1
#define WRITE   2
#define BY_KEY  32

static void store(void *argument)
{
    (void)argument;
    write32(VA, 0x77);
}

static void load(void *argument)
{
    (void)argument;
    (void)read32(VA);
}

static uint64_t accesses;

static void expect_goes(void (*access)(void *), uint64_t error)
{
    struct fault fault = try_run(access, NULL);
    EXPECT_EQ(fault.taken, error != 0);
    if (error) {
        EXPECT_EQ(fault.vector, VECTOR_PF);
        EXPECT_EQ(fault.error, error);
        EXPECT_EQ(fault.cr2, VA);
    } else {
        accesses++;
    }
}

/* Expects success three times: with a walk, with a cached walk, and with a replay entry. */
static void expect_always_goes(void (*access)(void *), uint64_t error)
{
    for (unsigned i = 0; i < 3; i++)
        expect_goes(access, error);
}

static void begin(uint64_t flags)
{
    map_page(rt_pml4, VA, DEV, flags);
    invlpg(VA);
    write32(DEV + TESTDEV_RESET, 1);
    accesses = 0;
}

/* The device has seen the accesses that succeeded, and no others. */
static void end(void)
{
    uint64_t reads = read32(DEV + TESTDEV_READS), writes = read32(DEV + TESTDEV_WRITES);
    EXPECT_EQ(reads + writes, accesses);
    note("accesses", accesses);
}

static void wrpkru(uint32_t value)
{
    __asm__ volatile(".byte 0x0f, 0x01, 0xef" : : "a"(value), "c"(0), "d"(0) : "memory");
}

static bool missing(bool there)
{
    if (!there)
        note("not_offered", 1);
    return !there;
}

static void write_cr0(uint64_t value)
{
    __asm__ volatile("mov %0, %%cr0" : : "r"(value) : "memory");
}

static uint64_t read_cr0(void)
{
    uint64_t value;
    __asm__ volatile("mov %%cr0, %0" : "=r"(value));
    return value;
}

/* Each change of PKRU takes effect at once, and only for pages with its key. */
static void protection_keys(void)
{
    uint64_t cr4 = read_cr4(), cr0 = read_cr0();
    if (missing(cpuid(7).ecx & BIT(3)))
        return;
    begin(RW | PTE_U | KEY(5));
    write_cr4(cr4 | CR4_PKE);
    wrpkru(0);
    expect_always_goes(store, 0);
    expect_always_goes(load, 0);
    wrpkru(AD(4) | AD(6));
    expect_always_goes(store, 0);
    wrpkru(AD(5));
    expect_always_goes(store, PRESENT | WRITE | BY_KEY);
    expect_always_goes(load, PRESENT | BY_KEY);
    wrpkru(WD(5));
    expect_always_goes(store, PRESENT | WRITE | BY_KEY);
    expect_always_goes(load, 0);
    write_cr0(cr0 & ~CR0_WP); /* without WP the kernel may write */
    expect_always_goes(store, 0);
    write_cr0(cr0);
    expect_goes(store, PRESENT | WRITE | BY_KEY);
    for (unsigned i = 0; i < 100; i++) { /* change WP in turn */
        wrpkru(i & 1 ? AD(5) : 0);
        expect_goes(store, i & 1 ? PRESENT | WRITE | BY_KEY : 0);
    }
    wrpkru(0);
    map_page(rt_pml4, VA, DEV, RW | PTE_U | KEY(6)); /* another key, after a flush */
    invlpg(VA);
    wrpkru(AD(6));
    expect_always_goes(load, PRESENT | BY_KEY);
    map_page(rt_pml4, VA, DEV, RW | KEY(6)); /* keys apply to user pages only */
    invlpg(VA);
    expect_always_goes(load, 0);
    write_cr4(cr4); /* PKRU keeps its value without effect */
    expect_always_goes(store, 0);
    write_cr4(cr4 | CR4_PKE);
    wrpkru(0);
    write_cr4(cr4);
    end();
}

static void stac(void)
{
    __asm__ volatile(".byte 0x0f, 0x01, 0xcb" : : : "memory", "cc");
}

static void clac(void)
{
    __asm__ volatile(".byte 0x0f, 0x01, 0xca" : : : "memory", "cc");
}

static void store_with_ac(void *argument)
{
    stac();
    store(argument);
    clac();
}

static void load_with_ac(void *argument)
{
    stac();
    load(argument);
    clac();
}

/* The kernel can access a user page only while AC is set. */
static void smap(void)
{
    uint64_t cr4 = read_cr4();
    if (missing(cpuid(7).ebx & BIT(20)))
        return;
    begin(RW | PTE_U);
    expect_always_goes(store, 0);
    write_cr4(cr4 | CR4_SMAP);
    expect_always_goes(store, PRESENT | WRITE);
    expect_always_goes(load, PRESENT);
    expect_always_goes(store_with_ac, 0);
    expect_always_goes(load_with_ac, 0);
    for (unsigned i = 0; i < 100; i++)
        expect_goes(i & 1 ? store_with_ac : store, i & 1 ? 0 : PRESENT | WRITE);
    write_cr4(cr4);
    expect_always_goes(store, 0);
    write_cr4(cr4 | CR4_SMAP);
    expect_goes(store, PRESENT | WRITE);
    map_page(rt_pml4, VA, DEV, RW); /* a supervisor page */
    invlpg(VA);
    expect_always_goes(store, 0);
    write_cr4(cr4);
    end();
}

static void run_user(void *rip)
{
    rt_user((uint64_t)rip);
}

/* Loads and stores at CPL 3. A #UD shows that they were executed. */
extern uint8_t user_accesses[];
__asm__(".pushsection .text\n"
        ".balign 4096\n"
        "user_accesses: movabs $0x8000000000, %rax\n"
        "movl (%rax), %ecx\n"
        "movl %ecx, 4(%rax)\n"
        "ud2\n"
        ".balign 4096\n"
        ".popsection");
_Static_assert(VA == 0x8000000000, "user_accesses spells it");

/* SMAP and SMEP do not affect user code; protection keys do. */
static void user_code(void)
{
    uint64_t cr4 = read_cr4(), at = VA + RT_2M;
    bool keys = cpuid(7).ecx & BIT(3), guards = cpuid(7).ebx & BIT(20) && cpuid(7).ebx & BIT(7);
    begin(RW | PTE_U | KEY(2));
    map_page(rt_pml4, at, (uint64_t)user_accesses, PTE_P | PTE_U);
    invlpg(at);
    write_cr4(cr4 | (guards ? CR4_SMAP | CR4_SMEP : 0) | (keys ? CR4_PKE : 0));
    for (unsigned i = 0; i < 4; i++) {
        EXPECT_EQ(try_run(run_user, (void *)at).vector, VECTOR_UD);
        accesses += 2;
        if (!keys)
            continue;
        wrpkru(WD(2));
        struct fault fault = try_run(run_user, (void *)at);
        EXPECT_EQ(fault.vector, VECTOR_PF);
        EXPECT_EQ(fault.error, PRESENT | WRITE | 4 | BY_KEY);
        EXPECT_EQ(fault.cr2, VA + 4);
        accesses += 1;
        wrpkru(0);
    }
    write_cr4(cr4);
    end();
}

/* At CPL 3, HC_NOP succeeds, and every other VMCALL is #UD. */
extern uint8_t user_calls[], user_call_refused[];
__asm__(".pushsection .text\n"
        ".balign 4096\n"
        "user_calls: movl $0x45505400, %eax\n"
        "vmcall\n"
        "testl %eax, %eax\n"
        "jnz 1f\n"
        "movl $0x45505401, %eax\n"
        "user_call_refused: vmcall\n"
        "1: hlt\n"
        ".balign 4096\n"
        ".popsection");
_Static_assert(ABI_HYPERCALL + HC_NOP == 0x45505400 && HC_VERSION == 1, "user_calls spells them");

static void user_hypercalls(void)
{
    uint64_t at = VA + RT_2M;
    map_page(rt_pml4, at, (uint64_t)user_calls, PTE_P | PTE_U);
    invlpg(at);
    struct fault fault = try_run(run_user, (void *)at);
    EXPECT_EQ(fault.vector, VECTOR_UD);
    EXPECT_EQ(fault.rip, at + (uint64_t)(user_call_refused - user_calls));
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"protection_keys", protection_keys, NEED_TESTCTL},
        {"smap", smap, NEED_TESTCTL},
        {"user_code", user_code, NEED_TESTCTL},
        {"user_hypercalls", user_hypercalls, NEED_TESTCTL},
    };

    run_tests(tests, ARRAY_SIZE(tests));
}
