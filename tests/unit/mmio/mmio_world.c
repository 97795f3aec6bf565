/* SPDX-License-Identifier: MIT */
/* The machine around the CPU; see the header. */
#include "tests/unit/mmio/mmio_world.h"

#include "arch/x86/reg_bits.h"
#include "mmu/spte.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct world world;
uint8_t (*world_ram)[PAGE_SIZE];

static const struct walk_limits limits = {.physical_bits = 40, .page_1g = true};

/* ---- Slots and SPTEs ------------------------------------------------------------------------- */

static uint32_t id_of(uint64_t gpa)
{
    return (uint32_t)(gpa / PAGE_SIZE);
}

void world_slot_add(uint64_t gpa, uint64_t pages, uint32_t flags)
{
    assert_int_equal(mmu_slot_add(&world.mmu, id_of(gpa), GPA(gpa), pages, flags), 0);
}

void world_slot_delete(uint64_t gpa)
{
    assert_int_equal(mmu_slot_delete(&world.mmu, id_of(gpa)), 0);
}

uint8_t *world_page(uint64_t gpa)
{
    uint8_t byte;
    assert_int_equal(guest_read(&world.mmu, GPA(gpa), &byte, 1, ACCESS_READ), 0);
    return phys_to_virt(virt_to_phys(guest_page(&world.mmu, GPA(gpa), ACCESS_READ)));
}

void world_mmio_spte(uint64_t gpa)
{
    struct mmio_info info;
    assert_int_equal(mmu_fault(&world.mmu, GPA(gpa), ACCESS_READ | FAULT_FINAL, &info),
                     FAULT_EMULATE);
    assert_true(spte_is_mmio(*world_sptep(gpa), world.mmu.mmio_value));
}

uint64_t *world_sptep(uint64_t gpa)
{
    uint64_t *table = phys_to_virt(HPA(mmu_eptp(&world.mmu) & EPTP_ADDRESS));
    for (unsigned level = world.mmu.root_level;; level--) {
        uint64_t *sptep = &table[ept_index(gpa_to_alias(GPA(gpa)), level)];
        if (!spte_is_nonleaf(*sptep, level))
            return sptep;
        table = phys_to_virt(spte_page(*sptep));
    }
}

/* ---- The guest's tables ---------------------------------------------------------------------- */

static uint64_t new_table(void)
{
    uint64_t gpa = world.next_table;
    world.next_table += PAGE_SIZE;
    assert_true(world.next_table <= WORLD_RAM_SIZE);
    memset(world_table(gpa), 0, PAGE_SIZE);
    return gpa;
}

uint64_t world_new_cr3(void)
{
    uint64_t cr3 = new_table();
    world_map(cr3, WORLD_CODE, WORLD_CODE, PTE_P | PTE_W | PTE_U);
    world_map(cr3, WORLD_CODE + PAGE_SIZE, WORLD_CODE + PAGE_SIZE, PTE_P | PTE_W | PTE_U);
    return cr3;
}

uint64_t *world_entry(uint64_t cr3, uint64_t gva, unsigned level)
{
    uint64_t table = cr3;
    for (unsigned l = 4;; l--) {
        uint64_t *entry = (uint64_t *)world_table(table) + (gva >> (12 + 9 * (l - 1)) & 511);
        if (l == level)
            return entry;
        if (!(*entry & PTE_P))
            *entry = new_table() | PTE_P | PTE_W | PTE_U;
        table = *entry & 0xffffffffff000ull;
    }
}

void world_map(uint64_t cr3, uint64_t gva, uint64_t gpa, uint64_t flags)
{
    *world_pte(cr3, gva) = gpa | flags;
}

void world_code(const void *bytes, unsigned size)
{
    memcpy(world_ram[WORLD_CODE / PAGE_SIZE], bytes, size);
    world.regs[REG_RIP] = WORLD_CODE;
}

/* ---- Birth and death ------------------------------------------------------------------------- */

static void init_memory(void)
{
    struct mmio_info info;
    world_cpu_reset();
    assert_int_equal(mmu_create(&world.mmu), 0);
    world_slot_add(0, WORLD_RAM_PAGES, 0);
    assert_int_equal(mmu_fault(&world.mmu, GPA(0), ACCESS_WRITE | FAULT_FINAL, &info), FAULT_FIXED);
    assert_int_equal(mmu_stats(&world.mmu).pages[1],
                     1); /* one block: world_ram reaches all of it */
    world_ram = (void *)world_page(0);
}

static void init_registers(void)
{
    world.regs[REG_CR3] = world_new_cr3();
    world.regs[REG_CR0] = CR0_PE | CR0_PG | CR0_WP;
    world.regs[REG_CR4] = CR4_PAE;
    world.regs[REG_EFER] = EFER_LMA | EFER_NXE;
    world.regs[REG_RFLAGS] = 2;
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        world.regs[REG_SEG_LIMIT + i] = 0xffffffff;
        world.regs[REG_SEG_AR + i] = i == SEG_CS ? AR_CODE64 : AR_DATA32;
    }
}

void world_init(enum gva_cache mode)
{
    if (world.mmu.composite)
        assert_int_equal(world_end(NULL), 0);
    memset(&world, 0, sizeof(world));
    init_memory();
    world.next_table = 0x20000;
    init_registers();
    bus_init(&world.bus, "mmio", ~0ull >> 12);
    testdev_init(&world.a, 'A');
    testdev_init(&world.b, 'B');
    assert_int_equal(bus_add(&world.bus, TESTDEV_A_BASE, TESTDEV_SIZE, &testdev_ops, &world.a), 0);
    assert_int_equal(bus_add(&world.bus, TESTDEV_B_BASE, TESTDEV_SIZE, &testdev_ops, &world.b), 0);
    mmio_vcpu_init(&world.vcpu, &world.cpu, &world.mmu, &world.bus, &limits, mode);
}

int world_end(void **state)
{
    (void)state;
    world_during_update(NULL);
    mmu_destroy(&world.mmu);
    return support_pages_in_use() || support_warnings() ? -1 : 0;
}

/* ---- Randomness ------------------------------------------------------------------------------ */

static uint64_t random_state;

uint64_t world_seed(void)
{
    const char *seed = getenv("SEED");
    random_state = seed ? strtoull(seed, NULL, 0) : (uint64_t)time(NULL);
    printf("SEED=%llu\n", (unsigned long long)random_state);
    return random_state;
}

/* splitmix64's shape: a counter, mixed. */
uint64_t world_random(void)
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}
