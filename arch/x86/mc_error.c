/* SPDX-License-Identifier: MIT */
/* The words for machine-check errors; see the header. Pure. */
#include "arch/x86/mc_error.h"

#include "lib/bit_words.h"
#include "lib/string.h"

#define STATUS_CODE      BITS(15, 0)
#define STATUS_MODEL     BITS(31, 16) /* a code that each model defines for itself */
#define STATUS_CORRECTED BITS(52, 38) /* how many corrected errors, with MCG_CAP_CORRECTED */
#define STATUS_FLAGS     BITS(63, 57)

#define MISC_MODE     BITS(8, 6) /* what the address is, with MCG_CAP_RECOVERY (16.3.2.4) */
#define CODE_FILTERED BIT(12)    /* of a compound code: further corrected errors are not reported */

static const struct bit_word status_flags[] = {
    {MC_STATUS_AR, "AR"},       {MC_STATUS_S, "S"},         {MC_STATUS_PCC, "PCC"},
    {MC_STATUS_ADDRV, "ADDRV"}, {MC_STATUS_MISCV, "MISCV"}, {BIT(60), "EN"},
    {MC_STATUS_UC, "UC"},       {BIT(62), "OVER"},          {MC_STATUS_VAL, "VAL"},
};
static const struct bit_word global_flags[] = {
    {MCG_STATUS_RIPV, "RIPV"}, {BIT(1), "EIPV"}, {MCG_STATUS_MCIP, "MCIP"}, {BIT(3), "LMCE_S"}};

/* ---- Error codes ----------------------------------------------------------------------------- */

/* What an error concerns, by which the advice is chosen. */
enum mc_part {
    PART_UNKNOWN,
    PART_PROCESSOR,
    PART_MEMORY,
    PART_BUS,
    PART_TIMER,
};

static const struct {
    uint16_t code;
    enum mc_part part;
    const char *text;
} simple_codes[] = {
    /* clang-format off */
    {0x0000, PART_UNKNOWN,   "no error"},
    {0x0001, PART_UNKNOWN,   "unclassified"},
    {0x0002, PART_PROCESSOR, "parity error in the microcode ROM"},
    {0x0003, PART_BUS,       "external error: another processor signalled BINIT#"},
    {0x0004, PART_PROCESSOR, "functional redundancy check (FRC)"},
    {0x0005, PART_PROCESSOR, "internal parity error"},
    {0x0006, PART_PROCESSOR, "SMM executed code outside of its range"},
    {0x0400, PART_TIMER,     "internal timer error"},
    {0x0e0b, PART_BUS,       "I/O error"},
    /* clang-format on */
};

/* A compound code is one of these patterns, with a part of the fields TT, LL, RRRR, … in it. */
enum compound {
    COMPOUND_HIERARCHY,
    COMPOUND_TLB,
    COMPOUND_MEMORY,
    COMPOUND_CACHE,
    COMPOUND_NEAR_MEMORY,
    COMPOUND_BUS,
};
static const struct {
    uint16_t mask, value;
    enum mc_part part;
} compounds[] = {
    [COMPOUND_HIERARCHY] = {0xfffc, 0x000c, PART_PROCESSOR},
    [COMPOUND_TLB] = {0xfff0, 0x0010, PART_PROCESSOR},
    [COMPOUND_MEMORY] = {0xff80, 0x0080, PART_MEMORY},
    [COMPOUND_CACHE] = {0xff00, 0x0100, PART_PROCESSOR},
    [COMPOUND_NEAR_MEMORY] = {0xff80, 0x0280, PART_MEMORY},
    [COMPOUND_BUS] = {0xf800, 0x0800, PART_BUS},
};

static const char *code_transaction(uint16_t code)
{
    static const char *const names[] = {"instruction", "data", "any type", "reserved type"};
    return names[code >> 2 & 3];
}

static const char *code_level(uint16_t code)
{
    static const char *const names[] = {"level 0", "level 1", "level 2", "any level"};
    return names[code & 3];
}

static const char *code_request(uint16_t code)
{
    static const char *const names[16] = {"any request", "read",       "write",
                                          "data read",   "data write", "instruction fetch",
                                          "prefetch",    "eviction",   "snoop"};
    const char *name = names[code >> 4 & 15];
    return name ? name : "reserved request";
}

static void memory_text(uint16_t code, const char *what, char *text, unsigned size)
{
    static const char *const names[] = {"any request", "read",     "write",    "address or command",
                                        "scrubbing",   "reserved", "reserved", "reserved"};
    unsigned channel = code & 15, n;
    n = (unsigned)snprintf(text, size, "%s, %s", what, names[code >> 4 & 7]);
    if (channel != 15 && n < size)
        snprintf(text + n, size - n, ", channel %u", channel);
}

static void bus_text(uint16_t code, char *text, unsigned size)
{
    static const char *const by[] = {"request of this CPU", "response of this CPU",
                                     "observed by this CPU", "any participant"};
    static const char *const of[] = {"memory", "reserved", "I/O", "other transaction"};
    snprintf(text, size, "bus or interconnect, %s%s, %s, %s, %s", by[code >> 9 & 3],
             code & BIT(8) ? ", timed out" : "", code_request(code), of[code >> 2 & 3],
             code_level(code));
}

static void compound_text(enum compound kind, uint16_t code, char *text, unsigned size)
{
    switch (kind) {
    case COMPOUND_HIERARCHY:
        snprintf(text, size, "cache hierarchy, %s", code_level(code));
        return;
    case COMPOUND_TLB:
        snprintf(text, size, "TLB, %s, %s", code_transaction(code), code_level(code));
        return;
    case COMPOUND_MEMORY:
        return memory_text(code, "memory controller", text, size);
    case COMPOUND_CACHE:
        snprintf(text, size, "cache, %s, %s, %s", code_request(code), code_transaction(code),
                 code_level(code));
        return;
    case COMPOUND_NEAR_MEMORY:
        return memory_text(code, "memory used as a cache", text, size);
    case COMPOUND_BUS:
        return bus_text(code, text, size);
    }
}

/* Writes the words, if `text` is not NULL, and returns what the code concerns. */
static enum mc_part code_decode(uint16_t code, char *text, unsigned size)
{
    for (unsigned i = 0; i < ARRAY_SIZE(simple_codes); i++) {
        if (simple_codes[i].code != code)
            continue;
        if (text)
            snprintf(text, size, "%s", simple_codes[i].text);
        return simple_codes[i].part;
    }
    for (unsigned i = 0; i < ARRAY_SIZE(compounds); i++) {
        if ((code & ~CODE_FILTERED & compounds[i].mask) != compounds[i].value)
            continue;
        if (text)
            compound_text((enum compound)i, code, text, size);
        return compounds[i].part;
    }
    bool internal = (code & 0xfc00) == 0x0400;
    if (text)
        snprintf(text, size, "%s",
                 internal ? "internal, unclassified" : "a code that is not known");
    return internal ? PART_PROCESSOR : PART_UNKNOWN;
}

void mc_code_text(uint16_t code, char *text, unsigned size)
{
    (void)code_decode(code, text, size);
}

/* ---- Registers ------------------------------------------------------------------------------- */

unsigned mc_bank_count(uint64_t cap)
{
    unsigned count = (unsigned)field_get(cap, MCG_CAP_COUNT);
    return count < MC_BANKS_MAX ? count : MC_BANKS_MAX;
}

void mc_global_text(uint64_t global, char *text, unsigned size)
{
    if (!bit_words(global, global_flags, ARRAY_SIZE(global_flags), text, size))
        snprintf(text, size, "none");
}

static uint64_t flags_of(const struct mc_error *e)
{
    return e->status &
           (STATUS_FLAGS | (e->cap & MCG_CAP_RECOVERY ? MC_STATUS_S | MC_STATUS_AR : 0));
}

/* What the flags mean together. Without MCG_CAP_RECOVERY, S and AR are something else. */
static const char *meaning(const struct mc_error *e)
{
    uint64_t flags = flags_of(e);
    if (!(flags & MC_STATUS_UC))
        return "corrected";
    if (flags & MC_STATUS_PCC)
        return "not corrected, and the CPU's state may be wrong";
    if (!(e->cap & MCG_CAP_RECOVERY))
        return "not corrected, but the CPU's state is right";
    if (flags & MC_STATUS_AR)
        return "not corrected, and the instruction at RIP needs what is lost";
    return flags & MC_STATUS_S ? "not corrected, but nothing has used what is lost"
                               : "not corrected, and no action is required";
}

void mc_error_text(const struct mc_error *e, char *text, unsigned size)
{
    char flags[64], code[112];
    bit_words(flags_of(e), status_flags, ARRAY_SIZE(status_flags), flags, sizeof(flags));
    mc_code_text((uint16_t)field_get(e->status, STATUS_CODE), code, sizeof(code));
    snprintf(text, size, "IA32_MC%u_STATUS %#lx: %s; code %#x, %#x: %s", e->bank, e->status, flags,
             (unsigned)field_get(e->status, STATUS_CODE),
             (unsigned)field_get(e->status, STATUS_MODEL), code);
}

void mc_detail_text(const struct mc_error *e, char *text, unsigned size)
{
    static const char *const modes[8] = {" (an offset in a segment)", " (linear)", " (physical)",
                                         " (of a memory module)"};
    unsigned corrected = (unsigned)field_get(e->status, STATUS_CORRECTED);
    char count[32] = "", address[64] = "", misc[40] = "";
    const char *mode = NULL;
    if (corrected && e->cap & MCG_CAP_CORRECTED && !(e->status & MC_STATUS_UC))
        snprintf(count, sizeof(count), ", %u of them", corrected);
    if (e->cap & MCG_CAP_RECOVERY && e->status & MC_STATUS_MISCV)
        mode = modes[field_get(e->misc, MISC_MODE)];
    if (e->status & MC_STATUS_ADDRV)
        snprintf(address, sizeof(address), "; address %#lx%s", e->address, mode ? mode : "");
    if (e->status & MC_STATUS_MISCV)
        snprintf(misc, sizeof(misc), "; IA32_MC%u_MISC %#lx", e->bank, e->misc);
    snprintf(text, size, "%s%s%s%s", meaning(e), count, address, misc);
}

const char *mc_advice(const struct mc_error *e)
{
    static const char *const advice[] = {
        [PART_UNKNOWN] = "the firmware's event log may name the part that has failed; update the "
                         "firmware, and see Intel's description of this model's error codes",
        [PART_PROCESSOR] = "the CPU itself: set its clock and voltage back to the defaults, look "
                           "at its cooling, and update the firmware with its microcode; replace "
                           "the CPU if the error comes back",
        [PART_MEMORY] = "the memory: test it, reseat the modules, and replace the one that the "
                        "firmware's event log or the channel above names",
        [PART_BUS] = "a device, its slot, or the link between CPUs: take out cards one by one, and "
                     "update the firmware",
        [PART_TIMER] =
            "an instruction got no answer for a long time, which is mostly a device that "
            "hangs: take out cards one by one, and update the firmware",
    };
    if (!e)
        return "no bank has an error: the firmware may have taken it; read its event log";
    return advice[code_decode((uint16_t)field_get(e->status, STATUS_CODE), NULL, 0)];
}

/* ---- Errors of several CPUs ------------------------------------------------------------------ */

static bool is_same(const struct mc_error *a, const struct mc_error *b)
{
    return a->bank == b->bank && a->status == b->status && a->address == b->address &&
           a->misc == b->misc;
}

void mc_errors_add(struct mc_errors *errors, const struct mc_error *error)
{
    for (unsigned i = 0; i < errors->count; i++)
        if (is_same(&errors->row[i], error))
            return;
    if (errors->count == MC_ERRORS_MAX)
        errors->dropped++;
    else
        errors->row[errors->count++] = *error;
}

/* Corrected errors may have been in a bank for long. */
static unsigned severity(const struct mc_error *e)
{
    uint64_t flags = flags_of(e);
    if (!(flags & MC_STATUS_UC))
        return 1;
    return flags & MC_STATUS_PCC ? 4 : flags & MC_STATUS_AR ? 3 : 2;
}

const struct mc_error *mc_errors_worst(const struct mc_errors *errors)
{
    const struct mc_error *worst = NULL;
    for (unsigned i = 0; i < errors->count; i++)
        if (!worst || severity(&errors->row[i]) > severity(worst))
            worst = &errors->row[i];
    return worst;
}
