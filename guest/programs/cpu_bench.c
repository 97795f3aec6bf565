/* SPDX-License-Identifier: MIT */
/*
 * The cost of exits such as CPUID and WRMSR, also while the guest's timer is armed, or while an
 * interrupt is pending because IF is 0: `make bench-cpu`.
 *
 * KVM has all of these exits except a hypercall that does comparable work.
 */
#include "guest/programs/bench/measure.h"
#include "guest/programs/rt/apic.h"

#define SAMPLES      1000u
#define LATER        (1ull << 28) /* ticks: more than the program takes, and less than the budget */
#define VECTOR_TIMER 0x41u
#define VECTOR_IPI   0x42u
#define LVT_DEADLINE BIT(18)
#define LVT_MASKED   BIT(16)
#define SVR_ENABLED  0x1ffu

/* Ports that are handled in the hypervisor: the scratch register of eptvisor's UART, the register
 * of trigger modes of KVM's PIC. */
#define KVM_PORT 0x4d0
static uint16_t port = PORT_UART + 7;

#define CPUID_OF(name, leaf, subleaf) \
    OPERATION(name, subleaf, "cpuid", : "0"(leaf) : "rbx", "rdx", "memory")
CPUID_OF(cpuid_0, 0ull, 0)
CPUID_OF(cpuid_1, 1ull, 0)
CPUID_OF(cpuid_7, 7ull, 0)
CPUID_OF(cpuid_b, 0xbull, 0)
CPUID_OF(cpuid_no_subleaf, 0xdull, 62)
CPUID_OF(cpuid_no_leaf, 0x3fffffffull, 0)
CPUID_OF(cpuid_hypervisor, 0x40000000ull, 0)
OPERATION(hypercall, 0, "vmcall", : "0"(ABI_HYPERCALL | HC_NOP) : "memory")
OPERATION(port_write, 0, "outb %b2, %w3", : "0"(at), "d"(port) : "memory")

/* A walk of the MMU's tables, without a lock. */
static void run_hypercall_work(uint64_t at)
{
    struct hypercall call = {.rbx = at};
    (void)hypercall(HC_SPTE, &call);
}

static void idle_hypercall_work(uint64_t at)
{
    struct hypercall call = {.rbx = at};
    __asm__ volatile("" : "+b"(call.rbx), "+c"(call.rcx), "+d"(call.rdx), "+S"(call.rsi)::"memory");
}

/* Writes another deadline each time. */
static uint64_t deadline;

static void run_wrmsr_deadline(uint64_t at)
{
    wrmsr(MSR_TSC_DEADLINE, deadline + at);
}

static void idle_wrmsr_deadline(uint64_t at)
{
    uint64_t value = deadline + at;
    __asm__ volatile(""
                     :
                     : "c"(MSR_TSC_DEADLINE), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)));
}

/* CPUID of any leaf and subleaf. */
static struct leaf {
    uint32_t leaf, subleaf;
} any;

OPERATION(cpuid_any, any.subleaf, "cpuid", : "0"((uint64_t)any.leaf) : "rbx", "rdx", "memory")

#define ROW(row_name, name) row(row_name, nothing, run_##name, idle_##name, 0, 1, SAMPLES)

static void leaves(void)
{
    ROW("cpuid_1", cpuid_1);
    ROW("cpuid_7", cpuid_7);
    ROW("cpuid_b", cpuid_b);
    ROW("cpuid_hypervisor", cpuid_hypervisor);
    ROW("cpuid_no_subleaf", cpuid_no_subleaf);
    ROW("cpuid_no_leaf", cpuid_no_leaf);
}

/* ---- The dearest leaf ------------------------------------------------------------------------ */

#define SUBLEAVES_ASKED 20u
#define TIMES_ASKED     2u

static uint64_t dearest_cost;
static struct leaf dearest;

static void ask(uint32_t leaf, uint32_t subleaf)
{
    uint64_t least = UINT64_MAX; /* of several, since the hypervisor can have other work, too */
    any = (struct leaf){leaf, subleaf};
    for (unsigned i = 0; i < TIMES_ASKED; i++) {
        uint64_t start = rdtsc();
        run_cpuid_any(0);
        uint64_t cost = rdtsc() - start;
        least = cost < least ? cost : least;
    }
    if (least > dearest_cost) {
        dearest_cost = least;
        dearest = any;
    }
}

/* All kinds of leaves, and what is before, between and above their ranges: no CPUID costs more than
 * this row. */
static void any_leaf(void)
{
    static const uint32_t starts[] = {0,          0x20000000, 0x3ffffff0, 0x40000000,
                                      0x400000f8, 0x4ffffff0, 0x80000000, 0xfffffff0};
    static const uint32_t subleaves[] = {62, 63, 64, 0x100, 0x7fffffff, 0xffffffff};
    for (unsigned i = 0; i < ARRAY_SIZE(starts); i++) {
        for (unsigned n = 0; n < 0x28 && starts[i] + n >= starts[i]; n++) {
            for (uint32_t subleaf = 0; subleaf < SUBLEAVES_ASKED; subleaf++)
                ask(starts[i] + n, subleaf);
            for (unsigned j = 0; j < ARRAY_SIZE(subleaves); j++)
                ask(starts[i] + n, subleaves[j]);
        }
    }
    any = dearest;
    print("# the dearest leaf: 0x%x, subleaf 0x%x\n", any.leaf, any.subleaf);
    ROW("cpuid_dearest", cpuid_any);
}

static void with_work(void)
{
    ROW("hypercall_work", hypercall_work);
}

/* ---- With a timer armed ---------------------------------------------------------------------- */

static void arm(void)
{
    apic_write(APIC_REG_SVR, SVR_ENABLED);
    apic_write(APIC_REG_TIMER, LVT_DEADLINE | VECTOR_TIMER);
    deadline = rdtsc() + LATER;
    wrmsr(MSR_TSC_DEADLINE, deadline);
    EXPECT_EQ(rdmsr(MSR_TSC_DEADLINE), deadline);
}

static void disarm(void)
{
    EXPECT(rdmsr(MSR_TSC_DEADLINE) != 0); /* the timer was armed all the time */
    wrmsr(MSR_TSC_DEADLINE, 0);
    apic_write(APIC_REG_TIMER, LVT_MASKED);
}

static void armed(void)
{
    arm();
    ROW("cpuid_armed", cpuid_0);
    ROW("hypercall_armed", hypercall);
    ROW("port_write_armed", port_write);
    ROW("wrmsr_deadline", wrmsr_deadline);
    disarm();
}

/* ---- With a pending interrupt ---------------------------------------------------------------- */

static void waiting(void)
{
    look_for(VECTOR_IPI, 0);
    apic_write(APIC_REG_SVR, SVR_ENABLED);
    send_ipi(0, ICR_SELF | VECTOR_IPI);
    ROW("cpuid_waiting", cpuid_0);
    ROW("hypercall_waiting", hypercall);
    ROW("port_write_waiting", port_write);
    EXPECT_EQ(seen.count, 0);
    __asm__ volatile("sti; nop; cli" : : : "memory");
    EXPECT_EQ(seen.count, 1);
    apic_write(APIC_REG_EOI, 0);
    set_handler(VECTOR_IPI, NULL);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"leaves", leaves, NEED_HOST},
        {"any_leaf", any_leaf, NEED_HOST},
        {"hypercall_work", with_work, NEED_TESTCTL},
        {"armed", armed, NEED_HOST},
        {"waiting", waiting, NEED_HOST},
    };

    if (launched())
        port = KVM_PORT;
    run_tests(tests, ARRAY_SIZE(tests));
}
