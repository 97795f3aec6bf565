/* SPDX-License-Identifier: MIT */
/* Implements rt/flush.h. Between calls, CR4.PGE is set and PCIDs are disabled. */
#include "guest/programs/rt/flush.h"

#define GVA_CACHE_EXITS 1

static void by_invlpg(uint64_t va)
{
    invlpg(va);
}

static void by_mov_cr3(uint64_t va)
{
    (void)va;
    write_cr3(read_cr3());
}

static void by_cr4_pge(uint64_t va)
{
    uint64_t cr4 = read_cr4();

    (void)va;
    write_cr4(cr4 & ~CR4_PGE);
    write_cr4(cr4 | CR4_PGE);
}

static void by_invpcid_address(uint64_t va)
{
    invpcid(0, 0, va);
}

static void by_invpcid_context(uint64_t va)
{
    (void)va;
    invpcid(1, 0, 0);
}

static void by_invpcid_all(uint64_t va)
{
    (void)va;
    invpcid(2, 0, 0);
}

static void by_invpcid_all_but_global(uint64_t va)
{
    (void)va;
    invpcid(3, 0, 0);
}

const struct flush flushes[FLUSHES] = {
    [FLUSH_INVLPG] = {by_invlpg, EXITS_INVLPG, 1, true},
    [FLUSH_MOV_CR3] = {by_mov_cr3, EXITS_CR, 1, false},
    [FLUSH_CR4_PGE] = {by_cr4_pge, EXITS_CR, 2, true},
    [FLUSH_INVPCID_0] = {by_invpcid_address, EXITS_INVPCID, 1, false},
    [FLUSH_INVPCID_1] = {by_invpcid_context, EXITS_INVPCID, 1, false},
    [FLUSH_INVPCID_2] = {by_invpcid_all, EXITS_INVPCID, 1, true},
    [FLUSH_INVPCID_3] = {by_invpcid_all_but_global, EXITS_INVPCID, 1, false},
};

bool flushes_exit(void)
{
    return !missing_need(NEED_TESTCTL) && hc_config(CONFIG_GVA_CACHE) == GVA_CACHE_EXITS;
}
