/* SPDX-License-Identifier: MIT */
/* The pair of 8259As: initialization, priorities, EOIs, each mode, polling and spurious interrupts
 * as drivers use them, and random accesses and lines compared with a model. */
#include "tests/unit/dev/pic_model.h"
#include "tests/unit/support.h"

#include "dev/pic.h"
#include "lib/bits.h"

#define BASE_MASTER 0x20
#define BASE_SLAVE  0x28

static struct pic pic;
static unsigned rises, falls;

static void interrupt(void *context, bool level)
{
    assert_ptr_equal(context, &pic);
    assert_int_equal(pic.output, level);
    rises += level;
    falls += !level;
}

static uint8_t in(unsigned chip, unsigned port)
{
    const struct bus_ops *ops = chip ? &pic_slave_ops : &pic_master_ops;
    return (uint8_t)ops->read(&pic, NULL, port, 1);
}

static void out(unsigned chip, unsigned port, uint8_t value)
{
    const struct bus_ops *ops = chip ? &pic_slave_ops : &pic_master_ops;
    ops->write(&pic, NULL, port, 1, value);
}

static void elcr(unsigned chip, uint8_t value)
{
    pic_elcr_ops.write(&pic, NULL, chip, 1, value);
}

/* Initializes both chips, with `icw4` for the master and 1 for the slave. */
static void start(uint8_t icw4)
{
    out(0, 0, 0x11);
    out(0, 1, BASE_MASTER);
    out(0, 1, 4);
    out(0, 1, icw4);
    out(1, 0, 0x11);
    out(1, 1, BASE_SLAVE);
    out(1, 1, 2);
    out(1, 1, 1);
}

static void rise(unsigned irq)
{
    pic_set_line(&pic, irq, false);
    pic_set_line(&pic, irq, true);
}

static uint8_t isr(unsigned chip)
{
    out(chip, 0, 0x0b);
    return in(chip, 0);
}

static uint8_t irr(unsigned chip)
{
    out(chip, 0, 0x0a);
    return in(chip, 0);
}

static int begin(void **state)
{
    (void)state;
    pic_init(&pic, interrupt, &pic);
    rises = falls = 0;
    start(1);
    return 0;
}

/* ---- As drivers use it ----------------------------------------------------------------------- */

static void silent_before_initialization(void **state)
{
    (void)state;
    pic_init(&pic, interrupt, &pic);
    for (unsigned irq = 0; irq < PIC_IRQS + 4; irq++)
        rise(irq);
    assert_false(pic.output);
    assert_false(pic_hears(&pic, 0));
    out(0, 0, 0x11);
    out(0, 1, BASE_MASTER);
    out(0, 1, 4);
    pic_set_line(&pic, 3, false);
    pic_set_line(&pic, 3, true);
    assert_false(pic.output); /* ICW4 is missing */
    out(0, 1, 1);
    assert_true(pic.output);
    assert_int_equal(pic_acknowledge(&pic), BASE_MASTER + 3); /* edges before ICW1 are forgotten */
    assert_false(pic.output);
}

static void priorities(void **state)
{
    (void)state;
    rise(5);
    rise(3);
    assert_int_equal(pic_acknowledge(&pic), BASE_MASTER + 3);
    assert_false(pic.output); /* 5 waits for the EOI */
    rise(1);
    assert_true(pic.output);
    assert_int_equal(pic_acknowledge(&pic), BASE_MASTER + 1);
    assert_int_equal(isr(0), 0x0a);
    assert_int_equal(irr(0), 0x20);
    out(0, 0, 0x20);
    assert_int_equal(isr(0), 0x08);
    out(0, 0, 0x63);
    assert_int_equal(pic_acknowledge(&pic), BASE_MASTER + 5);
}

static void cascade(void **state)
{
    (void)state;
    rise(12);
    rise(9);
    assert_int_equal(irr(0), 0x04);
    assert_int_equal(pic_acknowledge(&pic), BASE_SLAVE + 1);
    assert_int_equal(isr(0), 0x04);
    assert_int_equal(isr(1), 0x02);
    rise(4);
    assert_false(pic.output);
    rise(8); /* higher than 9, but the slave is in service at the master */
    assert_false(pic.output);
    out(0, 0, 0x20);
    assert_int_equal(pic_acknowledge(&pic), BASE_SLAVE + 0);
    out(1, 0, 0x20);
    out(1, 0, 0x20);
    assert_false(pic.output);
    out(0, 0, 0x20);
    assert_int_equal(pic_acknowledge(&pic), BASE_SLAVE + 4);
    out(1, 0, 0x20);
    out(0, 0, 0x20);
    assert_int_equal(pic_acknowledge(&pic), BASE_MASTER + 4);
}

static void special_nested(void **state)
{
    (void)state;
    start(0x11);
    rise(9);
    assert_int_equal(pic_acknowledge(&pic), BASE_SLAVE + 1);
    rise(4);
    assert_false(pic.output); /* lower than the slave */
    rise(8);
    assert_true(pic.output);
    assert_int_equal(pic_acknowledge(&pic), BASE_SLAVE + 0);
}

static void masks(void **state)
{
    (void)state;
    out(0, 1, 0xff);
    rise(1);
    assert_false(pic.output);
    assert_false(pic_hears(&pic, 0));
    out(0, 1, 0xfd);
    assert_int_equal(in(0, 1), 0xfd);
    assert_int_equal(pic_acknowledge(&pic), BASE_MASTER + 1);
    rise(6);
    out(0, 0, 0x68); /* the special mask mode */
    out(0, 1, 0x02);
    assert_int_equal(pic_acknowledge(&pic), BASE_MASTER + 6);
    out(0, 0, 0x20);
    assert_int_equal(isr(0), 0x02); /* the masked one needs a specific EOI */
    out(0, 0, 0x20);
    assert_int_equal(isr(0), 0x02);
    out(0, 0, 0x48);
    rise(6);
    assert_false(pic.output);
    out(0, 0, 0x61);
    assert_true(pic.output);
    assert_false(pic_hears(&pic, 6));
    assert_false(pic_hears(&pic, 1));
    assert_true(pic_hears(&pic, 7));
}

static void spurious(void **state)
{
    (void)state;
    rise(3);
    pic_set_line(&pic, 3, false);
    assert_int_equal(rises, 1);
    assert_int_equal(falls, 1);
    assert_int_equal(pic_acknowledge(&pic), BASE_MASTER + 7);
    assert_int_equal(isr(0), 0);
    /* The slave's request vanishes between the two halves of an acknowledge only if the master
     * has latched it: it is level-triggered nowhere, so mask it at the slave. */
    rise(10);
    out(1, 1, 0xff);
    assert_false(pic.output);
    assert_int_equal(pic_acknowledge(&pic), BASE_MASTER + 7);
    assert_int_equal(isr(0), 0);
}

static void rotation(void **state)
{
    (void)state;
    start(3); /* automatic EOI */
    out(0, 0, 0x80);
    rise(1);
    rise(4);
    assert_int_equal(pic_acknowledge(&pic), BASE_MASTER + 1);
    assert_true(pic.output);
    assert_int_equal(isr(0), 0);
    rise(1);
    assert_int_equal(pic_acknowledge(&pic), BASE_MASTER + 4); /* 1 has the lowest priority now */
    assert_int_equal(pic_acknowledge(&pic), BASE_MASTER + 1);
    out(0, 0, 0x00);
    start(1);
    out(0, 0, 0xc5); /* 5 has the lowest priority, so 6 has the highest */
    rise(0);
    rise(6);
    assert_int_equal(pic_acknowledge(&pic), BASE_MASTER + 6);
    out(0, 0, 0xa0); /* ends and rotates: 7 has the highest */
    rise(7);
    assert_int_equal(pic_acknowledge(&pic), BASE_MASTER + 7);
    out(0, 0, 0xe0); /* a specific EOI of 0, which is not in service, rotates */
    assert_int_equal(isr(0), 0x80);
    rise(1);
    assert_int_equal(pic_acknowledge(&pic), BASE_MASTER + 1);
}

static void polling(void **state)
{
    (void)state;
    out(0, 0, 0x0c);
    assert_int_equal(in(0, 0), 0);
    rise(14);
    out(0, 0, 0x0c);
    assert_int_equal(in(0, 1), 0x82); /* a poll is answered by either port */
    assert_false(pic.output);
    out(1, 0, 0x0e); /* the poll comes before the choice of a register */
    assert_int_equal(in(1, 0), 0x86);
    assert_int_equal(in(1, 0), 0x00);
    assert_int_equal(isr(1), 0x40);
    assert_int_equal(isr(0), 0x04);
}

static void levels(void **state)
{
    (void)state;
    elcr(0, 0xff);
    elcr(1, 0xff);
    assert_int_equal(pic_elcr_ops.read(&pic, NULL, 0, 1), 0xf8);
    assert_int_equal(pic_elcr_ops.read(&pic, NULL, 1, 1), 0xde);
    pic_set_line(&pic, 5, true);
    assert_int_equal(pic_acknowledge(&pic), BASE_MASTER + 5);
    out(0, 0, 0x20);
    assert_true(pic.output); /* still asserted */
    pic_set_line(&pic, 5, false);
    assert_false(pic.output);
    pic_set_line(&pic, 1, true);
    assert_int_equal(pic_acknowledge(&pic), BASE_MASTER + 1);
    out(0, 0, 0x20);
    assert_false(pic.output); /* the keyboard's input has edges only */
}

/* ---- The model ------------------------------------------------------------------------------- */

#define STEPS 400000u

static uint64_t random_state = 1;
static uint64_t random_u64(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
}

static void compare(unsigned step)
{
    for (unsigned chip = 0; chip < 2; chip++) {
        const struct pic_chip *c = &pic.chips[chip];
        const struct model_chip *m = &model_chips[chip];
        uint8_t requests = (uint8_t)((c->lines & c->level) | (c->edges & ~c->level));
        if (c->in_service != model_set(m, true) || requests != model_set(m, false))
            fail_msg("step %u, chip %u: ISR %#x, not %#x; IRR %#x, not %#x", step, chip,
                     c->in_service, model_set(m, true), requests, model_set(m, false));
    }
    if (pic.output != model_int || rises != model_rises || falls != model_falls)
        fail_msg("step %u: output %d, not %d; %u rises, not %u", step, pic.output, model_int, rises,
                 model_rises);
    assert_int_equal(pic.lock.taken, 0);
}

/* Commands are likelier than initializations, after which little happens. */
static uint8_t command(uint64_t r)
{
    static const uint8_t often[] = {0x20, 0x60, 0x68, 0x48, 0x0c, 0xa0, 0xe0, 0xc0, 0x80, 0x00};
    uint8_t value = often[r % ARRAY_SIZE(often)];
    if (r >> 8 & 3)
        return (value & 0x18) ? value : value | (r >> 16 & 7);
    return r >> 10 & 7 ? (uint8_t)(r >> 24) & 0xef : (uint8_t)(r >> 24);
}

static void random_step(uint64_t r, unsigned step)
{
    unsigned chip = r >> 4 & 1, port = r >> 5 & 1, irq = r >> 8 & 0xf;
    uint8_t value = (uint8_t)(r >> 16);
    bool level = r >> 6 & 1;
    switch (r % 8) {
    case 0:
    case 1:
    case 2:
        pic_set_line(&pic, irq, level);
        model_line(irq, level);
        break;
    case 3:
    case 4:
        if (!(r >> 7 & 1) && !pic.output)
            break;
        assert_int_equal(pic_acknowledge(&pic), model_acknowledge());
        break;
    case 5:
        if (!port)
            value = command(r >> 12);
        else if (!pic.chips[chip].step)
            value &= (uint8_t)(r >> 24);
        out(chip, port, value);
        model_write((int)chip, port, value);
        break;
    case 6:
        if (in(chip, port) != model_read((int)chip, port))
            fail_msg("step %u: port %u of chip %u", step, port, chip);
        break;
    default:
        if (r >> 12 & 7)
            break;
        elcr(chip, value);
        model_elcr((int)chip, value);
    }
}

static void as_the_model(void **state)
{
    (void)state;
    unsigned taken = 0, rounds = (unsigned)support_rounds(STEPS);
    pic_init(&pic, interrupt, &pic);
    model_reset();
    rises = falls = 0;
    for (unsigned step = 0; step < rounds; step++) {
        uint64_t r = random_u64();
        if (step % 5000 == 0) {
            static const uint8_t icws[] = {0x11, BASE_MASTER, 4, 1};
            for (unsigned i = 0; i < 2 * ARRAY_SIZE(icws); i++) {
                out(i / 4, i % 4 > 0, icws[i % 4]);
                model_write((int)i / 4, i % 4 > 0, icws[i % 4]);
            }
        }
        unsigned before = rises;
        random_step(r, step);
        taken += rises != before;
        compare(step);
    }
    assert_true(taken > rounds / 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(silent_before_initialization, begin),
        cmocka_unit_test_setup(priorities, begin),
        cmocka_unit_test_setup(cascade, begin),
        cmocka_unit_test_setup(special_nested, begin),
        cmocka_unit_test_setup(masks, begin),
        cmocka_unit_test_setup(spurious, begin),
        cmocka_unit_test_setup(rotation, begin),
        cmocka_unit_test_setup(polling, begin),
        cmocka_unit_test_setup(levels, begin),
        cmocka_unit_test(as_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
