/* SPDX-License-Identifier: MIT */
/* Reads the keyboard controller as the firmware left it, and writes nothing to it. */
#include "arch/x86/keyboard.h"

#include "arch/x86/cpu.h"

#define I8042_DATA   0x60
#define I8042_STATUS 0x64

#define STATUS_FULL  0x01 /* there is a byte */
#define STATUS_MOUSE 0x20 /* it came from the mouse */
#define STATUS_NONE  0xff /* no controller */

#define KEY_RELEASED 0x80 /* also the bytes that are no scan codes */
#define BYTES_MAX    32

bool keyboard_pressed(void)
{
    bool pressed = false;
    for (unsigned i = 0; i < BYTES_MAX; i++) {
        uint8_t status = inb(I8042_STATUS);
        if (status == STATUS_NONE || !(status & STATUS_FULL))
            break;
        uint8_t code = inb(I8042_DATA);
        pressed |= !(status & STATUS_MOUSE) && code && !(code & KEY_RELEASED);
    }
    return pressed;
}
