/* SPDX-License-Identifier: MIT */
/* Interrupts of PCI functions: the messages of MSI-X, what holds them back, the table and the PBA,
 * and the lines that INTA# is wired to. */
#include "tests/unit/dev/pci_world.h"

static void table(unsigned f, uint64_t offset, unsigned size, uint64_t value)
{
    bus_write(&bus, NULL, models[f].bar[shapes[f].msix] + offset, size, value);
}

/* The addresses and data of messages, and what they mean. */
static void messages(void **state)
{
    (void)state;
    static const struct {
        uint64_t address;
        uint32_t data;
        bool sent, level;
        struct lapic_message message;
    } rows[] = {
        {0xfee00000, 0x31, true, false, {.mode = 0, .vector = 0x31}},
        {0xfee0f000, 0x4031, true, false, {.mode = 0, .vector = 0x31, .destination = 15}},
        {0xfee03004, 0x31, true, false, {.vector = 0x31, .destination = 3}}, /* not logical */
        {0xfee03008, 0x131, true, false, {.mode = 1, .vector = 0x31, .destination = 3}},
        {0xfee0300c, 0x131, true, false, {1, 0x31, true, false, 3}},
        {0xfeeff000, 0xfe, true, false, {0, 0xfe, false, true, 0xff}},
        {0xfeeff00c, 0xfe, true, false, {0, 0xfe, true, false, 0xff}},
        {0xfee01000, 0xc022, true, true, {.vector = 0x22, .destination = 1}},
        {0xfee01000, 0x8022, false, true, {0}}, /* the line falls */
        {0xfee01000, 0x400, true, false, {.mode = 4, .destination = 1}},
        {0xfee01000, 0x200, false, false, {0}}, /* SMI */
        {0xfee01000, 0x300, false, false, {0}},
        {0xfee01000, 0x500, false, false, {0}}, /* INIT */
        {0xfee01000, 0x600, false, false, {0}},
        {0xfee01000, 0x700, false, false, {0}}, /* ExtINT */
        {0xfed00000, 0x31, false, false, {0}},
        {0xfef00000, 0x31, false, false, {0}},
        {0, 0x31, false, false, {0}},
        {0x1fee00000, 0x31, false, false, {0}},
        {BIT(63) | 0xfee00000, 0x31, false, false, {0}},
    };
    enable(0);
    set_config(AT(0, 0x42), 2, 0x8000);
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        struct lapic_message message;
        const unsigned vector = i % 4;
        table(0, 16 * vector, 8, rows[i].address);
        table(0, 16 * vector + 8, 8, rows[i].data);
        sends = 0;
        assert_int_equal(pci_msix_message(&functions[0], vector, &message), rows[i].sent);
        pci_msix_raise(&functions[0], vector);
        assert_int_equal(functions[0].pending, 0);
        assert_int_equal(sends, rows[i].sent);
        if (!rows[i].sent)
            continue;
        assert_memory_equal(&last_message, &message, sizeof(message));
        assert_int_equal(last_message.mode, rows[i].message.mode);
        assert_int_equal(last_message.vector, rows[i].message.vector);
        assert_int_equal(last_message.logical, rows[i].message.logical);
        assert_int_equal(last_message.all, rows[i].message.all);
        assert_int_equal(last_message.destination, rows[i].message.destination);
        assert_int_equal(last_level, rows[i].level);
    }
    assert_non_null(strstr(support_log(), "pci 0:1.0 (probe): vector 0 sends 0x8022 to 0xfee01000, "
                                          "which is no interrupt message; it is dropped"));
}

/* Each thing that prevents a message, alone: the vector stays pending until it ends. */
static void what_prevents_a_message(void **state)
{
    (void)state;
    static const struct {
        uint64_t at;
        unsigned size;
        uint64_t prevents, permits;
    } rows[] = {{0x42, 2, 0, 0x8000},
                {0x42, 2, 0xc000, 0x8000},
                {0x42, 2, 0x4000, 0x8000},
                {COMMAND, 2, MEMORY, MEMORY | MASTER}};
    struct lapic_message message;
    enable(2);
    const uint64_t at = AT(2, 0);
    set_config(at + 0x42, 2, 0x8000);
    for (unsigned vector = 0; vector < PCI_VECTORS; vector++) {
        table(2, 16 * vector, 8, 0xfee00000);
        table(2, 16 * vector + 8, 8, 0x40 + vector);
        for (unsigned i = 0; i <= ARRAY_SIZE(rows); i++) {
            sends = 0;
            if (i < ARRAY_SIZE(rows))
                set_config(at + rows[i].at, rows[i].size, rows[i].prevents);
            else
                table(2, 16 * vector + 12, 4, ~0u);
            pci_msix_raise(&functions[2], vector);
            pci_msix_raise(&functions[2], vector);
            assert_false(pci_msix_message(&functions[2], vector, &message));
            assert_int_equal(sends, 0);
            table(2, 0x800, 8, 0); /* the PBA is read-only */
            assert_int_equal(bus_read(&bus, NULL, models[2].bar[5] + 0x800, 8), 1u << vector);
            if (i < ARRAY_SIZE(rows))
                set_config(at + rows[i].at, rows[i].size, rows[i].permits);
            else
                table(2, 16 * vector + 12, 4, 0);
            assert_int_equal(sends, 1);
            assert_int_equal(last_message.vector, 0x40 + vector);
            assert_int_equal(functions[2].pending, 0);
        }
    }
    pci_msix_raise(&functions[2], PCI_VECTORS);
    pci_msix_raise(&functions[1], 0);
    assert_int_equal(functions[1].pending | functions[2].pending, 0);
}

/* The table takes aligned accesses of 4 and 8 bytes. */
static void accesses_to_the_table(void **state)
{
    (void)state;
    enable(0);
    const uint64_t at = models[0].bar[1];
    for (uint64_t offset = 0; offset < 0x1000; offset += 4)
        bus_write(&bus, NULL, at + offset, 4, ~0u);
    assert_int_equal(bus_read(&bus, NULL, at, 8), 0xfffffffffffffffc);
    assert_int_equal(bus_read(&bus, NULL, at + 0x38, 8), 0x1ffffffff);
    assert_int_equal(bus_read(&bus, NULL, at + 0x40, 8), 0);
    static const unsigned sizes[][2] = {{0, 1}, {0, 2}, {2, 4}, {4, 8}, {1, 1}};
    for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
        bus_write(&bus, NULL, at + sizes[i][0], sizes[i][1], 0);
        assert_int_equal(bus_read(&bus, NULL, at + sizes[i][0], sizes[i][1]),
                         BITS(8 * sizes[i][1] - 1, 0));
    }
    assert_int_equal(bus_read(&bus, NULL, at, 8), 0xfffffffffffffffc);
}

static void lines_are_shared(void **state)
{
    (void)state;
    pci_intx(&functions[0], true);
    pci_intx(&functions[1], true);
    pci_intx(&functions[2], true); /* device 9 has the line of device 1 */
    assert_true(lines[1]);
    pci_intx(&functions[0], false);
    set_config(AT(1, COMMAND), 2, NO_INTX);
    assert_true(lines[1]);
    set_config(AT(2, 0x42), 2, 0x8000);
    assert_false(lines[1]);
    set_config(AT(2, 0x42), 2, 0);
    assert_true(lines[1]);
    pci_intx(&functions[2], false);
    assert_false(lines[1]);
    set_config(AT(1, COMMAND), 2, 0);
    assert_true(lines[1]);
    assert_int_equal(config(AT(1, 6), 2), 8);
    for (unsigned i = 0; i < PCI_LINES; i++)
        assert_int_equal(lines[i], i == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(messages, setup),
        cmocka_unit_test_setup(what_prevents_a_message, setup),
        cmocka_unit_test_setup(accesses_to_the_table, setup),
        cmocka_unit_test_setup(lines_are_shared, setup),
    };
    return cmocka_run_group_tests_name("pci_interrupts", tests, NULL, NULL);
}
