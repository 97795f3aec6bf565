/* SPDX-License-Identifier: MIT */
/*
 * The PCI bus, used by several CPUs at once: two move BARs and mask interrupts, one writes the
 * MSI-X table, and one is the device, which raises interrupts all the time. No interrupt is lost,
 * and at the end each line and each BAR is where the registers say. `make tsan` runs this under
 * ThreadSanitizer.
 */
#include "tests/unit/dev/pci_world.h"

#include <pthread.h>

#define ROUNDS 3000u

static _Thread_local uint64_t random_state;

static uint32_t take(unsigned bytes)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> (64 - 8 * bytes));
}

static void *change(void *argument)
{
    random_state = (uintptr_t)argument;
    for (unsigned i = 0; i < ROUNDS; i++) {
        const unsigned f = take(1) % FUNCTIONS;
        set_config(AT(f, 0x04), 2, take(2));
        set_config(AT(f, 0x10), 4, WINDOW + take(2) * 0x1000ull);
        set_config(AT(f, 0x42), 2, take(2));
        (void)pci_ecam_ops.read(&host, NULL, AT(f, take(1)), 8);
    }
    return NULL;
}

static void *write_table(void *argument)
{
    const struct pci_bar *bar = &functions[0].bars[shapes[0].msix];
    random_state = (uintptr_t)argument;
    for (unsigned i = 0; i < ROUNDS; i++) {
        const unsigned entry = take(1) % 4 * 16;
        bar->ops->write(bar->device, NULL, entry, 8, 0xfee00000);
        bar->ops->write(bar->device, NULL, entry + 8, 8, (uint64_t)take(1) << 32 | entry);
        (void)bar->ops->read(bar->device, NULL, 0x800, 8);
    }
    return NULL;
}

/* Each vector is raised once, and then again when it is no longer pending. */
static unsigned raised;

static void *be_a_device(void *argument)
{
    random_state = (uintptr_t)argument;
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct lapic_message message;
        const unsigned f = take(1) % FUNCTIONS, vector = i % 4;
        pci_intx(&functions[f], take(1) & 1);
        pci_master_abort(&functions[f]);
        (void)(pci_is_master(&functions[f]) || pci_msix_enabled(&functions[f]));
        if (pci_msix_message(&functions[0], vector, &message))
            assert_int_equal(message.vector, 16 * vector);
        const struct pci_bar *bar = &functions[0].bars[shapes[0].msix];
        if (bar->ops->read(bar->device, NULL, 0x800, 4) >> vector & 1)
            continue;
        pci_msix_raise(&functions[0], vector);
        raised++;
    }
    return NULL;
}

static void all_at_once(void **state)
{
    (void)state;
    static void *(*const roles[])(void *) = {change, change, write_table, be_a_device};
    pthread_t threads[ARRAY_SIZE(roles)];
    world_init(0);
    for (unsigned i = 0; i < 4; i++) { /* so that each message is one from the beginning */
        const struct pci_bar *bar = &functions[0].bars[shapes[0].msix];
        bar->ops->write(bar->device, NULL, 16 * i, 8, 0xfee00000);
        bar->ops->write(bar->device, NULL, 16 * i + 8, 4, 16 * i);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(roles); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, roles[i], (void *)(uintptr_t)(i + 1)),
                         0);
    for (unsigned i = 0; i < ARRAY_SIZE(roles); i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);

    /* The lines as the registers say. */
    bool line = false;
    for (unsigned f = 0; f < FUNCTIONS; f++) {
        const bool off = pci_config_read(&functions[f], 0x04, 2) & 0x400;
        line |= functions[f].intx && !off && !pci_msix_enabled(&functions[f]);
    }
    assert_int_equal(lines[1], line);
    /* The BARs, too. */
    for (unsigned f = 0; f < FUNCTIONS; f++) {
        const uint64_t low = pci_config_read(&functions[f], 0x10, 4) & ~0xfu;
        const uint64_t high =
            bar_kind(f, 0) == PCI_BAR_64 ? pci_config_read(&functions[f], 0x14, 4) : 0;
        const uint64_t at = high << 32 | low;
        const bool inside = at >= WINDOW && at < WINDOW + WINDOW_SIZE;
        const bool on = pci_config_read(&functions[f], 0x04, 2) & 2;
        assert_int_equal(functions[f].bars[0].decoded, on && inside ? at : BUS_NOWHERE);
    }
    /* No interrupt is lost: what is still pending comes when all is permitted. */
    set_config(AT(0, 0x04), 2, 4);
    set_config(AT(0, 0x42), 2, 0x8000);
    for (unsigned i = 0; i < 4; i++)
        functions[0].bars[shapes[0].msix].ops->write(&functions[0], NULL, 16 * i + 12, 4, 0);
    assert_int_equal(functions[0].pending, 0);
    assert_int_equal(sends, raised);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_at_once),
    };
    return cmocka_run_group_tests_name("pci_threads", tests, NULL, NULL);
}
