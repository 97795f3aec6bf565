/* SPDX-License-Identifier: MIT */
/*
 * Masking the machine's interrupts (arch/x86/interrupts.c): all lines of both 8259s, where there
 * are any, and every class of vectors in the local APIC.
 */
#include "tests/unit/support.h"

#include "arch/x86/cpu.h"

static uint8_t mask[2];
static unsigned writes;
static uint64_t priority;

static void machine_outb(uint16_t port, uint8_t value)
{
    assert_true(port == 0x21 || port == 0xa1);
    mask[port == 0xa1] = value;
    writes++;
}

static uint8_t machine_inb(uint16_t port)
{
    assert_true(port == 0x21 || port == 0xa1);
    return mask[port == 0xa1];
}

static void machine_write_cr8(uint64_t value)
{
    priority = value;
}

#define inb       machine_inb
#define outb      machine_outb
#define write_cr8 machine_write_cr8
#include "arch/x86/interrupts.c"

static void all_are_masked(void **state)
{
    (void)state;
    interrupts_mask();
    assert_int_equal(mask[0], 0xff);
    assert_int_equal(mask[1], 0xff);
    assert_int_equal(priority, 15);
}

/* Also if the firmware has masked all. */
static void nothing_is_written_where_no_8259_is(void **state)
{
    (void)state;
    writes = 0;
    interrupts_mask();
    assert_int_equal(writes, 0);
    mask[1] = 0xfe;
    interrupts_mask();
    assert_int_equal(writes, 1);
    assert_int_equal(mask[1], 0xff);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_are_masked),
        cmocka_unit_test(nothing_is_written_where_no_8259_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
