/* SPDX-License-Identifier: MIT */
/*
 * How TDCALL is recognised: the walk of the page tables in each paging mode, with each of its
 * entries missing, outside of private memory or unreadable, pages of each size, instructions that
 * cross a page, and every instruction that differs from TDCALL in one bit.
 */
#include "tests/unit/support.h"

#include "arch/x86/reg_bits.h"
#include "tdx/fetch.h"

#include <string.h>

#define PAGES  64u
#define SHARED BIT(39)
#define FAR    0x3400000000ull /* memory[] appears there, too: above 4 GiB */

static uint8_t memory[PAGES * PAGE_SIZE];
static uint64_t unreadable; /* address of a page that cannot be read */

static bool reader(void *context, gpa_t gpa, void *buffer, size_t size)
{
    uint64_t at = gpa.v >= FAR ? gpa.v - FAR : gpa.v;
    assert_ptr_equal(context, memory);
    assert_true(gpa.v < SHARED); /* nothing but private memory is asked for */
    assert_true(page_offset(gpa.v) + size <= PAGE_SIZE);
    if (at >= sizeof(memory) || (at & PAGE_MASK) == unreadable)
        return false;
    memcpy(buffer, memory + at, size);
    return true;
}

static struct td_fetch fetch;
static const uint8_t tdcall[] = {0x66, 0x0f, 0x01, 0xcc};

static void put(uint64_t at, uint64_t value, size_t size)
{
    memcpy(memory + at, &value, size);
}

/* Paging modes, each of which maps linear address `linear` to page 0x20000, and the next page to
 * 0x30000, by small pages; tables are at 0x1000 and up. */
enum mode { NO_PAGING, PAGING_32, PAGING_PAE, PAGING_4, MODES };

static uint64_t linear_of(enum mode mode)
{
    return mode == NO_PAGING ? 0x20000 : mode == PAGING_4 ? 0xffff812345678000 : 0xc0de5000;
}

/* The addresses of the entries that the walk reads for the first page, in their order. */
static unsigned build(enum mode mode, uint64_t entries[4])
{
    const uint64_t linear = linear_of(mode);
    const unsigned size = mode == PAGING_32 ? 4 : 8, bits = mode == PAGING_32 ? 10 : 9;
    unsigned levels = mode == NO_PAGING ? 0 : mode == PAGING_4 ? 4 : 2, count = 0;
    memset(memory, 0, sizeof(memory));
    memcpy(memory + 0x20000, tdcall, sizeof(tdcall));
    unreadable = ~0ull;
    fetch = (struct td_fetch){.read = reader,
                              .context = memory,
                              .gpa_width = 40,
                              .code64 = mode == PAGING_4,
                              .cr0 = mode == NO_PAGING ? CR0_PE : CR0_PE | CR0_PG,
                              .cr3 = 0x1000,
                              .cr4 = mode >= PAGING_PAE ? CR4_PAE : 0,
                              .efer = mode == PAGING_4 ? EFER_LMA | EFER_LME : 0};
    if (mode == PAGING_PAE)
        fetch.pdptes[linear >> 30] = 0x1000 | 1;
    for (unsigned level = levels; level; level--, count++) {
        uint64_t index = linear >> (12 + bits * (level - 1)) & (BIT(bits) - 1);
        uint64_t table = 0x1000 * (count + 1);
        entries[count] = table + index * size;
        put(entries[count], (level > 1 ? 0x1000 * (count + 2) : 0x20000) | 1, size);
        if (level == 1)
            put(entries[count] + size, 0x30000 | 1, size);
    }
    return count;
}

static bool is_tdcall(enum mode mode, uint64_t offset)
{
    return td_fetch_is_tdcall(&fetch, linear_of(mode) + offset);
}

static void each_mode(void **state)
{
    uint64_t entries[4];
    (void)state;
    for (enum mode mode = NO_PAGING; mode < MODES; mode++) {
        build(mode, entries);
        assert_true(is_tdcall(mode, 0));
        assert_false(is_tdcall(mode, 1));
        memcpy(memory + 0x20123, tdcall, sizeof(tdcall));
        assert_true(is_tdcall(mode, 0x123));
    }
}

static void each_entry(void **state)
{
    uint64_t entries[4];
    (void)state;
    for (enum mode mode = PAGING_32; mode < MODES; mode++) {
        const unsigned count = build(mode, entries);
        const size_t size = mode == PAGING_32 ? 4 : 8;
        for (unsigned i = 0; i < count; i++) {
            uint64_t entry = 0;
            memcpy(&entry, memory + entries[i], size);
            put(entries[i], entry & ~1ull, size); /* not present */
            assert_false(is_tdcall(mode, 0));
            put(entries[i], entry, size);
            unreadable = entries[i] & PAGE_MASK;
            assert_false(is_tdcall(mode, 0));
            unreadable = ~0ull;
            for (unsigned bit = 39; bit < 52 && size == 8;
                 bit++) { /* shared, or beyond the width */
                put(entries[i], entry | BIT(bit), size);
                assert_false(is_tdcall(mode, 0));
            }
            put(entries[i], entry | (size == 8 ? BIT(63) | 0xe62 : 0xe62), size); /* no address */
            assert_true(is_tdcall(mode, 0));
            put(entries[i], entry, size);
        }
        unreadable = 0x20000;
        assert_false(is_tdcall(mode, 0));
    }
    build(PAGING_PAE, entries);
    fetch.pdptes[linear_of(PAGING_PAE) >> 30] = 0x1000;
    assert_false(is_tdcall(PAGING_PAE, 0));
    build(PAGING_4, entries);
    fetch.cr3 |= SHARED;
    assert_false(is_tdcall(PAGING_4, 0));
    build(PAGING_4, entries);
    fetch.cr3 |= 0xfff | BIT(63); /* a PCID */
    assert_true(is_tdcall(PAGING_4, 0));
    fetch.cr4 |= CR4_LA57;
    assert_false(is_tdcall(PAGING_4, 0));
}

static void large_pages(void **state)
{
    uint64_t entries[4];
    const uint8_t pae[] = {0x81, 0, 0, 0, 0x34}; /* FAR, large */
    (void)state;
    /* 32-bit paging: 4 MiB, with bits 39:32 of the address in bits 20:13 */
    build(PAGING_32, entries);
    fetch.cr4 = CR4_PSE;
    put(entries[0], 0x81 | 0x34 << 13, 4);
    assert_false(td_fetch_is_tdcall(&fetch, 0xc0c20004));
    assert_true(td_fetch_is_tdcall(&fetch, 0xc0c20000));
    fetch.cr4 = 0; /* bit 7 means nothing: the address of a table */
    assert_false(td_fetch_is_tdcall(&fetch, 0xc0c20000));
    /* PAE: 2 MiB */
    build(PAGING_PAE, entries);
    memcpy(memory + entries[0], pae, sizeof(pae));
    assert_true(td_fetch_is_tdcall(&fetch, 0xc0c20000));
    /* 4 levels: 2 MiB and 1 GiB, but bit 7 of the highest entry is reserved */
    build(PAGING_4, entries);
    memcpy(memory + entries[2], pae, sizeof(pae));
    assert_true(td_fetch_is_tdcall(&fetch, 0xffff812345620000));
    build(PAGING_4, entries);
    memcpy(memory + entries[1], pae, sizeof(pae));
    assert_true(td_fetch_is_tdcall(&fetch, 0xffff812340020000));
    build(PAGING_4, entries);
    memory[entries[0]] |= 0x80;
    assert_true(is_tdcall(PAGING_4, 0));
}

/* The second part of the instruction is translated separately. */
static void across_pages(void **state)
{
    uint64_t entries[4];
    (void)state;
    for (enum mode mode = NO_PAGING; mode < MODES; mode++)
        for (unsigned first = 1; first < sizeof(tdcall); first++) {
            const uint64_t second = mode == NO_PAGING ? 0x21000 : 0x30000;
            build(mode, entries);
            memcpy(memory + 0x21000 - first, tdcall, first);
            memcpy(memory + second, tdcall + first, sizeof(tdcall) - first);
            assert_true(is_tdcall(mode, PAGE_SIZE - first));
            unreadable = second;
            assert_false(is_tdcall(mode, PAGE_SIZE - first));
        }
}

/* Outside of 64-bit code, what follows linear address FFFFFFFFh is 0. */
static void wraps(void **state)
{
    uint64_t entries[4];
    (void)state;
    build(PAGING_4, entries);
    put(0x1000, 0x2001, 8);
    put(0x2000, 0x81, 8); /* the first GiB is at 0 */
    put(0x2000 + 3 * 8, 0x3001, 8);
    put(0x3000 + 511 * 8, 0x4001, 8);
    put(0x4000 + 511 * 8, 0x20001, 8);
    memcpy(memory + 0x21000 - 2, tdcall, 2);
    memcpy(memory, tdcall + 2, 2);
    assert_false(td_fetch_is_tdcall(&fetch, 0xfffffffe));
    fetch.code64 = false;
    assert_true(td_fetch_is_tdcall(&fetch, 0xfffffffe));
}

static void other_bytes(void **state)
{
    uint64_t entries[4];
    (void)state;
    build(PAGING_4, entries);
    for (unsigned bit = 0; bit < 32; bit++) {
        memory[0x20000 + bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(is_tdcall(PAGING_4, 0));
        memory[0x20000 + bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_true(is_tdcall(PAGING_4, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_mode),    cmocka_unit_test(each_entry), cmocka_unit_test(large_pages),
        cmocka_unit_test(across_pages), cmocka_unit_test(wraps),      cmocka_unit_test(other_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
