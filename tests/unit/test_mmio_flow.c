/*
 * The flow of DESIGN.md, step by step (rules F1 to F6), and the scenarios of rule C6 in all three
 * modes of the GVA cache.
 */
#include "tests/unit/mmio_world.h"

#include "lib/errno.h"

#include <string.h>

#define V      0x40000000ull
#define A      ((uint64_t)TESTDEV_A_BASE)
#define B      ((uint64_t)TESTDEV_B_BASE)
#define KERNEL (PTE_P | PTE_W)
#define USER   (PTE_P | PTE_W | PTE_U)

static uint8_t extra_page[4096];

static const enum gva_cache modes[] = {GVA_CACHE_OFF, GVA_CACHE_EXITS, GVA_CACHE_VERIFY};
#define FOR_EACH_MODE(m) for (unsigned m = 0; m < ARRAY_SIZE(modes); m++)

static void start(enum gva_cache mode)
{
    world_init(mode);
    world_map(world.regs[REG_CR3], V, A, KERNEL);
}

static int setup(void **state)
{
    (void)state;
    start(GVA_CACHE_VERIFY);
    return 0;
}

/* Scenario 1: a violation, then misconfigurations that the cache answers. */
static void first_access_violates_then_cache_answers(void **state)
{
    (void)state;
    assert_int_equal(world_store(V, 0x11), WORLD_EMULATED);
    assert_int_equal(world.violations, 1);
    assert_int_equal(world.mmu.faults, 1);
    for (uint32_t i = 0; i < 1000; i++)
        assert_int_equal(world_store(V + 4, i), WORLD_EMULATED);
    assert_int_equal(world.violations, 1);
    assert_int_equal(world.misconfigs, 1000);
    assert_int_equal(world.mmu.faults, 1);
    assert_int_equal(world.mmu.checks, 0);
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
    assert_int_equal(mmio_misconfig(&world.vcpu, GPA(A), true), MMIO_END);
    assert_int_equal(world.vcpu.end, MMIO_END_DELIVERY);
    assert_non_null(strstr(world.vcpu.text, "delivery"));
    assert_non_null(strstr(world.vcpu.text, "GPA 0xfe000000, RIP 0x5000, bytes 89 18"));
    world.vcpu.cache.generation = ~0ull; /* step 3 says the same */
    assert_int_equal(mmio_misconfig(&world.vcpu, GPA(A), true), MMIO_END);
    assert_int_equal(mmio_violation(&world.vcpu, GPA(A), ACCESS_WRITE | FAULT_FINAL, true),
                     MMIO_END);
    assert_int_equal(world.vcpu.end, MMIO_END_DELIVERY);
    assert_int_equal(world.a.writes, 1);

    world_slot_add(A, extra_page, 1, false); /* stale, and RAM now: a fault like any other */
    assert_int_equal(mmio_misconfig(&world.vcpu, GPA(A), true), MMIO_REENTER);
    assert_int_equal(mmio_violation(&world.vcpu, GPA(A), ACCESS_WRITE | FAULT_FINAL, true),
                     MMIO_REENTER);
}

static unsigned rung;
static void ring(void *device, struct mmio_vcpu *vcpu)
{
    assert_ptr_equal(device, &rung);
    assert_ptr_equal(vcpu, &world.vcpu);
    rung++;
}

/* F4b: a doorbell answers before the cache and the MMU; only writes that begin there ring it. */
static void f4b_doorbell(void **state)
{
    (void)state;
    struct bus_doorbell doorbell = {.address = A + 8, .ring = ring, .device = &rung};
    rung = 0;
    world_set_spte(A, SPTE_MMIO, world.mmu.generation);
    assert_int_equal(bus_doorbell_add(&world.bus, &doorbell), 0);
    assert_int_equal(world_store(V + 8, 5), WORLD_EMULATED);
    assert_int_equal(rung, 1);
    assert_int_equal(world.regs[REG_RIP], WORLD_CODE + 2);
    assert_int_equal(world.mmu.checks + world.mmu.faults, 0);
    assert_int_equal(world.a.writes, 0);
    uint32_t value;
    assert_int_equal(world_load(V + 8, &value), WORLD_EMULATED); /* a read goes to the device */
    assert_int_equal(rung, 1);
    assert_int_equal(world.a.reads, 1);
    assert_int_equal(world.mmu.checks, 1);
    world_code("\x89\x18", 2);
    assert_int_equal(mmio_misconfig(&world.vcpu, GPA(A + 8), true), MMIO_END); /* not skipped */
    assert_int_equal(rung, 1);
    assert_int_equal(bus_doorbell_remove(&world.bus, &doorbell), 0);
    assert_int_equal(world_store(V + 8, 5), WORLD_EMULATED);
    assert_int_equal(world.a.writes, 1);
}

/* F4c: the cache needs the generation, and page 0 and generation 0 never enter it (C1). */
static void f4c_cache(void **state)
{
    (void)state;
    world_set_spte(A, SPTE_MMIO, world.mmu.generation);
    assert_int_equal(world_store(V, 1), WORLD_EMULATED);
    assert_int_equal(world.vcpu.stats.spte_hits, 1);
    assert_int_equal(world_store(V, 1), WORLD_EMULATED);
    assert_int_equal(world.vcpu.stats.cache_hits, 1);
    world.mmu.generation++;
    assert_int_equal(world_store(V, 1), WORLD_EMULATED); /* stale, faults, is MMIO still */
    assert_int_equal(world.vcpu.stats.cache_hits, 1);
    assert_int_equal(world.vcpu.stats.spte_stale, 1);

    struct mmio_cache *cache = &world.vcpu.cache;
    const struct walk_limits limits = cache->limits;
    mmio_cache_init(cache, GVA_CACHE_VERIFY, &world.mmu, &world.cpu, &limits);
    mmio_cache_fill(cache, &(struct mmio_info){GFN(0), 7});
    assert_false(mmio_cache_hit(cache, GPA(0x10), 7));
    mmio_cache_fill(cache, &(struct mmio_info){GFN(5), 0});
    assert_false(mmio_cache_hit(cache, GPA(0x5000), 0));
    mmio_cache_fill(cache, &(struct mmio_info){GFN(5), BIT(63) | 7});
    assert_false(mmio_cache_hit(cache, GPA(0x5000), BIT(63) | 7));
    mmio_cache_fill(cache, &(struct mmio_info){GFN(5), 7});
    assert_true(mmio_cache_hit(cache, GPA(0x5fff), 7));
    assert_false(mmio_cache_hit(cache, GPA(0x5fff), 8));
    assert_false(mmio_cache_hit(cache, GPA(0x6000), 7));
    assert_false(mmio_cache_hit(cache, GPA(0x4fff), 7));
}

/* F4d: the SPTE current, stale and RAM now, stale and MMIO still, gone, and broken. */
static void f4d_spte(void **state)
{
    (void)state;
    world_set_spte(A, SPTE_MMIO, world.mmu.generation);
    assert_int_equal(world_store(V, 1), WORLD_EMULATED);
    assert_int_equal(world.mmu.faults, 0);

    world_slot_add(A, extra_page, 1, false);
    assert_int_equal(world_store(V, 0x77), WORLD_RAM);
    assert_int_equal(extra_page[0], 0x77);
    assert_int_equal(world.vcpu.stats.spte_stale, 1);
    assert_int_equal(world.a.writes, 1);

    assert_int_equal(mmio_misconfig(&world.vcpu, GPA(A), false), MMIO_REENTER); /* step 5 */
    assert_int_equal(world.mmu.faults, 1);

    world_slot_delete(A);
    assert_int_equal(world_store(V, 2), WORLD_EMULATED);
    assert_int_equal(world.vcpu.stats.spte_stale, 2);
    assert_int_equal(world.a.writes, 2);

    world_set_spte(B, SPTE_BROKEN, 0);
    assert_int_equal(mmio_misconfig(&world.vcpu, GPA(B), false), MMIO_END); /* step 6 */
    assert_int_equal(world.vcpu.end, MMIO_END_MISCONFIG);
}

/* F6: each result of mmu_fault() for a violation. */
static void f6_results(void **state)
{
    (void)state;
    static const int again[] = {FAULT_RETRY, FAULT_FIXED, FAULT_SPURIOUS};
    world_code("\x89\x18", 2);
    for (unsigned i = 0; i < ARRAY_SIZE(again); i++) {
        world.mmu.forced_fault = again[i];
        assert_int_equal(mmio_violation(&world.vcpu, GPA(A), ACCESS_WRITE | FAULT_FINAL, false),
                         MMIO_REENTER);
    }
    world.mmu.forced_fault = -ENOMEM;
    assert_int_equal(mmio_violation(&world.vcpu, GPA(A), ACCESS_WRITE | FAULT_FINAL, false),
                     MMIO_END);
    assert_int_equal(world.vcpu.end, MMIO_END_MEMORY);
    world.mmu.forced_fault = FAULT_EMULATE;
    assert_int_equal(mmio_violation(&world.vcpu, GPA(A), ACCESS_FETCH | FAULT_FINAL, false),
                     MMIO_END);
    assert_int_equal(world.vcpu.end, MMIO_END_FETCH);
    assert_int_equal(mmio_violation(&world.vcpu, GPA(A), ACCESS_READ, false), MMIO_END);
    assert_int_equal(world.vcpu.end, MMIO_END_TABLES);
    assert_int_equal(world.regs[REG_RIP], WORLD_CODE);

    /* A write to a tracked page reaches the page. */
    world.mmu.forced_fault = FAULT_WRITE_PROTECTED;
    world_map(world.regs[REG_CR3], V, 0x7000, KERNEL);
    world.cpu.gpr[GPR_RAX] = V;
    world.cpu.gpr[GPR_RBX] = 0x99;
    assert_int_equal(mmio_violation(&world.vcpu, GPA(0x7000), ACCESS_WRITE | FAULT_FINAL, false),
                     MMIO_DONE);
    assert_int_equal(world_ram[7][0], 0x99);
}

/* F6: a write to a read-only slot is dropped and makes no MMIO of the page; reads stay RAM. */
static void f6_readonly_slot(void **state)
{
    (void)state;
    memset(extra_page, 0x42, sizeof(extra_page));
    world_map(world.regs[REG_CR3], V, 0xe0000000, KERNEL);
    world_slot_add(0xe0000000, extra_page, 1, true);
    assert_int_equal(world_store(V, 1), WORLD_EMULATED);
    assert_int_equal(world.bus.unclaimed, 1);
    assert_int_equal(extra_page[0], 0x42);
    assert_false(mmio_cache_hit(&world.vcpu.cache, GPA(0xe0000000), world.mmu.generation));
    uint32_t value;
    assert_int_equal(world_load(V, &value), WORLD_RAM);
    assert_int_equal(value, 0x42424242);
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
        world.tlb_page = V >> 12;
        world.tlb_frame = B >> 12;
        world_map(world.regs[REG_CR3], V, A, KERNEL);
        assert_int_equal(world_store(V, 3), WORLD_EMULATED);
        assert_int_equal(world.a.writes + world.b.writes, 3);
        if (modes[m] != GVA_CACHE_EXITS) { /* a fresh walk differs: INVVPID, then A */
            assert_int_equal(world.invvpids, 1);
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
    uint64_t *levels[4], table = cr3;
    for (unsigned i = 0; i < 4; i++) {
        levels[i] = (uint64_t *)(void *)world_ram[table >> 12] + (i ? 0 : 1);
        table = *levels[i] & 0xffffff000;
    }
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(world_store(far, 1), WORLD_EMULATED);
        assert_int_equal(world_store(far, 1), WORLD_EMULATED);
        uint32_t writes = world.a.writes;
        uint64_t old = *levels[i];
        *levels[i] &= ~PTE_P;
        world_code("\x89\x18", 2);
        assert_int_equal(mmio_misconfig(&world.vcpu, GPA(A), false), MMIO_INJECT);
        assert_int_equal(world.vcpu.fault.vector, 14);
        assert_int_equal(world.vcpu.fault.cr2, far);
        assert_int_equal(world.vcpu.fault.error_code, PF_WRITE);
        assert_int_equal(world.a.writes, writes);
        *levels[i] = old;
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
        assert_int_equal(world.invvpids, 0);
        if (modes[m] == GVA_CACHE_VERIFY)
            assert_int_equal(world.vcpu.cache.gva_hits, 998);
    }
}

/* Makes the exit although the CPU would fault: what a stale TLB entry does. */
static enum mmio_outcome exit_at(uint64_t gpa, bool write)
{
    world_code(write ? "\x89\x18" : "\x8b\x18", 2);
    world.cpu.gpr[GPR_RAX] = V;
    return mmio_misconfig(&world.vcpu, GPA(gpa), false);
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
        assert_page_fault(exit_at(A, true), PF_PRESENT | PF_WRITE | PF_USER);
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
        assert_page_fault(exit_at(A, true), PF_PRESENT | PF_WRITE);
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
        assert_page_fault(exit_at(A, true), PF_PRESENT | PF_WRITE | PF_KEY);
        assert_int_equal(world.a.writes, 2);
    }
}

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
    } cases[] = {
        {REG_CR4, CR4_SMAP, USER, PF_PRESENT | PF_WRITE},
        {REG_CR4, CR4_SMEP, KERNEL, 0},
        {REG_CR0, CR0_WP, KERNEL, 0},
        {REG_RFLAGS, RFLAGS_AC, KERNEL, 0},
        {REG_EFER, EFER_NXE, KERNEL | PTE_XD, PF_PRESENT | PF_RESERVED | PF_WRITE},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        start(GVA_CACHE_VERIFY);
        world_map(world.regs[REG_CR3], WORLD_CODE, WORLD_CODE, KERNEL);
        world_map(world.regs[REG_CR3], V, A, cases[i].pte);
        assert_int_equal(world_store(V, 1), WORLD_EMULATED);
        assert_int_equal(world_store(V, 1), WORLD_EMULATED);
        assert_int_equal(world.vcpu.cache.gva_hits, 1);
        world.regs[cases[i].reg] ^= cases[i].flip;
        enum mmio_outcome outcome = exit_at(A, true);
        if (cases[i].error_code)
            assert_page_fault(outcome, cases[i].error_code);
        else
            assert_int_equal(outcome, MMIO_DONE);
        assert_int_equal(world.vcpu.cache.gva_hits, 1); /* walked afresh */
    }
}

/* D6: the page of a table that the host takes away is not read again. */
static void d6_slots_and_sequence(void **state)
{
    (void)state;
    start(GVA_CACHE_VERIFY);
    assert_int_equal(world_store(V, 1), WORLD_EMULATED);
    assert_int_equal(world_store(V, 1), WORLD_EMULATED);
    assert_int_equal(world.vcpu.cache.gva_hits, 1);
    world.mmu.sequence += 2;
    assert_int_equal(world_store(V, 1), WORLD_EMULATED);
    assert_int_equal(world.vcpu.cache.gva_hits, 1);
    assert_int_equal(world_store(V, 1), WORLD_EMULATED);
    assert_int_equal(world.vcpu.cache.gva_hits, 2);
    world.mmu.sequence++; /* in progress: nothing is kept */
    assert_int_equal(world_store(V, 1), WORLD_EMULATED);
    assert_int_equal(world_store(V, 1), WORLD_EMULATED);
    assert_int_equal(world.vcpu.cache.gva_hits, 2);
    world.mmu.sequence++;
    assert_int_equal(world_store(V, 1), WORLD_EMULATED);
    assert_int_equal(world_store(V, 1), WORLD_EMULATED);
    assert_int_equal(world.vcpu.cache.gva_hits, 3);
    world_slot_add(0xd0000000, extra_page, 1, false); /* another generation alone */
    assert_int_equal(world_store(V, 1), WORLD_EMULATED);
    assert_int_equal(world.vcpu.cache.gva_hits, 3);
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
        assert_int_equal(exit_at(A, true), MMIO_DONE);
        assert_int_equal(*pte & (PTE_A | PTE_D), PTE_A | PTE_D);
    }
}

/* D6: the ninth stale exit in a row at one RIP ends the VM; success starts a new count. */
static void d6_stale_limit(void **state)
{
    (void)state;
    start(GVA_CACHE_VERIFY);
    for (unsigned i = 0; i < 7; i++)
        assert_int_equal(exit_at(B, true), MMIO_REENTER); /* no SPTE yet: nothing counted */
    world_set_spte(B, SPTE_MMIO, world.mmu.generation);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(exit_at(B, true), MMIO_STALE);
    world_set_spte(A, SPTE_MMIO, world.mmu.generation);
    assert_int_equal(exit_at(A, true), MMIO_DONE);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(exit_at(B, true), MMIO_STALE);
    assert_int_equal(exit_at(B, true), MMIO_END);
    assert_int_equal(world.vcpu.end, MMIO_END_STALE);
    assert_non_null(strstr(world.vcpu.text, "bytes 89 18"));
    assert_int_equal(world.vcpu.stats.stale_translations, 17);
    assert_int_equal(world.b.writes, 0);
}

/* The flat 64-bit kernel case reads few registers, and each once. */
static void fast_path_registers(void **state)
{
    (void)state;
    start(GVA_CACHE_VERIFY);
    assert_int_equal(world_store(V, 1), WORLD_EMULATED);
    memset(world.reg_reads, 0, sizeof(world.reg_reads));
    world.mmu.reads = world.mmu.exchanges = 0;
    assert_int_equal(exit_at(A, true), MMIO_DONE);
    unsigned total = 0;
    for (unsigned i = 0; i < REG_COUNT; i++) {
        assert_true(world.reg_reads[i] <= 1);
        total += world.reg_reads[i];
    }
    assert_int_equal(total, 7); /* RIP RFLAGS CR0 CR3 CR4 EFER CS */
    assert_int_equal(world.mmu.reads + world.mmu.exchanges, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(first_access_violates_then_cache_answers, setup),
        cmocka_unit_test_setup(f4a_delivery, setup),
        cmocka_unit_test_setup(f4b_doorbell, setup),
        cmocka_unit_test_setup(f4c_cache, setup),
        cmocka_unit_test_setup(f4d_spte, setup),
        cmocka_unit_test_setup(f6_results, setup),
        cmocka_unit_test_setup(f6_readonly_slot, setup),
        cmocka_unit_test(c6a_remap),
        cmocka_unit_test(c6a_remap_without_invlpg),
        cmocka_unit_test(c6a_upper_levels),
        cmocka_unit_test(c6b_two_address_spaces),
        cmocka_unit_test(c6c_user_after_kernel),
        cmocka_unit_test(c6d_readonly_after_write),
        cmocka_unit_test(c6e_protection_key),
        cmocka_unit_test(d6_every_input),
        cmocka_unit_test(d6_slots_and_sequence),
        cmocka_unit_test(d6_dirty_bit),
        cmocka_unit_test(d6_stale_limit),
        cmocka_unit_test(fast_path_registers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
