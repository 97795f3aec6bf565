/* SPDX-License-Identifier: MIT */
/*
 * The key of a boot: every number of the generator and every reading of the TSC counts, and a
 * generator that is empty, stuck or missing is noticed.
 */
#include "tests/unit/support.h"

#include "arch/x86/entropy.h"

#include <string.h>

#define SAMPLES 16u

static unsigned reads, generated, changed_read, changed_sample, empty_tries;
static bool stuck;

static uint64_t read_clock(void)
{
    reads++;
    return reads * 1000 + (reads == changed_read);
}

/* Each number comes after `empty_tries` failures, which leave a value behind, as RDRAND does. */
static bool generate(uint64_t *value)
{
    static unsigned failed;

    *value = 0;
    if (failed < empty_tries) {
        failed++;
        return false;
    }
    failed = 0;
    generated++;
    *value = stuck ? 7 : generated * 0x9e3779b97f4a7c15ull + (generated == changed_sample);
    return true;
}

static const struct entropy_source fake = {"fake", generate, read_clock};

static bool make(const struct entropy_source *source, uint8_t key[SHA384_SIZE])
{
    reads = generated = 0;
    return entropy_key(source, key);
}

static int setup(void **state)
{
    (void)state;
    changed_read = changed_sample = empty_tries = 0;
    stuck = false;
    return 0;
}

static void every_sample_counts(void **state)
{
    (void)state;
    uint8_t key[SHA384_SIZE], other[SHA384_SIZE];

    assert_true(make(&fake, key));
    assert_int_equal(generated, SAMPLES);
    const unsigned all_reads = reads;
    assert_true(all_reads >= 128);
    assert_true(make(&fake, other));
    assert_memory_equal(key, other, sizeof(key));
    for (changed_sample = 1; changed_sample <= SAMPLES; changed_sample++) {
        assert_true(make(&fake, other));
        assert_memory_not_equal(key, other, sizeof(key));
    }
    for (changed_read = 1; changed_read <= all_reads; changed_read++) {
        assert_true(make(&fake, other));
        assert_memory_not_equal(key, other, sizeof(key));
    }
}

static void an_empty_generator_is_asked_again(void **state)
{
    (void)state;
    uint8_t key[SHA384_SIZE], other[SHA384_SIZE];

    assert_true(make(&fake, key));
    empty_tries = 50;
    assert_true(make(&fake, other));
    assert_memory_equal(key, other, sizeof(key));
    empty_tries = 1000;
    assert_false(make(&fake, other));
}

static void a_generator_that_does_not_work(void **state)
{
    (void)state;
    static const struct entropy_source none = {"none", NULL, read_clock};
    uint8_t key[SHA384_SIZE], other[SHA384_SIZE];

    stuck = true;
    assert_false(make(&fake, key));
    assert_false(make(&none, key));
    changed_read = 100;
    assert_false(make(&none, other));
    assert_memory_not_equal(key, other, sizeof(key));
}

/* Two keys of the machine on which the test runs differ, whatever its CPU has. */
static void the_real_ones(void **state)
{
    (void)state;
    struct entropy_source source = entropy_source_of_this_cpu(), clock = source;
    uint8_t key[SHA384_SIZE], other[SHA384_SIZE];

    assert_true(entropy_key(&source, key) == !!source.generator);
    assert_true(entropy_key(&source, other) == !!source.generator);
    assert_memory_not_equal(key, other, sizeof(key));
    clock.generator = NULL;
    assert_false(entropy_key(&clock, key));
    assert_false(entropy_key(&clock, other));
    assert_memory_not_equal(key, other, sizeof(key));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(every_sample_counts, setup),
        cmocka_unit_test_setup(an_empty_generator_is_asked_again, setup),
        cmocka_unit_test_setup(a_generator_that_does_not_work, setup),
        cmocka_unit_test_setup(the_real_ones, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
