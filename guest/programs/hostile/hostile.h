/* SPDX-License-Identifier: MIT */
/*
 * A guest that tries everything: shared by the files of the program `hostile`.
 *
 * A VM executes `steps` steps on each of its CPUs. A step is a short program of random instructions
 * (atoms.c, bytes.c), run in a random mode with random registers (run.S, legacy.S) until a fault,
 * the interrupt or NMI that was requested for it, or its last instruction ends it. A step depends
 * only on the seed, the CPU and the step's number, so a run can be repeated with some steps left
 * out; tools/hostile.py shrinks a failure in this way. State that a step has spoilt (control
 * registers, tables, segments) is restored before the next one as far as possible: the VM may die,
 * but no other VM may be affected.
 */
#pragma once

#include "guest/programs/hostile/layout.h"
#include "guest/programs/rt/rt.h"

enum hostile_mode {
    MODE_64,
    MODE_64_USER,
    MODE_COMPAT,
    MODE_COMPAT_USER,
    MODE_COMPAT_16,
    MODE_FIRST_LEGACY,
    MODE_FLAT = MODE_FIRST_LEGACY, /* 32-bit without paging */
    MODE_PAGING_32,
    MODE_PAE,
    MODE_PAE_USER,
    MODE_PROTECTED_16,
    MODE_V86,
    MODE_REAL,
    MODE_COUNT,
};

/* What a CPU starts a step with. run.S and legacy.S know this layout. */
struct hostile_cpu {
    uint64_t saved_rsp;
    uint64_t vector;   /* the vector that ended the last step; HOSTILE_LEGACY: unknown */
    uint64_t regs[16]; /* by their numbers */
    uint64_t rip, cs, rflags, rsp, ss;
    uint32_t cr0, cr3, cr4, real; /* legacy modes */

    unsigned number;
    uint64_t random, step;
    uint8_t *code; /* a page, mapped for users at USER_VA, too */
    uint64_t recovered;
    bool wide; /* 64-bit code */
};

#define HOSTILE_LEGACY 0x100

/* The low megabytes, mapped again for CPL 3. */
#define USER_VA (TEST_VA + 0x0ull)
/* The last GiB below 4 GiB, at shared addresses if the VM has these. */
#define SHARED_VA(gpa) (USER_VA + (gpa)-0x80000000ull)
#define SHARED_BIT     39
/* 512 pages that the steps map at random. */
#define PLAY_VA (TEST_VA + 0x8000000000ull)

/* The arguments of the program. */
extern uint64_t hostile_sides; /* 1: the VM has private and shared memory */
extern bool hostile_calm; /* no code that could spin with interrupts off, for nested machines */

uint64_t rnd(struct hostile_cpu *cpu);
/* A random number below n. */
uint64_t pick(struct hostile_cpu *cpu, uint64_t n);
static inline bool one_in(struct hostile_cpu *cpu, uint64_t n)
{
    return !pick(cpu, n);
}
#define PICK(cpu, list) ((list)[pick(cpu, ARRAY_SIZE(list))])
#define ARRAY_SIZE(a)   (sizeof(a) / sizeof((a)[0]))

/* A number or an address that is likely to reveal a bug. */
uint64_t any_value(struct hostile_cpu *cpu);
uint64_t any_address(struct hostile_cpu *cpu);
uint64_t any_gpa(struct hostile_cpu *cpu);
uint64_t any_pte(struct hostile_cpu *cpu);
uint64_t any_descriptor(struct hostile_cpu *cpu);
uint64_t any_selector(struct hostile_cpu *cpu);

/* A program that is being generated: `bits` is 16, 32 or 64. */
struct code {
    uint8_t *at, *end;
    unsigned bits;
};
void emit(struct code *code, const uint8_t *bytes, size_t count);
void emit_number(struct code *code, uint64_t value, unsigned bytes);
#define EMIT(code, ...) \
    emit(code, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))
void emit_mov(struct code *code, unsigned reg, uint64_t value);

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI };

/* Emits one or more instructions (atoms.c), or random bytes (bytes.c). */
void any_atom(struct hostile_cpu *cpu, struct code *code, unsigned profile);
void any_bytes(struct hostile_cpu *cpu, struct code *code);
#define PROFILES 8u

#define MODRM(reg, rm)  (uint8_t)(0xc0 | (reg) << 3 | (rm))
#define AT_RSI(reg)     (uint8_t)((reg) << 3 | RSI)
#define IN_16(code, rm) ((code)->bits == 16 ? 4 : (rm)) /* in 16-bit code, [SI] is encoded as 4 */

static inline void any_in(struct hostile_cpu *cpu, struct code *code, unsigned reg)
{
    emit_mov(code, reg, any_value(cpu));
}

static inline void point_at(struct hostile_cpu *cpu, struct code *code, unsigned reg)
{
    emit_mov(code, reg, any_address(cpu));
}

/* The atoms of registers.c. */
void atom_cr(struct hostile_cpu *cpu, struct code *code);
void atom_dr(struct hostile_cpu *cpu, struct code *code);
void atom_endless(struct hostile_cpu *cpu, struct code *code);
void atom_msr(struct hostile_cpu *cpu, struct code *code);
void atom_cpuid(struct hostile_cpu *cpu, struct code *code);
void atom_xstate(struct hostile_cpu *cpu, struct code *code);

/* Tables (tables.c). */
extern uint64_t hostile_gdt[][GDT_SLOTS], play_table[512], hostile_pdptes[512];
extern uint32_t directory_32[1024];
extern uint64_t hostile_idt[512], legacy_idt[256];
uint64_t gate(const void *handler, uint64_t kind);
void tables_init(void);
void tables_sanitize(struct hostile_cpu *cpu);
uint64_t trap_stack(unsigned cpu);

/* Runs the function. Returns 1 if an exception or interrupt ended it (run.S). */
int hostile_guarded(struct hostile_cpu *cpu, void (*run)(struct hostile_cpu *cpu));
/* Starts the step, which only an exception or interrupt ends. */
void hostile_enter(struct hostile_cpu *cpu);
void hostile_enter_legacy(struct hostile_cpu *cpu);
extern uint8_t hostile_vectors[][16], hostile_legacy_vector[], hostile_recovered[];
extern uint8_t real_begin[], real_vector[], real_end[];
