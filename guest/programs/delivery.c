/* SPDX-License-Identifier: MIT */
/*
 * Events whose delivery meets a stale MMIO SPTE (rule F4a): the page of the stack or of the IDT was
 * a hole and is RAM now, but still has its MMIO SPTE. A misconfiguration interrupts the delivery,
 * the page is mapped, and the event arrives once. A delivery that really needs a device ends the VM
 * instead (forbidden_mmio_delivery.c).
 */
#include "guest/programs/rt/apic.h"
#include "guest/programs/rt/rt.h"

#define PLACE  0xd0000000ull
#define SLOT   8
#define VECTOR 0x52
#define ROUNDS 20

/* Installs a current MMIO SPTE, then adds RAM: the next access is a misconfiguration. */
static void make_stale(void)
{
    EXPECT_EQ(read32(PLACE), 0xffffffff);
    EXPECT_EQ(read32(PLACE + 8), 0xffffffff);
    EXPECT_EQ(hc_slot_add(SLOT, PLACE, 1, 0), 0);
}

static void raise_software(void)
{
    __asm__ volatile("int %0" : : "i"(VECTOR) : "memory");
}

static void raise_breakpoint(void)
{
    __asm__ volatile("int3" : : : "memory");
}

static void raise_undefined(void)
{
    __asm__ volatile("ud2" : : : "memory");
}

static void raise_page_fault(void)
{
    __asm__ volatile(".byte 0x8b, 0x07" : : "D"(TEST_VA + 64 * RT_2M) : "rax", "memory");
}

static void raise_external(void)
{
    EXPECT_EQ(hc_inject(EVENT(EVENT_INTERRUPT, VECTOR), 0, 0), 0);
    __asm__ volatile("sti; nop; nop; cli" : : : "memory");
}

static void raise_nmi(void)
{
    EXPECT_EQ(hc_inject(EVENT(EVENT_NMI, VECTOR_NMI), 0, 0), 0);
    __asm__ volatile("nop; nop" : : : "memory");
}

static const struct {
    void (*raise)(void);
    unsigned vector;
    uint64_t skip;
} events[] = {
    {raise_software, VECTOR, 0},     {raise_breakpoint, VECTOR_BP, 0},
    {raise_undefined, VECTOR_UD, 2}, {raise_page_fault, VECTOR_PF, 2},
    {raise_external, VECTOR, 0},     {raise_nmi, VECTOR_NMI, 0},
};

static uint64_t arrived, requeued, misconfigs;

static void deliver(unsigned i)
{
    struct watch w = watch(COUNTER_EVENTS_REQUEUED), m = watch(EXITS_MISCONFIG);
    look_for(events[i].vector, events[i].skip);
    events[i].raise();
    set_handler(events[i].vector, NULL);
    EXPECT_EQ(seen.count, 1);
    arrived += seen.count;
    misconfigs += watched(m);
    requeued += watched(w);
}

static void begin(void)
{
    arrived = requeued = misconfigs = 0;
}

static void end(unsigned times)
{
    uint64_t caching = hc_config(CONFIG_MMIO_CACHING);
    EXPECT_EQ(arrived, times);
    EXPECT_EQ(requeued, times); /* without MMIO SPTEs, a violation interrupts the delivery */
    EXPECT_EQ(misconfigs, caching ? times : 0);
    note("arrived", arrived);
    note("requeued", requeued);
    note("misconfigs", misconfigs);
}

static void stack(void)
{
    begin();
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < ARRAY_SIZE(events); i++) {
            make_stale();
            set_stack(events[i].vector, PLACE + RT_PAGE);
            deliver(i);
            set_stack(events[i].vector, 0);
            EXPECT_EQ(hc_slot_delete(SLOT), 0);
        }
    }
    end(ROUNDS * ARRAY_SIZE(events));
}

/* The gates are written while the slot lies at another address. Then the slot is moved to the
 * address that has the stale SPTE. */
static void descriptor_table(void)
{
    begin();
    for (unsigned i = 0; i < ARRAY_SIZE(events); i++) {
        EXPECT_EQ(hc_slot_add(SLOT, PLACE + RT_2M, 1, 0), 0);
        memcpy((void *)(PLACE + RT_2M), rt_idt, sizeof(rt_idt));
        EXPECT_EQ(read32(PLACE), 0xffffffff);
        EXPECT_EQ(hc_slot_move(SLOT, PLACE), 0);
        load_idt(PLACE);
        deliver(i);
        load_idt((uint64_t)rt_idt);
        EXPECT_EQ(hc_slot_delete(SLOT), 0);
    }
    end(ARRAY_SIZE(events));
}

/* An interrupt of the x2APIC, which the CPU itself may deliver, arrives after exceptions that were
 * delivered without an exit: what is interrupted is the interrupt, and none of these. */
static void virtual_interrupt(void)
{
    begin();
    apic_enter_x2apic();
    apic_write(APIC_REG_SVR, 0x1ff);
    for (unsigned round = 0; round < ROUNDS; round++) {
        look_for(VECTOR_PF, 2);
        raise_page_fault();
        EXPECT_EQ(seen.count, 1);
        set_handler(VECTOR_PF, NULL); /* a second one ends the guest */
        make_stale();
        set_stack(VECTOR, PLACE + RT_PAGE);
        struct watch w = watch(COUNTER_EVENTS_REQUEUED), m = watch(EXITS_MISCONFIG);
        look_for(VECTOR, 0);
        send_ipi(0, ICR_SELF | VECTOR);
        __asm__ volatile("sti; nop; nop; cli" : : : "memory");
        set_handler(VECTOR, NULL);
        EXPECT_EQ(seen.count, 1);
        apic_write(APIC_REG_EOI, 0);
        arrived += seen.count;
        misconfigs += watched(m);
        requeued += watched(w);
        set_stack(VECTOR, 0);
        EXPECT_EQ(hc_slot_delete(SLOT), 0);
    }
    end(ROUNDS);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"stack_was_mmio", stack, NEED_TESTCTL},
        {"idt_was_mmio", descriptor_table, NEED_TESTCTL},
        {"virtual_interrupt", virtual_interrupt, NEED_TESTCTL},
    };

    run_tests(tests, ARRAY_SIZE(tests));
}
