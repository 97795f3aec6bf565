/* SPDX-License-Identifier: MIT */
/*
 * What the emulator does beside moving and computing: refusals, the stack and branches in narrow
 * code, segments, alignment, LOCK, doorbells, and the TLB rule of D6 for every kind of instruction.
 * What instructions compute is test_mmio_native.c's; strings are test_mmio_strings.c's.
 */
#include "tests/unit/mmio/mmio_vectors.h"
#include "arch/x86/reg_bits.h"
#include "tests/unit/mmio/mmio_places.h"

#include "mmio/emulate.h"

#include <string.h>

#define RF BIT(16)
#define TF BIT(8)
#define DF BIT(10)
#define VM BIT(17)

static int setup(void **state)
{
    (void)state;
    world_init(GVA_CACHE_VERIFY);
    vectors_xcr0 = 7;
    world.regs[REG_CR4] |= CR4_OSFXSR | CR4_OSXSAVE;
    world_map_devices();
    return 0;
}

#define MOVUPS_STORE  CODE(0x0f, 0x11, 0x08)       /* movups [rax], xmm1 */
#define VMOVUPS_STORE CODE(0xc5, 0xfc, 0x11, 0x08) /* vmovups [rax], ymm1 */

/* Who may not use the registers gets #UD or #NM, and the device nothing. */
static void vector_refusals(void **state)
{
    static const struct {
        uint64_t cr0, cr4_clear, rflags, xcr0;
        uint8_t sse, avx; /* vectors; 0: it works */
    } cases[] = {
        {0, 0, 0, 7, 0, 0},
        {CR0_EM, 0, 0, 7, 6, 0},
        {CR0_TS, 0, 0, 7, 7, 7},
        {CR0_EM | CR0_TS, 0, 0, 7, 6, 7}, /* #UD comes first */
        {0, CR4_OSFXSR, 0, 7, 6, 0},
        {0, CR4_OSXSAVE, 0, 7, 0, 6},
        {0, 0, 0, 3, 0, 6},
        {0, 0, 0, 5, 0, 6},
        {CR0_TS, CR4_OSXSAVE, 0, 7, 7, 6},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
        for (unsigned avx = 0; avx < 2; avx++) {
            setup(state);
            world.cpu.gpr[GPR_RAX] = V;
            world.regs[REG_CR0] |= cases[i].cr0;
            world.regs[REG_CR4] &= ~cases[i].cr4_clear;
            vectors_xcr0 = cases[i].xcr0;
            uint8_t vector = avx ? cases[i].avx : cases[i].sse;
            enum mmio_outcome outcome =
                avx ? run_code(VMOVUPS_STORE, A) : run_code(MOVUPS_STORE, A);
            if (vector)
                assert_fault(outcome, vector, false);
            else
                assert_int_equal(outcome, MMIO_DONE);
        }
    setup(state);
    world.regs[REG_CR4] &= ~(CR4_OSFXSR | CR4_OSXSAVE);
    world.regs[REG_CR0] |= CR0_EM | CR0_TS;
    world.cpu.gpr[GPR_RAX] = V;
    assert_int_equal(run_code(CODE(0x0f, 0xc3, 0x18), A), MMIO_DONE); /* movnti is none of them */
}

/* VEX means nothing outside protected mode. */
static void vex_needs_protected_mode(void **state)
{
    (void)state;
    world.regs[REG_EFER] = 0;
    world.regs[REG_CR0] = CR0_PE;
    for (unsigned i = 0; i < SEG_COUNT; i++)
        world.regs[REG_SEG_AR + i] = i == SEG_CS ? AR_CODE32 : AR_DATA32;
    world.cpu.gpr[GPR_RAX] = A;
    assert_int_equal(run_code(VMOVUPS_STORE, A), MMIO_DONE);
    testdev_init(&world.a, 'A');
    world.regs[REG_RFLAGS] |= VM;
    assert_fault(run_code(VMOVUPS_STORE, A), 6, false);
    world.regs[REG_RFLAGS] &= ~VM;
    world.regs[REG_CR0] = 0;
    assert_fault(run_code(VMOVUPS_STORE, A), 6, false);
    assert_int_equal(run_code(MOVUPS_STORE, A), MMIO_DONE);
}

/* #AC for ring 3 with AM and AC; aligned accesses, ring 0 and byte accesses pass. */
static void alignment(void **state)
{
    (void)state;
    uint64_t cr3 = world.regs[REG_CR3];
    world_map(cr3, V, A, USER);
    for (unsigned i = 1; i < 4; i++)
        *world_entry(cr3, V, i + 1) |= PTE_U;
    world.regs[REG_SEG_AR + SEG_CS] |= SEG_AR_DPL;
    world.regs[REG_SEG_AR + SEG_SS] |= SEG_AR_DPL;
    world.regs[REG_RFLAGS] |= RFLAGS_AC;
    world.cpu.gpr[GPR_RAX] = V + 2;
    assert_int_equal(run_code(CODE(0x01, 0x18), A + 2), MMIO_DONE); /* no AM */
    testdev_init(&world.a, 'A');
    world.regs[REG_CR0] |= CR0_AM;
    for (unsigned i = 0; i < 3; i++) { /* not from the fast path either */
        world.cpu.gpr[GPR_RAX] = V + 4;
        assert_int_equal(run_code(CODE(0x89, 0x18), A + 4), MMIO_DONE);
        testdev_init(&world.a, 'A');
        world.cpu.gpr[GPR_RAX] = V + 2;
        assert_fault(run_code(CODE(0x89, 0x18), A + 2), 17, true);
    }
    assert_fault(run_code(CODE(0x01, 0x18), A + 2), 17, true);
    assert_int_equal(run_code(CODE(0x66, 0x01, 0x18), A + 2), MMIO_DONE);
    assert_int_equal(run_code(CODE(0x0f, 0x11, 0x08), A + 2), MMIO_DONE); /* movups may */
    world.regs[REG_RFLAGS] &= ~RFLAGS_AC;
    assert_int_equal(run_code(CODE(0x01, 0x18), A + 2), MMIO_DONE);
}

/* ---- Narrow code ----------------------------------------------------------------------------- */

static void legacy(uint64_t cs, uint64_t data)
{
    setup(NULL);
    world.regs[REG_EFER] = 0;
    world.regs[REG_CR4] = 0;
    world.regs[REG_CR0] = CR0_PE;
    for (unsigned i = 0; i < SEG_COUNT; i++)
        world.regs[REG_SEG_AR + i] = i == SEG_CS ? cs : data;
}

/* PUSH, POP, CALL and JMP of 16 and 32 bits; SS.B says how wide the stack pointer is. */
static void stack_narrow(void **state)
{
    (void)state;
    legacy(AR_CODE16, AR_DATA16);
    world.regs[REG_SEG_BASE + SEG_DS] = A;
    world.regs[REG_SEG_BASE + SEG_SS] = 0x90000;
    world.regs[REG_SEG_LIMIT + SEG_SS] = 0xffff;
    world.regs[REG_RSP] = 0x70000;
    memcpy(world.a.ram, "\x34\x12\x78\x56", 4);
    assert_int_equal(run_code(CODE(0xff, 0x36, 0, 0), A), MMIO_DONE); /* push word [0] */
    assert_int_equal(world.regs[REG_RSP], 0x7fffe);
    assert_memory_equal((uint8_t *)world_ram + 0x9fffe, "\x34\x12", 2);
    assert_int_equal(run_code(CODE(0x66, 0x8f, 0x06, 8, 0), A + 8),
                     MMIO_INJECT); /* pop beyond 64 KiB */
    assert_int_equal(world.vcpu.fault.vector, 12);
    assert_int_equal(run_code(CODE(0x8f, 0x06, 8, 0), A + 8), MMIO_DONE); /* pop word [8] */
    assert_int_equal(world.regs[REG_RSP], 0x70000);
    assert_memory_equal(&world.a.ram[8], "\x34\x12\0\0", 4);
    assert_int_equal(run_code(CODE(0xff, 0x16, 2, 0), A + 2), MMIO_DONE); /* call word [2] */
    assert_int_equal(world.regs[REG_RIP], 0x5678);
    assert_memory_equal((uint8_t *)world_ram + 0x9fffe, "\x04\x50", 2);
    assert_int_equal(run_code(CODE(0x66, 0xff, 0x26, 0, 0), A), MMIO_DONE); /* jmp dword [0] */
    assert_int_equal(world.regs[REG_RIP], 0x56781234);
    world.regs[REG_SEG_LIMIT + SEG_CS] = 0x56781233;
    testdev_init(&world.a, 'A');
    memcpy(world.a.ram, "\x34\x12\x78\x56", 4);
    assert_int_equal(run_code(CODE(0x66, 0xff, 0x26, 0, 0), A), MMIO_INJECT);
    assert_int_equal(world.vcpu.fault.vector, 13);
    assert_int_equal(world.regs[REG_RIP], WORLD_CODE);
    uint64_t top = world.regs[REG_RSP];
    assert_int_equal(run_code(CODE(0x66, 0xff, 0x16, 0, 0), A), MMIO_INJECT); /* nor is it pushed */
    assert_int_equal(world.regs[REG_RSP], top);
}

/* The stack itself may be the device; POP's address sees the popped stack pointer. */
static void stack_in_a_device(void **state)
{
    (void)state;
    memcpy(world_ram[9], "\x11\x22\x33\x44\x55\x66\x77\x88", 8);
    world.regs[REG_RSP] = V + 0x10;
    world.cpu.gpr[GPR_RAX] = V + 8192;
    assert_int_equal(run_code(CODE(0xff, 0x30), A + 8), MMIO_DONE); /* push qword [rax] */
    assert_int_equal(world.regs[REG_RSP], V + 8);
    assert_memory_equal(&world.a.ram[8], world_ram[9], 8);
    assert_int_equal(run_code(CODE(0x8f, 0x44, 0x24, 8), A + 8), MMIO_DONE); /* pop [rsp+8] */
    assert_int_equal(world.regs[REG_RSP], V + 0x10);
    assert_memory_equal(&world.a.ram[0x18], world_ram[9], 8);
    world_map(world.regs[REG_CR3], V + 8192, 0, 0);
    testdev_init(&world.a, 'A');
    assert_fault(run_code(CODE(0xff, 0x30), A + 8), 14, true);
}

/* ---- Everything else ------------------------------------------------------------------------- */

/* D6: no kind acts on another address than the exit's; `exits` forgets once and looks again. */
static void stale_of_every_kind(void **state)
{
    static const struct {
        uint8_t size, code[5];
    } cases[] = {
        {2, {0x01, 0x18}},       /* add */
        {1, {0xab}},             /* stosd */
        {2, {0xf3, 0xab}},       /* rep stosd */
        {2, {0xff, 0x30}},       /* push */
        {2, {0x8f, 0x00}},       /* pop */
        {2, {0xff, 0x20}},       /* jmp */
        {3, {0x0f, 0x11, 0x08}}, /* movups */
        {3, {0x0f, 0xc7, 0x08}}, /* cmpxchg8b */
        {3, {0x0f, 0xae, 0x38}}, /* clflush */
        {3, {0xf0, 0x01, 0x18}}, /* lock add */
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
        for (unsigned mode = GVA_CACHE_OFF; mode <= GVA_CACHE_VERIFY; mode++) {
            setup(state);
            world.vcpu.cache.mode = (enum gva_cache)mode;
            world.cpu.gpr[GPR_RAX] = world.cpu.gpr[GPR_RDI] = V;
            world.cpu.gpr[GPR_RCX] = 1;
            world.regs[REG_RSP] = V + 8192 + 64;
            uint64_t rflags = world.regs[REG_RFLAGS];
            assert_int_equal(run_code(cases[i].code, cases[i].size, B), MMIO_STALE);
            assert_int_equal(world.a.reads + world.a.writes + world.b.reads + world.b.writes, 0);
            assert_int_equal(world.regs[REG_RIP], WORLD_CODE);
            assert_int_equal(world.regs[REG_RFLAGS], rflags);
            assert_int_equal(world.cpu.gpr[GPR_RDI], V);
            assert_int_equal(world.regs[REG_RSP], V + 8192 + 64);
            assert_int_equal(world.vcpu.stats.stale_translations, 1);
            if (mode != GVA_CACHE_EXITS)
                continue;
            /* The kept walk is old; the CPU already sees the new one. */
            assert_int_equal(run_code(CODE(0x83, 0x38, 0), A), MMIO_DONE);
            world_map(world.regs[REG_CR3], V, B, KERNEL);
            memset(world.b.ram, 0, 16);
            assert_int_equal(run_code(cases[i].code, cases[i].size, B), MMIO_DONE);
        }
}

static void flags_rf_and_step(void **state)
{
    (void)state;
    world.cpu.gpr[GPR_RAX] = V;
    world.regs[REG_RFLAGS] = 2 | RF | DF | BIT(9);
    assert_int_equal(run_code(CODE(0x83, 0x38, 0), A), MMIO_DONE); /* cmp dword [rax], 0 */
    assert_int_equal(world.regs[REG_RFLAGS], 2 | DF | BIT(9) | BIT(6) | BIT(2));
    assert_false(world.vcpu.single_step);
    world.regs[REG_RFLAGS] |= TF;
    assert_int_equal(run_code(CODE(0x83, 0x38, 0), A), MMIO_DONE);
    assert_true(world.vcpu.single_step);
}

static void segment_registers(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        const uint8_t code[2] = {0x8c, (uint8_t)(i << 3)};
        world.regs[REG_SEG_SELECTOR + i] = 0x1010 + i;
        world.cpu.gpr[GPR_RAX] = V + 2 * i;
        assert_int_equal(run_code(code, 2, A + 2 * i), MMIO_DONE);
        assert_int_equal(world.a.last_value, 0x1010 + i);
        assert_int_equal(world.a.last_size, 2);
    }
}

/* A write that other instructions make rings a doorbell, after what they read. */
static unsigned rung;
static void ring(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                 uint64_t value)
{
    (void)device;
    (void)vcpu;
    (void)offset;
    (void)size;
    (void)value;
    rung++;
}
static const struct bus_ops bell = {.name = "bell", .write = ring};

static void doorbells(void **state)
{
    (void)state;
    const struct bus_doorbell doorbell = {.address = A, .ops = &bell};
    assert_int_equal(bus_doorbell_add(&world.bus, &doorbell), 0);
    rung = 0;
    world.cpu.gpr[GPR_RAX] = world.cpu.gpr[GPR_RDI] = V;
    assert_int_equal(run_code(CODE(0xab), A), MMIO_DONE);
    assert_int_equal(rung, 1);
    memcpy(world.a.ram, "\x07\0\0\0", 4);
    world.cpu.gpr[GPR_RBX] = 1;
    assert_int_equal(run_code(CODE(0x0f, 0xc1, 0x18), A), MMIO_DONE); /* xadd */
    assert_int_equal(rung, 2);
    assert_int_equal(world.cpu.gpr[GPR_RBX], 7);
    assert_int_equal(world.a.writes, 0);
    assert_int_equal(run_code(CODE(0x83, 0x38, 0), A), MMIO_DONE); /* cmp: a read */
    assert_int_equal(rung, 2);
}

/* A tracked page: LOCK takes the compare-exchange of guest memory, which must fit any size and
 * place. */
static void locked_memory(void **state)
{
    (void)state;
    bool rings;
    for (unsigned offset = 0; offset < 16; offset++) {
        world.cpu.gpr[GPR_RAX] = V + 8192 + offset;
        world.cpu.gpr[GPR_RBX] = 0x0102030405060708;
        for (unsigned size = 1; size <= 8; size *= 2) {
            uint8_t expected[32], code[4] = {0xf0, 0x01, 0x18};
            unsigned length = 3;
            if (size == 1)
                code[1] = 0x00;
            if (size == 2 || size == 8) {
                memcpy(code, size == 2 ? "\x66\xf0\x01\x18" : "\xf0\x48\x01\x18", 4);
                length = 4;
            }
            for (unsigned i = 0; i < sizeof(expected); i++)
                expected[i] = (uint8_t)(0xf0 + i);
            memcpy(world_ram[9], expected, sizeof(expected));
            uint64_t value = 0;
            memcpy(&value, expected + offset, size);
            value += world.cpu.gpr[GPR_RBX];
            memcpy(expected + offset, &value, size);
            world_code(code, length);
            assert_int_equal(mmio_emulate(&world.vcpu, GPA(0x9000 + offset), TARGET_MEMORY, &rings),
                             MMIO_DONE);
            assert_memory_equal(world_ram[9], expected, sizeof(expected));
            assert_int_equal(world.bus.unclaimed, 0);
        }
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, world_end)
    const struct CMUnitTest tests[] = {
        T(vector_refusals),   T(vex_needs_protected_mode), T(alignment),
        T(stack_narrow),      T(stack_in_a_device),        T(stale_of_every_kind),
        T(flags_rf_and_step), T(segment_registers),        T(doorbells),
        T(locked_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
