/* SPDX-License-Identifier: MIT */
/* Single accesses to the machine's I/O ports and to registers in memory, for pure files: hosted
 * tests supply these functions, and so stand for the device. */
#pragma once

#include <stdint.h>

uint8_t host_port_read(uint16_t port);
void host_port_write(uint16_t port, uint8_t value);
uint16_t host_port_read_16(uint16_t port);
void host_port_write_16(uint16_t port, uint16_t value);

/* `width` is 1, 2 or 4 bytes, and `place` a multiple of it. */
uint32_t host_register_read(const volatile void *place, unsigned width);
void host_register_write(volatile void *place, unsigned width, uint32_t value);
