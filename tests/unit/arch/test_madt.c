/* SPDX-License-Identifier: MIT */
/* The CPUs that real machines list in the MADT (rule N88): with gaps and twice, as hybrid CPUs and
 * hyper-threads are listed, and more of them than are used. Broken tables are test_acpi.c's. */
#include "tests/unit/support.h"

#include "arch/x86/madt.h"
#include "lib/bits.h"

#include <stdlib.h>
#include <string.h>

static uint8_t bytes[sizeof(struct madt_header) + 1024 * 16];
static size_t size;

static int setup(void **state)
{
    (void)state;
    support_reset();
    memset(bytes, 0, sizeof(bytes));
    size = sizeof(struct madt_header);
    return 0;
}

static void lapic(unsigned apic_id, uint32_t flags)
{
    struct madt_lapic entry = {MADT_LAPIC, sizeof(entry), 0, (uint8_t)apic_id, flags};
    memcpy(bytes + size, &entry, sizeof(entry));
    size += sizeof(entry);
}

static void x2apic(uint32_t apic_id, uint32_t flags)
{
    const uint32_t entry[4] = {16 << 8 | 9, apic_id, flags, apic_id};
    memcpy(bytes + size, entry, sizeof(entry));
    size += sizeof(entry);
}

/* I/O APIC, interrupt source override, NMI of all CPUs. */
static void others(void)
{
    static const uint8_t entries[] = {1, 12, 2, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0,    0, 2, 10,
                                      0, 0,  2, 0, 0, 0, 0,    0,    4, 6, 0xff, 5, 0, 1};
    memcpy(bytes + size, entries, sizeof(entries));
    size += sizeof(entries);
}

#define ENABLED        1u
#define ONLINE_CAPABLE 2u

static struct madt parsed(uint32_t boot_id)
{
    struct madt madt;
    uint8_t *table = malloc(size);
    memcpy(table, bytes, size);
    ((struct acpi_header *)table)->length = (uint32_t)size;
    assert_int_equal(madt_parse((struct acpi_header *)table, boot_id, &madt), 0);
    free(table);
    return madt;
}

static void expect_ids(const struct madt *madt, unsigned count, const uint32_t *ids)
{
    assert_int_equal(madt->count, count);
    assert_memory_equal(madt->apic_id, ids, count * sizeof(*ids));
}

/* Two performance cores with a thread at each of two IDs, four efficient ones with one of two IDs,
 * and entries of what the die's larger versions have, with IDs that are nobody's. */
static void a_hybrid_laptop(void **state)
{
    (void)state;
    static const uint32_t ids[] = {0, 1, 8, 9, 16, 18, 20, 22};
    for (unsigned i = 0; i < ARRAY_SIZE(ids); i++)
        lapic(ids[i], ENABLED);
    for (unsigned i = 0; i < 16; i++)
        lapic(0xff, 0);
    lapic(24, ONLINE_CAPABLE);
    others();
    struct madt madt = parsed(0);
    expect_ids(&madt, 8, ids);
    assert_string_equal(support_log(), "");
}

/* The boot CPU is not the first one of the table, and the firmware lists CPUs by both kinds of
 * entries. */
static void listed_twice(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++)
        lapic(2 * i, ENABLED);
    others();
    for (uint32_t i = 0; i < 4; i++)
        x2apic(2 * i, ENABLED);
    x2apic(0xffffffff, ENABLED);
    x2apic(300, 0);
    struct madt madt = parsed(4);
    expect_ids(&madt, 4, (const uint32_t[]){4, 0, 2, 6});
    assert_int_equal(madt.unused, 0);
}

/* A server of two sockets with 144 threads each; those beyond the limit are named as ranges. */
static void a_large_server(void **state)
{
    (void)state;
    for (uint32_t socket = 0; socket < 2; socket++)
        for (uint32_t i = 0; i < 144; i++)
            x2apic(socket << 8 | i, ENABLED);
    others();
    struct madt madt = parsed(0);
    assert_int_equal(madt.count, CPUS_MAX);
    assert_int_equal(madt.unused, 288 - CPUS_MAX);
    assert_string_equal(support_log(),
                        "MADT: 224 CPUs are left out, because at most 64 are used; their APIC IDs: "
                        "64-143, 256-399\n");
}

/* A thousand CPUs at every third ID: the list of ranges is cut, the count is not. */
static void a_thousand_with_gaps(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 1000; i++)
        x2apic(3 * i, ENABLED);
    struct madt madt = parsed(3);
    assert_int_equal(madt.count + madt.unused, 1000);
    assert_non_null(strstr(support_log(), "MADT: 936 CPUs are left out"));
    assert_non_null(strstr(support_log(), ", ...\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_hybrid_laptop, setup),
        cmocka_unit_test_setup(listed_twice, setup),
        cmocka_unit_test_setup(a_large_server, setup),
        cmocka_unit_test_setup(a_thousand_with_gaps, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
