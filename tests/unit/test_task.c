/*
 * Hardware task switches: what each kind leaves in both TSSs, the descriptor table and the
 * registers; the fault of each thing that can be wrong; and that whatever lies in memory, the state
 * that comes of it is one that a VM can be entered with.
 */
#include "tests/unit/support.h"

#include "guest/task.h"
#include "tests/unit/test_vmx_image.h"
#include "tests/unit/test_vmx_models.h"
#include "vmx/event.h"

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
    TSS_A = 0x18, /* the old one */
    TSS_B = 0x20,
    LOCAL = 0x28, /* an LDT */
    CODE3 = 0x30 | 3,
    DATA3 = 0x38 | 3,
    CONFORMING = 0x40,
    UNREADABLE = 0x48, /* code */
    READ_ONLY = 0x50,
    ABSENT_DATA = 0x58,
    ABSENT_CODE = 0x60,
    STACK16 = 0x68, /* of 64 KiB */
};

static struct {
    uint8_t memory[SIZE];
    struct task_cpu cpu;
    uint32_t cr3;
    bool refuse_cr3;
    long left; /* accesses until one fails; negative: none does */
    unsigned cpl;
} world;

/* ---- Memory ---------------------------------------------------------------------------------- */

static bool fails(void)
{
    return world.left >= 0 && world.left-- == 0;
}

static uint8_t *at(uint32_t address, unsigned size)
{
    return address < SIZE && size <= SIZE - address ? world.memory + address : NULL;
}

static bool read(void *context, uint32_t address, void *bytes, unsigned size)
{
    (void)context;
    if (fails() || !at(address, size))
        return false;
    memcpy(bytes, at(address, size), size);
    return true;
}

static bool write(void *context, uint32_t address, const void *bytes, unsigned size)
{
    (void)context;
    if (fails() || !at(address, size))
        return false;
    memcpy(at(address, size), bytes, size);
    return true;
}

static bool push(void *context, uint32_t address, const void *bytes, unsigned size, unsigned cpl)
{
    world.cpl = cpl;
    return write(context, address, bytes, size);
}

static bool check(void *context, uint32_t address, unsigned size)
{
    (void)context;
    return !fails() && at(address, size);
}

static bool change(void *context, uint32_t address, uint8_t clear, uint8_t set)
{
    (void)context;
    if (fails() || !at(address, 1))
        return false;
    *at(address, 1) = (uint8_t)((*at(address, 1) & ~clear) | set);
    return true;
}

static bool set_cr3(void *context, uint32_t cr3)
{
    (void)context;
    world.cr3 = cr3;
    return !world.refuse_cr3;
}

static const struct task_memory memory = {read, write, push, check, change, set_cr3, NULL};

/* ---- The world ------------------------------------------------------------------------------- */

static uint64_t get(uint32_t address, unsigned size)
{
    uint64_t value = 0;
    memcpy(&value, world.memory + address, size);
    return value;
}

static void put(uint32_t address, uint64_t value, unsigned size)
{
    memcpy(world.memory + address, &value, size);
}

static void describe(uint16_t selector, uint32_t base, uint32_t limit, uint32_t rights)
{
    uint64_t d = (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 |
                 (uint64_t)(rights & 0xff) << 40 | (uint64_t)(limit >> 16 & 0xf) << 48 |
                 (uint64_t)(rights >> 12 & 0xf) << 52 | (uint64_t)(base >> 24) << 56;
    put(GDT + (selector & 0xfff8u), d, 8);
}

static unsigned rights_of(uint16_t selector)
{
    return world.memory[GDT + (selector & 0xfff8u) + 5];
}

static struct task_segment flat(uint16_t selector, uint32_t rights)
{
    return (struct task_segment){selector, rights, 0xffffffff, 0};
}

/* Fields of the new TSS by the names that they have there. */
enum field { CR3, EIP, EFLAGS, ESP, ES, CS, SS, DS, FS, GS, LDT_FIELD, TRAP, FIELDS };
static const uint8_t offsets[2][FIELDS] = {
    {0, 0x0e, 0x10, 0x1a, 0x22, 0x24, 0x26, 0x28, 0, 0, 0x2a, 0},
    {0x1c, 0x20, 0x24, 0x38, 0x48, 0x4c, 0x50, 0x54, 0x58, 0x5c, 0x60, 0x64},
};

static void set_field(bool wide, enum field field, uint32_t value)
{
    if (offsets[wide][field])
        put(NEW_TSS + offsets[wide][field], value, wide && (field <= ESP) ? 4 : 2);
}

/* `wide`: 32-bit TSSs, old and new. */
static void setup(bool old_wide, bool new_wide, bool busy)
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

/* ---- What a switch does ---------------------------------------------------------------------- */

static void saved_state(bool wide, uint32_t eflags)
{
    static const uint32_t gprs[] = {0xa0a1a2a3, 0xb0b1b2b3, 0xc0c1c2c3, 0xd0d1d2d3,
                                    STACK,      0xe0e1e2e3, 0xf0f1f2f3, 0x10203};
    uint32_t mask = wide ? 0xffffffff : 0xffff;
    unsigned width = wide ? 4 : 2;
    assert_int_equal(get(OLD_TSS + offsets[wide][EIP], width), 0x11112222 & mask);
    assert_int_equal(get(OLD_TSS + offsets[wide][EFLAGS], width), eflags & mask);
    for (uint32_t i = 0; i < 8; i++)
        assert_int_equal(get(OLD_TSS + (wide ? 0x28u : 0x12u) + width * i, width), gprs[i] & mask);
    assert_int_equal(get(OLD_TSS + offsets[wide][CS], 2), CODE);
    assert_int_equal(get(OLD_TSS + offsets[wide][SS], 2), DATA);
    /* What a switch does not write: the link, the stacks, CR3, the LDT, the reserved halves. */
    assert_int_equal(get(OLD_TSS, 2), 0);
    assert_int_equal(get(OLD_TSS + offsets[wide][LDT_FIELD], 2), 0);
    if (wide)
        assert_int_equal(get(OLD_TSS + 0x4e, 2), 0xbeef);
}

static void loaded_state(bool wide, bool old_wide, bool nested)
{
    struct task_cpu *cpu = &world.cpu;
    assert_int_equal(cpu->eip, 0x1234);
    assert_int_equal(cpu->eflags, 0x246 | (nested ? FLAG_NT : 0));
    for (unsigned i = 0; i < 8; i++)
        if (i != GPR_RSP)
            assert_int_equal(cpu->gpr[i], wide ? 0x55550000 + 0x1111 * i : 0xffff0000 + 0x1111 * i);
    assert_int_equal(cpu->cr3, wide ? NEW_CR3 : 0x6000);
    assert_int_equal(world.cr3, wide ? NEW_CR3 : 0);
    assert_int_equal(cpu->dr7, 0x7ff & ~0x155);
    assert_int_equal(cpu->tr.selector, TSS_B);
    assert_int_equal(cpu->tr.rights, wide ? 0x8b : 0x83);
    assert_int_equal(cpu->tr.base, NEW_TSS);
    assert_int_equal(cpu->tr.limit, 0x67);
    assert_int_equal(cpu->ldtr.selector, LOCAL);
    assert_int_equal(cpu->ldtr.rights, 0x82);
    assert_int_equal(cpu->ldtr.base, LDT);
    assert_int_equal(cpu->segments[SEG_CS].rights, 0xc09b);
    assert_int_equal(cpu->segments[SEG_CS].limit, 0xffffffff);
    assert_int_equal(cpu->segments[SEG_SS].rights, 0xc093);
    assert_int_equal(cpu->segments[SEG_GS].rights, SEG_AR_UNUSABLE);
    assert_int_equal(cpu->segments[SEG_FS].rights, wide ? 0xc093 : SEG_AR_UNUSABLE);
    (void)old_wide;
}

static void kinds(void **state)
{
    (void)state;
    for (unsigned wide = 0; wide < 2; wide++)
        for (unsigned old_wide = 0; old_wide < 2; old_wide++)
            for (enum task_source source = TASK_CALL; source <= TASK_GATE; source++) {
                bool nested = source == TASK_CALL || source == TASK_GATE;
                setup(old_wide, wide, source == TASK_IRET);
                put(OLD_TSS + 0x4e, 0xbeef, 2);
                struct task_outcome outcome = go(source, false);
                assert_int_equal(outcome.result, TASK_DONE);
                assert_true(outcome.switched);
                saved_state(old_wide, source == TASK_IRET ? 0x202 : 0x202 | FLAG_NT);
                loaded_state(wide, old_wide, nested);
                assert_int_equal(get(NEW_TSS, 2), nested ? TSS_A : 0);
                assert_int_equal(rights_of(TSS_A) & 2, nested ? 2 : 0);
                assert_int_equal(rights_of(TSS_B) & 2, 2);
                assert_int_equal(rights_of(CODE) & 1, 1); /* accessed */
                assert_int_equal(rights_of(CODE3) & 1, 0);
                assert_int_equal(world.cpu.gpr[GPR_RSP], wide ? STACK : 0xffff0000 | STACK);
            }
}

static void error_codes(void **state)
{
    (void)state;
    for (unsigned wide = 0; wide < 2; wide++) {
        setup(true, wide, false);
        set_field(wide, SS, STACK16);
        set_field(wide, ESP, 0x12348000);
        struct task_outcome outcome = go(TASK_GATE, true);
        assert_int_equal(outcome.result, TASK_DONE);
        uint32_t high = wide ? 0x12340000 : 0xffff0000;
        assert_int_equal(world.cpu.gpr[GPR_RSP], high | (0x8000 - (wide ? 4u : 2u)));
        assert_int_equal(get(0x8000 - (wide ? 4u : 2u), wide ? 4u : 2u), 0x4321);
        assert_int_equal(world.cpl, 0);
    }
    setup(true, true, false); /* with the rights of the new task */
    set_field(true, CS, CODE3);
    for (enum field field = SS; field <= FS; field++)
        set_field(true, field, DATA3);
    set_field(true, ES, DATA3);
    assert_int_equal(go(TASK_GATE, true).result, TASK_DONE);
    assert_int_equal(world.cpl, 3);
}

static void others(void **state)
{
    (void)state;
    setup(true, true, false); /* the T bit */
    set_field(true, TRAP, 1);
    assert_int_equal(go(TASK_JMP, false).result, TASK_TRAP);

    setup(true, true, false); /* CR3 stays if it is the same, or without paging */
    set_field(true, CR3, 0x6000);
    assert_int_equal(go(TASK_JMP, false).result, TASK_DONE);
    assert_int_equal(world.cr3, 0);
    setup(true, true, false);
    world.cpu.paging = false;
    assert_int_equal(go(TASK_JMP, false).result, TASK_DONE);
    assert_int_equal(world.cr3, 0);

    setup(true, true, false); /* virtual-8086 mode */
    set_field(true, EFLAGS, 0x2 | FLAG_VM | 0x3000);
    set_field(true, CS, 0x1234);
    set_field(true, SS, 0x5678);
    assert_int_equal(go(TASK_JMP, false).result, TASK_DONE);
    assert_int_equal(world.cpu.segments[SEG_CS].base, 0x12340);
    assert_int_equal(world.cpu.segments[SEG_SS].rights, 0xf3);
    assert_int_equal(world.cpu.segments[SEG_SS].limit, 0xffff);
    assert_int_equal(world.cpu.eflags, 0x2 | FLAG_VM | 0x3000);

    setup(true, true, false); /* a local segment */
    set_field(true, DS, DATA | 4);
    assert_int_equal(go(TASK_JMP, false).result, TASK_DONE);
    assert_int_equal(world.cpu.segments[SEG_DS].rights, 0xc093);
    assert_int_equal(world.memory[LDT + DATA + 5] & 1, 1);
}

/* ---- What can be wrong ----------------------------------------------------------------------- */

static void faults(void **state)
{
    (void)state;
    static const struct {
        enum field field;
        uint32_t value;
        uint8_t vector;
        uint16_t error;
    } rows[] = {
        {LDT_FIELD, LOCAL | 4, VECTOR_TS, LOCAL | 4},
        {LDT_FIELD, DATA, VECTOR_TS, DATA},
        {LDT_FIELD, 8 * ENTRIES, VECTOR_TS, 8 * ENTRIES},
        {CS, 0, VECTOR_TS, 0},
        {CS, DATA, VECTOR_TS, DATA},
        {CS, CODE3 & ~3, VECTOR_TS, CODE3 & ~3}, /* DPL is not RPL */
        {CS, CODE | 3, VECTOR_TS, CODE},
        {CS, ABSENT_CODE, VECTOR_NP, ABSENT_CODE},
        {CS, 8 * ENTRIES, VECTOR_TS, 8 * ENTRIES},
        {SS, 0, VECTOR_TS, 0},
        {SS, CODE, VECTOR_TS, CODE},
        {SS, READ_ONLY, VECTOR_TS, READ_ONLY},
        {SS, DATA3, VECTOR_TS, DATA3 & ~3},
        {SS, DATA | 1, VECTOR_TS, DATA},
        {SS, ABSENT_DATA, VECTOR_SS, ABSENT_DATA},
        {SS, LOCAL, VECTOR_TS, LOCAL},
        {DS, UNREADABLE, VECTOR_TS, UNREADABLE},
        {DS, LOCAL, VECTOR_TS, LOCAL},
        {DS, DATA | 3, VECTOR_TS, DATA}, /* RPL above DPL */
        {ES, ABSENT_DATA, VECTOR_NP, ABSENT_DATA},
        {FS, 8 * ENTRIES | 4, VECTOR_TS, 8 * ENTRIES | 4},
        {GS, ABSENT_CODE, VECTOR_NP, ABSENT_CODE},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
        for (unsigned external = 0; external < 2; external++) {
            setup(true, true, false);
            set_field(true, rows[i].field, rows[i].value);
            struct task_outcome outcome = go(TASK_GATE, external);
            if (outcome.result != TASK_FAULT || outcome.vector != rows[i].vector ||
                outcome.error_code != rows[i].error + external || !outcome.switched)
                fail_msg("row %u: %u, vector %u, error 0x%x", i, outcome.result, outcome.vector,
                         outcome.error_code);
            assert_int_equal(world.cpu.eip, 0x1234); /* of the new task */
            assert_int_equal(world.cpu.tr.selector, TSS_B);
        }
    /* What is right though it may not look so. */
    setup(true, true, false);
    set_field(true, DS, CONFORMING | 3);
    assert_int_equal(go(TASK_GATE, false).result, TASK_DONE);
    setup(true, true, false);
    set_field(true, CS, CONFORMING | 3);
    set_field(true, SS, DATA3);
    set_field(true, DS, DATA3);
    set_field(true, ES, 0);
    set_field(true, FS, 3);
    assert_int_equal(go(TASK_GATE, false).result, TASK_DONE);
    /* The stack has no room for the error code. */
    setup(true, true, false);
    describe(STACK16, 0, 0x7fff, 0x0092);
    set_field(true, SS, STACK16);
    set_field(true, ESP, 0x8002);
    struct task_outcome outcome = go(TASK_GATE, true);
    assert_int_equal(outcome.vector, VECTOR_SS);
    assert_int_equal(outcome.error_code, 1);
    setup(true, true, false);
    world.refuse_cr3 = true;
    outcome = go(TASK_JMP, false);
    assert_int_equal(outcome.vector, VECTOR_GP);
    assert_true(outcome.switched);
}

/* Faults of the old task: nothing has changed. */
static void nothing_changes(void **state)
{
    (void)state;
    for (enum task_source source = TASK_CALL; source <= TASK_GATE; source++)
        for (unsigned kind = 0; kind < 4; kind++) {
            setup(true, true, source == TASK_IRET);
            if (kind == 0) /* the wrong one of busy and available */
                describe(TSS_B, NEW_TSS, 0x67, source == TASK_IRET ? 0x89 : 0x8b);
            else if (kind == 1)
                describe(TSS_B, NEW_TSS, 0x66, source == TASK_IRET ? 0x8b : 0x89);
            else if (kind == 2)
                world.cpu.tr.limit = 0x5e;
            else
                world.cpu.gdt_limit = TSS_B + 6;
            uint8_t before[SIZE];
            struct task_cpu cpu = world.cpu;
            memcpy(before, world.memory, SIZE);
            struct task_outcome outcome = go(source, false);
            assert_int_equal(outcome.result, TASK_FAULT);
            assert_int_equal(outcome.vector, VECTOR_TS);
            assert_int_equal(outcome.error_code, kind == 2 ? TSS_A : TSS_B);
            assert_false(outcome.switched);
            assert_memory_equal(before, world.memory, SIZE);
            assert_memory_equal(&cpu, &world.cpu, sizeof(cpu));
        }
}

/* Each access fails in turn. Until the state is written, nothing has changed. */
static void memory_that_is_missing(void **state)
{
    (void)state;
    for (enum task_source source = TASK_CALL; source <= TASK_GATE; source++) {
        bool wrote = false;
        for (long n = 0;; n++) {
            setup(true, true, source == TASK_IRET);
            uint8_t before[SIZE];
            struct task_cpu cpu = world.cpu;
            memcpy(before, world.memory, SIZE);
            world.left = n;
            struct task_outcome outcome = go(source, true);
            if (outcome.result == TASK_DONE) {
                assert_true(n > 8);
                break;
            }
            assert_int_equal(outcome.result, TASK_MEMORY);
            wrote |= memcmp(before, world.memory, SIZE) != 0;
            assert_true(n >= 5 || !wrote);
            if (!outcome.switched)
                assert_memory_equal(&cpu, &world.cpu, sizeof(cpu));
        }
        assert_true(wrote);
    }
}

/* ---- Entries --------------------------------------------------------------------------------- */

static struct image image;
static char findings[512];

static void collect(void *context, const struct entry_finding *finding)
{
    (void)context;
    strncat(findings, finding->text, sizeof(findings) - strlen(findings) - 1);
}

static void put_segment(uint32_t which, const struct task_segment *segment)
{
    image.value[VMCS_GUEST_ES_SELECTOR + 2 * which] = segment->selector;
    image.value[VMCS_GUEST_ES_LIMIT + 2 * which] = segment->limit;
    image.value[VMCS_GUEST_ES_ACCESS_RIGHTS + 2 * which] = segment->rights;
    image.value[VMCS_GUEST_ES_BASE + 2 * which] = segment->base;
}

static void check_entry(void)
{
    for (uint32_t i = 0; i < SEG_COUNT; i++)
        put_segment(i, &world.cpu.segments[i]);
    put_segment(SEG_COUNT, &world.cpu.ldtr);
    put_segment(SEG_COUNT + 1, &world.cpu.tr);
    image.value[VMCS_GUEST_RIP] = world.cpu.eip;
    image.value[VMCS_GUEST_RFLAGS] = world.cpu.eflags;
    image.value[VMCS_GUEST_DR7] = world.cpu.dr7;
    findings[0] = 0;
    entry_check(&image.input, collect, NULL);
    if (findings[0])
        fail_msg("%s", findings);
}

/* What the emulator that we run on wants beside that: the RPL of code is the CPL. */
static void check_code_selector(void)
{
    const struct task_segment *cs = &world.cpu.segments[SEG_CS];
    if (!(world.cpu.eflags & FLAG_VM))
        assert_int_equal(cs->selector & 3,
                         field_get(world.cpu.segments[SEG_SS].rights, SEG_AR_DPL));
}

static uint64_t seed = 0x2545f4914f6cdd1d;
static uint64_t random_word(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static uint32_t one_of(uint32_t likely, uint64_t any)
{
    return random_word() % 4 ? likely : (uint32_t)any;
}

/* From any state to any state, by any TSS, through any table. */
static void any_state_can_be_entered(void **state)
{
    (void)state;
    unsigned long results[4] = {0}, switched = 0;
    for (unsigned round = 0; round < 60000; round++) {
        bool wide = random_word() & 1, old_wide = random_word() & 1, user = random_word() & 1;
        enum task_source source = (enum task_source)(random_word() % 4);
        image_make(&image, &icelake_u, PAE);
        setup(old_wide, wide, source == TASK_IRET);
        for (uint16_t i = 1; i < ENTRIES; i++)
            if (random_word() % 8 == 0 && i != TSS_A / 8 && i != TSS_B / 8)
                describe((uint16_t)(8 * i), (uint32_t)random_word() & one_of(0, ~0u),
                         (uint32_t)random_word() & 0xfffff, (uint32_t)random_word());
        if (random_word() % 4 == 0) /* the old task is in virtual-8086 mode, or at CPL 3 */
            for (unsigned i = 0; i < SEG_COUNT; i++) {
                world.cpu.eflags |= FLAG_VM;
                world.cpu.segments[i] = (struct task_segment){0x123, 0xf3, 0xffff, 0x1230};
            }
        else if (user)
            for (unsigned i = 0; i < SEG_COUNT; i++)
                world.cpu.segments[i] = i == SEG_CS ? flat(CODE3, 0xc0fb) : flat(DATA3, 0xc0f3);
        check_entry();
        set_field(wide, EFLAGS, one_of(2, random_word()));
        set_field(wide, EIP, (uint32_t)random_word());
        set_field(wide, ESP, one_of(STACK, random_word()));
        for (enum field field = ES; field <= LDT_FIELD; field++)
            if (random_word() % 3 == 0)
                set_field(wide, field, (uint32_t)random_word() & 0x7f);
        world.left = random_word() % 4 ? -1 : (long)(random_word() % 24);
        struct task_outcome outcome = go(source, source == TASK_GATE && random_word() & 1);
        results[outcome.result]++;
        switched += outcome.switched;
        check_entry();
        check_code_selector();
    }
    for (unsigned i = 0; i < 4; i++)
        assert_true(results[i] > 500 || i == TASK_TRAP);
    assert_true(switched > 20000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds),
        cmocka_unit_test(error_codes),
        cmocka_unit_test(others),
        cmocka_unit_test(faults),
        cmocka_unit_test(nothing_changes),
        cmocka_unit_test(memory_that_is_missing),
        cmocka_unit_test(any_state_can_be_entered),
    };
    return cmocka_run_group_tests_name("task switches", tests, NULL, NULL);
}
