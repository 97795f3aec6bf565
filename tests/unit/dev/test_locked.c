/* SPDX-License-Identifier: MIT */
/* A locked device sees one access at a time, and the same accesses as without the lock. */
#include "tests/unit/support.h"

#include "dev/locked.h"

#include <pthread.h>
#include <string.h>

#define THREADS  4
#define ACCESSES 200

/* A device that counts overlapping accesses in `broken`. */
static unsigned inside, broken;
static uint64_t count;

static void enter(void)
{
    if (__atomic_fetch_add(&inside, 1, __ATOMIC_SEQ_CST))
        broken++;
    count = count + 1;
    support_pause(); /* an access that is not kept out comes in between */
    __atomic_fetch_sub(&inside, 1, __ATOMIC_SEQ_CST);
}

static uint64_t fragile_read(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size)
{
    assert_ptr_equal(device, &count);
    assert_null(vcpu);
    enter();
    return offset << 8 | size;
}

static void fragile_write(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                          uint64_t value)
{
    (void)vcpu, (void)offset, (void)size, (void)value;
    assert_ptr_equal(device, &count);
    enter();
}

static void fragile_read_wide(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                              uint8_t *bytes)
{
    (void)device, (void)vcpu;
    enter();
    memset(bytes, (int)offset, size);
}

static const struct bus_ops fragile_ops = {.name = "fragile",
                                           .read = fragile_read,
                                           .write = fragile_write,
                                           .read_wide = fragile_read_wide,
                                           .sizes = 4,
                                           .refuse = true};
static struct locked_device locked;

static int setup(void **state)
{
    (void)state;
    support_reset();
    inside = broken = 0;
    count = 0;
    locked_device_init(&locked, &fragile_ops, &count);
    return 0;
}

static void accesses_pass_as_they_are(void **state)
{
    (void)state;
    uint8_t bytes[16];
    assert_string_equal(locked.ops.name, "fragile");
    assert_int_equal(locked.ops.sizes, 4);
    assert_true(locked.ops.refuse);
    assert_null(locked.ops.write_wide);
    assert_int_equal(locked.ops.read(&locked, NULL, 0x12, 4), 0x1204);
    locked.ops.read_wide(&locked, NULL, 7, sizeof(bytes), bytes);
    assert_int_equal(bytes[15], 7);
    assert_int_equal(count, 2);
}

static void *use(void *context)
{
    uint8_t bytes[16];
    (void)context;
    for (unsigned i = 0; i < ACCESSES; i++) {
        locked.ops.read(&locked, NULL, i, 4);
        locked.ops.write(&locked, NULL, i, 4, i);
        locked.ops.read_wide(&locked, NULL, i, sizeof(bytes), bytes);
    }
    return NULL;
}

static void one_at_a_time(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, use, NULL);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(broken, 0);
    assert_int_equal(count, 3 * THREADS * ACCESSES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(accesses_pass_as_they_are, setup),
        cmocka_unit_test_setup(one_at_a_time, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
