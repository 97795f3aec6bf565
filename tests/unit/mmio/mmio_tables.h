/* SPDX-License-Identifier: MIT */
/* A guest with a descriptor table of 32 entries and a stack, for instructions that use them. */
#pragma once

#include "tests/unit/mmio/mmio_vectors.h"
#include "arch/x86/reg_bits.h"
#include "tests/unit/mmio/mmio_places.h"

#include <string.h>

#define TABLE 0x9000ull /* GPA and GVA of the GDT or LDT */
#define STACK 0xa000ull

#define LIMIT 0xff
#define LONG  0x20 /* in the byte of the upper limit: L, and D below */
#define D_BIT 0x40

static uint64_t table[32];

static inline int setup(void **state)
{
    (void)state;
    world_init(GVA_CACHE_VERIFY);
    world_map_devices();
    world_map(world.regs[REG_CR3], TABLE, TABLE, PTE_P | PTE_W);
    world_map(world.regs[REG_CR3], STACK, STACK, PTE_P | PTE_W);
    memset(table, 0, sizeof(table));
    world.regs[REG_GDTR_BASE] = world.regs[REG_SEG_BASE + SEG_LDTR] = TABLE;
    world.regs[REG_GDTR_LIMIT] = LIMIT;
    world.regs[REG_SEG_AR + SEG_LDTR] = SEG_AR_UNUSABLE;
    world.cpu.gpr[GPR_RAX] = V;
    return 0;
}

/* Protected mode without IA-32e mode; `cpl` in both CS and SS. */
static inline void narrow(unsigned cpl)
{
    world.regs[REG_EFER] = 0;
    world.regs[REG_CR0] = CR0_PE;
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        world.regs[REG_SEG_AR + i] = (i == SEG_CS ? AR_CODE32 : AR_DATA32) | cpl << 5;
        world.regs[REG_SEG_LIMIT + i] = ~0u;
    }
    world.cpu.gpr[GPR_RAX] = A;
}

static inline void store_table(void)
{
    memcpy(world_ram[TABLE / PAGE_SIZE], table, sizeof(table));
}

static inline uint64_t table_word(unsigned index)
{
    uint64_t word;
    memcpy(&word, world_ram[TABLE / PAGE_SIZE] + 8 * index, 8);
    return word;
}

static inline uint64_t segment(uint32_t base, uint32_t limit, unsigned rights, unsigned flags)
{
    return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)rights << 40 |
           (uint64_t)(limit >> 16 & 15) << 48 | (uint64_t)(flags & 0xf0) << 48 |
           (uint64_t)(base >> 24) << 56;
}

/* A fault; unlike with assert_fault(), the device may have been read. */
static inline void assert_raised(enum mmio_outcome outcome, uint8_t vector, bool has_error_code)
{
    assert_int_equal(outcome, MMIO_INJECT);
    assert_int_equal(world.vcpu.fault.vector, vector);
    assert_int_equal(world.vcpu.fault.has_error_code, has_error_code);
    assert_int_equal(world.regs[REG_RIP], WORLD_CODE);
    assert_int_equal(world.a.writes, 0);
}

static inline void put16(unsigned at, uint16_t value)
{
    memcpy(&world.a.ram[at], &value, 2);
}
