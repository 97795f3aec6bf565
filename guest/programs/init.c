/* SPDX-License-Identifier: MIT */
/*
 * INIT and start-up IPIs. A CPU changes all of its state: every register, and its APIC, with a
 * running periodic timer and interrupts that are pending and in service. Then it gets an INIT, and
 * its state is compared with the SDM's table of the states after power-up, reset and INIT (volume
 * 3, table 10-1) and, for the APIC, with section 11.4.7.3. The argument `x2apic` selects x2APIC
 * mode.
 */
#include "guest/programs/init/probe.h"
#include "guest/programs/rt/smp.h"

#define CR4_FXSR   BIT(9)
#define CR4_XSAVE  BIT(18)
#define CR0_CD_NW  BITS(30, 29)
#define FCW_DIRTY  0x27f
#define TIMER      0x41
#define WAITING    0x51
#define LATER      0x71
#define DELAY      3000000 /* TSC ticks: after the INIT, and before the end of the test */
#define TSC_ADJUST 0x3b
#define ADJUSTMENT 0x12340000ull
#define PERIODIC   0x20000u

extern uint8_t probe[], probe_end[], mark[], mark_end[];
extern volatile uint32_t probe_ready;
_Noreturn void probe_spin(void);

/* The state of the CPU after INIT, as probe.S stores it. */
struct found {
    uint32_t eax, ecx, edx, ebx, esp, ebp, esi, edi;
    uint32_t eflags, cr0, cr2, cr3, cr4, dr0, dr1, dr2, dr3, dr6, dr7, efer, fs_base, gs_base;
    uint32_t mark[3];
    uint8_t gdtr[8], idtr[8];
    uint16_t ds, es, ss, fs, gs, cs;
};
#define FOUND ((const volatile struct found *)(uintptr_t)PROBE_FOUND)
_Static_assert(sizeof(struct found) == 128, "probe.S");

/* INIT changes no other MSR. The program does not use the second entry of IA32_PAT. */
static const struct {
    uint32_t msr;
    uint64_t value;
} kept[] = {
    {0x174, 8},
    {0x175, 0x1111000},
    {0x176, 0x2222000},
    {0x277, 0x0007040600070106},
    {0xc0000081, 0x0008001000000000},
    {0xc0000082, 0x3333000},
    {0xc0000083, 0x4444000},
    {0xc0000084, 0x47700},
    {0xc0000102, 0x5555000},
};

static volatile uint64_t cr0_before, xcr0_before;
static volatile unsigned came_later;

static bool has_xsave(void)
{
    return cpuid(1).ecx & BIT(26);
}

static bool has_rdtscp(void)
{
    return cpuid(0x80000001).edx & BIT(27);
}

static bool has_tsc_adjust(void)
{
    return cpuid(0).eax >= 7 && cpuid(7).ebx & BIT(1);
}

static uint64_t xgetbv(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

/* Every component that the CPU has: INIT keeps them all. */
static void dirty_xcr0(void)
{
    uint32_t eax = 0xd, ecx = 0, ebx, edx;
    if (!has_xsave())
        return;
    __asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
    __asm__ volatile("xsetbv" : : "c"(0), "a"(eax), "d"(edx));
    xcr0_before = xgetbv();
}

static void dirty_registers(void)
{
    uint64_t cr0, pattern = 0xa5a5a5a5a5a5a5a5ull;
    uint16_t fcw = FCW_DIRTY;
    __asm__ volatile("mov %%cr0, %0" : "=r"(cr0));
    cr0_before = cr0;
    write_cr4(read_cr4() | CR4_PGE | CR4_FXSR | (has_xsave() ? CR4_XSAVE : 0));
    __asm__ volatile("fldcw %0; movq %1, %%xmm7" : : "m"(fcw), "r"(pattern));
    dirty_xcr0();
    __asm__ volatile("mov %0, %%dr0; mov %0, %%dr1; mov %0, %%dr2; mov %0, %%dr3; mov %0, %%cr2"
                     :
                     : "r"(0x7777000ull));
    __asm__ volatile("mov %0, %%dr6; mov %1, %%dr7" : : "r"(0xffff4ff1ull), "r"(0xff07aaull));
    for (unsigned i = 0; i < ARRAY_SIZE(kept); i++)
        wrmsr(kept[i].msr, kept[i].value);
    if (has_rdtscp())
        wrmsr(0xc0000103, 77);
    if (has_tsc_adjust())
        wrmsr(TSC_ADJUST, ADJUSTMENT);
    wrmsr(0xc0000100, 0x100000);
    wrmsr(0xc0000101, 0x200000);
}

/* The timer has expired and keeps running; one interrupt is in service and two are pending. */
static void dirty_apic(void)
{
    apic_write(APIC_REG_SVR, 0x1ff);
    apic_write(APIC_REG_DIVIDE, 1);
    apic_write(APIC_REG_TIMER, PERIODIC | TIMER);
    apic_write(APIC_REG_INITIAL, 1000);
    apic_write(APIC_REG_TIMER + 0x50, 0x61);  /* the LVT entry for errors */
    apic_write(APIC_REG_TIMER + 0x30, 0x400); /* LINT0 */
    send_ipi(0, ICR_SELF | WAITING);
    for (uint64_t end = rdtsc() + 10000; rdtsc() < end;)
        pause();
    if (!apic_is_x2apic)
        apic_write(APIC_REG_LDR, 0x2000000);
    send_ipi(0, ICR_SELF | 5); /* an error */
}

static void count_later(struct frame *frame)
{
    (void)frame;
    came_later++;
}

static void in_interrupt(struct frame *frame)
{
    (void)frame;
    dirty_apic();
    EXPECT_EQ(hc_inject(EVENT(EVENT_INTERRUPT, LATER), 0, DELAY), 0);
    apic_write(APIC_REG_TPR, 0x20);
    probe_spin();
}

static void dirty(void)
{
    dirty_registers();
    set_handler(0x31, in_interrupt);
    set_handler(LATER, count_later);
    send_ipi(0, ICR_SELF | 0x31);
    __asm__ volatile("sti; nop; cli");
}

/* While a CPU waits for a start-up IPI, no other message reaches it. No NMI is sent before the
 * INIT, because it would leave NMIs blocked in Bochs 2.7 (docs/EMULATOR-GAPS.md). */
static void init_and_start(unsigned page)
{
    send_ipi(1, WAITING);
    send_ipi(1, ICR_INIT);
    send_ipi(1, ICR_NMI);
    send_ipi(1, WAITING);
    send_ipi(1, ICR_STARTUP | page);
}

static bool wait_for(const volatile uint32_t *what)
{
    for (uint64_t end = rdtsc() + 200000000; !*what && rdtsc() < end;)
        pause();
    return *what;
}

static void put(const uint8_t *code, const uint8_t *end, unsigned page)
{
    memset((void *)(uintptr_t)(page << 12), 0, RT_PAGE);
    memcpy((void *)(uintptr_t)(page << 12), code, (size_t)(end - code));
}

static volatile unsigned nmis;
static void count_nmi(struct frame *frame)
{
    (void)frame;
    nmis++;
}

/* The test is made twice, the second time with a VMCS and an APIC that have already had an INIT. */
static void everything_is_dirty(void)
{
    for (unsigned i = 0; i < 2; i++) {
        forget_cpus();
        EXPECT(start_cpus(1, 1));
        probe_ready = 0;
        run_on(1, dirty);
        EXPECT(wait_for(&probe_ready));
        forget_cpus();
        put(probe, probe_end, PROBE_PAGE >> 12);
        set_handler(VECTOR_NMI, count_nmi);
        init_and_start(PROBE_PAGE >> 12);
        EXPECT(wait_for(&FOUND->mark[2]));
        for (uint64_t end = rdtsc() + 200000000; cpus_running < 2 && rdtsc() < end;)
            pause();
    }
    EXPECT_EQ(cpus_running, 2);
    EXPECT_EQ(cr0_before & CR0_CD_NW, 0);
}

static void general_registers(void)
{
    EXPECT_EQ(FOUND->eax | FOUND->ecx | FOUND->ebx | FOUND->esp | FOUND->ebp | FOUND->esi |
                  FOUND->edi,
              0);
    EXPECT_EQ(FOUND->edx, cpuid(1).eax);
    EXPECT_EQ(FOUND->eflags, 2);
}

static void control_registers(void)
{
    EXPECT_EQ(FOUND->cr0, 0x10); /* CD and NW are unchanged */
    EXPECT_EQ(FOUND->cr2, 0);
    EXPECT_EQ(FOUND->cr3, 0);
    EXPECT_EQ(FOUND->cr4, 0);
    EXPECT_EQ(FOUND->efer, 0);
}

static void debug_registers(void)
{
    EXPECT_EQ(FOUND->dr0 | FOUND->dr1 | FOUND->dr2 | FOUND->dr3, 0);
    EXPECT_EQ(FOUND->dr6, 0xffff0ff0);
    EXPECT_EQ(FOUND->dr7, 0x400);
}

static void segments(void)
{
    EXPECT_EQ(FOUND->ds | FOUND->es | FOUND->ss | FOUND->fs | FOUND->gs, 0);
    EXPECT_EQ(FOUND->cs, PROBE_PAGE >> 4);
    EXPECT_EQ(FOUND->fs_base | FOUND->gs_base, 0);
    for (unsigned i = 0; i < 3; i++)
        EXPECT_EQ(FOUND->mark[i], PROBE_MARK);
    for (unsigned i = 0; i < 6; i++) { /* limit 0xffff, base 0 */
        EXPECT_EQ(FOUND->gdtr[i], i < 2 ? 0xff : 0);
        EXPECT_EQ(FOUND->idtr[i], i < 2 ? 0xff : 0);
    }
}

/* Checks, on the restarted CPU, the state that can be read only in 64-bit mode. */
static void look_at_rest(void)
{
    uint64_t xmm;
    uint16_t fcw;
    for (unsigned i = 0; i < ARRAY_SIZE(kept); i++)
        EXPECT_EQ(rdmsr(kept[i].msr), kept[i].value);
    EXPECT_EQ(has_rdtscp() ? rdmsr(0xc0000103) : 77, 77);
    EXPECT_EQ(has_tsc_adjust() ? rdmsr(TSC_ADJUST) : ADJUSTMENT, ADJUSTMENT);
    write_cr4(read_cr4() | CR4_FXSR | (has_xsave() ? CR4_XSAVE : 0));
    __asm__ volatile("movq %%xmm7, %0; fnstcw %1" : "=r"(xmm), "=m"(fcw));
    EXPECT_EQ(xmm, 0xa5a5a5a5a5a5a5a5ull);
    EXPECT_EQ(fcw, FCW_DIRTY);
    EXPECT_EQ(has_xsave() ? xgetbv() : 0, xcr0_before);
    EXPECT(!has_xsave() || (xcr0_before & 3) == 3);
}

/* SVR is not checked, because the runtime has written it. */
static void look_at_apic(void)
{
    static const unsigned lvts[] = {0, 0x10, 0x20, 0x30, 0x40, 0x50};
    __asm__ volatile("sti");
    for (uint64_t end = rdtsc() + DELAY; rdtsc() < end;)
        pause();
    __asm__ volatile("cli"); /* no interrupt is pending any more */
    EXPECT_EQ(came_later, 0);
    EXPECT_EQ(apic_read(APIC_REG_TPR), 0);
    EXPECT_EQ(apic_read(APIC_REG_PPR), 0);
    EXPECT_EQ(apic_is_x2apic ? 0 : apic_read(APIC_REG_LDR), 0);
    EXPECT_EQ(apic_is_x2apic ? ~0u : apic_read(0xe0), ~0u); /* DFR */
    EXPECT_EQ(apic_read(APIC_REG_ICR), 0);
    EXPECT_EQ(apic_read(APIC_REG_INITIAL) | apic_read(APIC_REG_CURRENT), 0);
    EXPECT_EQ(apic_read(APIC_REG_DIVIDE), 0);
    EXPECT_EQ(apic_read(APIC_REG_ESR), 0);
    EXPECT_EQ(rdmsr(MSR_TSC_DEADLINE), 0);
    for (unsigned i = 0; i < ARRAY_SIZE(lvts); i++)
        EXPECT_EQ(apic_read(APIC_REG_TIMER + lvts[i]), 0x10000);
    for (unsigned i = 0; i < 0x80; i += 0x10)
        EXPECT_EQ(apic_read(APIC_REG_ISR + i) | apic_read(APIC_REG_IRR + i), 0);
    /* A timer that was still running would expire all the time, with a period of 0 ticks. */
    apic_write(APIC_REG_TIMER, PERIODIC | TIMER);
    for (uint64_t end = rdtsc() + 100000; rdtsc() < end;)
        pause();
    EXPECT_EQ(apic_read(APIC_REG_IRR + 0x20), 0);
}

static void registers_that_stay(void)
{
    run_on(1, look_at_rest);
    EXPECT(finished(1));
}

static void local_apic(void)
{
    run_on(1, look_at_apic);
    EXPECT(finished(1));
}

/* No NMI that was sent before arrives, and the next one is not blocked. */
static void nmis_are_gone(void)
{
    EXPECT_EQ(nmis, 0);
    send_ipi(1, ICR_NMI);
    for (uint64_t end = rdtsc() + 100000000; !nmis && rdtsc() < end;)
        pause();
    EXPECT_EQ(nmis, 1);
}

#define FIRST  0x9u
#define SECOND 0xau

/* Returns the vector with which the CPU started, when all IPIs have taken effect. */
static uint32_t begins_at(void)
{
    const volatile uint32_t *at = (const volatile uint32_t *)(uintptr_t)PROBE_FOUND;
    (void)wait_for(at);
    for (uint64_t end = rdtsc() + 1000000; rdtsc() < end;)
        pause();
    return *at >> 8;
}

static void prepare(void)
{
    send_ipi(1, ICR_INIT);
    for (uint64_t end = rdtsc() + 1000000; rdtsc() < end;)
        pause();
    put(mark, mark_end, FIRST); /* not before the INIT: the CPU may be executing this page */
    put(mark, mark_end, SECOND);
    *(volatile uint32_t *)(uintptr_t)PROBE_FOUND = 0;
}

static void first_startup_counts(void)
{
    prepare();
    send_ipi(1, ICR_STARTUP | FIRST);
    send_ipi(1, ICR_STARTUP | SECOND);
    EXPECT_EQ(begins_at(), FIRST);
}

/* The INIT arrives before the CPU has run after the first start-up IPI, or at any moment
 * afterwards. */
static void init_forgets_a_startup(void)
{
    for (uint64_t wait = 0; wait < 3000; wait = 2 * wait + 1) {
        prepare();
        send_ipi(1, ICR_STARTUP | FIRST);
        for (uint64_t end = rdtsc() + wait; rdtsc() < end;)
            ;
        send_ipi(1, ICR_INIT);
        send_ipi(1, ICR_STARTUP | SECOND);
        for (uint64_t end = rdtsc() + 20000000; begins_at() != SECOND && rdtsc() < end;)
            ;
        if (!EXPECT_EQ(begins_at(), SECOND))
            return;
    }
}

static void init_alone_stops(void)
{
    prepare();
    send_ipi(1, ICR_STARTUP | FIRST);
    send_ipi(1, ICR_INIT);
    for (uint64_t end = rdtsc() + 10000000; rdtsc() < end;)
        pause();
    *(volatile uint32_t *)(uintptr_t)PROBE_FOUND = 0;
    send_ipi(1, ICR_STARTUP | SECOND);
    EXPECT_EQ(begins_at(), SECOND);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"everything_is_dirty", everything_is_dirty, NEED_EPTVISOR},
        {"general_registers", general_registers, NEED_EPTVISOR},
        {"control_registers", control_registers, NEED_EPTVISOR},
        {"debug_registers", debug_registers, NEED_EPTVISOR},
        {"segments", segments, NEED_EPTVISOR},
        {"registers_that_stay", registers_that_stay, NEED_EPTVISOR},
        {"local_apic", local_apic, NEED_EPTVISOR},
        {"nmis_are_gone", nmis_are_gone, NEED_EPTVISOR},
        {"first_startup_counts", first_startup_counts, NEED_EPTVISOR},
        {"init_forgets_a_startup", init_forgets_a_startup, NEED_EPTVISOR},
        {"init_alone_stops", init_alone_stops, NEED_EPTVISOR},
    };

    if (*rt_args == 'x')
        apic_enter_x2apic();
    apic_write(APIC_REG_SVR, 0x1ff);
    run_tests(tests, ARRAY_SIZE(tests));
}
