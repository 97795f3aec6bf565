/* SPDX-License-Identifier: MIT */
#include "gdb/registers.h"

#include "arch/x86/regs.h"
#include "lib/bits.h"
#include "lib/string.h"

/* Registers in a row, with consecutive indexes. If there are several, or the name ends with a
 * digit that counts, the number `from` + i follows the name. */
struct row {
    const char *name, *suffix, *type, *group;
    uint8_t count, from, size, kind, index;
    bool numbered;
};

#define ONE(n, s, k, i, t)                                                 \
    {                                                                      \
        .name = n, .count = 1, .size = s, .kind = k, .index = i, .type = t \
    }
#define MANY(n, f, c, s, k, i, t)                                                             \
    {                                                                                         \
        .name = n, .numbered = true, .from = f, .count = c, .size = s, .kind = k, .index = i, \
        .type = t                                                                             \
    }
#define SEGMENT(n, i) ONE(n, 4, GDB_CPU_REG, REG_SEG_SELECTOR + (i), "int32")
#define CONTROL(n, i)                                                                         \
    {                                                                                         \
        .name = n, .count = 1, .size = 4, .kind = GDB_X87_CONTROL, .index = i, .type = "int", \
        .group = "float"                                                                      \
    }
#define X87                                                                                \
    MANY("st", 0, 8, 10, GDB_ST, 0, "i387_ext"), CONTROL("fctrl", 0), CONTROL("fstat", 1), \
        CONTROL("ftag", 2), CONTROL("fiseg", 3), CONTROL("fioff", 4), CONTROL("foseg", 5), \
        CONTROL("fooff", 6), CONTROL("fop", 7)
#define SEGMENTS                                                                                \
    SEGMENT("cs", SEG_CS), SEGMENT("ss", SEG_SS), SEGMENT("ds", SEG_DS), SEGMENT("es", SEG_ES), \
        SEGMENT("fs", SEG_FS), SEGMENT("gs", SEG_GS)

static const struct row core_64[] = {
    ONE("rax", 8, GDB_GPR, GPR_RAX, "int64"),
    ONE("rbx", 8, GDB_GPR, GPR_RBX, "int64"),
    ONE("rcx", 8, GDB_GPR, GPR_RCX, "int64"),
    ONE("rdx", 8, GDB_GPR, GPR_RDX, "int64"),
    ONE("rsi", 8, GDB_GPR, GPR_RSI, "int64"),
    ONE("rdi", 8, GDB_GPR, GPR_RDI, "int64"),
    ONE("rbp", 8, GDB_GPR, GPR_RBP, "data_ptr"),
    ONE("rsp", 8, GDB_CPU_REG, REG_RSP, "data_ptr"),
    MANY("r", 8, 8, 8, GDB_GPR, GPR_R8, "int64"),
    ONE("rip", 8, GDB_CPU_REG, REG_RIP, "code_ptr"),
    ONE("eflags", 4, GDB_CPU_REG, REG_RFLAGS, "i386_eflags"),
    SEGMENTS,
    X87,
};

static const struct row core_32[] = {
    ONE("eax", 4, GDB_GPR, GPR_RAX, "int32"),
    ONE("ecx", 4, GDB_GPR, GPR_RCX, "int32"),
    ONE("edx", 4, GDB_GPR, GPR_RDX, "int32"),
    ONE("ebx", 4, GDB_GPR, GPR_RBX, "int32"),
    ONE("esp", 4, GDB_CPU_REG, REG_RSP, "data_ptr"),
    ONE("ebp", 4, GDB_GPR, GPR_RBP, "data_ptr"),
    ONE("esi", 4, GDB_GPR, GPR_RSI, "int32"),
    ONE("edi", 4, GDB_GPR, GPR_RDI, "int32"),
    ONE("eip", 4, GDB_CPU_REG, REG_RIP, "code_ptr"),
    ONE("eflags", 4, GDB_CPU_REG, REG_RFLAGS, "i386_eflags"),
    SEGMENTS,
    X87,
};

#define SSE(many)                                                                 \
    MANY("xmm", 0, many, 16, GDB_XMM, 0, "vec128"),                               \
    {                                                                             \
        .name = "mxcsr", .count = 1, .size = 4, .kind = GDB_MXCSR, .type = "int", \
        .group = "vector"                                                         \
    }
#define AVX(many)                                                                  \
    {                                                                              \
        .name = "ymm", .suffix = "h", .numbered = true, .count = many, .size = 16, \
        .kind = GDB_YMM_HIGH, .type = "uint128"                                    \
    }
static const struct row sse_64[] = {SSE(16)}, sse_32[] = {SSE(8)};
static const struct row avx_64[] = {AVX(16)}, avx_32[] = {AVX(8)};
static const struct row bases[] = {
    ONE("fs_base", 8, GDB_CPU_REG, REG_SEG_BASE + SEG_FS, "int"),
    ONE("gs_base", 8, GDB_CPU_REG, REG_SEG_BASE + SEG_GS, "int"),
};
static const struct row control[] = {
    ONE("cr0", 8, GDB_CPU_REG, REG_CR0, "int64"),
    ONE("cr2", 8, GDB_CR2, 0, "int64"),
    ONE("cr3", 8, GDB_CPU_REG, REG_CR3, "int64"),
    ONE("cr4", 8, GDB_CPU_REG, REG_CR4, "int64"),
    ONE("cr8", 8, GDB_CR8, 0, "int64"),
    ONE("efer", 8, GDB_CPU_REG, REG_EFER, "int64"),
    ONE("gdtr_base", 8, GDB_CPU_REG, REG_GDTR_BASE, "int64"),
    ONE("gdtr_limit", 4, GDB_CPU_REG, REG_GDTR_LIMIT, "int32"),
    ONE("idtr_base", 8, GDB_CPU_REG, REG_IDTR_BASE, "int64"),
    ONE("idtr_limit", 4, GDB_CPU_REG, REG_IDTR_LIMIT, "int32"),
};

static const char flags[] =
    "<flags id=\"i386_eflags\" size=\"4\">"
    "<field name=\"CF\" start=\"0\" end=\"0\"/><field name=\"PF\" start=\"2\" end=\"2\"/>"
    "<field name=\"AF\" start=\"4\" end=\"4\"/><field name=\"ZF\" start=\"6\" end=\"6\"/>"
    "<field name=\"SF\" start=\"7\" end=\"7\"/><field name=\"TF\" start=\"8\" end=\"8\"/>"
    "<field name=\"IF\" start=\"9\" end=\"9\"/><field name=\"DF\" start=\"10\" end=\"10\"/>"
    "<field name=\"OF\" start=\"11\" end=\"11\"/><field name=\"NT\" start=\"14\" end=\"14\"/>"
    "<field name=\"RF\" start=\"16\" end=\"16\"/><field name=\"VM\" start=\"17\" end=\"17\"/>"
    "<field name=\"AC\" start=\"18\" end=\"18\"/><field name=\"VIF\" start=\"19\" end=\"19\"/>"
    "<field name=\"VIP\" start=\"20\" end=\"20\"/><field name=\"ID\" start=\"21\" end=\"21\"/>"
    "</flags>";

static const char vectors[] =
    "<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/>"
    "<vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>"
    "<vector id=\"v16i8\" type=\"int8\" count=\"16\"/>"
    "<vector id=\"v8i16\" type=\"int16\" count=\"8\"/>"
    "<vector id=\"v4i32\" type=\"int32\" count=\"4\"/>"
    "<vector id=\"v2i64\" type=\"int64\" count=\"2\"/>"
    "<union id=\"vec128\"><field name=\"v4_float\" type=\"v4f\"/>"
    "<field name=\"v2_double\" type=\"v2d\"/><field name=\"v16_int8\" type=\"v16i8\"/>"
    "<field name=\"v8_int16\" type=\"v8i16\"/><field name=\"v4_int32\" type=\"v4i32\"/>"
    "<field name=\"v2_int64\" type=\"v2i64\"/><field name=\"uint128\" type=\"uint128\"/></union>";

struct feature {
    const char *name;  /* without org.gnu.gdb.i386. */
    const char *types; /* definitions, or "" */
    const struct row *rows;
    unsigned count;
    bool avx;
};

#define FEATURE(n, t, r)                                         \
    {                                                            \
        .name = n, .types = t, .rows = r, .count = ARRAY_SIZE(r) \
    }
static const struct feature features_64[] = {
    FEATURE("org.gnu.gdb.i386.core", flags, core_64),
    FEATURE("org.gnu.gdb.i386.sse", vectors, sse_64),
    FEATURE("org.gnu.gdb.i386.segments", "", bases),
    FEATURE("eptvisor.control", "", control),
    {.name = "org.gnu.gdb.i386.avx", .types = "", .rows = avx_64, .count = 1, .avx = true},
};
static const struct feature features_32[] = {
    FEATURE("org.gnu.gdb.i386.core", flags, core_32),
    FEATURE("org.gnu.gdb.i386.sse", vectors, sse_32),
    FEATURE("eptvisor.control", "", control),
    {.name = "org.gnu.gdb.i386.avx", .types = "", .rows = avx_32, .count = 1, .avx = true},
};

struct gdb_description {
    const char *architecture;
    const struct feature *features;
    unsigned count;
};
const struct gdb_description gdb_x86_64 = {"i386:x86-64", features_64, ARRAY_SIZE(features_64)};
const struct gdb_description gdb_i386 = {"i386", features_32, ARRAY_SIZE(features_32)};

bool gdb_register(const struct gdb_description *description, bool avx, unsigned number,
                  struct gdb_register *found)
{
    for (unsigned f = 0; f < description->count; f++) {
        const struct feature *feature = &description->features[f];
        for (unsigned r = 0; r < feature->count && (avx || !feature->avx); r++) {
            const struct row *row = &feature->rows[r];
            if (number < row->count) {
                *found = (struct gdb_register){row->kind, row->index + number, row->size};
                return true;
            }
            number -= row->count;
        }
    }
    return false;
}

/* ---- The target description ------------------------------------------------------------------ */

/* The part of a text from `skip` on, of at most `room` bytes. */
struct window {
    char *to;
    size_t skip, room, size;
};

static void window_add(struct window *w, const char *text)
{
    for (; *text; text++) {
        if (w->skip)
            w->skip--;
        else if (w->size < w->room)
            w->to[w->size++] = *text;
    }
}

static void describe_row(struct window *w, const struct row *row)
{
    char text[160], number[4];
    for (unsigned i = 0; i < row->count; i++) {
        snprintf(number, sizeof(number), "%u", (row->from + i) & 0xff);
        snprintf(text, sizeof(text), "<reg name=\"%s%s%s\" bitsize=\"%u\" type=\"%s\"%s%s%s/>",
                 row->name, row->numbered ? number : "", row->suffix ? row->suffix : "",
                 row->size * 8u, row->type, row->group ? " group=\"" : "",
                 row->group ? row->group : "", row->group ? "\"" : "");
        window_add(w, text);
    }
}

size_t gdb_describe(const struct gdb_description *description, bool avx, size_t offset, char *text,
                    size_t size)
{
    struct window w = {.to = text, .skip = offset, .room = size};
    window_add(&w, "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\"><target>"
                   "<architecture>");
    window_add(&w, description->architecture);
    window_add(&w, "</architecture>");
    for (unsigned f = 0; f < description->count; f++) {
        const struct feature *feature = &description->features[f];
        if (feature->avx && !avx)
            continue;
        window_add(&w, "<feature name=\"");
        window_add(&w, feature->name);
        window_add(&w, "\">");
        window_add(&w, feature->types);
        for (unsigned r = 0; r < feature->count; r++)
            describe_row(&w, &feature->rows[r]);
        window_add(&w, "</feature>");
    }
    window_add(&w, "</target>");
    return w.size;
}
