/* SPDX-License-Identifier: MIT */
/*
 * Compares the emulator with the CPU that it runs on: generated instructions are run twice from the
 * same registers and the same memory. The first time the memory is RAM and the CPU executes the
 * instruction; the second time it is a device that mirrors RAM and the hypervisor emulates it.
 * Registers, flags, memory and faults must be the same.
 *
 * The instructions cover every row of the emulator's table, in 64-bit, 32-bit and 16-bit code, and
 * operands across pages, in a read-only page and in an absent page. Arguments: `slow_strings` to
 * leave out instructions that crash Bochs 3; the number of cases for each code size; the seed.
 */
#include "guest/programs/differ/make.h"
#include "guest/programs/rt/rt.h"

#define NATIVE      0x800000ull /* four pages of RAM that are accessed natively, */
#define MIRROR      0x900000ull /* and the four pages behind the window */
#define WINDOW      0xd1000000ull
#define CASES       1000
#define SHOWN       8 /* differences that are printed */
#define STACK_BYTES 128
#define CODE_BYTES  0x1000 /* bytes on both sides of the middle of differ_code */

#define MSR_FS_BASE 0xc0000100u
#define MSR_GS_BASE 0xc0000101u

/* run.S */
extern uint8_t differ_code[], differ_back64[], differ_back32[], differ_back16[], differ_faulted[];
extern uint64_t differ_saved_rsp;
void differ_run64(void);
void differ_run32(void);
void differ_run16(void);
struct state differ_state __attribute__((aligned(32)));
uint64_t differ_entry;
uint8_t differ_has_avx;

extern uint64_t rt_gdt[];

static const struct mode {
    const char *name;
    enum code_size code;
    void (*run)(void);
    uint8_t *back;
    uint64_t base; /* of CS's segment */
} modes[] = {
    {"64", CODE_64, differ_run64, differ_back64, 0},
    {"32", CODE_32, differ_run32, differ_back32, 0},
    {"16", CODE_16, differ_run16, differ_back16, 1},
};

/* ---- Faults ---------------------------------------------------------------------------------- */

static struct fault_seen {
    uint64_t vector, error, cr2, rip; /* vector + 1, or 0 */
} fault_seen;

static uint8_t fault_stacks[6][512] __attribute__((aligned(16)));
static const uint8_t fault_vectors[6] = {0, VECTOR_UD, 12, VECTOR_GP, VECTOR_PF, 17};

static void faulted(struct frame *frame)
{
    uint64_t cr2 = 0;
    const uint64_t gpr[16] = {frame->rax, frame->rcx, frame->rdx, frame->rbx,
                              frame->rsp, frame->rbp, frame->rsi, frame->rdi,
                              frame->r8,  frame->r9,  frame->r10, frame->r11,
                              frame->r12, frame->r13, frame->r14, frame->r15};
    if (frame->vector == VECTOR_PF)
        __asm__ volatile("mov %%cr2, %0" : "=r"(cr2));
    fault_seen = (struct fault_seen){frame->vector + 1, frame->error, cr2, frame->rip};
    memcpy(differ_state.gpr, gpr, sizeof(gpr));
    differ_state.rflags = frame->rflags & ~BIT(16);
    frame->rip = (uint64_t)differ_faulted;
    frame->cs = SEL_CODE64;
    frame->ss = SEL_DATA;
    frame->rsp = differ_saved_rsp;
    frame->rflags = 2;
}

/* ---- Two address spaces, which differ in the memory at PLACE --------------------------------- */

static uint64_t roots[2];

static uint64_t *copy_of_table(uint64_t entry)
{
    uint64_t *table = new_page();
    memcpy(table, (const void *)(entry & BITS(51, 12)), RT_PAGE);
    return table;
}

static uint64_t make_root(uint64_t behind)
{
    static const uint64_t places[] = {PLACE, PLACE_RO, PLACE_ABSENT};
    uint64_t *root = new_root(), *pdpt = copy_of_table(root[0]);
    uint64_t *directory = copy_of_table(pdpt[PLACE >> 30]);
    root[0] = (uint64_t)pdpt | 7;
    pdpt[PLACE >> 30] = (uint64_t)directory | 7;
    for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
        for (uint64_t page = 0; page < 4; page++) {
            uint64_t flags = PTE_P | PTE_W;
            if (page == BORDER / RT_PAGE)
                flags = i == 1 ? PTE_P : i == 2 ? 0 : flags;
            map_page(root, places[i] + page * RT_PAGE, behind + page * RT_PAGE, flags);
        }
    }
    return (uint64_t)root;
}

static void set_segment_base(unsigned selector, uint64_t base)
{
    uint64_t *entry = &rt_gdt[selector / 8];
    *entry = (*entry & ~(BITS(39, 16) | BITS(63, 56))) | field_put(base, BITS(39, 16)) |
             field_put(base >> 24, BITS(63, 56));
}

static void set_up(void)
{
    struct hypercall call = {WINDOW, MIRROR, 0, 0};
    uint64_t cr0, cr4 = read_cr4();
    EXPECT_EQ(hypercall(HC_WINDOW, &call), 0);
    __asm__ volatile("mov %%cr0, %0" : "=r"(cr0));
    __asm__ volatile("mov %0, %%cr0" : : "r"(cr0 & ~(BIT(2) | BIT(3)))); /* EM, TS */
    write_cr4(cr4 | BIT(9) | BIT(10));                                   /* OSFXSR, OSXMMEXCPT */
    if (cpuid(1).ecx & BIT(26) && cpuid(1).ecx & BIT(28)) {
        write_cr4(read_cr4() | BIT(18)); /* OSXSAVE */
        __asm__ volatile("xsetbv" : : "a"(7), "d"(0), "c"(0));
        differ_has_avx = 1;
    }
    roots[0] = make_root(NATIVE);
    roots[1] = make_root(WINDOW);
    set_segment_base(SEL_DATA16, PLACE);
    set_segment_base(SEL_CODE16, (uint64_t)differ_code);
    for (unsigned i = 0; i < ARRAY_SIZE(fault_vectors); i++) {
        set_stack(fault_vectors[i], (uint64_t)fault_stacks[i + 1]);
        set_handler(fault_vectors[i], faulted);
    }
}

static void tear_down(void)
{
    struct hypercall call = {0};
    EXPECT_EQ(hypercall(HC_WINDOW, &call), 0);
    for (unsigned i = 0; i < ARRAY_SIZE(fault_vectors); i++) {
        set_stack(fault_vectors[i], 0);
        set_handler(fault_vectors[i], NULL);
    }
}

/* ---- One case -------------------------------------------------------------------------------- */

struct result {
    struct state state;
    struct fault_seen fault;
    uint8_t memory[3][2 * AREA]; /* the native pages, or those behind the window */
    uint8_t stack[STACK_BYTES];
};

static struct made made;
static struct result results[2];
static uint8_t before[2 * AREA];
static uint64_t cr3;
static uint8_t stack[STACK_BYTES] __attribute__((aligned(16)));

static const struct mode *mode;
static uint8_t *where; /* the instruction's address, in differ_code */

static void put_code(void)
{
    uint8_t *behind = where + made.insn.length;
    memcpy(where, made.bytes, made.insn.length);
    int64_t distance = mode->back - (behind + (mode->code == CODE_16 ? 3 : 5));
    *behind++ = 0xe9;
    memcpy(behind, &distance, mode->code == CODE_16 ? 2 : 4);
}

static void run_in(unsigned space)
{
    struct result *r = &results[space];
    uint8_t *area = (uint8_t *)(space ? MIRROR : NATIVE) + BORDER - AREA;
    memcpy(area, before, sizeof(before));
    memset(stack, 0x5a, sizeof(stack));
    differ_state = made.state;
    fault_seen = (struct fault_seen){0};
    write_cr3(roots[space]);
    mode->run();
    write_cr3(cr3);
    r->state = differ_state;
    r->fault = fault_seen;
    memcpy(r->memory[0], area, sizeof(before));
    memcpy(r->stack, stack, sizeof(stack));
}

static bool same_bytes(const void *a, const void *b, size_t size)
{
    const uint8_t *x = a, *y = b;
    size_t i = 0;
    while (i < size && x[i] == y[i])
        i++;
    return i == size;
}

static bool same(void)
{
    const struct result *n = &results[0], *e = &results[1];
    uint64_t mask = mode->code == CODE_64 ? ~0ull : 0xffffffff;
    bool equal = same_bytes(&n->fault, &e->fault, sizeof(n->fault)) &&
                 same_bytes(n->memory[0], e->memory[0], sizeof(before)) &&
                 same_bytes(n->stack, e->stack, sizeof(n->stack)) &&
                 same_bytes(n->state.vectors, e->state.vectors, sizeof(n->state.vectors));
    for (unsigned i = 0; i < 16; i++)
        equal &= !((n->state.gpr[i] ^ e->state.gpr[i]) & mask) || (mask != ~0ull && i >= 8);
    return equal && !((n->state.rflags ^ e->state.rflags) & ~made.undefined);
}

static void show(void)
{
    const struct result *n = &results[0], *e = &results[1];
    print("# %s-bit %s at 0x%lx:", mode->name, insn_row(&made.insn)->mnemonic, made.target);
    for (unsigned i = 0; i < made.insn.length; i++)
        print(" %02x", made.bytes[i]);
    print(", random numbers from 0x%lx\n", random_state);
    for (unsigned i = 0; i < 16; i++)
        if (n->state.gpr[i] != e->state.gpr[i])
            print("#   register %u: 0x%lx becomes 0x%lx on RAM, 0x%lx on the device\n", i,
                  made.state.gpr[i], n->state.gpr[i], e->state.gpr[i]);
    if (n->state.rflags != e->state.rflags)
        print("#   flags: 0x%lx becomes 0x%lx on RAM, 0x%lx on the device (0x%lx undefined)\n",
              made.state.rflags, n->state.rflags, e->state.rflags, made.undefined);
    if (!same_bytes(&n->fault, &e->fault, sizeof(n->fault)))
        print("#   fault: vector %ld error 0x%lx at 0x%lx rip 0x%lx on RAM, %ld 0x%lx 0x%lx 0x%lx "
              "on the device\n",
              (long)n->fault.vector - 1, n->fault.error, n->fault.cr2, n->fault.rip,
              (long)e->fault.vector - 1, e->fault.error, e->fault.cr2, e->fault.rip);
    for (unsigned i = 0; i < sizeof(before); i++)
        if (n->memory[0][i] != e->memory[0][i])
            print("#   byte %d: 0x%x becomes 0x%x on RAM, 0x%x on the device\n", (int)i - AREA,
                  before[i], n->memory[0][i], e->memory[0][i]);
    if (!same_bytes(n->stack, e->stack, sizeof(n->stack)))
        print("#   the stacks differ\n");
    if (!same_bytes(n->state.vectors, e->state.vectors, sizeof(n->state.vectors)))
        print("#   the vector registers differ\n");
}

/* Instructions that access only the stack, or what the guest needs itself, such as its descriptor
 * tables, are in other tests; and some are not there on every CPU. */
static bool can_run(const struct insn_row *row)
{
    if (row->flags & INSN_NO_MODRM || (row->op >= INSN_BOUND && row->op <= INSN_CALL_FAR))
        return false;
    if (row->op == INSN_ADCX || row->op == INSN_ADOX)
        return false; /* the emulator's CPU computes OF wrongly (docs/EMULATOR-GAPS.md) */
    if (row->op == INSN_POPCNT || row->op == INSN_CRC32)
        return cpuid(1).ecx & BIT(row->op == INSN_POPCNT ? 23 : 20);
    return !(row->flags & INSN_VEX) || differ_has_avx;
}

static bool make_case(const struct insn_row *row)
{
    uint64_t back = (uint64_t)mode->back - (mode->base ? (uint64_t)differ_code : 0);
    where = differ_code + CODE_BYTES - 40 + random_below(60); /* also across a page border */
    differ_entry = (uint64_t)where - (mode->base ? (uint64_t)differ_code : 0);
    if (!can_run(row))
        return false;
    if (!make(&made, row, mode->code, differ_entry, back, (uint64_t)stack + STACK_BYTES / 2))
        return false;
    for (unsigned i = 0; i < sizeof(before); i += 8) {
        uint64_t value = random64();
        memcpy(before + i, &value, 8);
    }
    uint64_t offset = (made.target & 0x3fff) - (BORDER - AREA);
    if (made.memory_matters && offset <= sizeof(before) - 16)
        memcpy(before + offset, &made.memory, 8);
    put_code();
    return true;
}

static uint64_t cases_wanted = CASES;

static void compare(const struct mode *m)
{
    uint64_t cases = 0, wrong = 0, faults = 0, exits = 0;
    struct watch emulated = watch(COUNTER_MMIO_EMULATED);
    mode = m;
    cr3 = read_cr3();
    set_up();
    wrmsr(MSR_FS_BASE, FS_OFFSET);
    wrmsr(MSR_GS_BASE, GS_OFFSET);
    for (unsigned row = 0; cases < cases_wanted; row = (row + 1) % insn_row_count) {
        unsigned tries = 0;
        while (tries < 20 && !make_case(&insn_rows[row]))
            tries++;
        if (tries == 20)
            continue;
        if (mode->code == CODE_64) {
            wrmsr(MSR_FS_BASE, FS_OFFSET);
            wrmsr(MSR_GS_BASE, GS_OFFSET);
        }
        run_in(0);
        run_in(1);
        cases++;
        faults += results[0].fault.vector != 0;
        if (!same() && wrong++ < SHOWN)
            show();
    }
    exits = watched(emulated);
    tear_down();
    EXPECT_EQ(wrong, 0);
    EXPECT(exits > cases / 2); /* otherwise most instructions did not access the window */
    EXPECT(faults < cases / 2);
    note("cases", cases);
    note("faults", faults);
    note("emulated", exits);
    note("different", wrong);
}

static void in_64_bit_code(void)
{
    compare(&modes[0]);
}

static void in_32_bit_code(void)
{
    compare(&modes[1]);
}

static void in_16_bit_code(void)
{
    compare(&modes[2]);
}

static uint64_t number(const char **text)
{
    uint64_t value = 0;
    while (**text >= '0' && **text <= '9')
        value = value * 10 + (uint64_t)(*(*text)++ - '0');
    while (**text == ' ')
        (*text)++;
    return value;
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"in_64_bit_code", in_64_bit_code, NEED_TESTCTL},
        {"in_32_bit_code", in_32_bit_code, NEED_TESTCTL},
        {"in_16_bit_code", in_16_bit_code, NEED_TESTCTL},
    };
    const char *args = rt_args;
    no_fast_strings = *args == 's';
    while (*args && (*args < '0' || *args > '9'))
        args++;
    uint64_t cases = number(&args), seed = number(&args);
    cases_wanted = cases ? cases : cases_wanted;
    random_state = seed ? seed : random_state;
    run_tests(tests, ARRAY_SIZE(tests));
}
