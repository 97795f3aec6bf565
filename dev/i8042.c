/* SPDX-License-Identifier: MIT */
/* The keyboard controller; see the header. Called by the port bus. Pure. */
#include "dev/i8042.h"

#include "lib/bits.h"

#define STATUS_FULL     BIT(0) /* the output buffer holds a byte */
#define STATUS_SYSTEM   BIT(2) /* the self-test has passed */
#define STATUS_COMMAND  BIT(3) /* the last write was a command */
#define STATUS_UNLOCKED BIT(4)
#define STATUS_MOUSE    BIT(5) /* the byte is from the mouse */
#define STATUS_TIMEOUT  BIT(6) /* the device has not answered */

/* The command byte, or configuration. */
#define CONFIG_IRQ_KEYBOARD BIT(0)
#define CONFIG_IRQ_MOUSE    BIT(1)
#define CONFIG_SYSTEM       BIT(2)
#define CONFIG_NO_KEYBOARD  BIT(4) /* its interface is disabled */
#define CONFIG_NO_MOUSE     BIT(5)

#define OUTPUT_RUNS BIT(0) /* 0: the CPU is held in reset */
#define OUTPUT_A20  BIT(1)

#define COMMAND_READ_CONFIG   0x20
#define COMMAND_WRITE_CONFIG  0x60
#define COMMAND_MOUSE_OFF     0xa7
#define COMMAND_MOUSE_ON      0xa8
#define COMMAND_MOUSE_TEST    0xa9
#define COMMAND_SELF_TEST     0xaa
#define COMMAND_KEYBOARD_TEST 0xab
#define COMMAND_KEYBOARD_OFF  0xad
#define COMMAND_KEYBOARD_ON   0xae
#define COMMAND_READ_INPUT    0xc0
#define COMMAND_READ_OUTPUT   0xd0
#define COMMAND_WRITE_OUTPUT  0xd1
#define COMMAND_AS_KEYBOARD   0xd2 /* returns the data byte as if it came from the keyboard */
#define COMMAND_AS_MOUSE      0xd3
#define COMMAND_TO_MOUSE      0xd4
#define COMMAND_PULSE         0xf0 /* to 0xff: pulses those output lines whose bits are 0 */

#define SELF_TEST_PASSED 0x55
#define INPUT_UNLOCKED   0x80
#define NOT_ANSWERED     0xfe

void i8042_init(struct i8042 *i8042, void (*reset)(void *context, const char *how), void *context)
{
    *i8042 = (struct i8042){.reset = reset,
                            .context = context,
                            .config = CONFIG_SYSTEM | CONFIG_IRQ_KEYBOARD,
                            .output_port = OUTPUT_RUNS | OUTPUT_A20};
}

/* Sets the interrupt lines by the output buffer. */
static void update_lines(const struct i8042 *k)
{
    bool full = k->status & STATUS_FULL, mouse = k->status & STATUS_MOUSE;
    line_set(&k->keyboard, full && !mouse && k->config & CONFIG_IRQ_KEYBOARD);
    line_set(&k->mouse, full && mouse && k->config & CONFIG_IRQ_MOUSE);
}

/* Gives the guest a byte to read. `status` says where it comes from. */
static void answer(struct i8042 *k, uint8_t data, uint8_t status)
{
    k->data = data;
    k->status = STATUS_FULL | status;
}

static void write_output_port(struct i8042 *k, uint8_t value)
{
    k->output_port = value | OUTPUT_A20;
    if (!(value & OUTPUT_RUNS))
        k->reset(k->context, "reset, by the keyboard controller's output port");
}

static void set_config(struct i8042 *k, uint8_t bit, bool on)
{
    k->config = on ? k->config | bit : k->config & (uint8_t)~bit;
}

static void obey(struct i8042 *k, uint8_t command)
{
    switch (command) {
    case COMMAND_READ_CONFIG:
        return answer(k, k->config, 0);
    case COMMAND_MOUSE_OFF:
    case COMMAND_MOUSE_ON:
        return set_config(k, CONFIG_NO_MOUSE, command == COMMAND_MOUSE_OFF);
    case COMMAND_KEYBOARD_OFF:
    case COMMAND_KEYBOARD_ON:
        return set_config(k, CONFIG_NO_KEYBOARD, command == COMMAND_KEYBOARD_OFF);
    case COMMAND_SELF_TEST:
        return answer(k, SELF_TEST_PASSED, 0);
    case COMMAND_MOUSE_TEST:
    case COMMAND_KEYBOARD_TEST:
        return answer(k, 0, 0);
    case COMMAND_READ_INPUT:
        return answer(k, INPUT_UNLOCKED, 0);
    case COMMAND_READ_OUTPUT:
        return answer(k, k->output_port, 0);
    case COMMAND_WRITE_CONFIG:
    case COMMAND_WRITE_OUTPUT:
    case COMMAND_AS_KEYBOARD:
    case COMMAND_AS_MOUSE:
    case COMMAND_TO_MOUSE:
        k->command = command;
        return;
    }
    if (command >= COMMAND_PULSE && !(command & OUTPUT_RUNS))
        k->reset(k->context, "reset, by the keyboard controller's port");
}

static void take_data(struct i8042 *k, uint8_t value)
{
    uint8_t command = k->command;
    k->command = 0;
    switch (command) {
    case COMMAND_WRITE_CONFIG:
        k->config = value;
        return;
    case COMMAND_WRITE_OUTPUT:
        return write_output_port(k, value);
    case COMMAND_AS_KEYBOARD:
        return answer(k, value, 0);
    case COMMAND_AS_MOUSE:
        return answer(k, value, STATUS_MOUSE);
    case COMMAND_TO_MOUSE:
        return answer(k, NOT_ANSWERED, STATUS_MOUSE | STATUS_TIMEOUT);
    default:
        return answer(k, NOT_ANSWERED, STATUS_TIMEOUT);
    }
}

/* ---- Ports ----------------------------------------------------------------------------------- */

static uint64_t data_read(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size)
{
    struct i8042 *k = device;
    (void)vcpu, (void)offset, (void)size;
    spin_lock(&k->lock);
    uint8_t data = k->data;
    k->status = 0;
    update_lines(k);
    spin_unlock(&k->lock);
    return data;
}

static void data_write(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                       uint64_t value)
{
    struct i8042 *k = device;
    (void)vcpu, (void)offset, (void)size;
    spin_lock(&k->lock);
    take_data(k, (uint8_t)value);
    update_lines(k);
    spin_unlock(&k->lock);
}

static uint64_t status_read(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size)
{
    const struct i8042 *k = device;
    (void)vcpu, (void)offset, (void)size;
    return k->status | STATUS_UNLOCKED | (k->config & CONFIG_SYSTEM ? STATUS_SYSTEM : 0) |
           (k->command ? STATUS_COMMAND : 0);
}

static void command_write(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                          uint64_t value)
{
    struct i8042 *k = device;
    (void)vcpu, (void)offset, (void)size;
    spin_lock(&k->lock);
    k->command = 0;
    obey(k, (uint8_t)value);
    update_lines(k);
    spin_unlock(&k->lock);
}

const struct bus_ops i8042_data_ops = {
    .name = "keyboard controller", .read = data_read, .write = data_write, .sizes = 1};
const struct bus_ops i8042_command_ops = {
    .name = "keyboard controller", .read = status_read, .write = command_write, .sizes = 1};
