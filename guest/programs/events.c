/* SPDX-License-Identifier: MIT */
/*
 * Delivery of events to the guest (decision D15). A delivery that an EPT violation of the IDT or
 * the stack interrupts is repeated, and the event arrives once; NMIs stay blocked until IRET has
 * completed.
 */
#include "guest/programs/rt/rt.h"

/* Each page lies in a 2 MiB range of its own, so that dropping it from EPT drops nothing else. */
#define FAR_IDT   0x800000ull
#define FAR_STACK 0xa00000ull
#define FAR_CODE  0xc00000ull
#define FAR_NEEDS 0xe00000ull

#define UNMAPPED_VA (TEST_VA + 64 * RT_2M)

#define VECTOR_CP       21
#define VECTOR_SOFTWARE 0x50
#define VECTOR_EXTERNAL 0x51

extern uint8_t nmi_raise_at[], nmi_entry[], nmi_iret[], rt_vectors[][16];
extern volatile uint32_t nmi_count, nmi_zap;
extern uint64_t nmi_rips[4];
extern int32_t nmi_result;
void nmi_raise(uint64_t event);

/* ---- Delivery that EPT interrupts ------------------------------------------------------------ */

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

/* Raises an event whose delivery accesses two pages that EPT lacks, and whose handler lies in a
 * third. The event is expected to be injected again `times` times. */
static void deliver_again(unsigned vector, uint64_t skip, void (*raise)(void), unsigned times)
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
        EXPECT_EQ(nr, times);
        EXPECT_EQ(nv, 3);
        note("requeued", nr);
        note("violations", nv);
    }
}

static void deliver(unsigned vector, uint64_t skip, void (*raise)(void))
{
    deliver_again(vector, skip, raise, 2);
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

static void raise_int1(void)
{
    __asm__ volatile(".byte 0xf1" : : : "memory");
}

static void raise_single_step(void)
{
    __asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq; nop" : : : "memory", "cc");
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
    EXPECT_EQ(hc_inject(EVENT(EVENT_EXCEPTION, VECTOR_GP) | EVENT_HAS_ERROR, 0x1234, 0), 0);
}

static void inject_interrupt(void)
{
    __asm__ volatile("sti; nop" : : : "memory");
    EXPECT_EQ(hc_inject(EVENT(EVENT_INTERRUPT, VECTOR_EXTERNAL), 0, 0), 0);
    __asm__ volatile("nop; cli" : : : "memory");
}

static void inject_nmi(void)
{
    EXPECT_EQ(hc_inject(EVENT(EVENT_NMI, VECTOR_NMI), 0, 0), 0);
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

/* The exception itself changes DR6 and DR7, and its repeated delivery does not change them again.
 * The argument `kvm` says that the hypervisor is nested in KVM, which loses the #DB of an INT1
 * whose delivery is interrupted: its exit reports no event, and the instruction is executed
 * again. */
static void debug_exception(void)
{
    deliver_again(VECTOR_DB, 0, raise_int1, *rt_args == 'k' ? 0 : 2);
    deliver(VECTOR_DB, 0, raise_single_step);
    EXPECT_EQ(seen.dr6, 0xffff4ff0);
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

/* ---- NMI blocking ---------------------------------------------------------------------------- */

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
    nmi_raise(EVENT(EVENT_NMI, VECTOR_NMI));
    uint64_t nv = watched(violations);
    set_gate(VECTOR_NMI, (uint64_t)rt_vectors[VECTOR_NMI]);
    set_stack(VECTOR_NMI, 0);
    EXPECT_EQ(nmi_result, 0);
    EXPECT_EQ(nmi_count, 2);
    EXPECT_EQ(nmi_rips[0], nmi_raise_at);
    EXPECT(nmi_rips[1] != (uint64_t)nmi_iret); /* otherwise it arrived before the IRET completed */
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

/* ---- Injection ------------------------------------------------------------------------------- */

static void inject_exception(void *word)
{
    EXPECT_EQ(hc_inject(*(uint64_t *)word, 0x1234, 0), 0);
}

/* Each exception is delivered in its own form, with or without an error code, whatever form was
 * requested. #CP has an error code only on CPUs that have #CP, so its stub may find 8 bytes more or
 * less. */
static void any_exception(void)
{
    const uint64_t with_error = BIT(8) | BITS(14, 10) | BIT(17);
    for (uint64_t vector = 0; vector < 32; vector++)
        for (uint64_t flag = 0; flag <= EVENT_HAS_ERROR && vector != VECTOR_NMI;
             flag += EVENT_HAS_ERROR) {
            uint64_t word = EVENT(EVENT_EXCEPTION, vector) | flag;
            struct fault fault = try_run(inject_exception, &word);
            EXPECT_EQ(fault.vector, vector);
            if (vector != VECTOR_CP)
                EXPECT_EQ(fault.error, with_error >> vector & 1 ? 0x1234 : 0);
        }
}

/* The hypercall refuses every value that VM entry would refuse. */
static void refusals(void)
{
    EXPECT_EQ(hc_inject(VECTOR_EXTERNAL, 0, 0), -EINVAL);            /* not valid */
    EXPECT_EQ(hc_inject(EVENT(1, VECTOR_EXTERNAL), 0, 0), -EINVAL);  /* reserved type */
    EXPECT_EQ(hc_inject(EVENT(4, VECTOR_SOFTWARE), 0, 0), -EINVAL);  /* software */
    EXPECT_EQ(hc_inject(EVENT(EVENT_NMI, 3), 0, 0), -EINVAL);        /* vector 2 only */
    EXPECT_EQ(hc_inject(EVENT(EVENT_EXCEPTION, 32), 0, 0), -EINVAL); /* 0 to 31 only */
    EXPECT_EQ(hc_inject(EVENT(EVENT_EXCEPTION, VECTOR_NMI), 0, 0), -EINVAL);
    EXPECT_EQ(hc_inject(EVENT(EVENT_INTERRUPT, 31), 0, 0), -EINVAL); /* 32 to 255 only */
    EXPECT_EQ(hc_inject(EVENT(EVENT_INTERRUPT, VECTOR_EXTERNAL) | EVENT_HAS_ERROR, 0, 0), -EINVAL);
    EXPECT_EQ(hc_inject(EVENT(EVENT_INTERRUPT, VECTOR_EXTERNAL) | BIT(12), 0, 0), -EINVAL);
    EXPECT_EQ(hc_inject(EVENT(EVENT_INTERRUPT, VECTOR_EXTERNAL) | BIT(32), 0, 0), -EINVAL);

    /* None of the refused events is pending. */
    look_for(VECTOR_EXTERNAL, 0);
    __asm__ volatile("sti; nop; nop; cli" : : : "memory");
    EXPECT_EQ(seen.count, 0);

    /* An error code is added to an exception that needs one, and dropped from one that has none. */
    look_for(VECTOR_UD, 0);
    EXPECT_EQ(hc_inject(EVENT(EVENT_EXCEPTION, VECTOR_UD) | EVENT_HAS_ERROR, 0x1234, 0), 0);
    EXPECT_EQ(seen.count, 1);
    EXPECT_EQ(seen.error, 0);
    set_handler(VECTOR_UD, NULL);
    look_for(VECTOR_GP, 0);
    EXPECT_EQ(hc_inject(EVENT(EVENT_EXCEPTION, VECTOR_GP), 0xabcd1234, 0), 0);
    EXPECT_EQ(seen.count, 1);
    EXPECT_EQ(seen.error, 0x1234);
    set_handler(VECTOR_GP, NULL);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"software_interrupt", software_interrupt, 0},
        {"breakpoint", breakpoint, 0},
        {"undefined_opcode", undefined_opcode, 0},
        {"debug_exception", debug_exception, 0},
        {"page_fault", page_fault, 0},
        {"general_protection", general_protection, 0},
        {"injected_exception", injected_exception, NEED_TESTCTL},
        {"injected_interrupt", injected_interrupt, NEED_TESTCTL},
        {"injected_nmi", injected_nmi, NEED_TESTCTL},
        {"nmi_blocked", nmi_blocked, NEED_TESTCTL},
        {"nmi_blocked_when_iret_faults", nmi_blocked_when_iret_faults, NEED_TESTCTL},
        {"any_exception", any_exception, NEED_TESTCTL},
        {"inject_refusals", refusals, NEED_TESTCTL},
    };

    run_tests(tests, ARRAY_SIZE(tests));
}
