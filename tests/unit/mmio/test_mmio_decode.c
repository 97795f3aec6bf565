/* SPDX-License-Identifier: MIT */
/* The decoder against bytes made by hand: each form in each kind of code, and what is refused. */
#include "tests/unit/mmio/mmio_world.h"

#include "mmio/decode.h"

#include <stdio.h>
#include <stdlib.h>

#define NONE INSN_NO_REG

struct expected {
    const char *what;
    uint8_t code, length;
    uint8_t bytes[INSN_MAX];
    uint8_t op, size, reg_size;
    bool write, has_imm, high_byte;
    uint8_t reg, segment, base, index, shift;
    uint64_t disp, imm;
};

#define LOAD  false, false
#define STORE true, false
#define IMM   true, true
#define C16   CODE_16
#define C32   CODE_32
#define C64   CODE_64
#define MOVED INSN_MOV
#define ZEXT  INSN_ZERO_EXTEND
#define SEXT  INSN_SIGN_EXTEND
#define M(n)  (~0ull << (n))

/* clang-format off */
static const struct expected table[] = {
    {"mov [rax], cl", C64, 2, {0x88, 0x08},
     MOVED, 1, 1, STORE, 0, GPR_RCX, SEG_DS, GPR_RAX, NONE, 0, 0, 0},
    {"mov [rax], ah", C64, 2, {0x88, 0x20},
     MOVED, 1, 1, STORE, 1, GPR_RAX, SEG_DS, GPR_RAX, NONE, 0, 0, 0},
    {"mov [rax], spl", C64, 3, {0x40, 0x88, 0x20},
     MOVED, 1, 1, STORE, 0, GPR_RSP, SEG_DS, GPR_RAX, NONE, 0, 0, 0},
    {"mov [rax], r12b", C64, 3, {0x44, 0x88, 0x20},
     MOVED, 1, 1, STORE, 0, GPR_R12, SEG_DS, GPR_RAX, NONE, 0, 0, 0},
    {"mov bh, [eax]", C32, 2, {0x8a, 0x38},
     MOVED, 1, 1, LOAD, 1, GPR_RBX, SEG_DS, GPR_RAX, NONE, 0, 0, 0},
    {"mov [rax], ebx", C64, 2, {0x89, 0x18},
     MOVED, 4, 4, STORE, 0, GPR_RBX, SEG_DS, GPR_RAX, NONE, 0, 0, 0},
    {"mov [rax], bx", C64, 3, {0x66, 0x89, 0x18},
     MOVED, 2, 2, STORE, 0, GPR_RBX, SEG_DS, GPR_RAX, NONE, 0, 0, 0},
    {"mov [rax], rbx", C64, 3, {0x48, 0x89, 0x18},
     MOVED, 8, 8, STORE, 0, GPR_RBX, SEG_DS, GPR_RAX, NONE, 0, 0, 0},
    {"REX.W beats 66", C64, 4, {0x66, 0x48, 0x89, 0x18},
     MOVED, 8, 8, STORE, 0, GPR_RBX, SEG_DS, GPR_RAX, NONE, 0, 0, 0},
    {"REX before 66 is void", C64, 4, {0x48, 0x66, 0x89, 0x18},
     MOVED, 2, 2, STORE, 0, GPR_RBX, SEG_DS, GPR_RAX, NONE, 0, 0, 0},
    {"mov r9d, [r8]", C64, 3, {0x45, 0x8b, 0x08},
     MOVED, 4, 4, LOAD, 0, GPR_R9, SEG_DS, GPR_R8, NONE, 0, 0, 0},
    {"mov eax, [rip+0x10]", C64, 6, {0x8b, 0x05, 0x10},
     MOVED, 4, 4, LOAD, 0, GPR_RAX, SEG_DS, INSN_RIP, NONE, 0, 0x10, 0},
    {"mov eax, [0x10], 32-bit", C32, 6, {0x8b, 0x05, 0x10},
     MOVED, 4, 4, LOAD, 0, GPR_RAX, SEG_DS, NONE, NONE, 0, 0x10, 0},
    {"mov eax, [rbp-1]", C64, 3, {0x8b, 0x45, 0xff},
     MOVED, 4, 4, LOAD, 0, GPR_RAX, SEG_SS, GPR_RBP, NONE, 0, ~0ull, 0},
    {"mov eax, [r13+0]", C64, 4, {0x41, 0x8b, 0x45, 0},
     MOVED, 4, 4, LOAD, 0, GPR_RAX, SEG_DS, GPR_R13, NONE, 0, 0, 0},
    {"mov eax, [rsp]", C64, 3, {0x8b, 0x04, 0x24},
     MOVED, 4, 4, LOAD, 0, GPR_RAX, SEG_SS, GPR_RSP, NONE, 0, 0, 0},
    {"mov eax, [rcx+r12*8+disp32]", C64, 8, {0x42, 0x8b, 0x84, 0xe1, 0, 0, 0, 0x80},
     MOVED, 4, 4, LOAD, 0, GPR_RAX, SEG_DS, GPR_RCX, GPR_R12, 3, M(31), 0},
    {"mov eax, [rdx*2+disp32]", C64, 7, {0x8b, 0x04, 0x55, 4},
     MOVED, 4, 4, LOAD, 0, GPR_RAX, SEG_DS, NONE, GPR_RDX, 1, 4, 0},
    {"fs mov eax, [rax]", C64, 3, {0x64, 0x8b, 0x00},
     MOVED, 4, 4, LOAD, 0, GPR_RAX, SEG_FS, GPR_RAX, NONE, 0, 0, 0},
    {"es is void in 64-bit", C64, 3, {0x26, 0x8b, 0x00},
     MOVED, 4, 4, LOAD, 0, GPR_RAX, SEG_DS, GPR_RAX, NONE, 0, 0, 0},
    {"es counts in 32-bit", C32, 3, {0x26, 0x8b, 0x00},
     MOVED, 4, 4, LOAD, 0, GPR_RAX, SEG_ES, GPR_RAX, NONE, 0, 0, 0},
    {"the last override wins", C32, 4, {0x26, 0x3e, 0x8b, 0x00},
     MOVED, 4, 4, LOAD, 0, GPR_RAX, SEG_DS, GPR_RAX, NONE, 0, 0, 0},
    {"mov ax, [bx+si]", C16, 2, {0x8b, 0x00},
     MOVED, 2, 2, LOAD, 0, GPR_RAX, SEG_DS, GPR_RBX, GPR_RSI, 0, 0, 0},
    {"mov ax, [bp+di-2]", C16, 3, {0x8b, 0x43, 0xfe},
     MOVED, 2, 2, LOAD, 0, GPR_RAX, SEG_SS, GPR_RBP, GPR_RDI, 0, M(1), 0},
    {"mov ax, [disp16]", C16, 4, {0x8b, 0x06, 0x34, 0x12},
     MOVED, 2, 2, LOAD, 0, GPR_RAX, SEG_DS, NONE, NONE, 0, 0x1234, 0},
    {"mov eax, [eax], 16-bit", C16, 4, {0x66, 0x67, 0x8b, 0x00},
     MOVED, 4, 4, LOAD, 0, GPR_RAX, SEG_DS, GPR_RAX, NONE, 0, 0, 0},
    {"mov eax, [bx], 32-bit", C32, 3, {0x67, 0x8b, 0x07},
     MOVED, 4, 4, LOAD, 0, GPR_RAX, SEG_DS, GPR_RBX, NONE, 0, 0, 0},
    {"mov al, [moffs64]", C64, 9, {0xa0, 1, 2, 3, 4, 5, 6, 7, 0x88},
     MOVED, 1, 1, LOAD, 0, GPR_RAX, SEG_DS, NONE, NONE, 0, 0x8807060504030201, 0},
    {"mov rax, [moffs64]", C64, 10, {0x48, 0xa1, 1},
     MOVED, 8, 8, LOAD, 0, GPR_RAX, SEG_DS, NONE, NONE, 0, 1, 0},
    {"mov eax, [moffs32], 67", C64, 6, {0x67, 0xa1, 0, 0, 0, 0x80},
     MOVED, 4, 4, LOAD, 0, GPR_RAX, SEG_DS, NONE, NONE, 0, 0x80000000, 0},
    {"mov [moffs16], al", C16, 3, {0xa2, 0xff, 0xff},
     MOVED, 1, 1, STORE, 0, GPR_RAX, SEG_DS, NONE, NONE, 0, 0xffff, 0},
    {"mov [moffs32], eax", C32, 5, {0xa3, 1, 0, 0, 0xfe},
     MOVED, 4, 4, STORE, 0, GPR_RAX, SEG_DS, NONE, NONE, 0, 0xfe000001, 0},
    {"mov byte [rax], -1", C64, 3, {0xc6, 0x00, 0xff},
     MOVED, 1, 1, IMM, 0, GPR_RAX, SEG_DS, GPR_RAX, NONE, 0, 0, ~0ull},
    {"mov word [rax], imm16", C64, 5, {0x66, 0xc7, 0x00, 0x34, 0x12},
     MOVED, 2, 2, IMM, 0, GPR_RAX, SEG_DS, GPR_RAX, NONE, 0, 0, 0x1234},
    {"mov qword [rax], imm32", C64, 7, {0x48, 0xc7, 0x00, 0, 0, 0, 0x80},
     MOVED, 8, 8, IMM, 0, GPR_RAX, SEG_DS, GPR_RAX, NONE, 0, 0, M(31)},
    {"mov [rip+8], imm32", C64, 10, {0xc7, 0x05, 8, 0, 0, 0, 1},
     MOVED, 4, 4, IMM, 0, GPR_RAX, SEG_DS, INSN_RIP, NONE, 0, 8, 1},
    {"movzx eax, byte", C64, 3, {0x0f, 0xb6, 0x00},
     ZEXT, 1, 4, LOAD, 0, GPR_RAX, SEG_DS, GPR_RAX, NONE, 0, 0, 0},
    {"movzx esi, byte: no DH here", C64, 3, {0x0f, 0xb6, 0x30},
     ZEXT, 1, 4, LOAD, 0, GPR_RSI, SEG_DS, GPR_RAX, NONE, 0, 0, 0},
    {"movzx rax, word", C64, 4, {0x48, 0x0f, 0xb7, 0x00},
     ZEXT, 2, 8, LOAD, 0, GPR_RAX, SEG_DS, GPR_RAX, NONE, 0, 0, 0},
    {"movsx ax, byte", C64, 4, {0x66, 0x0f, 0xbe, 0x00},
     SEXT, 1, 2, LOAD, 0, GPR_RAX, SEG_DS, GPR_RAX, NONE, 0, 0, 0},
    {"movsx eax, word", C16, 5, {0x66, 0x67, 0x0f, 0xbf, 0x00},
     SEXT, 2, 4, LOAD, 0, GPR_RAX, SEG_DS, GPR_RAX, NONE, 0, 0, 0},
    {"movsxd rax, dword", C64, 3, {0x48, 0x63, 0x00},
     SEXT, 4, 8, LOAD, 0, GPR_RAX, SEG_DS, GPR_RAX, NONE, 0, 0, 0},
    {"movsxd ax, word", C64, 3, {0x66, 0x63, 0x00},
     SEXT, 2, 2, LOAD, 0, GPR_RAX, SEG_DS, GPR_RAX, NONE, 0, 0, 0},
    {"the last of F2 and F3 wins", C64, 5, {0xf2, 0xf3, 0x0f, 0x10, 0x08},
     INSN_VECTOR, 4, 16, LOAD, 0, GPR_RCX, SEG_DS, GPR_RAX, NONE, 0, 0, 0},
    {"66 loses to F3", C64, 5, {0xf3, 0x66, 0x0f, 0x6f, 0x08},
     INSN_VECTOR, 16, 16, LOAD, 0, GPR_RCX, SEG_DS, GPR_RAX, NONE, 0, 0, 0},
    {"vmovups ymm9, [r8]", C64, 5, {0xc4, 0x41, 0x7c, 0x10, 0x08},
     INSN_VECTOR, 32, 32, LOAD, 0, GPR_R9, SEG_DS, GPR_R8, NONE, 0, 0, 0},
    {"vmovups in 32-bit code has no B", C32, 5, {0xc4, 0xc1, 0x7c, 0x10, 0x08},
     INSN_VECTOR, 32, 32, LOAD, 0, GPR_RCX, SEG_DS, GPR_RAX, NONE, 0, 0, 0},
    {"push word, 66 in 64-bit", C64, 3, {0x66, 0xff, 0x30},
     INSN_PUSH, 2, 0, LOAD, 0, GPR_RAX, SEG_DS, GPR_RAX, NONE, 0, 0, 0},
    {"jmp ignores 66 in 64-bit", C64, 3, {0x66, 0xff, 0x20},
     INSN_JMP, 8, 0, LOAD, 0, GPR_RAX, SEG_DS, GPR_RAX, NONE, 0, 0, 0},
    {"stosd keeps ES", C64, 2, {0x64, 0xab},
     INSN_STOS, 4, 4, STORE, 0, GPR_RAX, SEG_ES, GPR_RDI, NONE, 0, 0, 0},
    {"movsw from FS", C32, 3, {0x66, 0x64, 0xa5},
     INSN_MOVS, 2, 0, STORE, 0, GPR_RAX, SEG_FS, GPR_RSI, NONE, 0, 0, 0},
    {"15 bytes", C64, 15, {0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x89, 0x05, 1},
     MOVED, 4, 4, STORE, 0, GPR_RAX, SEG_DS, INSN_RIP, NONE, 0, 1, 0},
};
/* clang-format on */

static void forms(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(table); i++) {
        const struct expected *e = &table[i];
        struct insn insn;
        if (getenv("VERBOSE"))
            fprintf(stderr, "%s\n", e->what);
        assert_int_equal(decode(e->bytes, INSN_MAX, e->code, &insn), DECODE_OK);
        assert_int_equal(insn.length, e->length);
        assert_int_equal(insn.op, e->op);
        assert_int_equal(insn.size, e->size);
        assert_int_equal(insn.reg_size, e->reg_size);
        assert_int_equal(insn.write, e->write);
        assert_int_equal(insn.has_imm, e->has_imm);
        assert_int_equal(insn.high_byte, e->high_byte);
        assert_int_equal(insn.reg, e->reg);
        assert_int_equal(insn.segment, e->segment);
        assert_int_equal(insn.base, e->base);
        assert_int_equal(insn.index, e->index);
        assert_int_equal(insn.shift, e->shift);
        assert_int_equal(insn.disp, e->disp);
        assert_int_equal(insn.imm, e->imm);
        /* Every shorter count is truncated; the bytes after the instruction do not matter. */
        for (unsigned count = 1; count < e->length; count++)
            assert_int_equal(decode(e->bytes, count, e->code, &insn), DECODE_TRUNCATED);
        assert_int_equal(decode(e->bytes, e->length, e->code, &insn), DECODE_OK);
    }
}

static void refusals(void **state)
{
    (void)state;
    static const struct {
        uint8_t code;
        enum decode_result result;
        uint8_t bytes[INSN_MAX];
    } cases[] = {
        {C64, DECODE_UNDEFINED, {0xf0, 0x89, 0x18}},       /* lock mov */
        {C64, DECODE_UNDEFINED, {0xf0, 0x89, 0xd8}},       /* between registers, too */
        {C32, DECODE_UNDEFINED, {0xf0, 0x0f, 0xb6, 0x00}}, /* lock movzx */
        {C64, DECODE_UNDEFINED, {0xc7, 0x08}},             /* c7 /1 */
        {C64, DECODE_UNDEFINED, {0xc6, 0x38}},             /* c6 /7 on memory */
        {C64, DECODE_UNSUPPORTED, {0xc6, 0xf8, 0x00}},     /* xabort */
        {C64, DECODE_OK, {0xf0, 0x01, 0x18}},              /* lock add */
        {C64, DECODE_UNDEFINED, {0xf0, 0x03, 0x18}},       /* lock add to a register */
        {C64, DECODE_UNDEFINED, {0xf0, 0x01, 0xd8}},       /* the same */
        {C64, DECODE_UNDEFINED, {0xf0, 0x39, 0x18}},       /* lock cmp */
        {C64, DECODE_UNDEFINED, {0xf0, 0xd1, 0x20}},       /* lock shl */
        {C64, DECODE_UNDEFINED, {0x82, 0x00}},             /* add, in 32-bit code */
        {C32, DECODE_OK, {0x82, 0x00}},
        {C64, DECODE_UNDEFINED, {0x0f, 0xba, 0x18}}, /* 0f ba /3 */
        {C64, DECODE_UNDEFINED, {0x0f, 0xff, 0x00}}, /* ud0 */
        {C64, DECODE_UNDEFINED, {0x06}},             /* push es */
        {C32, DECODE_UNSUPPORTED, {0x06}},
        {C64, DECODE_UNDEFINED, {0x8c, 0x30}},                /* no seventh segment */
        {C64, DECODE_UNDEFINED, {0x66, 0xc5, 0xfa, 0x6f, 0}}, /* 66 before vex */
        {C64, DECODE_UNDEFINED, {0xc5, 0xe2, 0x6f, 0}},       /* vvvv that is not used */
        {C64, DECODE_UNDEFINED, {0xc5, 0xfd, 0x7e, 0}},       /* vmovd of 256 bits */
        {C32, DECODE_OK, {0xc5, 0x00}},                       /* lds */
        {C64, DECODE_UNSUPPORTED, {0xf2, 0x0f, 0x12, 0}},     /* movddup */
        {C64, DECODE_UNSUPPORTED, {0x62, 0xf1, 0x7c, 0x48}},  /* evex */
        {C64, DECODE_OK, {0xff, 0x28}},                       /* jmp far */
        {C64, DECODE_UNDEFINED, {0xff, 0xe8}},                /* of a register */
        {C64, DECODE_NO_MEMORY, {0x0f, 0x18, 0x08}},          /* prefetch touches nothing */
        {C32, DECODE_OK, {0x63, 0x00}},                       /* arpl */
        {C32, DECODE_OK, {0x62, 0x00}},                       /* bound */
        {C32, DECODE_UNSUPPORTED, {0x48, 0x89, 0x18}},        /* dec eax */
        {C64, DECODE_UNSUPPORTED, {0x0f, 0x88}},              /* no 88 after 0f */
        {C64, DECODE_UNSUPPORTED, {0xb6}},                    /* no b6 without */
        {C64, DECODE_OK, {0xf3, 0x0f, 0xb8, 0x00}},           /* popcnt */
        {C64, DECODE_UNSUPPORTED, {0x0f, 0xb8, 0x00}},        /* jmpe */
        {C64, DECODE_OK, {0x8c, 0x00}},                       /* mov from a segment register */
        {C64, DECODE_OK, {0x8e, 0x00}},                       /* and to one */
        {C64, DECODE_UNDEFINED, {0x8e, 0x08}},                /* but not to CS */
        {C64, DECODE_OK, {0xc4, 0xe1, 0x79, 0x6f}},           /* vmovdqa */
        {C64, DECODE_NO_MEMORY, {0x89, 0xd8}},
        {C64,
         DECODE_TOO_LONG,
         {0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x89, 0x05}},
        {C64,
         DECODE_TOO_LONG,
         {0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
          0x66}},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        struct insn insn;
        assert_int_equal(decode(cases[i].bytes, INSN_MAX, cases[i].code, &insn), cases[i].result);
    }
}

/* IRET by any prefixes, in code of any size; and what has its byte, but elsewhere. */
static void irets(void **state)
{
    (void)state;
    static const struct {
        uint8_t bytes[6];
        unsigned count;
        bool is[3]; /* in 16, 32 and 64-bit code */
    } rows[] = {
        {{0xcf}, 1, {true, true, true}},
        {{0x66, 0xcf}, 2, {true, true, true}},
        {{0xf3, 0x2e, 0x67, 0xcf}, 4, {true, true, true}},
        {{0x48, 0xcf}, 2, {false, false, true}}, /* DEC outside 64-bit code */
        {{0x66, 0x48, 0xcf}, 3, {false, false, true}},
        {{0x66}, 1, {false, false, false}},
        {{0x0f, 0xcf}, 2, {false, false, false}}, /* BSWAP */
        {{0x8b, 0xcf}, 2, {false, false, false}},
        {{0xcd, 0xcf}, 2, {false, false, false}},
        {{0xcb}, 1, {false, false, false}}, /* RET far */
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
        for (enum code_size code = CODE_16; code <= CODE_64; code++)
            if (decode_is_iret(rows[i].bytes, rows[i].count, code) != rows[i].is[code])
                fail_msg("row %u, code %u", i, code);
    assert_false(decode_is_iret(rows[0].bytes, 0, CODE_64));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(forms), cmocka_unit_test(refusals),
                                       cmocka_unit_test(irets)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
