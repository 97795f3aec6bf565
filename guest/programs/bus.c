/* SPDX-License-Identifier: MIT */
/*
 * Changes of the bus by a guest: doorbells that ring only on matching writes, and a window that
 * shows RAM as a device and hides other devices, while the guest runs.
 */
#include "guest/programs/rt/rt.h"

#define DEV    ((uint64_t)TESTDEV_A_BASE)
#define HOLE   0xd0000000ull /* no slot and no device */
#define WINDOW 0xd1000000ull
#define MIRROR 0x800000ull
#define LOG    0x900000ull
#define TIMES  1000

static void write8(uint64_t address, uint8_t value)
{
    __asm__ volatile("movb %0, (%1)" : : "q"(value), "r"(address) : "memory");
}

static void write16(uint64_t address, uint16_t value)
{
    __asm__ volatile("movw %0, (%1)" : : "r"(value), "r"(address) : "memory");
}

static uint16_t read16(uint64_t address)
{
    uint16_t value;
    __asm__ volatile("movw (%1), %0" : "=r"(value) : "r"(address) : "memory");
    return value;
}

/* ---- Nobody's addresses ---------------------------------------------------------------------- */

static void inw_outl(void)
{
    uint16_t word;
    __asm__ volatile("inw %w1, %0" : "=a"(word) : "d"(0x1234) : "memory");
    EXPECT_EQ(word, 0xffff);
    __asm__ volatile("outl %0, %w1" : : "a"(5), "d"(0x1234) : "memory");
}

/* Unclaimed reads return all ones, unclaimed writes are dropped, and each access, or each unclaimed
 * part of one, is counted once. */
static void unclaimed(void)
{
    struct watch count = watch(COUNTER_BUS_UNCLAIMED);
    EXPECT_EQ(read64(HOLE), ~0ull);
    write32(HOLE + 3, 5);
    EXPECT_EQ(read32(HOLE + 3), 0xffffffff);
    EXPECT_EQ(watched(count), 3);
    count = watch(COUNTER_BUS_UNCLAIMED);
    inw_outl();
    EXPECT_EQ(watched(count), 2);
    count = watch(COUNTER_BUS_UNCLAIMED);
    write32(DEV + 0x20, 0x11223344);
    EXPECT_EQ(read32(DEV + 0x20), 0x11223344);
    /* half of the access belongs to the device */
    EXPECT_EQ(read64(DEV - 4) & 0xffffffff, 0xffffffff);
    EXPECT_EQ(watched(count), 1);
    EXPECT_EQ(counter(COUNTER_BUS_REFUSED), 0);
}

/* ---- Doorbells ------------------------------------------------------------------------------- */

static int add_bell(uint64_t address, uint64_t length, uint64_t data, uint64_t flags, uint64_t *id)
{
    struct hypercall call = {address, length, data, flags};
    int error = hypercall(HC_DOORBELL_ADD, &call);
    *id = call.rbx;
    return error;
}

static int remove_bell(uint64_t id)
{
    struct hypercall call = {.rbx = id};
    return hypercall(HC_DOORBELL_REMOVE, &call);
}

static uint64_t rings(uint64_t id)
{
    struct hypercall call = {.rbx = id};
    EXPECT_EQ(hypercall(HC_DOORBELL_RINGS, &call), 0);
    return call.rbx;
}

static void any_write(void)
{
    uint64_t id;
    EXPECT_EQ(add_bell(HOLE + 8, 0, 0, 0, &id), 0);
    write8(HOLE + 8, 1);
    write16(HOLE + 8, 2);
    write32(HOLE + 8, 3);
    write64(HOLE + 8, 4);
    EXPECT_EQ(rings(id), 4);
    EXPECT_EQ(read32(HOLE + 8), 0xffffffff); /* reads never ring */
    EXPECT_EQ(read8(HOLE + 8), 0xff);
    write64(HOLE + 4, 5); /* nor do writes at another address */
    write32(HOLE + 9, 6);
    EXPECT_EQ(rings(id), 4);
    EXPECT_EQ(remove_bell(id), 0);
    write32(HOLE + 8, 7);
    EXPECT_EQ(remove_bell(id), -EINVAL);
}

/* The device gets the writes that do not ring, and only these. */
static void length_and_data(void)
{
    uint64_t length, data;
    write32(DEV + TESTDEV_RESET, 1);
    EXPECT_EQ(add_bell(DEV + 8, 2, 0, 0, &length), 0);
    EXPECT_EQ(add_bell(DEV + 16, 4, 0x5a5a5a5a, DOORBELL_DATA, &data), 0);
    for (unsigned i = 0; i < 8; i++) { /* more than once, so that replay entries are used */
        write16(DEV + 8, (uint16_t)i);
        write32(DEV + 8, i);
        write32(DEV + 16, i & 1 ? 0x5a5a5a5a : i);
        write16(DEV + 16, 0x5a5a);
    }
    EXPECT_EQ(rings(length), 8);
    EXPECT_EQ(rings(data), 4);
    EXPECT_EQ(read32(DEV + TESTDEV_WRITES), 8 + 4 + 8);
    EXPECT_EQ(read16(DEV + 8), 7);
    EXPECT_EQ(read32(DEV + 16), 0x5a5a);
    EXPECT_EQ(remove_bell(length), 0);
    EXPECT_EQ(remove_bell(data), 0);
}

/* One instruction, executed many times, while the doorbell is added and removed. Each ring is one
 * exit. */
static void rung_often(void)
{
    uint64_t id, exits = 0, count = 0;
    write32(DEV + TESTDEV_RESET, 1);
    for (uint32_t i = 0; i < 4; i++) {
        if (i & 1)
            EXPECT_EQ(add_bell(DEV, 0, 0, 0, &id), 0);
        struct watch all = watch(COUNTER_EXITS);
        for (uint32_t n = 0; n < TIMES; n++) {
            write32(DEV, n);
        }
        exits += watched(all) - 1; /* the hypercall that reads the counter */
        if (i & 1) {
            count += rings(id);
            EXPECT_EQ(remove_bell(id), 0);
        }
    }
    EXPECT_EQ(count, 2 * TIMES);
    EXPECT_EQ(read32(DEV + TESTDEV_WRITES), 2 * TIMES);
    EXPECT_EQ(exits, 4 * TIMES);
    note("rings", count);
    note("writes", read32(DEV + TESTDEV_WRITES));
}

static void bell_refusals(void)
{
    uint64_t ids[17], none;
    EXPECT_EQ(add_bell(HOLE, 3, 0, 0, &none), -EINVAL);
    EXPECT_EQ(add_bell(HOLE, 16, 0, 0, &none), -EINVAL);
    EXPECT_EQ(add_bell(HOLE, 0, 5, DOORBELL_DATA, &none), -EINVAL); /* data without a length */
    EXPECT_EQ(add_bell(HOLE, 4, 5, 2, &none), -EINVAL);
    for (unsigned i = 0; i < 16; i++)
        EXPECT_EQ(add_bell(HOLE, 4, i, DOORBELL_DATA, &ids[i]), 0);
    EXPECT_EQ(add_bell(HOLE, 4, 16, DOORBELL_DATA, &none), -ENOSPC);
    EXPECT_EQ(remove_bell(ids[3]), 0);
    EXPECT_EQ(add_bell(HOLE, 4, 4, DOORBELL_DATA, &none), -EEXIST);
    EXPECT_EQ(add_bell(HOLE, 0, 0, 0, &none), -EEXIST);
    EXPECT_EQ(add_bell(HOLE, 4, 3, DOORBELL_DATA, &ids[3]), 0);
    write32(HOLE, 3);
    for (unsigned i = 0; i < 16; i++) {
        EXPECT_EQ(rings(ids[i]), i == 3);
        EXPECT_EQ(remove_bell(ids[i]), 0);
    }
    EXPECT_EQ(remove_bell(99), -EINVAL);
}

/* ---- The window ------------------------------------------------------------------------------ */

static int set_window(uint64_t at, uint64_t mirror, uint64_t log)
{
    struct hypercall call = {at, mirror, log, 0};
    return hypercall(HC_WINDOW, &call);
}

/* The record of access number `n`, from 1. */
static void expect_logged(uint64_t n, uint32_t offset, uint16_t size, bool write, uint64_t value)
{
    const uint8_t *record = (const uint8_t *)(LOG + WINDOW_LOG_HEADER) +
                            (n - 1) % WINDOW_LOG_RECORDS * WINDOW_LOG_RECORD;
    uint64_t mask = ~0ull >> (64 - 8 * size);
    EXPECT_EQ(read64((uint64_t)record), n);
    EXPECT_EQ(read32((uint64_t)record + 8), offset);
    EXPECT_EQ(read16((uint64_t)record + 12), size);
    EXPECT_EQ(read16((uint64_t)record + 14), write);
    EXPECT_EQ(read64((uint64_t)record + 16) & mask, value & mask);
}

/* Accesses memory through the window and natively, and checks the log of the accesses. */
static void both_sides(void)
{
    memset((void *)LOG, 0, RT_PAGE);
    memset((void *)MIRROR, 0, WINDOW_SIZE);
    EXPECT_EQ(set_window(WINDOW, MIRROR, LOG), 0);
    write64(WINDOW, 0x8877665544332211);
    EXPECT_EQ(read64(MIRROR), 0x8877665544332211);
    write8(WINDOW + 3, 0xaa);
    write16(WINDOW + 0xfff, 0xbbcc); /* across a page border */
    write32(WINDOW + WINDOW_SIZE - 4, 0xdeadbeef);
    EXPECT_EQ(read64(MIRROR), 0x88776655aa332211);
    EXPECT_EQ(read16(MIRROR + 0xfff), 0xbbcc);
    EXPECT_EQ(read32(MIRROR + WINDOW_SIZE - 4), 0xdeadbeef);
    write64(MIRROR + 0x2345, 0x1020304050607080); /* natively */
    EXPECT_EQ(read32(WINDOW + 0x2347), 0x30405060);
    EXPECT_EQ(read16(WINDOW + WINDOW_SIZE - 1), 0xffde);
    EXPECT_EQ(read64(LOG), 7);
    expect_logged(1, 0, 8, true, 0x8877665544332211);
    expect_logged(2, 3, 1, true, 0xaa);
    expect_logged(3, 0xfff, 1, true, 0xcc);
    expect_logged(4, 0x1000, 1, true, 0xbb);
    expect_logged(5, 0xfffc, 4, true, 0xdeadbeef);
    expect_logged(6, 0x2347, 4, false, 0x30405060);
    expect_logged(7, 0xffff, 1, false, 0xde); /* the second byte is unclaimed */
    EXPECT_EQ(set_window(0, 0, 0), 0);
    EXPECT_EQ(read64(WINDOW), ~0ull);
    EXPECT_EQ(read64(LOG), 7);
}

static uint8_t vector_in[32] __attribute__((aligned(32))), vector_out[32];

static void move_xmm(uint64_t to, const void *from)
{
    __asm__ volatile(
        ".byte 0xf3, 0x0f, 0x6f, 0x06, 0xf3, 0x0f, 0x7f, 0x07" /* movdqu (%rsi),%xmm0 */
        :
        : "S"(from), "D"(to) /* movdqu %xmm0,(%rdi) */
        : "memory");
}

static void move_ymm(uint64_t to, const void *from)
{
    /* vmovdqu (%rsi),%ymm0; vmovdqu %ymm0,(%rdi) */
    __asm__ volatile(".byte 0xc5, 0xfe, 0x6f, 0x06, 0xc5, 0xfe, 0x7f, 0x07"
                     :
                     : "S"(from), "D"(to)
                     : "memory");
}

static uint64_t record_field(uint64_t number, unsigned at)
{
    return read64(LOG + WINDOW_LOG_HEADER + (number - 1) * WINDOW_LOG_RECORD + at);
}

/* Accesses of 16 and 32 bytes arrive as one access. */
static void wide_accesses(void)
{
    uint64_t cr0;
    memset((void *)LOG, 0, RT_PAGE);
    memset((void *)MIRROR, 0, RT_PAGE);
    for (unsigned i = 0; i < sizeof(vector_in); i++)
        vector_in[i] = (uint8_t)(0x80 + i);
    __asm__ volatile("mov %%cr0, %0" : "=r"(cr0));
    __asm__ volatile("mov %0, %%cr0" : : "r"(cr0 & ~(BIT(2) | BIT(3)))); /* EM, TS */
    write_cr4(read_cr4() | BIT(9));                                      /* OSFXSR */
    EXPECT_EQ(set_window(WINDOW, MIRROR, LOG), 0);
    move_xmm(WINDOW + 0x20, vector_in);
    EXPECT_EQ(read64(MIRROR + 0x20), 0x8786858483828180);
    EXPECT_EQ(read64(MIRROR + 0x28), 0x8f8e8d8c8b8a8988);
    move_xmm((uint64_t)vector_out, (const void *)(WINDOW + 0x21));
    EXPECT_EQ(vector_out[0], 0x81);
    EXPECT_EQ(vector_out[15], 0);
    EXPECT_EQ(read64(LOG), 2);
    EXPECT_EQ(record_field(1, 8), 0x20 | 16ull << 32 | 1ull << 48);
    EXPECT_EQ(record_field(1, 24), 0x8f8e8d8c8b8a8988);
    EXPECT_EQ(record_field(2, 8), 0x21 | 16ull << 32);
    if (cpuid(1).ecx & BIT(26) && cpuid(1).ecx & BIT(28)) {
        write_cr4(read_cr4() | BIT(18)); /* OSXSAVE */
        __asm__ volatile("xsetbv" : : "a"(7), "d"(0), "c"(0));
        move_ymm(WINDOW + 0x40, vector_in);
        EXPECT_EQ(read64(MIRROR + 0x58), 0x9f9e9d9c9b9a9998);
        EXPECT_EQ(read64(LOG), 3);
        EXPECT_EQ(record_field(3, 8), 0x40 | 32ull << 32 | 1ull << 48);
        EXPECT_EQ(record_field(3, 40), 0x9f9e9d9c9b9a9998);
    }
    EXPECT_EQ(set_window(0, 0, 0), 0);
    __asm__ volatile("mov %0, %%cr0" : : "r"(cr0));
}

/* The window covers other devices, which are visible again when it is removed. After each change, a
 * known instruction reaches the other one of the two, although it had a replay entry. */
static void over_a_device(void)
{
    uint64_t wrong = 0;
    EXPECT_EQ(set_window(0, 0, 0), 0);
    write32(DEV + TESTDEV_RESET, 1);
    memset((void *)MIRROR, 0, WINDOW_SIZE);
    for (uint32_t i = 0; i < 40; i++) {
        bool covered = i / 4 & 1; /* four accesses each, so that there is a replay entry */
        if (!(i & 3))
            EXPECT_EQ(set_window(covered ? DEV : 0, MIRROR, 0), 0);
        write32(DEV + 0x10, i + 1);
        wrong += read32(DEV + 0x10) != i + 1;
        wrong += read32(MIRROR + 0x10) != (covered ? i + 1 : i ? (i & ~3u) : 0);
    }
    EXPECT_EQ(set_window(0, 0, 0), 0);
    EXPECT_EQ(wrong, 0);
    EXPECT_EQ(read32(DEV + TESTDEV_IDENT), 'A');
    EXPECT_EQ(read32(DEV + TESTDEV_WRITES), 20);
    note("device_writes", read32(DEV + TESTDEV_WRITES));
}

static uint64_t random_state = 1;

static uint32_t random(uint32_t below)
{
    random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)((random_state >> 33) % below);
}

/* Accesses of all sizes at any offset, through the window and natively, see the same memory. */
static void random_accesses(void)
{
    static uint8_t model[256];
    uint64_t wrong = 0, accesses = 0;
    memset(model, 0, sizeof(model));
    memset((void *)MIRROR, 0, sizeof(model));
    EXPECT_EQ(set_window(WINDOW, MIRROR, LOG), 0);
    for (unsigned i = 0; i < 5000; i++) {
        uint32_t size = 1u << random(4), offset = random(sizeof(model) - size + 1);
        uint64_t base = random(2) ? WINDOW : MIRROR, at = base + offset, value = 0;
        accesses += base == WINDOW;
        if (random(2)) {
            value = (uint64_t)random(0x7fffffff) << 33 ^ random(0x7fffffff);
            size == 1   ? write8(at, (uint8_t)value)
            : size == 2 ? write16(at, (uint16_t)value)
            : size == 4 ? write32(at, (uint32_t)value)
                        : write64(at, value);
            memcpy(model + offset, &value, size);
            continue;
        }
        value = size == 1   ? read8(at)
                : size == 2 ? read16(at)
                : size == 4 ? read32(at)
                            : read64(at);
        for (unsigned b = 0; b < size; b++)
            wrong += model[offset + b] != (uint8_t)(value >> 8 * b);
    }
    EXPECT_EQ(wrong, 0);
    EXPECT_EQ(read64(LOG), accesses);
    EXPECT_EQ(set_window(0, 0, 0), 0);
    note("through_the_window", accesses);
}

static void window_refusals(void)
{
    EXPECT_EQ(set_window(WINDOW + 8, MIRROR, 0), -EINVAL);
    EXPECT_EQ(set_window(WINDOW, MIRROR + 8, 0), -EINVAL);
    EXPECT_EQ(set_window(WINDOW, MIRROR, LOG + 8), -EINVAL);
    EXPECT_EQ(set_window(~0xfffull, MIRROR, 0), -ERANGE);
    EXPECT_EQ(set_window(WINDOW, ~0xfffull, 0), -ERANGE);
    EXPECT_EQ(set_window(WINDOW, HOLE, HOLE),
              0); /* no RAM there: nothing is stored, and nothing breaks */
    write32(WINDOW, 1);
    EXPECT_EQ(read32(WINDOW), 0xffffffff);
    EXPECT_EQ(set_window(WINDOW, WINDOW, WINDOW), 0); /* nor behind the window itself */
    write32(WINDOW, 1);
    EXPECT_EQ(read32(WINDOW), 0xffffffff);
    EXPECT_EQ(set_window(0, 0, 0), 0);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"unclaimed", unclaimed, NEED_TESTCTL},
        {"doorbell_any_write", any_write, NEED_TESTCTL},
        {"doorbell_length_and_data", length_and_data, NEED_TESTCTL},
        {"doorbell_rung_often", rung_often, NEED_TESTCTL},
        {"doorbell_refusals", bell_refusals, NEED_TESTCTL},
        {"window_both_sides", both_sides, NEED_TESTCTL},
        {"window_wide_accesses", wide_accesses, NEED_TESTCTL},
        {"window_over_a_device", over_a_device, NEED_TESTCTL},
        {"window_random_accesses", random_accesses, NEED_TESTCTL},
        {"window_refusals", window_refusals, NEED_TESTCTL},
    };

    run_tests(tests, ARRAY_SIZE(tests));
}
