/* SPDX-License-Identifier: MIT */
/*
 * Two tasks in a memory of 64 KiB, and what vm/task.c may do with it, for the tests of task
 * switches.
 */
#pragma once

#include "tests/unit/support.h"

#include "vm/task.h"

#include <string.h>

#define GDT     0x1000u
#define LDT     0x2000u
#define OLD_TSS 0x3000u
#define NEW_TSS 0x4000u
#define STACK   0x8000u
#define ENTRIES 16u
#define SIZE    0x10000u
#define FLAG_NT 0x4000u
#define FLAG_VM 0x20000u
#define NEW_CR3 0x7000u

/* Selectors. */
enum {
    CODE = 0x08,
    DATA = 0x10,
    TSS_A = 0x18, /* of the old task */
    TSS_B = 0x20,
    LOCAL = 0x28, /* an LDT */
    CODE3 = 0x30 | 3,
    DATA3 = 0x38 | 3,
    CONFORMING = 0x40,
    UNREADABLE = 0x48, /* code */
    READ_ONLY = 0x50,
    ABSENT_DATA = 0x58,
    ABSENT_CODE = 0x60,
    STACK16 = 0x68, /* a stack segment of 64 KiB */
};

static struct {
    uint8_t memory[SIZE];
    struct task_cpu cpu;
    uint32_t cr3;
    bool refuse_cr3;
    long left; /* number of accesses before one fails; negative: none fails */
    unsigned cpl;
} world;

/* ---- Memory ---------------------------------------------------------------------------------- */

static inline bool fails(void)
{
    return world.left >= 0 && world.left-- == 0;
}

static inline uint8_t *at(uint32_t address, unsigned size)
{
    return address < SIZE && size <= SIZE - address ? world.memory + address : NULL;
}

static inline bool read(void *context, uint32_t address, void *bytes, unsigned size)
{
    (void)context;
    if (fails() || !at(address, size))
        return false;
    memcpy(bytes, at(address, size), size);
    return true;
}

static inline bool write(void *context, uint32_t address, const void *bytes, unsigned size)
{
    (void)context;
    if (fails() || !at(address, size))
        return false;
    memcpy(at(address, size), bytes, size);
    return true;
}

static inline bool push(void *context, uint32_t address, const void *bytes, unsigned size,
                        unsigned cpl)
{
    world.cpl = cpl;
    return write(context, address, bytes, size);
}

static inline bool check(void *context, uint32_t address, unsigned size)
{
    (void)context;
    return !fails() && at(address, size);
}

static inline bool change(void *context, uint32_t address, uint8_t clear, uint8_t set)
{
    (void)context;
    if (fails() || !at(address, 1))
        return false;
    *at(address, 1) = (uint8_t)((*at(address, 1) & ~clear) | set);
    return true;
}

static inline bool set_cr3(void *context, uint32_t cr3)
{
    (void)context;
    world.cr3 = cr3;
    return !world.refuse_cr3;
}

static const struct task_memory memory = {read, write, push, check, change, set_cr3, NULL};

/* ---- The world ------------------------------------------------------------------------------- */

static inline uint64_t get(uint32_t address, unsigned size)
{
    uint64_t value = 0;
    memcpy(&value, world.memory + address, size);
    return value;
}

static inline void put(uint32_t address, uint64_t value, unsigned size)
{
    memcpy(world.memory + address, &value, size);
}

static inline void describe(uint16_t selector, uint32_t base, uint32_t limit, uint32_t rights)
{
    uint64_t d = (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 |
                 (uint64_t)(rights & 0xff) << 40 | (uint64_t)(limit >> 16 & 0xf) << 48 |
                 (uint64_t)(rights >> 12 & 0xf) << 52 | (uint64_t)(base >> 24) << 56;
    put(GDT + (selector & 0xfff8u), d, 8);
}

static inline unsigned rights_of(uint16_t selector)
{
    return world.memory[GDT + (selector & 0xfff8u) + 5];
}

static struct task_segment flat(uint16_t selector, uint32_t rights)
{
    return (struct task_segment){selector, rights, 0xffffffff, 0};
}

/* The fields of a 16-bit and of a 32-bit TSS that tests set, and their offsets. */
enum field { CR3, EIP, EFLAGS, ESP, ES, CS, SS, DS, FS, GS, LDT_FIELD, TRAP, FIELDS };
static const uint8_t offsets[2][FIELDS] = {
    {0, 0x0e, 0x10, 0x1a, 0x22, 0x24, 0x26, 0x28, 0, 0, 0x2a, 0},
    {0x1c, 0x20, 0x24, 0x38, 0x48, 0x4c, 0x50, 0x54, 0x58, 0x5c, 0x60, 0x64},
};

static inline void set_field(bool wide, enum field field, uint32_t value)
{
    if (offsets[wide][field])
        put(NEW_TSS + offsets[wide][field], value, wide && (field <= ESP) ? 4 : 2);
}

/* `old_wide` and `new_wide`: the TSS has 32 bits. */
static inline void setup(bool old_wide, bool new_wide, bool busy)
{
    memset(&world, 0, sizeof(world));
    world.left = -1;
    describe(CODE, 0, 0xfffff, 0xc09a);
    describe(DATA, 0, 0xfffff, 0xc092);
    describe(TSS_A, OLD_TSS, 0x67, old_wide ? 0x8b : 0x83);
    describe(TSS_B, NEW_TSS, 0x67, (new_wide ? 0x89u : 0x81u) | (busy ? 2 : 0));
    describe(LOCAL, LDT, 0x7f, 0x82);
    describe(CODE3, 0, 0xfffff, 0xc0fa);
    describe(DATA3, 0, 0xfffff, 0xc0f2);
    describe(CONFORMING, 0, 0xfffff, 0xc09e);
    describe(UNREADABLE, 0, 0xfffff, 0xc098);
    describe(READ_ONLY, 0, 0xfffff, 0xc090);
    describe(ABSENT_DATA, 0, 0xfffff, 0xc012);
    describe(ABSENT_CODE, 0, 0xfffff, 0xc01a);
    describe(STACK16, 0, 0xffff, 0x0092);
    memcpy(world.memory + LDT, world.memory + GDT, 0x80);
    world.cpu = (struct task_cpu){
        .eip = 0x11112222,
        .eflags = 0x202 | FLAG_NT,
        .gpr = {0xa0a1a2a3, 0xb0b1b2b3, 0xc0c1c2c3, 0xd0d1d2d3, STACK, 0xe0e1e2e3, 0xf0f1f2f3,
                0x10203},
        .cr3 = 0x6000,
        .dr7 = 0x7ff,
        .tr = {TSS_A, old_wide ? 0x8b : 0x83, 0x67, OLD_TSS},
        .ldtr = {0, SEG_AR_UNUSABLE, 0, 0},
        .gdt_base = GDT,
        .gdt_limit = 8 * ENTRIES - 1,
        .paging = true,
    };
    for (unsigned i = 0; i < SEG_COUNT; i++)
        world.cpu.segments[i] = flat(DATA, 0xc093);
    world.cpu.segments[SEG_CS] = flat(CODE, 0xc09b);
    for (uint32_t i = 0; i < 8; i++)
        put(NEW_TSS + (new_wide ? 0x28 + 4 * i : 0x12 + 2 * i), 0x55550000 + 0x1111 * i,
            new_wide ? 4u : 2u);
    set_field(new_wide, CR3, NEW_CR3);
    set_field(new_wide, EIP, 0x1234);
    set_field(new_wide, EFLAGS, 0x246);
    set_field(new_wide, ESP, STACK);
    set_field(new_wide, CS, CODE);
    set_field(new_wide, SS, DATA);
    set_field(new_wide, DS, DATA);
    set_field(new_wide, ES, DATA);
    set_field(new_wide, FS, DATA);
    set_field(new_wide, GS, 0);
    set_field(new_wide, LDT_FIELD, LOCAL);
}

static struct task_outcome go(enum task_source source, bool has_error)
{
    const struct task_request request = {
        .source = source,
        .selector = TSS_B,
        .external = has_error,
        .has_error = has_error,
        .error_code = 0x4321,
    };
    return task_switch(&world.cpu, &request, &memory);
}
