/* SPDX-License-Identifier: MIT */
/*
 * Accesses that are replayed without being emulated (mmio/replay.h): that they are, for each kind
 * of instruction that is kept, and that each single thing that they rest on ends it. `world.replay`
 * says which accesses were made so; what they do is compared with the device's own account.
 */
#include "arch/x86/reg_bits.h"
#include "tests/unit/mmio/mmio_replay_world.h"

#include <string.h>

/* The first is a violation, the second walks, the third is kept. In `off` nothing is. */
static void third_time(void **state)
{
    (void)state;
    for (enum gva_cache mode = GVA_CACHE_OFF; mode <= GVA_CACHE_VERIFY; mode++) {
        start(mode);
        bool replay = false;
        for (unsigned i = 0; i < 4; i++)
            replay = store_is_hot();
        assert_int_equal(replay, mode != GVA_CACHE_OFF);
        assert_int_equal(world.vcpu.stats.emulated, 4);
        assert_int_equal(world.vcpu.stats.cache_hits, 3);
        assert_int_equal(world.vcpu.cache.gva_hits, mode == GVA_CACHE_OFF ? 0 : 3);
    }
}

/* Every register of the state, each alone. What is emulated is right; store_is_hot() sees to it. */
static void registers(void **state)
{
    (void)state;
    static const struct {
        enum cpu_reg reg;
        uint64_t flip;
    } cases[] = {
        {REG_CR4, CR4_SMEP},     {REG_CR4, CR4_SMAP},  {REG_CR4, CR4_PKE}, {REG_EFER, EFER_NXE},
        {REG_RFLAGS, RFLAGS_AC}, {REG_RFLAGS, BIT(8)}, {REG_CR3, BIT(3)},  {REG_SEG_AR + SEG_CS, 1},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        start(GVA_CACHE_VERIFY);
        warm_up();
        world.regs[cases[i].reg] ^= cases[i].flip;
        assert_false(store_is_hot());
        assert_int_equal(world.vcpu.single_step, cases[i].flip == BIT(8));
    }
}

/* A single step is told each time; AC alone is a state like any other. */
static void flags(void **state)
{
    (void)state;
    warm_up();
    world.regs[REG_RFLAGS] |= BIT(8);
    for (unsigned i = 0; i < 4; i++) {
        assert_false(store_is_hot());
        assert_true(world.vcpu.single_step);
    }
    world.regs[REG_RFLAGS] ^= BIT(8) | RFLAGS_AC;
    warm_up();
    assert_false(world.vcpu.single_step);
}

/* RF is what the CPU saves with the exit, so it changes nothing but itself. */
static void resume_flag(void **state)
{
    (void)state;
    warm_up();
    for (unsigned i = 0; i < 4; i++) {
        world.regs[REG_RFLAGS] |= i % 2 ? BIT(16) : 0;
        assert_true(store_is_hot());
        assert_int_equal(world.regs[REG_RFLAGS], 2);
    }
}

/* Conforming code runs at a CPL that its descriptor does not say, and 32-bit code wraps. */
static void other_code(void **state)
{
    (void)state;
    const uint64_t rights[] = {AR_CODE64 | 4, AR_CODE32};
    for (unsigned i = 0; i < ARRAY_SIZE(rights); i++) {
        world.regs[REG_SEG_AR + SEG_CS] = rights[i];
        for (unsigned j = 0; j < 4; j++)
            assert_false(store_is_hot());
        assert_false(is_kept());
    }
}

static void flips_of_pkru(void **state)
{
    (void)state;
    world.regs[REG_CR4] |= CR4_PKE;
    warm_up();
    world.regs[REG_PKRU] = BIT(7); /* of a key that nothing has */
    assert_false(store_is_hot());
}

/* Every entry of both walks. A bit that no walk looks at, then the same value again. */
static void entries(void **state)
{
    (void)state;
    const uint64_t addresses[] = {WORLD_CODE, V};
    for (unsigned i = 0; i < ARRAY_SIZE(addresses); i++) {
        for (unsigned level = 4; level >= 1; level--) {
            warm_up();
            uint64_t *entry = world_entry(cr3, addresses[i], level);
            *entry ^= BIT(9);
            assert_false(store_is_hot());
            *entry ^= BIT(9);
        }
    }
    world_map(cr3, FAR, A, KERNEL); /* eight of them, none read twice */
    for (unsigned i = 0; i < 2 * 4; i++) {
        for (unsigned j = 0; j < 3; j++)
            (void)store_is_hot_at(FAR + 8);
        assert_true(store_is_hot_at(FAR + 8));
        *world_entry(cr3, i < 4 ? WORLD_CODE : FAR, 4 - i % 4) ^= BIT(9);
        assert_false(store_is_hot_at(FAR + 8));
    }
}

/* Slots, the invalidation sequence, and the bus. */
static void sequences(void **state)
{
    (void)state;
    warm_up();
    world_slot_add(0xd0000000, 1, 0);
    assert_false(store_is_hot());
    warm_up();
    world.mmu.invalidate_sequence += 2;
    assert_false(store_is_hot());
    warm_up();
    assert_int_equal(bus_remove(&world.bus, B, &world.b), 0);
    assert_false(store_is_hot());
}

static unsigned rung;

static void ring(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                 uint64_t value)
{
    (void)device, (void)vcpu, (void)offset, (void)size, (void)value;
    rung++;
}

static const struct bus_ops bell = {.name = "bell", .write = ring};

/* A doorbell that comes later rings; one beside the register leaves it as it is. */
static void doorbells(void **state)
{
    (void)state;
    struct bus_doorbell doorbell = {.address = A + 8, .length = 4, .ops = &bell};
    rung = 0;
    warm_up();
    assert_int_equal(bus_doorbell_add(&world.bus, &doorbell), 0);
    for (unsigned i = 1; i <= 4; i++) {
        assert_int_equal(world_store(V + 8, 1), WORLD_EMULATED);
        assert_int_equal(rung, i);
    }
    assert_int_equal(bus_doorbell_remove(&world.bus, &doorbell), 0);
    doorbell.address = A + 12;
    assert_int_equal(bus_doorbell_add(&world.bus, &doorbell), 0);
    warm_up();
    assert_int_equal(world_store(V + 12, 1), WORLD_EMULATED);
    assert_int_equal(rung, 5);
}

/* The operand: across two devices, another page, and exits that are for another place. */
static void operands(void **state)
{
    (void)state;
    warm_up();
    world_map(cr3, V + PAGE_SIZE, B, KERNEL);
    assert_int_equal(world_exit(V + 0xffe, A + 0xffe, true), MMIO_DONE); /* both devices */
    assert_int_equal(world.a.last_size, 2);
    assert_int_equal(world.b.last_size, 2);
    assert_int_equal(world_store(V + PAGE_SIZE, 1), WORLD_EMULATED);
    assert_int_equal(world.b.last_size, 4);
    warm_up();
    unsigned replay = world.replay, known = world.known;
    for (unsigned i = 0; i < 7; i++) /* as a stale TLB entry makes; the eighth time is too much */
        assert_int_equal(world_exit(V + 8, B + 8, true), MMIO_STALE);
    assert_int_equal(world.replay, replay);
    assert_true(store_is_hot());
    for (unsigned i = 0; i < 7; i++)
        assert_int_equal(world_exit(V + 8, B + 8, true), MMIO_STALE);
    assert_int_equal(world.replay, replay + 1);
    assert_true(store_is_hot());
    for (unsigned i = 0; i < 3; i++) /* kept for one place, made to another */
        assert_int_equal(world_exit(V + 12, A + 8, true), MMIO_STALE);
    assert_int_equal(world.replay, replay + 2);
    assert_int_equal(world.known, known);
}

/* What is kept of one page says nothing of the next one, whatever the device covers. */
static void pages_of_one_device(void **state)
{
    (void)state;
    add_wide();
    for (unsigned from = 0; from < 2; from++) {
        unsigned replay = world.replay;
        for (unsigned i = 0; i < 4; i++)
            assert_int_equal(world_store(FAR + from * PAGE_SIZE + 4, i), WORLD_EMULATED);
        assert_true(world.replay > replay);
        replay = world.replay;
        assert_int_equal(world_exit(FAR + 0xffe, WIDE + 0xffe, true), MMIO_DONE); /* both */
        assert_int_equal(wide_offset, PAGE_SIZE);
        assert_int_equal(world_store(FAR + (from ^ 1) * PAGE_SIZE + 8, 1), WORLD_EMULATED);
        assert_int_equal(wide_offset, (from ^ 1) * PAGE_SIZE + 8);
        assert_int_equal(world.replay, replay);
    }
}

/* RSP is not where the other registers are. */
static void stack_pointer(void **state)
{
    (void)state;
    world_map(cr3, V + PAGE_SIZE, B, KERNEL);
    (void)store_is_hot();
    world_mmio_spte(B);
    for (unsigned i = 0; i < 4; i++) {
        world_code("\x89\x1c\x24", 3); /* mov [rsp], ebx */
        world.cpu.gpr[GPR_RSP] = world.regs[REG_RSP] = V;
        assert_int_equal(world_misconfig(GPA(A), false), MMIO_DONE);
    }
    world_code("\x89\x1c\x24", 3);
    world.regs[REG_RSP] = V + PAGE_SIZE;
    assert_int_equal(world_misconfig(GPA(A), false), MMIO_STALE);
    for (unsigned i = 0; i < 4; i++) {
        world_code("\x89\x20", 2); /* mov [rax], esp */
        world.cpu.gpr[GPR_RAX] = V;
        world.cpu.gpr[GPR_RSP] = 1;
        assert_int_equal(world_misconfig(GPA(A), false), MMIO_DONE);
        assert_int_equal(world.a.last_value, V + PAGE_SIZE);
    }
}

/* Where no device answers, and where a slot lies, nothing is kept. */
static void no_device(void **state)
{
    (void)state;
    world_map(cr3, V, 0xd0000000, KERNEL);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(world_store(V, i), WORLD_EMULATED);
    assert_int_equal(world.bus.unclaimed, 4);
    assert_false(is_kept());
    world_slot_add(B, 1, MEMSLOT_READONLY);
    world_map(cr3, V, B, KERNEL);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(world_store(V, i), WORLD_EMULATED);
    assert_int_equal(world.b.writes, 4);
    assert_false(is_kept());
}

/* Instructions at one RIP: the bytes say which. Loads fill registers as their forms do. */
static void instructions(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        unsigned size;
        bool replay;
        uint64_t rbx; /* afterwards */
    } cases[] = {
        {"\x8b\x18", 2, true, 0x8899aabb},                 /* mov ebx, [rax] */
        {"\x48\x8b\x18", 3, true, 0xccddeeff8899aabb},     /* mov rbx, [rax] */
        {"\x66\x8b\x18", 3, true, 0x111111111111aabb},     /* mov bx, [rax] */
        {"\x8a\x18", 2, true, 0x11111111111111bb},         /* mov bl, [rax] */
        {"\x8a\x38", 2, false, 0x111111111111bb11},        /* mov bh, [rax] */
        {"\x0f\xb6\x18", 3, true, 0xbb},                   /* movzx ebx, byte [rax] */
        {"\x48\x0f\xbe\x18", 4, true, 0xffffffffffffffbb}, /* movsx rbx, byte [rax] */
        {"\x48\x63\x18", 3, true, 0xffffffff8899aabb},     /* movsxd rbx, [rax] */
        {"\x8b\x5c\x48\xf8", 4, true, 0x8899aabb},         /* mov ebx, [rax+rcx*2-8] */
        {"\x64\x8b\x18", 3, false, 0x8899aabb},            /* mov ebx, fs:[rax] */
        {"\x67\x8b\x18", 3, false, 0x8899aabb},            /* mov ebx, [eax] */
        {"\x8b\x1c\x24", 3, false, 0x8899aabb},            /* mov ebx, [rsp] */
        {"\x8b\x1d\xfa\xaf\xff\x3f", 6, true, 0x8899aabb}, /* mov ebx, [rip+...] */
    };
    const uint64_t content = 0xccddeeff8899aabb;
    memcpy(world.a.ram, &content, 8);
    world.cpu.gpr[GPR_RAX] = world.regs[REG_RSP] = V;
    world.cpu.gpr[GPR_RCX] = 4;
    (void)world_store(V + 0x100, 1);
    world.cpu.gpr[GPR_RAX] = V;
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        unsigned replay = world.replay;
        for (unsigned round = 0; round < 4; round++) {
            world_code(cases[i].bytes, cases[i].size);
            world.cpu.gpr[GPR_RBX] = 0x1111111111111111;
            assert_int_equal(world_misconfig(GPA(A), false), MMIO_DONE);
            assert_int_equal(world.cpu.gpr[GPR_RBX], cases[i].rbx);
            assert_int_equal(world.regs[REG_RIP], WORLD_CODE + cases[i].size);
        }
        assert_int_equal(world.replay > replay, cases[i].replay);
    }
}

/* What is stored: a register's bytes or the instruction's own, no more of them than are asked for.
 * The last byte of a long instruction counts as the first does. */
static void stored_values(void **state)
{
    (void)state;
    char imm[] = "\xc7\x80\x00\x00\x00\x00\x78\x56\x34\x12"; /* mov dword [rax+0], imm */
    add_wide();
    world.cpu.gpr[GPR_RBX] = 0x1122334455667788;
    for (unsigned i = 0; i < 4; i++) {
        world_code("\x88\x18", 2); /* mov [rax], bl */
        world.cpu.gpr[GPR_RAX] = FAR;
        assert_int_equal(world_misconfig(GPA(WIDE), false), i ? MMIO_DONE : MMIO_REENTER);
        world_mmio_spte(WIDE);
    }
    assert_int_equal(wide_value, 0x88);
    world_code("\x0f\xb6\x18", 3); /* movzx ebx, byte [rax] */
    for (unsigned i = 0; i < 5; i++) {
        world.cpu.gpr[GPR_RBX] = 0;
        world.regs[REG_RIP] = WORLD_CODE;
        assert_int_equal(world_misconfig(GPA(WIDE), false), MMIO_DONE);
        assert_int_equal(world.cpu.gpr[GPR_RBX], 0xff);
    }
    world.cpu.gpr[GPR_RBX] = 0;
    for (unsigned i = 0; i < 5; i++) {
        world_code(imm, 10);
        assert_int_equal(world_misconfig(GPA(WIDE), false), MMIO_DONE);
        assert_int_equal(wide_value, 0x12345678);
    }
    imm[9] = 0x55;
    world_code(imm, 10);
    assert_int_equal(world_misconfig(GPA(WIDE), false), MMIO_DONE);
    assert_int_equal(wide_value, 0x55345678);
}

/* C6: remapped without a flush. The exit is for what the CPU still holds. */
static void remapped(void **state)
{
    (void)state;
    warm_up();
    world_map(cr3, V, B, KERNEL | PTE_A | PTE_D);
    unsigned replay = world.replay;
    assert_int_equal(world_exit(V, A, true), MMIO_STALE);
    assert_int_equal(world_store(V, 7), WORLD_EMULATED);
    assert_int_equal(world.b.writes, 1);
    assert_int_equal(world.replay, replay);
}

/* During an event's delivery the instruction at RIP is not the one that touched memory. */
static void delivering(void **state)
{
    (void)state;
    warm_up();
    unsigned replay = world.replay, writes = world.a.writes;
    world.regs[REG_RIP] = WORLD_CODE;
    assert_int_equal(world_misconfig(GPA(A + 8), true), MMIO_END);
    assert_int_equal(world.replay, replay);
    assert_int_equal(world.a.writes, writes);
}

/* With gva_cache=exits the guest's flushes end it too. */
static void flushes(void **state)
{
    (void)state;
    start(GVA_CACHE_EXITS);
    warm_up();
    world_invlpg(V);
    assert_false(store_is_hot());
    warm_up();
    world_mov_cr3(cr3);
    assert_false(store_is_hot());
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, world_end)
    const struct CMUnitTest tests[] = {
        T(third_time),  T(registers),           T(flags),
        T(resume_flag), T(other_code),          T(flips_of_pkru),
        T(entries),     T(sequences),           T(doorbells),
        T(operands),    T(pages_of_one_device), T(stack_pointer),
        T(no_device),   T(instructions),        T(stored_values),
        T(remapped),    T(delivering),          T(flushes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
