/* SPDX-License-Identifier: MIT */
/*
 * Writes to write-tracked pages that no emulated instruction makes: A and D bits of a page walk,
 * frames of events, descriptors, and instructions that are not emulated. The page is RAM, so the
 * guest notices nothing, and the tracking continues: the next store exits again.
 */
#include "guest/programs/rt/apic.h"

extern uint64_t rt_gdt[];

static uint64_t page;

/* Makes a store that is emulated, and expects that the page is still tracked. */
static void expect_watched(uint64_t address)
{
    struct watch violations = watch(EXITS_VIOLATION);
    write64(address, read64(address));
    EXPECT_EQ(watched(violations), 1);
}

static void track(uint64_t address)
{
    (void)read64(address);
    EXPECT_EQ(hc_page(HC_TRACK, address & ~(RT_PAGE - 1)), 0);
}

static void untrack(uint64_t address)
{
    expect_watched(address);
    EXPECT_EQ(hc_page(HC_UNTRACK, address & ~(RT_PAGE - 1)), 0);
}

/* ---- Page walks ------------------------------------------------------------------------------ */

static uint64_t *table_of(uint64_t va, unsigned level)
{
    uint64_t *table = rt_pml4;
    for (unsigned i = 4; i > level; i--)
        table = (uint64_t *)(table[(va >> (12 + 9 * (i - 1))) & 511] & ~0xfffull);
    return table;
}

/* Tracks the table of each level, and then all three at once, for one access. The root is not
 * tracked, because the code is mapped by it: with A and D flags in EPT, every walk through a table
 * counts as a write to it. */
static void page_walks(void)
{
    for (unsigned levels = 1; levels < 8; levels++) {
        uint64_t va = TEST_VA + levels * BIT(30), *data = new_page();
        map_page(rt_pml4, va, (uint64_t)data, PTE_P | PTE_W);
        for (unsigned level = 1; level <= 3; level++)
            if (levels & BIT(level - 1))
                track((uint64_t)table_of(va, level));
        write64(va, 0x1234 + levels);
        EXPECT_EQ(*data, 0x1234 + levels);
        for (unsigned level = 1; level <= 3; level++)
            if (levels & BIT(level - 1))
                untrack((uint64_t)table_of(va, level) + 8 * 400);
        uint64_t pte = table_of(va, 1)[(va >> 12) & 511];
        EXPECT_EQ(pte & (PTE_A | PTE_D), PTE_A | PTE_D);
    }
}

/* ---- Frames of events ------------------------------------------------------------------------ */

#define IRQ 0x61

static void interrupt_seen(struct frame *frame)
{
    (void)frame;
    seen.count++;
    apic_write(APIC_REG_EOI, 0);
}

static void frames(void)
{
    static const unsigned vectors[] = {VECTOR_BP, VECTOR_UD, VECTOR_NMI, IRQ};
    for (unsigned i = 0; i < ARRAY_SIZE(vectors); i++) {
        unsigned vector = vectors[i];
        set_stack(vector, page + RT_PAGE);
        look_for(vector, vector == VECTOR_UD ? 2 : 0);
        if (vector == IRQ)
            set_handler(IRQ, interrupt_seen);
        track(page);
        if (vector == VECTOR_BP)
            __asm__ volatile("int3");
        else if (vector == VECTOR_UD)
            __asm__ volatile("ud2");
        else if (vector == VECTOR_NMI)
            send_ipi(0, ICR_SELF | ICR_NMI);
        else {
            send_ipi(0, ICR_SELF | IRQ);
            __asm__ volatile("sti; nop; nop; cli");
        }
        EXPECT_EQ(seen.count, 1);
        untrack(page);
        set_stack(vector, 0);
        set_handler(vector, NULL);
    }
}

/* ---- Descriptors ----------------------------------------------------------------------------- */

static void descriptors(void)
{
    uint64_t gdt = (uint64_t)rt_gdt & ~(RT_PAGE - 1);
    track(gdt);
    rt_gdt[SEL_TSS / 8] &= ~BIT(41);
    __asm__ volatile("ltr %w0" : : "r"(SEL_TSS)); /* the busy bit */
    rt_gdt[SEL_DATA16 / 8] = 0x00cf92000000ffffull;
    __asm__ volatile("mov %0, %%es" : : "r"(SEL_DATA16)); /* the accessed bit */
    __asm__ volatile("mov %0, %%es" : : "r"(SEL_DATA));
    untrack(gdt);
    EXPECT(rt_gdt[SEL_TSS / 8] & BIT(41));
    EXPECT(rt_gdt[SEL_DATA16 / 8] & BIT(40));
}

/* ---- Instructions that are not emulated ------------------------------------------------------ */

#define ON_STACK(name, code)                                                           \
    static void name(uint64_t top)                                                     \
    {                                                                                  \
        __asm__ volatile("mov %%rsp, %%rbx; mov %0, %%rsp; " code "; mov %%rbx, %%rsp" \
                         :                                                             \
                         : "r"(top)                                                    \
                         : "rax", "rbx", "rcx", "r8", "memory");                       \
    }
ON_STACK(push_immediate, "push $0x77; pop %%rax")
ON_STACK(push_register, "push %%rbx; pop %%rax")
ON_STACK(push_flags, "xorl %%eax, %%eax; pushfq; pop %%rax")
ON_STACK(call_near, "call 1f; 1: pop %%rax")
ON_STACK(enter, "mov %%rbp, %%r8; enter $16, $0; mov %%r8, %%rbp")

static void x87(uint64_t top)
{
    __asm__ volatile("fninit; fld1; fstpl -8(%0)" : : "r"(top) : "memory");
}

static void fxsave(uint64_t top)
{
    __asm__ volatile("fxsave64 -512(%0)" : : "r"(top) : "memory");
}

static void sgdt(uint64_t top)
{
    __asm__ volatile("sgdt -16(%0)" : : "r"(top) : "memory");
}

static void push_across(uint64_t top)
{
    push_immediate(top - RT_PAGE + 4); /* the push goes to the page before */
}

static void instructions(void)
{
    static void (*const all[])(uint64_t) = {push_immediate, push_register, push_flags,
                                            call_near,      enter,         x87,
                                            fxsave,         sgdt,          push_across};
    uint64_t pages = (uint64_t)new_page(), second = (uint64_t)new_page();
    uint64_t first = pages < second ? pages : second, last = pages < second ? second : pages;
    EXPECT_EQ(last - first, RT_PAGE);
    write_cr4(read_cr4() | BIT(9)); /* OSFXSR */
    for (unsigned i = 0; i < ARRAY_SIZE(all); i++) {
        memset((void *)first, 0x5a, 2 * RT_PAGE);
        all[i](last + RT_PAGE);
        uint64_t want[2] = {read64(last + RT_PAGE - 16), read64(last + RT_PAGE - 8)};
        memset((void *)first, 0x5a, 2 * RT_PAGE);
        track(first);
        track(last);
        all[i](last + RT_PAGE);
        EXPECT_EQ(read64(last + RT_PAGE - 16), want[0]);
        EXPECT_EQ(read64(last + RT_PAGE - 8), want[1]);
        untrack(first);
        untrack(last);
    }
}

/* Each of the instructions exits, because the page is closed again after one. */
static void each_exits(void)
{
    track(page);
    struct watch violations = watch(EXITS_VIOLATION);
    for (unsigned i = 0; i < 5; i++)
        push_immediate(page + RT_PAGE);
    uint64_t n = watched(violations);
    EXPECT(n >= 5);
    note("violations", n);
    untrack(page);
}

/* ---- Effects that the guest must not see ----------------------------------------------------- */

/* There is one single-step trap, after the instruction. */
static void with_the_trap_flag(void)
{
    track(page);
    look_for(VECTOR_DB, 0);
    uint64_t behind;
    __asm__ volatile("mov %%rsp, %%rbx; mov %1, %%rsp\n"
                     "pushq $0x102; popfq; push $0x77\n"
                     "1: mov %%rbx, %%rsp; lea 1b(%%rip), %0"
                     : "=&r"(behind)
                     : "r"(page + RT_PAGE)
                     : "rbx", "memory");
    set_handler(VECTOR_DB, NULL);
    EXPECT_EQ(seen.count, 1);
    EXPECT_EQ(seen.rip, behind);
    EXPECT_EQ(seen.dr6 & 0xe00f, BIT(14));
    untrack(page);
}

static volatile unsigned nmis, deepest, depth;

/* In the handler of an NMI, NMIs stay blocked while an instruction is let through. */
static void nmi(struct frame *frame)
{
    (void)frame;
    if (++depth > deepest)
        deepest = depth;
    if (!nmis++)
        send_ipi(0, ICR_SELF | ICR_NMI);
    push_immediate(page + RT_PAGE);
    for (unsigned i = 0; i < 100; i++)
        __asm__ volatile("pause");
    depth--;
}

static void with_nmis_blocked(void)
{
    set_handler(VECTOR_NMI, nmi);
    track(page);
    send_ipi(0, ICR_SELF | ICR_NMI);
    for (unsigned i = 0; i < 10000; i++) /* until the page is closed for sure */
        __asm__ volatile("pause");
    untrack(page);
    set_handler(VECTOR_NMI, NULL);
    EXPECT_EQ(nmis, 2);
    EXPECT_EQ(deepest, 1);
}

/* An interrupt is delayed by the shadow of STI, and no longer. */
static void behind_sti(void)
{
    uint64_t behind;
    look_for(IRQ, 0);
    track(page);
    send_ipi(0, ICR_SELF | IRQ);
    __asm__ volatile("mov %%rsp, %%rbx; mov %1, %%rsp; sti; push $0x77\n"
                     "1: nop; cli; mov %%rbx, %%rsp; lea 1b(%%rip), %0"
                     : "=&r"(behind)
                     : "r"(page + RT_PAGE)
                     : "rbx", "memory");
    apic_write(APIC_REG_EOI, 0);
    set_handler(IRQ, NULL);
    EXPECT_EQ(seen.count, 1);
    EXPECT_EQ(seen.rip, behind);
    untrack(page);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"page_walks", page_walks, NEED_TESTCTL},
        {"frames", frames, NEED_TESTCTL},
        {"descriptors", descriptors, NEED_TESTCTL},
        {"instructions", instructions, NEED_TESTCTL},
        {"each_exits", each_exits, NEED_TESTCTL},
        {"with_the_trap_flag", with_the_trap_flag, NEED_TESTCTL},
        {"with_nmis_blocked", with_nmis_blocked, NEED_TESTCTL},
        {"behind_sti", behind_sti, NEED_TESTCTL},
    };
    page = (uint64_t)new_page();
    apic_write(APIC_REG_SVR, 0x1ff);
    run_tests(tests, ARRAY_SIZE(tests));
}
