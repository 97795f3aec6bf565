/* SPDX-License-Identifier: MIT */
/* TDCALLs whose registers are all checked, for the parts of the guest `td_leaves`. */
#pragma once

#include "guest/programs/rt/td.h"

#define VECTOR_DF 8
#define VECTOR_VE 20

#define INVALID   0xc000010000000000ull /* TDX_OPERAND_INVALID, with the operand's number */
#define NO_VE     0xc000070400000000ull
#define ACCEPTED  0x00000b0a00000000ull
#define MISMATCH  0xc0000b0b00000000ull
#define NO_FIELD  0xc0000c0000000000ull
#define READ_ONLY 0xc0000c0100000000ull
#define BAD_VALUE 0xc0000c0300000000ull

#define VMCALL_INVALID 0x8000000000000000ull
#define VMCALL_ALIGN   0x8000000000000002ull
#define VMCALL_UNKNOWN 0x8000000000000003ull

#define PAGE  0xa00000ull /* of RAM, after the program */
#define LARGE 0xc00000ull

#define SHARED       BIT(39)
#define LEAVES       25
#define CONFIG_FLAGS 0x1110000300000016ull
#define TD_CTLS      0x1110000300000017ull
#define NOTIFY       0x9110000300000010ull

enum {
    VMCALL = 0,
    INFO = 1,
    VEINFO_GET = 3,
    CPUIDVE_SET = 5,
    ACCEPT = 6,
    VM_RD = 7,
    VM_WR = 8,
    ATTR_RD = 23,
    ATTR_WR = 24,
};

/* Registers by their place in struct td_registers. */
#define RAX BIT(0)
#define RCX BIT(1)
#define RDX BIT(2)
#define R8  BIT(7)
#define R9  BIT(8)
#define R10 BIT(9)
#define R11 BIT(10)
#define R12 BIT(11)
#define R13 BIT(12)
#define R14 BIT(13)

/* ---- Calls ----------------------------------------------------------------------------------- */

/* All registers have values of their own, so that a change of any of them is seen. */
static inline struct td_registers filled(uint64_t leaf)
{
    struct td_registers r;
    uint64_t *word = &r.rax;
    for (unsigned i = 0; i < sizeof(r) / 8; i++)
        word[i] = 0x1111111111111111ull * (i + 1);
    r.rax = leaf;
    return r;
}

/* Calls, and checks RAX and that no register has changed but those of `outputs`. */
static inline struct td_registers call(struct td_registers r, uint64_t status, uint64_t outputs)
{
    const struct td_registers before = r;
    const uint64_t *was = &before.rax;
    execute_tdcall(&r);
    const uint64_t *is = &r.rax;
    EXPECT_EQ(r.rax, status);
    for (unsigned i = 1; i < sizeof(r) / 8; i++)
        if (!(outputs >> i & 1) && is[i] != was[i]) {
            note("changed", i);
            EXPECT_EQ(is[i], was[i]);
        }
    return r;
}

static inline struct td_registers call_with(uint64_t leaf, uint64_t rcx, uint64_t rdx, uint64_t r8,
                                            uint64_t r9, uint64_t status, uint64_t outputs)
{
    struct td_registers r = filled(leaf);
    r.rcx = rcx;
    r.rdx = rdx;
    r.r8 = r8;
    r.r9 = r9;
    return call(r, status, outputs);
}

static inline struct td_registers get_ve(void)
{
    return call(filled(VEINFO_GET), 0, RCX | RDX | R8 | R9 | R10);
}

/* The tests that the two files call of each other. */
void no_ve_information(void);
void ve_instructions(void), ve_shared_addresses(void), ve_nested(void), ve_nmis_wait(void);
