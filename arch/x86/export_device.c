/* SPDX-License-Identifier: MIT */
#include "arch/x86/export_device.h"

#include "arch/x86/cpu.h"
#include "arch/x86/serial.h"

#define DEBUG_PORT 0xe9u

static size_t debug_port_take(const uint8_t *bytes, size_t size)
{
    outsb(DEBUG_PORT, bytes, size);
    return size;
}

const struct export_device *export_device_e9(void)
{
    static const struct export_device device = {debug_port_take};
    return inb(DEBUG_PORT) == DEBUG_PORT ? &device : NULL;
}

static size_t com2_take(const uint8_t *bytes, size_t size)
{
    size_t room = serial2_room();
    size = size < room ? size : room;
    for (size_t i = 0; i < size; i++)
        serial2_put(bytes[i]);
    return size;
}

const struct export_device *export_device_com2(void)
{
    static const struct export_device device = {com2_take};
    return serial2_init() ? &device : NULL;
}
