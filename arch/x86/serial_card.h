/* SPDX-License-Identifier: MIT */
/*
 * Serial ports of PCI functions: 16550s of class 07 at I/O ports, cards whose ports in memory have
 * a known order, and the UARTs of Intel's LPSS, whose registers have 32 bits. Pure.
 */
#pragma once

#include "arch/x86/host_pci.h"
#include "arch/x86/serial_port.h"
#include "lib/compiler.h"

/* Is the function a serial port, or does it have several, by its class (07 00 and 07 02)? A UART of
 * an LPSS has another one, and that is well: a Bluetooth chip or a touch screen may be connected to
 * it, so it has to be asked for. */
bool serial_card_by_class(struct host_pci_function at) MUST_CHECK;

/* Finds port `number` of the function, and has the function answer at its addresses. Returns NULL;
 * else why there is no such port, to continue "the PCI card at 0:4.0: ". */
const char *serial_card_place(struct host_pci_function at, unsigned number,
                              struct serial_place *place) MUST_CHECK;

/* Is it one of an LPSS? Then its memory is LPSS_SIZE bytes long, and lpss_wake() takes it out of
 * reset and gives it a PC's clock. */
#define LPSS_SIZE 0x300u
bool serial_card_is_lpss(struct host_pci_function at) MUST_CHECK;
void lpss_wake(struct host_pci_function at, volatile void *registers);
