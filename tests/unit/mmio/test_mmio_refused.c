/* SPDX-License-Identifier: MIT */
/* Rules F3 and X5: the message with which a VM ends when memory is refused says what was wanted, on
 * which side, what is there and what to do. By the MMU's own answers. */
#include "tests/unit/mmio/mmio_world.h"

#include "lib/errno.h"

#include <string.h>

#define SHARED  BIT(39)
#define CODE    BIT(38)
#define PRIVATE 0x100000ull   /* a page of that side, */
#define OPEN    0x200000ull   /* one that is shared, */
#define NOTHING 0x80000000ull /* and none */
#define READ    (ACCESS_READ | FAULT_FINAL)
#define WRITE   (ACCESS_WRITE | FAULT_FINAL)
#define FETCH   (ACCESS_FETCH | FAULT_FINAL)

static struct mmu mmu;
static struct mmio_vcpu vcpu;
static struct bus bus;

static int setup(void **state)
{
    static const struct walk_limits limits = {.physical_bits = 40, .page_1g = true};
    (void)state;
    world_init(GVA_CACHE_OFF); /* for its CPU and the switches */
    assert_int_equal(mmu_create(&mmu), 0);
    assert_int_equal(mmu_steal_bit(&mmu, 39, STOLEN_SHARED), 0);
    assert_int_equal(mmu_steal_bit(&mmu, 38, STOLEN_EXECUTE_ONLY), 0);
    assert_int_equal(mmu_slot_add(&mmu, 1, GPA(PRIVATE), 1, 0), 0);
    assert_int_equal(mmu_slot_add(&mmu, 2, GPA(OPEN), 1, MEMSLOT_SHARED), 0);
    bus_init(&bus, "mmio", ~0ull);
    mmio_vcpu_init(&vcpu, &world.cpu, &mmu, &bus, &limits, GVA_CACHE_OFF);
    return 0;
}

static int teardown(void **state)
{
    mmu_destroy(&mmu);
    return world_end(state);
}

static void expect_end(const char *what, const char *advice)
{
    assert_int_equal(vcpu.end, MMIO_END_MEMORY);
    if (strncmp(vcpu.text, what, strlen(what)) || vcpu.text[strlen(what)] != ':' ||
        !strstr(vcpu.text, advice))
        fail_msg("%s", vcpu.text);
}

static void a_fault_says_what_it_wanted(void **state)
{
    (void)state;
    static const struct {
        uint64_t gpa;
        uint32_t access;
        const char *what, *advice;
    } cases[] = {
        {SHARED | PRIVATE, READ, "a load at a shared address of a private page", "; convert the"},
        {SHARED | PRIVATE, WRITE, "a store at a shared address of a private page", "; convert the"},
        {OPEN, READ, "a load at a private address of a shared page",
         "; convert the page by MapGPA"},
        {OPEN, FETCH, "a fetch at a private address of a shared page", "; convert the page"},
        {CODE | OPEN, FETCH, "a fetch at an execute-only address of a shared page", "; convert"},
        {SHARED | OPEN, FETCH, "a fetch at a shared address", "; run code from private addresses"},
        {CODE | PRIVATE, READ, "a load at an execute-only address", "; load and store through the"},
        {CODE | PRIVATE, READ | WRITE, "a store at an execute-only address", "; load and store"},
        {SHARED | CODE | PRIVATE, FETCH, "a fetch at a shared execute-only address", "; run code"},
        {NOTHING, READ, "a load at a private address where no memory is",
         "; reach devices through"},
        {CODE | NOTHING, FETCH, "a fetch at an execute-only address where no memory is", "; reach"},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        vcpu.end = MMIO_END_NONE;
        assert_int_equal(mmio_violation(&vcpu, GPA(cases[i].gpa), cases[i].access, false),
                         MMIO_END);
        expect_end(cases[i].what, cases[i].advice);
    }
}

/* The accessor to guest memory gives the same answers, which the emulator hands on. */
static void so_does_an_access_by_the_emulator(void **state)
{
    (void)state;
    uint64_t word = 0;
    int error = guest_read(&mmu, GPA(SHARED | PRIVATE), &word, 8, ACCESS_READ);
    assert_int_equal(mmio_refused(&vcpu, GPA(SHARED | PRIVATE), ACCESS_READ, error), MMIO_END);
    expect_end("a load at a shared address of a private page", "GPA 0x8000100000, RIP 0x");
    error = guest_write(&mmu, GPA(NOTHING), &word, 8);
    assert_int_equal(mmio_refused(&vcpu, GPA(NOTHING), ACCESS_WRITE, error), MMIO_END);
    expect_end("a store at a private address where no memory is", "; reach devices");
    error = guest_read(&mmu, GPA(CODE | PRIVATE), &word, 8, ACCESS_READ);
    assert_int_equal(mmio_refused(&vcpu, GPA(CODE | PRIVATE), ACCESS_READ, error), MMIO_END);
    expect_end("a load at an execute-only address", "; load and store");
}

static void a_lack_of_memory_is_no_refusal(void **state)
{
    (void)state;
    support_fail_allocations_after(0);
    assert_int_equal(mmio_violation(&vcpu, GPA(PRIVATE), WRITE, false), MMIO_END);
    expect_end("no host memory for a store", "; give the machine more memory");
    support_fail_allocations_after(UINT64_MAX);
    assert_int_equal(mmio_violation(&vcpu, GPA(PRIVATE), WRITE, false), MMIO_REENTER);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_fault_says_what_it_wanted),
        T(so_does_an_access_by_the_emulator),
        T(a_lack_of_memory_is_no_refusal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
