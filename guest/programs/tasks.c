/* SPDX-License-Identifier: MIT */
/*
 * Hardware task switches (SDM 3, chapter 8): by CALL, JMP, IRET and task gates, to 32-bit and
 * 16-bit TSSs, without paging and in each paging mode; and faults by invalid TSSs and segments.
 * Everything but the external events also holds without a hypervisor.
 */
#include "guest/programs/tasks/world.h"

/* Prepares the second task, which the test may change. */
static void prepare(const void *entry)
{
    memset(&tasks_a, 0, sizeof(tasks_a));
    memset(&tasks_b, 0, sizeof(tasks_b));
    memset(tasks_idt, 0, sizeof(tasks_idt));
    memset((void *)(uint64_t)&second, 0, sizeof(second));
    memset((void *)(uint64_t)&first, 0, sizeof(first));
    memset((void *)(uint64_t)&ended, 0, sizeof(ended));
    for (unsigned i = 0; i < T_A / 8; i++)
        tasks_gdt[i] = rt_gdt[i];
    describe(T_A, low(&tasks_a), sizeof(tasks_a) - 1, 0x89);
    describe(T_B, low(&tasks_b), sizeof(tasks_b) - 1, 0x89);
    tasks_gdt[T_GATE / 8] = T_B << 16 | 0x85ull << 40;
    describe(T_CODE, low(entry), 0xfffff, 0xc09a);
    describe(T_STACK, LOW, 0xffff, 0x0092);
    describe(T_LDT, 0, 0xff, 0x82);
    describe(T_CODE3, 0, 0xfffff, 0xc0fa);
    describe(T_DATA3, 0, 0xfffff, 0xc0f2);
    interrupt_gate(8, fault_df, 0);
    interrupt_gate(10, fault_ts, 0);
    interrupt_gate(11, fault_np, 0);
    interrupt_gate(12, fault_ss, 0);
    interrupt_gate(13, fault_gp, 0);
    interrupt_gate(14, fault_pf, 0);
    interrupt_gate(1, fault_db, 0);
    interrupt_gate(T_CALLBACK, fault_callback, 3);
    task_gate(T_VECTOR);
    task_gate(T_INTERRUPT);
    tasks_b.eip = low(entry);
    tasks_b.eflags = 2;
    tasks_b.eax = 0xb0b0b0b0;
    tasks_b.ecx = 0xb1b1b1b1;
    tasks_b.edx = 0xb2b2b2b2;
    tasks_b.ebx = 0xb3b3b3b3;
    tasks_b.esp = STACK;
    tasks_b.ebp = 0xb5b5b5b5;
    tasks_b.esi = 0xb6b6b6b6;
    tasks_b.edi = 0xb7b7b7b7;
    tasks_b.cs = SEL_CODE32;
    tasks_b.ss = tasks_b.ds = tasks_b.es = tasks_b.ss0 = SEL_DATA;
    tasks_b.esp0 = STACK - 0x800;
    tasks_b.io_map = sizeof(tasks_b);
    write32(STACK, 0x70707070);
}

/* Writes a 16-bit TSS over tasks_b, with a 16-bit SP and with its own code and stack segments. */
static void make_16_bit(void)
{
    uint16_t *t = (uint16_t *)&tasks_b;
    memset(&tasks_b, 0, sizeof(tasks_b));
    t[0x10 / 2] = 2;
    for (unsigned i = 0; i < 8; i++)
        t[0x12 / 2 + i] = (uint16_t)(0xb0b0 + 0x101 * i);
    t[0x1a / 2] = (uint16_t)(STACK - LOW);
    t[0x22 / 2] = t[0x28 / 2] = SEL_DATA;
    t[0x24 / 2] = T_CODE;
    t[0x26 / 2] = T_STACK;
    describe(T_B, low(&tasks_b), 0x2b, 0x81);
}

static void run(const void *deed, uint32_t cr0, bool pae)
{
    static struct form_call call;
    tasks_deed = low(deed);
    tasks_a.cr3 = root(pae, 0);
    call = (struct form_call){
        .offset = low(tasks_main),
        .cs = SEL_CODE32,
        .ds = SEL_DATA,
        .cr0 = cr0,
        .cr3 = root(pae, 0),
        .cr4 = pae ? (uint32_t)CR4_PAE : (uint32_t)CR4_PSE,
    };
    legacy_call(&call);
    __asm__ volatile("lgdt rt_gdt_pointer");
    load_idt((uint64_t)rt_idt);
    rt_gdt[SEL_TSS / 8] &= ~BIT(41); /* not busy */
    __asm__ volatile("ltr %w0" : : "r"(SEL_TSS));
}

static void no_fault(void)
{
    if (!EXPECT_EQ(ended.vector, 0))
        print("# error 0x%x at EIP 0x%x, TR 0x%x\n", ended.error, ended.eip, ended.tr);
}

/* Expects that the first task continues with unchanged state. */
static void first_goes_on(void)
{
    no_fault();
    EXPECT_EQ(first.count, 1);
    EXPECT_EQ(first.eax, 0xa0a0a0a0);
    EXPECT_EQ(first.ecx, 0xa1a1a1a1);
    EXPECT_EQ(first.edx, 0xa2a2a2a2);
    EXPECT_EQ(first.ebx, 0xa3a3a3a3);
    EXPECT_EQ(first.ebp, 0xa5a5a5a5);
    EXPECT_EQ(first.esi, 0xa6a6a6a6);
    EXPECT_EQ(first.edi, 0xa7a7a7a7);
    EXPECT_EQ(first.eflags & NT, 0);
    EXPECT_EQ(first.tr, T_A);
    EXPECT_EQ(first.cr0 & TS, TS);
    EXPECT_EQ(first.more & 0xff & BUSY, BUSY);
    EXPECT_EQ(first.more >> 8 & BUSY, 0);
}

static void second_was_there(uint32_t count, bool nested)
{
    EXPECT_EQ(second.count, count);
    EXPECT_EQ(second.tr, T_B);
    EXPECT_EQ(second.eflags & NT, nested ? NT : 0);
    EXPECT_EQ(second.cr0 & TS, TS);
    EXPECT_EQ(tasks_b.link & 0xffff, nested ? T_A : 0);
}

/* ---- Causes of a switch ---------------------------------------------------------------------- */

static void each_way(uint32_t cr0, bool pae)
{
    make_tables(pae, true);
    const struct {
        const void *deed, *entry;
        bool nested;
    } ways[] = {
        {deed_call, other_iret, true},
        {deed_jmp, other_jmp, false},
        {deed_gate, other_iret, true},
        {deed_int, other_iret, true},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(ways); i++) {
        prepare(ways[i].entry);
        tasks_b.cr3 = root(pae, 1);
        run(ways[i].deed, cr0, pae);
        first_goes_on();
        second_was_there(1, ways[i].nested);
        EXPECT_EQ(second.eax, 0xb0b0b0b0);
        EXPECT_EQ(second.edi, 0xb7b7b7b7);
        EXPECT_EQ(second.esp, STACK);
        EXPECT_EQ(second.cr3, cr0 >> 31 ? root(pae, 1) : root(pae, 0));
        EXPECT_EQ(first.cr3, root(pae, 0));
    }
}

static void unpaged(void)
{
    each_way(CR0_UNPAGED, false);
}

static void paged(void)
{
    each_way(CR0_PAGED, false);
}

static void paged_pae(void)
{
    each_way(CR0_PAGED, true);
}

static void to_16_bit_tasks(void)
{
    const void *deeds[] = {deed_call, deed_gate, deed_int};
    make_tables(false, true);
    for (unsigned i = 0; i < ARRAY_SIZE(deeds); i++) {
        prepare(other_iret);
        make_16_bit();
        run(deeds[i], CR0_PAGED, false);
        first_goes_on();
        EXPECT_EQ(second.count, 1);
        EXPECT_EQ(second.tr, T_B);
        EXPECT_EQ(second.eax & 0xffff, 0xb0b0);
        EXPECT_EQ(second.edi & 0xffff, 0xb7b7);
        EXPECT_EQ(second.esp & 0xffff, STACK - LOW);
        EXPECT_EQ(second.cr3, root(false, 0));
        EXPECT_EQ(second.eflags & NT, NT);
    }
}

/* After its IRET, the second task continues after the IRET. */
static void it_goes_on_where_it_was(void)
{
    prepare(other_iret);
    run(deed_again, CR0_UNPAGED, false);
    first_goes_on();
    second_was_there(2, true);
    EXPECT(tasks_b.eip > low(other_iret));
}

/* ---- Events ---------------------------------------------------------------------------------- */

static void exceptions(void)
{
    static const struct {
        const uint8_t *deed;
        uint32_t vector, error, skip;
        bool pushes;
    } rows[] = {
        {deed_ud, 6, 0, 2, false},
        {deed_gp, 13, 0xfff8, 2, true},
        {deed_pf, 14, 0, 6, true},
    };
    make_tables(false, true);
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        prepare(other_error);
        task_gate(rows[i].vector);
        if (!rows[i].pushes) /* other_error pops an error code */
            tasks_b.esp -= 4;
        tasks_b.cr3 = root(false, 1);
        tasks_skip = rows[i].skip;
        run(rows[i].deed, CR0_PAGED, false);
        first_goes_on();
        second_was_there(1, true);
        EXPECT_EQ(second.esp, STACK - 4);
        if (rows[i].pushes)
            EXPECT_EQ(second.top, rows[i].error);
    }
}

static void from_outside(void)
{
    prepare(other_iret);
    run(deed_interrupt, CR0_UNPAGED, false);
    first_goes_on();
    second_was_there(1, true);
}

/* If the NMI's handler is a task, NMIs are blocked until its IRET. */
static void nmi(void)
{
    prepare(other_nmi);
    task_gate(2);
    run(deed_nmi, CR0_UNPAGED, false);
    first_goes_on();
    second_was_there(2, true);
    EXPECT_EQ(second.more, 1); /* the second NMI had not arrived before */
}

/* ---- Debugging ------------------------------------------------------------------------------- */

static void trap_bit(void)
{
    prepare(other_iret);
    tasks_b.trap = 1;
    run(deed_call, CR0_UNPAGED, false);
    EXPECT_EQ(ended.vector, 1);
    EXPECT_EQ(ended.dr6 & 0xf00f, BIT(15));
    EXPECT_EQ(ended.eip, low(other_iret)); /* before the second task's first instruction */
    EXPECT_EQ(ended.tr, T_B);
    EXPECT_EQ(second.count, 0);
}

/* The single-step trap comes after the first instruction after the switch back, not after the
 * switch. */
static void single_step(void)
{
    prepare(other_iret);
    run(deed_step, CR0_UNPAGED, false);
    EXPECT_EQ(ended.vector, 1);
    EXPECT_EQ(ended.tr, T_A);
    EXPECT_EQ(second.count, 1);
    EXPECT(ended.eip > low(deed_step) && ended.eip < low(deed_step) + 100);
}

/* ---- Faults ---------------------------------------------------------------------------------- */

#define FIELD(name) offsetof(struct tss, name)

static void segments(void)
{
    static const struct {
        uint64_t field;
        uint32_t selector, rights; /* of T_WRONG */
        uint32_t vector;
    } rows[] = {
        {FIELD(ldt), T_WRONG, 0xc093, 10},
        {FIELD(ldt), T_WRONG, 0x02, 10},
        {FIELD(ldt), T_LDT | 4, 0, 10},
        {FIELD(cs), 0, 0, 10},
        {FIELD(cs), T_WRONG, 0xc093, 10},
        {FIELD(cs), T_WRONG, 0xc01b, 11},
        {FIELD(cs), T_CODE3 & ~3, 0, 10},
        {FIELD(cs), 8 * T_COUNT, 0, 10},
        {FIELD(ss), 0, 0, 10},
        {FIELD(ss), T_WRONG, 0xc09b, 10},
        {FIELD(ss), T_WRONG, 0xc091, 10},
        {FIELD(ss), T_WRONG, 0xc013, 12},
        {FIELD(ss), T_DATA3, 0, 10},
        {FIELD(ds), T_WRONG, 0xc099, 10},
        {FIELD(ds), T_WRONG, 0x82, 10},
        {FIELD(es), T_WRONG, 0xc013, 11},
        {FIELD(fs), SEL_DATA | 3, 0, 10},
        {FIELD(gs), 8 * T_COUNT | 4, 0, 10},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        prepare(other_iret);
        describe(T_WRONG, 0, 0xfffff, rows[i].rights);
        memcpy((uint8_t *)&tasks_b + rows[i].field, &rows[i].selector, 4);
        run(deed_call, CR0_UNPAGED, false);
        if (!(EXPECT_EQ(ended.vector, rows[i].vector) &&
              EXPECT_EQ(ended.error, rows[i].selector & 0xfffc) && EXPECT_EQ(ended.tr, T_B) &&
              EXPECT_EQ(ended.eip, low(other_iret)) && EXPECT_EQ(second.count, 0)))
            print("# row %d: EIP 0x%x, TR 0x%x\n", i, ended.eip, ended.tr);
    }
}

/* Code for CPL 3 without a stack for CPL 3: the fault occurs at CPL 0, where CS and SS agree. */
static void code_without_its_stack(void)
{
    prepare(other_iret);
    tasks_b.cs = T_CODE3;
    run(deed_call, CR0_UNPAGED, false);
    EXPECT_EQ(ended.vector, 10);
    EXPECT_EQ(ended.error, SEL_DATA);
    EXPECT_EQ(ended.tr, T_B);
}

/* Faults of the first task, whose state has not changed. */
static void task_states(void)
{
    prepare(other_iret);
    describe(T_B, low(&tasks_b), 0x66, 0x89);
    run(deed_call, CR0_UNPAGED, false);
    EXPECT_EQ(ended.vector, 10);
    EXPECT_EQ(ended.error, T_B);
    EXPECT_EQ(ended.tr, T_A);

    prepare(other_iret); /* busy */
    describe(T_B, low(&tasks_b), 0x67, 0x8b);
    run(deed_call, CR0_UNPAGED, false);
    EXPECT_EQ(ended.vector, 13);
    EXPECT_EQ(ended.error, T_B);

    make_tables(false, false); /* no page for the new TSS */
    prepare(other_iret);
    uint32_t alias = ALIAS + (low(&tasks_b) & 0x3fffff);
    describe(T_B, alias, 0x67, 0x89);
    tasks_b.cr3 = root(false, 1);
    run(deed_call, CR0_PAGED, false);
    EXPECT_EQ(ended.vector, 14);
    EXPECT_EQ(ended.error & ~2u, 0);
    EXPECT_EQ(ended.cr2, alias);
    EXPECT_EQ(ended.tr, T_A);
    EXPECT_EQ(rights(T_B), 0x89);
    EXPECT_EQ(tasks_b.link, 0);
}

/* PDPTEs with reserved bits are not loaded. The SDM does not say which fault that causes. Bochs
 * also loses the old PDPTEs, and cannot continue. */
static void bad_pdptes(void)
{
    make_tables(true, true);
    prepare(other_iret);
    pae_tables[1][2] |= 2;
    tasks_b.cr3 = root(true, 1);
    run(deed_call, CR0_PAGED, true);
    EXPECT(ended.vector == 13 || ended.vector == 10);
    EXPECT_EQ(ended.tr, T_B);
}

/* ---- Other modes ----------------------------------------------------------------------------- */

static void user_task(void)
{
    prepare(other_int);
    tasks_b.cs = T_CODE3;
    tasks_b.ss = tasks_b.ds = tasks_b.es = T_DATA3;
    run(deed_call, CR0_UNPAGED, false);
    EXPECT_EQ(ended.vector, T_CALLBACK);
    EXPECT_EQ(ended.cs, T_CODE3);
    EXPECT_EQ(ended.eip, low(other_int_end));
    EXPECT_EQ(ended.tr, T_B);
}

static void v8086_task(void)
{
    prepare(other_int);
    memcpy((void *)(uint64_t)0x61230, other_int, (size_t)(other_int_end - other_int));
    tasks_b.eflags = VM | 0x3002; /* IOPL 3 */
    tasks_b.cs = 0x6000;
    tasks_b.eip = 0x1230;
    tasks_b.ss = tasks_b.ds = tasks_b.es = 0x5000;
    tasks_b.esp = 0x800;
    run(deed_jmp, CR0_UNPAGED, false);
    EXPECT_EQ(ended.vector, T_CALLBACK);
    EXPECT_EQ(ended.cs, 0x6000);
    EXPECT_EQ(ended.eip, 0x1232);
    EXPECT_EQ(ended.eflags & VM, VM);
}

/* The EPT maps none of the pages: the switch itself causes the faults that map them. */
static void pages_that_ept_has_not(void)
{
    prepare(other_iret);
    *(volatile uint32_t *)(uint64_t)STACK = 0x70707070;
    hc_zap((uint64_t)&tasks_b & ~0xfffull, 1);
    hc_zap((uint64_t)&tasks_a & ~0xfffull, 1);
    hc_zap((uint64_t)tasks_gdt & ~0xfffull, 1);
    hc_zap(STACK, 1);
    run(deed_call, CR0_UNPAGED, false);
    first_goes_on();
    second_was_there(1, true);
}

/* The new TSS is not in memory (expect=unsupported-instruction). */
static void task_in_mmio(void)
{
    prepare(other_iret);
    describe(T_B, TESTDEV_A_BASE, 0x67, 0x89);
    run(deed_call, CR0_UNPAGED, false);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"unpaged", unpaged, 0},
        {"paged", paged, 0},
        {"paged_pae", paged_pae, 0},
        {"to_16_bit_tasks", to_16_bit_tasks, 0},
        {"it_goes_on_where_it_was", it_goes_on_where_it_was, 0},
        {"exceptions", exceptions, 0},
        {"from_outside", from_outside, NEED_TESTCTL},
        {"nmi", nmi, NEED_TESTCTL},
        {"trap_bit", trap_bit, 0},
        {"single_step", single_step, 0},
        {"segments", segments, 0},
        {"code_without_its_stack", code_without_its_stack, 0},
        {"task_states", task_states, 0},
        {"bad_pdptes", bad_pdptes, NEED_EPTVISOR},
        {"user_task", user_task, 0},
        {"v8086_task", v8086_task, 0},
        {"pages_that_ept_has_not", pages_that_ept_has_not, NEED_TESTCTL},
    };
    if (rt_args[0] == 'm')
        run_forbidden("task_in_mmio", task_in_mmio);
    run_tests(tests, ARRAY_SIZE(tests));
}
