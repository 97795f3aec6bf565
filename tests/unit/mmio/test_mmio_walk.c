/* SPDX-License-Identifier: MIT */
/*
 * The guest paging walk against a second reading of the SDM, over random tables in all paging
 * modes, and the cases that randomness does not reach.
 */
#include "arch/x86/reg_bits.h"
#include "tests/unit/mmio/mmio_world.h"

#include <string.h>

#define ROUNDS 40
#define WALKS  2000
#define PAGES  64 /* that random entries point to */

static uint8_t shadow[WORLD_RAM_SIZE] __attribute__((aligned(PAGE_SIZE)));

static uint8_t *in_shadow(uint64_t gpa)
{
    return gpa < WORLD_RAM_SIZE ? &shadow[gpa] : NULL;
}

static int setup(void **state)
{
    (void)state;
    world_init(GVA_CACHE_VERIFY);
    return 0;
}

static bool chance(unsigned of)
{
    return world_random() % of == 0;
}

static uint64_t random_entry(bool wide)
{
    uint64_t e = PTE_P | (world_random() & (PTE_A | PTE_D | 0xf18));
    e |= (world_random() % PAGES) << 12;
    e |= chance(8) ? 0 : PTE_W;
    e |= chance(8) ? 0 : PTE_U;
    if (chance(16))
        e &= ~PTE_P;
    if (chance(8))
        e |= PTE_PS;
    if (chance(4)) /* a large page's address bits, so that some are valid */
        e &= ~BITS(20, 12) | (chance(4) ? BITS(20, 13) : 0);
    if (chance(4))
        e &= wide ? ~BITS(29, 12) : ~0ull;
    if (chance(24))
        e |= BIT(world_random() % (wide ? 63 : 32));
    if (wide && chance(12))
        e |= PTE_XD;
    if (wide && chance(4))
        e |= (world_random() & 15) << 59;
    return e;
}

static void random_tables(bool wide)
{
    for (unsigned page = 0; page < PAGES; page++)
        for (unsigned i = 0; i < 4096; i += wide ? 8 : 4) {
            uint64_t entry = random_entry(wide);
            memcpy(&world_ram[page][i], &entry, wide ? 8 : 4);
        }
    memcpy(shadow, world_ram, sizeof(shadow));
}

enum mode {
    MODE_OFF,
    MODE_32,
    MODE_PAE,
    MODE_4_LEVEL,
    MODE_COUNT,
};

static void random_registers(enum mode mode)
{
    uint64_t r = world_random();
    uint64_t *regs = world.regs;
    regs[REG_CR0] = CR0_PE | (mode != MODE_OFF ? CR0_PG : 0) | (r & 1 ? CR0_WP : 0);
    regs[REG_CR4] = (r & 2 ? CR4_PSE : 0) | (mode >= MODE_PAE ? CR4_PAE : 0) |
                    (r & 4 ? CR4_SMEP : 0) | (r & 8 ? CR4_SMAP : 0) | (r & 16 ? CR4_PKE : 0);
    regs[REG_EFER] = (mode == MODE_4_LEVEL ? EFER_LMA : 0) | (r & 32 ? EFER_NXE : 0);
    regs[REG_RFLAGS] = 2 | (r & 64 ? RFLAGS_AC : 0);
    regs[REG_PKRU] = world_random() & world_random() & 0xffffffff;
    uint64_t dpl = r & 128 ? SEG_AR_DPL : 0;
    regs[REG_SEG_AR + SEG_CS] = (mode == MODE_4_LEVEL ? AR_CODE64 : AR_CODE32) | dpl;
    if (r & 256) /* conforming code may run at a CPL above its DPL */
        regs[REG_SEG_AR + SEG_CS] = (regs[REG_SEG_AR + SEG_CS] & ~SEG_AR_DPL) | 4;
    regs[REG_SEG_AR + SEG_SS] = AR_DATA32 | dpl;
    regs[REG_CR3] = (world_random() % PAGES) << 12 | (r >> 16 & 0x18);
    for (unsigned i = 0; i < 4; i++)
        regs[REG_PDPTE0 + i] = chance(8) ? 0 : (world_random() % PAGES * PAGE_SIZE) | PTE_P;
}

static void sync_entry(const struct walk *w)
{
    for (unsigned i = 0; i < w->count; i++) {
        uint64_t gpa = w->entries[i].gpa.v & ~7ull;
        if (gpa < sizeof(shadow))
            assert_memory_equal((uint8_t *)world_ram + gpa, shadow + gpa, 8);
    }
}

static void compare(const struct walk_limits *limits, uint64_t gva, uint64_t access,
                    unsigned counts[])
{
    struct walk_context context;
    struct walk w;
    walk_context_load(&context, &world.cpu, &world.mmu);
    enum walk_result result = walk(&world.mmu, &world.cpu, limits, &context, GVA(gva), access, &w);
    struct oracle o =
        world_oracle(in_shadow, gva, access == KEY_WRITE, access == KEY_FETCH, limits);
    counts[result]++;
    assert_int_equal(result, o.fault ? WALK_FAULT : o.outside ? WALK_NOT_RAM : WALK_OK);
    if (o.fault)
        assert_int_equal(w.error_code, o.error_code);
    else
        assert_int_equal(w.gpa.v, o.gpa);
    if (result == WALK_OK) {
        assert_true(w.keepable);
        for (unsigned i = 0; i < w.count; i++) {
            /* A table that maps itself: D of the last entry comes to an earlier one as well. Such a
             * walk is kept in vain, once. */
            bool again = i + 1 < w.count && w.entries[i].gpa.v == w.entries[w.count - 1].gpa.v;
            uint64_t now = w.entries[i].value;
            memcpy(&now, w.entries[i].host, w.entry_size);
            assert_int_equal(now, w.entries[i].value | (again ? now & PTE_D : 0));
        }
    }
    sync_entry(&w);
}

static void against_oracle(void **state)
{
    (void)state;
    unsigned counts[MODE_COUNT][WALK_UNSUPPORTED + 1] = {{0}};
    world_seed();
    for (unsigned round = 0; round < ROUNDS; round++) {
        enum mode mode = round % MODE_COUNT;
        struct walk_limits limits = {.physical_bits =
                                         (uint8_t)(36 + world_random() % (round & 4 ? 17 : 4)),
                                     .page_1g = world_random() & 1};
        random_tables(mode >= MODE_PAE);
        for (unsigned i = 0; i < WALKS; i++) {
            static const uint64_t accesses[] = {0, KEY_WRITE, KEY_FETCH};
            random_registers(mode);
            uint64_t gva = world_random();
            gva = mode == MODE_4_LEVEL ? (uint64_t)((int64_t)(gva << 16) >> 16) : (uint32_t)gva;
            compare(&limits, gva, accesses[world_random() % 3], counts[mode]);
        }
        assert_memory_equal(world_ram, shadow, sizeof(shadow));
    }
    for (enum mode mode = MODE_32; mode < MODE_COUNT; mode++) { /* both answers were common */
        assert_true(counts[mode][WALK_OK] > ROUNDS * WALKS / MODE_COUNT / 10);
        assert_true(counts[mode][WALK_FAULT] > ROUNDS * WALKS / MODE_COUNT / 10);
    }
}

static enum walk_result walk_now(uint64_t gva, uint64_t access, struct walk *w)
{
    static const struct walk_limits limits = {40, true};
    struct walk_context context;
    walk_context_load(&context, &world.cpu, &world.mmu);
    return walk(&world.mmu, &world.cpu, &limits, &context, GVA(gva), access, w);
}

static void unsupported_modes(void **state)
{
    (void)state;
    struct walk w;
    assert_int_equal(walk_now(WORLD_CODE, 0, &w), WALK_OK);
    world.regs[REG_CR4] |= CR4_LA57;
    assert_int_equal(walk_now(WORLD_CODE, 0, &w), WALK_UNSUPPORTED);
    world.regs[REG_CR4] = CR4_PAE | KEY_PKS;
    assert_int_equal(walk_now(WORLD_CODE, 0, &w), WALK_UNSUPPORTED);
}

/* A and D are set only when there is an access and it is allowed, and only D of the last entry. */
static void accessed_and_dirty(void **state)
{
    (void)state;
    struct walk w;
    uint64_t gva = 0x70000000, cr3 = world.regs[REG_CR3];
    world_map(cr3, gva, 0x9000, PTE_P);
    memcpy(shadow, world_ram, sizeof(shadow));
    assert_int_equal(walk_now(gva, KEY_WRITE, &w), WALK_FAULT);
    assert_int_equal(walk_now(gva, KEY_LOOK, &w), WALK_OK); /* nobody notices a look */
    assert_int_equal(w.gpa.v, 0x9000);
    assert_memory_equal(world_ram, shadow, sizeof(shadow));
    assert_int_equal(walk_now(gva, 0, &w), WALK_OK);
    assert_int_equal(*world_pte(cr3, gva), 0x9000 | PTE_P | PTE_A);
    world_map(cr3, gva, 0x9000, PTE_P | PTE_W);
    assert_int_equal(walk_now(gva, KEY_WRITE, &w), WALK_OK);
    assert_int_equal(*world_pte(cr3, gva), 0x9000 | PTE_P | PTE_W | PTE_A | PTE_D);
    for (unsigned level = 2; level <= 4; level++)
        assert_int_equal(*world_entry(cr3, gva, level) & (PTE_A | PTE_D), PTE_A);
}

/* A root that is its own table at every level: one word is all four entries, so that setting A in
 * the first outdates the three others, and the walk is tried again. */
static void table_that_maps_itself(void **state)
{
    (void)state;
    struct walk w;
    uint64_t cr3 = world.regs[REG_CR3], index = 0x123;
    uint64_t gva = (index << 39 | index << 30 | index << 21 | index << 12) | 0xffffull << 48;
    *world_entry(cr3, gva, 4) = cr3 | PTE_P | PTE_W;
    assert_int_equal(walk_now(gva | 0x456, KEY_WRITE, &w), WALK_OK);
    assert_int_equal(w.gpa.v, cr3 | 0x456);
    assert_int_equal(w.count, 4);
    assert_int_equal(*world_entry(cr3, gva, 4), cr3 | PTE_P | PTE_W | PTE_A | PTE_D);
}

/* Tables in read-only memory: without A the CPU could not go on; with A it never writes. */
static void readonly_tables(void **state)
{
    (void)state;
    struct walk w;
    uint64_t cr3 = world.regs[REG_CR3], gva = 0x7000ull << 24;
    uint64_t leaf = 0x9000 | PTE_P;
    world_slot_add(0xe0000000, 1, MEMSLOT_READONLY);
    uint64_t *pde = world_entry(cr3, gva, 2);
    *pde = 0xe0000000 | PTE_P;
    assert_int_equal(guest_load(&world.mmu, GPA(0xe0000000), &leaf, 8), 0);
    assert_int_equal(walk_now(gva, 0, &w), WALK_NOT_RAM);
    assert_int_equal(w.gpa.v, 0xe0000000);
    leaf |= PTE_A;
    assert_int_equal(guest_load(&world.mmu, GPA(0xe0000000), &leaf, 8), 0);
    assert_int_equal(walk_now(gva, 0, &w), WALK_OK);
    *pde = 0xd0000000 | PTE_P; /* nothing there */
    assert_int_equal(walk_now(gva, 0, &w), WALK_NOT_RAM);
    assert_int_equal(w.gpa.v, 0xd0000000);
}

/* A table on a page that was never touched: it is populated, reads as zero, and is kept; without
 * host memory that fails. */
static void table_never_touched(void **state)
{
    (void)state;
    struct walk w;
    uint64_t cr3 = world.regs[REG_CR3], gva = 0x7000ull << 24;
    world_slot_add(0xd0000000, 1, 0);
    *world_entry(cr3, gva, 2) = 0xd0000000 | PTE_P | PTE_W;
    support_fail_allocations_after(0);
    assert_int_equal(walk_now(gva, 0, &w), WALK_NO_MEMORY);
    assert_int_equal(w.gpa.v, 0xd0000000);
    support_fail_allocations_after(UINT64_MAX);
    assert_int_equal(walk_now(gva, 0, &w), WALK_FAULT);
    assert_int_equal(w.error_code, 0);
    assert_int_equal(w.count, 4);
    assert_ptr_equal(w.entries[3].host, world_page(0xd0000000));
}

/* D6: PAE starts at the PDPTE registers, in walks and in kept walks. */
static void pae_from_registers(void **state)
{
    (void)state;
    struct walk w;
    uint64_t *pd = world_table(0x40000), *other = world_table(0x41000);
    pd[0] = 0x80000000 | PTE_P | PTE_W | PTE_PS | PTE_A | PTE_D;
    other[0] = 0x90000000 | PTE_P | PTE_W | PTE_PS | PTE_A | PTE_D;
    world.regs[REG_EFER] = 0;
    world.regs[REG_SEG_AR + SEG_CS] = AR_CODE32;
    world.regs[REG_PDPTE0 + 3] = 0x40000 | PTE_P;
    assert_int_equal(walk_now(0xc0000123, 0, &w), WALK_OK);
    assert_int_equal(w.gpa.v, 0x80000123);
    assert_int_equal(w.count, 1);

    struct mmio_cache *cache = &world.vcpu.cache;
    struct walk_context context;
    struct translation t;
    walk_context_load(&context, &world.cpu, &world.mmu);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(mmio_cache_translate(cache, &context, GVA(0xc0000123), 0, &t), WALK_OK);
    assert_int_equal(t.gpa.v, 0x80000123);
    assert_int_equal(cache->gva_hits, 1);
    world.regs[REG_PDPTE0 + 3] = 0x41000 | PTE_P; /* CR3 and all of memory unchanged */
    assert_int_equal(mmio_cache_translate(cache, &context, GVA(0xc0000123), 0, &t), WALK_OK);
    assert_int_equal(t.gpa.v, 0x90000123);
    assert_int_equal(cache->gva_hits, 1);
}

/* D6 with entries of four bytes: either level, and only its own half of a doubleword. */
static void kept_walk_32(void **state)
{
    (void)state;
    uint32_t *directory = world_table(0x40000);
    uint32_t *table = world_table(0x41000);
    struct walk_context context;
    struct translation t;
    world.regs[REG_EFER] = world.regs[REG_CR4] = 0;
    world.regs[REG_SEG_AR + SEG_CS] = AR_CODE32;
    world.regs[REG_CR3] = 0x40000;
    directory[2] = 0x41023;
    directory[5] = 0x42023;
    table[4] = 0x80000063;
    walk_context_load(&context, &world.cpu, &world.mmu);
    struct {
        uint32_t *entry, value;
        uint64_t hits, gpa;
        enum walk_result result;
    } steps[] = {
        {&table[4], 0x80000063, 0, 0x80000008, WALK_OK},
        {&table[4], 0x80000063, 1, 0x80000008, WALK_OK},
        {&table[5], 0x12345067, 2, 0x80000008, WALK_OK}, /* the neighbour */
        {&table[4], 0x90000063, 2, 0x90000008, WALK_OK},
        {&table[4], 0x90000063, 3, 0x90000008, WALK_OK},
        {&directory[2], 0x42023, 3, 0, WALK_FAULT},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(steps); i++) {
        *steps[i].entry = steps[i].value;
        assert_int_equal(
            mmio_cache_translate(&world.vcpu.cache, &context, GVA(0x804008), KEY_WRITE, &t),
            steps[i].result);
        if (steps[i].result == WALK_OK)
            assert_int_equal(t.gpa.v, steps[i].gpa);
        assert_int_equal(world.vcpu.cache.gva_hits, steps[i].hits);
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, world_end)
    const struct CMUnitTest tests[] = {
        T(against_oracle),         T(unsupported_modes), T(accessed_and_dirty),
        T(table_that_maps_itself), T(readonly_tables),   T(table_never_touched),
        T(pae_from_registers),     T(kept_walk_32),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
