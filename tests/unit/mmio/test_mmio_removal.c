/* SPDX-License-Identifier: MIT */
/*
 * A device that is removed from the bus while other CPUs use it (decision D11): the removal returns
 * when they are done, so the device can be freed or begin a new life. Threads are CPUs that read
 * and ring all the time, by the tables and by what they remember; a device that is touched later
 * is found by the sanitizer.
 */
#include "tests/unit/support.h"

#include "ept/invalidate.h"
#include "lib/epoch.h"
#include "lib/errno.h"
#include "mmio/bus.h"
#include "mmu/tlb.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#define READERS 2u
#define CHANGER READERS
#define FIRST   0x1000ull
#define BELL    0x8000ull

static struct bus bus;
static void (*kick_hook)(unsigned pcpu);

void cpu_kick(unsigned pcpu)
{
    if (kick_hook)
        kick_hook(pcpu);
}

void invept(unsigned type, uint64_t eptp)
{
    (void)type, (void)eptp;
}

void invvpid(unsigned type, uint16_t vpid, gva_t address)
{
    (void)type, (void)vpid, (void)address;
}

/* ---- Devices --------------------------------------------------------------------------------- */

struct device {
    uint64_t reads, rings;
};

static uint64_t device_read(void *opaque, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size)
{
    struct device *d = opaque;
    (void)vcpu, (void)offset, (void)size;
    __atomic_add_fetch(&d->reads, 1, __ATOMIC_RELAXED);
    support_pause();
    return __atomic_add_fetch(&d->reads, 1, __ATOMIC_RELAXED);
}

static void device_write(void *opaque, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                         uint64_t value)
{
    struct device *d = opaque;
    (void)vcpu, (void)offset, (void)size, (void)value;
    support_pause();
    __atomic_add_fetch(&d->rings, 1, __ATOMIC_RELAXED);
}

static const struct bus_ops ops = {"device", .read = device_read, .write = device_write};

static struct bus_doorbell bell_of(struct device *device)
{
    return (struct bus_doorbell){.address = BELL, .ops = &ops, .device = device};
}

/* ---- One CPU after the other ----------------------------------------------------------------- */

static unsigned kicks;

/* It has looked the device up, and is in it. From now on nobody finds it. */
static void still_inside(unsigned pcpu)
{
    assert_int_equal(pcpu, 1);
    assert_int_equal(bus_read(&bus, NULL, FIRST, 4), 0xffffffff);
    assert_false(bus_doorbell_any(&bus, BELL));
    kicks++;
    epoch_pass(pcpu, epoch_now());
}

static void removals_wait_for_an_epoch(void **state)
{
    (void)state;
    struct device device = {0};
    struct bus_doorbell bell = bell_of(&device);
    bus_init(&bus, "mmio", ~0ull);
    kick_hook = still_inside;
    kicks = 0;
    support_cpu = 0;
    epoch_online(1, NULL);
    assert_int_equal(bus_add(&bus, FIRST, 8, &ops, &device), 0);
    assert_int_equal(bus_remove(&bus, FIRST, &device), 0);
    assert_int_equal(kicks, 1);
    assert_int_equal(bus_doorbell_add(&bus, &bell), 0);
    assert_int_equal(bus_doorbell_remove(&bus, &bell), 0);
    assert_int_equal(kicks, 2);
    assert_int_equal(bus_remove(&bus, FIRST, &device), -ENOENT); /* nothing to wait for */
    assert_int_equal(kicks, 2);
    epoch_offline(1);
    kick_hook = NULL;
}

/* ---- All at once ----------------------------------------------------------------------------- */

static bool stop;
static pthread_barrier_t start;
static uint64_t reads[READERS];
static struct spinlock lock; /* of the changes */
static unsigned waiting;     /* threads that want it */

/* Someone else who wants to change the bus must not be what the removal waits for. */
static void meet_at_the_lock(void)
{
    __atomic_add_fetch(&waiting, 1, __ATOMIC_RELAXED);
    epoch_lock(&lock, support_cpu);
    spin_unlock(&lock);
    __atomic_sub_fetch(&waiting, 1, __ATOMIC_RELAXED);
}

static bool passed;

static void *owner_of_the_lock(void *epoch)
{
    const uint64_t *ends = epoch;
    time_t patience = time(NULL) + 5;
    while (!passed && time(NULL) < patience) {
        passed = epoch_over(*ends, NULL);
        support_pause();
    }
    spin_unlock(&lock);
    return NULL;
}

/* A CPU that waits for a lock passes its epoch meanwhile, because the lock's owner may wait for
 * that. */
static void waiting_for_a_lock_passes_epochs(void **state)
{
    (void)state;
    pthread_t owner;
    support_cpu = 0;
    spin_lock(&lock);
    epoch_online(0, NULL);
    uint64_t epoch = epoch_begin();
    assert_false(epoch_over(epoch, NULL));
    assert_int_equal(pthread_create(&owner, NULL, owner_of_the_lock, &epoch), 0);
    epoch_lock(&lock, 0);
    assert_int_equal(pthread_join(owner, NULL), 0);
    assert_true(passed);
    spin_unlock(&lock);
    epoch_offline(0);
}

static void *reader(void *argument)
{
    struct bus_hint hint = {0};
    support_cpu = *(const unsigned *)argument;
    epoch_online(support_cpu, NULL);
    pthread_barrier_wait(&start);
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
        if (hint.sequence && bus_sequence(&bus) == hint.sequence)
            hint.region.ops->read(hint.region.device, NULL, 0, 4);
        else
            bus_hint_fill(&bus, &hint, FIRST, 4, false);
        bus_read(&bus, NULL, FIRST + 4, 4);
        bus_write(&bus, NULL, BELL, 4, 1);
        epoch_pass(support_cpu, epoch_now());
        if (__atomic_add_fetch(&reads[support_cpu], 1, __ATOMIC_RELAXED) % 16 == 0)
            meet_at_the_lock();
    }
    epoch_offline(support_cpu);
    return NULL;
}

static void change(void)
{
    struct device *device = calloc(1, sizeof(*device)), *ringing = calloc(1, sizeof(*ringing));
    struct bus_doorbell bell = bell_of(ringing);
    epoch_lock(&lock, support_cpu);
    assert_int_equal(bus_add(&bus, FIRST, 8, &ops, device), 0);
    assert_int_equal(bus_doorbell_add(&bus, &bell), 0);
    support_pause();
    assert_int_equal(bus_remove(&bus, FIRST, device), 0);
    free(device);
    assert_int_equal(bus_doorbell_remove(&bus, &bell), 0);
    free(ringing);
    spin_unlock(&lock);
    while (__atomic_load_n(&waiting, __ATOMIC_RELAXED))
        support_pause();
}

static uint64_t slowest(void)
{
    uint64_t least = UINT64_MAX;
    for (unsigned i = 0; i < READERS; i++) {
        uint64_t count = __atomic_load_n(&reads[i], __ATOMIC_RELAXED);
        least = count < least ? count : least;
    }
    return least;
}

static void removed_devices_are_in_no_use(void **state)
{
    (void)state;
    pthread_t threads[READERS];
    unsigned numbers[READERS];
    bus_init(&bus, "mmio", ~0ull);
    support_cpu = CHANGER;
    pthread_barrier_init(&start, NULL, READERS + 1);
    for (unsigned i = 0; i < READERS; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, reader, &numbers[i]), 0);
    }
    pthread_barrier_wait(&start);
    for (unsigned i = 0; i < 300 || slowest() < 100; i++)
        change();
    __atomic_store_n(&stop, true, __ATOMIC_RELEASE);
    for (unsigned i = 0; i < READERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    pthread_barrier_destroy(&start);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(removals_wait_for_an_epoch),
        cmocka_unit_test(waiting_for_a_lock_passes_epochs),
        cmocka_unit_test(removed_devices_are_in_no_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
