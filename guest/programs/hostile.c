/* SPDX-License-Identifier: MIT */
/*
 * A guest that does what no guest should: random instructions, registers, MSRs, ports, hypercalls,
 * tables and modes, from a seed. See hostile/hostile.h. It has no result of its own: its VM has to
 * end by itself, and no other VM may notice anything. Run by tools/hostile.py.
 *
 * Arguments: `seed=N`, `steps=N`, `only=1,5-9,2.7` (steps of all CPUs, or of the CPU before the
 * point), `skip=` likewise, `trace` (print each step before it is executed), `calm` (no purely
 * random code).
 */
#include "guest/programs/hostile/hostile.h"
#include "guest/programs/rt/smp.h"

#define EFLAGS_ONE 2u
#define EFLAGS_TF  BIT(8)
#define EFLAGS_IF  BIT(9)
#define EFLAGS_VM  BIT(17)

bool hostile_calm;
uint64_t hostile_sides;
static bool trace;
static uint64_t seed, steps;
static unsigned profile;
static const char *only, *skip;
static struct hostile_cpu hostile_cpus[CPUS_MAX];
static uint8_t code_pages[CPUS_MAX][4096] __attribute__((aligned(4096)));
static uint8_t scratch[4][4096] __attribute__((aligned(4096)));
static uint32_t print_lock;
static volatile unsigned ready;

/* ---- Random numbers -------------------------------------------------------------------------- */

uint64_t rnd(struct hostile_cpu *cpu)
{
    uint64_t z = cpu->random += 0x9e3779b97f4a7c15ull; /* splitmix64 */
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

uint64_t pick(struct hostile_cpu *cpu, uint64_t n)
{
    return rnd(cpu) % n;
}

uint64_t any_value(struct hostile_cpu *cpu)
{
    switch (pick(cpu, 6)) {
    case 0:
        return pick(cpu, 16);
    case 1:
        return BIT(pick(cpu, 64)) - pick(cpu, 2);
    case 2:
        return rnd(cpu) & 0xffffffff;
    case 3:
        return BIT(pick(cpu, 64)) | BIT(pick(cpu, 32)) | pick(cpu, 4);
    case 4:
        return ~0ull >> pick(cpu, 64);
    }
    return rnd(cpu);
}

/* In a VM with sides, devices are at shared addresses, which 32-bit code cannot reach. */
static uint64_t device(const struct hostile_cpu *cpu, uint64_t gpa)
{
    if (!hostile_sides)
        return gpa;
    return cpu->wide ? SHARED_VA(gpa) : (uint64_t)scratch;
}

uint64_t any_address(struct hostile_cpu *cpu)
{
    static const uint16_t ends[] = {0,     1,     4,     0x7fc, 0x7fe, 0x800,
                                    0x818, 0xff8, 0xffc, 0xffe, 0xfff};
    uint64_t offset = one_in(cpu, 3) ? pick(cpu, 4096) : PICK(cpu, ends);

    switch (pick(cpu, 10)) {
    case 0:
    case 1:
        return (uint64_t)scratch[pick(cpu, 4)] + offset;
    case 2:
        return PLAY_VA + pick(cpu, 16) * RT_PAGE + offset;
    case 3:
        return USER_VA + (uint64_t)scratch[pick(cpu, 4)] + offset;
    case 4:
    case 5:
        return device(cpu, TESTDEV_A_BASE + pick(cpu, 2) * RT_PAGE + offset);
    case 6:
        return hostile_sides && !one_in(cpu, 20) ? device(cpu, 0xfec00000) + offset
                                                 : (any_gpa(cpu) & BITS(31, 0)) + offset;
    case 7:
        return one_in(cpu, 4) ? any_value(cpu) : 0x7ffffffff000 + offset;
    case 8:
        return one_in(cpu, 4) ? (uint64_t)cpu->code + offset : device(cpu, 0xfee00000 + offset);
    }
    return LOW_STACK + offset;
}

/* ---- A step's program ------------------------------------------------------------------------ */

void emit(struct code *code, const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count && code->at < code->end; i++)
        *code->at++ = bytes[i];
}

void emit_number(struct code *code, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        EMIT(code, (uint8_t)(value >> 8 * i));
}

void emit_mov(struct code *code, unsigned reg, uint64_t value)
{
    if (code->bits == 16)
        EMIT(code, 0x66);
    if (code->bits == 64)
        EMIT(code, 0x48);
    EMIT(code, (uint8_t)(0xb8 | reg));
    emit_number(code, value, code->bits == 64 ? 8 : 4);
}

/* Replaces instructions that crash an emulator (docs/EMULATOR-GAPS.md). */
static void tame(uint8_t *code, size_t size)
{
    for (size_t i = 4; i < size; i++) /* STOSB with a 32-bit address in 64-bit code */
        if (code[i] == 0xaa)
            for (size_t before = i - 4; before < i; before++)
                if (code[before] == 0x67)
                    code[before] = 0x66;
}

static const struct {
    const char *name;
    unsigned bits;
    uint64_t cs, ss, cr0, cr4;
} modes[MODE_COUNT] = {
    [MODE_64] = {"64", 64, SEL_CODE64, SEL_DATA, 0, 0},
    [MODE_64_USER] = {"64-user", 64, SEL_USER_CODE, SEL_USER_DATA, 0, 0},
    [MODE_COMPAT] = {"compat", 32, SEL_CODE32, SEL_DATA, 0, 0},
    [MODE_COMPAT_USER] = {"compat-user", 32, SEL_USER_CODE32, SEL_USER_DATA, 0, 0},
    [MODE_COMPAT_16] = {"compat-16", 16, SEL_CODE16, SEL_DATA16, 0, 0},
    [MODE_FLAT] = {"flat", 32, SEL_CODE32, SEL_DATA, 0x11, 0},
    [MODE_PAGING_32] = {"paging-32", 32, SEL_CODE32, SEL_DATA, 0x80000011, CR4_PSE},
    [MODE_PAE] = {"pae", 32, SEL_CODE32, SEL_DATA, 0x80000011, CR4_PAE},
    [MODE_PAE_USER] = {"pae-user", 32, SEL_USER_CODE32, SEL_USER_DATA, 0x80000011, CR4_PAE},
    [MODE_PROTECTED_16] = {"protected-16", 16, SEL_CODE16, SEL_DATA16, 0x11, 0},
    [MODE_V86] = {"v86", 16, 0, 0, 0x80000011, CR4_PSE},
    [MODE_REAL] = {"real", 16, 0, 0, 0x11, 0},
};

static void choose_state(struct hostile_cpu *cpu, enum hostile_mode mode)
{
    static const uint64_t flags[] = {EFLAGS_TF, BIT(10), BIT(14), BIT(16),
                                     BIT(18),   0x3000,  BIT(21)};
    bool low = modes[mode].bits == 16;
    bool user = mode == MODE_64_USER;

    for (unsigned i = 0; i < 16; i++)
        cpu->regs[i] = one_in(cpu, 2) ? any_address(cpu) : any_value(cpu);
    cpu->cs = modes[mode].cs;
    cpu->ss = modes[mode].ss;
    cpu->rip = low ? LOW_CODE : (uint64_t)cpu->code + (user ? USER_VA : 0);
    cpu->rsp = low ? LOW_STACK : (uint64_t)scratch[3] + 4080 + (user ? USER_VA : 0);
    if (one_in(cpu, mode >= MODE_FIRST_LEGACY ? 100 : 12))
        cpu->rsp = low ? pick(cpu, 0x10000) : any_address(cpu);
    cpu->rflags = EFLAGS_ONE | (one_in(cpu, 4) ? 0 : EFLAGS_IF);
    if (hostile_calm)
        cpu->rflags |= EFLAGS_IF;
    while (one_in(cpu, 3))
        cpu->rflags |= PICK(cpu, flags);
    if (mode == MODE_V86)
        cpu->rflags |= EFLAGS_VM;
    cpu->cr0 = (uint32_t)modes[mode].cr0;
    cpu->cr4 = (uint32_t)modes[mode].cr4 | (one_in(cpu, 4) ? (uint32_t)CR4_PGE : 0);
    if (mode == MODE_V86 && one_in(cpu, 2))
        cpu->cr4 |= 3; /* VME, PVI */
    cpu->cr3 = modes[mode].cr4 & CR4_PAE ? (uint32_t)(uintptr_t)hostile_pdptes
                                         : (uint32_t)(uintptr_t)directory_32;
    cpu->real = mode == MODE_REAL;
}

static void show(const struct hostile_cpu *cpu, uint64_t step, enum hostile_mode mode,
                 const uint8_t *begin, const uint8_t *end)
{
    /* The lock has a time-out, because a CPU that is stopped while it prints never releases it. */
    for (unsigned i = 0; i < 100000 && __atomic_exchange_n(&print_lock, 1, __ATOMIC_ACQUIRE); i++)
        pause();
    print("# step %u.%lu mode=%s rflags=0x%lx rsp=0x%lx\n#  ", cpu->number, step, modes[mode].name,
          cpu->rflags, cpu->rsp);
    for (unsigned i = 0; i < 8; i++)
        print(" %lx", cpu->regs[i]);
    print("\n#   ");
    for (const uint8_t *at = begin; at < end; at++)
        print("%02x", *at);
    print("\n");
    __atomic_store_n(&print_lock, 0, __ATOMIC_RELEASE);
}

static enum hostile_mode any_mode(struct hostile_cpu *cpu)
{
    static const uint8_t in_long[] = {MODE_64,     MODE_64,          MODE_64,       MODE_64_USER,
                                      MODE_COMPAT, MODE_COMPAT_USER, MODE_COMPAT_16};

    if (cpu->number || !one_in(cpu, 6))
        return PICK(cpu, in_long);
    return MODE_FIRST_LEGACY + (enum hostile_mode)pick(cpu, MODE_COUNT - MODE_FIRST_LEGACY);
}

static void write_step(struct hostile_cpu *cpu, uint64_t step)
{
    enum hostile_mode mode = any_mode(cpu);
    uint64_t patience = 1000 + pick(cpu, 20000) + (mode >= MODE_FIRST_LEGACY ? 20000 : 0);
    struct code code = {cpu->code, cpu->code + 1024, modes[mode].bits};

    cpu->wide = modes[mode].bits == 64;
    choose_state(cpu, mode);
    memset(cpu->code, 0xcc, sizeof(code_pages[0]));
    for (uint64_t n = 1 + pick(cpu, 8); n; n--)
        any_atom(cpu, &code, profile);
    tame(cpu->code, (size_t)(code.at - cpu->code));
    if (trace)
        show(cpu, step, mode, cpu->code, code.at);
    if (modes[mode].bits == 16)
        memcpy((void *)(uintptr_t)LOW_CODE, cpu->code, sizeof(code_pages[0]));
    /* An NMI ends a step that does not end by itself. Without `testctl` the call is refused, and
     * the budget ends the VM instead. */
    hc_inject(EVENT(EVENT_NMI, VECTOR_NMI), 0, patience);
    if (mode >= MODE_FIRST_LEGACY)
        hostile_enter_legacy(cpu);
    hostile_enter(cpu);
}

/* ---- Selection of steps ---------------------------------------------------------------------- */

static const char *argument(const char *name)
{
    for (const char *at = rt_args; *at; at++) {
        size_t i = 0;
        while (name[i] && at[i] == name[i])
            i++;
        if (!name[i] && (at == rt_args || at[-1] == ' '))
            return at + i;
    }
    return NULL;
}

static uint64_t number_at(const char **at)
{
    uint64_t value = 0;
    while (**at >= '0' && **at <= '9')
        value = value * 10 + (uint64_t)(*(*at)++ - '0');
    return value;
}

/* Whether a list such as "1,5-9,2.7" contains the step. */
static bool listed(const char *list, unsigned cpu, uint64_t step)
{
    while (*list >= '0' && *list <= '9') {
        uint64_t first = number_at(&list), last;
        bool here = true;

        if (*list == '.') {
            list++;
            here = first == cpu;
            first = number_at(&list);
        }
        last = first;
        if (*list == '-') {
            list++;
            last = number_at(&list);
        }
        if (here && step >= first && step <= last)
            return true;
        if (*list == ',')
            list++;
    }
    return false;
}

/* ---- A CPU ----------------------------------------------------------------------------------- */

static void make_step(struct hostile_cpu *cpu)
{
    write_step(cpu, cpu->step);
}

static void run_cpu(struct hostile_cpu *cpu)
{
    for (uint64_t step = 0; step < steps; step++) {
        if ((only && !listed(only, cpu->number, step)) || (skip && listed(skip, cpu->number, step)))
            continue;
        for (unsigned tries = 0; tries < 4 && hostile_guarded(cpu, tables_sanitize); tries++)
            ;
        cpu->random = seed ^ (uint64_t)cpu->number << 56 ^ step << 32;
        rnd(cpu);
        cpu->step = step;
        cpu->recovered += (uint64_t)hostile_guarded(cpu, make_step);
    }
    while (hostile_guarded(cpu, tables_sanitize))
        ;
}

static void run_other_cpu(void)
{
    unsigned number = cpuid(1).ebx >> 24 & (CPUS_MAX - 1);

    while (!ready)
        pause();
    run_cpu(&hostile_cpus[number]);
}

void guest_main(void)
{
    const char *text;

    hostile_sides = cpuid(ABI_CPUID_STOLEN).eax == SHARED_BIT;
    hostile_calm = argument("calm");
    trace = argument("trace");
    only = argument("only=");
    skip = argument("skip=");
    seed = (text = argument("seed=")) ? number_at(&text) : 1;
    steps = (text = argument("steps=")) ? number_at(&text) : 100;
    tables_init();
    for (unsigned i = 0; i < CPUS_MAX; i++) {
        hostile_cpus[i].number = i;
        hostile_cpus[i].code = code_pages[i];
        hostile_cpus[i].random = seed;
    }
    profile = (unsigned)pick(&hostile_cpus[0], PROFILES);
    if (hostile_sides)
        apic_enter_x2apic();
    unsigned total = cpu_total();
    if (total > 1 && start_cpus(1, total - 1))
        for (unsigned i = 1; i < total; i++)
            run_on(i, run_other_cpu);
    ready = 1;
    run_cpu(&hostile_cpus[0]);
    print("# hostile: steps=%lu recovered=%lu\n", steps, hostile_cpus[0].recovered);
    debug_exit(0);
}
