/* SPDX-License-Identifier: MIT */
/* What a BIOS leaves: the BIOS data area, the vectors, and the MP tables of VMs with each number of
 * vCPUs, read as a kernel reads them; and a program that wants the same place. */
#include "tests/unit/support.h"

#include "launch/bios.h"
#include "lib/bits.h"

#include <string.h>

static struct load_plan plan;
static uint8_t memory[0x100000];

static unsigned word(unsigned at, unsigned bytes)
{
    unsigned value = 0;
    while (bytes--)
        value = value << 8 | memory[at + bytes];
    return value;
}

static unsigned sum(unsigned at, unsigned size)
{
    unsigned total = 0;
    for (unsigned i = 0; i < size; i++)
        total += memory[at + i];
    return total % 256;
}

static void leave(unsigned cpus)
{
    struct guest_image image = {.name = "g", .cpus = cpus, .legacy = true, .pc = true};
    support_reset();
    guest_layout(GUEST_RAM_DEFAULT, image.ram);
    memset(memory, 0, sizeof(memory));
    memset(&plan, 0xee, sizeof(plan));
    plan_init(&plan);
    assert_int_equal(bios_plan(&plan, &image), EXIT_OK);
    for (unsigned i = 0; i < plan.count; i++) {
        const struct load_record *r = &plan.records[i];
        assert_int_equal(r->kind, LOAD_BIOS);
        assert_int_equal(r->size, r->extent);
        memcpy(memory + r->gpa, r->bytes, r->size);
    }
}

static void data_area(void **state)
{
    (void)state;
    leave(1);
    assert_int_equal(word(0x413, 2), 640);
    assert_int_equal(word(0x40e, 2), 0);
    assert_int_equal(word(0x400, 2), 0x3f8);
    assert_int_equal(word(0x463, 2), 0x3d4);
    assert_int_equal(word(0x44a, 2), 80);
    for (unsigned vector = 0; vector < 256; vector++) {
        unsigned handler = word(4 * vector + 2, 2) * 16 + word(4 * vector, 2);
        assert_memory_equal(memory + handler, "\xb4\x86\xf9\xca\x02\x00", 6);
    }
}

static void mp_tables(void **state)
{
    (void)state;
    for (unsigned cpus = 1; cpus <= VCPUS_MAX; cpus++) {
        unsigned count[5] = {0}, pins = 0;
        leave(cpus);
        assert_memory_equal(memory + GUEST_MP, "_MP_", 4);
        assert_int_equal(sum(GUEST_MP, 16), 0);
        unsigned table = word(GUEST_MP + 4, 4), length = word(table + 4, 2), at = table + 44;
        assert_memory_equal(memory + table, "PCMP", 4);
        assert_int_equal(sum(table, length), 0);
        assert_int_equal(word(table + 36, 4), GUEST_LAPIC);
        for (unsigned i = 0; i < word(table + 34, 2); i++) {
            unsigned type = memory[at];
            assert_true(type < 5);
            if (type == 0) {
                assert_int_equal(memory[at + 1], count[0]);
                assert_int_equal(memory[at + 3], count[0] ? 1 : 3);
            }
            if (type == 3 && memory[at + 1] == 0) {
                assert_int_equal(memory[at + 7], memory[at + 5] ? memory[at + 5] : LINE_PIT);
                pins |= 1u << memory[at + 7];
            }
            count[type]++;
            at += type ? 8 : 20;
        }
        assert_int_equal(at, table + length);
        assert_int_equal(count[0], cpus);
        assert_int_equal(count[1], 1);
        assert_int_equal(count[2], 1);
        assert_int_equal(pins, 0xfffe);
        assert_int_equal(count[3], 16);
        assert_int_equal(count[4], 2);
    }
}

static void in_the_way(void **state)
{
    (void)state;
    struct guest_image image = {.name = "g", .cpus = 1};
    support_reset();
    guest_layout(GUEST_RAM_DEFAULT, image.ram);
    plan_init(&plan);
    assert_int_equal(
        plan_add(&plan, &image,
                 (struct load_record){.gpa = 0x400, .extent = 16, .kind = LOAD_SEGMENT}),
        EXIT_OK);
    assert_int_equal(bios_plan(&plan, &image), EXIT_MODULE_NOT_ELF);
    assert_non_null(strstr(support_log(), "its segment, 0x400 to 0x410, and its BIOS data"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(data_area), cmocka_unit_test(mp_tables),
                                       cmocka_unit_test(in_the_way)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
