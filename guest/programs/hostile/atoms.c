/* SPDX-License-Identifier: MIT */
/* Generators of one or more random instructions with a purpose, for the program `hostile`. Each row
 * of the table at the end is a kind; the VM's profile says how frequent it is. */
#include "guest/programs/hostile/hostile.h"
#include "guest/programs/rt/apic.h"

static void atom_bytes(struct hostile_cpu *cpu, struct code *code)
{
    for (uint64_t n = 1 + pick(cpu, 3); n; n--)
        any_bytes(cpu, code);
}

static void atom_port(struct hostile_cpu *cpu, struct code *code)
{
    static const uint16_t ports[] = {0x20,  0x21,  0x40,  0x43,  0x60,   0x64,  0x70,
                                     0x80,  0xa0,  0xe0,  0xe1,  0xe2,   0xe3,  0xe4,
                                     0xf1,  0xf2,  0xf5,  0x3f5, 0x3f8,  0x3f9, 0x3fb,
                                     0x3fd, 0x3ff, 0xcf8, 0xcfc, 0xffff, 0xfffd};
    static const uint8_t simple[] = {0xec, 0xed, 0xee, 0xef}, strings[] = {0x6c, 0x6d, 0x6e, 0x6f};
    bool string = one_in(cpu, 3);

    emit_mov(code, RDX, one_in(cpu, 4) ? pick(cpu, 0x10000) : PICK(cpu, ports));
    if (one_in(cpu, 200))
        emit_mov(code, RDX, PORT_DEBUG_EXIT);
    any_in(cpu, code, RAX);
    if (string) {
        point_at(cpu, code, RDI);
        point_at(cpu, code, RSI);
        emit_mov(code, RCX, one_in(cpu, 8) ? any_value(cpu) : pick(cpu, 5000));
        if (!one_in(cpu, 4))
            EMIT(code, 0xf3);
    }
    if (one_in(cpu, 4))
        EMIT(code, 0x66);
    emit_number(code, string ? PICK(cpu, strings) : PICK(cpu, simple), 1);
}

/* The registers of a GHCI call: RCX, and R10 to R15, which are loaded by MOVs. In a VM without
 * sides, such a call ends the VM. */
static void emit_ghci(struct hostile_cpu *cpu, struct code *code)
{
    static const uint64_t leaves[] = {0x10000, 0x10001, 48, 12, 10, 30, 31, 32, 0, 1, ~0ull};

    emit_mov(code, RCX, one_in(cpu, 8) ? any_value(cpu) : 0xfc00);
    for (unsigned reg = 2; reg < 8; reg++) {
        uint64_t value = one_in(cpu, 3) ? pick(cpu, 9) : any_value(cpu);

        if (reg == 2)
            value = one_in(cpu, 10) ? value : 0;
        else if (reg == 3)
            value = PICK(cpu, leaves);
        else if (one_in(cpu, 2))
            value = any_gpa(cpu);
        EMIT(code, 0x49, (uint8_t)(0xb8 | reg));
        emit_number(code, value, 8);
    }
}

static void atom_vmcall(struct hostile_cpu *cpu, struct code *code)
{
    static const uint8_t calls[] = {
        HC_NOP,
        HC_VERSION,
        HC_SLOT_ADD,
        HC_SLOT_ADD,
        HC_SLOT_DELETE,
        HC_SLOT_MOVE,
        HC_GENERATION_GET,
        HC_GENERATION_SET,
        HC_ZAP,
        HC_COUNTER,
        HC_SPTE,
        HC_INJECT,
        HC_CONFIG,
        HC_SLOT_FLAGS,
        HC_DIRTY_GET,
        HC_TRACK,
        HC_UNTRACK,
        HC_HOST_REMAP,
        HC_AGE,
        HC_NX_RECOVER,
        HC_TRACE,
        HC_MAP,
        HC_DOORBELL_ADD,
        HC_DOORBELL_REMOVE,
        HC_DOORBELL_RINGS,
        HC_WINDOW,
    };
    static const uint64_t ids[] = {0, 1, 2, 3, 4, 0x1fff, 0x2000, 0x2001, 0x100002000, ~0ull};
    static const uint64_t sizes[] = {0,   1,   2,   63,       64,      65,
                                     511, 512, 513, 0x100000, BIT(40), BIT(52)};
    uint64_t number = ABI_HYPERCALL | PICK(cpu, calls);

    if (one_in(cpu, 300))
        number = any_value(cpu);
    /* rare, because the traced events are printed */
    if (number == (ABI_HYPERCALL | HC_TRACE) && !one_in(cpu, 20))
        number = ABI_HYPERCALL | HC_NOP;
    if (code->bits == 64 && one_in(cpu, hostile_sides ? 3 : 2000)) {
        number = 0;
        emit_ghci(cpu, code);
    } else {
        emit_mov(code, RBX, one_in(cpu, 3) ? any_gpa(cpu) : PICK(cpu, ids));
        emit_mov(code, RCX, one_in(cpu, 2) ? any_gpa(cpu) : PICK(cpu, sizes));
        emit_mov(code, RDX, one_in(cpu, 6) ? any_value(cpu) : PICK(cpu, sizes));
        emit_mov(code, RSI, one_in(cpu, 6) ? any_value(cpu) : pick(cpu, 8));
        if ((number & 0xff) == HC_INJECT && !one_in(cpu, 4)) {
            emit_mov(code, RBX, BIT(31) | pick(cpu, 8) << 8 | pick(cpu, 2) << 11 | pick(cpu, 34));
            emit_mov(code, RDX, one_in(cpu, 2) ? 0 : pick(cpu, 5000));
        }
    }
    emit_mov(code, RAX, number);
    if (one_in(cpu, 400)) /* in the range of extended leaves */
        emit_mov(code, RAX, number | rnd(cpu) << 32);
    EMIT(code, 0x0f, 0x01, 0xc1);
}

static void atom_flush(struct hostile_cpu *cpu, struct code *code)
{
    point_at(cpu, code, RSI);
    emit_mov(code, RAX, one_in(cpu, 6) ? any_value(cpu) : pick(cpu, 5));
    switch (pick(cpu, 4)) {
    case 0:
        EMIT(code, 0x0f, one_in(cpu, 2) ? 0x08 : 0x09); /* INVD, WBINVD */
        break;
    case 1:
        EMIT(code, 0x0f, 0x01, (uint8_t)(7 << 3 | IN_16(code, RSI))); /* INVLPG */
        break;
    default:
        EMIT(code, 0x66, 0x0f, 0x38, 0x82, (uint8_t)IN_16(code, RSI)); /* INVPCID */
    }
}

static void atom_memory(struct hostile_cpu *cpu, struct code *code)
{
    static const uint8_t forms[][6] = {
        /* the number of bytes before a ModRM byte for [RSI], these bytes, and the byte's /reg
         * field */
        {1, 0x8a},
        {1, 0x8b},
        {1, 0x88},
        {1, 0x89},
        {1, 0x87},
        {1, 0x01},
        {1, 0x23},
        {1, 0x39},
        {1, 0xff},
        {1, 0x8f},
        {2, 0x0f, 0xb6},
        {2, 0x0f, 0xbf},
        {3, 0xf0, 0x0f, 0xb1},
        {3, 0xf0, 0x0f, 0xc7},
        {3, 0xf0, 0x0f, 0xab},
        {2, 0x0f, 0x10},
        {2, 0x0f, 0x11},
        {2, 0x0f, 0x6f},
        {2, 0x0f, 0xe7},
        {1, 0xd9},
        {1, 0xdd},
        {2, 0x0f, 0xc3},
        {1, 0x62},
        {2, 0x0f, 0xb2},
        {2, 0x0f, 0x00},
        {2, 0x0f, 0x01},
        {1, 0xc7},
        {1, 0xf7},
        {1, 0xd3},
    };
    static const uint8_t strings[] = {0xa4, 0xa5, 0xa6, 0xa7, 0xab, 0xac, 0xad, 0xae, 0xaf};
    const uint8_t *form = PICK(cpu, forms);

    point_at(cpu, code, RSI);
    if (one_in(cpu, 4)) {
        point_at(cpu, code, RDI);
        emit_mov(code, RCX, one_in(cpu, 8) ? any_value(cpu) : pick(cpu, 600));
        if (!one_in(cpu, 3))
            emit_number(code, 0xf2 + pick(cpu, 2), 1);
        emit_number(code, PICK(cpu, strings), 1);
        return;
    }
    any_in(cpu, code, RAX);
    if (one_in(cpu, 6))
        EMIT(code, 0x66);
    if (code->bits == 64 && one_in(cpu, 3))
        EMIT(code, 0x48);
    emit(code, form + 1, form[0]);
    emit_number(code, pick(cpu, 8) << 3 | (uint64_t)IN_16(code, RSI), 1);
}

static void atom_apic(struct hostile_cpu *cpu, struct code *code)
{
    static const uint32_t commands[] = {0x40,
                                        ICR_NMI,
                                        ICR_INIT,
                                        ICR_STARTUP | 8,
                                        ICR_LOWEST | 0x41,
                                        ICR_SELF | 0x42,
                                        ICR_OTHERS | ICR_NMI,
                                        ICR_ALL | 0x43,
                                        ICR_INIT | ICR_LEVEL,
                                        ICR_LOGICAL | 0x44,
                                        0x200,
                                        0x300,
                                        0x700};
    static const uint64_t bases[] = {0xfee00000, 0xfee00800, 0xfee00900, 0xfee00c00,
                                     0xfee00d00, 0xfee01900, 0x1fee00900};
    uint64_t reg = pick(cpu, 0x40);
    uint64_t value = one_in(cpu, 2) ? any_value(cpu) : pick(cpu, 0x100) | pick(cpu, 8) << 16;

    if (one_in(cpu, 16)) { /* on, off, x2APIC */
        emit_mov(code, RCX, MSR_APIC_BASE);
        emit_mov(code, RAX, PICK(cpu, bases));
        emit_mov(code, RDX, 0);
        EMIT(code, 0x0f, 0x30);
        return;
    }
    if (one_in(cpu, 5)) {
        reg = APIC_REG_ICR >> 4;
        value = PICK(cpu, commands);
    }
    if (one_in(cpu, 3)) { /* by its MSRs */
        emit_mov(code, RCX, MSR_X2APIC + reg);
        emit_mov(code, RAX, value);
        emit_mov(code, RDX, one_in(cpu, 3) ? any_value(cpu) : pick(cpu, 4));
        EMIT(code, 0x0f, one_in(cpu, 4) ? 0x32 : 0x30);
        return;
    }
    if (hostile_sides && !cpu->wide)
        return;
    emit_mov(code, RSI,
             (hostile_sides ? SHARED_VA(APIC) : APIC) + (reg << 4) +
                 (one_in(cpu, 8) ? pick(cpu, 16) : 0));
    emit_mov(code, RAX, value);
    EMIT(code, one_in(cpu, 4) ? 0x8b : 0x89, AT_RSI(RAX));
}

static void atom_segment(struct hostile_cpu *cpu, struct code *code)
{
    uint64_t slot = SEL_ANY / 8 + pick(cpu, GDT_SLOTS - SEL_ANY / 8);

    hostile_gdt[cpu->number][slot] = any_descriptor(cpu);
    emit_mov(code, RAX, one_in(cpu, 3) ? any_selector(cpu) : slot << 3 | pick(cpu, 4));
    switch (pick(cpu, 6)) {
    case 0:
        EMIT(code, 0x0f, 0x00, MODRM(pick(cpu, 6), RAX)); /* SLDT STR LLDT LTR VERR VERW */
        break;
    case 1:
        EMIT(code, 0x0f, one_in(cpu, 2) ? 0x02 : 0x03, MODRM(RCX, RAX));
        break;
    case 2: /* a far return to the selector */
        EMIT(code, 0x50);
        emit_mov(code, RCX, (uint64_t)code->at + 16);
        EMIT(code, 0x51, 0xcb);
        break;
    case 3: /* a far call or jump through memory */
        point_at(cpu, code, RSI);
        EMIT(code, 0x66, 0x89, AT_RSI(RAX), 0xff, AT_RSI(one_in(cpu, 2) ? 3 : 5));
        break;
    default:
        EMIT(code, 0x8e, MODRM(pick(cpu, 6), RAX));
        if (one_in(cpu, 3)) /* in the shadow of a MOV to SS */
            EMIT(code, 0x8e, MODRM(2, RAX), 0xcc);
    }
}

static void atom_event(struct hostile_cpu *cpu, struct code *code)
{
    static const uint8_t events[][4] = {
        {1, 0xcc},
        {1, 0xf1},
        {2, 0x0f, 0x0b},
        {2, 0xf7, 0xf1},
        {1, 0xf4},
        {2, 0xfb, 0xf4},
        {3, 0x0f, 0x01, 0xc8},
        {3, 0x0f, 0x01, 0xc9},
        {2, 0xf3, 0x90},
        {1, 0xce},
        {1, 0x9b},
        {2, 0x0f, 0x05},
        {2, 0x0f, 0x34},
        {2, 0x0f, 0x35},
        {2, 0x0f, 0x07},
        {1, 0xcf},
        {3, 0x0f, 0x01, 0xf8},
        {1, 0x9c},
        {2, 0x0f, 0x31},
        {2, 0x0f, 0x33},
    };
    const uint8_t *event = PICK(cpu, events);

    switch (pick(cpu, 4)) {
    case 0:
        EMIT(code, 0xcd, (uint8_t)rnd(cpu));
        break;
    case 1: /* flags: TF, NT, AC, VM and others */
        EMIT(code, 0x68);
        emit_number(code, rnd(cpu) & (one_in(cpu, 4) ? ~0u : 0x54fff), code->bits == 16 ? 2 : 4);
        EMIT(code, 0x9d);
        break;
    default:
        emit(code, event + 1, event[0]);
    }
}

/* New mappings, which all CPUs share, and an access through them. */
static void atom_pages(struct hostile_cpu *cpu, struct code *code)
{
    for (uint64_t n = pick(cpu, 8); n; n--)
        ((volatile uint64_t *)play_table)[pick(cpu, 16)] = any_pte(cpu);
    emit_mov(code, RSI, PLAY_VA + pick(cpu, 16) * RT_PAGE + pick(cpu, RT_PAGE));
    any_in(cpu, code, RAX);
    switch (pick(cpu, 30)) {
    case 0:
        EMIT(code, 0xff, AT_RSI(one_in(cpu, 2) ? 4 : 2)); /* JMP, CALL */
        return;
    case 1:
        EMIT(code, 0xff, MODRM(4, RSI)); /* a jump to the address */
        return;
    case 2 ... 7:
        EMIT(code, 0x0f, 0x01, AT_RSI(7)); /* INVLPG */
        break;
    case 8: /* a stack at the address */
        EMIT(code, 0x89, MODRM(RSI, RSP), 0x50);
        return;
    }
    EMIT(code, one_in(cpu, 2) ? 0x89 : 0x03, AT_RSI(RAX));
}

/* Lines that look like the hypervisor's, and unprintable bytes. */
static void atom_print(struct hostile_cpu *cpu, struct code *code)
{
    static const char text[][24] = {"ok 1 forged\n", "EXIT 0 ok\n", "BENCH x 1 ticks\n",
                                    "\x1b[2J\r",     "1..5\n",      "KTAP version 1\n",
                                    "not ok 7 x\n"};
    const char *line = PICK(cpu, text);

    emit_mov(code, RSI, (uint64_t)line);
    emit_mov(code, RDX, PORT_UART);
    emit_mov(code, RCX, sizeof(text[0]));
    EMIT(code, 0xf3, 0x6e);
}

static const struct {
    void (*make)(struct hostile_cpu *cpu, struct code *code);
    uint8_t weights[PROFILES];
} kinds[] = {
    {atom_bytes, {8, 20, 2, 2, 4, 2, 2, 2}},  {atom_cr, {4, 2, 12, 2, 1, 1, 2, 1}},
    {atom_dr, {4, 2, 12, 2, 1, 1, 2, 1}},     {atom_msr, {4, 1, 4, 1, 14, 1, 1, 1}},
    {atom_cpuid, {2, 1, 1, 1, 6, 1, 1, 1}},   {atom_port, {4, 1, 1, 8, 1, 1, 1, 2}},
    {atom_vmcall, {4, 1, 1, 1, 1, 16, 2, 6}}, {atom_flush, {2, 1, 2, 1, 1, 1, 4, 2}},
    {atom_xstate, {3, 1, 4, 1, 3, 1, 1, 1}},  {atom_memory, {6, 4, 4, 10, 1, 4, 6, 10}},
    {atom_apic, {4, 1, 1, 8, 6, 1, 1, 2}},    {atom_segment, {3, 2, 8, 1, 1, 1, 2, 1}},
    {atom_event, {4, 3, 10, 2, 2, 1, 2, 2}},  {atom_pages, {4, 1, 2, 4, 1, 4, 14, 8}},
    {atom_print, {1, 0, 0, 1, 0, 0, 0, 0}},   {atom_endless, {1, 0, 2, 0, 0, 0, 0, 0}},
};

void any_atom(struct hostile_cpu *cpu, struct code *code, unsigned profile)
{
    uint64_t total = 0, n;
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(kinds); i++)
        total += kinds[i].weights[profile];
    n = pick(cpu, total);
    for (i = 0; n >= kinds[i].weights[profile]; i++)
        n -= kinds[i].weights[profile];
    if (hostile_calm && kinds[i].make == atom_bytes)
        return;
    kinds[i].make(cpu, code);
}
