/* SPDX-License-Identifier: MIT */
/*
 * Each row of the table in 64, 32 and 16-bit code, executed by this machine's CPU on memory and by
 * the emulator on a device that holds the same bytes, from the same random registers, flags and
 * memory: both must end in the same state, or raise the same fault. NATIVE_CASES says how many
 * cases each row gets in each kind of code.
 */
#include "tests/unit/mmio/mmio_vectors.h"
#include "arch/x86/reg_bits.h"
#include "tests/unit/mmio/native_case.h"

#include "mmio/alu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEVICE 0xfd000000ull /* two pages */
#define RAM0   0x9000ull
#define RAM1   0xa000ull

#define VECTOR_BR 5

#define CODE_PAGE (NATIVE_CODE & PAGE_MASK)

/* ---- The device: memory, and a count of accesses --------------------------------------------- */

static uint8_t device[2 * PAGE_SIZE];
static unsigned device_reads, device_writes;

static uint64_t device_read(void *opaque, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size)
{
    uint64_t value = 0;
    (void)opaque;
    (void)vcpu;
    assert_true(size >= 1 && size <= 8 && offset + size <= sizeof(device));
    memcpy(&value, &device[offset], size);
    device_reads++;
    return value;
}

static void device_write(void *opaque, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                         uint64_t value)
{
    (void)opaque;
    (void)vcpu;
    assert_true(size >= 1 && size <= 8 && offset + size <= sizeof(device));
    memcpy(&device[offset], &value, size);
    device_writes++;
}

static const struct bus_ops device_ops = {
    .name = "native", .read = device_read, .write = device_write};

static bool has_avx;

/* ---- The emulator ---------------------------------------------------------------------------- */

/* The GPA of the first byte in the device of `size` bytes, or 0. */
static uint64_t in_device(uint64_t linear, unsigned size)
{
    for (unsigned i = 0; i < size; i++)
        if (linear + i >= DEVICE_FIRST && linear + i < DEVICE_END)
            return DEVICE + linear + i - DEVICE_FIRST;
    return 0;
}

/* What the CPU would exit for. */
static uint64_t exit_gpa(const struct test_case *c)
{
    const struct insn *i = &c->insn;
    const uint64_t *gpr = world.cpu.gpr;
    uint64_t gpa = 0;
    if (is_string(c->row)) {
        if (c->row->flags & INSN_SI)
            gpa = in_device(string_address(c, gpr[GPR_RSI]), i->size);
        return gpa ? gpa : in_device(string_address(c, gpr[GPR_RDI]), i->size);
    }
    if (is_stack_only(c->row))
        return in_device(c->operand, operand_bytes(c));
    if (i->op == INSN_POP)
        gpa = in_device(c->before.gpr[GPR_RSP], i->size);
    if (!gpa)
        gpa = in_device(c->operand, i->size);
    return gpa ? gpa : in_device(c->before.gpr[GPR_RSP] - i->size, i->size);
}

static void load_memory(void)
{
    memcpy(world_ram[RAM0 / PAGE_SIZE], native_page(0), PAGE_SIZE);
    memcpy(device, native_page(1), sizeof(device));
    memcpy(world_ram[RAM1 / PAGE_SIZE], native_page(3), PAGE_SIZE);
}

/* The mode's segments, in a guest whose paging is that of 64-bit code in all of them. */
static void load_mode(const struct native_mode *mode)
{
    static const uint64_t data[] = {AR_DATA16, AR_DATA32, AR_DATA32};
    static const uint64_t code[] = {AR_CODE16, AR_CODE32, AR_CODE64};
    unsigned which = (unsigned)(mode - native_modes);
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        bool narrow = mode->bits == 16 && (i == SEG_CS || i == SEG_DS || i == SEG_ES);
        world.regs[REG_SEG_BASE + i] = !narrow ? 0 : i == SEG_CS ? mode->cs_base : mode->ds_base;
        world.regs[REG_SEG_LIMIT + i] = narrow ? 0xffff : 0xffffffff;
        world.regs[REG_SEG_AR + i] = i == SEG_CS ? code[which] : data[narrow ? 0 : 1];
    }
    world.regs[REG_SEG_SELECTOR + SEG_CS] = mode->cs;
    world.regs[REG_SEG_SELECTOR + SEG_DS] = world.regs[REG_SEG_SELECTOR + SEG_ES] = mode->ds;
}

static unsigned emulate(struct test_case *c, struct native_state *state)
{
    enum mmio_outcome outcome;
    uint64_t rip = NATIVE_CODE - c->mode->cs_base;
    load_memory();
    load_mode(c->mode);
    memcpy(world.cpu.gpr, state->gpr, sizeof(state->gpr));
    world.regs[REG_RSP] = state->gpr[GPR_RSP];
    world.cpu.gpr[GPR_RSP] = 0x5a5a;
    world.regs[REG_RFLAGS] = state->rflags | 0x202;
    memcpy(vectors, state->vectors, sizeof(vectors));
    memcpy(vectors_mmx, state->mmx, sizeof(vectors_mmx));
    memcpy(world_ram[WORLD_CODE / PAGE_SIZE] + page_offset(NATIVE_CODE), c->code, c->length);
    world.regs[REG_RIP] = rip;
    device_reads = device_writes = 0;
    do
        outcome = world_misconfig(GPA(exit_gpa(c)), false);
    while (outcome == MMIO_DONE && world.regs[REG_RIP] == rip);
    if (outcome == MMIO_INJECT)
        return world.vcpu.fault.vector == 0 ? 0x100 : world.vcpu.fault.vector;
    if (outcome != MMIO_DONE)
        return 0x200 + outcome;
    memcpy(state->gpr, world.cpu.gpr, sizeof(state->gpr));
    state->gpr[GPR_RSP] = world.regs[REG_RSP];
    state->rflags = world.regs[REG_RFLAGS];
    memcpy(state->vectors, vectors, sizeof(vectors));
    memcpy(state->mmx, vectors_mmx, sizeof(vectors_mmx));
    return 0;
}

/* ---- Comparing ------------------------------------------------------------------------------- */

static void complain(const struct test_case *c, const char *what, uint64_t ours, uint64_t theirs)
{
    fprintf(stderr, "%s: %s is %#llx, the CPU says %#llx; %u-bit code", c->row->mnemonic, what,
            (unsigned long long)ours, (unsigned long long)theirs, c->mode->bits);
    for (unsigned i = 0; i < c->length; i++)
        fprintf(stderr, " %02x", c->code[i]);
    fprintf(stderr, "; operand at %#llx\n", (unsigned long long)c->operand);
    fail();
}

#define SAME(what, ours, theirs)                                     \
    do {                                                             \
        if ((uint64_t)(ours) != (uint64_t)(theirs))                  \
            complain(c, what, (uint64_t)(ours), (uint64_t)(theirs)); \
    } while (0)

static void compare_page(const struct test_case *c, const char *what, const uint8_t *ours,
                         const uint8_t *theirs)
{
    if (memcmp(ours, theirs, PAGE_SIZE) == 0)
        return;
    for (unsigned i = 0; i < PAGE_SIZE; i++)
        SAME(what, ours[i], theirs[i]);
}

static void compare_memory(const struct test_case *c)
{
    compare_page(c, "RAM below", world_ram[RAM0 / PAGE_SIZE], native_page(0));
    compare_page(c, "the device's first page", device, native_page(1));
    compare_page(c, "the device's second page", device + PAGE_SIZE, native_page(2));
    compare_page(c, "RAM above", world_ram[RAM1 / PAGE_SIZE], native_page(3));
}

/* How many accesses an operand is for the device. */
static unsigned pieces(uint64_t linear, unsigned size)
{
    unsigned count = 0;
    for (unsigned page = 1; page <= 2; page++) {
        uint64_t first = NATIVE_BASE + page * PAGE_SIZE, end = first + PAGE_SIZE;
        uint64_t from = linear > first ? linear : first;
        uint64_t to = linear + size < end ? linear + size : end;
        if (from < to)
            count += (unsigned)(to - from + 7) / 8;
    }
    return count;
}

static void compare_state(const struct test_case *c, const struct native_state *ours,
                          const struct native_state *theirs)
{
    static const char *const names[] = {"RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI",
                                        "R8",  "R9",  "R10", "R11", "R12", "R13", "R14", "R15"};
    uint64_t mask = c->mode->bits == 64 ? ~0ull : 0xffffffff;
    for (unsigned i = 0; i < (c->mode->bits == 64 ? 16u : 8u); i++)
        SAME(names[i], ours->gpr[i] & mask, theirs->gpr[i] & mask);
    uint64_t flags = ALU_FLAGS | RFLAGS_DF;
    SAME("RFLAGS", ours->rflags & flags, theirs->rflags & flags);
    for (unsigned i = 0; has_avx && i < sizeof(ours->vectors); i++)
        SAME("a vector register", ours->vectors[i / 32][i % 32], theirs->vectors[i / 32][i % 32]);
    for (unsigned i = 0; i < 8; i++)
        SAME("an MMX register", ours->mmx[i], theirs->mmx[i]);
    uint64_t next = is_branch(c->row) ? NATIVE_AFTER : NATIVE_CODE + c->length;
    SAME("RIP", world.regs[REG_RIP], next - c->mode->cs_base);
    if (is_string(c->row) || uses_stack(c->row) || is_stack_only(c->row))
        return;
    unsigned count = pieces(c->operand, c->insn.size);
    SAME("the number of reads", device_reads,
         c->insn.read && c->insn.op != INSN_NOTHING ? count : 0);
    SAME("the number of writes", device_writes, c->insn.write ? count : 0);
}

static void run_case(struct test_case *c, unsigned long *faults)
{
    struct native_state ours = c->before, theirs = c->before;
    native_case_memory(c);
    unsigned ours_fault = emulate(c, &ours);
    unsigned theirs_fault = native_run(c->mode, c->code, c->length, &theirs);
    if (is_branch(c->row) && ours_fault == 13 && theirs_fault == 13) { /* the target */
        (*faults)++;
        return;
    }
    if (ours_fault == VECTOR_BR) /* the kernel does not tell it from #GP */
        ours_fault = 13;
    SAME("the fault", ours_fault, theirs_fault);
    compare_memory(c);
    if (theirs_fault)
        (*faults)++;
    else
        compare_state(c, &ours, &theirs);
}

static int setup(void **state)
{
    (void)state;
    has_avx = native_init();
    world_init(GVA_CACHE_VERIFY);
    world.regs[REG_CR4] |= BIT(9) | BIT(18); /* OSFXSR, OSXSAVE */
    uint64_t cr3 = world.regs[REG_CR3];
    uint64_t pages[] = {RAM0, DEVICE, DEVICE + PAGE_SIZE, RAM1};
    for (unsigned i = 0; i < NATIVE_PAGES; i++)
        world_map(cr3, NATIVE_BASE + i * PAGE_SIZE, pages[i], PTE_P | PTE_W);
    world_map(cr3, CODE_PAGE, WORLD_CODE, PTE_P);
    assert_int_equal(bus_add(&world.bus, DEVICE, sizeof(device), &device_ops, NULL), 0);
    world_mmio_spte(DEVICE);
    world_mmio_spte(DEVICE + PAGE_SIZE);
    __asm__("mov %%ss, %0" : "=r"(world.regs[REG_SEG_SELECTOR + SEG_SS]));
    __asm__("mov %%fs, %0" : "=r"(world.regs[REG_SEG_SELECTOR + SEG_FS]));
    __asm__("mov %%gs, %0" : "=r"(world.regs[REG_SEG_SELECTOR + SEG_GS]));
    return 0;
}

static bool can_run(const struct insn_row *row, enum code_size code_size)
{
    uint32_t never = code_size == CODE_64 ? INSN_NOT_64 | INSN_OTHER_64 : INSN_ONLY_64;
    if (row->op >= INSN_SLDT && row->op <= INSN_CALL_FAR)
        return false; /* privileged, or they read tables that are the kernel's */
    return row->flags & (INSN_READS | INSN_WRITES) && !(row->flags & never) &&
           (has_avx || !(row->flags & INSN_VEX));
}

static void every_row(enum code_size code_size)
{
    unsigned long per_row = support_number("NATIVE_CASES", support_rounds(120));
    unsigned long total = 0, faults = 0;
    static struct test_case c;
    if (!native_has(&native_modes[code_size])) {
        print_message("this kernel has no such segments\n");
        skip();
    }
    world_seed();
    for (unsigned r = 0; r < insn_row_count; r++) {
        const struct insn_row *row = &insn_rows[r];
        unsigned long done = 0;
        for (unsigned tries = 0; can_run(row, code_size) && done < per_row; tries++) {
            if (tries > 20 * per_row + 100)
                fail_msg("%s (row %u) never decodes", row->mnemonic, r);
            if (!native_case_make(&c, row, code_size))
                continue;
            run_case(&c, &faults);
            done++;
        }
        total += done;
    }
    printf("%lu cases, %lu of them faults\n", total, faults);
    assert_true(faults > 0);
}

#define MODE(name, code_size)      \
    static void name(void **state) \
    {                              \
        (void)state;               \
        every_row(code_size);      \
    }
MODE(rows_64, CODE_64)
MODE(rows_32, CODE_32)
MODE(rows_16, CODE_16)

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, world_end)
    const struct CMUnitTest tests[] = {T(rows_64), T(rows_32), T(rows_16)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
