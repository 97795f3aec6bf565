/* SPDX-License-Identifier: MIT */
/*
 * The leaves of TDCALL (tdx/tdcall.h): for each a table of operands with the status, the registers
 * that may change and their values; all others keep theirs. Also VE_INFO, filled by the CPU and by
 * the module, and the answer to each exit of a TD.
 */
#include "tests/unit/support.h"

#include "ept/tdx_status.h"
#include "tdx/exits.h"
#include "tdx/tdcall.h"
#include "tdx/ve.h"
#include "vmx/errors.h"

#include <string.h>

#define INVALID TDX_OPERAND_INVALID
#define R(reg)  (1u << GPR_##reg)
#define SHARED  BIT(39)

static struct td td;
static struct td_vcpu vcpu;
static uint64_t gpr[GPR_COUNT];

/* ---- The host -------------------------------------------------------------------------------- */

/* The last call of the host, and what it returns. */
static struct {
    const char *name;
    uint64_t a, b, c, status;
    struct tdcall_page page;
} host;

static uint64_t note(void *context, const char *name, uint64_t a, uint64_t b, uint64_t c)
{
    assert_ptr_equal(context, &host);
    host.name = name;
    host.a = a;
    host.b = b;
    host.c = c;
    return host.status;
}

static uint64_t accept(void *context, gpa_t gpa, unsigned level)
{
    return note(context, "accept", gpa.v, level, 0);
}

static uint64_t page(void *context, gpa_t gpa, struct tdcall_page *into)
{
    *into = host.page;
    return note(context, "page", gpa.v, 0, 0);
}

static uint64_t report(void *context, uint64_t rcx, uint64_t rdx, uint64_t r8)
{
    return note(context, "report", rcx, rdx, r8);
}

static uint64_t verify_report(void *context, uint64_t rcx)
{
    return note(context, "verify", rcx, 0, 0);
}

static uint64_t rtmr_extend(void *context, uint64_t rcx, uint64_t rdx)
{
    return note(context, "extend", rcx, rdx, 0);
}

static const struct tdcall_host functions = {&host,  accept,        page,
                                             report, verify_report, rtmr_extend};

/* ---- Calls ----------------------------------------------------------------------------------- */

static void prepare(void)
{
    memset(&vcpu, 0, sizeof(vcpu));
    memset(&host, 0, sizeof(host));
    td = (struct td){.gpa_width = 40,
                     .vcpus = 3,
                     .attributes = TD_ATTR_SEPT_VE_DISABLE,
                     .td_ctls = TD_CTLS_PENDING_VE_DISABLE};
    vcpu.td = &td;
    vcpu.index = 2;
}

static void fill(uint64_t rax, uint64_t rcx, uint64_t rdx, uint64_t r8)
{
    for (unsigned i = 0; i < GPR_COUNT; i++)
        gpr[i] = 0xabcd000000000000 | i;
    gpr[GPR_RAX] = rax;
    gpr[GPR_RCX] = rcx;
    gpr[GPR_RDX] = rdx;
    gpr[GPR_R8] = r8;
}

/* Calls, and asserts that only `outputs` have changed. */
static enum tdcall_next call(uint32_t outputs)
{
    uint64_t before[GPR_COUNT];
    memcpy(before, gpr, sizeof(gpr));
    enum tdcall_next next = tdcall(&vcpu, gpr, &functions);
    for (unsigned i = 0; i < GPR_COUNT; i++)
        if (!(outputs >> i & 1) && gpr[i] != before[i])
            fail_msg("leaf %#lx changed register %u to %#lx", before[GPR_RAX], i, gpr[i]);
    return next;
}

static void complete(uint64_t status, uint32_t outputs)
{
    assert_int_equal(call(outputs | R(RAX)), TDCALL_COMPLETE);
    assert_int_equal(gpr[GPR_RAX], status);
}

/* ---- Leaves and versions --------------------------------------------------------------------- */

/* 12 to 21 are leaves of the module that serve nesting, migration and service TDs. */
static void leaves(void **state)
{
    static const uint8_t known[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 22, 23, 24};
    bool exists[0x100] = {false};
    (void)state;
    for (unsigned i = 0; i < sizeof(known); i++)
        exists[known[i]] = true;
    for (uint64_t leaf = 0; leaf < 0x10000; leaf++) {
        prepare();
        fill(leaf, 1, 1, 1); /* operands that each leaf refuses or returns */
        if (leaf >= 0x100 || !exists[leaf]) {
            complete(INVALID, 0);
            continue;
        }
        (void)call(~0u);
        assert_true(gpr[GPR_RAX] != INVALID);
        for (unsigned bit = 16; bit < 64; bit++) {
            fill(leaf | BIT(bit), 1, 1, 1);
            if (leaf != TDCALL_VM_RD || bit >= 24) {
                complete(INVALID, 0);
            } else if (bit > 16) { /* VM.RD knows version 1 */
                complete(INVALID, R(R8) | R(RDX));
                assert_int_equal(gpr[GPR_R8], 0);
                assert_int_equal(gpr[GPR_RDX], ~0ull);
            }
        }
    }
}

static void vp_info(void **state)
{
    (void)state;
    prepare();
    fill(TDCALL_VP_INFO, 1, 2, 3);
    complete(0, R(RCX) | R(RDX) | R(R8) | R(R9) | R(R10) | R(R11));
    assert_int_equal(gpr[GPR_RCX], 40);
    assert_int_equal(gpr[GPR_RDX], BIT(28));
    assert_int_equal(gpr[GPR_R8], 3 | 3ull << 32);
    assert_int_equal(gpr[GPR_R9], 2);
    assert_int_equal(gpr[GPR_R10], 1);
    assert_int_equal(gpr[GPR_R11], 0);
}

static void vp_vmcall(void **state)
{
    (void)state;
    prepare();
    for (unsigned bit = 0; bit < 64; bit++) {
        bool good = bit < 32 && bit != 0 && bit != 1 && bit != 4;
        fill(TDCALL_VP_VMCALL, BIT(bit), 0, 0);
        assert_int_equal(call(R(RAX)), good ? TDCALL_VMCALL : TDCALL_COMPLETE);
        assert_int_equal(gpr[GPR_RAX], good ? 0 : INVALID | 1);
    }
    fill(TDCALL_VP_VMCALL, 0, 0, 0);
    assert_int_equal(call(R(RAX)), TDCALL_VMCALL);
}

static void vp_cpuidve_set(void **state)
{
    (void)state;
    prepare();
    for (unsigned value = 0; value < 4; value++) {
        fill(TDCALL_VP_CPUIDVE_SET, value, 0, 0);
        complete(0, 0);
        assert_int_equal(vcpu.cpuid_ve_supervisor, value & 1);
        assert_int_equal(vcpu.cpuid_ve_user, value >> 1);
    }
    for (unsigned bit = 2; bit < 64; bit++) {
        fill(TDCALL_VP_CPUIDVE_SET, BIT(bit), 0, 0);
        complete(INVALID | 1, 0);
        assert_true(vcpu.cpuid_ve_supervisor && vcpu.cpuid_ve_user);
    }
}

/* ---- VE_INFO --------------------------------------------------------------------------------- */

#define VE_OUTPUTS (R(RCX) | R(RDX) | R(R8) | R(R9) | R(R10))

static void expect_ve(uint64_t reason, uint64_t qualification, uint64_t gla, uint64_t gpa,
                      uint64_t r10)
{
    fill(TDCALL_VP_VEINFO_GET, 1, 2, 3);
    complete(0, VE_OUTPUTS);
    assert_int_equal(gpr[GPR_RCX], reason);
    assert_int_equal(gpr[GPR_RDX], qualification);
    assert_int_equal(gpr[GPR_R8], gla);
    assert_int_equal(gpr[GPR_R9], gpa);
    assert_int_equal(gpr[GPR_R10], r10);
}

static void expect_no_ve(void)
{
    fill(TDCALL_VP_VEINFO_GET, 1, 2, 3);
    complete(TDX_NO_VALID_VE_INFO, VE_OUTPUTS);
    assert_int_equal(gpr[GPR_RCX] | gpr[GPR_RDX] | gpr[GPR_R8] | gpr[GPR_R9] | gpr[GPR_R10], 0);
}

static void ve_info(void **state)
{
    const struct td_ve out = {
        .reason = 30, .qualification = 0x800001, .length = 2, .instruction = 0x4455};
    const struct td_ve read = {.reason = 48, .qualification = 0x181, .gla = 0x1234, .gpa = SHARED};
    (void)state;
    prepare();
    expect_no_ve();
    assert_true(td_ve_fill(&vcpu, &out));
    assert_true(td_ve_is_valid(&vcpu));
    assert_false(td_ve_fill(&vcpu, &read)); /* #DF: the first one stays */
    expect_ve(30, 0x800001, 0, 0, 2 | 0x4455ull << 32);
    expect_no_ve();
    assert_true(td_ve_fill(&vcpu, &read));
    expect_ve(48, 0x181, 0x1234, SHARED, 0);
    /* The CPU writes neither length nor instruction information. */
    assert_true(td_ve_fill(&vcpu, &out));
    expect_ve(30, 0x800001, 0, 0, 2 | 0x4455ull << 32);
    vcpu.ve = (struct ve_area){48, ~0u, 0x182, 0x5678, SHARED | 8, 0};
    assert_false(td_ve_fill(&vcpu, &out));
    expect_ve(48, 0x182, 0x5678, SHARED | 8, 0);
    assert_int_equal(vcpu.ve.busy, 0); /* the CPU may deliver the next one */
    expect_no_ve();
}

/* ---- Metadata -------------------------------------------------------------------------------- */

#define CONFIG_FLAGS 0x1110000300000016ull
#define TD_CTLS      0x1110000300000017ull
#define VCPU_INDEX   0xa020000200000002ull

/* The fields and their rules are tested in test_metadata; here the registers. */
static void metadata(void **state)
{
    (void)state;
    prepare();
    fill(TDCALL_VM_RD, 0, TD_CTLS, 3);
    complete(0, R(R8));
    assert_int_equal(gpr[GPR_R8], 1);
    fill(TDCALL_VM_RD | BIT(16), 0, CONFIG_FLAGS, 3);
    complete(0, R(R8) | R(RDX));
    assert_int_equal(gpr[GPR_RDX], TD_CTLS);
    fill(TDCALL_VM_RD, 0, ~0ull, 3); /* "the first one" is for versions that return it */
    complete(TDX_METADATA_FIELD_ID_INCORRECT, R(R8));
    fill(TDCALL_VM_RD, 0, ~BITS(54, 52), 3); /* the context does not count */
    complete(TDX_METADATA_FIELD_ID_INCORRECT, R(R8));
    fill(TDCALL_VM_RD | BIT(16), 0, ~0ull, 3);
    complete(TDX_METADATA_FIRST_FIELD_ID_IN_CONTEXT, R(R8) | R(RDX));
    assert_int_equal(gpr[GPR_R8], 0);
    fill(TDCALL_VM_RD, 9, TD_CTLS, 3);
    complete(INVALID | 1, R(R8));
    assert_int_equal(gpr[GPR_R8], 0);
    fill(TDCALL_VM_WR, 0, TD_CTLS, 1);
    gpr[GPR_R9] = 1;
    complete(0, R(R8));
    assert_int_equal(gpr[GPR_R8], 1); /* the value before */
    fill(TDCALL_VM_WR, 0, TD_CTLS, 0);
    gpr[GPR_R9] = 1;
    complete(TDX_METADATA_FIELD_VALUE_NOT_VALID, R(R8));
    assert_int_equal(gpr[GPR_R8], 0);
    fill(TDCALL_VM_WR, 1, TD_CTLS, 1);
    complete(INVALID | 1, R(R8));
    fill(TDCALL_VP_RD, 0, VCPU_INDEX, 3);
    complete(0, R(R8) | R(RDX));
    assert_int_equal(gpr[GPR_R8], 2);
    fill(TDCALL_VP_RD, 1, VCPU_INDEX, 3);
    complete(INVALID | 1, R(R8) | R(RDX));
    assert_int_equal(gpr[GPR_RDX], ~0ull);
    fill(TDCALL_VP_WR, 1, VCPU_INDEX, 3);
    complete(INVALID | 1, R(R8));
    fill(TDCALL_SYS_RD, 77, ~0ull, 3); /* RCX is no operand */
    complete(TDX_METADATA_FIRST_FIELD_ID_IN_CONTEXT, R(R8) | R(RDX));
}

/* ---- Memory ---------------------------------------------------------------------------------- */

static void page_operands(void **state)
{
    static const struct {
        uint64_t operand;
        unsigned highest; /* the highest leaf's level for which it is valid; 0: PAGE.ACCEPT, too */
        bool valid;
    } rows[] = {
        {0, 0, true},        {0x1000, 0, true},     {0x7ffffff000, 0, true}, {0x200001, 0, true},
        {1, 0, true},        {0x40000002, 2, true}, {0x201001, 0, false},    {0x40200002, 0, false},
        {3, 0, false},       {4, 0, false},         {7, 0, false},           {8, 0, false},
        {0x800, 0, false},   {SHARED, 0, false},    {BIT(40), 0, false},     {BIT(51), 0, false},
        {BIT(52), 0, false}, {BIT(62), 0, false},   {BIT(63), 0, false},     {SHARED | 1, 0, false},
    };
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        const uint64_t gpa = rows[i].operand & ~7ull, level = rows[i].operand & 7;
        prepare();
        fill(TDCALL_MEM_PAGE_ACCEPT, rows[i].operand, 2, 3);
        const bool accepts = rows[i].valid && !rows[i].highest;
        complete(accepts ? 0 : INVALID | 1, 0);
        assert_int_equal(host.name != NULL, accepts);
        if (accepts) {
            assert_int_equal(host.a, gpa);
            assert_int_equal(host.b, level);
        }
        prepare();
        host.page.level = 2;
        fill(TDCALL_MEM_PAGE_ATTR_WR, rows[i].operand, 0, 0);
        complete(rows[i].valid ? 0 : INVALID | 1, R(RCX) | R(RDX));
        assert_int_equal(gpr[GPR_RCX], rows[i].valid ? rows[i].operand : 0);
        assert_int_equal(gpr[GPR_RDX], 0);
    }
}

static void accept_statuses(void **state)
{
    static const struct {
        uint64_t status;
        enum tdcall_next next;
    } rows[] = {
        {0, TDCALL_COMPLETE},
        {TDX_PAGE_ALREADY_ACCEPTED | 1, TDCALL_COMPLETE},
        {TDX_PAGE_SIZE_MISMATCH | 1, TDCALL_COMPLETE},
        {TDCALL_STATUS_REPEAT, TDCALL_REPEAT},
        {TDCALL_STATUS_END, TDCALL_END},
    };
    static const uint64_t leaf[] = {TDCALL_MEM_PAGE_ACCEPT, TDCALL_MR_REPORT,
                                    TDCALL_MR_VERIFYREPORT, TDCALL_MR_RTMR_EXTEND};
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
        for (unsigned l = 0; l < ARRAY_SIZE(leaf); l++) {
            const bool done = rows[i].next == TDCALL_COMPLETE;
            prepare();
            host.status = rows[i].status;
            fill(leaf[l], 0x200000, 5, 6);
            assert_int_equal(call(done ? R(RAX) : 0), rows[i].next);
            if (done)
                assert_int_equal(gpr[GPR_RAX], rows[i].status);
        }
    fill(TDCALL_MR_REPORT, 11, 22, 33);
    (void)call(R(RAX));
    assert_true(!strcmp(host.name, "report") && host.a == 11 && host.b == 22 && host.c == 33);
    fill(TDCALL_MR_VERIFYREPORT, 11, 22, 33);
    (void)call(R(RAX));
    assert_true(!strcmp(host.name, "verify") && host.a == 11);
    fill(TDCALL_MR_RTMR_EXTEND, 11, 22, 33);
    (void)call(R(RAX));
    assert_true(!strcmp(host.name, "extend") && host.a == 11 && host.b == 22);
}

static void page_attributes(void **state)
{
    (void)state;
    for (unsigned level = 0; level < 3; level++)
        for (unsigned pending = 0; pending < 2; pending++) {
            prepare();
            host.page = (struct tdcall_page){level, pending};
            fill(TDCALL_MEM_PAGE_ATTR_RD, 0x7fffffffff, 2, 3);
            complete(0, R(RCX) | R(RDX));
            assert_int_equal(gpr[GPR_RCX], (0x8000000000 - (0x1000ull << 9 * level)) | level |
                                               (pending ? BIT(62) : 0));
            assert_int_equal(gpr[GPR_RDX], 0);
            for (unsigned wanted = 0; wanted < 3; wanted++) {
                fill(TDCALL_MEM_PAGE_ATTR_WR, 0x40000000 | wanted, 0, 0);
                complete(wanted > level ? TDX_PAGE_SIZE_MISMATCH | wanted : 0, R(RCX) | R(RDX));
                if (wanted <= level)
                    assert_int_equal(gpr[GPR_RCX], 0x40000000 | wanted | (pending ? BIT(62) : 0));
            }
        }
    prepare();
    for (unsigned bit = 0; bit < 64;
         bit++) { /* attributes of nested VMs, of which there are none */
        fill(TDCALL_MEM_PAGE_ATTR_WR, 0, BIT(bit), 0);
        complete(INVALID | 2, R(RCX) | R(RDX));
        fill(TDCALL_MEM_PAGE_ATTR_WR, 0, 0, BIT(bit));
        complete(INVALID | 8, R(RCX) | R(RDX));
    }
    for (unsigned bit = 39; bit < 64; bit++) {
        fill(TDCALL_MEM_PAGE_ATTR_RD, BIT(bit), 2, 3);
        complete(INVALID | 1, R(RCX) | R(RDX));
        assert_int_equal(gpr[GPR_RCX] | gpr[GPR_RDX], 0);
    }
    assert_null(host.name);
    host.status = TDCALL_STATUS_END;
    fill(TDCALL_MEM_PAGE_ATTR_RD, 0, 2, 3);
    assert_int_equal(call(0), TDCALL_END);
    fill(TDCALL_MEM_PAGE_ATTR_WR, 0, 0, 0);
    assert_int_equal(call(0), TDCALL_END);
}

/* ---- Exits ----------------------------------------------------------------------------------- */

/* By lists from the architecture specification; whatever is in no list stops the TD. */
static void exits(void **state)
{
    static const uint8_t ve[] = {12, 13, 18, 30, 36, 39, 54};
    static const uint8_t ud[] = {11, 17, 19, 20, 21, 22, 23, 24, 25,
                                 26, 27, 50, 53, 59, 60, 70, 76};
    static const uint8_t usual[] = {1, 2, 7, 8, 14, 29, 45, 52, 55, 56, 58, 62};
    static const uint8_t cpu[] = {10, 28, 31, 32};
    enum td_answer want[256] = {TD_STOP};
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(ve); i++)
        want[ve[i]] = TD_RAISE_VE;
    for (unsigned i = 0; i < ARRAY_SIZE(ud); i++)
        want[ud[i]] = TD_RAISE_UD;
    for (unsigned i = 0; i < ARRAY_SIZE(usual); i++)
        want[usual[i]] = TD_AS_USUAL;
    for (unsigned i = 0; i < ARRAY_SIZE(cpu); i++)
        want[cpu[i]] = TD_CPU;
    want[77] = TD_CALL;
    want[REASON_EXCEPTION_OR_NMI] = TD_EXCEPTION;
    want[REASON_EPT_VIOLATION] = TD_MEMORY;
    want[REASON_RDPMC] = TD_RAISE_GP;
    for (uint32_t reason = 0; reason < 256; reason++)
        if (td_exit_answer(reason) != want[reason])
            fail_msg("exit reason %u: %d, not %d", reason, td_exit_answer(reason), want[reason]);
    assert_int_equal(td_exit_answer(~0u), TD_STOP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leaves),          cmocka_unit_test(vp_info),
        cmocka_unit_test(vp_vmcall),       cmocka_unit_test(vp_cpuidve_set),
        cmocka_unit_test(ve_info),         cmocka_unit_test(metadata),
        cmocka_unit_test(page_operands),   cmocka_unit_test(accept_statuses),
        cmocka_unit_test(page_attributes), cmocka_unit_test(exits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
