/* SPDX-License-Identifier: MIT */
/*
 * Control registers: each bit of CR0 and CR4 against the SDM's lists, the PDPTEs of PAE paging and
 * their reserved bits, IA-32e mode, and that a fault changes nothing.
 */
#include "tests/unit/mmio/mmio_world.h"

#include "arch/x86/reg_bits.h"
#include "vm/control_rules.h"

#include <string.h>

#define PDPT 0x6000ull
/* the bits up to PKE, without those that the hypervisor owns or does not offer */
#define OFFERED  0x7f07ffull
#define BASE_CR0 0x80000011ull
#define BASE_CR4 0x20ull
#define PCIDE    BIT(17)
#define LME      BIT(8)

static struct control_rules rules;
static uint64_t before[REG_COUNT];

static int setup(void **state)
{
    (void)state;
    world_init(GVA_CACHE_EXITS);
    rules = (struct control_rules){
        .cpu = &world.cpu, .mmu = &world.mmu, .cr4_offered = OFFERED, .maxphyaddr = 40};
    return 0;
}

static void write_pdptes(uint64_t first)
{
    for (uint64_t i = 0; i < 4; i++) {
        uint64_t pdpte = first + (i << 12);
        memcpy(world_ram[PDPT / PAGE_SIZE] + 8 * i, &pdpte, 8);
    }
}

/* PAE paging with PDPTEs that differ from those in memory. */
static void enter_pae(uint64_t cr0, uint64_t cr4)
{
    world.regs[REG_CR0] = cr0;
    world.regs[REG_CR3] = PDPT;
    world.regs[REG_CR4] = cr4;
    world.regs[REG_EFER] = 0;
    world.regs[REG_SEG_AR + SEG_CS] = AR_CODE32;
    for (unsigned i = 0; i < 4; i++)
        world.regs[REG_PDPTE0 + i] = 0x1001;
    write_pdptes(0x8001);
    memcpy(before, world.regs, sizeof(before));
}

static bool nothing_changed(void)
{
    return !memcmp(before, world.regs, sizeof(before));
}

static bool reloaded(void)
{
    bool first = world.regs[REG_PDPTE0] == 0x8001;
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(world.regs[REG_PDPTE0 + i], first ? 0x8001 + (i << 12) : 0x1001);
    return first;
}

/* SDM 3, 4.4.1: the changes that load the PDPTEs, from each value of CD and NW. */
static void cr0_bits_that_reload(void **state)
{
    (void)state;
    static const uint64_t starts[] = {BASE_CR0, BASE_CR0 | BIT(30), BASE_CR0 | BITS(30, 29)};
    for (unsigned s = 0; s < ARRAY_SIZE(starts); s++)
        for (unsigned bit = 0; bit < 64; bit++) {
            enter_pae(starts[s], BASE_CR4);
            uint64_t value = starts[s] ^ BIT(bit);
            enum control_effect effect = control_set_cr0(&rules, value);
            bool bad = bit >= 32 || bit == 0 || (value & BITS(30, 29)) == BIT(29);
            if (bad) {
                assert_int_equal(effect, CONTROL_FAULT);
                assert_true(nothing_changed());
                continue;
            }
            assert_int_equal(reloaded(), bit == 29 || bit == 30);
            assert_int_equal(effect == CONTROL_FLUSH_GLOBALS, bit == 31);
            assert_int_equal(effect >= CONTROL_FORGET,
                             bit == 16 || bit == 29 || bit == 30 || bit == 31);
            bool defined = BIT(bit) & 0xe005002eull;
            assert_int_equal(world.regs[REG_CR0], defined ? value : starts[s]);
        }
}

/* Paging is enabled with PAE and without EFER.LME. */
static void paging_goes_on(void **state)
{
    (void)state;
    enter_pae(0x11, BASE_CR4);
    assert_int_equal(control_set_cr0(&rules, BASE_CR0), CONTROL_FLUSH_GLOBALS);
    assert_true(reloaded());
    enter_pae(0x11, 0);
    assert_int_equal(control_set_cr0(&rules, BASE_CR0), CONTROL_FLUSH_GLOBALS);
    assert_false(reloaded()); /* 32-bit paging */
}

static void cr4_bits_that_reload(void **state)
{
    (void)state;
    static const uint64_t starts[] = {BASE_CR4, OFFERED & ~PCIDE};
    for (unsigned s = 0; s < ARRAY_SIZE(starts); s++)
        for (unsigned bit = 0; bit < 64; bit++) {
            enter_pae(BASE_CR0, starts[s]);
            uint64_t value = starts[s] ^ BIT(bit);
            enum control_effect effect = control_set_cr4(&rules, value);
            if (value & ~OFFERED || bit == 17) {
                assert_int_equal(effect, CONTROL_FAULT);
                assert_true(nothing_changed());
                continue;
            }
            /* PSE, PGE and SMEP load the PDPTEs; without PAE, there are no PDPTEs. */
            assert_int_equal(reloaded(), bit == 4 || bit == 7 || bit == 20);
            assert_int_equal(effect == CONTROL_FLUSH_GLOBALS,
                             bit == 4 || bit == 5 || bit == 7 || (bit == 20 && value & BIT(20)));
            assert_int_equal(world.regs[REG_CR4], value);
        }
    enter_pae(BASE_CR0, 0);
    assert_int_equal(control_set_cr4(&rules, BASE_CR4), CONTROL_FLUSH_GLOBALS);
    assert_true(reloaded());
}

/* For each way to load the PDPTEs: each reserved bit of each PDPTE, which is checked only if the
 * PDPTE is present. */
static void reserved_bits_of_pdptes(void **state)
{
    (void)state;
    for (unsigned maxphyaddr = 36; maxphyaddr <= 52; maxphyaddr += 4)
        for (unsigned way = 0; way < 3; way++)
            for (unsigned bit = 0; bit < 256; bit++) {
                bool reserved = bit % 64 >= maxphyaddr || BIT(bit % 64) & 0x1e6;
                rules.maxphyaddr = maxphyaddr;
                for (unsigned present = 0; present < 2; present++) {
                    enter_pae(BASE_CR0, BASE_CR4);
                    uint64_t pdpte = (0x9000 ^ BIT(bit % 64)) & ~1ull;
                    pdpte |= present;
                    memcpy(world_ram[PDPT / PAGE_SIZE] + 8 * (bit / 64), &pdpte, 8);
                    enum control_effect effect =
                        way == 0   ? control_set_cr0(&rules, BASE_CR0 | BIT(30))
                        : way == 1 ? control_set_cr3(&rules, PDPT)
                                   : control_set_cr4(&rules, BASE_CR4 | BIT(7));
                    assert_int_equal(effect == CONTROL_FAULT, present && reserved);
                    if (effect == CONTROL_FAULT)
                        assert_true(nothing_changed());
                    else
                        assert_int_equal(world.regs[REG_PDPTE0 + bit / 64], pdpte);
                }
            }
}

/* Bits 31:5 of CR3 are the address of the PDPTEs; long mode has no PDPTEs. */
static void where_pdptes_come_from(void **state)
{
    (void)state;
    enter_pae(BASE_CR0, BASE_CR4);
    memmove(world_ram[PDPT / PAGE_SIZE] + 0xfe0, world_ram[PDPT / PAGE_SIZE], 32);
    memset(world_ram[PDPT / PAGE_SIZE], 0xff, 32);
    assert_int_equal(control_set_cr3(&rules, PDPT | 0xfff), CONTROL_FLUSH);
    assert_true(reloaded());
    assert_int_equal(control_set_cr3(&rules, PDPT), CONTROL_FAULT);
    /* no memory at this address */
    assert_int_equal(control_set_cr3(&rules, 0xfe000000), CONTROL_FAULT);
    assert_true(reloaded());
    assert_int_equal(world.regs[REG_CR3], PDPT | 0xfff);
    world.regs[REG_EFER] = EFER_LMA | LME;
    assert_int_equal(control_set_cr3(&rules, PDPT), CONTROL_FLUSH);
    assert_true(reloaded());
}

static void long_mode(void **state)
{
    (void)state;
    enter_pae(0x11, BASE_CR4);
    world.regs[REG_EFER] = LME;
    assert_int_equal(control_set_cr0(&rules, BASE_CR0), CONTROL_FLUSH_GLOBALS);
    assert_int_equal(world.regs[REG_EFER], LME | EFER_LMA);
    assert_false(reloaded());
    for (unsigned bit = 0; bit < 64; bit++) {
        bool reserved = bit >= 40;
        uint64_t cr3 = 0x7000 ^ BIT(bit);
        assert_int_equal(control_set_cr3(&rules, cr3), reserved ? CONTROL_FAULT : CONTROL_FLUSH);
    }
    assert_int_equal(control_set_cr4(&rules, 0), CONTROL_FAULT);
    world.regs[REG_CR3] = 0x7008;
    assert_int_equal(control_set_cr4(&rules, BASE_CR4 | PCIDE), CONTROL_FAULT);
    world.regs[REG_CR3] = 0x7000;
    assert_int_equal(control_set_cr4(&rules, BASE_CR4 | PCIDE), CONTROL_FORGET);
    assert_int_equal(control_set_cr3(&rules, 0x7001), CONTROL_FLUSH);
    assert_int_equal(control_set_cr3(&rules, 0x7002 | BIT(63)), CONTROL_FORGET);
    assert_int_equal(world.regs[REG_CR3], 0x7002);
    assert_int_equal(control_set_cr0(&rules, 0x11), CONTROL_FAULT); /* PCIDE is set */
    assert_int_equal(control_set_cr4(&rules, BASE_CR4), CONTROL_FLUSH_GLOBALS);
    world.regs[REG_SEG_AR + SEG_CS] = AR_CODE64;
    assert_int_equal(control_set_cr0(&rules, 0x11), CONTROL_FAULT);
    world.regs[REG_SEG_AR + SEG_CS] = AR_CODE32;
    assert_int_equal(control_set_cr0(&rules, 0x11), CONTROL_FLUSH_GLOBALS);
    assert_int_equal(world.regs[REG_EFER], LME);
    world.regs[REG_CR4] = 0;
    assert_int_equal(control_set_cr0(&rules, BASE_CR0), CONTROL_FAULT); /* without PAE */
    assert_int_equal(world.regs[REG_EFER], LME);
}

/* IA-32e mode has no 16-bit TSS: the MOV to CR0 that enters the mode is refused, but not the one
 * that leaves it (SDM 2, MOV to CR). */
static void task_state_segments(void **state)
{
    (void)state;
    for (uint64_t type = 0; type < 16; type++)
        for (unsigned lme = 0; lme < 2; lme++) {
            bool refused = lme && type == 3;
            enter_pae(0x11, BASE_CR4);
            world.regs[REG_EFER] = before[REG_EFER] = lme ? LME : 0;
            rules.tr_rights = 0x80 | type;
            assert_int_equal(control_set_cr0(&rules, BASE_CR0),
                             refused ? CONTROL_FAULT : CONTROL_FLUSH_GLOBALS);
            assert_int_equal(nothing_changed(), refused);
        }
    world.regs[REG_EFER] = LME | EFER_LMA;
    world.regs[REG_CR0] = BASE_CR0;
    /* no CPU can be in this state, but leaving the mode would not be refused */
    rules.tr_rights = 0x83;
    assert_int_equal(control_set_cr0(&rules, 0x11), CONTROL_FLUSH_GLOBALS);
}

/* Each bit is tested with paging off and on. */
static void efer(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 64; bit++)
        for (unsigned paging = 0; paging < 2; paging++) {
            uint64_t old = paging ? LME | EFER_LMA : 0, writable = BIT(0) | BIT(11);
            enter_pae(paging ? BASE_CR0 : 0x11, BASE_CR4);
            world.regs[REG_EFER] = before[REG_EFER] = old;
            bool kept = bit == 10, good = kept || writable & BIT(bit) || (bit == 8 && !paging);
            assert_int_equal(control_set_efer(&rules, old ^ BIT(bit)),
                             good ? CONTROL_DONE : CONTROL_FAULT);
            assert_int_equal(world.regs[REG_EFER], good && !kept ? old ^ BIT(bit) : old);
        }
}

static void lmsw(void **state)
{
    (void)state;
    for (uint32_t from = 0; from < 16; from++)
        for (uint32_t word = 0; word < 0x10000; word += 0x1001) {
            enter_pae(0x10 | from, 0);
            assert_int_equal(control_lmsw(&rules, (uint16_t)word), CONTROL_DONE);
            assert_int_equal(world.regs[REG_CR0], 0x10 | (word & 15) | (from & 1));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(cr0_bits_that_reload, setup, world_end),
        cmocka_unit_test_setup_teardown(paging_goes_on, setup, world_end),
        cmocka_unit_test_setup_teardown(cr4_bits_that_reload, setup, world_end),
        cmocka_unit_test_setup_teardown(reserved_bits_of_pdptes, setup, world_end),
        cmocka_unit_test_setup_teardown(where_pdptes_come_from, setup, world_end),
        cmocka_unit_test_setup_teardown(long_mode, setup, world_end),
        cmocka_unit_test_setup_teardown(task_state_segments, setup, world_end),
        cmocka_unit_test_setup_teardown(efer, setup, world_end),
        cmocka_unit_test_setup_teardown(lmsw, setup, world_end),
    };
    return cmocka_run_group_tests_name("control registers", tests, NULL, NULL);
}
