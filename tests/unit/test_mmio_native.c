/*
 * Each row of the table, executed by this machine's CPU on memory and by the emulator on a device
 * that holds the same bytes, from the same random registers, flags and memory: both must end in the
 * same state, or raise the same fault.
 *
 * Four pages in a row hold the operands: RAM, two pages of the device, RAM, so an access crosses
 * from any kind into any other. NATIVE_CASES says how many cases each row gets.
 */
#include "tests/unit/mmio_vectors.h"
#include "tests/unit/mmio_world.h"
#include "tests/unit/native.h"

#include "mmio/alu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEVICE 0xfd000000ull /* two pages */
#define RAM0   0x9000ull
#define RAM1   0xa000ull

#define FIRST (NATIVE_BASE + PAGE_SIZE) /* of the device */
#define LAST  (NATIVE_BASE + 3 * PAGE_SIZE)
#define DF    0x400ull

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

/* ---- One case -------------------------------------------------------------------------------- */

struct test_case {
    const struct insn_row *row;
    uint8_t code[INSN_MAX + 8];
    unsigned length;
    struct insn insn;
    struct native_state before;
    uint64_t operand; /* the linear address */
};

static bool has_avx;

static unsigned pick(uint64_t count)
{
    return (unsigned)(world_random() % count);
}

static bool is_string(const struct insn_row *row)
{
    return row->op >= INSN_MOVS && row->op <= INSN_SCAS;
}

static bool uses_stack(const struct insn_row *row)
{
    return row->op == INSN_PUSH || row->op == INSN_POP || row->op == INSN_CALL;
}

/* An address whose operand of up to 32 bytes has a byte in the device. */
static uint64_t some_address(unsigned size)
{
    static const uint64_t borders[] = {FIRST, FIRST + PAGE_SIZE, LAST};
    if (!pick(4)) {
        uint64_t address = borders[pick(3)] - pick(size);
        if (address + size > FIRST && address < LAST)
            return address;
    }
    uint64_t address = FIRST + 64 + pick(2 * PAGE_SIZE - 128);
    return pick(3) ? address & ~(uint64_t)(size - 1) : address;
}

static uint64_t some_value(void)
{
    static const uint64_t values[] = {0,          1,      0x7f,       0x80,
                                      0xff,       0x7fff, 0x8000,     0x7fffffff,
                                      0x80000000, ~0ull,  1ull << 63, ~0ull >> 1};
    uint64_t value = world_random();
    switch (pick(4)) {
    case 0:
        return values[pick(ARRAY_SIZE(values))];
    case 1:
        return value >> pick(64);
    default:
        return value;
    }
}

static void put(struct test_case *c, unsigned byte)
{
    c->code[c->length++] = (uint8_t)byte;
}

/* Prefixes and the opcode; returns the place of REX's or VEX's byte with R, X and B, inverted for
 * VEX. */
static void put_opcode(struct test_case *c, bool wide, unsigned rxb)
{
    const struct insn_row *row = c->row;
    static const uint8_t mandatory[] = {
        [PREFIX_66] = 0x66, [PREFIX_F3] = 0xf3, [PREFIX_F2] = 0xf2, [PREFIX_NO_REP] = 0};
    unsigned map = row->opcode >> 8 & 3;
    if (row->flags & INSN_LOCKABLE && !pick(4))
        put(c, 0xf0);
    if (is_string(row) && pick(4))
        put(c, pick(2) ? 0xf2 : 0xf3);
    /* On a near branch Intel's CPUs ignore 66 in 64-bit code, and AMD's do not. */
    bool branch = row->op == INSN_CALL || row->op == INSN_JMP;
    if ((row->prefix == PREFIX_ANY || row->prefix == PREFIX_NO_REP) && !branch && !pick(3))
        put(c, 0x66);
    if (!(row->flags & INSN_MOFFS) && !pick(4))
        put(c, 0x67);
    if (!pick(8))
        put(c, 0x26); /* ES: of no meaning here */
    if (row->flags & INSN_VEX) {
        unsigned vvvv = row->flags & INSN_VVVV ? pick(16) : 15;
        unsigned low = vvvv << 3 | (row->prefix - 1u) | (row->flags & INSN_L0 ? 0 : pick(2) << 2);
        put(c, 0xc4);
        put(c, (~rxb & 7) << 5 | map);
        put(c, (wide ? 0x80u : 0) | low);
    } else {
        if (mandatory[row->prefix])
            put(c, mandatory[row->prefix]);
        if (wide || rxb || !pick(4))
            put(c, 0x40u | (wide ? 8u : 0) | rxb);
        if (map)
            put(c, 0x0f);
        if (map == 2)
            put(c, 0x38);
    }
    put(c, row->opcode & 0xff);
}

/* Registers and addressing so that the operand lies where it should. `base` and `index` are chosen;
 * the size is not known before the bytes are decoded, so the registers are set afterwards. */
static void put_modrm(struct test_case *c, unsigned reg, unsigned base, unsigned index)
{
    unsigned mod = (base & 7) == 5 ? 1 + pick(2) : pick(3);
    bool sib = (base & 7) == 4 || index != 4;
    put(c, mod << 6 | (reg & 7) << 3 | (sib ? 4 : base & 7));
    if (sib)
        put(c, pick(4) << 6 | (index & 7) << 3 | (base & 7));
    uint64_t disp = world_random();
    for (unsigned i = 0; i < (mod == 1 ? 1u : mod == 2 ? 4u : 0u); i++)
        put(c, disp >> (8 * i) & 0xff);
}

static void put_form(struct test_case *c)
{
    const struct insn_row *row = c->row;
    unsigned base = pick(16), index = pick(16), reg = pick(16);
    bool bit_string = row->op >= INSN_BT && row->op <= INSN_BTC && row->operand == OPERAND_GPR;
    if (row->extension != INSN_NO_EXTENSION)
        reg = row->extension;
    if (row->operand == OPERAND_SEGMENT)
        reg = pick(6);
    while (base == 4 && uses_stack(row))
        base = pick(16);
    while (bit_string && reg == base)
        reg = pick(16);
    if (index == base || (bit_string && index == reg) || (index == 4 && pick(2)) || pick(2))
        index = 4; /* none */
    unsigned rxb = (reg & 8) >> 1 | (index & 8) >> 2 | (base & 8) >> 3;
    bool modrm = !(row->flags & (INSN_MOFFS | INSN_SI | INSN_DI));
    put_opcode(c, !pick(3), modrm ? rxb : 0);
    if (modrm)
        put_modrm(c, reg, base, index);
    if (row->flags & INSN_MOFFS) {
        c->operand = some_address(1);
        for (unsigned i = 0; i < 8; i++)
            put(c, c->operand >> (8 * i) & 0xff);
    }
    uint64_t imm = some_value();
    memcpy(&c->code[c->length], &imm, 8);
}

/* The register that makes the address right, given all the others. */
static void aim(struct test_case *c)
{
    const struct insn *i = &c->insn;
    uint64_t *gpr = c->before.gpr;
    uint64_t rest = i->disp;
    c->operand = some_address(i->size);
    if (c->row->flags & INSN_ALIGNED && pick(8))
        c->operand = align_up(c->operand, i->size) - (c->operand + i->size > LAST ? i->size : 0);
    if (i->op >= INSN_BT && i->op <= INSN_BTC && i->operand == OPERAND_GPR) {
        uint64_t bit = (uint64_t)pick(0x8000) - 0x4000;
        unsigned bits = 8u * i->size;
        gpr[i->reg] =
            bits == 64 ? bit : (some_value() << (bits - 1) << 1) | (bit & (BIT(bits) - 1));
        rest += (uint64_t)((int64_t)bit >> __builtin_ctz(bits)) * i->size;
    }
    if (i->index != INSN_NO_REG)
        rest += gpr[i->index] << i->shift;
    if (i->op == INSN_POP && i->base == GPR_RSP)
        rest += i->size;
    gpr[i->base] = c->operand - rest;
    if (i->address_mask != ~0ull && !(c->row->op == INSN_POP && i->base == GPR_RSP))
        gpr[i->base] = (gpr[i->base] & 0xffffffff) | world_random() << 32;
}

/* rSI and rDI: one at least in the device, for as long as it takes. */
static void aim_string(struct test_case *c)
{
    uint64_t *gpr = c->before.gpr;
    uint64_t ram = pick(2) ? NATIVE_BASE + 0x400 + pick(0x700) : LAST + 0x400 + pick(0x700);
    bool both = (c->row->flags & INSN_SI) && (c->row->flags & INSN_DI);
    gpr[GPR_RSI] = FIRST + 0x200 + pick(2 * PAGE_SIZE - 0x400);
    gpr[GPR_RDI] = FIRST + 0x200 + pick(2 * PAGE_SIZE - 0x400);
    if (!pick(4))
        gpr[GPR_RDI] = gpr[GPR_RSI] + pick(9); /* overlapping */
    if (both && pick(2))
        gpr[pick(2) ? GPR_RSI : GPR_RDI] = ram;
    gpr[GPR_RCX] = 1 + pick(pick(8) ? 20 : 60);
    if (c->insn.address_mask != ~0ull) {
        gpr[GPR_RSI] |= world_random() << 32;
        gpr[GPR_RDI] |= world_random() << 32;
        gpr[GPR_RCX] |= world_random() << 32;
    }
}

/* False: this is no instruction after all (a REX byte that another prefix follows, and so on). */
static bool make_case(struct test_case *c, const struct insn_row *row)
{
    memset(c, 0, sizeof(*c));
    c->row = row;
    put_form(c);
    enum decode_result result = decode(c->code, INSN_MAX, CODE_64, &c->insn);
    if (result != DECODE_OK || insn_row(&c->insn) != row)
        return false;
    c->length = c->insn.length;
    for (unsigned i = 0; i < 16; i++)
        c->before.gpr[i] = some_value();
    uint64_t r = world_random();
    c->before.rflags = r & (ALU_FLAGS | DF);
    for (unsigned i = 0; i < sizeof(c->before.vectors); i++)
        c->before.vectors[i / 32][i % 32] = (uint8_t)world_random();
    if (uses_stack(row) || row->op == INSN_JMP)
        c->before.gpr[GPR_RSP] =
            NATIVE_BASE + 0x800 + pick(8) + (pick(4) ? 0 : PAGE_SIZE * (1 + pick(3)));
    if (is_string(row))
        aim_string(c);
    else if (!(row->flags & INSN_MOFFS))
        aim(c);
    if (uses_stack(row) && c->insn.index == GPR_RSP)
        return false;
    return true;
}

static void fill_memory(struct test_case *c)
{
    for (unsigned page = 0; page < NATIVE_PAGES; page++)
        for (unsigned i = 0; i < PAGE_SIZE; i += 8) {
            uint64_t value = some_value();
            memcpy(native_page(page) + i, &value, 8);
        }
    uint8_t *at = (uint8_t *)(uintptr_t)c->operand;
    const uint64_t *gpr = c->before.gpr;
    if (c->row->op == INSN_CALL || c->row->op == INSN_JMP) {
        uint64_t target = pick(8) ? NATIVE_AFTER : BIT(47) + pick(100);
        memcpy(at, &target, 8);
    }
    if (c->row->op == INSN_CMPXCHG && pick(2))
        memcpy(at, &gpr[GPR_RAX], c->insn.size);
    if (c->row->op == INSN_CMPXCHG_PAIR && pick(2)) {
        memcpy(at, &gpr[GPR_RAX], c->insn.size / 2u);
        memcpy(at + c->insn.size / 2u, &gpr[GPR_RDX], c->insn.size / 2u);
    }
    if (c->row->op == INSN_CMPS && pick(2)) /* equal for a while */
        memmove((void *)(uintptr_t)(uint32_t)gpr[GPR_RDI],
                (void *)(uintptr_t)(uint32_t)gpr[GPR_RSI], 32);
    memcpy(world_ram[RAM0 / PAGE_SIZE], native_page(0), PAGE_SIZE);
    memcpy(device, native_page(1), sizeof(device));
    memcpy(world_ram[RAM1 / PAGE_SIZE], native_page(3), PAGE_SIZE);
}

/* ---- The emulator ---------------------------------------------------------------------------- */

/* The GPA of the first byte in the device of `size` bytes, or 0. */
static uint64_t in_device(uint64_t linear, unsigned size)
{
    for (unsigned i = 0; i < size; i++)
        if (linear + i >= FIRST && linear + i < LAST)
            return DEVICE + linear + i - FIRST;
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
            gpa = in_device((uint32_t)gpr[GPR_RSI], i->size);
        return gpa ? gpa : in_device((uint32_t)gpr[GPR_RDI], i->size);
    }
    if (i->op == INSN_POP)
        gpa = in_device(c->before.gpr[GPR_RSP], i->size);
    if (!gpa)
        gpa = in_device(c->operand, i->size);
    return gpa ? gpa : in_device(c->before.gpr[GPR_RSP] - i->size, i->size);
}

static unsigned emulate(struct test_case *c, struct native_state *state)
{
    enum mmio_outcome outcome;
    memcpy(world.cpu.gpr, state->gpr, sizeof(state->gpr));
    world.regs[REG_RSP] = state->gpr[GPR_RSP];
    world.cpu.gpr[GPR_RSP] = 0x5a5a;
    world.regs[REG_RFLAGS] = state->rflags | 0x202;
    memcpy(vectors, state->vectors, sizeof(vectors));
    memcpy(world_ram[WORLD_CODE / PAGE_SIZE] + page_offset(NATIVE_CODE), c->code, c->length);
    world.regs[REG_RIP] = NATIVE_CODE;
    device_reads = device_writes = 0;
    do
        outcome = world_misconfig(GPA(exit_gpa(c)), false);
    while (outcome == MMIO_DONE && world.regs[REG_RIP] == NATIVE_CODE);
    if (outcome == MMIO_INJECT)
        return world.vcpu.fault.vector == 0 ? 0x100 : world.vcpu.fault.vector;
    if (outcome != MMIO_DONE)
        return 0x200 + outcome;
    memcpy(state->gpr, world.cpu.gpr, sizeof(state->gpr));
    state->gpr[GPR_RSP] = world.regs[REG_RSP];
    state->rflags = world.regs[REG_RFLAGS];
    memcpy(state->vectors, vectors, sizeof(vectors));
    return 0;
}

/* ---- Comparing ------------------------------------------------------------------------------- */

static void complain(const struct test_case *c, const char *what, uint64_t ours, uint64_t theirs)
{
    fprintf(stderr, "%s: %s is %#llx, the CPU says %#llx; bytes", c->row->mnemonic, what,
            (unsigned long long)ours, (unsigned long long)theirs);
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
    for (unsigned i = 0; i < 16; i++)
        SAME(names[i], ours->gpr[i], theirs->gpr[i]);
    SAME("RFLAGS", ours->rflags & (ALU_FLAGS | DF), theirs->rflags & (ALU_FLAGS | DF));
    for (unsigned i = 0; has_avx && i < sizeof(ours->vectors); i++)
        SAME("a vector register", ours->vectors[i / 32][i % 32], theirs->vectors[i / 32][i % 32]);
    bool branch = c->row->op == INSN_CALL || c->row->op == INSN_JMP;
    SAME("RIP", world.regs[REG_RIP], branch ? NATIVE_AFTER : NATIVE_CODE + c->length);
    if (is_string(c->row) || uses_stack(c->row))
        return;
    unsigned count = pieces(c->operand, c->insn.size);
    SAME("the number of reads", device_reads,
         c->insn.read && c->insn.op != INSN_NOTHING ? count : 0);
    SAME("the number of writes", device_writes, c->insn.write ? count : 0);
}

static void run_case(struct test_case *c, unsigned long *faults)
{
    struct native_state ours = c->before, theirs = c->before;
    fill_memory(c);
    unsigned ours_fault = emulate(c, &ours);
    unsigned theirs_fault = native_run(c->code, c->length, &theirs);
    bool branch = c->row->op == INSN_CALL || c->row->op == INSN_JMP;
    if (branch && ours_fault == 13 && theirs_fault == 13) { /* the target */
        (*faults)++;
        return;
    }
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
    __asm__("mov %%ds, %0" : "=r"(world.regs[REG_SEG_SELECTOR + SEG_DS]));
    __asm__("mov %%es, %0" : "=r"(world.regs[REG_SEG_SELECTOR + SEG_ES]));
    __asm__("mov %%cs, %0" : "=r"(world.regs[REG_SEG_SELECTOR + SEG_CS]));
    __asm__("mov %%ss, %0" : "=r"(world.regs[REG_SEG_SELECTOR + SEG_SS]));
    __asm__("mov %%fs, %0" : "=r"(world.regs[REG_SEG_SELECTOR + SEG_FS]));
    __asm__("mov %%gs, %0" : "=r"(world.regs[REG_SEG_SELECTOR + SEG_GS]));
    return 0;
}

static void every_row(void **state)
{
    (void)state;
    const char *cases = getenv("NATIVE_CASES");
    unsigned long per_row = cases ? strtoul(cases, NULL, 0) : 100, total = 0, faults = 0;
    static struct test_case c;
    world_seed();
    for (unsigned r = 0; r < insn_row_count; r++) {
        const struct insn_row *row = &insn_rows[r];
        if (!(row->flags & (INSN_READS | INSN_WRITES)) || row->flags & INSN_NOT_64 ||
            (row->flags & INSN_VEX && !has_avx))
            continue;
        unsigned long done = 0;
        for (unsigned tries = 0; done < per_row; tries++) {
            if (tries > 20 * per_row + 100)
                fail_msg("%s (row %u) never decodes", row->mnemonic, r);
            if (!make_case(&c, row))
                continue;
            run_case(&c, &faults);
            done++;
        }
        total += done;
    }
    printf("%lu cases, %lu of them faults\n", total, faults);
    assert_true(faults > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_row, setup, world_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
