/* SPDX-License-Identifier: MIT */
/*
 * Any event that an exit can report, or that we raise, in any mode, on any CPU: the entry that
 * delivers it passes the checks of SDM 3, 27.2.1.3, and it is the same event. The oracle is what
 * explains failed entries (vmx/entry_check.c).
 */
#include "tests/unit/support.h"

#include "tests/unit/vmx/test_vmx_image.h"
#include "tests/unit/vmx/test_vmx_models.h"
#include "vmx/event.h"

static struct image image;
static char findings[512];

static void collect(void *context, const struct entry_finding *finding)
{
    (void)context;
    strncat(findings, finding->text, sizeof(findings) - strlen(findings) - 1);
}

static void check_entry(const struct event_state *now, const struct event *event)
{
    image.msrs.basic = (image.msrs.basic & ~BASIC_ANY_ERROR_CODE) |
                       (now->any_error_code ? BASIC_ANY_ERROR_CODE : 0);
    image.msrs.misc |= event->length ? 0 : MISC_ZERO_LENGTH_INJECT;
    image.value[VMCS_ENTRY_INTERRUPTION_INFO] = event_encode(event);
    image.value[VMCS_ENTRY_ERROR_CODE] = event->error_code;
    image.value[VMCS_ENTRY_INSTRUCTION_LENGTH] = event->length;
    findings[0] = 0;
    entry_check(&image.input, collect, NULL);
    image.msrs.misc &= ~MISC_ZERO_LENGTH_INJECT;
    if (findings[0])
        fail_msg("type %u vector %u length %u PE %d any %d: %s", event->type, event->vector,
                 event->length, now->protected_mode, now->any_error_code, findings);
}

static bool is_reported(unsigned type, unsigned vector)
{
    switch (type) {
    case EVENT_NMI:
        return vector == VECTOR_NMI;
    case EVENT_EXCEPTION:
    case EVENT_PRIVILEGED_EXCEPTION:
    case EVENT_SOFTWARE_EXCEPTION:
        return vector < 32;
    default:
        return type == EVENT_INTERRUPT || type == EVENT_SOFTWARE_INTERRUPT;
    }
}

static void check_reported(const struct event_state *now, uint32_t info, uint32_t error)
{
    for (uint32_t length = 0; length < 16; length++) {
        struct event_pending pending = {.requeue = event_decode(info, error, length)};
        struct event_plan plan = event_plan(&pending, now);
        const struct event *event = &plan.inject;
        check_entry(now, event);
        assert_true(event->valid);
        assert_int_equal(event->vector, info & 0xff);
        assert_int_equal(event->type, field_get(info, EVENT_INFO_TYPE));
        assert_int_equal(event->length, event->type >= EVENT_SOFTWARE_INTERRUPT ? length : 0);
        /* What is reported as it should be stays as it is. */
        if (event->has_error && info & EVENT_INFO_ERROR_CODE)
            assert_int_equal(event->error_code, error & 0xffff);
        if (event->type == EVENT_EXCEPTION && now->protected_mode && now->any_error_code)
            assert_int_equal(event->has_error, !!(info & EVENT_INFO_ERROR_CODE));
    }
}

static void entries_accept_what_was_reported(void **state)
{
    (void)state;
    for (unsigned mode = 0; mode < 4; mode++) {
        const struct event_state now = {.rflags = BIT(9), /* IF */
                                        .interruptibility = BLOCKING_BY_NMI,
                                        .protected_mode = mode & 1,
                                        .any_error_code = mode & 2};
        image_make(&image, &icelake_u, now.protected_mode ? LONG : REAL);
        image.value[VMCS_GUEST_RFLAGS] |= BIT(9);
        for (uint32_t type = 0; type < 8; type++)
            for (uint32_t vector = 0; vector < 256; vector++)
                for (uint32_t error = 0; is_reported(type, vector) && error < 2; error++)
                    check_reported(&now,
                                   (uint32_t)EVENT_INFO_VALID | type << 8 | vector |
                                       error * (uint32_t)EVENT_INFO_ERROR_CODE,
                                   0xabcd1234);
        for (uint8_t vector = 0; vector < 32; vector++) { /* raised by us, or by HC_INJECT */
            struct event_pending pending = {.exception = event_exception(vector, 0xabcd1234)};
            struct event_plan plan = event_plan(&pending, &now);
            check_entry(&now, &plan.inject);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_accept_what_was_reported),
    };
    return cmocka_run_group_tests_name("vmx injection", tests, NULL, NULL);
}
