/* SPDX-License-Identifier: MIT */
/*
 * Random cases for test_mmio_native.c: an instruction of a given row, in a given kind of code, and
 * registers that lead its operand to a device or across the device's border.
 *
 * Four pages in a row hold the operands: RAM, two pages of the device, RAM.
 */
#pragma once

#include "tests/unit/mmio/mmio_world.h"
#include "tests/unit/mmio/native.h"

#define DEVICE_FIRST (NATIVE_BASE + PAGE_SIZE)
#define DEVICE_END   (NATIVE_BASE + 3 * PAGE_SIZE)

struct test_case {
    const struct insn_row *row;
    const struct native_mode *mode;
    enum code_size code_size;
    uint8_t code[INSN_MAX + 16];
    unsigned length;
    struct insn insn;
    struct native_state before;
    uint64_t operand; /* the linear address, but for strings */
    bool address_16;
};

static inline bool is_string(const struct insn_row *row)
{
    return row->op >= INSN_MOVS && row->op <= INSN_SCAS;
}

static inline bool uses_stack(const struct insn_row *row)
{
    return row->op == INSN_PUSH || row->op == INSN_POP || row->op == INSN_CALL;
}

static inline bool is_stack_only(const struct insn_row *row)
{
    return row->op >= INSN_PUSH_VALUE && row->op <= INSN_LEAVE;
}

static inline bool is_branch(const struct insn_row *row)
{
    return row->op == INSN_CALL || row->op == INSN_JMP || row->op == INSN_RET ||
           row->op == INSN_CALL_NEAR;
}

/* How many bytes the instruction accesses as one operand. ENTER pushes a second value if its level
 * is 1. */
static inline unsigned operand_bytes(const struct test_case *c)
{
    return c->insn.op == INSN_ENTER && c->insn.imm >> 16 ? 2u * c->insn.size : c->insn.size;
}

/* The linear address that a register of a string instruction holds. */
static inline uint64_t string_address(const struct test_case *c, uint64_t value)
{
    return c->mode->ds_base + (value & c->insn.address_mask & 0xffffffff);
}

/* Makes a case. False: what came out is no such instruction; try again. */
bool native_case_make(struct test_case *c, const struct insn_row *row, enum code_size code_size);

/* Fills the four pages with bytes, some of which make comparisons succeed and branches land. */
void native_case_memory(const struct test_case *c);
