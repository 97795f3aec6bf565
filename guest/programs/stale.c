/* SPDX-License-Identifier: MIT */
/*
 * Code that changes during an access to MMIO (decision D6): it is remapped without a flush while it
 * runs, overwritten, moved with its slot, or moved to another host page. The emulated access is
 * that of the bytes of a fresh fetch; if these do something else, the CPU's stale translation is
 * dropped and the guest continues with the new code. The two are never mixed.
 */
#include "guest/programs/rt/rt.h"

#define DEV_A  ((uint64_t)TESTDEV_A_BASE)
#define DEV_B  ((uint64_t)TESTDEV_B_BASE)
#define RW     (PTE_P | PTE_W)
#define CODE   (TEST_VA + 4 * RT_2M)
#define SLOT   8
#define PLACE  0xc0000000ull /* the slot's address; it moves to the other one */
#define ASIDE  0xc8000000ull
#define ROUNDS 50

/* Code bytes. RDI points to the page-table entry of the code's own page, RSI is a new value for it,
 * RCX is device A, R8 is device B, and EDX is the value to store. A RET follows. */
#define REMAP   0x48, 0x89, 0x37 /* mov [rdi], rsi */
#define STORE_A 0x89, 0x11       /* mov [rcx], edx */
#define BYTE_A  0x88, 0x11       /* mov [rcx], dl */
#define LOAD_A  0x8b, 0x11       /* mov edx, [rcx] */
#define STORE_B 0x41, 0x89, 0x10 /* mov [r8], edx */
#define QUAD_A  0x48, 0x89, 0x11 /* mov [rcx], rdx */
#define NEXT_A  0x89, 0x51, 0x04 /* mov [rcx + 4], edx: not what the exit was for */
#define NOPS    0x90, 0x90
#define RET     0xc3

static uint64_t *code_entry;

static uint64_t call_code(uint64_t rsi, uint64_t value)
{
    uint64_t rdx = value, rax = CODE;
    __asm__ volatile("mov %4, %%r8; call *%%rax"
                     : "+a"(rax), "+d"(rdx)
                     : "D"(code_entry), "S"(rsi), "i"(DEV_B), "c"(DEV_A)
                     : "r8", "memory", "cc");
    return rdx;
}

/* Maps the code, and finds its page-table entry. */
static void map_code(uint64_t pa)
{
    map_page(rt_pml4, CODE, pa, RW);
    uint64_t *table = rt_pml4;
    for (int shift = 39; shift > 12; shift -= 9)
        table = (uint64_t *)(table[CODE >> shift & 511] & BITS(51, 12));
    code_entry = &table[CODE >> 12 & 511];
    invlpg(CODE);
}

static void reset(void)
{
    write32(DEV_A + TESTDEV_RESET, 1);
    write32(DEV_B + TESTDEV_RESET, 1);
}

static void expect(uint64_t a_writes, uint64_t a_reads, uint64_t b_writes)
{
    EXPECT_EQ(read32(DEV_A + TESTDEV_WRITES), a_writes);
    EXPECT_EQ(read32(DEV_A + TESTDEV_READS), a_reads);
    EXPECT_EQ(read32(DEV_B + TESTDEV_WRITES), b_writes);
}

static const uint8_t old_code[] = {REMAP, STORE_A, RET};

/* The bytes in the page with which the running code replaces its own page. */
static const struct {
    const char *name;
    uint8_t code[12];
    uint8_t a_writes, a_reads, b_writes, stale, last_size;
} others[] = {
    {"the same", {REMAP, STORE_A, RET}, 1, 0, 0, 0, 4},
    {"another size", {REMAP, BYTE_A, RET}, 1, 0, 0, 0, 1},
    {"a longer one", {REMAP, QUAD_A, RET}, 1, 0, 0, 0, 8},
    {"a load", {REMAP, LOAD_A, RET}, 0, 1, 0, 0, 4},
    {"another device", {REMAP, STORE_B, RET}, 0, 0, 1, 1, 0},
    {"another register", {REMAP, NEXT_A, RET}, 1, 0, 0, 1, 4},
    {"no access", {REMAP, NOPS, RET}, 0, 0, 0, 1, 0},
};

/* D6: the code remaps its own page, and continues in the old page as long as the CPU's translation
 * is stale. */
static void remapped_without_flush(void)
{
    uint8_t *pages[2] = {(uint8_t *)new_page(), (uint8_t *)new_page()};
    uint64_t all = 0;
    memcpy(pages[0], old_code, sizeof(old_code));
    for (unsigned i = 0; i < ARRAY_SIZE(others); i++) {
        memcpy(pages[1], others[i].code, sizeof(others[i].code));
        for (unsigned n = 0; n < 3; n++) {
            reset();
            map_code((uint64_t)pages[0]);
            call_code((uint64_t)pages[0] | RW, 1); /* the instruction and its walk are cached now */
            call_code((uint64_t)pages[0] | RW, 1);
            call_code((uint64_t)pages[0] | RW, 1);
            reset();
            struct watch stale = watch(COUNTER_STALE_TRANSLATIONS);
            call_code((uint64_t)pages[1] | RW, 0x1234);
            uint64_t ns = watched(stale);
            EXPECT_EQ(ns, others[i].stale);
            expect(others[i].a_writes, others[i].a_reads, others[i].b_writes);
            if (others[i].last_size)
                EXPECT_EQ(read32(DEV_A + TESTDEV_LAST_SIZE), others[i].last_size);
            all += ns;
        }
    }
    note("stale_translations", all);
}

static void run_code(void *rsi)
{
    call_code((uint64_t)rsi, 0x1234);
}

/* The code unmaps its own page: the fetch causes a page fault, as after a flush. */
static void unmapped_without_flush(void)
{
    uint8_t *page = (uint8_t *)new_page();
    memcpy(page, old_code, sizeof(old_code));
    map_code((uint64_t)page);
    call_code((uint64_t)page | RW, 1);
    reset();
    struct fault fault = try_run(run_code, NULL);
    EXPECT_EQ(fault.vector, VECTOR_PF);
    EXPECT_EQ(fault.cr2, CODE + 3);
    EXPECT_EQ(fault.rip, CODE + 3);
    EXPECT_EQ(fault.error & ~0x10ull, 0);
    expect(0, 0, 0);
}

/* The bytes change from one execution to the next, as a just-in-time compiler would change them. */
static void overwritten(void)
{
    static const struct {
        uint8_t code[4];
        uint8_t size;
    } forms[] = {{{STORE_A, RET}, 4}, {{BYTE_A, RET}, 1}, {{QUAD_A, RET}, 8}, {{LOAD_A, RET}, 0}};
    uint8_t *page = (uint8_t *)new_page();
    uint64_t wrong = 0, writes = 0, reads = 0;
    map_code((uint64_t)page);
    reset();
    for (unsigned i = 0; i < 20 * ROUNDS; i++) {
        /* at first each time, then after several executions */
        unsigned f = i < 10 * ROUNDS ? i % 4 : i / 5 % 4;
        memcpy(page, forms[f].code, sizeof(forms[f].code));
        call_code(0, i);
        writes += forms[f].size != 0;
        reads += !forms[f].size;
        wrong += read32(DEV_A + TESTDEV_LAST_SIZE) != (forms[f].size ? forms[f].size : 4);
    }
    EXPECT_EQ(wrong, 0);
    expect(writes, reads, 0);
    note("writes", writes);
    note("reads", reads);
}

static void write_code(uint64_t gpa, const uint8_t *code, size_t size)
{
    memcpy((void *)gpa, code, size);
}

/* The slot with the code moves away, and another slot with other code takes its place. */
static void moved_with_its_slot(void)
{
    static const uint8_t to_a[] = {STORE_A, RET}, to_b[] = {STORE_B, RET};
    reset();
    EXPECT_EQ(hc_slot_add(SLOT, PLACE, 1, 0), 0);
    EXPECT_EQ(hc_slot_add(SLOT + 1, ASIDE, 1, 0), 0);
    write_code(PLACE, to_a, sizeof(to_a));
    write_code(ASIDE, to_b, sizeof(to_b));
    map_code(PLACE);
    for (unsigned i = 0; i < ROUNDS; i++) {
        for (unsigned n = 0; n < 4; n++)
            call_code(0, i);
        expect(4 * (i / 2 + 1), 0, 4 * ((i + 1) / 2));
        EXPECT_EQ(hc_slot_move(SLOT + (i & 1), ASIDE + RT_PAGE), 0);
        EXPECT_EQ(hc_slot_move(SLOT + (~i & 1), PLACE), 0);
        EXPECT_EQ(hc_slot_move(SLOT + (i & 1), ASIDE), 0);
    }
    EXPECT_EQ(hc_slot_delete(SLOT), 0);
    EXPECT_EQ(hc_slot_delete(SLOT + 1), 0);
    note("a_writes", read32(DEV_A + TESTDEV_WRITES));
    note("b_writes", read32(DEV_B + TESTDEV_WRITES));
}

/* The slot with the code is deleted, and a new one takes its place: the old page may have a new
 * owner by then. */
static void deleted_with_its_slot(void)
{
    static const uint8_t to_a[] = {STORE_A, RET}, to_b[] = {STORE_B, RET};
    reset();
    for (unsigned i = 0; i < ROUNDS; i++) {
        EXPECT_EQ(hc_slot_add(SLOT, PLACE, 1, 0), 0);
        if (i & 1)
            write_code(PLACE, to_b, sizeof(to_b));
        else
            write_code(PLACE, to_a, sizeof(to_a));
        map_code(PLACE);
        for (unsigned n = 0; n < 4; n++)
            call_code(0, i);
        EXPECT_EQ(hc_slot_delete(SLOT), 0);
    }
    expect(2 * ROUNDS, 0, 2 * ROUNDS);
}

/* The host moves the page, and drops the SPTEs that map it. */
static void another_host_page(void)
{
    static const uint8_t to_a[] = {STORE_A, RET}, to_b[] = {STORE_B, RET};
    reset();
    EXPECT_EQ(hc_slot_add(SLOT, PLACE, 1, 0), 0);
    map_code(PLACE);
    for (unsigned i = 0; i < ROUNDS; i++) {
        if (i & 1)
            write_code(PLACE, to_b, sizeof(to_b));
        else
            write_code(PLACE, to_a, sizeof(to_a));
        call_code(0, i);
        EXPECT_EQ(hc_page(HC_HOST_REMAP, PLACE), 0);
        call_code(0, i);
        call_code(0, i);
        EXPECT_EQ(hc_zap(PLACE, 1), 0);
        call_code(0, i);
    }
    expect(2 * ROUNDS, 0, 2 * ROUNDS);
    EXPECT_EQ(hc_slot_delete(SLOT), 0);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"remapped_without_flush", remapped_without_flush, NEED_TESTCTL},
        {"unmapped_without_flush", unmapped_without_flush, NEED_TESTCTL},
        {"overwritten", overwritten, NEED_TESTCTL},
        {"moved_with_its_slot", moved_with_its_slot, NEED_TESTCTL},
        {"deleted_with_its_slot", deleted_with_its_slot, NEED_TESTCTL},
        {"another_host_page", another_host_page, NEED_TESTCTL},
    };

    run_tests(tests, ARRAY_SIZE(tests));
}
