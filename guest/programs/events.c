/*
 * Events on their way into the guest (decision D15). Delivery that is cut short because EPT lacks
 * the IDT or the stack is repeated, and the event arrives once; NMIs stay blocked until IRET has
 * really returned; nothing arrives in an interrupt shadow; HLT ends when it should.
 */
#include "guest/programs/rt/rt.h"

/* Pages in 2 MiB ranges of their own, so that dropping them takes nothing else away. */
#define FAR_IDT   0x800000ull
#define FAR_STACK 0xa00000ull
#define FAR_CODE  0xc00000ull
#define FAR_NEEDS 0xe00000ull

#define UNMAPPED_VA (TEST_VA + 64 * RT_2M)
#define DEV         ((uint64_t)TESTDEV_A_BASE)
#define DELAY       50000

#define EVENT_VALID     BIT(31)
#define EVENT_HAS_ERROR BIT(11)
#define EVENT(type, v)  (EVENT_VALID | (type) << 8 | (v))
#define INTERRUPT       0
#define NMI             2
#define EXCEPTION       3

#define VECTOR_DB       1
#define VECTOR_BP       3
#define VECTOR_SOFTWARE 0x50
#define VECTOR_EXTERNAL 0x51

extern uint8_t place_sti[], place_sti_at[], place_mov_ss[], place_mov_ss_at[], place_cpuid[],
    place_cpuid_at[], place_mmio[], place_mmio_at[], place_hlt[], place_hlt_at[], place_vmcall[],
    place_vmcall_at[], place_hlt_nmi[], place_hlt_nmi_at[], place_single_step[],
    place_single_step_at[], nmi_raise_at[], nmi_entry[], nmi_iret[], rt_vectors[][16];
extern volatile uint32_t nmi_count, nmi_zap;
extern uint64_t nmi_rips[4];
extern int32_t nmi_result;
void nmi_raise(uint64_t event);

/* What the handler saw. `skip` is added to RIP, to step over an instruction that faults. */
static struct {
    volatile uint64_t count;
    uint64_t rip, error, cr2, dr6, skip;
} seen;

static void saw(struct frame *frame)
{
    seen.count = seen.count + 1;
    seen.rip = frame->rip;
    seen.error = frame->error;
    __asm__ volatile("mov %%cr2, %0" : "=r"(seen.cr2));
    __asm__ volatile("mov %%dr6, %0" : "=r"(seen.dr6));
    frame->rip += seen.skip;
    frame->rflags &= ~BIT(8); /* TF */
}

static void look_for(unsigned vector, uint64_t skip)
{
    seen.count = 0;
    seen.skip = skip;
    set_handler(vector, saw);
}

/* ---- Delivery that EPT interrupts -------------------------------------------------------------
 */

/* Puts the vector's gate, stack and first instruction on the far pages. */
static void move_away(unsigned vector)
{
    uint8_t *code = (uint8_t *)FAR_CODE;
    uint64_t target = (uint64_t)rt_vectors[vector];

    /* jmp *0(%rip) and the address */
    memcpy(code, (const uint8_t[]){0xff, 0x25, 0, 0, 0, 0}, 6);
    memcpy(code + 6, &target, sizeof(target));
    *(volatile uint64_t *)FAR_STACK = 0;
    set_gate(vector, FAR_CODE);
    set_stack(vector, FAR_STACK + RT_PAGE);
    memcpy((void *)FAR_IDT, rt_idt, sizeof(rt_idt));
    load_idt(FAR_IDT);
}

static void move_back(unsigned vector)
{
    load_idt((uint64_t)rt_idt);
    set_gate(vector, (uint64_t)rt_vectors[vector]);
    set_stack(vector, 0);
    set_handler(vector, NULL);
}

/* Raises an event whose delivery meets two missing pages, and whose handler lies on a third. */
static void deliver(unsigned vector, uint64_t skip, void (*raise)(void))
{
    bool under = !missing_need(NEED_TESTCTL);
    struct watch requeued = {0}, violations = {0};

    if (!EXPECT(rt_ram_end >= FAR_NEEDS))
        return;
    look_for(vector, skip);
    move_away(vector);
    if (under) {
        EXPECT_EQ(hc_zap(FAR_IDT, 1), 0);
        EXPECT_EQ(hc_zap(FAR_STACK, 1), 0);
        EXPECT_EQ(hc_zap(FAR_CODE, 1), 0);
        requeued = watch(COUNTER_EVENTS_REQUEUED);
        violations = watch(EXITS_VIOLATION);
    }
    raise();
    move_back(vector);
    EXPECT_EQ(seen.count, 1);
    note("arrived", seen.count);
    if (under) {
        uint64_t nr = watched(requeued), nv = watched(violations);
        EXPECT_EQ(nr, 2);
        EXPECT_EQ(nv, 3);
        note("requeued", nr);
        note("violations", nv);
    }
}

static void raise_software_interrupt(void)
{
    __asm__ volatile("int %0" : : "i"(VECTOR_SOFTWARE) : "memory");
}

static void raise_breakpoint(void)
{
    __asm__ volatile("int3" : : : "memory");
}

static void raise_ud(void)
{
    __asm__ volatile("ud2" : : : "memory");
}

static void raise_pf(void)
{
    __asm__ volatile(".byte 0x8b, 0x07"
                     :
                     : "D"(UNMAPPED_VA)
                     : "rax", "memory"); /* mov (%rdi),%eax */
}

static void raise_gp(void)
{
    __asm__ volatile(".byte 0x8e, 0xd8" : : "a"(0xfff8) : "memory"); /* mov %eax,%ds */
}

static void inject_gp(void)
{
    EXPECT_EQ(hc_inject(EVENT(EXCEPTION, VECTOR_GP) | EVENT_HAS_ERROR, 0x1234, 0), 0);
}

static void inject_interrupt(void)
{
    __asm__ volatile("sti; nop" : : : "memory");
    EXPECT_EQ(hc_inject(EVENT(INTERRUPT, VECTOR_EXTERNAL), 0, 0), 0);
    __asm__ volatile("nop; cli" : : : "memory");
}

static void inject_nmi(void)
{
    EXPECT_EQ(hc_inject(EVENT(NMI, VECTOR_NMI), 0, 0), 0);
    __asm__ volatile("nop" : : : "memory");
}

static void software_interrupt(void)
{
    deliver(VECTOR_SOFTWARE, 0, raise_software_interrupt);
}

static void breakpoint(void)
{
    deliver(VECTOR_BP, 0, raise_breakpoint);
}

static void undefined_opcode(void)
{
    deliver(VECTOR_UD, 2, raise_ud);
}

static void page_fault(void)
{
    deliver(VECTOR_PF, 2, raise_pf);
    EXPECT_EQ(seen.error, 0);
    EXPECT_EQ(seen.cr2, UNMAPPED_VA);
}

static void general_protection(void)
{
    deliver(VECTOR_GP, 2, raise_gp);
    EXPECT_EQ(seen.error, 0xfff8);
}

static void injected_exception(void)
{
    deliver(VECTOR_GP, 0, inject_gp);
    EXPECT_EQ(seen.error, 0x1234);
}

static void injected_interrupt(void)
{
    deliver(VECTOR_EXTERNAL, 0, inject_interrupt);
}

static void injected_nmi(void)
{
    deliver(VECTOR_NMI, 0, inject_nmi);
}

/* ---- NMI blocking ------------------------------------------------------------------------------
 */

static void nmi_in_nmi(bool zap)
{
    nmi_count = 0;
    nmi_zap = zap;
    nmi_result = -1;
    nmi_rips[0] = nmi_rips[1] = 0;
    if (!EXPECT(rt_ram_end >= FAR_NEEDS))
        return;
    *(volatile uint64_t *)FAR_STACK = 0;
    set_stack(VECTOR_NMI, FAR_STACK + RT_PAGE);
    set_gate(VECTOR_NMI, (uint64_t)nmi_entry);
    struct watch violations = watch(EXITS_VIOLATION);
    nmi_raise(EVENT(NMI, VECTOR_NMI));
    uint64_t nv = watched(violations);
    set_gate(VECTOR_NMI, (uint64_t)rt_vectors[VECTOR_NMI]);
    set_stack(VECTOR_NMI, 0);
    EXPECT_EQ(nmi_result, 0);
    EXPECT_EQ(nmi_count, 2);
    EXPECT_EQ(nmi_rips[0], nmi_raise_at);
    EXPECT(nmi_rips[1] != (uint64_t)nmi_iret); /* else it came before IRET had returned */
    EXPECT_EQ(nmi_rips[1], nmi_raise_at);
    EXPECT_EQ(nv, zap);
    note("nmis", nmi_count);
    note("violations", nv);
}

static void nmi_blocked(void)
{
    nmi_in_nmi(false);
}

static void nmi_blocked_when_iret_faults(void)
{
    nmi_in_nmi(true);
}

/* ---- Shadows, windows, HLT ----------------------------------------------------------------------
 */

/* Lets an interrupt wait with IF = 0, runs the place, and checks where it arrived. */
static void arrives_at(const uint8_t *place, const uint8_t *at, uint64_t argument)
{
    look_for(VECTOR_EXTERNAL, 0);
    EXPECT_EQ(hc_inject(EVENT(INTERRUPT, VECTOR_EXTERNAL), 0, 0), 0);
    EXPECT_EQ(seen.count, 0);
    ((void (*)(uint64_t))(uintptr_t)place)(argument);
    EXPECT_EQ(seen.count, 1);
    EXPECT_EQ(seen.rip, at);
    note("arrived", seen.count);
}

static void shadow_of_sti(void)
{
    arrives_at(place_sti, place_sti_at, 0);
}

static void shadow_of_mov_ss(void)
{
    arrives_at(place_mov_ss, place_mov_ss_at, 0);
}

/* An instruction that exits ends the shadow like any other. */
static void shadow_over_cpuid(void)
{
    arrives_at(place_cpuid, place_cpuid_at, 0);
}

static void shadow_over_mmio(void)
{
    write32(DEV + TESTDEV_RESET, 1);
    arrives_at(place_mmio, place_mmio_at, DEV);
    EXPECT_EQ(read32(DEV + TESTDEV_WRITES), 1);
    note("device_writes", read32(DEV + TESTDEV_WRITES));
}

static void shadow_over_hlt(void)
{
    arrives_at(place_hlt, place_hlt_at, 0);
}

static void shadow_over_vmcall(void)
{
    look_for(VECTOR_EXTERNAL, 0);
    ((void (*)(uint64_t))(uintptr_t)place_vmcall)(EVENT(INTERRUPT, VECTOR_EXTERNAL));
    EXPECT_EQ(seen.count, 1);
    EXPECT_EQ(seen.rip, place_vmcall_at);
    note("arrived", seen.count);
}

/* Injects `event` with a delay and halts; it must arrive behind the HLT, not early, and once. */
static void wakes(uint64_t event, unsigned vector, const uint8_t *place, const uint8_t *at)
{
    look_for(vector, 0);
    uint64_t start = rdtsc();
    EXPECT_EQ(hc_inject(event, 0, DELAY), 0);
    ((void (*)(uint64_t))(uintptr_t)place)(0);
    uint64_t ticks = rdtsc() - start;
    EXPECT_EQ(seen.count, 1);
    EXPECT_EQ(seen.rip, at);
    EXPECT(ticks >= DELAY);
    set_handler(vector, NULL);
    note("arrived", seen.count);
}

static void hlt_until_interrupt(void)
{
    wakes(EVENT(INTERRUPT, VECTOR_EXTERNAL), VECTOR_EXTERNAL, place_hlt, place_hlt_at);
}

static void hlt_until_nmi(void)
{
    wakes(EVENT(NMI, VECTOR_NMI), VECTOR_NMI, place_hlt_nmi, place_hlt_nmi_at);
}

static void delay_while_running(void)
{
    uint64_t start = rdtsc();

    look_for(VECTOR_EXTERNAL, 0);
    EXPECT_EQ(hc_inject(EVENT(INTERRUPT, VECTOR_EXTERNAL), 0, DELAY), 0);
    __asm__ volatile("sti" : : : "memory");
    while (!seen.count && rdtsc() - start < 1000 * DELAY)
        ;
    __asm__ volatile("cli" : : : "memory");
    uint64_t ticks = rdtsc() - start;
    EXPECT_EQ(seen.count, 1);
    EXPECT(ticks >= DELAY);
    note("arrived", seen.count);
}

/* An emulated instruction is followed by the single-step trap as a real one is. */
static void single_step(uint64_t address)
{
    look_for(VECTOR_DB, 0);
    ((void (*)(uint64_t))(uintptr_t)place_single_step)(address);
    set_handler(VECTOR_DB, NULL);
    EXPECT_EQ(seen.count, 1);
    EXPECT_EQ(seen.rip, place_single_step_at);
    EXPECT(seen.dr6 & BIT(14));
    note("arrived", seen.count);
}

static void single_step_ram(void)
{
    single_step((uint64_t)new_page());
}

static void single_step_mmio(void)
{
    write32(DEV + TESTDEV_RESET, 1);
    single_step(DEV);
    EXPECT_EQ(read32(DEV + TESTDEV_WRITES), 1);
}

/* A word that VM entry would refuse must be refused here. */
static void refusals(void)
{
    EXPECT_EQ(hc_inject(VECTOR_EXTERNAL, 0, 0), -EINVAL);           /* not valid */
    EXPECT_EQ(hc_inject(EVENT(1, VECTOR_EXTERNAL), 0, 0), -EINVAL); /* reserved type */
    EXPECT_EQ(hc_inject(EVENT(4, VECTOR_SOFTWARE), 0, 0), -EINVAL); /* software */
    EXPECT_EQ(hc_inject(EVENT(NMI, 3), 0, 0), -EINVAL);             /* vector 2 only */
    EXPECT_EQ(hc_inject(EVENT(EXCEPTION, 32), 0, 0), -EINVAL);      /* 0 to 31 only */
    EXPECT_EQ(hc_inject(EVENT(EXCEPTION, VECTOR_UD) | EVENT_HAS_ERROR, 0, 0), -EINVAL);
    EXPECT_EQ(hc_inject(EVENT(EXCEPTION, VECTOR_GP), 0, 0), -EINVAL); /* lacks its code */
    EXPECT_EQ(hc_inject(EVENT(EXCEPTION, VECTOR_GP) | EVENT_HAS_ERROR, 0x10000, 0), -EINVAL);
    EXPECT_EQ(hc_inject(EVENT(EXCEPTION, VECTOR_UD), 0, 1), -EINVAL); /* exceptions don't wait */
    EXPECT_EQ(hc_inject(EVENT(INTERRUPT, VECTOR_EXTERNAL) | EVENT_HAS_ERROR, 0, 0), -EINVAL);
    EXPECT_EQ(hc_inject(EVENT(INTERRUPT, VECTOR_EXTERNAL) | BIT(12), 0, 0), -EINVAL);
    EXPECT_EQ(hc_inject(EVENT(INTERRUPT, VECTOR_EXTERNAL) | BIT(32), 0, 0), -EINVAL);

    /* One interrupt may wait, not two. */
    look_for(VECTOR_EXTERNAL, 0);
    EXPECT_EQ(hc_inject(EVENT(INTERRUPT, VECTOR_EXTERNAL), 0, 0), 0);
    EXPECT_EQ(hc_inject(EVENT(INTERRUPT, VECTOR_EXTERNAL), 0, 0), -EBUSY);
    __asm__ volatile("sti; nop; nop; cli" : : : "memory");
    EXPECT_EQ(seen.count, 1);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"software_interrupt",           software_interrupt,           0           },
        {"breakpoint",                   breakpoint,                   0           },
        {"undefined_opcode",             undefined_opcode,             0           },
        {"page_fault",                   page_fault,                   0           },
        {"general_protection",           general_protection,           0           },
        {"injected_exception",           injected_exception,           NEED_TESTCTL},
        {"injected_interrupt",           injected_interrupt,           NEED_TESTCTL},
        {"injected_nmi",                 injected_nmi,                 NEED_TESTCTL},
        {"nmi_blocked",                  nmi_blocked,                  NEED_TESTCTL},
        {"nmi_blocked_when_iret_faults", nmi_blocked_when_iret_faults, NEED_TESTCTL},
        {"shadow_of_sti",                shadow_of_sti,                NEED_TESTCTL},
        {"shadow_of_mov_ss",             shadow_of_mov_ss,             NEED_TESTCTL},
        {"shadow_over_cpuid",            shadow_over_cpuid,            NEED_TESTCTL},
        {"shadow_over_mmio",             shadow_over_mmio,             NEED_TESTCTL},
        {"shadow_over_hlt",              shadow_over_hlt,              NEED_TESTCTL},
        {"shadow_over_vmcall",           shadow_over_vmcall,           NEED_TESTCTL},
        {"hlt_until_interrupt",          hlt_until_interrupt,          NEED_TESTCTL},
        {"hlt_until_nmi",                hlt_until_nmi,                NEED_TESTCTL},
        {"delay_while_running",          delay_while_running,          NEED_TESTCTL},
        {"single_step_ram",              single_step_ram,              0           },
        {"single_step_mmio",             single_step_mmio,             NEED_TESTCTL},
        {"inject_refusals",              refusals,                     NEED_TESTCTL},
    };

    run_tests(tests, ARRAY_SIZE(tests));
}
