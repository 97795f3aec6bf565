/*
 * What the ways into the hypervisor cost, guest to guest: the median of many, less what an empty
 * measurement takes, in ticks of the TSC. Bochs' TSC counts emulated instructions.
 */
#include "guest/programs/rt/mark.h"
#include "guest/programs/rt/rt.h"

#define SAMPLES      1000
#define SLOT_SAMPLES 100 /* of what takes long, in KVM, to prepare */
#define SLOT         8
#define SLOT_GPA     0xc0000000ull

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
static uint32_t median(unsigned count)
{
    for (unsigned i = 1; i < count; i++) {
        uint32_t value = samples[i];
        unsigned at = i;
        for (; at > 0 && samples[at - 1] > value; at--)
            samples[at] = samples[at - 1];
        samples[at] = value;
    }
    return samples[count / 2];
}

/* What poison=1 does at each exit stands for what a CPU does in no time, so it is left out. The
 * first samples of a row ask how long it took; 0 where it is off. */
#define SAMPLES_ASKED 5
static uint64_t poison_of_asking;

static void look_for_poison(void)
{
    uint64_t before = missing_need(NEED_TESTCTL) ? 0 : counter(COUNTER_POISON_TICKS);
    if (before)
        poison_of_asking = counter(COUNTER_POISON_TICKS) - before;
}

/* `prepare` is called before each sample and not measured. */
static uint32_t measure(void (*prepare)(unsigned), void (*run)(unsigned), unsigned count)
{
    uint64_t poison = 0;
    /* Both are called, never inlined, so that an empty one costs what a full one's call does. */
    __asm__ volatile("" : "+r"(prepare), "+r"(run));
    for (unsigned i = 0; i < count; i++) {
        bool asks = poison_of_asking && i < SAMPLES_ASKED;
        prepare(i);
        if (i + 1 == count)
            mark();
        uint64_t before = asks ? counter(COUNTER_POISON_TICKS) + poison_of_asking : 0;
        uint64_t start = rdtsc();
        run(i);
        samples[i] = (uint32_t)(rdtsc() - start);
        if (asks)
            poison = counter(COUNTER_POISON_TICKS) - before;
        if (i + 1 == count)
            mark();
    }
    return median(count) - (uint32_t)poison;
}

/* Prints what `run` costs more than `idle`. */
static void bench(const char *name, void (*prepare)(unsigned), void (*run)(unsigned),
                  void (*idle)(unsigned), unsigned count)
{
    uint32_t gross = measure(prepare, run, count), empty = measure(nothing, idle, count);

    if (under_eptvisor() || launched()) /* an emulator's idea of time may be anything */
        EXPECT(gross > empty);
    print("BENCH %s %u ticks\n", name, gross > empty ? gross - empty : 0);
}

/* run_NAME() executes an instruction, and idle_NAME() does all the same but that; bench_NAME()
 * prints the difference. */
#define APIC_BASE      0x1b
#define TSC_DEADLINE   0x6e0
#define OPERATION(...) OPERATION_OF(0, __VA_ARGS__)
#define OPERATION_OF(msr, name, instruction, ...)                        \
    static void run_##name(unsigned round)                               \
    {                                                                    \
        uint64_t rax, rcx = msr;                                         \
        __asm__ volatile(instruction : "=a"(rax), "+c"(rcx)__VA_ARGS__); \
        (void)round;                                                     \
    }                                                                    \
    static void idle_##name(unsigned round)                              \
    {                                                                    \
        uint64_t rax, rcx = msr;                                         \
        __asm__ volatile("" : "=a"(rax), "+c"(rcx)__VA_ARGS__);          \
        (void)round;                                                     \
    }                                                                    \
    static void bench_##name(void)                                       \
    {                                                                    \
        bench(#name, nothing, run_##name, idle_##name, SAMPLES);         \
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
OPERATION_OF(APIC_BASE, rdmsr, "rdmsr", ::"rdx", "memory")
OPERATION_OF(TSC_DEADLINE, wrmsr, "wrmsr", : "0"(0), "d"(0) : "memory")
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

/* Each sample is the first access after a slot elsewhere has come, was replaced, or got another
 * flag and lost it. */
static void settle(void)
{
    void (*write)(unsigned) = run_mmio_write;
    __asm__ volatile("" : "+r"(write)); /* the instruction that is measured, not a copy */
    for (unsigned i = 0; i < 3; i++)
        write(i);
}

static void add_slot(unsigned round)
{
    (void)round;
    EXPECT_EQ(hc_slot_delete(SLOT), 0);
    settle();
    EXPECT_EQ(hc_slot_add(SLOT, SLOT_GPA, 1, 0), 0);
}

static void replace_slot(unsigned round)
{
    (void)round;
    settle();
    EXPECT_EQ(hc_slot_delete(SLOT), 0);
    EXPECT_EQ(hc_slot_add(SLOT, SLOT_GPA, 1, 0), 0);
    touch_image(); /* KVM has dropped all it had mapped */
}

static void flag_slot(unsigned round)
{
    (void)round;
    settle();
    EXPECT_EQ(hc_slot_flags(SLOT, SLOT_LOG_DIRTY), 0);
    EXPECT_EQ(hc_slot_flags(SLOT, 0), 0);
}

static void bench_after(const char *name, void (*change)(unsigned))
{
    bool counted = under_eptvisor() && hc_config(CONFIG_MMIO_CACHING);
    struct watch stale = {0};
    EXPECT_EQ(hc_slot_add(SLOT, SLOT_GPA, 1, 0), 0);
    if (counted)
        stale = watch(COUNTER_MMIO_SPTE_STALE);
    bench(name, change, run_mmio_write, idle_mmio_write, SLOT_SAMPLES);
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

/* What no hypervisor with EPT needs to see. */
static uint64_t cr3;
OPERATION(flush, "invlpg (%2)\n\tmovq %3, %%cr3", : "r"(device), "r"(cr3) : "memory")

static void bench_flushes(void)
{
    cr3 = read_cr3();
    struct watch exits = watch(COUNTER_EXITS);
    for (unsigned i = 0; i < SAMPLES; i++)
        run_flush(i);
    print("BENCH flush_exits %u exits\n", (uint32_t)watched(exits) - 1); /* that asks */
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
    look_for_poison();
    run_tests(tests, ARRAY_SIZE(tests));
}
