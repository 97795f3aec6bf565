/* SPDX-License-Identifier: MIT */
/*
 * Emulation: what each form does to memory and registers, accesses that cross pages, faults before
 * effects, fetch at the edges, and the end of a VM in words.
 */
#include "tests/unit/mmio/mmio_places.h"

#include "arch/x86/reg_bits.h"
#include "mmio/emulate.h"

#include <string.h>

#define PATTERN 0x8877665544332211ull
#define OLD     0xa1a2a3a4a5a6a7a8ull

static int setup(void **state)
{
    (void)state;
    world_init(GVA_CACHE_VERIFY);
    world_map(world.regs[REG_CR3], V, A, KERNEL);
    world_map(world.regs[REG_CR3], V + 4096, B, KERNEL);
    world_mmio_spte(A);
    world_mmio_spte(B);
    return 0;
}

static enum mmio_outcome run(const void *code, unsigned size, uint64_t gpa)
{
    world_code(code, size);
    return world_misconfig(GPA(gpa), false);
}

/* Loads and what they leave in RBX (or RAX), from a device that holds PATTERN. */
static void loads(void **state)
{
    (void)state;
    /* clang-format off */
    static const struct {
        uint8_t length, code[12];
        unsigned offset;
        enum gpr reg;
        uint64_t result;
    } cases[] = {
        {2, {0x8a, 0x18}, 0, GPR_RBX, 0xa1a2a3a4a5a6a711},             /* mov bl, [rax] */
        {2, {0x8a, 0x38}, 0, GPR_RBX, 0xa1a2a3a4a5a611a8},             /* mov bh, [rax] */
        {3, {0x66, 0x8b, 0x18}, 0, GPR_RBX, 0xa1a2a3a4a5a62211},       /* mov bx, [rax] */
        {2, {0x8b, 0x18}, 0, GPR_RBX, 0x44332211},                     /* mov ebx, [rax] */
        {3, {0x48, 0x8b, 0x18}, 0, GPR_RBX, PATTERN},                  /* mov rbx, [rax] */
        {3, {0x0f, 0xb6, 0x18}, 0, GPR_RBX, 0x11},                     /* movzx ebx, byte */
        {4, {0x66, 0x0f, 0xb6, 0x18}, 0, GPR_RBX, 0xa1a2a3a4a5a60011}, /* movzx bx, byte */
        {4, {0x48, 0x0f, 0xb7, 0x18}, 0, GPR_RBX, 0x2211},             /* movzx rbx, word */
        {4, {0x0f, 0xbe, 0x58, 7}, 7, GPR_RBX, 0xffffff88},            /* movsx ebx, byte */
        {5, {0x66, 0x0f, 0xbe, 0x58, 7}, 7, GPR_RBX, 0xa1a2a3a4a5a6ff88},
        {5, {0x48, 0x0f, 0xbe, 0x58, 7}, 7, GPR_RBX, 0xffffffffffffff88},
        {5, {0x48, 0x0f, 0xbf, 0x58, 6}, 6, GPR_RBX, 0xffffffffffff8877},
        {4, {0x0f, 0xbf, 0x58, 6}, 6, GPR_RBX, 0xffff8877},
        {4, {0x48, 0x63, 0x58, 4}, 4, GPR_RBX, 0xffffffff88776655},    /* movsxd */
        {3, {0x63, 0x58, 4}, 4, GPR_RBX, 0x88776655},
        {9, {0xa0, 0, 0, 0, 0x40}, 0, GPR_RAX, 0x40000011},            /* moffs */
        {10, {0x48, 0xa1, 0, 0, 0, 0x40}, 0, GPR_RAX, PATTERN},
        {6, {0x67, 0xa1, 0, 0, 0, 0x40}, 0, GPR_RAX, 0x44332211},
    };
    /* clang-format on */
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        uint64_t p = PATTERN;
        memcpy(world.a.ram, &p, 8);
        world.cpu.gpr[GPR_RAX] = V;
        world.cpu.gpr[GPR_RBX] = OLD;
        assert_int_equal(run(cases[i].code, cases[i].length, A + cases[i].offset), MMIO_DONE);
        assert_int_equal(world.cpu.gpr[cases[i].reg], cases[i].result);
        assert_int_equal(world.regs[REG_RIP], WORLD_CODE + cases[i].length);
    }
}

/* Stores: the bytes that change and nothing else. */
static void stores(void **state)
{
    (void)state;
    static const struct {
        uint8_t length;
        uint8_t code[12];
        unsigned size;
        uint64_t value;
    } cases[] = {
        {2, {0x88, 0x18}, 1, 0xa8},
        {2, {0x88, 0x38}, 1, 0xa7},       /* bh */
        {3, {0x40, 0x88, 0x38}, 1, 0x5d}, /* dil */
        {3, {0x66, 0x89, 0x18}, 2, 0xa7a8},
        {2, {0x89, 0x18}, 4, 0xa5a6a7a8},
        {3, {0x48, 0x89, 0x18}, 8, OLD},
        {3, {0xc6, 0x00, 0x80}, 1, 0x80},
        {5, {0x66, 0xc7, 0x00, 0x34, 0x12}, 2, 0x1234},
        {6, {0xc7, 0x00, 1, 2, 3, 0x84}, 4, 0x84030201},
        {7, {0x48, 0xc7, 0x00, 1, 2, 3, 0x84}, 8, 0xffffffff84030201},
        {9, {0xa2, 0, 0, 0, 0x40, 0, 0, 0, 0}, 1, 0},
        {9, {0xa3, 0, 0, 0, 0x40, 0, 0, 0, 0}, 4, 0x40000000},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        memset(world.a.ram, 0xee, sizeof(world.a.ram));
        world.cpu.gpr[GPR_RAX] = V;
        world.cpu.gpr[GPR_RBX] = OLD;
        world.cpu.gpr[GPR_RDI] = 0x5d;
        assert_int_equal(run(cases[i].code, cases[i].length, A), MMIO_DONE);
        uint64_t value = 0xeeeeeeeeeeeeeeee;
        memcpy(&value, &cases[i].value, cases[i].size);
        assert_memory_equal(world.a.ram, &value, 8);
        assert_int_equal(world.a.last_size, cases[i].size);
        assert_int_equal(world.cpu.gpr[GPR_RBX], OLD);
    }
}

/* Each part of an address: base, scaled index, displacement, RIP, FS, and the 32-bit wrap. */
static void addresses(void **state)
{
    (void)state;
    world.cpu.gpr[GPR_RAX] = V - 0x100;
    world.cpu.gpr[GPR_R9] = 0x20;
    /* mov [rax + r9*8 + 4], ebx */
    assert_int_equal(run(CODE(0x42, 0x89, 0x5c, 0xc8, 0x04), A + 4), MMIO_DONE);
    /* mov [rip + disp32], ebx: from the next instruction */
    uint32_t disp = (uint32_t)(V + 0x10 - (WORLD_CODE + 6));
    uint8_t rip[6] = {0x89, 0x1d};
    memcpy(rip + 2, &disp, 4);
    assert_int_equal(run(rip, 6, A + 0x10), MMIO_DONE);
    /* the access again, with an immediate after the displacement */
    uint8_t imm[10] = {0xc7, 0x05};
    disp = (uint32_t)(V + 0x14 - (WORLD_CODE + 10));
    memcpy(imm + 2, &disp, 4);
    assert_int_equal(run(imm, 10, A + 0x14), MMIO_DONE);
    /* mov fs:[rax], ebx; GS likewise */
    world.regs[REG_SEG_BASE + SEG_FS] = 0x118;
    assert_int_equal(run(CODE(0x64, 0x89, 0x18), A + 0x18), MMIO_DONE);
    world.regs[REG_SEG_BASE + SEG_GS] = 0x11c;
    assert_int_equal(run(CODE(0x65, 0x89, 0x18), A + 0x1c), MMIO_DONE);
    world.regs[REG_SEG_BASE + SEG_DS] = 0x5555; /* no base in 64-bit code */
    assert_int_equal(run(CODE(0x3e, 0x89, 0x98, 0x20, 1, 0, 0), A + 0x20), MMIO_DONE);
    /* mov [eax], ebx cuts at 32 bits */
    world.cpu.gpr[GPR_RAX] = BIT(32) | (V + 0x24);
    assert_int_equal(run(CODE(0x67, 0x89, 0x18), A + 0x24), MMIO_DONE);
    assert_int_equal(world.a.writes, 7);
    assert_int_equal(world.vcpu.stats.stale_translations, 0);
}

/* Both halves on devices, in order; the exit may be for either. */
static void crossing_devices(void **state)
{
    (void)state;
    world.cpu.gpr[GPR_RAX] = V + 0xffd;
    world.cpu.gpr[GPR_RBX] = PATTERN;
    assert_int_equal(run(CODE(0x48, 0x89, 0x18), A + 0xffd), MMIO_DONE);
    assert_int_equal(world.b.last_offset, 0);
    assert_int_equal(world.b.last_size, 5);
    assert_int_equal(world.b.last_value, 0x8877665544);
    world.b.ram[0] = 0x99;
    assert_int_equal(run(CODE(0x48, 0x8b, 0x18), B), MMIO_DONE);
    assert_int_equal(world.cpu.gpr[GPR_RBX], 0x8877665599332211);
    assert_int_equal(run(CODE(0x48, 0x8b, 0x18), B + 5), MMIO_STALE); /* not of this access */
    assert_int_equal(run(CODE(0x48, 0x8b, 0x18), A + 0xffc), MMIO_STALE);
}

/* RAM and a device, both ways round; the two pages need not be neighbours. */
static void crossing_ram(void **state)
{
    (void)state;
    uint64_t cr3 = world.regs[REG_CR3];
    world_map(cr3, V - 4096, 0x9000, KERNEL);
    world.cpu.gpr[GPR_RAX] = V - 3;
    world.cpu.gpr[GPR_RBX] = PATTERN;
    assert_int_equal(run(CODE(0x48, 0x89, 0x18), A), MMIO_DONE);
    assert_memory_equal(&world_ram[9][4093], "\x11\x22\x33", 3);
    assert_int_equal(world.a.last_value, 0x8877665544);
    assert_int_equal(run(CODE(0x48, 0x8b, 0x18), A), MMIO_DONE);
    assert_int_equal(world.cpu.gpr[GPR_RBX], PATTERN);
    world_map(cr3, V + 4096, 0xa000, KERNEL);
    world.cpu.gpr[GPR_RAX] = V + 0xffe;
    assert_int_equal(run(CODE(0x89, 0x18), A + 0xffe), MMIO_DONE);
    assert_memory_equal(world_ram[10], "\x33\x44", 2);
}

static void assert_fault_code(enum mmio_outcome outcome, uint8_t vector, uint32_t error_code)
{
    assert_int_equal(outcome, MMIO_INJECT);
    assert_int_equal(world.vcpu.fault.vector, vector);
    assert_int_equal(world.vcpu.fault.error_code, error_code);
    assert_int_equal(world.vcpu.fault.has_error_code, vector != 6);
    assert_int_equal(world.regs[REG_RIP], WORLD_CODE);
    assert_int_equal(world.a.writes + world.a.reads, 0);
}

/* All faults are decided before the first half is written. */
static void faults_come_first(void **state)
{
    (void)state;
    *world_pte(world.regs[REG_CR3], V + 4096) = 0;
    world.cpu.gpr[GPR_RAX] = V + 0xffe;
    assert_fault_code(run(CODE(0x89, 0x18), A + 0xffe), 14, PF_WRITE);
    assert_int_equal(world.vcpu.fault.cr2, V + 4096);
    assert_int_equal(world.bus.unclaimed, 0);
    world.cpu.gpr[GPR_RAX] = BIT(47) - 2; /* runs into the hole of addresses */
    assert_fault_code(run(CODE(0x89, 0x18), A), 13, 0);
    world.regs[REG_RSP] = BIT(62);
    assert_fault_code(run(CODE(0x89, 0x1c, 0x24), A), 12, 0);
    assert_fault_code(run(CODE(0xf0, 0x89, 0x18), A), 6, 0);
    assert_fault_code(run(CODE(0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
                               0x66, 0x66, 0x66, 0x89, 0x18),
                          A),
                      13, 0);
}

static void legacy(uint64_t cs_rights, uint64_t data_rights, uint64_t limit)
{
    setup(NULL);
    world.regs[REG_EFER] = 0;
    world.regs[REG_CR4] = 0;
    world.regs[REG_CR0] = CR0_PE;
    world.regs[REG_SEG_AR + SEG_CS] = cs_rights;
    world.regs[REG_SEG_AR + SEG_DS] = data_rights;
    world.regs[REG_SEG_LIMIT + SEG_DS] = limit;
}

/* Segments of 32-bit code: base, limit, type, expand-down, unusable. */
static void segments_32(void **state)
{
    (void)state;
    legacy(AR_CODE32, AR_DATA32, 0xffffffff);
    world.regs[REG_SEG_BASE + SEG_DS] = A - 0x1000;
    world.cpu.gpr[GPR_RAX] = 0x1008;
    assert_int_equal(run(CODE(0x89, 0x18), A + 8), MMIO_DONE);
    world.regs[REG_SEG_BASE + SEG_DS] = 0xffffff00; /* wraps at 4 GiB */
    world.cpu.gpr[GPR_RAX] = A + 0x104;
    assert_int_equal(run(CODE(0x89, 0x18), A + 4), MMIO_DONE);
    assert_int_equal(world.a.writes, 2);

    legacy(AR_CODE32, AR_DATA32, 0x10b);
    world.regs[REG_SEG_BASE + SEG_DS] = A;
    world.cpu.gpr[GPR_RAX] = 0x109;
    assert_fault_code(run(CODE(0x89, 0x18), A + 0x109), 13, 0);
    world.cpu.gpr[GPR_RAX] = 0x108;
    assert_int_equal(run(CODE(0x89, 0x18), A + 0x108), MMIO_DONE);

    legacy(AR_CODE32, AR_DATA32 | 4, 0xfff); /* expand-down: valid above the limit */
    world.regs[REG_SEG_BASE + SEG_DS] = A - 0x1000;
    world.cpu.gpr[GPR_RAX] = 0xfff;
    assert_fault_code(run(CODE(0x89, 0x18), A), 13, 0);
    world.cpu.gpr[GPR_RAX] = 0x1000;
    assert_int_equal(run(CODE(0x89, 0x18), A), MMIO_DONE);

    static const uint64_t refused[] = {AR_DATA32 & ~2u, AR_CODE32, AR_DATA32 | SEG_AR_UNUSABLE};
    for (unsigned i = 0; i < ARRAY_SIZE(refused); i++) {
        legacy(AR_CODE32, refused[i], 0xffffffff);
        world.cpu.gpr[GPR_RAX] = A;
        assert_fault_code(run(CODE(0x89, 0x18), A), 13, 0);
    }
    legacy(AR_CODE32, AR_CODE32 & ~2u, 0xffffffff); /* execute-only: no reads either */
    world.cpu.gpr[GPR_RAX] = A;
    assert_fault_code(run(CODE(0x8b, 0x18), A), 13, 0);
    legacy(AR_CODE32, AR_DATA32 & ~2u, 0xffffffff); /* read-only: reads pass */
    world.cpu.gpr[GPR_RAX] = A;
    assert_int_equal(run(CODE(0x8b, 0x18), A), MMIO_DONE);

    legacy(AR_CODE32, AR_DATA32, 0xffffffff);
    world.cpu.gpr[GPR_RBP] = 0xfffffffe; /* a wrap inside the access is beyond every limit */
    assert_fault_code(run(CODE(0x89, 0x5d, 0x00), A), 12, 0);
}

/* 16-bit code: 64 KiB offsets, FS with a large base, IP, and real mode without error codes. */
static void code_16(void **state)
{
    (void)state;
    legacy(AR_CODE16, AR_DATA16, 0xffff);
    world.regs[REG_CR0] = 0;
    world.regs[REG_SEG_BASE + SEG_DS] = A;
    world.cpu.gpr[GPR_RBX] = 0xffff0010; /* the upper half does not count */
    world.cpu.gpr[GPR_RSI] = 8;
    world.cpu.gpr[GPR_RCX] = 0x12345678;
    assert_int_equal(run(CODE(0x89, 0x08), A + 0x18), MMIO_DONE); /* mov [bx+si], cx */
    assert_int_equal(world.a.last_size, 2);
    assert_int_equal(world.a.last_value, 0x5678);
    world.cpu.gpr[GPR_RBX] = 0xfff8;
    world.cpu.gpr[GPR_RSI] = 0x10; /* wraps to 8 */
    assert_int_equal(run(CODE(0x8b, 0x08), A + 8), MMIO_DONE);
    world.cpu.gpr[GPR_RBX] = 0xffff;
    world.cpu.gpr[GPR_RSI] = 0;
    assert_int_equal(run(CODE(0x89, 0x08), A), MMIO_INJECT); /* the word's second byte */
    assert_int_equal(world.vcpu.fault.vector, 13);
    assert_false(world.vcpu.fault.has_error_code);

    /* CS has a base and a limit; the instruction ends at the limit, or goes beyond it. */
    world.cpu.gpr[GPR_RBX] = 0;
    world.regs[REG_SEG_BASE + SEG_CS] = WORLD_CODE - 0x100;
    world.regs[REG_SEG_LIMIT + SEG_CS] = 0x101;
    world_code("\x89\x08", 2);
    world.regs[REG_RIP] = 0x100;
    assert_int_equal(world_misconfig(GPA(A), false), MMIO_DONE);
    assert_int_equal(world.regs[REG_RIP], 0x102);
    world.regs[REG_SEG_LIMIT + SEG_CS] = 0x100;
    world.regs[REG_RIP] = 0x100;
    assert_int_equal(world_misconfig(GPA(A), false), MMIO_INJECT);
    assert_int_equal(world.vcpu.fault.vector, 13);
    assert_int_equal(world.regs[REG_RIP], 0x100);
}

/* EIP has 32 bits outside 64-bit code. */
static void rip_wraps(void **state)
{
    (void)state;
    legacy(AR_CODE32, AR_DATA32, 0xffffffff);
    world.regs[REG_SEG_BASE + SEG_CS] = WORLD_CODE + 2;
    world_code("\x89\x18", 2);
    world.regs[REG_RIP] = 0xfffffffe;
    world.cpu.gpr[GPR_RAX] = A;
    assert_int_equal(world_misconfig(GPA(A), false), MMIO_DONE);
    assert_int_equal(world.regs[REG_RIP], 0);
}

/* The instruction crosses a page: the second page counts only if it has bytes of it. */
static void fetch_across_pages(void **state)
{
    (void)state;
    uint64_t cr3 = world.regs[REG_CR3], at = WORLD_CODE + 0xffe;
    world.cpu.gpr[GPR_RAX] = V;
    memcpy((uint8_t *)world_ram + at, "\x89\x18", 2);
    world_map(cr3, WORLD_CODE + 4096, 0, 0);
    world.regs[REG_RIP] = at;
    assert_int_equal(world_misconfig(GPA(A), false), MMIO_DONE);

    world.regs[REG_RIP] = at; /* mov [rax+4], ebx: its last byte is on the absent page */
    memcpy((uint8_t *)world_ram + at, "\x89\x58", 2);
    assert_int_equal(world_misconfig(GPA(A + 4), false), MMIO_INJECT);
    assert_int_equal(world.vcpu.fault.vector, 14);
    assert_int_equal(world.vcpu.fault.error_code, PF_FETCH);
    assert_int_equal(world.vcpu.fault.cr2, WORLD_CODE + 4096);

    world_ram[12][0] = 4; /* there now, but elsewhere in memory */
    world_map(cr3, WORLD_CODE + 4096, 0xc000, KERNEL);
    assert_int_equal(world_misconfig(GPA(A + 4), false), MMIO_DONE);
    assert_int_equal(world.regs[REG_RIP], at + 3);
    assert_int_equal(world.a.last_offset, 4);

    world_map(cr3, WORLD_CODE + 4096, B, KERNEL); /* code in MMIO */
    world.regs[REG_RIP] = at;
    assert_int_equal(world_misconfig(GPA(A + 4), false), MMIO_END);
    assert_int_equal(world.vcpu.end, MMIO_END_FETCH);
}

/* The decode cache compares bytes: code that changes, or moves under the same RIP, is seen. */
static void changing_code(void **state)
{
    (void)state;
    world.cpu.gpr[GPR_RAX] = V;
    world.cpu.gpr[GPR_RBX] = 7;
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(run(CODE(0x89, 0x18), A), MMIO_DONE);
        assert_int_equal(world.a.last_size, 4);
        assert_int_equal(run(CODE(0x88, 0x18), A), MMIO_DONE);
        assert_int_equal(world.a.last_size, 1);
    }
    /* mov dword [rax+disp32], imm32: only the tenth byte changes */
    assert_int_equal(run(CODE(0xc7, 0x80, 0, 0, 0, 0, 1, 0, 0, 0), A), MMIO_DONE);
    assert_int_equal(run(CODE(0xc7, 0x80, 0, 0, 0, 0, 1, 0, 0, 9), A), MMIO_DONE);
    assert_int_equal(world.a.last_value, 0x09000001);
    memcpy(world_ram[12], "\x48\x89\x18", 3);
    world_map(world.regs[REG_CR3], WORLD_CODE, 0xc000, KERNEL);
    world.regs[REG_RIP] = WORLD_CODE;
    assert_int_equal(world_misconfig(GPA(A), false), MMIO_DONE);
    assert_int_equal(world.a.last_size, 8);
    world.regs[REG_SEG_AR + SEG_CS] = AR_CODE32; /* the same bytes at the same RIP, other code */
    world.regs[REG_RIP] = WORLD_CODE;
    for (unsigned i = 0; i < 8; i++) /* dec eax: new bytes, perhaps */
        assert_int_equal(world_misconfig(GPA(A), false), MMIO_STALE);
    assert_int_equal(world_misconfig(GPA(A), false), MMIO_END);
    assert_int_equal(world.vcpu.end, MMIO_END_UNSUPPORTED);
}

/* A form between registers can't have touched memory: the CPU ran other bytes. */
static void register_form_is_stale(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(run(CODE(0x89, 0xd8), A), MMIO_STALE);
    assert_int_equal(world.regs[REG_RIP], WORLD_CODE);
}

static void single_step_and_rf(void **state)
{
    (void)state;
    world.cpu.gpr[GPR_RAX] = V;
    world.regs[REG_RFLAGS] = 2 | 1 << 16;
    assert_int_equal(run(CODE(0x89, 0x18), A), MMIO_DONE);
    assert_int_equal(world.regs[REG_RFLAGS], 2);
    assert_false(world.vcpu.single_step);
    world.regs[REG_RFLAGS] = 2 | 1 << 8;
    assert_int_equal(run(CODE(0x89, 0x18), A), MMIO_DONE);
    assert_true(world.vcpu.single_step);
    assert_int_equal(world.regs[REG_RFLAGS], 2 | 1 << 8);
}

static void ends_in_words(void **state)
{
    (void)state;
    static const char message[] =
        "MMIO by x87, which is not emulated: GPA 0xfe000000, RIP 0x5000, bytes "
        "d9 18 00 00 00 00 00 00 00 00 00 00 00 00 00; "
        "docs/MMIO_INSTRUCTIONS.md lists the emulated instructions";
    world.cpu.gpr[GPR_RAX] = V;
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(run(CODE(0xd9, 0x18), A), MMIO_STALE);
    assert_int_equal(run(CODE(0xd9, 0x18), A), MMIO_END);
    assert_int_equal(world.vcpu.end, MMIO_END_UNSUPPORTED);
    assert_string_equal(world.vcpu.text, message);
    world.regs[REG_CR4] |= CR4_LA57;
    assert_int_equal(run(CODE(0x89, 0x18), A), MMIO_END);
    assert_int_equal(world.vcpu.end, MMIO_END_PAGING);
    assert_non_null(strstr(world.vcpu.text, "5-level paging"));
    world.regs[REG_CR4] = CR4_PAE;
    world.regs[REG_CR3] = 0xfe000000; /* the root table in MMIO */
    assert_int_equal(run(CODE(0x89, 0x18), A), MMIO_END);
    assert_int_equal(world.vcpu.end, MMIO_END_TABLES);
    assert_non_null(strstr(world.vcpu.text, "bytes unreadable"));
}

/* Memory that has to be populated, and no page left: the VM ends, and nothing was written. */
static void out_of_memory(void **state)
{
    (void)state;
    uint64_t cr3 = world.regs[REG_CR3];
    world_slot_add(0xd0000000, 16, 0);
    world_mmio_spte(A); /* current again */
    world.cpu.gpr[GPR_RAX] = V - 2;
    world.cpu.gpr[GPR_RBX] = PATTERN;
    world_map(cr3, V - PAGE_SIZE, 0xd0000000, KERNEL);
    support_fail_allocations_after(0);
    assert_int_equal(run(CODE(0x89, 0x18), A), MMIO_END);
    assert_int_equal(world.vcpu.end, MMIO_END_MEMORY);
    assert_non_null(strstr(world.vcpu.text, "no host memory for a store: GPA 0xd0000ffe"));
    assert_int_equal(run(CODE(0x8b, 0x18), A), MMIO_END);
    assert_int_equal(world.vcpu.end, MMIO_END_MEMORY);
    assert_int_equal(world.a.writes + world.a.reads, 0);
    assert_int_equal(world.cpu.gpr[GPR_RBX], PATTERN);
    support_fail_allocations_after(UINT64_MAX);
    assert_int_equal(run(CODE(0x89, 0x18), A), MMIO_DONE);
    assert_memory_equal(world_page(0xd0000000) + 4094, "\x11\x22", 2);

    support_fail_allocations_after(0);
    world_map(cr3, WORLD_CODE, 0xd0001000, KERNEL);
    assert_int_equal(run(CODE(0x89, 0x18), A), MMIO_END);
    assert_int_equal(world.vcpu.end, MMIO_END_MEMORY);
    assert_non_null(strstr(world.vcpu.text, "no host memory for a fetch: GPA 0xd0001000"));
    *world_entry(cr3, WORLD_CODE, 2) = 0xd0002000 | KERNEL;
    assert_int_equal(run(CODE(0x89, 0x18), A), MMIO_END);
    assert_int_equal(world.vcpu.end, MMIO_END_MEMORY);
    assert_non_null(strstr(world.vcpu.text, "guest page table: GPA 0xd0002028"));
}

/* A tracked page (TARGET_MEMORY): the store reaches the page that the exit was for; where there is
 * none, the bus. */
static void write_to_a_tracked_page(void **state)
{
    (void)state;
    bool rings;
    world_map(world.regs[REG_CR3], V - PAGE_SIZE, 0x9000, KERNEL);
    world.cpu.gpr[GPR_RAX] = V - 3;
    world.cpu.gpr[GPR_RBX] = PATTERN;
    world_code("\x48\x89\x18", 3);
    assert_int_equal(mmio_emulate(&world.vcpu, GPA(0x9ffd), TARGET_MEMORY, &rings), MMIO_DONE);
    assert_memory_equal(&world_ram[9][4093], "\x11\x22\x33", 3);
    assert_int_equal(world.a.last_value, 0x8877665544);
    assert_int_equal(world.bus.unclaimed, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, world_end)
    const struct CMUnitTest tests[] = {
        T(loads),
        T(stores),
        T(addresses),
        T(crossing_devices),
        T(crossing_ram),
        T(faults_come_first),
        T(segments_32),
        T(code_16),
        T(rip_wraps),
        T(fetch_across_pages),
        T(changing_code),
        T(register_form_is_stale),
        T(single_step_and_rf),
        T(ends_in_words),
        T(out_of_memory),
        T(write_to_a_tracked_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
