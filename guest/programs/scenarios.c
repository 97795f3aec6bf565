/* SPDX-License-Identifier: MIT */
/*
 * The purpose of this hypervisor, with one line for each scenario and the counters that prove it:
 * `make run` shows them. The other programs in this folder test all variants.
 *
 * With the argument `gva` it runs only those that depend on the VM's gva_cache=.
 */
#include "guest/programs/rt/flush.h"

#define DEV_A    ((uint64_t)TESTDEV_A_BASE)
#define DEV_B    ((uint64_t)TESTDEV_B_BASE)
#define HOLE     0xc0000000ull
#define BEYOND   0xc8000000ull
#define SLOT     8
#define RW       (PTE_P | PTE_W)
#define ACCESSES 1000
#define REMAPS   100
#define SWITCHES 10000

/* 1. The first access causes one violation; each of the next 1000 causes one misconfiguration and
 * no search for a slot. */
static void first_mmio_access(void)
{
    uint64_t caching = hc_config(CONFIG_MMIO_CACHING);
    struct watch violations = watch(EXITS_VIOLATION), searches;
    EXPECT_EQ(read32(DEV_B + TESTDEV_IDENT), 'B');
    uint64_t first = watched(violations);

    struct watch misconfigs = watch(EXITS_MISCONFIG);
    violations = watch(EXITS_VIOLATION);
    searches = watch(COUNTER_SLOT_SEARCHES);
    for (uint32_t i = 0; i < ACCESSES; i++)
        write32(DEV_B, i);
    uint64_t nm = watched(misconfigs), nv = watched(violations), ns = watched(searches);

    EXPECT_EQ(first, 1);
    EXPECT_EQ(nm, caching ? ACCESSES : 0);
    EXPECT_EQ(nv, caching ? 0 : ACCESSES);
    EXPECT_EQ(ns, caching ? 0 : ACCESSES);
    note("first_violations", first);
    note("next_misconfigs", nm);
    note("slot_searches", ns);
}

/* 2. RAM that is added over MMIO is visible at once without a flush; its removal owes a flush; a
 * slot moves with its contents. */
static void slots_come_and_go(void)
{
    write32(DEV_A, 0x1234);
    struct flushes invepts = watch_flushes();
    EXPECT_EQ(hc_slot_add(SLOT, DEV_A, 1, 0), 0);
    EXPECT_EQ(read32(DEV_A), 0);
    write32(DEV_A, 0x5678);
    uint64_t to_ram = flushed(invepts, 0);

    invepts = watch_flushes();
    EXPECT_EQ(hc_slot_delete(SLOT), 0);
    EXPECT_EQ(read32(DEV_A), 0x1234);
    uint64_t to_mmio = flushed(invepts, 1);

    EXPECT_EQ(hc_slot_add(SLOT, HOLE, 1, 0), 0);
    write32(HOLE, 0x9abc);
    EXPECT_EQ(hc_slot_move(SLOT, BEYOND), 0);
    EXPECT_EQ(read32(BEYOND), 0x9abc);
    EXPECT_EQ(read32(HOLE), 0xffffffff);
    EXPECT_EQ(hc_slot_delete(SLOT), 0);

    EXPECT_EQ(to_ram, 0);
    EXPECT_EQ(to_mmio, 1);
    note("invepts_mmio_to_ram", to_ram);
    note("invepts_ram_to_mmio", to_mmio);
}

/* 3. The generation wraps just as RAM is added over the device: no old MMIO SPTE may be valid. */
static void generation_wraps(void)
{
    uint64_t bits = hc_config(CONFIG_GEN_BITS);
    uint64_t wrap = ((hc_generation() >> bits) + 1) << bits;

    EXPECT_EQ(hc_generation_set(wrap - 1), 0);
    write32(DEV_A, 0x1234);
    struct watch zaps = watch(COUNTER_FULL_ZAPS);
    EXPECT_EQ(hc_slot_add(SLOT, DEV_A, 1, 0), 0);
    EXPECT_EQ(hc_generation(), wrap);
    uint64_t seen_value = read32(DEV_A), nz = watched(zaps);
    EXPECT_EQ(hc_slot_delete(SLOT), 0);
    EXPECT_EQ(read32(DEV_A), 0x1234);

    EXPECT_EQ(seen_value, 0);
    EXPECT_EQ(nz, 1);
    note("full_zaps", nz);
    note("stale_reads", seen_value != 0);
}

static void reset_devices(void)
{
    write32(DEV_A + TESTDEV_RESET, 1);
    write32(DEV_B + TESTDEV_RESET, 1);
}

static void expect_writes(uint32_t each)
{
    uint32_t a = read32(DEV_A + TESTDEV_WRITES), b = read32(DEV_B + TESTDEV_WRITES);
    EXPECT_EQ(a, each);
    EXPECT_EQ(b, each);
    note("a_writes", a);
    note("b_writes", b);
}

/* 4. An address is mapped to A and accessed, then mapped to B, flushed by INVLPG and accessed: only
 * B sees the second access. The same is done in the other direction. */
static void remap_and_invlpg(void)
{
    reset_devices();
    for (uint32_t i = 0; i < REMAPS; i++) {
        map_page(rt_pml4, TEST_VA, i & 1 ? DEV_B : DEV_A, RW);
        invlpg(TEST_VA);
        write32(TEST_VA, i);
    }
    EXPECT_EQ(read32(DEV_A), REMAPS - 2);
    EXPECT_EQ(read32(DEV_B), REMAPS - 1);
    expect_writes(REMAPS / 2);
    note("gva_cache_hits", counter(COUNTER_GVA_CACHE_HITS) != 0);
}

/* 5. Two address spaces map the address to A and to B, for 10,000 accesses in turn. */
static void two_address_spaces(void)
{
    uint64_t *roots[2] = {new_root(), new_root()}, cr3 = read_cr3();

    map_page(roots[0], TEST_VA, DEV_A, RW);
    map_page(roots[1], TEST_VA, DEV_B, RW);
    reset_devices();
    struct watch exits = watch(EXITS_CR);
    for (uint32_t i = 0; i < SWITCHES; i++) {
        write_cr3((uint64_t)roots[i & 1]);
        write32(TEST_VA, i);
    }
    write_cr3(cr3);
    uint64_t ne = watched(exits);
    EXPECT_EQ(ne, flushes_exit() ? SWITCHES + 1 : 0);
    expect_writes(SWITCHES / 2);
    note("cr3_exits", ne);
}

/* 6. RAM is remapped, with each kind of TLB flush: old data is never read, and the number of exits
 * is that of the mode of gva_cache=. */
static void flushes_of_ram(void)
{
    uint64_t *pages[2] = {new_page(), new_page()}, cr4 = read_cr4();
    uint64_t stale = 0, exits = 0, expected = 0, ways = 0;

    pages[1][0] = 1;
    write_cr4(cr4 | CR4_PGE);
    for (unsigned way = 0; way < FLUSHES; way++) {
        if (way >= FLUSH_INVPCID_0 && missing_need(NEED_INVPCID))
            break;
        struct watch watched_exits = watch(flushes[way].exit);
        for (unsigned i = 0; i < REMAPS; i++) {
            map_page(rt_pml4, TEST_VA, (uint64_t)pages[i & 1], RW);
            flushes[way].run(TEST_VA);
            stale += read64(TEST_VA) != (i & 1);
        }
        exits += watched(watched_exits);
        expected += REMAPS * flushes[way].exits;
        ways++;
    }
    write_cr4(cr4);
    EXPECT_EQ(stale, 0);
    EXPECT_EQ(exits, flushes_exit() ? expected : 0);
    note("flushes", ways * REMAPS);
    note("stale_reads", stale);
    note("exits", exits);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"first_mmio_access", first_mmio_access, NEED_TESTCTL},
        {"slots_come_and_go", slots_come_and_go, NEED_TESTCTL},
        {"generation_wraps", generation_wraps, NEED_TESTCTL},
        {"remap_and_invlpg", remap_and_invlpg, NEED_TESTCTL},
        {"two_address_spaces", two_address_spaces, NEED_TESTCTL},
        {"flushes_of_ram", flushes_of_ram, NEED_TESTCTL},
    };
    unsigned first = rt_args[0] == 'g' ? 3 : 0;

    run_tests(tests + first, ARRAY_SIZE(tests) - first);
}
