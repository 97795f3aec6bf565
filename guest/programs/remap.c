/* SPDX-License-Identifier: MIT */
/*
 * A guest that maps one virtual address to another device (scenarios 4 and 5, rule C6). The
 * hypervisor's cached walks must not outlive the guest's own tables: after a flush only the new
 * device sees the access, in each mode of gva_cache=.
 */
#include "guest/programs/rt/flush.h"

#define DEV_A    ((uint64_t)TESTDEV_A_BASE)
#define DEV_B    ((uint64_t)TESTDEV_B_BASE)
#define RW       (PTE_P | PTE_W)
#define ROUNDS   100
#define SWITCHES 10000
#define VA       TEST_VA
#define USER_VA  (TEST_VA + RT_2M)

static void reset_devices(void)
{
    write32(DEV_A + TESTDEV_RESET, 1);
    write32(DEV_B + TESTDEV_RESET, 1);
}

static uint32_t writes(uint64_t device)
{
    return read32(device + TESTDEV_WRITES);
}

static void expect_writes(uint32_t a, uint32_t b)
{
    EXPECT_EQ(writes(DEV_A), a);
    EXPECT_EQ(writes(DEV_B), b);
}

/* Adds the counts of a test to its KTAP line. */
static void end_with_writes(uint32_t a, uint32_t b)
{
    expect_writes(a, b);
    note("a_writes", writes(DEV_A));
    note("b_writes", writes(DEV_B));
}

/* Maps A and B in turn; each of them must see only its own stores. */
static void remap_rounds(const struct flush *flush, uint64_t flags)
{
    uint64_t cr4 = read_cr4();
    unsigned wrong = 0;

    write_cr4(cr4 | CR4_PGE);
    reset_devices();
    for (uint32_t i = 0; i < ROUNDS; i++) {
        bool to_b = i & 1;
        map_page(rt_pml4, VA, to_b ? DEV_B : DEV_A, flags);
        flush->run(VA);
        write32(VA, i);
        wrong += read32((to_b ? DEV_B : DEV_A)) != i;
        wrong += read32(VA + TESTDEV_IDENT) != (to_b ? 'B' : 'A');
    }
    invlpg(VA);
    write_cr4(cr4);
    EXPECT_EQ(wrong, 0);
    end_with_writes(ROUNDS / 2, ROUNDS / 2);
}

#define FLUSH_TEST(name, which, flags)        \
    static void name(void)                    \
    {                                         \
        remap_rounds(&flushes[which], flags); \
    }
FLUSH_TEST(by_invlpg, FLUSH_INVLPG, RW)
FLUSH_TEST(by_mov_cr3, FLUSH_MOV_CR3, RW)
FLUSH_TEST(by_cr4_pge, FLUSH_CR4_PGE, RW)
FLUSH_TEST(by_invpcid_0, FLUSH_INVPCID_0, RW)
FLUSH_TEST(by_invpcid_1, FLUSH_INVPCID_1, RW)
FLUSH_TEST(by_invpcid_2, FLUSH_INVPCID_2, RW)
FLUSH_TEST(by_invpcid_3, FLUSH_INVPCID_3, RW)
FLUSH_TEST(global_by_invlpg, FLUSH_INVLPG, RW | PTE_G)
FLUSH_TEST(global_by_cr4_pge, FLUSH_CR4_PGE, RW | PTE_G)
FLUSH_TEST(global_by_invpcid_2, FLUSH_INVPCID_2, RW | PTE_G)

/* From a 2 MiB page, whose first page is A, to a table whose first page is B, and back. */
static void large_page(void)
{
    uint64_t va = TEST_VA + 2 * RT_2M;

    map_page(rt_pml4, va, DEV_A, RW | PTE_PS);
    invlpg(va);
    reset_devices();
    write32(va, 1);
    expect_writes(1, 0);
    map_page(rt_pml4, va, DEV_B, RW);
    invlpg(va);
    write32(va, 2);
    expect_writes(1, 1);
    map_page(rt_pml4, va, DEV_A, RW | PTE_PS);
    invlpg(va);
    write32(va, 3);
    write32(va + RT_PAGE, 4);
    end_with_writes(2, 2);
}

/* Without a flush, the access may reach the old or the new device, but exactly one of them, and
 * once. */
static void without_flush(void)
{
    map_page(rt_pml4, VA, DEV_A, RW);
    invlpg(VA);
    reset_devices();
    write32(VA, 1);
    map_page(rt_pml4, VA, DEV_B, RW);
    write32(VA, 2);
    EXPECT_EQ(writes(DEV_A) + writes(DEV_B), 2);
    note("writes", writes(DEV_A) + writes(DEV_B));
    invlpg(VA);
}

/* Two address spaces, one of which maps A and the other one B at the same address. */
static void switch_spaces(bool pcid, uint64_t noflush)
{
    uint64_t *roots[2] = {new_root(), new_root()};
    uint64_t cr3 = read_cr3(), cr4 = read_cr4(), values[2];

    map_page(roots[0], VA, DEV_A, RW);
    map_page(roots[1], VA, DEV_B, RW);
    reset_devices();
    if (pcid)
        write_cr4(cr4 | CR4_PCIDE);
    for (unsigned i = 0; i < 2; i++) {
        values[i] = (uint64_t)roots[i] | (pcid ? i + 1 : 0);
        write_cr3(values[i]); /* flushes older translations of this PCID */
        values[i] |= noflush;
    }
    struct watch exits = watch(EXITS_CR), stale = watch(COUNTER_STALE_TRANSLATIONS);
    for (uint32_t i = 0; i < SWITCHES; i++) {
        write_cr3(values[i & 1]);
        write32(VA, i);
    }
    uint64_t ne = watched(exits), ns = watched(stale);
    write_cr3(cr3);
    write_cr4(cr4);
    EXPECT_EQ(read32(DEV_A), SWITCHES - 2);
    EXPECT_EQ(read32(DEV_B), SWITCHES - 1);
    end_with_writes(SWITCHES / 2, SWITCHES / 2);
    EXPECT_EQ(ne, flushes_exit() ? SWITCHES : 0);
    EXPECT_EQ(ns, 0);
    note("cr_exits", ne);
    note("stale_translations", ns);
}

static void spaces(void)
{
    switch_spaces(false, 0);
}

static void spaces_pcid(void)
{
    switch_spaces(true, 0);
}

static void spaces_pcid_noflush(void)
{
    switch_spaces(true, CR3_NOFLUSH);
}

static void store_to_va(void *argument)
{
    (void)argument;
    write32(VA, 0x77);
}

static void run_user(void *rip)
{
    rt_user((uint64_t)rip);
}

/* A store at CPL 3, from code in a page of its own. A #UD shows that the store was executed. */
extern uint8_t user_store[];
__asm__(".pushsection .text\n"
        ".balign 4096\n"
        "user_store: movabs $0x8000000000, %rax\n"
        "movl $0x77, (%rax)\n"
        "ud2\n"
        ".balign 4096\n"
        ".popsection");
_Static_assert(VA == 0x8000000000, "user_store spells it");

static struct fault store_as_user(uint64_t flags)
{
    map_page(rt_pml4, VA, DEV_A, flags);
    invlpg(VA);
    write32(VA, 1);
    return try_run(run_user, (void *)USER_VA);
}

/* An access of the kernel must not make the page accessible at CPL 3. */
static void user_after_kernel(void)
{
    map_page(rt_pml4, USER_VA, (uint64_t)user_store, PTE_P | PTE_U);
    invlpg(USER_VA);
    reset_devices();
    struct fault fault = store_as_user(RW);
    EXPECT_EQ(fault.vector, VECTOR_PF);
    EXPECT_EQ(fault.error, 7); /* protection, write, user */
    EXPECT_EQ(fault.cr2, VA);
    expect_writes(1, 0);
    fault = store_as_user(RW | PTE_U);
    EXPECT_EQ(fault.vector, VECTOR_UD);
    end_with_writes(3, 0);
}

static void readonly_after_write(void)
{
    uint64_t cr0;

    map_page(rt_pml4, VA, DEV_A, RW);
    invlpg(VA);
    reset_devices();
    write32(VA, 0x55);
    /* D is set already, because a CPU with CET does not set D in an entry whose W is 0 (SDM 3,
     * 4.8), and Bochs 3 stops there. */
    map_page(rt_pml4, VA, DEV_A, PTE_P | PTE_A | PTE_D);
    invlpg(VA);
    EXPECT_EQ(read32(VA), 0x55);
    struct fault fault = try_run(store_to_va, NULL);
    EXPECT_EQ(fault.vector, VECTOR_PF);
    EXPECT_EQ(fault.error, 3); /* protection, write */
    EXPECT_EQ(fault.cr2, VA);
    expect_writes(1, 0);

    /* The translation also depends on CR0.WP. */
    __asm__ volatile("mov %%cr0, %0" : "=r"(cr0));
    __asm__ volatile("mov %0, %%cr0" : : "r"(cr0 & ~BIT(16)) : "memory");
    fault = try_run(store_to_va, NULL);
    __asm__ volatile("mov %0, %%cr0" : : "r"(cr0) : "memory");
    EXPECT(!fault.taken);
    expect_writes(2, 0);
    EXPECT_EQ(try_run(store_to_va, NULL).vector, VECTOR_PF);
    end_with_writes(2, 0);
}

static void unmapped_after_write(void)
{
    map_page(rt_pml4, VA, DEV_A, RW);
    invlpg(VA);
    reset_devices();
    write32(VA, 1);
    map_page(rt_pml4, VA, 0, 0);
    invlpg(VA);
    struct fault fault = try_run(store_to_va, NULL);
    EXPECT_EQ(fault.vector, VECTOR_PF);
    EXPECT_EQ(fault.error, 2);
    end_with_writes(1, 0);
}

/* From a device to RAM and back: no later access may reach the wrong one. */
static void device_to_ram(void)
{
    uint64_t *page = new_page();

    reset_devices();
    for (uint32_t i = 0; i < ROUNDS; i++) {
        map_page(rt_pml4, VA, DEV_A, RW);
        invlpg(VA);
        write32(VA, i);
        map_page(rt_pml4, VA, (uint64_t)page, RW);
        invlpg(VA);
        write32(VA, i + 1);
        EXPECT_EQ(page[0], i + 1);
    }
    EXPECT_EQ(read32(DEV_A), ROUNDS - 1);
    end_with_writes(ROUNDS, 0);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"remap_invlpg", by_invlpg, NEED_TESTCTL},
        {"remap_mov_cr3", by_mov_cr3, NEED_TESTCTL},
        {"remap_cr4_pge", by_cr4_pge, NEED_TESTCTL},
        {"remap_invpcid_address", by_invpcid_0, NEED_TESTCTL | NEED_INVPCID},
        {"remap_invpcid_context", by_invpcid_1, NEED_TESTCTL | NEED_INVPCID},
        {"remap_invpcid_all", by_invpcid_2, NEED_TESTCTL | NEED_INVPCID},
        {"remap_invpcid_all_but_global", by_invpcid_3, NEED_TESTCTL | NEED_INVPCID},
        {"remap_global_invlpg", global_by_invlpg, NEED_TESTCTL},
        {"remap_global_cr4_pge", global_by_cr4_pge, NEED_TESTCTL},
        {"remap_global_invpcid_all", global_by_invpcid_2, NEED_TESTCTL | NEED_INVPCID},
        {"remap_large_page", large_page, NEED_TESTCTL},
        {"remap_without_flush", without_flush, NEED_TESTCTL},
        {"remap_device_to_ram", device_to_ram, NEED_TESTCTL},
        {"spaces", spaces, NEED_TESTCTL},
        {"spaces_pcid", spaces_pcid, NEED_TESTCTL | NEED_PCID},
        {"spaces_pcid_noflush", spaces_pcid_noflush, NEED_TESTCTL | NEED_PCID},
        {"user_after_kernel", user_after_kernel, NEED_TESTCTL},
        {"readonly_after_write", readonly_after_write, NEED_TESTCTL},
        {"unmapped_after_write", unmapped_after_write, NEED_TESTCTL},
    };

    run_tests(tests, ARRAY_SIZE(tests));
}
