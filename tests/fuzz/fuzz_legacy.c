/* SPDX-License-Identifier: MIT */
/*
 * The chips of old PCs, and of QEMU, under libFuzzer: the 8259s, on whose inputs the timer, the
 * keyboard controller and kvm-unit-tests' device are, the VGA adapter, and fw_cfg. An input is a
 * sequence of accesses of any offset and size that the bus passes on, of acknowledges, and of
 * times. After each step, the 8259s are as a model of them that hears the same lines, the keyboard
 * controller asserts the lines that its registers say, the timer's deadline is in the future, and
 * the memories and latches have what was last written to them.
 */
#include "tests/unit/dev/pic_model.h"
#include "tests/unit/support.h"

#include "dev/fw_cfg.h"
#include "dev/i8042.h"
#include "dev/pc_testdev.h"
#include "dev/pic.h"
#include "dev/pit.h"
#include "dev/vga.h"
#include "lib/bits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define KEYBOARD 1u
#define MOUSE    12u

static const uint8_t *next, *end_of_input;
static uint64_t tsc;
static bool lines[32]; /* as they were set */
static unsigned rises, falls, resets, unmapped, shown;

static struct pic pic;
static struct pit pit;
static struct i8042 keyboard;
static struct vga vga;
static struct fw_cfg fw_cfg;
static struct pc_testdev testdev;
static uint8_t text[VGA_TEXT_SIZE], text_model[VGA_TEXT_SIZE];
static uint8_t window[PC_TESTDEV_WINDOW], window_model[PC_TESTDEV_WINDOW];
static uint8_t latch_model[PC_TESTDEV_PORTS];
static bool written; /* to the text memory or the window, since they were cleared */

static uint64_t take(unsigned bytes)
{
    uint64_t word = 0;
    while (bytes--)
        word = word << 8 | (next < end_of_input ? *next++ : 0);
    return word;
}

/* ---- What the chips use ---------------------------------------------------------------------- */

static void interrupt(void *context, bool level)
{
    assert_ptr_equal(context, &pic);
    rises += level;
    falls += !level;
}

static void set_line(void *context, unsigned number, bool level)
{
    assert_ptr_equal(context, &pic);
    assert_true(number < ARRAY_SIZE(lines));
    lines[number] = level;
    pic_set_line(&pic, number, level);
    model_line(number, level);
}

/* Lines that belong to no other device here. */
static void set_other_line(void *context, unsigned number, bool level)
{
    if (number != 0 && number != KEYBOARD && number != MOUSE)
        set_line(context, number, level);
}

static uint64_t tsc_now(void)
{
    return tsc;
}

static void deadline_changed(void *context)
{
    assert_ptr_equal(context, &pit);
}

static void reset(void *context, const char *how)
{
    assert_ptr_equal(context, &keyboard);
    assert_non_null(how);
    resets++;
}

static void put(void *context, uint8_t byte)
{
    (void)byte;
    assert_ptr_equal(context, &vga);
    shown++;
}

static void unmap(void *context, uint64_t gpa)
{
    assert_ptr_equal(context, &testdev);
    assert_int_equal(gpa >> 32, 0);
    unmapped++;
}

/* ---- Accesses, and what they have to do ------------------------------------------------------ */

static const struct {
    const struct bus_ops *ops;
    void *device;
    uint32_t size;
} devices[] = {
    {&pic_master_ops, &pic, PIC_PORTS},
    {&pic_slave_ops, &pic, PIC_PORTS},
    {&pic_elcr_ops, &pic, PIC_PORTS},
    {&pit_ops, &pit, PIT_PORTS},
    {&i8042_data_ops, &keyboard, 1},
    {&i8042_command_ops, &keyboard, 1},
    {&vga_port_ops, &vga, VGA_PORTS},
    {&vga_text_ops, &vga, VGA_TEXT_SIZE},
    {&fw_cfg_ops, &fw_cfg, FW_CFG_PORTS},
    {&pc_testdev_latch_ops, &testdev, PC_TESTDEV_PORTS},
    {&pc_testdev_unmap_ops, &testdev, PC_TESTDEV_PORTS},
    {&pc_testdev_lines_ops, &testdev, PC_TESTDEV_PINS},
    {&pc_testdev_window_ops, &testdev, PC_TESTDEV_WINDOW},
};

/* The memory that an access of these operations reads and writes, and no other, or NULL. */
static uint8_t *memory_of(const struct bus_ops *ops)
{
    return ops == &vga_text_ops            ? text_model
           : ops == &pc_testdev_latch_ops  ? latch_model
           : ops == &pc_testdev_window_ops ? window_model
                                           : NULL;
}

/* The model of the 8259s does what the chips are about to do. Returns what it reads. */
static int pic_access(const struct bus_ops *ops, uint64_t offset, bool write, uint8_t value)
{
    int chip = ops == &pic_slave_ops;
    if (ops == &pic_elcr_ops) {
        if (write)
            model_elcr((int)offset, value);
        return -1;
    }
    if (write)
        model_write(chip, (unsigned)offset, value);
    return write ? -1 : model_read(chip, (unsigned)offset);
}

static bool is_pic(const struct bus_ops *ops)
{
    return ops == &pic_master_ops || ops == &pic_slave_ops || ops == &pic_elcr_ops;
}

/* Every second command is one that the chip knows. */
static uint64_t command(const struct bus_ops *ops, uint64_t offset, uint64_t value)
{
    static const uint8_t keyboard_commands[] = {0x20, 0x60, 0xa7, 0xa8, 0xaa, 0xad, 0xae,
                                                0xd0, 0xd1, 0xd2, 0xd3, 0xd4, 0xfe};
    static const uint8_t pic_commands[] = {0x20, 0x60, 0x68, 0x48, 0x0c, 0x0b,
                                           0xa0, 0xe0, 0xc0, 0x80, 0x00};
    if (value & 0x80 || offset)
        return value;
    if (ops == &i8042_command_ops)
        return keyboard_commands[value % ARRAY_SIZE(keyboard_commands)];
    if (ops == &pic_master_ops || ops == &pic_slave_ops)
        return pic_commands[value % ARRAY_SIZE(pic_commands)];
    return value;
}

static void write_device(unsigned which, uint64_t offset, unsigned size)
{
    const struct bus_ops *ops = devices[which].ops;
    uint64_t value = command(ops, offset, take(size));
    unsigned before = unmapped, row = shown;
    if (is_pic(ops))
        pic_access(ops, offset, true, (uint8_t)value);
    ops->write(devices[which].device, NULL, offset, size, value);
    if (memory_of(ops)) {
        memcpy(memory_of(ops) + offset, &value, size);
        written |= memory_of(ops) != latch_model;
    }
    assert_int_equal(unmapped - before, ops == &pc_testdev_unmap_ops && size == 4);
    assert_true(shown - row <= size * (VGA_COLUMNS + 1)); /* a row for each character */
    assert_true(shown == row || ops == &vga_text_ops);
}

static void read_device(unsigned which, uint64_t offset, unsigned size)
{
    const struct bus_ops *ops = devices[which].ops;
    int wanted = is_pic(ops) ? pic_access(ops, offset, false, 0) : -1;
    uint64_t value = ops->read(devices[which].device, NULL, offset, size);
    if (wanted >= 0)
        assert_int_equal((uint8_t)value, wanted);
    if (memory_of(ops))
        assert_memory_equal(&value, memory_of(ops) + offset, size);
}

static void access_device(uint8_t what)
{
    unsigned which = what % ARRAY_SIZE(devices), size = 1;
    uint32_t end = devices[which].size;
    uint64_t offset = take(2) % end;
    if (!devices[which].ops->sizes)
        size = 1 + (unsigned)(take(1) % (end - offset < 8 ? end - offset : 8));
    if (what & 0x80)
        write_device(which, offset, size);
    else
        read_device(which, offset, size);
}

/* ---- Steps ----------------------------------------------------------------------------------- */

static void start_pic(void)
{
    static const uint8_t icws[] = {0x11, 0x20, 4, 1};
    for (unsigned i = 0; i < 8; i++) {
        const struct bus_ops *ops = i / 4 ? &pic_slave_ops : &pic_master_ops;
        pic_access(ops, i % 4 > 0, true, icws[i % 4]);
        ops->write(&pic, NULL, i % 4 > 0, 1, icws[i % 4]);
    }
}

static void other_step(unsigned kind)
{
    unsigned irq;
    switch (kind) {
    case 0:
        start_pic();
        break;
    case 1:
        assert_int_equal(pic_acknowledge(&pic), model_acknowledge());
        break;
    case 2:
        irq = (unsigned)take(1) % ARRAY_SIZE(lines);
        set_other_line(&pic, irq, take(1) & 1);
        break;
    case 3:
        pit_tick(&pit);
        break;
    case 4:
        pit_update(&pit);
        break;
    default:
        tsc += take(4) << take(1) % 16;
        pit_tick(&pit);
    }
}

static void check_pic(void)
{
    for (unsigned chip = 0; chip < 2; chip++) {
        const struct pic_chip *c = &pic.chips[chip];
        const struct model_chip *m = &model_chips[chip];
        uint8_t requests = (uint8_t)((c->lines & c->level) | (c->edges & ~c->level));
        assert_int_equal(c->in_service, model_set(m, true));
        assert_int_equal(requests, model_set(m, false));
    }
    assert_int_equal(pic.output, model_int);
    assert_int_equal(rises, model_rises);
    assert_int_equal(falls, model_falls);
}

static void check(void)
{
    check_pic();
    bool full = keyboard.status & 1, mouse = keyboard.status & 0x20;
    assert_true(pic.lock.taken == 0 && keyboard.lock.taken == 0);
    if (lines[KEYBOARD] != (full && !mouse && keyboard.config & 1) ||
        lines[MOUSE] != (full && mouse && keyboard.config & 2))
        fail_msg("keyboard controller: status %#x, configuration %#x, lines %d and %d",
                 keyboard.status, keyboard.config, lines[KEYBOARD], lines[MOUSE]);
    assert_true(pit_deadline(&pit) >= tsc);
    assert_true(vga.row <= VGA_NO_ROW);
}

/* Compares the memories with their models and clears them, which takes longer than an input that
 * writes to none. */
static void compare_memories(void)
{
    if (!written)
        return;
    assert_memory_equal(text, text_model, sizeof(text));
    assert_memory_equal(window, window_model, sizeof(window));
    memset(text, 0, sizeof(text));
    memset(text_model, 0, sizeof(text_model));
    memset(window, 0, sizeof(window));
    memset(window_model, 0, sizeof(window_model));
    written = false;
}

static void begin(void)
{
    tsc = 0;
    rises = falls = resets = unmapped = shown = 0;
    memset(lines, 0, sizeof(lines));
    memset(latch_model, 0, sizeof(latch_model));
    model_reset();
    pic_init(&pic, interrupt, &pic);
    pit_init(&pit, tsc_now, PIT_HZ + take(4));
    pit.complete = true;
    pit.line = (struct line){set_line, &pic, 0};
    pit.changed = deadline_changed;
    pit.context = &pit;
    i8042_init(&keyboard, reset, &keyboard);
    keyboard.keyboard = (struct line){set_line, &pic, KEYBOARD};
    keyboard.mouse = (struct line){set_line, &pic, MOUSE};
    vga_init(&vga, text, put, &vga);
    fw_cfg = (struct fw_cfg){.ram = 128 << 20, .cpus = 4};
    testdev = (struct pc_testdev){
        .window = window, .line = {set_other_line, &pic, 0}, .unmap = unmap, .context = &testdev};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    next = data;
    end_of_input = data + size;
    begin();
    while (next < end_of_input) {
        uint8_t what = (uint8_t)take(1);
        if ((what & 0x60) == 0x60)
            other_step(what % 8);
        else
            access_device(what);
        check();
    }
    vga_finish(&vga);
    compare_memories();
    return 0;
}
