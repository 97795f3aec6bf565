/* SPDX-License-Identifier: MIT */
/*
 * Task switches with random memory: the resulting state is always one with which VM entry succeeds.
 * TASK_ROUNDS says how many.
 */
#include "tests/unit/vm/task_world.h"

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

static void put_segment(uint32_t which, const struct task_segment *segment)
{
    image.value[VMCS_GUEST_ES_SELECTOR + 2 * which] = segment->selector;
    image.value[VMCS_GUEST_ES_LIMIT + 2 * which] = segment->limit;
    image.value[VMCS_GUEST_ES_ACCESS_RIGHTS + 2 * which] = segment->rights;
    image.value[VMCS_GUEST_ES_BASE + 2 * which] = segment->base;
}

static void check_entry(void)
{
    for (uint32_t i = 0; i < SEG_COUNT; i++)
        put_segment(i, &world.cpu.segments[i]);
    put_segment(SEG_COUNT, &world.cpu.ldtr);
    put_segment(SEG_COUNT + 1, &world.cpu.tr);
    image.value[VMCS_GUEST_RIP] = world.cpu.eip;
    image.value[VMCS_GUEST_RFLAGS] = world.cpu.eflags;
    image.value[VMCS_GUEST_DR7] = world.cpu.dr7;
    findings[0] = 0;
    entry_check(&image.input, collect, NULL);
    if (findings[0])
        fail_msg("%s", findings);
}

/* An additional requirement of Bochs: the RPL of CS is the CPL. */
static void check_code_selector(void)
{
    const struct task_segment *cs = &world.cpu.segments[SEG_CS];
    if (!(world.cpu.eflags & FLAG_VM))
        assert_int_equal(cs->selector & 3,
                         field_get(world.cpu.segments[SEG_SS].rights, SEG_AR_DPL));
}

static uint64_t seed = 0x2545f4914f6cdd1d;
static uint64_t random_word(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static uint32_t one_of(uint32_t likely, uint64_t any)
{
    return random_word() % 4 ? likely : (uint32_t)any;
}

/* Switches from any state to any state, with random TSSs and descriptor tables. */
static void any_state_can_be_entered(void **state)
{
    (void)state;
    unsigned long results[4] = {0}, switched = 0;
    const unsigned long rounds = support_number("TASK_ROUNDS", support_rounds(60000));
    for (unsigned long round = 0; round < rounds; round++) {
        bool wide = random_word() & 1, old_wide = random_word() & 1, user = random_word() & 1;
        enum task_source source = (enum task_source)(random_word() % 4);
        image_make(&image, &icelake_u, PAE);
        setup(old_wide, wide, source == TASK_IRET);
        for (uint16_t i = 1; i < ENTRIES; i++)
            if (random_word() % 8 == 0 && i != TSS_A / 8 && i != TSS_B / 8)
                describe((uint16_t)(8 * i), (uint32_t)random_word() & one_of(0, ~0u),
                         (uint32_t)random_word() & 0xfffff, (uint32_t)random_word());
        if (random_word() % 4 == 0) /* the old task is in virtual-8086 mode, or at CPL 3 */
            for (unsigned i = 0; i < SEG_COUNT; i++) {
                world.cpu.eflags |= FLAG_VM;
                world.cpu.segments[i] = (struct task_segment){0x123, 0xf3, 0xffff, 0x1230};
            }
        else if (user)
            for (unsigned i = 0; i < SEG_COUNT; i++)
                world.cpu.segments[i] = i == SEG_CS ? flat(CODE3, 0xc0fb) : flat(DATA3, 0xc0f3);
        check_entry();
        set_field(wide, EFLAGS, one_of(2, random_word()));
        set_field(wide, EIP, (uint32_t)random_word());
        set_field(wide, ESP, one_of(STACK, random_word()));
        for (enum field field = ES; field <= LDT_FIELD; field++)
            if (random_word() % 3 == 0)
                set_field(wide, field, (uint32_t)random_word() & 0x7f);
        world.left = random_word() % 4 ? -1 : (long)(random_word() % 24);
        struct task_outcome outcome = go(source, source == TASK_GATE && random_word() & 1);
        results[outcome.result]++;
        switched += outcome.switched;
        check_entry();
        check_code_selector();
    }
    for (unsigned i = 0; i < 4; i++)
        assert_true(results[i] > rounds / 120 || i == TASK_TRAP);
    assert_true(switched > rounds / 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_state_can_be_entered),
    };
    return cmocka_run_group_tests_name("entries after task switches", tests, NULL, NULL);
}
