/* SPDX-License-Identifier: MIT */
/*
 * NMI blocking across IRET (SDM 3, 28.2.3). An IRET ends the blocking before anything that can make
 * it exit; if it is then executed again, the next NMI has to wait until the IRET has completed. In
 * each test an NMI handler returns through a frame on which its IRET exits, while another NMI is
 * pending.
 */
#include "guest/programs/rt/sides.h"

#define SLOT      8
#define AREA      0xd0000000ull
#define PAGES     1024ull
#define HOLE      0xd8000000ull
#define STACK     TEST_VA /* two pages; the frame ends after the first 8 bytes of the second */
#define FRAME     (STACK + RT_PAGE - 32)
#define EXITS_PML COUNTER_EXIT(62)

extern uint8_t iret_raised[], iret_nmi[], iret_at[], iret_ve[], rt_vectors[][16];
extern volatile uint32_t iret_nmis, iret_ves;
extern uint64_t iret_rips[4], iret_frame;
void iret_raise(uint64_t event, uint64_t *rsp);
void iret_prepare(void);

static void nothing(void)
{
}

/* Called before the NMI is raised, and by its handler before it returns. */
static void (*ready)(void) = nothing;
static void (*prepare)(void) = nothing;

void iret_prepare(void)
{
    hc_inject(EVENT(EVENT_NMI, VECTOR_NMI), 0, 0);
    prepare();
}

/* The entry of TEST_VA's page directory. */
static uint64_t *directory_entry(void)
{
    uint64_t *pdpt = (uint64_t *)(rt_pml4[TEST_VA >> 39 & 511] & ~0xfffull);
    uint64_t *pd = (uint64_t *)(pdpt[TEST_VA >> 30 & 511] & ~0xfffull);
    return &pd[TEST_VA >> 21 & 511];
}

/* Raises an NMI whose handler returns by a frame at FRAME. Its first 32 bytes lie in `page`. Its
 * SS, in the next page, is null if that page cannot be written. */
static void return_by(uint64_t *page, uint64_t ss_page)
{
    map_page(rt_pml4, STACK, (uint64_t)page, PTE_P | PTE_W);
    map_page(rt_pml4, STACK + RT_PAGE, ss_page, PTE_P | PTE_W);
    invlpg(STACK);
    invlpg(STACK + RT_PAGE);
    uint64_t *frame = page + 512 - 4;
    frame[0] = (uint64_t)iret_raised;
    frame[1] = SEL_CODE64;
    frame[2] = 2;
    iret_frame = FRAME;
    iret_nmis = iret_ves = 0;
    iret_rips[0] = iret_rips[1] = 0;
    set_gate(VECTOR_NMI, (uint64_t)iret_nmi);
    ready();
    iret_raise(EVENT(EVENT_NMI, VECTOR_NMI), &frame[3]);
    set_gate(VECTOR_NMI, (uint64_t)rt_vectors[VECTOR_NMI]);
    EXPECT_EQ(iret_nmis, 2);
    EXPECT_EQ(iret_rips[0], iret_raised);
}

static uint64_t *stack_page(void)
{
    static uint64_t *page;
    if (!page)
        page = new_page();
    return page;
}

static void expect_after_iret(void)
{
    EXPECT(iret_rips[1] != (uint64_t)iret_at); /* otherwise it arrived before the IRET completed */
    EXPECT_EQ(iret_rips[1], iret_raised);
}

/* ---- An EPT violation ------------------------------------------------------------------------ */

#define FAR_PAGE 0xa00000ull

static void drop_far_page(void)
{
    hc_zap(FAR_PAGE, 1);
}

static void violation(void)
{
    if (!EXPECT(rt_ram_end > FAR_PAGE))
        return;
    prepare = drop_far_page;
    *(volatile uint64_t *)FAR_PAGE = 0;
    struct watch violations = watch(EXITS_VIOLATION);
    return_by(stack_page(), FAR_PAGE);
    note("violations", watched(violations));
    expect_after_iret();
}

/* ---- A full PML log -------------------------------------------------------------------------- */

static uint64_t logged;

static void fill_log(void)
{
    for (uint64_t i = 0; i < logged; i++)
        *(volatile uint8_t *)(AREA + i * RT_PAGE) = 1;
}

static void empty_log(void)
{
    for (uint64_t page = 0; page < PAGES; page += 64)
        (void)hc_dirty_get(SLOT, page);
}

/* The page table of the stack lies in the slot, and its entries have A clear. So the walk of the
 * IRET writes to it, for which the log has no room. */
static void log_full(void)
{
    uint64_t *table = (uint64_t *)(AREA + (PAGES - 1) * RT_PAGE), *ss_page = new_page();
    struct watch full = watch(EXITS_PML);
    map_page(rt_pml4, STACK, 0, 0);
    uint64_t *pde = directory_entry(), old = *pde;
    EXPECT_EQ(hc_slot_add(SLOT, AREA, PAGES, 0), 0);
    for (uint64_t i = 0; i < PAGES; i++)
        write32(AREA + i * RT_PAGE, 0);
    EXPECT_EQ(hc_slot_flags(SLOT, SLOT_LOG_DIRTY), 0);
    *pde = (uint64_t)table | PTE_P | PTE_W | PTE_A;
    ready = empty_log;
    prepare = fill_log;
    for (logged = 508; logged <= 514; logged++) {
        return_by(stack_page(), (uint64_t)ss_page);
        expect_after_iret();
    }
    ready = nothing;
    *pde = old;
    invlpg(STACK);
    uint64_t count = watched(full);
    EXPECT(!hc_config(CONFIG_PML) || count > 0);
    note("full", count);
    EXPECT_EQ(hc_slot_delete(SLOT), 0);
}

/* ---- A misconfiguration ---------------------------------------------------------------------- */

static void memory_over_mmio(void)
{
    hc_slot_add(SLOT, HOLE, 1, 0);
}

/* SS, which is null, is the first word of memory that has replaced MMIO and still has a stale MMIO
 * SPTE. An EPT misconfiguration does not report whether it occurred during IRET. */
static void misconfiguration(void)
{
    prepare = memory_over_mmio;
    EXPECT_EQ(read32(HOLE), 0xffffffff);
    struct watch exits = watch(mmio_exit());
    return_by(stack_page(), HOLE);
    note("exits", watched(exits));
    expect_after_iret();
    EXPECT_EQ(hc_slot_delete(SLOT), 0);
}

/* ---- A fault --------------------------------------------------------------------------------- */

static uint8_t ve_stack[4096] __attribute__((aligned(16)));

/* SS lies in MMIO: the IRET causes #VE, which ends the blocking, so the NMI arrives at once. */
static void virtualization_exception(void)
{
    prepare = nothing;
    set_stack(VECTOR_VE, (uint64_t)ve_stack + sizeof(ve_stack));
    set_gate(VECTOR_VE, (uint64_t)iret_ve);
    for (unsigned i = 0; i < 2; i++) { /* the first access exits even if the CPU delivers #VE */
        return_by(stack_page(), HOLE | shared_bit());
        EXPECT_EQ(iret_ves, 1);
        EXPECT_EQ(iret_rips[1], iret_ve);
    }
    set_gate(VECTOR_VE, (uint64_t)rt_vectors[VECTOR_VE]);
    set_stack(VECTOR_VE, 0);
}

void guest_main(void)
{
    static const struct test with_ve[] = {
        {"virtualization_exception", virtualization_exception, NEED_TESTCTL | NEED_SHARED},
    };
    static const struct test tests[] = {
        {"violation", violation, NEED_TESTCTL},
        {"log_full", log_full, NEED_TESTCTL},
        {"misconfiguration", misconfiguration, NEED_TESTCTL},
    };
    if (rt_args[0] == 'v')
        run_tests(with_ve, ARRAY_SIZE(with_ve));
    run_tests(tests, ARRAY_SIZE(tests));
}
