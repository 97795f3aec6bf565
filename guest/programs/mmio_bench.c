/* SPDX-License-Identifier: MIT */
/*
 * The cost of accesses to devices by several instructions, at several addresses or in several
 * address spaces, and of accesses without a replay entry: `make bench-mmio`.
 */
#include "guest/programs/bench/measure.h"
#include "guest/programs/rt/apic.h"

#define SAMPLES       500u
#define SAMPLES_MANY  40u
#define MANY          64u
#define PLACES        256u /* more than there are replay entries */
#define ELEMENTS      16u
#define LVT_MASKED    BIT(16)
#define KVM_DEVICE    0xfec00000ull /* the I/O APIC's select register: KVM has no test devices */
#define KVM_REGISTERS 16u           /* of 16 bytes each */

static uint64_t device = TESTDEV_A_BASE, other_device = TESTDEV_B_BASE;

/* ---- Address spaces -------------------------------------------------------------------------- */

/* Two address spaces with the same mappings. */
static uint64_t spaces[2];

static void make_spaces(void)
{
    const uint64_t *own = (const uint64_t *)(uintptr_t)(read_cr3() & ~0xfffull);
    uint64_t *other = new_page();
    for (unsigned i = 0; i < 512; i++)
        other[i] = own[i];
    spaces[0] = (uint64_t)own;
    spaces[1] = (uint64_t)other;
}

/* Changes the address space after every second sample, so that accesses that alternate with each
 * sample are made in both. */
static void change_space(uint64_t at)
{
    write_cr3(spaces[at >> 1 & 1]);
}

/* ---- One instruction, several places --------------------------------------------------------- */

static uint64_t two[2];

OPERATION(of_two, 0, "movl %k2, (%3)", : "0"(at), "r"(two[at & 1]) : "memory")
OPERATION(one, 0, "movl %k2, (%3)", : "0"(at), "r"(device) : "memory")

/* The addresses that one instruction accesses, in this order. */
static uint64_t places[PLACES];

static inline __attribute__((always_inline)) void go_through(unsigned count, bool touch)
{
    const uint64_t *place = places;
    if (touch)
        __asm__ volatile("1: movq (%0), %%rdi; movl %%eax, (%%rdi); addq $8, %0; decl %1; jnz 1b"
                         : "+r"(place), "+r"(count)
                         :
                         : "rdi", "memory");
    else
        __asm__ volatile("1: movq (%0), %%rdi; addq $8, %0; decl %1; jnz 1b"
                         : "+r"(place), "+r"(count)
                         :
                         : "rdi", "memory");
}

#define PLACES_OF(n)                         \
    static void run_places_##n(uint64_t at)  \
    {                                        \
        (void)at;                            \
        go_through(n, true);                 \
    }                                        \
    static void idle_places_##n(uint64_t at) \
    {                                        \
        (void)at;                            \
        go_through(n, false);                \
    }
PLACES_OF(17)
PLACES_OF(64)
PLACES_OF(256)

/* ---- Several instructions -------------------------------------------------------------------- */

#define INSTRUCTIONS_OF(n)                                        \
    static void run_instructions_##n(uint64_t at)                 \
    {                                                             \
        __asm__ volatile(".rept " #n "; movl %k0, (%1); .endr"    \
                         :                                        \
                         : "a"(at), "D"(device)                   \
                         : "memory");                             \
    }                                                             \
    static void idle_instructions_##n(uint64_t at)                \
    {                                                             \
        __asm__ volatile("" : : "a"(at), "D"(device) : "memory"); \
    }
INSTRUCTIONS_OF(17)
INSTRUCTIONS_OF(64)
INSTRUCTIONS_OF(256)

/* ---- Other instructions ---------------------------------------------------------------------- */

static uint32_t elements[ELEMENTS];
OPERATION(or, 0, "orl %k2, (%3)", : "0"(at), "r"(device) : "memory")
OPERATION(xchg, 0, "xchgl %k2, (%3)", : "0"(at), "r"(device) : "memory")

static void run_rep_movs(uint64_t at)
{
    uint64_t to = device, from = (uint64_t)elements, count = ELEMENTS;
    (void)at;
    __asm__ volatile("rep movsl" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
}

static void idle_rep_movs(uint64_t at)
{
    uint64_t to = device, from = (uint64_t)elements, count = ELEMENTS;
    (void)at;
    __asm__ volatile("" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
}

/* ---- The local APIC -------------------------------------------------------------------------- */

#define APIC_WRITE(name, reg, value) \
    OPERATION(name, 0, "movl %k2, (%3)", : "0"(value), "r"((uint64_t)APIC + (reg)) : "memory")
APIC_WRITE(lapic_eoi, APIC_REG_EOI, 0ull)
APIC_WRITE(lapic_tpr, APIC_REG_TPR, at & 0xf0)
APIC_WRITE(lapic_tmict, APIC_REG_INITIAL, 0xffffffff - at)
OPERATION(lapic_id, 0, "movl (%2), %k0", : "r"((uint64_t)APIC + APIC_REG_ID) : "memory")

/* The same registers in x2APIC mode. */
#define APIC_WRMSR(name, reg, value) \
    OPERATION(name, MSR_X2APIC + (reg) / 16, "wrmsr", : "0"(value), "d"(0ull) : "memory")
APIC_WRMSR(x2apic_eoi, APIC_REG_EOI, 0ull)
APIC_WRMSR(x2apic_tpr, APIC_REG_TPR, at & 0xf0)
APIC_WRMSR(x2apic_tmict, APIC_REG_INITIAL, 0xffffffff - at)
OPERATION(x2apic_id, MSR_X2APIC + APIC_REG_ID / 16, "rdmsr", : : "rdx", "memory")

/* ---- The rows -------------------------------------------------------------------------------- */

#define ROW(row_name, prepare, name) row(row_name, prepare, run_##name, idle_##name, 0, 1, SAMPLES)

/* Prints the cost of one of the `per` accesses of each run. */
static void row_of(const char *name, step_t prepare, step_t run, step_t idle, unsigned per)
{
    uint32_t gross = measure(prepare, run, 0, 1, SAMPLES_MANY);
    uint32_t empty = measure(nothing, idle, 0, 1, SAMPLES_MANY);
    EXPECT(gross > empty);
    print_row(name, gross - empty, per);
}

#define ROW_OF(row_name, prepare, name, per) row_of(row_name, prepare, run_##name, idle_##name, per)

/* Each row is measured twice, the second time with changes of the address space. */
#define ROWS(row_name, name)                      \
    do {                                          \
        ROW(row_name, nothing, name);             \
        ROW(row_name "_cr3", change_space, name); \
    } while (0)
#define ROWS_OF(row_name, name, per)                      \
    do {                                                  \
        ROW_OF(row_name, nothing, name, per);             \
        ROW_OF(row_name "_cr3", change_space, name, per); \
    } while (0)

static void several_places(void)
{
    two[0] = device;
    two[1] = other_device;
    ROW("mmio_one_cr3", change_space, one);
    ROWS("mmio_devices_2", of_two);
    ROWS_OF("mmio_places_17", places_17, 17);
    ROWS_OF("mmio_places_64", places_64, 64);
    ROW_OF("mmio_places_256", nothing, places_256, 256);
}

static void several_instructions(void)
{
    ROWS_OF("mmio_instructions_17", instructions_17, 17);
    ROWS_OF("mmio_instructions_64", instructions_64, 64);
    ROW_OF("mmio_instructions_256", nothing, instructions_256, 256);
}

#define DOORBELL 0xd0000000ull
static void two_doorbells(void)
{
    uint64_t ids[2];
    for (unsigned i = 0; i < 2; i++) {
        two[i] = DOORBELL + 4 * i;
        struct hypercall call = {.rbx = two[i]};
        EXPECT_EQ(hypercall(HC_DOORBELL_ADD, &call), 0);
        ids[i] = call.rbx;
    }
    ROWS("doorbells_2", of_two);
    for (unsigned i = 0; i < 2; i++) {
        struct hypercall call = {.rbx = ids[i]};
        EXPECT_EQ(hypercall(HC_DOORBELL_REMOVE, &call), 0);
    }
}

static void other_instructions(void)
{
    ROW("mmio_or", nothing, or);
    ROW("mmio_xchg", nothing, xchg);
    ROW_OF("mmio_rep_movs", nothing, rep_movs, ELEMENTS);
}

static void local_apic(void)
{
    apic_write(APIC_REG_TIMER, LVT_MASKED);
    ROW("lapic_eoi", nothing, lapic_eoi);
    ROW("lapic_tpr", nothing, lapic_tpr);
    ROW("lapic_id", nothing, lapic_id);
    ROW("lapic_tmict", nothing, lapic_tmict);
    apic_write(APIC_REG_INITIAL, 0);
    apic_write(APIC_REG_TPR, 0);
}

static void local_x2apic(void)
{
    apic_enter_x2apic();
    ROW("x2apic_eoi", nothing, x2apic_eoi);
    ROW("x2apic_tpr", nothing, x2apic_tpr);
    ROW("x2apic_id", nothing, x2apic_id);
    ROW("x2apic_tmict", nothing, x2apic_tmict);
    apic_write(APIC_REG_INITIAL, 0);
    apic_write(APIC_REG_TPR, 0);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"several_places", several_places, NEED_HOST},
        {"several_instructions", several_instructions, NEED_HOST},
        {"two_doorbells", two_doorbells, NEED_HOST},
        {"other_instructions", other_instructions, NEED_HOST},
        {"local_apic", local_apic, NEED_HOST},
        {"local_x2apic", local_x2apic, NEED_HOST}, /* last: there is no way back; not in KVM */
    };

    if (launched()) {
        device = KVM_DEVICE;
        other_device = APIC + APIC_REG_TPR;
    }
    for (unsigned i = 0; i < PLACES; i++)
        places[i] = device + (launched() ? i % KVM_REGISTERS * 16 : 4 * i);
    make_spaces();
    run_tests(tests, ARRAY_SIZE(tests) - launched());
}
