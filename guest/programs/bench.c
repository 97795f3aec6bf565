/*
 * What the ways into the hypervisor cost, guest to guest: the median of 1000, less what an empty
 * measurement takes, in ticks of the TSC. Bochs' TSC counts emulated instructions.
 */
#include "guest/programs/rt/mark.h"
#include "guest/programs/rt/rt.h"

#define SAMPLES  1000
#define SLOT     8
#define SLOT_GPA 0xc0000000ull

/* What is measured stays in the hypervisor: its test device, its UART's scratch register. KVM has
 * neither; there it is the I/O APIC's select register, and the PIC's trigger modes. */
#define KVM_DEVICE 0xfec00000ull
#define KVM_PORT   0x4d0
static uint64_t device = TESTDEV_A_BASE;
static uint16_t port = PORT_UART + 7;

static uint32_t samples[SAMPLES];

static void nothing(unsigned round)
{
    (void)round;
}

/* Sorts by insertion: nearly all samples are equal. */
static uint32_t median(void)
{
    for (unsigned i = 1; i < SAMPLES; i++) {
        uint32_t value = samples[i];
        unsigned at = i;
        for (; at > 0 && samples[at - 1] > value; at--)
            samples[at] = samples[at - 1];
        samples[at] = value;
    }
    return samples[SAMPLES / 2];
}

/* `prepare` is called before each sample and not measured. */
static uint32_t measure(void (*prepare)(unsigned), void (*run)(unsigned))
{
    /* Both are called, never inlined, so that an empty one costs what a full one's call does. */
    __asm__ volatile("" : "+r"(prepare), "+r"(run));
    for (unsigned i = 0; i < SAMPLES; i++) {
        prepare(i);
        if (i + 1 == SAMPLES)
            mark();
        uint64_t start = rdtsc();
        run(i);
        samples[i] = (uint32_t)(rdtsc() - start);
        if (i + 1 == SAMPLES)
            mark();
    }
    return median();
}

/* Prints what `run` costs more than `idle`. */
static void bench(const char *name, void (*prepare)(unsigned), void (*run)(unsigned),
                  void (*idle)(unsigned))
{
    uint32_t gross = measure(prepare, run), empty = measure(nothing, idle);

    if (under_eptvisor() || launched()) /* an emulator's idea of time may be anything */
        EXPECT(gross > empty);
    print("BENCH %s %u ticks\n", name, gross > empty ? gross - empty : 0);
}

/* run_NAME() executes an instruction, and idle_NAME() does all the same but that; bench_NAME()
 * prints the difference. */
#define APIC_BASE 0x1b /* the MSR that is read; the other instructions do not look at RCX */
#define OPERATION(name, instruction, ...)                                \
    static void run_##name(unsigned round)                               \
    {                                                                    \
        uint64_t rax, rcx = APIC_BASE;                                   \
        __asm__ volatile(instruction : "=a"(rax), "+c"(rcx)__VA_ARGS__); \
        (void)round;                                                     \
    }                                                                    \
    static void idle_##name(unsigned round)                              \
    {                                                                    \
        uint64_t rax, rcx = APIC_BASE;                                   \
        __asm__ volatile("" : "=a"(rax), "+c"(rcx)__VA_ARGS__);          \
        (void)round;                                                     \
    }                                                                    \
    static void bench_##name(void)                                       \
    {                                                                    \
        bench(#name, nothing, run_##name, idle_##name);                  \
    }

OPERATION(cpuid, "cpuid", : "0"(0) : "rbx", "rdx", "memory")
OPERATION(hypercall, "vmcall", : "0"(ABI_HYPERCALL | HC_NOP) : "memory")
OPERATION(mmio_write, "movl %k2, (%3)", : "0"((uint64_t)round), "r"(device) : "memory")
OPERATION(mmio_read, "movl (%2), %k0", : "r"(device) : "memory")
OPERATION(mmio_write_1, "movb %b2, (%3)", : "0"((uint64_t)round), "r"(device) : "memory")
OPERATION(mmio_write_2, "movw %w2, (%3)", : "0"((uint64_t)round), "r"(device) : "memory")
OPERATION(mmio_write_8, "movq %2, (%3)", : "0"((uint64_t)round), "r"(device) : "memory")
OPERATION(mmio_read_1, "movb (%2), %b0", : "r"(device) : "memory")
OPERATION(mmio_read_2, "movw (%2), %w0", : "r"(device) : "memory")
OPERATION(mmio_read_8, "movq (%2), %0", : "r"(device) : "memory")
OPERATION(rdmsr, "rdmsr", ::"rdx", "memory")
OPERATION(port_read, "inb %w2, %b0", : "d"(port) : "memory")
OPERATION(port_write, "outb %b2, %w3", : "0"((uint64_t)round), "d"(port) : "memory")

/* A page of its own in the hole: what stands there is the doorbell alone. */
#define DOORBELL 0xd0000000ull
OPERATION(doorbell, "movl %k2, (%3)", : "0"((uint64_t)round), "r"(DOORBELL) : "memory")

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

/* Each sample is the first access after a slot was added elsewhere. */
static void add_slot(unsigned round)
{
    void (*write)(unsigned) = run_mmio_write;
    __asm__ volatile("" : "+r"(write)); /* the instruction that is measured, not a copy */
    if (round)
        EXPECT_EQ(hc_slot_delete(SLOT), 0);
    for (unsigned i = 0; i < 3; i++)
        write(i);
    EXPECT_EQ(hc_slot_add(SLOT, SLOT_GPA, 1, 0), 0);
}

static void bench_after_slot_change(void)
{
    bool counted = under_eptvisor() && hc_config(CONFIG_MMIO_CACHING);
    struct watch stale = {0};
    if (counted)
        stale = watch(COUNTER_MMIO_SPTE_STALE);
    bench("mmio_first_after_slot_change", add_slot, run_mmio_write, idle_mmio_write);
    if (counted)
        EXPECT(watched(stale) >= SAMPLES);
    EXPECT_EQ(hc_slot_delete(SLOT), 0);
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
        {"bench_port_write", bench_port_write, 0},
        {"bench_port_read", bench_port_read, 0},
        {"bench_rdmsr", bench_rdmsr, 0},
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
