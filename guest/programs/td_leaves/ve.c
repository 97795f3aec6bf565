/* SPDX-License-Identifier: MIT */
/* #VE as a TD sees it: what causes one, its information, a second one, and NMIs that wait. */
#include "guest/programs/td_leaves/calls.h"

static void do_hlt(void *argument)
{
    (void)argument;
    __asm__ volatile("hlt");
}

static void do_out(void *argument)
{
    (void)argument;
    __asm__ volatile("outb %%al, $0x80" : : "a"(0));
}

static void do_vmcall(void *argument)
{
    (void)argument;
    __asm__ volatile("vmcall" : : "a"(0));
}

static void do_wbinvd(void *argument)
{
    (void)argument;
    __asm__ volatile("wbinvd");
}

static void do_invd(void *argument)
{
    (void)argument;
    __asm__ volatile("invd");
}

static void do_rdpmc(void *argument)
{
    (void)argument;
    __asm__ volatile("rdpmc" : : "c"(0) : "eax", "edx");
}

void ve_instructions(void)
{
    static const struct {
        void (*run)(void *);
        uint64_t reason, qualification, length;
    } rows[] = {
        {do_hlt, 12, 0, 1},    {do_out, 30, 0x80 << 16 | BIT(6), 2},
        {do_vmcall, 18, 0, 3}, {do_wbinvd, 54, 0, 2},
        {do_invd, 13, 0, 2},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        EXPECT_EQ(try_run(rows[i].run, NULL).vector, VECTOR_VE);
        struct td_registers r = get_ve();
        EXPECT_EQ(r.rcx, rows[i].reason);
        EXPECT_EQ(r.rdx, rows[i].qualification);
        EXPECT_EQ(r.r8 | r.r9, 0);
        EXPECT_EQ((uint32_t)r.r10, rows[i].length);
    }
    EXPECT_EQ(try_run(do_rdpmc, NULL).vector, VECTOR_GP);
}

static void do_read(void *address)
{
    (void)read32((uint64_t)address);
}

static void do_write(void *address)
{
    write32((uint64_t)address, 0);
}

/* The GPA has its offset and the shared bit. MMIO is the same the second time, when the CPU may
 * deliver the exception itself. */
void ve_shared_addresses(void)
{
    static const uint64_t pages[] = {0xfec00000, PAGE,
                                     BIT(38)}; /* a device, private RAM, nothing */
    const uint64_t va = TEST_VA + 2 * RT_2M;
    for (unsigned i = 0; i < 3 * ARRAY_SIZE(pages); i++) {
        const uint64_t page = pages[i / 3];
        map_page(rt_pml4, va, page | SHARED, PTE_P | PTE_W);
        invlpg(va);
        EXPECT_EQ(try_run(i & 1 ? do_write : do_read, (void *)(va + 0x10)).vector, VECTOR_VE);
        struct td_registers r = get_ve();
        EXPECT_EQ(r.rcx, 48);
        EXPECT_EQ(r.rdx & 3, i & 1 ? 2 : 1);
        EXPECT_EQ(r.r8, va + 0x10);
        EXPECT_EQ(r.r9, page + 0x10 + SHARED);
    }
    struct td_registers r = {.r11 = 48, .r12 = 4, .r14 = PAGE | SHARED};
    EXPECT_EQ(td_vmcall(&r), VMCALL_INVALID); /* memory is no device */
    r = (struct td_registers){.r11 = 48, .r12 = 4, .r14 = 0xfec00000};
    EXPECT_EQ(td_vmcall(&r), VMCALL_INVALID); /* nor are private addresses */
    r = (struct td_registers){.r11 = 48, .r12 = 4, .r14 = 0xfec00000 | SHARED};
    EXPECT_EQ(td_vmcall(&r), 0);
}

/* The information of the first one stays. */
void ve_nested(void)
{
    EXPECT_EQ(try_run(do_hlt, NULL).vector, VECTOR_VE);
    EXPECT_EQ(try_run(do_out, NULL).vector, VECTOR_DF);
    map_page(rt_pml4, TEST_VA + 2 * RT_2M, 0xfec00000 | SHARED, PTE_P | PTE_W);
    invlpg(TEST_VA + 2 * RT_2M);
    EXPECT_EQ(try_run(do_read, (void *)(TEST_VA + 2 * RT_2M)).vector, VECTOR_DF);
    EXPECT_EQ(get_ve().rcx, 12);
    no_ve_information();
}

static volatile uint64_t nmis;

static void on_nmi(struct frame *frame)
{
    (void)frame;
    nmis = nmis + 1;
}

static void send_nmi(void)
{
    struct td_registers r = {.r11 = 32, .r12 = 0x830, .r13 = 4 << 8 | 1 << 18};
    EXPECT_EQ(td_vmcall(&r), 0);
    for (volatile unsigned i = 0; i < 1000; i++)
        ;
}

void ve_nmis_wait(void)
{
    set_handler(VECTOR_NMI, on_nmi);
    nmis = 0;
    send_nmi();
    EXPECT_EQ(nmis, 1);
    EXPECT_EQ(try_run(do_hlt, NULL).vector, VECTOR_VE);
    send_nmi();
    EXPECT_EQ(nmis, 1);
    get_ve();
    EXPECT_EQ(nmis, 2);
    set_handler(VECTOR_NMI, NULL);
}
