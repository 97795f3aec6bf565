/* SPDX-License-Identifier: MIT */
/*
 * The GVA cache: the scenarios of rule C6 in all three modes, and what decision D6 promises of kept
 * walks.
 */
#include "arch/x86/reg_bits.h"
#include "tests/unit/mmio/mmio_places.h"

#include <string.h>

static const enum gva_cache modes[] = {GVA_CACHE_OFF, GVA_CACHE_EXITS, GVA_CACHE_VERIFY};
#define FOR_EACH_MODE(m) for (unsigned m = 0; m < ARRAY_SIZE(modes); m++)

static void start(enum gva_cache mode)
{
    world_init(mode);
    world_map(world.regs[REG_CR3], V, A, KERNEL);
}

/* ---- C6 -------------------------------------------------------------------------------------- */

/* (a) Remap V from A to B, INVLPG: only B sees the store. B may be RAM too. */
static void c6a_remap(void **state)
{
    (void)state;
    FOR_EACH_MODE(m)
    {
        start(modes[m]);
        assert_int_equal(world_store(V, 1), WORLD_EMULATED);
        assert_int_equal(world_store(V, 2), WORLD_EMULATED);
        uint64_t hits = world.vcpu.cache.gva_hits;
        assert_int_equal(hits, modes[m] == GVA_CACHE_OFF ? 0 : 1);
        world_map(world.regs[REG_CR3], V, B, KERNEL);
        world_invlpg(V);
        assert_int_equal(world_store(V, 3), WORLD_EMULATED);
        assert_int_equal(world.a.writes, 2);
        assert_int_equal(world.b.writes, 1);
        assert_int_equal(world.b.last_value, 3);
        assert_int_equal(world.vcpu.cache.gva_hits, hits);

        world_map(world.regs[REG_CR3], V, 0x9000, KERNEL); /* RAM */
        world_invlpg(V);
        assert_int_equal(world_store(V, 4), WORLD_RAM);
        assert_int_equal(world_ram[9][0], 4);
        assert_int_equal(world.a.writes + world.b.writes, 3);
    }
}

/* (a) without INVLPG: the CPU may have either translation, and the device of that one sees it. */
static void c6a_remap_without_invlpg(void **state)
{
    (void)state;
    FOR_EACH_MODE(m)
    {
        start(modes[m]);
        assert_int_equal(world_store(V, 1), WORLD_EMULATED);
        world_map(world.regs[REG_CR3], V, B, KERNEL); /* the CPU forgot V on its own */
        assert_int_equal(world_store(V, 2), WORLD_EMULATED);
        assert_int_equal(world.a.writes, 1);
        assert_int_equal(world.b.writes, 1);

        world.tlb = true; /* the CPU still holds B */
        world.tlb_page = V / PAGE_SIZE;
        world.tlb_frame = B / PAGE_SIZE;
        world_map(world.regs[REG_CR3], V, A, KERNEL);
        assert_int_equal(world_store(V, 3), WORLD_EMULATED);
        assert_int_equal(world.a.writes + world.b.writes, 3);
        if (modes[m] == GVA_CACHE_EXITS) { /* kept until the guest flushes, as by the CPU */
            assert_int_equal(mmu_stats(&world.mmu).invvpid[INVVPID_STALE], 0);
            assert_int_equal(world.b.writes, 2);
        } else { /* a fresh walk differs: INVVPID, then A */
            assert_int_equal(mmu_stats(&world.mmu).invvpid[INVVPID_STALE], 1);
            assert_int_equal(world.vcpu.stats.stale_translations, 1);
            assert_int_equal(world.a.writes, 2);
        }
    }
}

/* (a) a page that the guest unmaps higher up: every level is read again, not the last alone. */
static void c6a_upper_levels(void **state)
{
    (void)state;
    start(GVA_CACHE_VERIFY);
    uint64_t cr3 = world.regs[REG_CR3], far = 1ull << 39; /* shares no table with the code */
    world_map(cr3, far, A, KERNEL);
    for (unsigned level = 4; level >= 1; level--) {
        uint64_t *entry = world_entry(cr3, far, level), old = *entry;
        assert_int_equal(world_store(far, 1), WORLD_EMULATED);
        assert_int_equal(world_store(far, 1), WORLD_EMULATED);
        uint32_t writes = world.a.writes;
        *entry &= ~PTE_P;
        assert_int_equal(world_exit(far, A, true), MMIO_INJECT);
        assert_int_equal(world.vcpu.fault.vector, 14);
        assert_int_equal(world.vcpu.fault.cr2, far);
        assert_int_equal(world.vcpu.fault.error_code, PF_WRITE);
        assert_int_equal(world.a.writes, writes);
        *entry = old;
    }
}

/* (b) Two address spaces map V to A and to B: the counts are exact. */
static void c6b_two_address_spaces(void **state)
{
    (void)state;
    FOR_EACH_MODE(m)
    {
        start(modes[m]);
        uint64_t first = world.regs[REG_CR3], second = world_new_cr3();
        world_map(second, V, B, KERNEL);
        for (unsigned i = 0; i < 1000; i++) {
            world_mov_cr3(i & 1 ? second : first);
            assert_int_equal(world_store(V + 4, i), WORLD_EMULATED);
            assert_int_equal(i & 1 ? world.b.last_value : world.a.last_value, i);
        }
        assert_int_equal(world.a.writes, 500);
        assert_int_equal(world.b.writes, 500);
        assert_int_equal(mmu_stats(&world.mmu).invvpid[INVVPID_STALE], 0);
        if (modes[m] == GVA_CACHE_VERIFY)
            assert_int_equal(world.vcpu.cache.gva_hits, 998);
    }
}

/* (b) two that would be kept in one place: CR3 itself is compared. */
static void c6b_address_spaces_of_one_place(void **state)
{
    (void)state;
    start(GVA_CACHE_VERIFY);
    uint64_t first = world.regs[REG_CR3], second;
    do {
        world.next_table += PAGE_SIZE;
        second = world_new_cr3();
    } while ((first ^ second) / PAGE_SIZE % MMIO_CACHED_WALKS);
    world_map(second, V, B, KERNEL);
    for (unsigned i = 0; i < 10; i++) {
        world_mov_cr3(i & 1 ? second : first);
        assert_int_equal(world_store(V, i), WORLD_EMULATED);
        assert_int_equal(i & 1 ? world.b.last_value : world.a.last_value, i);
    }
    assert_int_equal(mmu_stats(&world.mmu).invvpid[INVVPID_STALE], 0);
}

static void assert_page_fault(enum mmio_outcome outcome, uint32_t error_code)
{
    assert_int_equal(outcome, MMIO_INJECT);
    assert_int_equal(world.vcpu.fault.vector, 14);
    assert_true(world.vcpu.fault.has_error_code);
    assert_int_equal(world.vcpu.fault.error_code, error_code);
    assert_int_equal(world.vcpu.fault.cr2, V);
    assert_int_equal(world.regs[REG_RIP], WORLD_CODE);
}

/* (c) The kernel's access is cached; user code with U=0 faults and reaches no device. */
static void c6c_user_after_kernel(void **state)
{
    (void)state;
    FOR_EACH_MODE(m)
    {
        start(modes[m]);
        assert_int_equal(world_store(V, 1), WORLD_EMULATED);
        assert_int_equal(world_store(V, 1), WORLD_EMULATED);
        world.regs[REG_SEG_AR + SEG_CS] |= SEG_AR_DPL;
        world.regs[REG_SEG_AR + SEG_SS] |= SEG_AR_DPL;
        assert_int_equal(world_store(V, 2), WORLD_PAGE_FAULT);
        assert_page_fault(world_exit(V, A, true), PF_PRESENT | PF_WRITE | PF_USER);
        assert_int_equal(world.a.writes, 2);
    }
}

/* (d) Read-only after a cached write. */
static void c6d_readonly_after_write(void **state)
{
    (void)state;
    FOR_EACH_MODE(m)
    {
        start(modes[m]);
        assert_int_equal(world_store(V, 1), WORLD_EMULATED);
        assert_int_equal(world_store(V, 1), WORLD_EMULATED);
        *world_pte(world.regs[REG_CR3], V) &= ~PTE_W;
        world_invlpg(V);
        assert_int_equal(world_store(V, 2), WORLD_PAGE_FAULT);
        assert_page_fault(world_exit(V, A, true), PF_PRESENT | PF_WRITE);
        assert_int_equal(world.a.writes, 2);
        uint32_t value;
        assert_int_equal(world_load(V, &value), WORLD_EMULATED); /* reads go on */
        assert_int_equal(value, 1);
        world.regs[REG_CR0] &= ~CR0_WP; /* and writes too, without WP */
        assert_int_equal(world_store(V, 3), WORLD_EMULATED);
    }
}

/* (e) PKRU.AD set after a cached access. */
static void c6e_protection_key(void **state)
{
    (void)state;
    FOR_EACH_MODE(m)
    {
        start(modes[m]);
        world.regs[REG_CR4] |= CR4_PKE;
        world_map(world.regs[REG_CR3], V, A, USER | 3ull << 59);
        assert_int_equal(world_store(V, 1), WORLD_EMULATED);
        assert_int_equal(world_store(V, 1), WORLD_EMULATED);
        world.regs[REG_PKRU] = 1 << (2 * 3);
        assert_int_equal(world_store(V, 2), WORLD_PAGE_FAULT);
        assert_page_fault(world_exit(V, A, true), PF_PRESENT | PF_WRITE | PF_KEY);
        assert_int_equal(world.a.writes, 2);
    }
}

/* ---- D6 -------------------------------------------------------------------------------------- */

/* D6: every input of the walk is compared: change each one alone, and the answer is the fresh one.
 */
static void d6_every_input(void **state)
{
    (void)state;
    static const struct {
        enum cpu_reg reg;
        uint64_t flip;
        uint64_t pte;
        uint32_t error_code; /* 0: still emulated */
        bool again;          /* it does not matter, so there is no need to walk afresh */
    } cases[] = {
        {REG_CR4, CR4_SMAP, USER, PF_PRESENT | PF_WRITE, false},
        {REG_CR4, CR4_SMEP, KERNEL, 0, false},
        {REG_CR0, CR0_WP, KERNEL, 0, true},
        {REG_RFLAGS, RFLAGS_AC, KERNEL, 0, false},
        {REG_EFER, EFER_NXE, KERNEL | PTE_XD, PF_PRESENT | PF_RESERVED | PF_WRITE, false},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        start(GVA_CACHE_VERIFY);
        world_map(world.regs[REG_CR3], WORLD_CODE, WORLD_CODE, KERNEL);
        world_map(world.regs[REG_CR3], V, A, cases[i].pte);
        assert_int_equal(world_store(V, 1), WORLD_EMULATED);
        assert_int_equal(world_store(V, 1), WORLD_EMULATED);
        assert_int_equal(world.vcpu.cache.gva_hits, 1);
        world.regs[cases[i].reg] ^= cases[i].flip;
        enum mmio_outcome outcome = world_exit(V, A, true);
        if (cases[i].error_code)
            assert_page_fault(outcome, cases[i].error_code);
        else
            assert_int_equal(outcome, MMIO_DONE);
        assert_int_equal(world.vcpu.cache.gva_hits, 1 + cases[i].again);
    }
}

/* D6: another sequence or another generation outdates every kept walk, each alone. By hand: the MMU
 * has no operation that moves the sequence without the generation. */
static void d6_slots_and_sequence(void **state)
{
    (void)state;
    start(GVA_CACHE_VERIFY);
    assert_int_equal(world_store(V, 1), WORLD_EMULATED);
    assert_int_equal(world_store(V, 1), WORLD_EMULATED);
    assert_int_equal(world.vcpu.cache.gva_hits, 1);
    world.mmu.invalidate_sequence += 2;
    assert_int_equal(world_store(V, 1), WORLD_EMULATED);
    assert_int_equal(world.vcpu.cache.gva_hits, 1);
    assert_int_equal(world_store(V, 1), WORLD_EMULATED);
    assert_int_equal(world.vcpu.cache.gva_hits, 2);
    world.mmu.invalidate_sequence++; /* in progress: nothing is kept */
    assert_int_equal(world_store(V, 1), WORLD_EMULATED);
    assert_int_equal(world_store(V, 1), WORLD_EMULATED);
    assert_int_equal(world.vcpu.cache.gva_hits, 2);
    world.mmu.invalidate_sequence++;
    assert_int_equal(world_store(V, 1), WORLD_EMULATED);
    assert_int_equal(world_store(V, 1), WORLD_EMULATED);
    assert_int_equal(world.vcpu.cache.gva_hits, 3);
    world_slot_add(0xd0000000, 1, 0); /* another generation alone */
    assert_int_equal(world_store(V, 1), WORLD_EMULATED);
    assert_int_equal(world.vcpu.cache.gva_hits, 3);
}

/* D6: a table that went away with its slot is not read again: its page has another owner. */
static void d6_table_of_a_deleted_slot(void **state)
{
    (void)state;
    FOR_EACH_MODE(m)
    {
        start(modes[m]);
        uint64_t leaf = A | KERNEL;
        world_slot_add(0xd0000000, 1, 0);
        *world_entry(world.regs[REG_CR3], V, 2) = 0xd0000000 | PTE_P | PTE_W;
        assert_int_equal(guest_write(&world.mmu, GPA(0xd0000000), &leaf, 8), 0);
        assert_int_equal(world_store(V, 1), WORLD_EMULATED);
        assert_int_equal(world_store(V, 2), WORLD_EMULATED);
        assert_int_equal(world.vcpu.cache.gva_hits, modes[m] == GVA_CACHE_OFF ? 0 : 1);
        world_slot_delete(0xd0000000); /* AddressSanitizer guards what was freed */
        world_mmio_spte(A);
        assert_int_equal(world_exit(V, A, true), MMIO_END);
        assert_int_equal(world.vcpu.end, MMIO_END_TABLES);
        assert_int_equal(world_store(V, 3), WORLD_ENDED); /* and the CPU finds no table there */
        assert_int_equal(world.a.writes, 2);
    }
}

/* D6: code is verified in all modes: a GPA that is outdated is found out, bytes are not. */
static void d6_code_is_always_verified(void **state)
{
    (void)state;
    FOR_EACH_MODE(m)
    {
        start(modes[m]);
        assert_int_equal(world_store(V, 1), WORLD_EMULATED);
        assert_int_equal(world_exit(V, A, true), MMIO_DONE);
        assert_int_equal(world.a.last_size, 4);
        memcpy(world_ram[12], "\x48\x89\x18", 3); /* eight bytes */
        world_map(world.regs[REG_CR3], WORLD_CODE, 0xc000, KERNEL);
        assert_int_equal(world_exit(V, A, true), MMIO_DONE);
        assert_int_equal(world.a.last_size, 8);
    }
}

/* D6: a walk whose D bit the guest cleared is not answered from memory: D is set again. */
static void d6_dirty_bit(void **state)
{
    (void)state;
    FOR_EACH_MODE(m)
    {
        start(modes[m]);
        uint64_t *pte = world_pte(world.regs[REG_CR3], V);
        assert_int_equal(world_store(V, 1), WORLD_EMULATED);
        assert_int_equal(world_store(V, 1), WORLD_EMULATED);
        assert_int_equal(*pte & (PTE_A | PTE_D), PTE_A | PTE_D);
        *pte &= ~(PTE_A | PTE_D);
        world_invlpg(V);
        assert_int_equal(world_exit(V, A, true), MMIO_DONE);
        assert_int_equal(*pte & (PTE_A | PTE_D), PTE_A | PTE_D);
    }
}

/* D6: the ninth stale exit in a row at one RIP ends the VM; success starts a new count. */
static void d6_stale_limit(void **state)
{
    (void)state;
    start(GVA_CACHE_VERIFY);
    for (unsigned i = 0; i < 7; i++)
        assert_int_equal(world_exit(V, B, true), MMIO_REENTER); /* no SPTE yet: nothing counted */
    world_mmio_spte(B);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(world_exit(V, B, true), MMIO_STALE);
    world_mmio_spte(A);
    assert_int_equal(world_exit(V, A, true), MMIO_DONE);
    for (unsigned i = 0; i < 7; i++)
        assert_int_equal(world_exit(V, B, true), MMIO_STALE);
    memcpy(&world_ram[WORLD_CODE / PAGE_SIZE][0x100], "\x89\x18", 2);
    for (unsigned i = 0; i < 8; i++) { /* so does another RIP */
        world.regs[REG_RIP] = WORLD_CODE + 0x100;
        assert_int_equal(world_misconfig(GPA(B), false), MMIO_STALE);
    }
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(world_exit(V, B, true), MMIO_STALE);
    assert_int_equal(world_exit(V, B, true), MMIO_END);
    assert_int_equal(world.vcpu.end, MMIO_END_STALE);
    assert_non_null(strstr(world.vcpu.text, "bytes 89 18"));
    assert_int_equal(world.vcpu.stats.stale_translations, 8 + 7 + 8 + 9);
    assert_int_equal(world.b.writes, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_teardown(name, world_end)
    const struct CMUnitTest tests[] = {
        T(c6a_remap),
        T(c6a_remap_without_invlpg),
        T(c6a_upper_levels),
        T(c6b_two_address_spaces),
        T(c6b_address_spaces_of_one_place),
        T(c6c_user_after_kernel),
        T(c6d_readonly_after_write),
        T(c6e_protection_key),
        T(d6_every_input),
        T(d6_slots_and_sequence),
        T(d6_table_of_a_deleted_slot),
        T(d6_code_is_always_verified),
        T(d6_dirty_bit),
        T(d6_stale_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
