/* SPDX-License-Identifier: MIT */
/*
 * What `why` says: each reason has its sentence, and the answers that docs/MONITOR.md shows of a
 * device are those of this VM, whose vCPU makes the accesses. That the reasons are right is shown
 * by test_mmu_why.c, test_mmu_adversary.c and test_mmio_why.c.
 */
#include "tests/unit/mmio/mmio_replay_world.h"

#include "mmio/known.h"
#include "monitor/command.h"
#include "monitor/why_exit.h"
#include "monitor/why_text.h"
#include "vmx/errors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct monitor_call call;

/* As in monitor/command.c, which would need the whole machine: a line that is too long is cut. */
void monitor_say(struct monitor_call *to, const char *format, ...)
{
    va_list arguments;
    assert_true(sizeof(to->text) - to->said >= MONITOR_WIDTH);
    va_start(arguments, format);
    vsnprintf(&to->text[to->said], MONITOR_WIDTH - 1, format, arguments);
    va_end(arguments);
    to->said += strlen(&to->text[to->said]);
    to->text[to->said++] = '\n';
}

static const char *said(void)
{
    call.text[call.said] = 0;
    call.said = 0;
    assert_null(strstr(call.text, "(null)"));
    for (const char *line = call.text; *line; line = strchr(line, '\n') + 1) {
        const char *end = strchr(line, '\n');
        assert_true(end - line < (long)MONITOR_WIDTH - 3); /* it was not cut */
        assert_true(strchr(".:,t)", end[-1]) || strstr(line, "level"));
    }
    return call.text;
}

static const char *ask(uint64_t gpa, uint64_t access)
{
    struct mmu_why why;
    mmu_why(&world.mmu, GPA(gpa), access, &why);
    why_say_access(&call, &world.mmu, &world.bus, &why);
    why_say_debts(&call, &world.mmu);
    return said();
}

/* ---- Sentences ------------------------------------------------------------------------------- */

static void every_reason(void **state)
{
    (void)state;
    struct mmu_why why;
    world_mmio_spte(A);
    for (unsigned i = 1; i < WHY_COUNT; i++) {
        static char before[MONITOR_TEXT];
        mmu_why(&world.mmu, GPA(A), EPT_READ, &why);
        assert_int_equal(why.exits, 1);
        why.exit[0].why = (enum why)i;
        why_say_access(&call, &world.mmu, &world.bus, &why);
        const char *text = said();
        assert_string_not_equal(text, before); /* no two reasons have one sentence */
        strcpy(before, text);
    }
    for (unsigned i = 0; i <= WHY_END_MIRROR; i++) {
        why.end = (enum why_end)i;
        why_say_access(&call, &world.mmu, &world.bus, &why);
        (void)said();
    }
}

static void every_miss(void **state)
{
    (void)state;
    struct mmio_miss *miss = &world.vcpu.cache.miss;
    why_say_miss(&call, &world.vcpu);
    assert_non_null(strstr(said(), "Every MMIO access was replayed, or there was none."));
    for (unsigned i = 0; i <= KNOWN_UNPROVEN; i++) {
        *miss = (struct mmio_miss){.rip = 0x5000, .gpa = GPA(A)};
        miss->known = (uint8_t)i;
        miss->replay = (uint8_t)(i <= REPLAY_OTHER_PKRU ? i : 0);
        miss->code = miss->data = (uint8_t)(i <= WALK_OTHER_ENTRY ? i : 0);
        miss->decoded = (uint8_t)(i <= DECODED_NOT_RAM ? i : 0);
        why_say_miss(&call, &world.vcpu);
        const char *text = said();
        assert_int_equal(!!strstr(text, "second fast path, since"), i == KNOWN_SERVES);
        assert_non_null(strstr(text, "at GPA 0xfe000000, by the instruction at RIP 0x5000:\n"));
    }
}

static void every_exit(void **state)
{
    (void)state;
    for (unsigned reason = 0; reason < REASON_COUNT; reason++) {
        for (unsigned qualification = 0; qualification < 0x200; qualification++) {
            struct last_exit exit = {.valid = true,
                                     .reason = reason,
                                     .handled = qualification & 1,
                                     .qualification = qualification,
                                     .event = qualification & 2 ? BIT(31) | 14 : 0,
                                     .number = 7};
            why_say_last(&call, &exit);
            const char *text = said();
            assert_non_null(strstr(text, "Exit 7, "));
            assert_int_equal(!!strstr(text, "delivery of vector 14"), !!(qualification & 2));
        }
    }
    struct last_exit violation = {.reason = REASON_EPT_VIOLATION,
                                  .qualification = 0x182 | 1 << 3 | 1 << 5,
                                  .gpa = 0xfe000008,
                                  .gla = 0x40000008,
                                  .rip = 0x5000,
                                  .number = 12};
    why_say_last(&call, &violation);
    assert_string_equal(said(), "Exit 12, EPT violation (48); RIP was 0x5000.\n"
                                "  A write at GPA 0xfe000008, linear address 0x40000008, by the "
                                "instruction or the delivery of an event; the entries allowed "
                                "RX.\n");
}

/* ---- The document ---------------------------------------------------------------------------- */

static char *document;

/* Does `text` match the pattern, in which … stands for any text within a line? */
static bool matches(const char *text, const char *pattern, const char *end)
{
    static const char dots[] = "…";
    while (pattern < end) {
        if (strncmp(pattern, dots, strlen(dots)) == 0) {
            pattern += strlen(dots);
            while (*text && *text != '\n' && !matches(text, pattern, end))
                text++;
            return matches(text, pattern, end);
        }
        if (*text++ != *pattern++)
            return false;
    }
    return !*text;
}

/* The block of the document that begins with this line contains the text. */
static void assert_shown(const char *first, const char *text)
{
    char line[100];
    snprintf(line, sizeof(line), "```\n%s\n", first);
    const char *block = strstr(document, line);
    const char *shown = block ? block + strlen(line) : "";
    if (!matches(text, shown, block ? strstr(shown, "```") : shown)) {
        printf("the answer to \"%s\" is\n%s", first, text); /* fail_msg() would cut it */
        fail_msg("docs/MONITOR.md shows another one");
    }
}

static void a_device(void **state)
{
    (void)state;
    warm_up();
    assert_shown("why 1 0xfe000008 w", ask(A + 8, EPT_WRITE));
    *world_pte(cr3, V) ^= BIT(9);
    assert_false(store_is_hot());
    why_say_miss(&call, &world.vcpu);
    assert_shown("why slow 1.0", said());
    world_slot_add(0xd0000000, 1, 0);
    assert_shown("why 1 0xfe000008 r", ask(A + 8, EPT_READ));
}

/* Memory over a device, read-only: the first exit maps it, the second one is emulated. */
static void memory_over_a_device(void **state)
{
    (void)state;
    warm_up();
    world_slot_add(A, 1, MEMSLOT_READONLY);
    assert_int_equal(mmu_zap(&world.mmu, GPA(0), 1), 0);
    assert_shown("why 1 0xfe000010 w", ask(A + 16, EPT_WRITE));
}

static int read_document(void **state)
{
    FILE *file = fopen("docs/MONITOR.md", "r");
    (void)state;
    assert_non_null(file);
    document = calloc(1, 1 << 20);
    assert_true(fread(document, 1, (1 << 20) - 1, file) > 0);
    return fclose(file);
}

static int forget_document(void **state)
{
    (void)state;
    free(document);
    return 0;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, world_end)
    const struct CMUnitTest tests[] = {
        TEST(every_reason), TEST(every_miss),           TEST(every_exit),
        TEST(a_device),     TEST(memory_over_a_device),
    };
    return cmocka_run_group_tests(tests, read_document, forget_document);
}
