/* SPDX-License-Identifier: MIT */
/*
 * The entry checks. A VMCS that a CPU accepts has no finding. Each rule that is broken alone yields
 * one finding with the expected message (tests/unit/vmx/test_vmx_rows_*.inc). No VMCS makes the
 * checks fail, or read a field that the CPU does not have.
 */
#include "tests/unit/support.h"

#include "tests/unit/vmx/test_vmx_image.h"
#include "tests/unit/vmx/test_vmx_models.h"
#include "vmx/event.h"

#include <stdio.h>
#include <stdlib.h>

static struct image image;
static char findings[8192];

static int setup(void **state)
{
    (void)state;
    support_reset();
    return 0;
}

static void collect(void *ctx, const struct entry_finding *finding)
{
    unsigned *last_bit = ctx;
    size_t length = strlen(findings);

    snprintf(findings + length, sizeof(findings) - length, "%s\n", finding->text);
    *last_bit = (unsigned)finding->bit;

    /* The members of the finding agree with its message. */
    char start[128], end[32];
    snprintf(start, sizeof(start), "%s = 0x%llx: ", vmcs_field_name(finding->field),
             (unsigned long long)finding->value);
    snprintf(end, sizeof(end), " (SDM %s)", finding->rule);
    assert_memory_equal(finding->text, start, strlen(start));
    assert_true(strlen(finding->text) > strlen(start) + strlen(end));
    assert_string_equal(finding->text + strlen(finding->text) - strlen(end), end);
    assert_true(finding->bit >= -1 && finding->bit < (int)vmcs_field_bits(finding->field));
}

static unsigned check(void)
{
    unsigned bit;
    findings[0] = 0;
    return entry_check(&image.input, collect, &bit);
}

static void good(void **state)
{
    (void)state;
    static const struct vmx_msrs *const models[] = {&icelake_u, &skylake_x, &haswell, &ivy_bridge,
                                                    &rich};
    for (unsigned i = 0; i < ARRAY_SIZE(models); i++)
        for (enum image_kind kind = 0; kind < IMAGE_KINDS; kind++) {
            image_make(&image, models[i], kind);
            check();
            assert_string_equal(findings, "");
        }
}

/* Changes of the CPU's capabilities. */
static void no_hlt_state(struct image *i)
{
    i->msrs.misc &= ~MISC_HLT_STATE;
}
static void no_shutdown_state(struct image *i)
{
    i->msrs.misc &= ~MISC_SHUTDOWN_STATE;
}
static void no_sipi_state(struct image *i)
{
    i->msrs.misc &= ~MISC_WAIT_FOR_SIPI;
}
static void narrow_addresses(struct image *i)
{
    i->msrs.basic |= BASIC_32BIT_ADDRESSES;
}
static void any_error_code(struct image *i)
{
    i->msrs.basic |= BASIC_ANY_ERROR_CODE;
}
static void no_zero_length(struct image *i)
{
    i->msrs.misc &= ~MISC_ZERO_LENGTH_INJECT;
}
static void no_ept_ad(struct image *i)
{
    i->msrs.ept_vpid_cap &= ~EPT_CAP_ACCESSED_DIRTY;
}
static void no_ept_uc(struct image *i)
{
    i->msrs.ept_vpid_cap &= ~EPT_CAP_UC;
}
static void no_ept_wb(struct image *i)
{
    i->msrs.ept_vpid_cap &= ~EPT_CAP_WB;
}
static void ept_walk_5(struct image *i)
{
    i->msrs.ept_vpid_cap |= EPT_CAP_WALK_5;
}
static void ept_shadow_stack(struct image *i)
{
    i->msrs.ept_vpid_cap |= EPT_CAP_SHADOW_STACK;
}
static void no_mtf(struct image *i)
{
    i->msrs.true_primary &= ~(PRIMARY_MONITOR_TRAP_FLAG << 32);
}
static void rtm(struct image *i)
{
    i->input.rtm = true;
}
static void linear_57(struct image *i)
{
    i->input.linear_bits = 57;
}
static void cr0_narrow(struct image *i)
{
    i->msrs.cr0_fixed1 = ~BIT(18);
}

struct change {
    uint32_t field;
    uint64_t keep, add;
};
#define SET(field, value)      \
    {                          \
        VMCS_##field, 0, value \
    }
#define ON(field, bits)           \
    {                             \
        VMCS_##field, ~0ull, bits \
    }
#define OFF(field, bits)                   \
    {                                      \
        VMCS_##field, ~(uint64_t)(bits), 0 \
    }

#define EVENT(type, vector) (0x80000000 | (type) << 8 | (vector))

struct row {
    enum image_kind kind;
    struct change changes[6];
    void (*cpu)(struct image *image);
    const char *message; /* "" if the change is allowed */
};

static const struct row rows[] = {
/* clang-format off */
#include "tests/unit/vmx/test_vmx_rows_controls.inc"
#include "tests/unit/vmx/test_vmx_rows_host.inc"
#include "tests/unit/vmx/test_vmx_rows_guest.inc"
#include "tests/unit/vmx/test_vmx_rows_segments.inc"
    /* clang-format on */
};

static void run_row(const struct row *row)
{
    image_make(&image, &rich, row->kind);
    for (unsigned i = 0; i < ARRAY_SIZE(row->changes) && row->changes[i].field; i++) {
        uint64_t *value = &image.value[row->changes[i].field];
        *value = (*value & row->changes[i].keep) | row->changes[i].add;
    }
    if (row->cpu)
        row->cpu(&image);
}

static void each_rule(void **state)
{
    (void)state;
    unsigned wrong = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        run_row(&rows[i]);
        unsigned count = check();
        if (count && findings[0])
            findings[strlen(findings) - 1] = 0; /* the last newline */
        if (getenv("ROWS"))
            printf("ROW %u\t%s\n", i, findings);
        if (!strcmp(findings, rows[i].message) && count == (rows[i].message[0] != 0))
            continue;
        print_error("row %u: expected \"%s\"\n         found \"%s\"\n", i, rows[i].message,
                    findings);
        wrong++;
    }
    assert_int_equal(wrong, 0);
    assert_true(ARRAY_SIZE(rows) >= 150);
}

static void bits_in_findings(void **state)
{
    (void)state;
    unsigned bit = 99;
    image_make(&image, &rich, LONG);
    image.value[VMCS_GUEST_RFLAGS] = 0;
    findings[0] = 0;
    assert_int_equal(entry_check(&image.input, collect, &bit), 1);
    assert_int_equal(bit, 1);

    image_make(&image, &rich, LONG);
    image.value[VMCS_GUEST_SYSENTER_EIP] = BIT(47);
    assert_int_equal(entry_check(&image.input, collect, &bit), 1);
    assert_int_equal((int)bit, -1);
}

/* A value wider than its field is cut, as VMREAD would. */
static void widths(void **state)
{
    (void)state;
    image_make(&image, &icelake_u, LONG);
    image.value[VMCS_GUEST_GDTR_LIMIT] |= BIT(40);
    image.value[VMCS_HOST_CS_SELECTOR] |= BIT(16);
    assert_int_equal(check(), 0);
}

static void several(void **state)
{
    (void)state;
    image_make(&image, &icelake_u, LONG);
    image.value[VMCS_GUEST_RFLAGS] = 8;
    image.value[VMCS_HOST_CS_SELECTOR] = 0;
    assert_int_equal(check(), 3);
    assert_string_equal(findings,
                        "host CS selector = 0x0: must not be the null selector (SDM 27.2.3)\n"
                        "guest RFLAGS = 0x8: bit 1 is 0 but must be 1 (SDM 27.3.1.4)\n"
                        "guest RFLAGS = 0x8: bit 3 is 1 but must be 0, reserved (SDM 27.3.1.4)\n");
}

static void logged(void **state)
{
    (void)state;
    image_make(&image, &icelake_u, LONG);
    image.value[VMCS_GUEST_RFLAGS] = 0;
    assert_int_equal(entry_check_log(&image.input), 1);
    assert_string_equal(support_log(), "entry check: guest RFLAGS = 0x0: bit 1 is 0 but must be 1 "
                                       "(SDM 27.3.1.4)\n");
    support_reset();
    image.value[VMCS_GUEST_RFLAGS] = 2;
    assert_int_equal(entry_check_log(&image.input), 0);
    assert_non_null(strstr(support_log(), "every rule that can be checked from the VMCS holds"));
}

/* VPID has the encoding 0, which ends the list of changes in a row. */
static void vpid(void **state)
{
    (void)state;
    image_make(&image, &icelake_u, LONG);
    image.value[VMCS_VPID] = 0;
    assert_int_equal(check(), 1);
    assert_string_equal(findings,
                        "VPID = 0x0: must not be 0, which is the host's (SDM 27.2.1.1)\n");
    image.value[VMCS_SECONDARY_CONTROLS] &= ~SECONDARY_VPID;
    assert_int_equal(check(), 0);
}

static void each_bit(void **state)
{
    (void)state;
    static const struct vmx_msrs *const models[] = {&ivy_bridge, &icelake_u, &rich};
    unsigned long found = 0;

    for (unsigned m = 0; m < ARRAY_SIZE(models); m++)
        for (enum image_kind kind = 0; kind < IMAGE_KINDS; kind++) {
            image_make(&image, models[m], kind);
            for (unsigned i = 0; i < vmcs_field_count; i++)
                for (unsigned bit = 0; bit < vmcs_field_bits(vmcs_fields[i]); bit++) {
                    image.value[vmcs_fields[i]] ^= BIT(bit);
                    found += check();
                    image.value[vmcs_fields[i]] ^= BIT(bit);
                }
            assert_int_equal(check(), 0);
        }
    assert_true(found > 10000);
}

/* Many wrong bits at once, by a fixed sequence. */
static void many_bits(void **state)
{
    (void)state;
    uint64_t random = 88172645463325252ull;
    for (unsigned round = 0; round < support_rounds(3000); round++) {
        image_make(&image, round & 1 ? &rich : &icelake_u, round % IMAGE_KINDS);
        for (unsigned i = 0; i < vmcs_field_count; i++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            if (!(random & 3))
                image.value[vmcs_fields[i]] ^= random >> 8;
        }
        assert_true(check() > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(good, setup),      cmocka_unit_test_setup(each_rule, setup),
        cmocka_unit_test_setup(vpid, setup),      cmocka_unit_test_setup(bits_in_findings, setup),
        cmocka_unit_test_setup(widths, setup),    cmocka_unit_test_setup(several, setup),
        cmocka_unit_test_setup(logged, setup),    cmocka_unit_test_setup(each_bit, setup),
        cmocka_unit_test_setup(many_bits, setup),
    };
    return cmocka_run_group_tests_name("vmx entry checks", tests, NULL, NULL);
}
