/* SPDX-License-Identifier: MIT */
/*
 * The MMU's rules as a guest sees them: large pages, dirty logging, write tracking, changes that
 * the host makes, and which of these flush. Run with each of ept_ad=0, pml=0, vpid=0, huge=0 and
 * nx_huge= in turn.
 */
#include "guest/programs/rt/apic.h"
#include "guest/programs/rt/rt.h"

#define SLOT   8
#define BASE   0xc0000000ull
#define PAGES  1024ull
#define VECTOR 0x52

static uint64_t page(uint64_t i)
{
    return BASE + i * RT_PAGE;
}

static void begin(void)
{
    EXPECT_EQ(hc_slot_add(SLOT, BASE, PAGES, 0), 0);
}

static void end(void)
{
    EXPECT_EQ(hc_slot_delete(SLOT), 0);
    EXPECT_EQ(read32(BASE), 0xffffffff); /* MMIO again: no stale RAM */
}

/* T2: RAM that replaces MMIO needs no flush; RAM that is removed is flushed and never read again.
 * The slot is too small for a large leaf, which would replace the table of the MMIO SPTE, and so
 * need a flush (T6). */
static void flush_rules(void)
{
    (void)read32(BASE);
    struct flushes invepts = watch_flushes();
    EXPECT_EQ(hc_slot_add(SLOT, BASE, 16, 0), 0);
    write32(BASE, 5);
    EXPECT_EQ(read32(BASE), 5);
    EXPECT_EQ(flushed(invepts, 0), 0);
    end();
    EXPECT_EQ(flushed(invepts, 1), 1);
    note("invepts", flushed(invepts, 1));
}

/* N1, T6: there is one large leaf. Tracking a page splits it, and the memory keeps its contents. */
static void large_and_split(void)
{
    begin();
    struct watch small = watch(COUNTER_PAGES_4K), large = watch(COUNTER_PAGES_2M);
    struct watch splits = watch(COUNTER_SPLITS);
    for (uint64_t i = 0; i < PAGES; i++)
        write64(page(i), i);
    if (hc_config(CONFIG_HUGE)) {
        EXPECT_EQ(watched(large), 2);
        EXPECT_EQ(watched(small), 0);
        EXPECT_EQ(hc_page(HC_TRACK, page(5)), 0);
        EXPECT_EQ(watched(splits), 1);
        EXPECT_EQ(watched(small), 512);
        EXPECT_EQ(hc_page(HC_UNTRACK, page(5)), 0);
    } else {
        EXPECT_EQ(watched(small), PAGES);
    }
    uint64_t wrong = 0;
    for (uint64_t i = 0; i < PAGES; i++)
        wrong += read64(page(i)) != i;
    EXPECT_EQ(wrong, 0);
    note("splits", watched(splits));
    end();
}

static void run_code(void)
{
    ((void (*)(void))page(7))();
}

/* N1: code in a large page can run; it runs in a small page if large ones are not executable. */
static void executed_large_page(void)
{
    begin();
    write32(page(7), 0xc3); /* ret */
    struct watch splits = watch(COUNTER_SPLITS);
    run_code();
    run_code();
    bool split = hc_config(CONFIG_NX_HUGE);
    EXPECT_EQ(watched(splits), split);
    struct hypercall recover = {0};
    EXPECT_EQ(hypercall(HC_NX_RECOVER, &recover), 0);
    EXPECT_EQ(recover.rbx >= split, 1);
    run_code();
    note("splits", watched(splits));
    end();
}

/* S4, N2: each page that is written is in the log once, whichever method logs it. */
static void dirty_log(void)
{
    begin();
    for (uint64_t i = 0; i < PAGES; i++)
        write64(page(i), 1);
    EXPECT_EQ(hc_slot_flags(SLOT, SLOT_LOG_DIRTY), 0);
    EXPECT_EQ(hc_dirty_get(SLOT, 0), 0);
    uint64_t wrong = 0;
    for (unsigned round = 0; round < 8; round++) {
        for (uint64_t i = round; i < PAGES; i += 8) /* more pages than a PML log has entries */
            write64(page(i), round);
        for (uint64_t i = 0; i < PAGES; i += 64)
            wrong += hc_dirty_get(SLOT, i) != 0x0101010101010101ull << round;
    }
    for (uint64_t i = 0; i < PAGES; i++)
        write64(page(i), 9);
    for (uint64_t i = 0; i < PAGES; i += 64)
        wrong += hc_dirty_get(SLOT, i) != ~0ull;
    for (uint64_t i = 0; i < PAGES; i += 64)
        wrong += hc_dirty_get(SLOT, i) != 0;
    EXPECT_EQ(wrong, 0);
    note("fast_faults", counter(COUNTER_FAST_FAULTS));
    note("pml_full", counter(COUNTER_EXIT(62)));
    EXPECT_EQ(hc_slot_flags(SLOT, 0), 0);
    EXPECT_EQ(read64(page(3)), 9);
    end();
}

/* S4, N10: after tracking, a store causes an exit, even if the dirty log had cleared W before, and
 * takes effect. */
static void write_tracking(void)
{
    begin();
    write64(page(1), 1);
    EXPECT_EQ(hc_slot_flags(SLOT, SLOT_LOG_DIRTY), 0);
    write64(page(1), 2);
    (void)hc_dirty_get(SLOT, 0);
    EXPECT_EQ(hc_page(HC_TRACK, page(1)), 0);
    struct watch violations = watch(EXITS_VIOLATION);
    for (uint64_t i = 0; i < 10; i++)
        write64(page(1), 100 + i);
    EXPECT_EQ(watched(violations), 10);
    EXPECT_EQ(read64(page(1)), 109);
    EXPECT_EQ(watched(violations), 10);
    EXPECT_EQ(hc_dirty_get(SLOT, 0), 2);
    EXPECT_EQ(hc_page(HC_UNTRACK, page(1)), 0);
    write64(page(1), 7);
    write64(page(1), 8);
    EXPECT_EQ(watched(violations), 11);
    EXPECT_EQ(hc_page(HC_UNTRACK, page(1)), -EINVAL);
    note("violations", watched(violations));
    end();
}

/* N4: the host moves a page under a guest that keeps writing to it. */
static void host_remap(void)
{
    uint64_t wrong = 0;
    begin();
    for (uint64_t i = 1; i <= 100; i++) {
        write64(page(9), i);
        EXPECT_EQ(hc_page(HC_HOST_REMAP, page(9)), 0);
        wrong += read64(page(9)) != i;
    }
    EXPECT_EQ(wrong, 0);
    EXPECT_EQ(hc_page(HC_HOST_REMAP, BASE - RT_PAGE), -EFAULT);
    end();
}

/* N4: aging reports the pages that were accessed since the last aging. */
static void aging(void)
{
    begin();
    EXPECT_EQ(hc_slot_flags(SLOT, SLOT_LOG_DIRTY), 0); /* small pages */
    for (uint64_t i = 0; i < 16; i++)
        write64(page(i), i);
    EXPECT_EQ(hc_age(BASE, PAGES), 16);
    EXPECT_EQ(hc_age(BASE, PAGES), 0);
    EXPECT_EQ(hc_zap(BASE + 0x200000, 1), 0); /* nothing is mapped; but the next entry may flush */
    (void)read64(page(3));
    write64(page(4), 4);
    uint64_t young = hc_age(BASE, PAGES);
    EXPECT(young <= 2); /* the TLB may have translated later accesses, which sets no A */
    note("young", young);
    end();
}

/* An interrupt of the x2APIC is pushed onto a page whose large leaf has just been split. A
 * hypervisor below has no entry for the page then, and its exit cuts the delivery short. The
 * interrupt arrives all the same, and no older exception in its place. */
static void interrupt_after_split(void)
{
    begin();
    write64(page(0), 0);
    apic_enter_x2apic();
    apic_write(APIC_REG_SVR, 0x1ff);
    look_for(VECTOR_PF, 2);
    __asm__ volatile(".byte 0x8b, 0x07" : : "D"(TEST_VA + 64 * RT_2M) : "rax", "memory");
    EXPECT_EQ(seen.count, 1);
    set_handler(VECTOR_PF, NULL); /* a second one ends the guest */
    set_stack(VECTOR, page(1));
    look_for(VECTOR, 0);
    send_ipi(0, ICR_SELF | VECTOR);
    EXPECT_EQ(hc_page(HC_TRACK, page(5)), 0);
    __asm__ volatile("sti; nop; nop; cli" : : : "memory");
    EXPECT_EQ(seen.count, 1);
    apic_write(APIC_REG_EOI, 0);
    set_handler(VECTOR, NULL);
    set_stack(VECTOR, 0);
    EXPECT_EQ(hc_page(HC_UNTRACK, page(5)), 0);
    end();
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"flush_rules", flush_rules, NEED_TESTCTL},
        {"large_and_split", large_and_split, NEED_TESTCTL},
        {"executed_large_page", executed_large_page, NEED_TESTCTL},
        {"dirty_log", dirty_log, NEED_TESTCTL},
        {"write_tracking", write_tracking, NEED_TESTCTL},
        {"host_remap", host_remap, NEED_TESTCTL},
        {"aging", aging, NEED_TESTCTL},
        {"interrupt_after_split", interrupt_after_split, NEED_TESTCTL},
    };

    run_tests(tests, ARRAY_SIZE(tests));
}
