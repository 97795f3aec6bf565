/* SPDX-License-Identifier: MIT */
/* INVPCID that exits: where its descriptor is, by the exit's information, and every fault of it. */
#include "tests/unit/mmio/mmio_world.h"

#include "arch/x86/reg_bits.h"
#include "mmio/fetch.h"
#include "mmio/invpcid.h"

#include <string.h>

#define DATA   0x10000ull    /* GPA of a descriptor */
#define PAGE_A 0x40000000ull /* a GVA that leads there, and the one after it elsewhere */
#define SECOND 0x12000ull
#define DEVICE 0x50000000ull
#define ABSENT 0x60000000ull
#define TOP    0x7ffffffff000ull

#define SIZE_16   0u
#define SIZE_32   1u
#define SIZE_64   2u
#define NO_BASE   BIT(27)
#define NO_INDEX  BIT(22)
#define VECTOR_SS 12
#define VECTOR_GP 13
#define VECTOR_PF 14

static struct invpcid got;

static uint64_t info(unsigned size, enum segment segment)
{
    return (uint64_t)size << 7 | (uint64_t)segment << 15 | NO_BASE | NO_INDEX |
           (uint64_t)GPR_RCX << 28;
}

static enum mmio_outcome invpcid(uint64_t information, uint64_t displacement)
{
    memset(&got, 0xff, sizeof(got));
    return mmio_invpcid(&world.vcpu, information, displacement, &got);
}

static void faults(uint64_t information, uint64_t displacement, unsigned vector, uint32_t code)
{
    assert_int_equal(invpcid(information, displacement), MMIO_INJECT);
    assert_int_equal(world.vcpu.fault.vector, vector);
    assert_int_equal(world.vcpu.fault.error_code, code);
}

static void descriptor(uint64_t gpa, uint64_t low, uint64_t high)
{
    uint64_t words[2] = {low, high};
    memcpy(world_ram[gpa / PAGE_SIZE] + gpa % PAGE_SIZE, words, sizeof(words));
}

static int setup(void **state)
{
    (void)state;
    world_init(GVA_CACHE_EXITS);
    uint64_t cr3 = world.regs[REG_CR3];
    world_map(cr3, PAGE_A, DATA, PTE_P | PTE_W);
    world_map(cr3, PAGE_A + PAGE_SIZE, SECOND, PTE_P | PTE_W);
    world_map(cr3, DEVICE, TESTDEV_A_BASE, PTE_P | PTE_W);
    world_map(cr3, TOP, DATA, PTE_P | PTE_W);
    world.regs[REG_CR4] |= CR4_PCIDE;
    world.cpu.gpr[GPR_RCX] = INVPCID_PCID;
    descriptor(DATA, 7, 0x1234);
    return 0;
}

/* Base, index, scale and displacement; the address size cuts their sum. */
static void where_it_is(void **state)
{
    (void)state;
    for (unsigned scale = 0; scale < 4; scale++)
        for (unsigned use = 0; use < 4; use++) {
            uint64_t i = info(SIZE_64, SEG_DS), sum = 0;
            world.cpu.gpr[GPR_RBX] = 0x1000;
            world.cpu.gpr[GPR_R9] = -0x100ull;
            if (use & 1) {
                i = (i & ~NO_BASE) | (uint64_t)GPR_RBX << 23;
                sum += 0x1000;
            }
            if (use & 2) {
                i = (i & ~NO_INDEX) | (uint64_t)GPR_R9 << 18 | scale;
                sum -= 0x100ull << scale;
            }
            assert_int_equal(invpcid(i, PAGE_A - sum), MMIO_DONE);
            assert_int_equal(got.pcid, 7);
            assert_int_equal(got.address, 0x1234);
        }
    assert_int_equal(invpcid(info(SIZE_32, SEG_DS), PAGE_A | 0xdead00000000), MMIO_DONE);
    world_map(world.regs[REG_CR3], 0x1000, DATA, PTE_P);
    assert_int_equal(invpcid(info(SIZE_16, SEG_DS), 0xffffffffdead1000), MMIO_DONE);
    /* RSP is a register like others here. */
    world.regs[REG_RSP] = PAGE_A - 8;
    assert_int_equal(invpcid((info(SIZE_64, SEG_SS) & ~NO_BASE) | (uint64_t)GPR_RSP << 23, 8),
                     MMIO_DONE);
}

/* In 64-bit code only FS and GS have a base, and none a limit or rights. */
static void segments_of_64_bit_code(void **state)
{
    (void)state;
    for (unsigned s = 0; s < SEG_COUNT; s++) {
        bool based = s == SEG_FS || s == SEG_GS;
        world.regs[REG_SEG_BASE + s] = 0x5000;
        world.regs[REG_SEG_LIMIT + s] = 0;
        if (s != SEG_CS)
            world.regs[REG_SEG_AR + s] = SEG_AR_UNUSABLE;
        world.regs[REG_SEG_AR + SEG_SS] &= ~(uint64_t)SEG_AR_DPL;
        assert_int_equal(invpcid(info(SIZE_64, s), PAGE_A - (based ? 0x5000 : 0)), MMIO_DONE);
        assert_int_equal(got.pcid, 7);
        unsigned vector = s == SEG_SS ? VECTOR_SS : VECTOR_GP;
        world.regs[REG_SEG_BASE + s] = 0;
        faults(info(SIZE_64, s), 0x800000000000, vector, 0);
        faults(info(SIZE_64, s), TOP + 0xff8, vector, 0); /* its last bytes lie beyond */
        assert_int_equal(invpcid(info(SIZE_64, s), TOP + 0xff0), MMIO_DONE);
    }
}

static void enter_32_bit_code(uint32_t code)
{
    world.regs[REG_SEG_AR + SEG_CS] = code;
    for (unsigned s = 0; s < SEG_COUNT; s++) {
        world.regs[REG_SEG_BASE + s] = 0;
        world.regs[REG_SEG_LIMIT + s] = ~0u;
        if (s != SEG_CS)
            world.regs[REG_SEG_AR + s] = AR_DATA32;
    }
}

static void segments_of_32_bit_code(void **state)
{
    (void)state;
    static const uint32_t codes[] = {AR_CODE32, AR_CODE16};
    for (unsigned c = 0; c < ARRAY_SIZE(codes); c++)
        for (unsigned s = 0; s < SEG_COUNT; s++) {
            unsigned vector = s == SEG_SS ? VECTOR_SS : VECTOR_GP;
            enter_32_bit_code(codes[c]);
            world.regs[REG_SEG_BASE + s] = 0xfffff000;
            assert_int_equal(invpcid(info(SIZE_32, s), PAGE_A + 0x1000), MMIO_DONE); /* wraps */
            world.regs[REG_SEG_BASE + s] = 0;
            world.regs[REG_SEG_LIMIT + s] = PAGE_A + 15;
            assert_int_equal(invpcid(info(SIZE_32, s), PAGE_A), MMIO_DONE);
            world.regs[REG_SEG_LIMIT + s] = PAGE_A + 14;
            faults(info(SIZE_32, s), PAGE_A, vector, 0);
            world.regs[REG_SEG_LIMIT + s] = ~0u;
            faults(info(SIZE_32, s), 0xfffffff1, vector, 0); /* beyond 4 GiB */
            if (s == SEG_CS) {                               /* code that can only be executed */
                world.regs[REG_SEG_AR + s] = codes[c] & ~2u;
                faults(info(SIZE_32, s), PAGE_A, vector, 0);
                continue;
            }
            world.regs[REG_SEG_AR + s] |= 4; /* expands down */
            faults(info(SIZE_32, s), PAGE_A, vector, 0);
            world.regs[REG_SEG_LIMIT + s] = PAGE_A - 1;
            assert_int_equal(invpcid(info(SIZE_32, s), PAGE_A), MMIO_DONE);
            world.regs[REG_SEG_AR + s] = SEG_AR_UNUSABLE;
            faults(info(SIZE_32, s), PAGE_A, vector, 0);
        }
}

/* Type and PCID by mode: 32 bits of the register outside 64-bit code. */
static void types(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 64; bit++)
        for (uint64_t type = 0; type < 4; type++) {
            uint64_t value = type ^ (bit ? BIT(bit) : 0);
            bool bad = value > 3;
            world.regs[REG_SEG_AR + SEG_CS] = AR_CODE64;
            world.cpu.gpr[GPR_RCX] = value;
            if (bad)
                faults(info(SIZE_64, SEG_DS), PAGE_A, VECTOR_GP, 0);
            else
                assert_int_equal(invpcid(info(SIZE_64, SEG_DS), PAGE_A), MMIO_DONE);
            enter_32_bit_code(AR_CODE32);
            if (bad && bit < 32)
                faults(info(SIZE_32, SEG_DS), PAGE_A, VECTOR_GP, 0);
            else
                assert_int_equal(invpcid(info(SIZE_32, SEG_DS), PAGE_A), MMIO_DONE);
            if (!bad || bit >= 32)
                assert_int_equal(got.type, value & 3);
        }
}

static void descriptors(void **state)
{
    (void)state;
    for (uint64_t type = 0; type < 4; type++)
        for (unsigned pcide = 0; pcide < 2; pcide++)
            for (unsigned bit = 0; bit < 128; bit++) {
                world.cpu.gpr[GPR_RCX] = type;
                world.regs[REG_CR4] =
                    pcide ? world.regs[REG_CR4] | CR4_PCIDE : world.regs[REG_CR4] & ~CR4_PCIDE;
                descriptor(DATA, bit < 64 ? BIT(bit) : 0, bit >= 64 ? BIT(bit - 64) : 0);
                bool bad = bit >= 12 && bit < 64;
                bad |= bit < 12 && type <= 1 && !pcide;
                bad |= bit >= 64 + 47 && type == 0;
                if (bad)
                    faults(info(SIZE_64, SEG_DS), PAGE_A, VECTOR_GP, 0);
                else
                    assert_int_equal(invpcid(info(SIZE_64, SEG_DS), PAGE_A), MMIO_DONE);
            }
}

static void pages(void **state)
{
    (void)state;
    uint64_t cr3 = world.regs[REG_CR3];
    /* Its second half lies on another page. */
    descriptor(DATA + 0xff8, 5, 0);
    descriptor(SECOND, 0x4321, 0);
    assert_int_equal(invpcid(info(SIZE_64, SEG_DS), PAGE_A + 0xff8), MMIO_DONE);
    assert_int_equal(got.pcid, 5);
    assert_int_equal(got.address, 0x4321);
    assert_true(*world_pte(cr3, PAGE_A) & PTE_A);
    assert_true(*world_pte(cr3, PAGE_A + PAGE_SIZE) & PTE_A);
    assert_false(*world_pte(cr3, PAGE_A) & PTE_D);

    faults(info(SIZE_64, SEG_DS), ABSENT, VECTOR_PF, 0);
    assert_int_equal(world.vcpu.fault.cr2, ABSENT);
    *world_pte(cr3, PAGE_A + PAGE_SIZE) = 0;
    world_invlpg(PAGE_A + PAGE_SIZE);
    faults(info(SIZE_64, SEG_DS), PAGE_A + 0xff8, VECTOR_PF, 0);
    assert_int_equal(world.vcpu.fault.cr2, PAGE_A + PAGE_SIZE);
    /* A supervisor's read of a user page. */
    world.regs[REG_CR4] |= CR4_SMAP;
    for (unsigned level = 4; level; level--)
        *world_entry(cr3, PAGE_A, level) |= PTE_U;
    world_invlpg(PAGE_A);
    faults(info(SIZE_64, SEG_DS), PAGE_A, VECTOR_PF, 1);
    world.regs[REG_RFLAGS] |= RFLAGS_AC;
    assert_int_equal(invpcid(info(SIZE_64, SEG_DS), PAGE_A), MMIO_DONE);
    /* A device is read, too. */
    world.regs[REG_RFLAGS] &= ~RFLAGS_AC;
    bus_write(&world.bus, &world.vcpu, TESTDEV_A_BASE, 4, 9);
    bus_write(&world.bus, &world.vcpu, TESTDEV_A_BASE + 4, 4, 0);
    assert_int_equal(invpcid(info(SIZE_64, SEG_DS), DEVICE), MMIO_DONE);
    assert_int_equal(got.pcid, 9);
}

static void breakpoints(void **state)
{
    (void)state;
    world.vcpu.breakpoints = (struct breakpoints){.on = true, .address = {PAGE_A + 12}};
    world.regs[REG_DR7] = 0x401 | 3ull << 16;
    assert_int_equal(invpcid(info(SIZE_64, SEG_DS), PAGE_A), MMIO_DONE);
    assert_int_equal(world.vcpu.breakpoints_met, TRAP_ENABLED_BREAKPOINT | 1);
    assert_int_equal(invpcid(info(SIZE_64, SEG_DS), PAGE_A + 16), MMIO_DONE);
    assert_int_equal(world.vcpu.breakpoints_met, 0);
}

static void privilege(void **state)
{
    (void)state;
    for (uint64_t cpl = 1; cpl < 4; cpl++) {
        world.regs[REG_SEG_AR + SEG_CS] = AR_CODE64 | cpl << 5;
        world.regs[REG_SEG_AR + SEG_SS] = AR_DATA32 | cpl << 5;
        faults(info(SIZE_64, SEG_DS), ABSENT, VECTOR_GP, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(where_it_is, setup, world_end),
        cmocka_unit_test_setup_teardown(segments_of_64_bit_code, setup, world_end),
        cmocka_unit_test_setup_teardown(segments_of_32_bit_code, setup, world_end),
        cmocka_unit_test_setup_teardown(types, setup, world_end),
        cmocka_unit_test_setup_teardown(descriptors, setup, world_end),
        cmocka_unit_test_setup_teardown(pages, setup, world_end),
        cmocka_unit_test_setup_teardown(breakpoints, setup, world_end),
        cmocka_unit_test_setup_teardown(privilege, setup, world_end),
    };
    return cmocka_run_group_tests_name("INVPCID", tests, NULL, NULL);
}
