/* SPDX-License-Identifier: MIT */
#include "arch/x86/host_port.h"

#include "arch/x86/cpu.h"

uint8_t host_port_read(uint16_t port)
{
    return inb(port);
}

void host_port_write(uint16_t port, uint8_t value)
{
    outb(port, value);
}

uint16_t host_port_read_16(uint16_t port)
{
    return inw(port);
}

void host_port_write_16(uint16_t port, uint16_t value)
{
    outw(port, value);
}

uint32_t host_register_read(const volatile void *place, unsigned width)
{
    if (width == sizeof(uint32_t))
        return *(const volatile uint32_t *)place;
    if (width == sizeof(uint16_t))
        return *(const volatile uint16_t *)place;
    return *(const volatile uint8_t *)place;
}

void host_register_write(volatile void *place, unsigned width, uint32_t value)
{
    if (width == sizeof(uint32_t))
        *(volatile uint32_t *)place = value;
    else if (width == sizeof(uint16_t))
        *(volatile uint16_t *)place = (uint16_t)value;
    else
        *(volatile uint8_t *)place = (uint8_t)value;
}
