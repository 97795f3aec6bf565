/* SPDX-License-Identifier: MIT */
/* The flow of DESIGN.md, step by step (rules F1 to F6), with the MMU's own answers. */
#include "tests/unit/mmio/mmio_places.h"

#include <string.h>

#define RAM   0xd0000000ull /* a slot elsewhere, in tests that need one */
#define WRITE (ACCESS_WRITE | FAULT_FINAL)

static int setup(void **state)
{
    (void)state;
    world_init(GVA_CACHE_VERIFY);
    world_map(world.regs[REG_CR3], V, A, KERNEL);
    return 0;
}

static struct mmu_stats mmu(void)
{
    return mmu_stats(&world.mmu);
}

/* Scenario 1: a violation, then misconfigurations that the cache answers. */
static void first_access_violates_then_cache_answers(void **state)
{
    (void)state;
    assert_int_equal(world_store(V, 0x11), WORLD_EMULATED);
    assert_int_equal(world.violations, 1);
    uint64_t faults = mmu().faults, searches = mmu().slot_searches;
    for (uint32_t i = 0; i < 1000; i++)
        assert_int_equal(world_store(V + 4, i), WORLD_EMULATED);
    assert_int_equal(world.violations, 1);
    assert_int_equal(world.misconfigs, 1000);
    assert_int_equal(mmu().faults, faults);
    assert_int_equal(mmu().slot_searches, searches);
    assert_int_equal(mmu().mmio_spte_hits + mmu().mmio_spte_stale, 0);
    assert_int_equal(mmu().mmio_spte_created, 1);
    assert_int_equal(world.vcpu.stats.cache_hits, 1000);
    assert_int_equal(world.vcpu.stats.emulated, 1001);
    assert_int_equal(world.a.writes, 1001);
    assert_int_equal(world.a.last_value, 999);
    assert_int_equal(world.regs[REG_RIP], WORLD_CODE + 2);
    assert_int_equal(world.vcpu.cache.gva_hits, 1000);
}

/* F4a: during delivery the VM ends only when the answer is "emulate". */
static void f4a_delivery(void **state)
{
    (void)state;
    assert_int_equal(world_store(V, 1), WORLD_EMULATED);
    world.regs[REG_RIP] = WORLD_CODE;
    assert_int_equal(world_misconfig(GPA(A), true), MMIO_END);
    assert_int_equal(world.vcpu.end, MMIO_END_DELIVERY);
    assert_non_null(strstr(world.vcpu.text, "delivery"));
    assert_non_null(strstr(world.vcpu.text, "GPA 0xfe000000, RIP 0x5000, bytes 89 18"));
    world.vcpu.cache.generation = ~0ull; /* step 3 says the same */
    assert_int_equal(world_misconfig(GPA(A), true), MMIO_END);
    assert_int_equal(mmio_violation(&world.vcpu, GPA(A), WRITE, true), MMIO_END);
    assert_int_equal(world.vcpu.end, MMIO_END_DELIVERY);
    assert_int_equal(world.a.writes, 1);

    world_slot_add(A, 1, 0); /* stale, and RAM now: a fault like any other */
    assert_int_equal(world_misconfig(GPA(A), true), MMIO_REENTER);
    assert_int_equal(mmio_violation(&world.vcpu, GPA(A), WRITE, true), MMIO_REENTER);
}

static unsigned rung;
static void ring(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                 uint64_t value)
{
    (void)offset, (void)size, (void)value;
    assert_ptr_equal(device, &rung);
    assert_ptr_equal(vcpu, &world.vcpu);
    rung++;
}

static const struct bus_ops bell = {.name = "bell", .write = ring};

/* F4b: a doorbell answers before the cache and the MMU; only writes that begin there ring it. */
static void f4b_doorbell(void **state)
{
    (void)state;
    struct bus_doorbell doorbell = {.address = A + 8, .ops = &bell, .device = &rung};
    rung = 0;
    world_mmio_spte(A);
    uint64_t faults = mmu().faults;
    assert_int_equal(bus_doorbell_add(&world.bus, &doorbell), 0);
    assert_int_equal(world_store(V + 8, 5), WORLD_EMULATED);
    assert_int_equal(rung, 1);
    assert_int_equal(world.regs[REG_RIP], WORLD_CODE + 2);
    assert_int_equal(mmu().faults, faults);
    assert_int_equal(mmu().mmio_spte_hits, 0);
    assert_int_equal(world.a.writes, 0);
    uint32_t value;
    assert_int_equal(world_load(V + 8, &value), WORLD_EMULATED); /* a read goes to the device */
    assert_int_equal(rung, 1);
    assert_int_equal(world.a.reads, 1);
    assert_int_equal(mmu().mmio_spte_hits, 1);
    world_code("\x89\x18", 2);
    assert_int_equal(world_misconfig(GPA(A + 8), true), MMIO_END); /* not skipped */
    assert_int_equal(rung, 1);
    world_slot_add(RAM, 1, 0); /* whatever the slots say: stale, and still it rings */
    assert_int_equal(world_store(V + 8, 5), WORLD_EMULATED);
    assert_int_equal(rung, 2);
    assert_int_equal(mmu().mmio_spte_stale, 0);
    assert_int_equal(bus_doorbell_remove(&world.bus, &doorbell), 0);
    assert_int_equal(world_store(V + 8, 5), WORLD_EMULATED);
    assert_int_equal(world.a.writes, 1);
}

/* F4b: an access that is more than the doorbell's (it begins before, or crosses into the next page)
 * is not for step 1: the MMU is asked first. A part that begins there still rings, by the bus, as a
 * write of its own. */
static void f4b_beside_the_doorbell(void **state)
{
    (void)state;
    static const struct {
        uint64_t doorbell, begin;
        unsigned rings;
    } cases[] = {{A + 8, A + 4, 0}, {A + 0xffc, A + 0xffc, 1}, {B, A + 0xffc, 1}};
    world_map(world.regs[REG_CR3], V + PAGE_SIZE, B, KERNEL);
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        struct bus_doorbell doorbell = {
            .address = cases[i].doorbell, .ops = &bell, .device = &rung};
        world_mmio_spte(cases[i].doorbell);
        assert_int_equal(bus_doorbell_add(&world.bus, &doorbell), 0);
        world_code("\x48\x89\x18", 3);
        world.cpu.gpr[GPR_RAX] = V + cases[i].begin - A;
        rung = 0;
        assert_int_equal(world_misconfig(GPA(cases[i].doorbell), false), MMIO_DONE);
        assert_int_equal(rung, cases[i].rings);
        assert_int_equal(world.vcpu.stats.spte_hits + world.vcpu.stats.cache_hits, i + 1);
        assert_int_equal(bus_doorbell_remove(&world.bus, &doorbell), 0);
    }
}

/* F4c: the cache needs the generation, and page 0 and generation 0 never enter it (C1). */
static void f4c_cache(void **state)
{
    (void)state;
    world_mmio_spte(A);
    assert_int_equal(world_store(V, 1), WORLD_EMULATED);
    assert_int_equal(world.vcpu.stats.spte_hits, 1);
    assert_int_equal(world_store(V, 1), WORLD_EMULATED);
    assert_int_equal(world.vcpu.stats.cache_hits, 1);
    world_slot_add(RAM, 1, 0);
    uint64_t faults = mmu().faults;
    assert_int_equal(world_store(V, 1), WORLD_EMULATED); /* stale, faults, is MMIO still */
    assert_int_equal(world.vcpu.stats.cache_hits, 1);
    assert_int_equal(world.vcpu.stats.spte_hits, 1);
    assert_int_equal(world.vcpu.stats.spte_stale, 1);
    assert_int_equal(mmu().mmio_spte_created, 2);
    assert_int_equal(mmu().faults, faults); /* no violation */
    assert_int_equal(world.violations, 0);
    assert_int_equal(world_store(V, 1), WORLD_EMULATED); /* and what the fault said is cached */
    assert_int_equal(world.vcpu.stats.cache_hits, 2);

    struct mmio_cache *cache = &world.vcpu.cache;
    const struct walk_limits limits = cache->limits;
    mmio_cache_init(cache, GVA_CACHE_VERIFY, &world.mmu, &world.cpu, &limits);
    mmio_cache_fill(cache, &(struct mmio_info){ALIAS(0), 7, false});
    assert_false(mmio_cache_hit(cache, GPA(0x10), 7));
    mmio_cache_fill(cache, &(struct mmio_info){ALIAS(5), 0, false});
    assert_false(mmio_cache_hit(cache, GPA(0x5000), 0));
    mmio_cache_fill(cache, &(struct mmio_info){ALIAS(5), BIT(63) | 7, false});
    assert_false(mmio_cache_hit(cache, GPA(0x5000), BIT(63) | 7));
    mmio_cache_fill(cache, &(struct mmio_info){ALIAS(5), 7, false});
    assert_true(mmio_cache_hit(cache, GPA(0x5fff), 7));
    assert_false(mmio_cache_hit(cache, GPA(0x5fff), 8));
    assert_false(mmio_cache_hit(cache, GPA(0x6000), 7));
    assert_false(mmio_cache_hit(cache, GPA(0x4fff), 7));
}

/* F4d: the SPTE current, stale and RAM now, a leaf, and zapped. */
static void f4d_spte(void **state)
{
    (void)state;
    world_mmio_spte(A);
    uint64_t faults = mmu().faults;
    assert_int_equal(world_store(V, 1), WORLD_EMULATED);
    assert_int_equal(mmu().faults, faults);
    assert_int_equal(mmu().mmio_spte_hits, 1);

    world_slot_add(A, 1, 0);
    assert_int_equal(world_store(V, 0x77), WORLD_RAM);
    assert_int_equal(world_page(A)[0], 0x77);
    assert_int_equal(world.vcpu.stats.spte_stale, 1);
    assert_int_equal(world.a.writes, 1);
    assert_int_equal(world.violations, 0); /* MMIO to RAM without one */

    uint64_t changes = mmu().spte_changes;
    assert_int_equal(mmio_misconfig(&world.vcpu, GPA(A), false), MMIO_REENTER); /* step 5 */
    assert_int_equal(mmu().spte_changes, changes);

    world_slot_delete(A);
    assert_int_equal(world_misconfig(GPA(A), false), MMIO_REENTER);
    assert_int_equal(world_store(V, 2), WORLD_EMULATED);
    assert_int_equal(world.violations, 1);
    assert_int_equal(world.vcpu.stats.spte_stale, 1);
    assert_int_equal(world.a.writes, 2);
}

/* F4, step 6: an entry that no one means. It ends the VM, after the levels have been dumped. */
static void f4_step_6(void **state)
{
    (void)state;
    world_mmio_spte(A);
    uint64_t *sptep = world_sptep(A), good = *sptep;
    *sptep = BIT(1); /* write without read: not the VM's 110b */
    assert_int_equal(world_store(V, 1), WORLD_ENDED);
    assert_int_equal(world.vcpu.end, MMIO_END_MISCONFIG);
    assert_non_null(strstr(support_log(), "  level 1: "));
    assert_int_equal(world.misconfigs, 1);
    assert_int_equal(world.a.writes, 0);
    *sptep = good;
    assert_int_equal(world_store(V, 1), WORLD_EMULATED);
}

static unsigned peeked;
static void touch_what_goes(void)
{
    peeked++;
    assert_int_equal(mmio_violation(&world.vcpu, GPA(RAM), WRITE, false), MMIO_REENTER);
    assert_int_equal(mmio_violation(&world.vcpu, GPA(RAM), WRITE, true), MMIO_REENTER);
}

/* F6: fixed, spurious, and a slot that goes away at this moment: enter the guest again. */
static void f6_enter_again(void **state)
{
    (void)state;
    world_slot_add(RAM, 1, 0);
    uint64_t changes = mmu().spte_changes;
    assert_int_equal(mmio_violation(&world.vcpu, GPA(RAM), WRITE, false), MMIO_REENTER);
    assert_true(mmu().spte_changes > changes);
    changes = mmu().spte_changes;
    assert_int_equal(mmio_violation(&world.vcpu, GPA(RAM), WRITE, false), MMIO_REENTER);
    assert_int_equal(mmu().spte_changes, changes);

    world_map(world.regs[REG_CR3], V, RAM, KERNEL);
    assert_int_equal(world_store(V, 1), WORLD_RAM); /* so that its deletion owes a flush */
    world_during_update(touch_what_goes);
    peeked = 0;
    world_slot_delete(RAM);
    assert_int_equal(peeked, 1);
    assert_int_equal(world.bus.unclaimed, 0);
    assert_int_equal(world.vcpu.stats.emulated, 0);
    assert_int_equal(world_store(V, 1), WORLD_EMULATED); /* gone */
    assert_int_equal(world.bus.unclaimed, 1);
}

/* F6: the MMU can't map the page: the VM ends, and the MMU has said why. */
static void f6_no_memory(void **state)
{
    (void)state;
    world_slot_add(RAM, 1, 0);
    world_map(world.regs[REG_CR3], V, RAM, KERNEL);
    support_fail_allocations_after(0);
    assert_int_equal(world_store(V, 1), WORLD_ENDED);
    assert_int_equal(world.vcpu.end, MMIO_END_MEMORY);
    assert_non_null(strstr(support_log(), "MMU: no page left for"));
    support_fail_allocations_after(UINT64_MAX);
    assert_int_equal(world_store(V, 1), WORLD_RAM);
}

/* F6: code in MMIO, found by a violation, by a misconfiguration, and by the cache's answer. */
static void f6_code_in_mmio(void **state)
{
    (void)state;
    world_map(world.regs[REG_CR3], WORLD_CODE, A, KERNEL);
    for (unsigned i = 0; i < 3; i++) {
        world.vcpu.end = MMIO_END_NONE;
        if (i == 1)
            world.vcpu.cache.generation = ~0ull;
        assert_int_equal(world_store(V, 1), WORLD_ENDED);
        assert_int_equal(world.vcpu.end, MMIO_END_FETCH);
        assert_non_null(strstr(world.vcpu.text, "bytes unreadable"));
    }
    assert_int_equal(world.violations, 1);
    assert_int_equal(world.misconfigs, 2);
    assert_int_equal(world.vcpu.stats.spte_hits, 1);
    assert_int_equal(world.vcpu.stats.cache_hits, 1);
    assert_int_equal(world.regs[REG_RIP], WORLD_CODE);
    assert_int_equal(world.a.reads + world.a.writes, 0);

    /* A fetch and no more: what stands at RIP by now may be an access to the device. */
    world_map(world.regs[REG_CR3], WORLD_CODE, WORLD_CODE, KERNEL);
    world_code("\x89\x18", 2);
    assert_int_equal(mmio_violation(&world.vcpu, GPA(A), ACCESS_FETCH | FAULT_FINAL, false),
                     MMIO_END);
    assert_int_equal(world.vcpu.end, MMIO_END_FETCH);
    assert_int_equal(world.a.writes, 0);
}

/* F6: a guest page table in MMIO or in a read-only slot. */
static void f6_tables(void **state)
{
    (void)state;
    world_slot_add(0xe0000000, 1, MEMSLOT_READONLY);
    for (unsigned i = 0; i < 3; i++) {
        world.vcpu.end = MMIO_END_NONE;
        *world_entry(world.regs[REG_CR3], V, 2) = (i == 2 ? 0xe0000000 : B) | KERNEL;
        assert_int_equal(world_store(V, 1), WORLD_ENDED);
        assert_int_equal(world.vcpu.end, MMIO_END_TABLES);
        assert_int_equal(world.violations, i == 2 ? 2 : 1); /* the second is a misconfiguration */
    }
    assert_int_equal(world.b.reads + world.b.writes, 0);
    /* Not the access itself, although what stands at RIP by now would touch this very page. */
    *world_entry(world.regs[REG_CR3], V, 2) = 0;
    world_map(world.regs[REG_CR3], V, A, KERNEL);
    assert_int_equal(mmio_violation(&world.vcpu, GPA(A), ACCESS_READ | ACCESS_WRITE, false),
                     MMIO_END);
    assert_int_equal(world.vcpu.end, MMIO_END_TABLES);
    assert_int_equal(world.a.writes, 0);
}

/* F6: a write to a read-only slot is dropped and makes no MMIO of the page; reads stay RAM. */
static void f6_readonly_slot(void **state)
{
    (void)state;
    uint32_t value = 0x42424242;
    world_map(world.regs[REG_CR3], V, 0xe0000000, KERNEL);
    world_slot_add(0xe0000000, 1, MEMSLOT_READONLY);
    assert_int_equal(guest_load(&world.mmu, GPA(0xe0000000), &value, sizeof(value)), 0);
    for (unsigned i = 1; i <= 2; i++) {
        assert_int_equal(world_store(V, 1), WORLD_EMULATED);
        assert_int_equal(world.bus.unclaimed, i);
        assert_int_equal(world.violations, 2 * i - 1);
        assert_false(
            mmio_cache_hit(&world.vcpu.cache, GPA(0xe0000000), mmu_slot_generation(&world.mmu)));
        value = 0;
        assert_int_equal(world_load(V, &value), WORLD_RAM);
        assert_int_equal(value, 0x42424242);
        assert_int_equal(world.violations, i + 1); /* the leaf serves the second read */
    }
    assert_int_equal(world.misconfigs, 0);
}

/* N10: a tracked page is RAM. What an emulated instruction writes is emulated, all else is for the
 * CPU to do: in the middle of a delivery, for a page walk, or for an instruction that is not known
 * or has no operand there. */
static void n10_tracked_page(void **state)
{
    (void)state;
    const gpa_t page = GPA(0x9000);
    const uint32_t write = ACCESS_WRITE | FAULT_PRESENT;
    world_map(world.regs[REG_CR3], V, page.v, PTE_P | PTE_W);
    assert_int_equal(mmu_track(&world.mmu, page), 0);
    assert_int_equal(mmio_violation(&world.vcpu, page, write, false), MMIO_PASS);
    assert_int_equal(mmio_violation(&world.vcpu, page, write | FAULT_FINAL, true), MMIO_PASS);
    assert_int_equal(world_store(V, 0x55), WORLD_EMULATED);
    assert_int_equal(*(uint32_t *)world_page(page.v), 0x55);

    static const uint8_t codes[][3] = {
        {0xd9, 0x18},       /* FSTP [RAX]: not known */
        {0x6a, 0x01},       /* PUSH 1 */
        {0x8e, 0xd8},       /* MOV DS, EAX: the descriptor's accessed bit */
        {0x0f, 0x00, 0xd8}, /* LTR AX: its busy bit */
    };
    world.cpu.gpr[GPR_RAX] = V;
    world.cpu.gpr[GPR_RBX] = 0;
    world.regs[REG_RSP] = V + 0x800;
    for (unsigned i = 0; i < ARRAY_SIZE(codes); i++) {
        world_code(codes[i], 3);
        for (unsigned again = 0; again < 20; again++)
            assert_int_equal(mmio_violation(&world.vcpu, page, write | FAULT_FINAL, false),
                             MMIO_PASS);
    }
    assert_int_equal(mmu_untrack(&world.mmu, page), 0);

    /* A read-only slot refuses them, as before. */
    world_slot_add(0x40000000, 1, MEMSLOT_READONLY);
    assert_int_equal(mmio_violation(&world.vcpu, GPA(0x40000000), write | FAULT_FINAL, true),
                     MMIO_END);
    assert_non_null(strstr(world.vcpu.text, "an event's delivery wrote to read-only memory"));
    assert_int_equal(mmio_violation(&world.vcpu, GPA(0x40000000), write, false), MMIO_END);
    assert_int_equal(world.vcpu.end, MMIO_END_TABLES);
    static const char what[] =
        "a write to read-only memory by x87, which is not emulated: GPA 0x40000000, RIP ";
    enum mmio_outcome outcome = MMIO_STALE;
    world_code(codes[0], 3);
    for (unsigned i = 0; i < 20 && outcome == MMIO_STALE; i++)
        outcome = mmio_violation(&world.vcpu, GPA(0x40000000), write | FAULT_FINAL, false);
    assert_int_equal(outcome, MMIO_END);
    assert_int_equal(world.vcpu.end, MMIO_END_UNSUPPORTED);
    assert_ptr_equal(strstr(world.vcpu.text, what), world.vcpu.text);
}

static void store_during_update(void)
{
    peeked++;
    assert_true(mmu_slot_generation(&world.mmu) & SLOT_UPDATE_IN_PROGRESS);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(world_store(V, 2), WORLD_EMULATED);
}

/* C4, D6: while the slots change, MMIO is emulated, but neither the frame nor a walk is kept. */
static void nothing_is_kept_during_an_update(void **state)
{
    (void)state;
    assert_int_equal(world_store(V, 1), WORLD_EMULATED);
    uint64_t spte_hits = mmu().mmio_spte_hits;
    peeked = 0;
    world_during_update(store_during_update);
    assert_int_equal(mmu_set_generation(&world.mmu, 100), 0);
    assert_int_equal(peeked, 1);
    assert_int_equal(world.a.writes, 4);
    assert_int_equal(world.vcpu.stats.cache_hits, 0);
    assert_int_equal(world.vcpu.cache.gva_hits, 0);
    assert_int_equal(mmu().mmio_spte_hits, spte_hits);
    assert_int_equal(world_store(V, 3), WORLD_EMULATED);
    assert_int_equal(world.vcpu.stats.cache_hits, 0);
    assert_int_equal(world_store(V, 3), WORLD_EMULATED);
    assert_int_equal(world.vcpu.stats.cache_hits, 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, world_end)
    const struct CMUnitTest tests[] = {
        T(first_access_violates_then_cache_answers),
        T(f4a_delivery),
        T(f4b_doorbell),
        T(f4b_beside_the_doorbell),
        T(f4c_cache),
        T(f4d_spte),
        T(f4_step_6),
        T(f6_enter_again),
        T(f6_no_memory),
        T(f6_code_in_mmio),
        T(f6_tables),
        T(f6_readonly_slot),
        T(n10_tracked_page),
        T(nothing_is_kept_during_an_update),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
