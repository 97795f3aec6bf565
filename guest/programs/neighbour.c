/* SPDX-License-Identifier: MIT */
/*
 * The neighbour of hostile guests: it works in rounds, and checks that none of its state has
 * changed and that its turns come in time. Run next to the program `hostile` by tools/hostile.py.
 *
 * Arguments: `rounds=N`, and `late=N`, the longest time in TSC ticks between two reads of the
 * clock, during which other vCPUs may have their turns.
 */
#include "guest/programs/rt/rt.h"

#define CR4_OSFXSR         BIT(9)
#define MSR_KERNEL_GS_BASE 0xc0000102u
#define SLOT_AT            0x10000000ull
#define SLOT_PAGES         16
#define SLOT_ID            1
#define WORDS              16384u

static uint64_t memory[WORDS] __attribute__((aligned(4096)));
static uint64_t rounds = 200, late, longest, wrong_registers, wrong_memory, wrong_device;
static uint64_t wrong_slots, device_writes;

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 31) * 0x9e3779b97f4a7c15ull;
    return x ^ x >> 29;
}

static void look_at_clock(void)
{
    static uint64_t last;
    uint64_t now = rdtsc();

    if (last && now - last > longest)
        longest = now - last;
    last = now;
}

/* ---- What no exit and no other VM may change ------------------------------------------------- */

static void set_registers(void)
{
    write_cr4(read_cr4() | CR4_OSFXSR);
    __asm__ volatile("mov %0, %%dr0\nmov %1, %%dr1\nmov %2, %%dr2\nmov %3, %%dr3"
                     :
                     : "r"(mix(1)), "r"(mix(2)), "r"(mix(3)), "r"(mix(4)));
    __asm__ volatile("movq %0, %%xmm0\nmovq %1, %%xmm7\nmovq %2, %%xmm15"
                     :
                     : "r"(mix(5)), "r"(mix(6)), "r"(mix(7)));
    wrmsr(MSR_KERNEL_GS_BASE, mix(8) >> 20);
}

static uint64_t rare_registers(void)
{
    uint64_t d[4], x[3], wrong = 0;

    __asm__ volatile("mov %%dr0, %0\nmov %%dr1, %1\nmov %%dr2, %2\nmov %%dr3, %3"
                     : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3]));
    __asm__ volatile("movq %%xmm0, %0\nmovq %%xmm7, %1\nmovq %%xmm15, %2"
                     : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]));
    for (unsigned i = 0; i < 4; i++)
        wrong += d[i] != mix(1 + i);
    for (unsigned i = 0; i < 3; i++)
        wrong += x[i] != mix(5 + i);
    return wrong + (rdmsr(MSR_KERNEL_GS_BASE) != mix(8) >> 20) + (read_cr3() != (uint64_t)rt_pml4);
}

/* An exit changes no general register other than those of its instruction. */
static uint64_t general_registers(uint64_t seed)
{
    __asm__ volatile("lea 1(%0), %%r8\nlea 2(%0), %%r9\nlea 3(%0), %%r10\nlea 4(%0), %%r11\n"
                     "lea 5(%0), %%r12\nlea 6(%0), %%r13\nlea 7(%0), %%r14\nlea 8(%0), %%r15\n"
                     "mov %0, %%rdi\nxor %%eax, %%eax\nxor %%ecx, %%ecx\ncpuid\nin $0x80, %%al\n"
                     "lea -1(%%r8), %%rax\nlea -2(%%r9), %%rbx\nlea -3(%%r10), %%rcx\n"
                     "lea -4(%%r11), %%rdx\nlea -5(%%r12), %%r8\nlea -6(%%r13), %%r9\n"
                     "lea -7(%%r14), %%r10\nlea -8(%%r15), %%r11\nxor %%rdi, %0\n"
                     "xor %%rdi, %%rax\nxor %%rdi, %%rbx\nxor %%rdi, %%rcx\nxor %%rdi, %%rdx\n"
                     "xor %%rdi, %%r8\nxor %%rdi, %%r9\nxor %%rdi, %%r10\nxor %%rdi, %%r11\n"
                     "or %%rax, %0\nor %%rbx, %0\nor %%rcx, %0\nor %%rdx, %0\n"
                     "or %%r8, %0\nor %%r9, %0\nor %%r10, %0\nor %%r11, %0"
                     : "+S"(seed)
                     :
                     : "rax", "rbx", "rcx", "rdx", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
                       "r14", "r15", "memory");
    return seed != 0;
}

/* ---- A round --------------------------------------------------------------------------------- */

static void use_memory(uint64_t round)
{
    for (uint64_t i = round % 64; i < WORDS; i += 64) {
        uint64_t seen_last = round < 64 ? 0 : mix(round - 64 + i);

        wrong_memory += memory[i] != seen_last;
        memory[i] = mix(round + i);
    }
}

static void use_device(uint64_t round)
{
    uint64_t at = TESTDEV_A_BASE + 8 * (round % 64);

    for (unsigned i = 0; i < 4; i++) {
        uint64_t value = mix(round * 4 + i);

        write64(at, value);
        wrong_device += read64(at) != value;
        device_writes++;
        look_at_clock();
    }
}

static void use_slot(uint64_t round)
{
    volatile uint64_t *words = (void *)SLOT_AT;

    wrong_slots += hc_slot_add(SLOT_ID, SLOT_AT, SLOT_PAGES, 0) != 0;
    for (unsigned page = 0; page < SLOT_PAGES; page += 5) {
        wrong_slots += words[page * 512] != 0;
        words[page * 512] = mix(round);
        wrong_slots += words[page * 512] != mix(round);
        look_at_clock();
    }
    wrong_slots += hc_slot_delete(SLOT_ID) != 0;
    wrong_slots += words[0] != ~0ull;
}

static void work(void)
{
    set_registers();
    write32(TESTDEV_A_BASE + TESTDEV_RESET, 0);
    for (uint64_t round = 0; round < rounds; round++) {
        wrong_registers += rare_registers() + general_registers(mix(round));
        use_memory(round);
        use_device(round);
        if (round % 16 == 0)
            use_slot(round);
        look_at_clock();
    }
    wrong_device += read32(TESTDEV_A_BASE + TESTDEV_WRITES) != device_writes;
    wrong_device += read32(TESTDEV_A_BASE + TESTDEV_READS) != device_writes;
}

static void registers(void)
{
    EXPECT_EQ(wrong_registers, 0);
}

static void memory_kept(void)
{
    EXPECT_EQ(wrong_memory, 0);
}

static void device(void)
{
    EXPECT_EQ(wrong_device, 0);
}

static void slots(void)
{
    EXPECT_EQ(wrong_slots, 0);
}

static void on_time(void)
{
    note("longest", longest);
    note("bound", late);
    EXPECT(!late || longest <= late);
}

static uint64_t number(const char *name, uint64_t otherwise)
{
    for (const char *at = rt_args; *at; at++) {
        size_t i = 0;
        uint64_t value = 0;

        while (name[i] && at[i] == name[i])
            i++;
        if (name[i])
            continue;
        for (at += i; *at >= '0' && *at <= '9'; at++)
            value = value * 10 + (uint64_t)(*at - '0');
        return value;
    }
    return otherwise;
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"registers", registers, 0},    {"memory_kept", memory_kept, 0}, {"device", device, 0},
        {"slots", slots, NEED_TESTCTL}, {"on_time", on_time, 0},
    };

    rounds = number("rounds=", rounds);
    late = number("late=", 0);
    work();
    run_tests(tests, sizeof(tests) / sizeof(tests[0]));
}
