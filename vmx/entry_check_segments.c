/* SPDX-License-Identifier: MIT */
/*
 * The entry checks of the guest's segment registers and descriptor-table registers (SDM 3, 27.3.1.2
 * and 27.3.1.3). The fields of the eight segment registers have the same order in each group of
 * fields, so a register is an index: ES, CS, SS, DS, FS, GS as instructions encode them, then LDTR
 * and TR.
 */
#include "vmx/entry_check_internal.h"
#include "arch/x86/reg_bits.h"
#include "arch/x86/regs.h"

static const char RULE[] = "27.3.1.2";
static const char TABLES[] = "27.3.1.3";

#define SEG_LDTR (SEG_COUNT + 0)
#define SEG_TR   (SEG_COUNT + 1)

#define AR_ACCESSED  BIT(0)
#define AR_READABLE  BIT(1) /* in a code segment */
#define AR_CODE      BIT(3)
#define AR_LOW_GAP   BITS(11, 8)
#define AR_HIGH_GAP  BITS(31, 17)
#define AR_V8086     0xf3
#define TYPE_DATA_RW 3 /* accessed, read/write, expand-up */
#define TI           BIT(2)
#define RPL          BITS(1, 0)

#define SELECTOR(seg)      (VMCS_GUEST_ES_SELECTOR + 2 * (uint32_t)(seg))
#define LIMIT(seg)         (VMCS_GUEST_ES_LIMIT + 2 * (uint32_t)(seg))
#define ACCESS_RIGHTS(seg) (VMCS_GUEST_ES_ACCESS_RIGHTS + 2 * (uint32_t)(seg))
#define BASE(seg)          (VMCS_GUEST_ES_BASE + 2 * (uint32_t)(seg))
_Static_assert(SELECTOR(SEG_TR) == VMCS_GUEST_TR_SELECTOR, "selectors are in order");
_Static_assert(LIMIT(SEG_TR) == VMCS_GUEST_TR_LIMIT, "limits are in order");
_Static_assert(ACCESS_RIGHTS(SEG_TR) == VMCS_GUEST_TR_ACCESS_RIGHTS, "access rights are in order");
_Static_assert(BASE(SEG_TR) == VMCS_GUEST_TR_BASE, "bases are in order");

static uint64_t segment_rights(const struct entry_checker *c, unsigned seg)
{
    return entry_get(c, ACCESS_RIGHTS(seg));
}

static unsigned segment_type(const struct entry_checker *c, unsigned seg)
{
    return (unsigned)(segment_rights(c, seg) & SEG_AR_TYPE);
}

static unsigned entry_check_dpl(const struct entry_checker *c, unsigned seg)
{
    return (unsigned)field_get(segment_rights(c, seg), SEG_AR_DPL);
}

static bool segment_usable(const struct entry_checker *c, unsigned seg)
{
    return !(segment_rights(c, seg) & SEG_AR_UNUSABLE);
}

/* In virtual-8086 mode, the base follows from the selector; limit and access rights are fixed. */
static void check_v8086(struct entry_checker *c)
{
    for (unsigned seg = SEG_ES; seg < SEG_COUNT; seg++) {
        uint64_t base = entry_get(c, SELECTOR(seg)) << 4;
        if (entry_get(c, BASE(seg)) != base)
            entry_fail(c, BASE(seg), -1, RULE, "must be 0x%llx, the selector times 16, in V8086",
                       (unsigned long long)base);
        if (entry_get(c, LIMIT(seg)) != 0xffff)
            entry_fail(c, LIMIT(seg), -1, RULE, "must be 0xffff in virtual-8086 mode");
        if (segment_rights(c, seg) != AR_V8086)
            entry_fail(c, ACCESS_RIGHTS(seg), -1, RULE, "must be 0xf3 in virtual-8086 mode");
    }
}

/* Checks the rules that apply to the access rights of every usable register. */
static void check_common_rights(struct entry_checker *c, unsigned seg)
{
    uint32_t field = ACCESS_RIGHTS(seg);
    uint64_t limit = entry_get(c, LIMIT(seg));

    entry_must_be_1(c, field, SEG_AR_P, RULE, "present");
    entry_must_be_0(c, field, AR_LOW_GAP | AR_HIGH_GAP, RULE, "reserved");
    if ((limit & BITS(11, 0)) != BITS(11, 0))
        entry_must_be_0(c, field, SEG_AR_G, RULE,
                        "G, because bits 11:0 of the limit are not all 1");
    if (limit & BITS(31, 20))
        entry_must_be_1(c, field, SEG_AR_G, RULE, "G, because bits 31:20 of the limit are not 0");
}

static void check_cs(struct entry_checker *c)
{
    const uint32_t field = ACCESS_RIGHTS(SEG_CS);
    unsigned type = segment_type(c, SEG_CS), dpl = entry_check_dpl(c, SEG_CS),
             ss_dpl = entry_check_dpl(c, SEG_SS);
    bool data = type == TYPE_DATA_RW && c->unrestricted;

    if (!data && (type & (AR_CODE | AR_ACCESSED)) != (AR_CODE | AR_ACCESSED))
        entry_fail(c, field, 0, RULE, "type %u, must be 9, 11, 13 or 15%s", type,
                   c->unrestricted ? ", or 3" : "");
    entry_must_be_1(c, field, SEG_AR_S, RULE, "S, a code segment");
    if (data && dpl)
        entry_fail(c, field, 5, RULE, "DPL %u, must be 0 with type 3", dpl);
    if ((type == 9 || type == 11) && dpl != ss_dpl)
        entry_fail(c, field, 5, RULE, "DPL %u, must be %u, the DPL of SS, with type %u", dpl,
                   ss_dpl, type);
    if ((type == 13 || type == 15) && dpl > ss_dpl)
        entry_fail(c, field, 5, RULE, "DPL %u, must be at most %u, the DPL of SS, with type %u",
                   dpl, ss_dpl, type);
    if (c->ia32e && segment_rights(c, SEG_CS) & SEG_AR_L)
        entry_must_be_0(c, field, SEG_AR_DB, RULE, "D/B, because L is 1 in IA-32e mode");
    check_common_rights(c, SEG_CS);
}

/* The DPL of SS is the CPL, even if SS is unusable. */
static void check_ss(struct entry_checker *c)
{
    const uint32_t field = ACCESS_RIGHTS(SEG_SS);
    unsigned type = segment_type(c, SEG_SS), dpl = entry_check_dpl(c, SEG_SS);
    unsigned rpl = (unsigned)(entry_get(c, SELECTOR(SEG_SS)) & RPL);

    if (!c->unrestricted && dpl != rpl)
        entry_fail(c, field, 5, RULE, "DPL %u, must be %u, the RPL, without unrestricted guest",
                   dpl, rpl);
    if (dpl && segment_type(c, SEG_CS) == TYPE_DATA_RW)
        entry_fail(c, field, 5, RULE, "DPL %u, must be 0 because the type of CS is 3", dpl);
    else if (dpl && !(c->cr0 & CR0_PE))
        entry_fail(c, field, 5, RULE, "DPL %u, must be 0 because CR0.PE is 0", dpl);
    if (!segment_usable(c, SEG_SS))
        return;
    if (type != 3 && type != 7)
        entry_fail(c, field, 0, RULE, "type %u, must be 3 or 7", type);
    entry_must_be_1(c, field, SEG_AR_S, RULE, "S, a data segment");
    check_common_rights(c, SEG_SS);
}

static void check_data(struct entry_checker *c, unsigned seg)
{
    const uint32_t field = ACCESS_RIGHTS(seg);
    unsigned type = segment_type(c, seg), dpl = entry_check_dpl(c, seg);
    unsigned rpl = (unsigned)(entry_get(c, SELECTOR(seg)) & RPL);

    if (!segment_usable(c, seg))
        return;
    entry_must_be_1(c, field, AR_ACCESSED, RULE, "accessed");
    if (type & AR_CODE)
        entry_must_be_1(c, field, AR_READABLE, RULE, "readable, because bit 3 says code");
    entry_must_be_1(c, field, SEG_AR_S, RULE, "S, a data or code segment");
    if (!c->unrestricted && type <= 11 && dpl < rpl)
        entry_fail(c, field, 5, RULE,
                   "DPL %u, must be at least %u, the RPL, without unrestricted guest", dpl, rpl);
    check_common_rights(c, seg);
}

static void check_bases(struct entry_checker *c)
{
    entry_canonical(c, BASE(SEG_FS), RULE);
    entry_canonical(c, BASE(SEG_GS), RULE);
    entry_canonical(c, BASE(SEG_TR), RULE);
    if (segment_usable(c, SEG_LDTR))
        entry_canonical(c, BASE(SEG_LDTR), RULE);
    if (c->v8086)
        return; /* check_v8086() has checked these bases */
    for (unsigned seg = SEG_ES; seg <= SEG_DS; seg++)
        if (seg == SEG_CS || segment_usable(c, seg))
            entry_must_be_0(c, BASE(seg), HIGH_HALF, RULE, "a base of 32 bits");
}

static void check_system_segments(struct entry_checker *c)
{
    const uint32_t tr = ACCESS_RIGHTS(SEG_TR), ldtr = ACCESS_RIGHTS(SEG_LDTR);
    unsigned type = segment_type(c, SEG_TR);

    entry_must_be_0(c, SELECTOR(SEG_TR), TI, RULE, "TI");
    if (c->ia32e && type != 11)
        entry_fail(c, tr, 0, RULE, "type %u, must be 11, a busy 64-bit TSS", type);
    else if (type != 3 && type != 11)
        entry_fail(c, tr, 0, RULE, "type %u, must be 3 or 11, a busy TSS", type);
    entry_must_be_0(c, tr, SEG_AR_S, RULE, "S, a system segment");
    entry_must_be_0(c, tr, SEG_AR_UNUSABLE, RULE, "unusable");
    check_common_rights(c, SEG_TR);

    if (!segment_usable(c, SEG_LDTR))
        return;
    entry_must_be_0(c, SELECTOR(SEG_LDTR), TI, RULE, "TI");
    if (segment_type(c, SEG_LDTR) != 2)
        entry_fail(c, ldtr, 0, RULE, "type %u, must be 2, an LDT", segment_type(c, SEG_LDTR));
    entry_must_be_0(c, ldtr, SEG_AR_S, RULE, "S, a system segment");
    check_common_rights(c, SEG_LDTR);
}

void entry_check_segments(struct entry_checker *c)
{
    if (c->v8086) {
        check_v8086(c);
    } else {
        unsigned rpl = (unsigned)(entry_get(c, SELECTOR(SEG_SS)) & RPL);
        unsigned cs_rpl = (unsigned)(entry_get(c, SELECTOR(SEG_CS)) & RPL);
        if (!c->unrestricted && rpl != cs_rpl)
            entry_fail(c, SELECTOR(SEG_SS), 0, RULE,
                       "RPL %u, must be %u, the RPL of CS, without unrestricted guest", rpl,
                       cs_rpl);
        check_cs(c);
        check_ss(c);
        check_data(c, SEG_DS);
        check_data(c, SEG_ES);
        check_data(c, SEG_FS);
        check_data(c, SEG_GS);
    }
    check_bases(c);
    check_system_segments(c);

    entry_canonical(c, VMCS_GUEST_GDTR_BASE, TABLES);
    entry_canonical(c, VMCS_GUEST_IDTR_BASE, TABLES);
    entry_must_be_0(c, VMCS_GUEST_GDTR_LIMIT, BITS(31, 16), TABLES, "a limit of 16 bits");
    entry_must_be_0(c, VMCS_GUEST_IDTR_LIMIT, BITS(31, 16), TABLES, "a limit of 16 bits");
}
