/* SPDX-License-Identifier: MIT */
/*
 * Doorbells that are rung without a look at the operand, and accesses that outlive a change of the
 * slots (mmio/replay.h): that they are, and that each single thing that they rest on ends it.
 */
#include "tests/unit/mmio/mmio_places.h"

#include "arch/x86/reg_bits.h"
#include "mmio/doorbell.h"
#include "mmio/replay.h"

#include <string.h>

#define BELL (A + 8)
#define ELSE 0xd0000000ull /* where slots come and go */

static uint64_t cr3;
static unsigned rung;

static void ring(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                 uint64_t value)
{
    (void)size, (void)value;
    assert_ptr_equal(device, &rung);
    assert_ptr_equal(vcpu, &world.vcpu);
    assert_int_equal(offset, 0);
    rung++;
}

static const struct bus_ops bell_ops = {.name = "bell", .write = ring};
static const struct bus_doorbell bell = {.address = BELL, .ops = &bell_ops, .device = &rung};

static void start(enum gva_cache mode)
{
    world_init(mode);
    cr3 = world.regs[REG_CR3];
    world_map(cr3, WORLD_CODE, WORLD_CODE, KERNEL);
    world_map(cr3, V, A, KERNEL);
    rung = 0;
}

static int setup(void **state)
{
    (void)state;
    start(GVA_CACHE_VERIFY);
    assert_int_equal(bus_doorbell_add(&world.bus, &bell), 0);
    return 0;
}

/* Whether one more store rings without a look. It rings once in any case. */
static bool store_is_short(void)
{
    unsigned before = rung, bells = world.bells;
    assert_int_equal(world_store(V + 8, 5), WORLD_EMULATED);
    assert_int_equal(rung, before + 1);
    assert_int_equal(world.regs[REG_RIP], WORLD_CODE + 2);
    return world.bells != bells;
}

static void warm_up(void)
{
    for (unsigned i = 0; i < 3; i++)
        (void)store_is_short();
    assert_true(store_is_short());
}

/* In both modes that keep something; neither device nor MMU hears of it. */
static void rings_short(void **state)
{
    (void)state;
    static const enum gva_cache modes[] = {GVA_CACHE_OFF, GVA_CACHE_EXITS, GVA_CACHE_VERIFY};
    for (unsigned m = 0; m < ARRAY_SIZE(modes); m++) {
        start(modes[m]);
        assert_int_equal(bus_doorbell_add(&world.bus, &bell), 0);
        for (unsigned i = 0; i < 10; i++)
            (void)store_is_short();
        assert_int_equal(world.bells, modes[m] == GVA_CACHE_OFF ? 0 : 9);
        assert_int_equal(world.a.writes + world.bus.unclaimed, 0);
        assert_int_equal(world.violations, 1);
    }
}

/* Whatever the slots say by now, and wherever the operand's tables lead. */
static void not_of_slots_or_operand(void **state)
{
    (void)state;
    warm_up();
    world_slot_add(ELSE, 1, 0);
    assert_true(store_is_short());
    world_map(cr3, V, ELSE, KERNEL); /* the CPU still holds the old one */
    world.tlb = true;
    world.tlb_page = V / PAGE_SIZE;
    world.tlb_frame = A / PAGE_SIZE;
    assert_true(store_is_short());
}

static void registers(void **state)
{
    (void)state;
    uint64_t other = world_new_cr3();
    world_map(other, WORLD_CODE, WORLD_CODE, KERNEL);
    world_map(other, V, A, KERNEL);
    const struct {
        unsigned reg;
        uint64_t value;
    } cases[] = {{REG_CR3, other},
                 {REG_EFER, EFER_LMA},
                 {REG_SEG_AR + SEG_CS, AR_CODE64 | BIT(12)},
                 {REG_RFLAGS, BIT(8) | 2}};
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        warm_up();
        uint64_t old = world.regs[cases[i].reg];
        world.regs[cases[i].reg] = cases[i].value;
        assert_false(store_is_short());
        assert_int_equal(world.vcpu.single_step, cases[i].value == (BIT(8) | 2));
        world.regs[cases[i].reg] = old;
    }
    warm_up();
    world.regs[REG_RFLAGS] |= BIT(16); /* as the CPU saves it */
    assert_true(store_is_short());
    assert_int_equal(world.regs[REG_RFLAGS], 2);
}

/* The code, the tables that lead to it, and its pages. */
static void code(void **state)
{
    (void)state;
    for (unsigned level = 4; level >= 1; level--) {
        warm_up();
        *world_entry(cr3, WORLD_CODE, level) |=
            BIT(9); /* ignored by walks, and yet another entry */
        assert_false(store_is_short());
    }
    warm_up();
    world.mmu.invalidate_sequence += 2;
    assert_false(store_is_short());

    warm_up(); /* another instruction at the same place: its own length, and what it does */
    world.cpu.gpr[GPR_RAX] = V + 8;
    world_code("\x48\x89\x18", 3);
    unsigned bells = world.bells, before = rung;
    assert_int_equal(world_misconfig(GPA(BELL), false), MMIO_DONE);
    assert_int_equal(world.regs[REG_RIP], WORLD_CODE + 3);
    assert_int_equal(world.bells, bells);
    assert_int_equal(rung, before + 1);
    warm_up();
    uint32_t value;
    assert_int_equal(world_load(V + 8, &value), WORLD_EMULATED); /* reads never ring */
    assert_int_equal(world.a.reads, 1);
    assert_int_equal(rung, before + 5);
}

static void doorbell_goes(void **state)
{
    (void)state;
    warm_up();
    unsigned before = rung;
    assert_int_equal(bus_doorbell_remove(&world.bus, &bell), 0);
    assert_int_equal(world_store(V + 8, 5), WORLD_EMULATED);
    assert_int_equal(rung, before);
    assert_int_equal(world.a.writes, 1);
}

/* The instruction accesses another address, and an exit belongs to another instruction. */
static void other_address(void **state)
{
    (void)state;
    warm_up();
    unsigned before = rung, bells = world.bells;
    assert_int_equal(world_store(V + 16, 5), WORLD_EMULATED);
    assert_int_equal(world.a.last_offset, 16);
    assert_int_equal(rung, before);
    assert_int_equal(world.bells, bells);
    warm_up();
    bells = world.bells;
    world.regs[REG_RIP] = WORLD_CODE;
    assert_int_equal(world_misconfig(GPA(BELL), true), MMIO_END);
    assert_int_equal(world.vcpu.end, MMIO_END_DELIVERY);
    assert_int_equal(world.bells, bells);
}

/* Long instructions are kept like those of a device; length and data are asked for. */
static void other_doorbells(void **state)
{
    (void)state;
    assert_int_equal(bus_doorbell_remove(&world.bus, &bell), 0);
    struct bus_doorbell d = bell;
    d.length = 4;
    d.match_data = true;
    d.data = 5;
    assert_int_equal(bus_doorbell_add(&world.bus, &d), 0);
    for (uint32_t i = 0; i < 10; i++)
        assert_int_equal(world_store(V + 8, i), WORLD_EMULATED);
    assert_int_equal(rung, 1);
    assert_int_equal(world.a.writes, 9);
    assert_int_equal(world.replay, 9);
    assert_int_equal(bus_doorbell_remove(&world.bus, &d), 0);
    d.match_data = false;
    assert_int_equal(bus_doorbell_add(&world.bus, &d), 0);
    for (uint32_t i = 0; i < 10; i++)
        assert_int_equal(world_store(V + 8, i), WORLD_EMULATED);
    assert_int_equal(rung, 11);
    assert_true(world.bells >= 7);

    world.bells = world.replay = 0; /* mov dword [rax + disp32], imm32 */
    for (unsigned i = 0; i < 10; i++) {
        world_code("\xc7\x80\x08\x00\x00\x00\x01\x02\x03\x04", 10);
        world.cpu.gpr[GPR_RAX] = V;
        assert_int_equal(world_misconfig(GPA(BELL), false), MMIO_DONE);
        assert_int_equal(world.regs[REG_RIP], WORLD_CODE + 10);
    }
    assert_int_equal(rung, 21);
    assert_int_equal(world.bells, 0);
    assert_true(world.replay >= 7);
}

/* ---- After the slots have become others ------------------------------------------------------ */

static bool device_store_is_hot(void)
{
    unsigned replay = world.replay, writes = world.a.writes;
    assert_int_equal(world_store(V + 16, world.misconfigs), WORLD_EMULATED);
    assert_int_equal(world.a.writes, writes + 1);
    assert_int_equal(world.a.last_value, world.cpu.gpr[GPR_RBX]);
    return world.replay != replay;
}

static void device_warm_up(void)
{
    for (unsigned i = 0; i < 3; i++)
        (void)device_store_is_hot();
    assert_true(device_store_is_hot());
}

/* The fault says that it is MMIO still, and the instruction is kept for the next time: after a slot
 * has come, and after one has gone that holds none of the pages that it rests on. */
static void renewed(void **state)
{
    (void)state;
    device_warm_up();
    for (unsigned i = 0; i < 10; i++) {
        uint64_t stale = world.vcpu.stats.spte_stale, walks = world.reg_reads[REG_CR4];
        if (i % 2)
            world_slot_delete(ELSE);
        else
            world_slot_add(ELSE, 1, 0);
        assert_false(device_store_is_hot());
        assert_int_equal(world.vcpu.stats.spte_stale, stale + 1);
        assert_int_equal(world.reg_reads[REG_CR4], walks); /* nothing was walked */
        assert_true(device_store_is_hot());
    }
}

/* A page of the guest that has another place in the host, where other bytes stand by now; what it
 * had is freed. First the code, then the page table of the operand. */
static void moved(void **state)
{
    (void)state;
    world_slot_add(ELSE, 1, 0);
    world_map(cr3, WORLD_CODE, ELSE, KERNEL);
    memcpy(world_page(ELSE), "\x89\x18", 2); /* mov [rax], ebx, where the CPU runs it */
    device_warm_up();
    assert_int_equal(mmu_host_remap(&world.mmu, GPA(ELSE)), 0);
    memcpy(world_page(ELSE), "\x48\x89\x18", 3); /* mov [rax], rbx */
    world.cpu.gpr[GPR_RAX] = V + 16;
    world.regs[REG_RIP] = WORLD_CODE;
    assert_int_equal(world_misconfig(GPA(A + 16), false), MMIO_DONE);
    assert_int_equal(world.a.last_size, 8);
    world_map(cr3, WORLD_CODE, WORLD_CODE, KERNEL);

    uint64_t *link = world_entry(cr3, V, 2), entry = *world_pte(cr3, V);
    *link = ELSE | (*link & (PAGE_SIZE - 1));
    memcpy(world_page(ELSE), &entry, sizeof(entry));
    device_warm_up();
    uint32_t writes = world.a.writes;
    assert_int_equal(mmu_host_remap(&world.mmu, GPA(ELSE)), 0);
    entry ^= A ^ TESTDEV_B_BASE;
    memcpy(world_page(ELSE), &entry, sizeof(entry));
    assert_int_equal(world_exit(V + 16, A + 16, true), MMIO_STALE);
    assert_int_equal(world.a.writes, writes);
}

/* While pages are on their way, other bytes, other registers: then it is looked at afresh. */
static void not_renewed(void **state)
{
    (void)state;
    device_warm_up();
    unsigned walks = world.reg_reads[REG_CR4];
    world.mmu.invalidate_sequence++;
    assert_false(device_store_is_hot());
    assert_true(world.reg_reads[REG_CR4] > walks);
    assert_false(device_store_is_hot());
    world.mmu.invalidate_sequence++;

    device_warm_up();
    world_slot_add(ELSE, 1, 0);
    world.regs[REG_CR4] ^= CR4_SMEP;
    walks = world.reg_reads[REG_CR4];
    assert_false(device_store_is_hot());
    assert_true(world.reg_reads[REG_CR4] > walks);
    world.regs[REG_CR4] ^= CR4_SMEP;

    device_warm_up();
    world_slot_add(ELSE + PAGE_SIZE, 1, 0);
    world.cpu.gpr[GPR_RAX] = V + 16;
    world_code("\x48\x89\x18", 3);
    assert_int_equal(world_misconfig(GPA(A + 16), false), MMIO_DONE);
    assert_int_equal(world.a.last_size, 8);
    assert_int_equal(world.regs[REG_RIP], WORLD_CODE + 3);

    device_warm_up();
    world_slot_add(ELSE + 2 * PAGE_SIZE, 1, 0);
    uint32_t writes = world.a.writes;
    *world_pte(cr3, V) &= ~PTE_W; /* a fault, by now */
    assert_int_equal(world_exit(V + 16, A + 16, true), MMIO_INJECT);
    assert_int_equal(world.a.writes, writes);
    *world_pte(cr3, V) |= PTE_W;

    device_warm_up();
    world_slot_add(ELSE + 3 * PAGE_SIZE, 1, 0);
    writes = world.a.writes;
    world.cpu.gpr[GPR_RAX] = V + 16;
    world_code("\x89\x18", 2);
    assert_int_equal(world_misconfig(GPA(A + 16), true), MMIO_END); /* in delivery */
    assert_int_equal(world.a.writes, writes);
}

/* ---- Where MMIO is not cached, and each access is a violation -------------------------------- */

static int setup_uncached(void **state)
{
    world_mmio_caching = false;
    return setup(state);
}

static int end_uncached(void **state)
{
    world_mmio_caching = true;
    return world_end(state);
}

/* Whether one more store to the device is made without walking, by a violation in any case. */
static bool violation_is_short(uint64_t gva)
{
    unsigned walks = world.reg_reads[REG_CR4], before = world.violations;
    assert_int_equal(world_store(gva, before), WORLD_EMULATED);
    assert_int_equal(world.violations, before + 1);
    assert_int_equal(world.regs[REG_RIP], WORLD_CODE + 2);
    return world.reg_reads[REG_CR4] == walks;
}

static void violations(void **state)
{
    (void)state;
    uint32_t done = 0;
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(violation_is_short(V + 16), i > 0);
        assert_int_equal(world.a.writes, ++done);
    }
    for (unsigned i = 0; i < 10; i++) { /* of the slots no more than that it still has none */
        if (i % 2)
            world_slot_delete(ELSE);
        else
            world_slot_add(ELSE, 1, 0);
        assert_true(violation_is_short(V + 16));
        assert_int_equal(world.a.writes, ++done);
    }
    world.regs[REG_CR4] ^= CR4_SMEP;
    assert_false(violation_is_short(V + 16));
    world.regs[REG_CR4] ^= CR4_SMEP;
    world.regs[REG_RFLAGS] |= BIT(16); /* as the CPU saves it */
    for (unsigned i = 0; i < 3; i++)
        (void)violation_is_short(V + 16);
    world.regs[REG_RFLAGS] |= BIT(16);
    assert_true(violation_is_short(V + 16));
    assert_int_equal(world.regs[REG_RFLAGS], 2);
    for (unsigned i = 0; i < 8; i++)
        assert_true(violation_is_short(V + 8)); /* a doorbell */
    assert_int_equal(rung, 8);
    assert_int_equal(world.misconfigs, 0);
}

static enum mmio_outcome violation(gpa_t gpa, uint32_t error_code, bool delivering)
{
    world.cpu.gpr[GPR_RAX] = V + 16;
    world.regs[REG_RIP] = WORLD_CODE;
    return mmio_violation(&world.vcpu, gpa, error_code, delivering);
}

/* The instruction at RIP is the one that did it, but it is not what the exit is about, or leads
 * elsewhere by now. */
static void other_violations(void **state)
{
    (void)state;
    const uint32_t store = ACCESS_WRITE | FAULT_FINAL;
    for (unsigned i = 0; i < 4; i++)
        (void)violation_is_short(V + 16);
    uint32_t writes = world.a.writes;
    assert_int_equal(violation(GPA(A + 16), store, true), MMIO_END);
    assert_int_equal(violation(GPA(A + 16), ACCESS_WRITE, false), MMIO_END); /* a table there */
    assert_int_equal(violation(GPA(A + 16), ACCESS_FETCH | FAULT_FINAL, false), MMIO_END);
    assert_int_equal(violation(GPA(A + 20), store, false), MMIO_STALE);
    world_map(cr3, V, TESTDEV_B_BASE, KERNEL);
    assert_int_equal(violation(GPA(A + 16), store, false), MMIO_STALE);
    world_map(cr3, V, A, KERNEL);
    world_slot_add(A, 1, 0); /* RAM */
    assert_int_equal(violation(GPA(A + 16), store, false), MMIO_REENTER);
    assert_int_equal(world.a.writes, writes);
}

int main(void)
{
#define U(name) cmocka_unit_test_setup_teardown(name, setup_uncached, end_uncached)
#define T(name) cmocka_unit_test_setup_teardown(name, setup, world_end)
    const struct CMUnitTest tests[] = {
        T(rings_short),   T(not_of_slots_or_operand), T(registers), T(code),  T(doorbell_goes),
        T(other_address), T(other_doorbells),         T(renewed),   T(moved), T(not_renewed),
        U(violations),    U(other_violations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
