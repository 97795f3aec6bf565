/* SPDX-License-Identifier: MIT */
/* Where the MMIO tests have their devices, and running an instruction that reaches them. */
#pragma once

#include "tests/unit/mmio/mmio_world.h"

#include "mmio/emulate.h"

#define V      0x40000000ull /* guest-virtual: device A, device B, RAM, a page each */
#define A      ((uint64_t)TESTDEV_A_BASE)
#define B      ((uint64_t)TESTDEV_B_BASE)
#define KERNEL (PTE_P | PTE_W)
#define USER   (PTE_P | PTE_W | PTE_U)

static inline void world_map_devices(void)
{
    world_map(world.regs[REG_CR3], V, A, KERNEL);
    world_map(world.regs[REG_CR3], V + 4096, B, KERNEL);
    world_map(world.regs[REG_CR3], V + 8192, 0x9000, KERNEL);
    world_mmio_spte(A);
    world_mmio_spte(B);
}

static inline enum mmio_outcome run_code(const void *code, unsigned size, uint64_t gpa)
{
    world_code(code, size);
    return world_misconfig(GPA(gpa), false);
}

#define CODE(...) ((const uint8_t[]){__VA_ARGS__}), sizeof((const uint8_t[]){__VA_ARGS__})

static inline void assert_fault(enum mmio_outcome outcome, uint8_t vector, bool has_error_code)
{
    assert_int_equal(outcome, MMIO_INJECT);
    assert_int_equal(world.vcpu.fault.vector, vector);
    assert_int_equal(world.vcpu.fault.has_error_code, has_error_code);
    assert_int_equal(world.regs[REG_RIP], WORLD_CODE);
    assert_int_equal(world.a.reads + world.a.writes, 0);
}
