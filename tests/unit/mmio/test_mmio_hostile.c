/* SPDX-License-Identifier: MIT */
/*
 * The emulator before a guest that does anything: random code, registers, segments and control
 * registers in every mode, and an exit for any address of a device. Whatever the outcome, nothing
 * breaks (the sanitizers watch), and what did not happen left no trace: with a fault, another try
 * or a stale translation no register, no vector, no memory and no device was written. Repetitions
 * alone may have done some iterations. HOSTILE_CASES says how many.
 */
#include "tests/unit/mmio/mmio_vectors.h"
#include "arch/x86/reg_bits.h"
#include "tests/unit/mmio/mmio_places.h"

#include "mmio/alu.h"

#include <stdio.h>
#include <string.h>

#define RF  BIT(16)
#define RAM 9 /* pages */

static unsigned pick(uint64_t count)
{
    return (unsigned)(world_random() % count);
}

static int setup(void **state)
{
    (void)state;
    world_init(GVA_CACHE_VERIFY);
    uint64_t cr3 = world.regs[REG_CR3];
    const uint64_t pages[] = {RAM * PAGE_SIZE, A, B, 0, (RAM + 1) * PAGE_SIZE};
    for (unsigned i = 0; i < ARRAY_SIZE(pages); i++)
        if (pages[i]) {
            world_map(cr3, V + i * PAGE_SIZE, pages[i], i == 4 ? PTE_P : KERNEL);
            world_map(cr3, i * PAGE_SIZE + 0x10000, pages[i], i == 4 ? PTE_P : KERNEL);
        }
    world_mmio_spte(A);
    world_mmio_spte(B);
    return 0;
}

/* ---- A guest --------------------------------------------------------------------------------- */

static uint64_t some_register(uint64_t base)
{
    switch (pick(8)) {
    case 0:
        return world_random();
    case 1:
        return BIT(47) - pick(32); /* the edge of the canonical half */
    case 2:
        return world_random() >> pick(64);
    case 3:
        return base + PAGE_SIZE * pick(6) - pick(40);
    default:
        return base + PAGE_SIZE + pick(2 * PAGE_SIZE);
    }
}

/* Prefixes and an opcode of the table, then anything. */
static unsigned some_code(uint8_t code[24], enum code_size size)
{
    static const uint8_t prefixes[] = {0x66, 0xf2, 0xf3, 0xf0, 0x64, 0x2e, 0x67, 0x48};
    static const uint8_t mandatory[] = {
        [PREFIX_66] = 0x66, [PREFIX_F3] = 0xf3, [PREFIX_F2] = 0xf2, [PREFIX_NO_REP] = 0};
    const struct insn_row *row = &insn_rows[pick(insn_row_count)];
    unsigned at = 0, map = row->opcode >> 8 & 3;
    for (unsigned i = 0; i < 24; i++)
        code[i] = (uint8_t)world_random();
    while (!pick(3) && at < 4)
        code[at++] = prefixes[pick(8)];
    if (row->flags & INSN_VEX) {
        code[at++] = 0xc4;
        code[at++] = (uint8_t)(map | 0xe0);
        code[at++] = (uint8_t)(0x78 | (row->prefix - 1) | pick(2) << 2);
    } else {
        if (mandatory[row->prefix])
            code[at++] = mandatory[row->prefix];
        if (size == CODE_64 && !pick(3))
            code[at++] = (uint8_t)(0x40 | pick(16));
        if (map)
            code[at++] = 0x0f;
        if (map == 2)
            code[at++] = 0x38;
    }
    code[at++] = (uint8_t)row->opcode;
    if (row->extension != INSN_NO_EXTENSION)
        code[at] = (uint8_t)((code[at] & 0xc7) | row->extension << 3);
    if (pick(8))
        code[at] &= 0x7f; /* mod 0 or 1 */
    return 15;
}

static void some_segments(enum code_size size)
{
    static const uint64_t code[] = {AR_CODE16, AR_CODE32, AR_CODE64};
    static const uint64_t data[] = {AR_DATA32, AR_DATA16, AR_DATA32 | 4, 0xc091, 0x10000, 0xc09b};
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        world.regs[REG_SEG_AR + i] = i == SEG_CS ? code[size] : data[pick(3) ? 0 : pick(6)];
        world.regs[REG_SEG_BASE + i] = i == SEG_CS || pick(3) ? 0 : world_random() >> pick(64);
        if (size == CODE_16 && i != SEG_CS && pick(2))
            world.regs[REG_SEG_BASE + i] = 0x10000;
        world.regs[REG_SEG_LIMIT + i] = i == SEG_CS || pick(3) ? 0xffffffff : 0x1fff;
    }
}

static void some_guest(enum code_size size)
{
    uint64_t base = size == CODE_16 ? pick(2) ? 0x10000 : 0 : V;
    for (unsigned i = 0; i < GPR_COUNT; i++)
        world.cpu.gpr[i] = some_register(base);
    if (pick(2))
        world.cpu.gpr[GPR_RCX] = pick(100);
    world.regs[REG_RSP] = some_register(base);
    some_segments(size);
    world.regs[REG_CR0] =
        CR0_PE | CR0_PG | CR0_WP | (pick(8) ? 0 : BIT(2)) | (pick(8) ? 0 : BIT(3)) | BIT(18);
    world.regs[REG_CR4] = CR4_PAE | (pick(8) ? BIT(9) | BIT(18) : 0);
    world.regs[REG_RFLAGS] =
        2 | (world_random() & (ALU_FLAGS | BIT(10) | BIT(18) | RF)) | (pick(8) ? 0 : BIT(8));
    world.vcpu.cache.mode = (enum gva_cache)pick(3);
    vectors_xcr0 = pick(8) ? 7 : 1;
    vectors_x87_error = !pick(8);
    /* Tables that consist of what the memory and the devices hold. */
    for (unsigned i = SEG_LDTR; i < SEG_ALL; i++) {
        world.regs[REG_SEG_BASE + i] = some_register(base);
        world.regs[REG_SEG_LIMIT + i] = world_random() & 0xffff;
        world.regs[REG_SEG_AR + i] = pick(4) ? 0x82 : SEG_AR_UNUSABLE;
    }
    world.regs[REG_GDTR_BASE] = some_register(base);
    world.regs[REG_GDTR_LIMIT] = world_random() & 0xffff;
}

/* ---- What must not change -------------------------------------------------------------------- */

static struct snapshot {
    uint64_t gpr[GPR_COUNT];
    uint64_t regs[REG_COUNT];
    uint8_t vectors[16][32];
    uint8_t ram[2 * PAGE_SIZE];
    struct testdev a, b;
    uint64_t unclaimed;
} before;

static void take(struct snapshot *s)
{
    memcpy(s->gpr, world.cpu.gpr, sizeof(s->gpr));
    memcpy(s->regs, world.regs, sizeof(s->regs));
    memcpy(s->vectors, vectors, sizeof(s->vectors));
    memcpy(s->ram, world_ram[RAM], sizeof(s->ram));
    s->a = world.a;
    s->b = world.b;
    s->unclaimed = world.bus.unclaimed;
}

/* `may_mark`: a descriptor may have been marked as accessed. */
static void assert_untouched(bool may_read, bool may_mark)
{
    static struct snapshot after;
    take(&after);
    after.regs[REG_RFLAGS] = (after.regs[REG_RFLAGS] & ~RF) | (before.regs[REG_RFLAGS] & RF);
    assert_memory_equal(after.gpr, before.gpr, sizeof(after.gpr));
    assert_memory_equal(after.regs, before.regs, sizeof(after.regs));
    assert_memory_equal(after.vectors, before.vectors, sizeof(after.vectors));
    if (!may_mark) {
        assert_memory_equal(after.ram, before.ram, sizeof(after.ram));
        assert_int_equal(after.a.writes + after.b.writes, before.a.writes + before.b.writes);
    }
    if (!may_read) {
        assert_int_equal(after.a.reads + after.b.reads, before.a.reads + before.b.reads);
        assert_int_equal(after.unclaimed, before.unclaimed);
    }
}

static void check(enum mmio_outcome outcome, const struct insn *i, bool decoded)
{
    uint64_t rip = world.regs[REG_RIP];
    bool is_string = decoded && i->op >= INSN_MOVS && i->op <= INSN_SCAS;
    bool far = decoded && (i->op == INSN_JMP_FAR || i->op == INSN_CALL_FAR);
    bool branches = far || (decoded && (i->op == INSN_JMP || i->op == INSN_CALL ||
                                        i->op == INSN_RET || i->op == INSN_CALL_NEAR));
    /* The operand may be at fault itself, or name a descriptor that is. */
    bool looks = decoded && (i->op == INSN_DIV || i->op == INSN_IDIV ||
                             (i->op >= INSN_BOUND && i->op <= INSN_CALL_FAR));
    bool marks = decoded && i->op >= INSN_SLDT && i->op <= INSN_CALL_FAR && outcome != MMIO_STALE;
    if (outcome == MMIO_DONE) {
        assert_true(decoded);
        assert_true(branches || rip == WORLD_CODE + i->length ||
                    (is_string && i->repeat && rip == WORLD_CODE && world.regs[REG_RFLAGS] & RF));
        return;
    }
    assert_int_equal(rip, WORLD_CODE);
    if (outcome == MMIO_END)
        assert_int_not_equal(world.vcpu.end, MMIO_END_NONE);
    if (!is_string || !i->repeat || outcome == MMIO_STALE)
        assert_untouched(branches || looks, marks);
}

static void hostile(void **state)
{
    (void)state;
    unsigned long left = support_number("HOSTILE_CASES", support_rounds(150000));
    unsigned long outcomes[MMIO_END + 1] = {0};
    world_seed();
    while (left--) {
        uint8_t code[24];
        enum code_size size = (enum code_size)pick(3);
        struct insn insn;
        some_guest(size);
        unsigned length = some_code(code, size);
        world_code(code, length);
        bool decoded = decode(code, length, size, &insn) == DECODE_OK;
        take(&before);
        uint64_t gpa = (pick(2) ? A : B) + (pick(2) ? pick(0x800) : PAGE_SIZE - 1 - pick(40));
        /* Mostly, what the operand names: by the emulator's own word, as a guess. */
        if (decoded && insn.base < GPR_COUNT && pick(4))
            gpa = A + (cpu_gpr(&world.cpu, insn.base) + insn.disp - PAGE_SIZE) % (2 * PAGE_SIZE);
        enum mmio_outcome outcome = world_misconfig(GPA(gpa), false);
        outcomes[outcome]++;
        check(outcome, &insn, decoded);
    }
    printf("%lu done, %lu tried again, %lu faults, %lu stale, %lu ended\n", outcomes[MMIO_DONE],
           outcomes[MMIO_REENTER], outcomes[MMIO_INJECT], outcomes[MMIO_STALE], outcomes[MMIO_END]);
    assert_true(outcomes[MMIO_DONE] > 1000);
    assert_true(outcomes[MMIO_INJECT] > 1000);
    assert_true(outcomes[MMIO_STALE] > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(hostile, setup, world_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
