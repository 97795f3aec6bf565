/* SPDX-License-Identifier: MIT */
/*
 * TLB flushes after a virtual address is mapped to another page of RAM (scenario 6): after a flush
 * the guest never reads the old page, and flushes exit only with gva_cache=exits.
 */
#include "guest/programs/rt/flush.h"

#define ROUNDS 1000

/* Maps an address to two pages in turn, with a flush after each change. */
static void remap_rounds(const struct flush *flush, uint64_t flags)
{
    uint64_t *pages[2] = {new_page(), new_page()}, va = TEST_VA;
    bool counted = !missing_need(NEED_TESTCTL);
    uint64_t stale = 0, exits = 0, cr4 = read_cr4();
    struct watch watched_exits = {0};

    write_cr4(cr4 | CR4_PGE);
    pages[0][0] = 0;
    pages[1][0] = 1;
    map_page(rt_pml4, va, (uint64_t)pages[0], flags);
    invlpg(va);
    if (counted)
        watched_exits = watch(flush->exit);
    for (unsigned i = 0; i < ROUNDS; i++) {
        stale += read64(va) != (i & 1);
        map_page(rt_pml4, va, (uint64_t)pages[~i & 1], flags);
        flush->run(va);
    }
    if (counted)
        exits = watched(watched_exits);
    invlpg(va);
    write_cr4(cr4);
    EXPECT_EQ(stale, 0);
    note("rounds", ROUNDS);
    note("stale_reads", stale);
    if (counted) {
        EXPECT_EQ(exits, flushes_exit() ? ROUNDS * flush->exits : 0);
        note("exits", exits);
    }
}

#define FLUSH_TEST(name, which, flags)                          \
    static void name(void)                                      \
    {                                                           \
        remap_rounds(&flushes[which], PTE_P | PTE_W | (flags)); \
    }
FLUSH_TEST(by_invlpg, FLUSH_INVLPG, 0)
FLUSH_TEST(by_mov_cr3, FLUSH_MOV_CR3, 0)
FLUSH_TEST(by_cr4_pge, FLUSH_CR4_PGE, 0)
FLUSH_TEST(by_invpcid_0, FLUSH_INVPCID_0, 0)
FLUSH_TEST(by_invpcid_1, FLUSH_INVPCID_1, 0)
FLUSH_TEST(by_invpcid_2, FLUSH_INVPCID_2, 0)
FLUSH_TEST(by_invpcid_3, FLUSH_INVPCID_3, 0)
FLUSH_TEST(global_by_invlpg, FLUSH_INVLPG, PTE_G)
FLUSH_TEST(global_by_cr4_pge, FLUSH_CR4_PGE, PTE_G)
FLUSH_TEST(global_by_invpcid_2, FLUSH_INVPCID_2, PTE_G)

/* Two address spaces with a PCID each. A change made in the other address space is visible after a
 * MOV to CR3 that flushes. A MOV to CR3 that does not flush may keep translations that have not
 * changed. */
static void pcids(void)
{
    uint64_t *roots[2] = {new_root(), new_root()};
    uint64_t *pages[2] = {new_page(), new_page()};
    uint64_t cr3 = read_cr3(), cr4 = read_cr4(), stale = 0, exits = 0;
    bool counted = !missing_need(NEED_TESTCTL);
    struct watch cr_exits = {0};

    for (unsigned i = 0; i < 2; i++)
        pages[i][0] = i;
    write_cr4(cr4 | CR4_PCIDE);
    if (counted)
        cr_exits = watch(EXITS_CR);
    for (unsigned i = 0; i < ROUNDS; i++) {
        for (unsigned space = 0; space < 2; space++)
            map_page(roots[space], TEST_VA, (uint64_t)pages[(i + space) & 1], PTE_P | PTE_W);
        write_cr3((uint64_t)roots[0] | 1);
        stale += read64(TEST_VA) != (i & 1);
        write_cr3((uint64_t)roots[1] | 2);
        stale += read64(TEST_VA) != (~i & 1);
        write_cr3((uint64_t)roots[0] | 1 | CR3_NOFLUSH);
        stale += read64(TEST_VA) != (i & 1);
        write_cr3((uint64_t)roots[1] | 2 | CR3_NOFLUSH);
        stale += read64(TEST_VA) != (~i & 1);
    }
    if (counted)
        exits = watched(cr_exits);
    write_cr3(cr3);
    write_cr4(cr4);
    EXPECT_EQ(stale, 0);
    note("rounds", ROUNDS);
    note("stale_reads", stale);
    if (counted) {
        EXPECT_EQ(exits, flushes_exit() ? 4 * ROUNDS : 0);
        note("exits", exits);
    }
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"ram_invlpg", by_invlpg, 0},
        {"ram_mov_cr3", by_mov_cr3, 0},
        {"ram_cr4_pge", by_cr4_pge, 0},
        {"ram_invpcid_address", by_invpcid_0, NEED_INVPCID},
        {"ram_invpcid_context", by_invpcid_1, NEED_INVPCID},
        {"ram_invpcid_all", by_invpcid_2, NEED_INVPCID},
        {"ram_invpcid_all_but_global", by_invpcid_3, NEED_INVPCID},
        {"ram_global_invlpg", global_by_invlpg, 0},
        {"ram_global_cr4_pge", global_by_cr4_pge, 0},
        {"ram_global_invpcid_all", global_by_invpcid_2, NEED_INVPCID},
        {"ram_pcids", pcids, NEED_PCID},
    };

    run_tests(tests, ARRAY_SIZE(tests));
}
