/* SPDX-License-Identifier: MIT */
/*
 * The cost of each kind of exit, from one guest instruction to the next: the median of many samples
 * minus that of an empty measurement, in ticks of the TSC. Bochs' TSC counts emulated instructions.
 */
#include "guest/programs/bench/measure.h"

#define SAMPLES      1000
#define SLOT_SAMPLES 100 /* for rows whose preparation takes long in KVM */
#define SLOT         8
#define SLOT_GPA     0xc0000000ull

/* The measured accesses are handled in the hypervisor: by a test device and by the scratch register
 * of the UART. KVM has neither, so there they go to the I/O APIC's select register and to the PIC's
 * register of trigger modes. */
#define KVM_DEVICE 0xfec00000ull
#define KVM_PORT   0x4d0
static uint64_t device = TESTDEV_A_BASE;
static uint16_t port = PORT_UART + 7;

/* Under KVM, the UART is a device of the launcher, which is KVM's user space. eptvisor has none, so
 * there a write to the scratch register is one like any other. */
#define USER_PORT (PORT_UART + 7)

#define APIC_BASE    0x1b
#define TSC_DEADLINE 0x6e0

/* Defines bench_NAME(), which prints the row of the operation. */
#define MEASURED(name, ...)                                          \
    OPERATION(name, __VA_ARGS__)                                     \
    static void bench_##name(void)                                   \
    {                                                                \
        row(#name, nothing, run_##name, idle_##name, 0, 1, SAMPLES); \
    }

MEASURED(cpuid, 0, "cpuid", : "0"(0ull) : "rbx", "rdx", "memory")
MEASURED(hypercall, 0, "vmcall", : "0"(0ull + (ABI_HYPERCALL | HC_NOP)) : "memory")
MEASURED(mmio_write, 0, "movl %k2, (%3)", : "0"(at), "r"(device) : "memory")
MEASURED(mmio_read, 0, "movl (%2), %k0", : "r"(device) : "memory")
MEASURED(mmio_write_1, 0, "movb %b2, (%3)", : "0"(at), "r"(device) : "memory")
MEASURED(mmio_write_2, 0, "movw %w2, (%3)", : "0"(at), "r"(device) : "memory")
MEASURED(mmio_write_8, 0, "movq %2, (%3)", : "0"(at), "r"(device) : "memory")
MEASURED(mmio_read_1, 0, "movb (%2), %b0", : "r"(device) : "memory")
MEASURED(mmio_read_2, 0, "movw (%2), %w0", : "r"(device) : "memory")
MEASURED(mmio_read_8, 0, "movq (%2), %0", : "r"(device) : "memory")
MEASURED(rdmsr, APIC_BASE, "rdmsr", ::"rdx", "memory")
MEASURED(wrmsr, TSC_DEADLINE, "wrmsr", : "0"(0ull), "d"(0) : "memory")
MEASURED(port_read, 0, "inb %w2, %b0", : "d"(port) : "memory")
MEASURED(port_write, 0, "outb %b2, %w3", : "0"(at), "d"(port) : "memory")
MEASURED(port_write_user, 0, "outb %b2, %w3", : "0"(at), "d"(USER_PORT) : "memory")

/* The doorbell lies in an otherwise unused page of the hole. */
#define DOORBELL 0xd0000000ull
MEASURED(doorbell, 0, "movl %k2, (%3)", : "0"(at), "r"(DOORBELL) : "memory")

static void bench_bell(void)
{
    struct hypercall call = {.rbx = DOORBELL};
    EXPECT_EQ(hypercall(HC_DOORBELL_ADD, &call), 0);
    uint64_t id = call.rbx;
    bench_doorbell();
    EXPECT_EQ(hypercall(HC_DOORBELL_RINGS, &call), 0);
    EXPECT_EQ(call.rbx, SAMPLES);
    call.rbx = id;
    EXPECT_EQ(hypercall(HC_DOORBELL_REMOVE, &call), 0);
}

/* Each sample is the first access after a change of another slot: it was added, replaced, or given
 * a flag and relieved of it again. settle() makes the access known before. */
static void settle(void)
{
    step_t write = run_mmio_write;
    /* prevents a copy: the measured instruction itself must run */
    __asm__ volatile("" : "+r"(write));
    for (unsigned i = 0; i < 3; i++)
        write(i);
}

static void add_slot(uint64_t at)
{
    (void)at;
    EXPECT_EQ(hc_slot_delete(SLOT), 0);
    settle();
    EXPECT_EQ(hc_slot_add(SLOT, SLOT_GPA, 1, 0), 0);
}

static void replace_slot(uint64_t at)
{
    (void)at;
    settle();
    EXPECT_EQ(hc_slot_delete(SLOT), 0);
    EXPECT_EQ(hc_slot_add(SLOT, SLOT_GPA, 1, 0), 0);
    touch_image(); /* KVM has dropped all mappings of the VM */
}

static void flag_slot(uint64_t at)
{
    (void)at;
    settle();
    EXPECT_EQ(hc_slot_flags(SLOT, SLOT_LOG_DIRTY), 0);
    EXPECT_EQ(hc_slot_flags(SLOT, 0), 0);
}

static void bench_after(const char *name, step_t change)
{
    bool counted = under_eptvisor() && hc_config(CONFIG_MMIO_CACHING);
    struct watch stale = {0};
    EXPECT_EQ(hc_slot_add(SLOT, SLOT_GPA, 1, 0), 0);
    if (counted)
        stale = watch(COUNTER_MMIO_SPTE_STALE);
    row(name, change, run_mmio_write, idle_mmio_write, 0, 1, SLOT_SAMPLES);
    if (counted)
        EXPECT(watched(stale) >= SLOT_SAMPLES);
    EXPECT_EQ(hc_slot_delete(SLOT), 0);
}

static void bench_after_slot_change(void)
{
    bench_after("mmio_first_after_slot_change", add_slot);
}

static void bench_after_slot_replace(void)
{
    bench_after("mmio_first_after_slot_replace", replace_slot);
}

static void bench_after_slot_flags(void)
{
    bench_after("mmio_first_after_slot_flags", flag_slot);
}

/* With EPT, these instructions need not exit. */
static uint64_t cr3;
MEASURED(flush, 0, "invlpg (%2)\n\tmovq %3, %%cr3", : "r"(device), "r"(cr3) : "memory")

static void bench_flushes(void)
{
    cr3 = read_cr3();
    struct watch exits = watch(COUNTER_EXITS);
    for (unsigned i = 0; i < SAMPLES; i++)
        run_flush(i);
    /* the exit that reads the counter */
    print("BENCH flush_exits %u exits\n", (uint32_t)watched(exits) - 1);
    bench_flush();
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"bench_cpuid", bench_cpuid, 0},
        {"bench_hypercall", bench_hypercall, NEED_HOST},
        {"bench_mmio_write", bench_mmio_write, NEED_HOST},
        {"bench_mmio_read", bench_mmio_read, NEED_HOST},
        {"bench_doorbell", bench_bell, NEED_HOST},
        {"bench_mmio_first_after_slot_change", bench_after_slot_change, NEED_HOST},
        {"bench_mmio_first_after_slot_replace", bench_after_slot_replace, NEED_HOST},
        {"bench_mmio_first_after_slot_flags", bench_after_slot_flags, NEED_HOST},
        {"bench_port_write", bench_port_write, 0},
        {"bench_port_read", bench_port_read, 0},
        {"bench_port_write_user", bench_port_write_user, NEED_HOST},
        {"bench_rdmsr", bench_rdmsr, 0},
        {"bench_wrmsr", bench_wrmsr, 0},
        {"bench_flushes", bench_flushes, NEED_HOST},
        {"bench_mmio_write_1", bench_mmio_write_1, NEED_HOST},
        {"bench_mmio_write_2", bench_mmio_write_2, NEED_HOST},
        {"bench_mmio_write_8", bench_mmio_write_8, NEED_HOST},
        {"bench_mmio_read_1", bench_mmio_read_1, NEED_HOST},
        {"bench_mmio_read_2", bench_mmio_read_2, NEED_HOST},
        {"bench_mmio_read_8", bench_mmio_read_8, NEED_HOST},
    };

    if (launched()) {
        device = KVM_DEVICE;
        port = KVM_PORT;
    }
    run_tests(tests, ARRAY_SIZE(tests));
}
