/* SPDX-License-Identifier: MIT */
/* The VGA adapter: its registers, and which lines are shown of what consoles write into its text
 * memory: row after row, scrolling by copies of several sizes, clearing, and writing at random. */
#include "tests/unit/support.h"

#include "dev/vga.h"
#include "lib/bits.h"

#include <stdio.h>
#include <string.h>

#define ROWS 25u

static struct vga vga;
static uint8_t text[VGA_TEXT_SIZE];
static char shown[1 << 20];
static size_t length;

static void put(void *context, uint8_t byte)
{
    assert_ptr_equal(context, &vga);
    shown[length++] = (char)byte;
    shown[length] = 0;
}

static int begin(void **state)
{
    (void)state;
    memset(text, 0, sizeof(text));
    length = 0;
    shown[0] = 0;
    vga_init(&vga, text, put, &vga);
    return 0;
}

static uint8_t in(unsigned port)
{
    return (uint8_t)vga_port_ops.read(&vga, NULL, port - 0x3c0, 1);
}

static void out(unsigned port, uint8_t value)
{
    vga_port_ops.write(&vga, NULL, port - 0x3c0, 1, value);
}

static uint64_t load(unsigned offset, unsigned size)
{
    return vga_text_ops.read(&vga, NULL, offset, size);
}

static void store(unsigned offset, unsigned size, uint64_t value)
{
    vga_text_ops.write(&vga, NULL, offset, size, value);
}

/* ---- Registers ------------------------------------------------------------------------------- */

static void registers(void **state)
{
    (void)state;
    static const struct {
        unsigned index, data;
    } pairs[] = {{0x3d4, 0x3d5}, {0x3c4, 0x3c5}, {0x3ce, 0x3cf}};
    for (unsigned i = 0; i < ARRAY_SIZE(pairs); i++) {
        for (unsigned reg = 0; reg < 32; reg++) {
            out(pairs[i].index, (uint8_t)(0xe0 | reg));
            assert_int_equal(in(pairs[i].index), reg);
            out(pairs[i].data, (uint8_t)(reg * 7 + i));
        }
        for (unsigned reg = 0; reg < 32; reg++) {
            out(pairs[i].index, (uint8_t)reg);
            assert_int_equal(in(pairs[i].data), (uint8_t)(reg * 7 + i));
        }
    }
    out(0x3c2, 0x63);
    assert_int_equal(in(0x3cc), 0x63);
    for (unsigned port = 0x3c0; port < 0x3e0; port++) {
        out(port, 0xff); /* no register is out of bounds */
        (void)in(port);
    }
}

/* Index and data of the attribute controller come by turns, and the status begins anew. */
static void attributes(void **state)
{
    (void)state;
    (void)in(0x3da);
    out(0x3c0, 5);
    out(0x3c0, 0x2a);
    out(0x3c0, 6);
    (void)in(0x3da);
    out(0x3c0, 0x25);
    assert_int_equal(in(0x3c1), 0x2a);
    assert_int_equal(in(0x3da) ^ in(0x3da), 9);
}

/* ---- Lines ----------------------------------------------------------------------------------- */

/* A console, which writes at the end of its text, and scrolls by copies of `step` bytes. */
static unsigned row, column, step;

static void scroll(void)
{
    for (unsigned at = 0; at < (ROWS - 1) * VGA_ROW; at += step)
        store(at, step, load(at + VGA_ROW, step));
    for (unsigned at = 0; at < VGA_ROW; at += 2)
        store((ROWS - 1) * VGA_ROW + at, 2, 0x0720);
}

static void newline(void)
{
    column = 0;
    if (++row < ROWS)
        return;
    row--;
    scroll();
}

static void say(const char *what)
{
    for (; *what; what++) {
        if (*what == '\n') {
            newline();
            continue;
        }
        store(row * VGA_ROW + 2 * column, 2, 0x0700 | (uint8_t)*what);
        if (++column == VGA_COLUMNS)
            newline();
    }
}

static void each_line_once(void **state)
{
    static const unsigned steps[] = {1, 2, 4, 8};
    char line[100], wanted[8000];
    for (unsigned i = 0; i < ARRAY_SIZE(steps); i++) {
        size_t end = 0;
        (void)begin(state);
        row = column = 0;
        step = steps[i];
        for (unsigned n = 0; n < 100; n++) {
            snprintf(line, sizeof(line), n % 7 ? "line %u of many\n" : "  the same\n", n);
            say(line);
            end += (size_t)snprintf(wanted + end, sizeof(wanted) - end, "%s", line);
        }
        vga_finish(&vga);
        assert_string_equal(shown, wanted);
        vga_finish(&vga);
        assert_int_equal(length, end);
    }
}

static void incomplete(void **state)
{
    (void)state;
    row = column = 0;
    say("one\ntwo");
    assert_string_equal(shown, "one\n");
    say(" and more\n\n\nthree");
    assert_string_equal(shown, "one\ntwo and more\n");
    vga_finish(&vga);
    assert_string_equal(shown, "one\ntwo and more\nthree\n");
}

/* Colours, blanks, and text that is there already are no text. */
static void nothing_new(void **state)
{
    (void)state;
    row = column = 0;
    say("text");
    vga_finish(&vga);
    length = 0;
    for (unsigned at = 0; at < VGA_TEXT_SIZE; at += 2) {
        store(at + 1, 1, 0x1f);
        if (at >= VGA_ROW)
            store(at, 1, at % 4 ? 0 : ' ');
    }
    store(0, 8, 0x0774077807650774);
    vga_finish(&vga);
    assert_int_equal(length, 0);
    assert_int_equal(load(0, 8), 0x0774077807650774);
}

static void any_access(void **state)
{
    (void)state;
    uint64_t r = 1;
    static uint8_t model[VGA_TEXT_SIZE];
    memset(model, 0, sizeof(model));
    for (unsigned i = 0; i < 200000; i++) {
        r = r * 6364136223846793005u + 1442695040888963407u;
        unsigned size = 1u << (r >> 60) % 4, at = (unsigned)(r >> 40) % (VGA_TEXT_SIZE - size + 1);
        uint64_t value = r ^ r >> 17;
        uint64_t wanted = 0;
        memcpy(&wanted, model + at, size);
        assert_int_equal(load(at, size), wanted);
        memcpy(model + at, &value, size);
        store(at, size, value);
        assert_true(vga.row <= VGA_NO_ROW);
        if (length > sizeof(shown) / 2)
            length = 0;
    }
    assert_memory_equal(text, model, sizeof(text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(registers, begin),      cmocka_unit_test_setup(attributes, begin),
        cmocka_unit_test_setup(each_line_once, begin), cmocka_unit_test_setup(incomplete, begin),
        cmocka_unit_test_setup(nothing_new, begin),    cmocka_unit_test_setup(any_access, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
