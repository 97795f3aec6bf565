/* SPDX-License-Identifier: MIT */
/* The comparison of two decoders; see the header. Used by test_mmio_zydis.c and tests/fuzz/. */
#include "tests/unit/mmio/mmio_zydis.h"

#include "lib/bits.h"
#include "arch/x86/regs.h"

#include <Zydis/Zydis.h>

struct zydis_counts zydis_counts;

/* ---- What Zydis says that we should emulate -------------------------------------------------- */

static ZydisDecoder *decoder(enum code_size code)
{
    static ZydisDecoder decoders[3];
    static const ZydisMachineMode modes[] = {
        ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_MACHINE_MODE_LONG_64};
    static const ZydisStackWidth widths[] = {ZYDIS_STACK_WIDTH_16, ZYDIS_STACK_WIDTH_32,
                                             ZYDIS_STACK_WIDTH_64};
    static bool ready;
    for (unsigned i = 0; !ready && i < 3; i++) {
        ZydisDecoderInit(&decoders[i], modes[i], widths[i]);
        /* No guest is offered CET; with it 3E before JMP and CALL would be no segment override. */
        ZydisDecoderEnableMode(&decoders[i], ZYDIS_DECODER_MODE_CET, ZYAN_FALSE);
    }
    ready = true;
    return &decoders[code];
}

/* The operation by the name of the instruction. Independent of our table. MOVSD and CMPSD have two
 * meanings each. */
#define IS(mnemonic, op) [ZYDIS_MNEMONIC_##mnemonic] = INSN_##op + 1
/* clang-format off */
static const uint8_t operations[ZYDIS_MNEMONIC_MAX_VALUE + 1] = {
    IS(MOV, MOV), IS(MOVBE, MOVBE), IS(ADD, ADD), IS(OR, OR), IS(ADC, ADC), IS(SBB, SBB),
    IS(AND, AND), IS(SUB, SUB), IS(XOR, XOR), IS(CMP, CMP), IS(TEST, TEST), IS(NOT, NOT),
    IS(NEG, NEG), IS(INC, INC), IS(DEC, DEC), IS(IMUL, IMUL), IS(BT, BT), IS(BTS, BTS),
    IS(BTR, BTR), IS(BTC, BTC), IS(ROL, ROL), IS(ROR, ROR), IS(RCL, RCL), IS(RCR, RCR),
    IS(SHL, SHL), IS(SHR, SHR), IS(SAR, SAR), IS(SHLD, SHLD), IS(SHRD, SHRD), IS(MUL, MUL),
    IS(DIV, DIV), IS(IDIV, IDIV), IS(XCHG, XCHG), IS(XADD, XADD), IS(CMPXCHG, CMPXCHG),
    IS(PUSH, PUSH), IS(POP, POP), IS(CALL, CALL), IS(JMP, JMP), IS(MOVNTI, MOV),
    IS(MOVZX, ZERO_EXTEND), IS(MOVSX, SIGN_EXTEND), IS(MOVSXD, SIGN_EXTEND), IS(CLFLUSH, NOTHING),
    IS(CLFLUSHOPT, NOTHING), IS(CLWB, NOTHING), IS(CMPXCHG8B, CMPXCHG_PAIR),
    IS(CMPXCHG16B, CMPXCHG_PAIR), IS(MOVSB, MOVS), IS(MOVSW, MOVS), IS(MOVSQ, MOVS),
    IS(CMPSB, CMPS), IS(CMPSW, CMPS), IS(CMPSQ, CMPS), IS(STOSB, STOS), IS(STOSW, STOS),
    IS(STOSD, STOS), IS(STOSQ, STOS), IS(LODSB, LODS), IS(LODSW, LODS), IS(LODSD, LODS),
    IS(LODSQ, LODS), IS(SCASB, SCAS), IS(SCASW, SCAS), IS(SCASD, SCAS), IS(SCASQ, SCAS),
    IS(MOVAPS, VECTOR), IS(MOVAPD, VECTOR), IS(MOVUPS, VECTOR), IS(MOVUPD, VECTOR),
    IS(MOVDQA, VECTOR), IS(MOVDQU, VECTOR), IS(MOVNTPS, VECTOR), IS(MOVNTPD, VECTOR),
    IS(MOVNTDQ, VECTOR), IS(MOVNTDQA, VECTOR), IS(LDDQU, VECTOR), IS(MOVSS, VECTOR),
    IS(MOVD, VECTOR), IS(MOVQ, VECTOR), IS(VMOVAPS, VECTOR), IS(VMOVAPD, VECTOR),
    IS(VMOVUPS, VECTOR), IS(VMOVUPD, VECTOR), IS(VMOVDQA, VECTOR), IS(VMOVDQU, VECTOR),
    IS(VMOVNTPS, VECTOR), IS(VMOVNTPD, VECTOR), IS(VMOVNTDQ, VECTOR), IS(VMOVNTDQA, VECTOR),
    IS(VLDDQU, VECTOR), IS(VMOVSS, VECTOR), IS(VMOVSD, VECTOR), IS(VMOVD, VECTOR),
    IS(VMOVQ, VECTOR), IS(MOVLPS, VECTOR_LOW), IS(MOVLPD, VECTOR_LOW), IS(VMOVLPS, VECTOR_LOW),
    IS(VMOVLPD, VECTOR_LOW), IS(MOVHPS, VECTOR_HIGH), IS(MOVHPD, VECTOR_HIGH),
    IS(VMOVHPS, VECTOR_HIGH), IS(VMOVHPD, VECTOR_HIGH), IS(SETB, SET), IS(SETBE, SET),
    IS(SETL, SET), IS(SETLE, SET), IS(SETNB, SET), IS(SETNBE, SET), IS(SETNL, SET), IS(SETNLE, SET),
    IS(SETNO, SET), IS(SETNP, SET), IS(SETNS, SET), IS(SETNZ, SET), IS(SETO, SET), IS(SETP, SET),
    IS(SETS, SET), IS(SETZ, SET), IS(CMOVB, CMOV), IS(CMOVBE, CMOV), IS(CMOVL, CMOV),
    IS(CMOVLE, CMOV), IS(CMOVNB, CMOV), IS(CMOVNBE, CMOV), IS(CMOVNL, CMOV), IS(CMOVNLE, CMOV),
    IS(BSF, BSF), IS(BSR, BSR), IS(TZCNT, TZCNT), IS(LZCNT, LZCNT), IS(POPCNT, POPCNT),
    IS(ADCX, ADCX), IS(ADOX, ADOX), IS(CRC32, CRC32), IS(XLAT, XLAT), IS(BOUND, BOUND),
    IS(ARPL, ARPL), IS(SLDT, SLDT), IS(STR, STR), IS(LLDT, LLDT), IS(LTR, LTR), IS(VERR, VERR),
    IS(VERW, VERW), IS(SGDT, SGDT), IS(SIDT, SIDT), IS(LGDT, LGDT), IS(LIDT, LIDT),
    IS(SMSW, SMSW), IS(LMSW, LMSW), IS(LAR, LAR), IS(LSL, LSL), IS(LES, LOAD_POINTER),
    IS(LDS, LOAD_POINTER), IS(LSS, LOAD_POINTER), IS(LFS, LOAD_POINTER), IS(LGS, LOAD_POINTER),
    IS(MOVNTQ, MMX), IS(PUSHF, PUSH_FLAGS), IS(PUSHFD, PUSH_FLAGS), IS(PUSHFQ, PUSH_FLAGS),
    IS(RET, RET), IS(ENTER, ENTER), IS(LEAVE, LEAVE),
    IS(CMOVNO, CMOV), IS(CMOVNP, CMOV), IS(CMOVNS, CMOV), IS(CMOVNZ, CMOV), IS(CMOVO, CMOV),
    IS(CMOVP, CMOV), IS(CMOVS, CMOV), IS(CMOVZ, CMOV),
};
/* clang-format on */

/* -1: none of ours. */
static int operation(ZydisMnemonic mnemonic)
{
    return operations[mnemonic] - 1;
}

struct view {
    const ZydisDecodedInstruction *z;
    const ZydisDecodedOperand *o;
    const ZydisDecodedOperand *memory; /* the operand that our decoder describes */
    const ZydisDecodedOperand *other;  /* the explicit one that is not memory, or NULL */
    int op;
};

static bool is_kind(const ZydisDecodedOperand *o, ZydisRegisterClass kind)
{
    return o->type == ZYDIS_OPERAND_TYPE_REGISTER && ZydisRegisterGetClass(o->reg.value) == kind;
}

/* Whether the stack is the only memory, so that there is no operand to compare. */
static bool is_stack_only(struct view *v)
{
    const ZydisDecodedOperand *o = &v->o[0];
    bool gpr = v->z->opcode >= 0x50 && v->z->opcode <= 0x5f,
         imm = v->o[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
    bool one_byte = v->z->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT;
    if (v->op == INSN_PUSH && one_byte && (gpr || imm))
        v->op = INSN_PUSH_VALUE;
    else if (v->op == INSN_POP && one_byte && gpr)
        v->op = INSN_POP_GPR;
    else if (v->op == INSN_CALL && imm && v->z->opcode == 0xe8)
        v->op = INSN_CALL_NEAR;
    v->other = v->op == INSN_PUSH_VALUE || v->op == INSN_POP_GPR ? o : NULL;
    return (v->op >= INSN_PUSH_VALUE && v->op <= INSN_LEAVE) &&
           v->z->meta.branch_type != ZYDIS_BRANCH_TYPE_FAR;
}

/* Whether this is one of ours on memory, and its operands. */
static bool supports(struct view *v)
{
    const ZydisDecodedInstruction *z = v->z;
    bool is_string = z->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT &&
                     (z->encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY);
    v->op = operation(z->mnemonic);
    if (z->mnemonic == ZYDIS_MNEMONIC_MOVSD || z->mnemonic == ZYDIS_MNEMONIC_CMPSD) {
        v->op = z->mnemonic == ZYDIS_MNEMONIC_MOVSD ? INSN_VECTOR : -1;
        if (is_string)
            v->op = z->mnemonic == ZYDIS_MNEMONIC_MOVSD ? INSN_MOVS : INSN_CMPS;
    }
    if (v->op < 0 || z->encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX ||
        z->encoding == ZYDIS_INSTRUCTION_ENCODING_MVEX)
        return false;
    v->memory = v->other = NULL;
    if (is_stack_only(v))
        return true;
    for (unsigned i = 0; i < z->operand_count; i++) {
        const ZydisDecodedOperand *o = &v->o[i];
        bool is_explicit = o->visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT ||
                           (v->op >= INSN_MOVS && v->op <= INSN_SCAS) || v->op == INSN_XLAT;
        if (is_kind(o, ZYDIS_REGCLASS_MMX) && v->op == INSN_VECTOR)
            v->op = INSN_MMX;
        if (v->op == INSN_MOV && i == 0 && is_kind(o, ZYDIS_REGCLASS_SEGMENT))
            v->op = INSN_LOAD_SEGMENT;
        if (!is_explicit && o->visibility != ZYDIS_OPERAND_VISIBILITY_IMPLICIT)
            continue;
        if (o->type == ZYDIS_OPERAND_TYPE_MEMORY) {
            /* Of two, MOVS's and CMPS's, the one at rSI. */
            if (!v->memory ||
                (o->mem.base == ZYDIS_REGISTER_RSI || o->mem.base == ZYDIS_REGISTER_ESI ||
                 o->mem.base == ZYDIS_REGISTER_SI))
                v->memory = o;
        } else if (!v->other && o->visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT) {
            v->other = o;
        }
    }
    if (!v->memory || v->memory->mem.type == ZYDIS_MEMOP_TYPE_AGEN)
        return false;
    if ((v->op == INSN_CALL || v->op == INSN_JMP) && z->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
        v->op = v->op == INSN_CALL ? INSN_CALL_FAR : INSN_JMP_FAR;
    /* What has one mnemonic and two operations with us. */
    if (v->op == INSN_MOV && v->other && is_kind(v->other, ZYDIS_REGCLASS_SEGMENT))
        v->op = INSN_MOV_SEGMENT;
    bool stores = v->memory == &v->o[0];
    if (v->op == INSN_VECTOR_LOW && stores)
        v->op = INSN_VECTOR;
    if (v->op == INSN_IMUL && v->memory == &v->o[0])
        v->op = INSN_IMUL_WIDE;
    if (v->op == INSN_SHL && z->raw.modrm.reg == 6)
        v->op = INSN_SHL_ALIAS;
    return true;
}

/* ---- The comparison -------------------------------------------------------------------------- */

/* Our name of a Zydis register. */
static uint8_t gpr_of(ZydisRegister reg, bool *high)
{
    *high = reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH;
    if (reg == ZYDIS_REGISTER_NONE)
        return INSN_NO_REG;
    if (reg == ZYDIS_REGISTER_RIP || reg == ZYDIS_REGISTER_EIP)
        return INSN_RIP;
    if (*high)
        return (uint8_t)(reg - ZYDIS_REGISTER_AH);
    if (reg >= ZYDIS_REGISTER_SPL && reg <= ZYDIS_REGISTER_R15B)
        return (uint8_t)(reg - ZYDIS_REGISTER_SPL + 4);
    return (uint8_t)ZydisRegisterGetId(reg);
}

#define AGREE(ours, theirs)          \
    do {                             \
        if ((ours) != (theirs))      \
            return #ours " differs"; \
    } while (0)

static const char *compare_address(const struct insn *i, const struct view *v)
{
    const ZydisDecodedInstruction *z = v->z;
    const ZydisDecodedOperand *m = v->memory;
    bool unused;
    AGREE(i->segment, (uint8_t)(m->mem.segment - ZYDIS_REGISTER_ES));
    AGREE(i->address_mask, ~0ull >> (64 - z->address_width));
    /* Class 1: SIB base 5 with mod 0 means no base, whatever REX.B says (SDM 2, 2.2.1.2). Zydis
     * 4.0.0 forgets that for R13D alone. */
    bool no_base =
        z->raw.modrm.mod == 0 && z->raw.sib.base == 5 && m->mem.base == ZYDIS_REGISTER_R13D;
    zydis_counts.differences[1] += no_base;
    AGREE(i->base, no_base ? INSN_NO_REG : gpr_of(m->mem.base, &unused));
    if (i->op != INSN_XLAT) /* whose index, AL, we add when we execute it */
        AGREE(i->index, gpr_of(m->mem.index, &unused));
    if (i->index != INSN_NO_REG)
        AGREE(1u << i->shift, m->mem.scale ? m->mem.scale : 1);
    uint64_t disp = (uint64_t)(no_base ? z->raw.disp.value : m->mem.disp.value);
    AGREE((i->disp ^ disp) & i->address_mask, 0);
    return NULL;
}

static const char *compare_other(const struct insn *i, const struct view *v)
{
    const ZydisDecodedOperand *o = v->other;
    bool high;
    /* With three operands ours is the register, and the immediate stands last. */
    bool count = i->operand == OPERAND_ONE || i->operand == OPERAND_CL;
    if (i->has_imm && i->operand != OPERAND_ONE) {
        const ZydisDecodedOperand *imm = o;
        for (unsigned n = 0; n < v->z->operand_count; n++)
            if (v->o[n].type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
                imm = &v->o[n];
        AGREE(imm && imm->type == ZYDIS_OPERAND_TYPE_IMMEDIATE, true);
        bool byte = i->operand == OPERAND_IMM8 || i->operand == OPERAND_GPR_IMM8;
        uint64_t mask = byte && !imm->imm.is_signed ? 0xff : ~0ull >> (64 - 8u * i->size);
        AGREE((i->imm ^ imm->imm.value.u) & mask, 0);
        if (i->operand == OPERAND_IMM || i->operand == OPERAND_IMM8)
            return NULL;
    }
    if (count || i->operand == OPERAND_NONE)
        return NULL;
    if (i->operand == OPERAND_RAX) {
        AGREE(i->reg, GPR_RAX);
        return NULL;
    }
    AGREE(o && o->type == ZYDIS_OPERAND_TYPE_REGISTER, true);
    if (i->operand == OPERAND_SEGMENT) {
        AGREE(i->reg, (uint8_t)(o->reg.value - ZYDIS_REGISTER_ES));
        return NULL;
    }
    AGREE(i->reg, gpr_of(o->reg.value, &high));
    AGREE(i->high_byte, high);
    bool vector = i->operand == OPERAND_XMM || i->operand == OPERAND_MMX;
    if (!vector || i->reg_size == i->size)
        AGREE(i->reg_size, o->size / 8);
    return NULL;
}

static const char *compare_vex(const struct insn *i, const struct view *v)
{
    bool vex = v->z->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;
    AGREE(i->vex != 0, vex);
    if (vex && insn_row(i)->flags & INSN_VVVV)
        AGREE(i->vvvv, (uint8_t)ZydisRegisterGetId(v->o[1].reg.value));
    return NULL;
}

/* Zydis has an operand for the stack, whose size is that of what is pushed or popped. */
static const char *compare_stack_only(const struct insn *i, const struct view *v)
{
    unsigned size = 0;
    bool high;
    AGREE(i->op, v->op);
    for (unsigned n = 0; n < v->z->operand_count; n++)
        if (v->o[n].type == ZYDIS_OPERAND_TYPE_MEMORY)
            size = v->o[n].size / 8;
    AGREE(i->size, size);
    if (i->operand == OPERAND_OPCODE)
        AGREE(i->reg, gpr_of(v->other->reg.value, &high));
    if (i->op == INSN_PUSH_VALUE && i->has_imm)
        AGREE((i->imm ^ v->other->imm.value.u) & ~0ull >> (64 - 8u * i->size), 0);
    if (i->op == INSN_CALL_NEAR || (i->op == INSN_RET && i->has_imm))
        AGREE((i->imm ^ v->o[0].imm.value.u) & 0xffff, 0);
    if (i->op == INSN_ENTER)
        AGREE(i->imm, v->o[0].imm.value.u | v->o[1].imm.value.u << 16);
    return NULL;
}

static const char *compare(const struct insn *i, const struct view *v)
{
    const ZydisDecodedInstruction *z = v->z;
    const ZydisDecodedOperand *m = v->memory;
    bool writes = false, reads = false;
    AGREE(i->length, z->length);
    if (!m)
        return compare_stack_only(i, v);
    AGREE(i->op == INSN_SHL_ALIAS ? INSN_SHL : i->op, v->op == INSN_SHL_ALIAS ? INSN_SHL : v->op);
    /* Class 2: MOVSXD with a 16-bit operand reads 16 bits (SDM 2); Zydis says 32, as older manuals
     * did. */
    if (i->op == INSN_SIGN_EXTEND && z->opcode == 0x63 && i->reg_size == 2)
        zydis_counts.differences[2]++;
    else if (i->op != INSN_NOTHING) /* a cache line; we look at its first byte */
        AGREE(i->size, m->size / 8);
    for (unsigned n = 0; n < z->operand_count; n++) {
        const ZydisDecodedOperand *o = &v->o[n];
        bool ours = o == m || (o->type == ZYDIS_OPERAND_TYPE_MEMORY && i->op >= INSN_MOVS &&
                               i->op <= INSN_SCAS);
        writes |= ours && o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
        reads |= ours && o->actions & ZYDIS_OPERAND_ACTION_MASK_READ;
    }
    AGREE(i->write, writes);
    if (i->op != INSN_NOTHING)
        AGREE(i->read, reads);
    AGREE(i->lock, (z->attributes & ZYDIS_ATTRIB_HAS_LOCK) != 0);
    if (i->op >= INSN_MOVS && i->op <= INSN_SCAS) {
        bool repeats =
            z->attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE);
        AGREE(i->repeat != 0, repeats);
        AGREE(i->repeat == 0xf2, (z->attributes & ZYDIS_ATTRIB_HAS_REPNE) != 0);
    }
    const char *difference = compare_vex(i, v);
    if (!difference)
        difference = compare_address(i, v);
    return difference ? difference : compare_other(i, v);
}

static void count(enum decode_result result, const struct insn *insn)
{
    zydis_counts.inputs++;
    switch (result) {
    case DECODE_OK:
        zydis_counts.emulated++;
        zydis_counts.rows[insn->row]++;
        break;
    case DECODE_NO_MEMORY:
        zydis_counts.registers++;
        break;
    case DECODE_UNDEFINED:
        zydis_counts.undefined++;
        break;
    case DECODE_UNSUPPORTED:
        zydis_counts.other++;
        break;
    default:
        zydis_counts.truncated++;
    }
}

const char *zydis_compare(const uint8_t *bytes, unsigned size, enum code_size code)
{
    ZydisDecodedInstruction z;
    ZydisDecodedOperand o[ZYDIS_MAX_OPERAND_COUNT];
    ZydisDecoderContext context;
    struct view view = {.z = &z, .o = o};
    struct insn insn;

    ZyanStatus status = ZydisDecoderDecodeInstruction(decoder(code), &context, bytes, size, &z);
    bool legal = ZYAN_SUCCESS(status);
    enum decode_result result = decode(bytes, size, code, &insn);
    count(result, &insn);
    if (!legal) {
        if (result == DECODE_OK)
            return "only we take this";
        if (result == DECODE_NO_MEMORY)
            return "only we take this, between registers";
        if (status == ZYDIS_STATUS_NO_MORE_DATA && result == DECODE_UNDEFINED)
            return NULL;
        return NULL;
    }
    if (result == DECODE_TRUNCATED || result == DECODE_TOO_LONG)
        return "only we miss bytes";
    if (result == DECODE_UNDEFINED) {
        if (z.mnemonic == ZYDIS_MNEMONIC_UD0 || z.mnemonic == ZYDIS_MNEMONIC_UD1 ||
            z.mnemonic == ZYDIS_MNEMONIC_UD2)
            return NULL;
        /* Class 3: XOP, AMD's alone. Class 4: VEX map 0, of Knights Corner alone. */
        unsigned other = z.encoding == ZYDIS_INSTRUCTION_ENCODING_XOP ? 3 : 4;
        if (other == 4 && (z.encoding != ZYDIS_INSTRUCTION_ENCODING_VEX || z.raw.vex.m_mmmm))
            return "only we call this undefined";
        zydis_counts.differences[other]++;
        return NULL;
    }
    /* Most inputs are no instruction of ours, and operands take long to decode. */
    bool ours = operation(z.mnemonic) >= 0 || z.mnemonic == ZYDIS_MNEMONIC_MOVSD ||
                z.mnemonic == ZYDIS_MNEMONIC_CMPSD;
    if (ours &&
        !ZYAN_SUCCESS(ZydisDecoderDecodeOperands(decoder(code), &context, &z, o, z.operand_count)))
        return "Zydis fails";
    ours = ours && supports(&view);
    if (ours != (result == DECODE_OK))
        return ours ? "only Zydis takes this" : "only we take this";
    if (result == DECODE_NO_MEMORY)
        AGREE(insn.length, z.length);
    return ours ? compare(&insn, &view) : NULL;
}
