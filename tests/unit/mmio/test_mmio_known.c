/* SPDX-License-Identifier: MIT */
/*
 * Which accesses are kept as a whole where there are many (mmio/replay.h), which are made from
 * parts that are known (mmio/known.h), and what neither of them may take for another one.
 * `world.replay` and `world.known` count them; what they do is compared with the device's own
 * account.
 */
#include "arch/x86/reg_bits.h"
#include "tests/unit/mmio/mmio_replay_world.h"

#include <string.h>

/* Once by each instruction, at each place, in each address space; each leads to a device and offset
 * of its own. */
struct several {
    unsigned instructions, places, spaces;
    unsigned least; /* so many of them are made at once; the others by parts that are known */
};

static void go_around(const struct several *s, const uint64_t *spaces, unsigned *replay)
{
    unsigned before = world.replay;
    for (unsigned i = 0; i < s->instructions; i++) {
        for (unsigned j = 0; j < s->places; j++) {
            for (unsigned k = 0; k < s->spaces; k++) {
                bool in_b = j % 2;
                struct testdev *device = in_b ? &world.b : &world.a;
                unsigned writes = device->writes;
                uint32_t value = i << 16 | j << 8 | k;
                world.regs[REG_CR3] = spaces[k];
                world.regs[REG_RIP] = WORLD_CODE + 3 * i;
                memcpy(&world_ram[WORLD_CODE / PAGE_SIZE][3 * i], "\x89\x58\x04", 3);
                world.cpu.gpr[GPR_RAX] = V + in_b * PAGE_SIZE + 4 * j; /* mov [rax+4], ebx */
                world.cpu.gpr[GPR_RBX] = value;
                gpa_t gpa = GPA((in_b ? B : A) + 4 * j + 4);
                assert_int_equal(world_misconfig(gpa, false), MMIO_DONE);
                assert_int_equal(world.regs[REG_RIP], WORLD_CODE + 3 * i + 3);
                assert_int_equal(device->writes, writes + 1);
                assert_int_equal(device->last_value, value);
                assert_int_equal(device->last_offset, 4 * j + 4);
            }
        }
    }
    *replay = world.replay - before;
}

/* All are made at once, but for those of which three or more meet in one pair of entries. */
static void several(void **state)
{
    (void)state;
    static const struct several cases[] = {
        {1, 2, 1, 2},   {2, 1, 1, 2},   {1, 1, 2, 2},   {2, 2, 2, 8},
        {17, 1, 1, 17}, {1, 17, 1, 17}, {17, 1, 2, 30}, {64, 1, 1, 56},
        {1, 64, 1, 56}, {8, 8, 1, 8},   {64, 1, 2, 0},  {64, 17, 2, 0},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct several *s = &cases[i];
        unsigned all = s->instructions * s->places * s->spaces, replay = 0;
        start(GVA_CACHE_VERIFY);
        uint64_t spaces[2] = {cr3, world_new_cr3()};
        for (unsigned k = 0; k < s->spaces; k++) {
            world_map(spaces[k], WORLD_CODE, WORLD_CODE, KERNEL | PTE_A);
            world_map(spaces[k], V, A, KERNEL | PTE_A | PTE_D);
            world_map(spaces[k], V + PAGE_SIZE, B, KERNEL | PTE_A | PTE_D);
        }
        world_mmio_spte(A);
        world_mmio_spte(B);
        for (unsigned round = 0; round < 12; round++)
            go_around(s, spaces, &replay);
        assert_true(replay >= s->least);
        unsigned known = world.known;
        go_around(s, spaces, &replay);
        if (s->instructions <= MMIO_DECODED / 2) /* else some are decoded again */
            assert_int_equal(replay + world.known - known, all);
    }
}

/* Three that have one pair of entries: two stay for a while, and one of them gives way when the
 * third comes again and again. */
static void one_pair_of_entries(void **state)
{
    (void)state;
    unsigned offsets[3] = {8}, found = 1;
    warm_up();
    const struct replay *pair = mmio_replay_at(&world.vcpu, WORLD_CODE, GPA(A + 8), cr3);
    for (unsigned i = 12; found < 3 && i < TESTDEV_RAM_SIZE; i += 4)
        if (mmio_replay_at(&world.vcpu, WORLD_CODE, GPA(A + i), cr3) == pair)
            offsets[found++] = i;
    assert_int_equal(found, 3);
    for (unsigned i = 0; i < 6; i++) { /* two have room */
        unsigned replay = world.replay;
        assert_int_equal(world_store(V + offsets[i % 2], i), WORLD_EMULATED);
        assert_int_equal(world.replay - replay, i != 1);
    }
    for (unsigned i = 0; i < 3; i++) {
        unsigned replay = world.replay, known = world.known;
        for (unsigned j = 0; j < 3; j++) {
            assert_int_equal(world_store(V + offsets[j], j), WORLD_EMULATED);
            assert_int_equal(world.a.last_offset, offsets[j]);
        }
        assert_int_equal(world.replay - replay, 2);
        assert_int_equal(world.known - known, 1);
    }
    unsigned replay = world.replay;
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(world_store(V + offsets[2], i), WORLD_EMULATED);
    assert_int_equal(world.replay, replay + 1);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(world_store(V + offsets[i], i), WORLD_EMULATED);
    assert_int_equal(world.replay, replay + 2);
    for (unsigned i = 1; i < 3; i++) /* the exit's place is not the operand's */
        assert_int_equal(world_exit(V + 8, A + offsets[i], true), MMIO_STALE);
}

/* In another address space the same instruction is another one, and the same address leads
 * elsewhere. */
static void address_spaces(void **state)
{
    (void)state;
    uint64_t spaces[] = {cr3, world_new_cr3()};
    uint32_t other_code = 0x9000;
    const struct replay *pair = mmio_replay_at(&world.vcpu, WORLD_CODE, GPA(A + 8), cr3);
    while (mmio_replay_at(&world.vcpu, WORLD_CODE, GPA(A + 8), spaces[1]) != pair)
        spaces[1] = world_new_cr3(); /* found in the same two entries */
    memcpy(world_ram[other_code / PAGE_SIZE], "\x48\x89\x18", 3); /* mov [rax], rbx */
    world_map(spaces[1], WORLD_CODE, other_code, KERNEL);
    world_map(spaces[1], V, A, KERNEL);
    warm_up();
    for (unsigned i = 0; i < 8; i++) {
        world.regs[REG_CR3] = spaces[i % 2];
        world_code("\x89\x18", 2);
        world.cpu.gpr[GPR_RAX] = V + 8;
        assert_int_equal(world_misconfig(GPA(A + 8), false), MMIO_DONE);
        assert_int_equal(world.a.last_size, i % 2 ? 8 : 4);
        assert_int_equal(world.regs[REG_RIP], WORLD_CODE + (i % 2 ? 3 : 2));
    }
    world.regs[REG_CR3] = spaces[1];
    world_map(spaces[1], V, B, KERNEL); /* the TLB still has A */
    unsigned writes = world.a.writes;
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(world_exit(V + 8, A + 8, true), MMIO_STALE);
    assert_int_equal(world.a.writes, writes);
}

/* A slot has come where the device was, and the walk that leads there is a new one, made for an
 * access that only began there: the place is no device's any more. */
static void place_of_a_slot(void **state)
{
    (void)state;
    world_map(cr3, V + PAGE_SIZE, B, KERNEL);
    (void)store_is_hot();
    assert_int_equal(world_store(V + PAGE_SIZE, 1), WORLD_EMULATED);
    warm_up();
    unsigned writes = world.a.writes;
    world_slot_add(A, 1, 0);
    assert_int_equal(world_exit(V + 0xffe, B, true), MMIO_DONE);
    world.cpu.gpr[GPR_RAX] = V + 16; /* nothing is kept of this one */
    world_code("\x89\x18", 2);
    assert_int_equal(world_misconfig(GPA(A + 16), false), MMIO_REENTER);
    assert_int_equal(world_store(V + 8, 7), WORLD_RAM);
    assert_int_equal(world.a.writes, writes);
}

/* CR0.WP is the guest's to change, without an exit. What is kept does not depend on it. */
static void write_protection(void **state)
{
    (void)state;
    static const struct {
        bool wp, writable, keys, user;
        bool kept;
    } cases[] = {
        {true, true, false, false, true},    {false, true, false, false, true},
        {false, false, false, false, false}, {false, true, true, false, false},
        {true, true, true, false, true},     {false, true, false, true, true},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        start(GVA_CACHE_VERIFY);
        uint64_t rights = PTE_P | (cases[i].writable ? PTE_W : 0) | (cases[i].user ? PTE_U : 0);
        world_map(cr3, WORLD_CODE, WORLD_CODE, KERNEL | (cases[i].user ? PTE_U : 0));
        world_map(cr3, V, A, rights);
        if (cases[i].user)
            world.regs[REG_SEG_AR + SEG_CS] |= 0x60;
        if (cases[i].user)
            world.regs[REG_SEG_AR + SEG_SS] |= 0x60;
        world.regs[REG_CR0] = (world.regs[REG_CR0] & ~CR0_WP) | (cases[i].wp ? CR0_WP : 0);
        if (cases[i].keys)
            world.regs[REG_CR4] |= CR4_PKE;
        for (unsigned j = 0; j < 6; j++)
            (void)store_is_hot();
        assert_int_equal(is_kept(), cases[i].kept);
        world.regs[REG_CR0] ^= CR0_WP;
        bool allowed = cases[i].writable || !(world.regs[REG_CR0] & CR0_WP);
        if (allowed)
            assert_int_equal(store_is_hot(), cases[i].kept);
        else
            assert_int_equal(world_exit(V + 8, A + 8, true), MMIO_INJECT);
    }
}

/* The bytes after an instruction differ: at another RIP with the same place in the cache, or
 * because the guest has changed them. The instruction is the decoded one, and a replay entry is
 * made of it. With another byte of its own it is another instruction. */
static void bytes_behind_the_instruction(void **state)
{
    (void)state;
    uint8_t *code = world_ram[WORLD_CODE / PAGE_SIZE];
    warm_up();
    for (unsigned i = 2; i < 16; i++) {
        code[i] ^= 0x55;
        replays_init(&world.vcpu.replays);
        unsigned known = world.known, replay = world.replay;
        assert_int_equal(world_store(V + 8, i), WORLD_EMULATED);
        assert_int_equal(world.known, known + 1);
        assert_int_equal(world_store(V + 8, i), WORLD_EMULATED);
        assert_int_equal(world.replay, replay + 1);
    }
    for (unsigned i = 0; i < 2; i++) {
        unsigned known = world.known;
        replays_init(&world.vcpu.replays);
        world.regs[REG_RIP] = WORLD_CODE;
        world_code(i ? "\x89\x08" : "\x88\x18", 2); /* mov [rax], ecx, or bl */
        world.cpu.gpr[GPR_RAX] = V + 8;
        world.cpu.gpr[GPR_RCX] = 0x1234;
        world.cpu.gpr[GPR_RBX] = 0x9876;
        assert_int_equal(world_misconfig(GPA(A + 8), false), MMIO_DONE);
        assert_int_equal(world.known, known);
        assert_int_equal(world.a.last_value, i ? 0x1234 : 0x76);
        assert_int_equal(world_store(V + 8, i), WORLD_EMULATED); /* decoded again */
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, world_end)
    const struct CMUnitTest tests[] = {
        T(several),         T(one_pair_of_entries), T(address_spaces),
        T(place_of_a_slot), T(write_protection),    T(bytes_behind_the_instruction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
