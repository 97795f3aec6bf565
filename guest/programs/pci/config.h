/* SPDX-License-Identifier: MIT */
/* A driver for PCI configuration spaces: both mechanisms, and what a driver does with them. */
#pragma once

#include "guest/programs/rt/smp.h"

#define ECAM          0xe0000000u
#define ECAM_OF(d, f) (ECAM + ((d) << 15) + ((f) << 12))
#define WINDOW        0xe0100000u
#define WINDOW_END    0xfc000000u
#define IOAPIC        0xfec00000u
#define ABSENT        (~0u) /* what is read where nobody answers */

#define REG_COMMAND   0x04u
#define REG_STATUS    0x06u
#define REG_BAR(n)    (0x10u + 4 * (n))
#define COMMAND_MEM   BIT(1)
#define COMMAND_BUS   BIT(2)
#define COMMAND_INTX  BIT(10) /* disables INTA# */
#define STATUS_INTX   BIT(3)
#define STATUS_ABORT  BIT(13)
#define MSIX_MASK_ALL BIT(30) /* in the first doubleword of the capability */
#define MSIX_ON       BIT(31)

void outl(uint16_t port, uint32_t value);
uint32_t inl(uint16_t port);

/* Reads or writes 1, 2 or 4 bytes by the ports, or by memory at an address of ECAM_OF(). */
uint32_t port_config_read(uint32_t address, unsigned size);
uint32_t config_read(uint32_t address, unsigned size);
void port_config_write(uint32_t address, unsigned size, uint32_t value);
void config_write(uint32_t address, unsigned size, uint32_t value);

/* Finds a capability, and returns its address, or 0. */
uint32_t find_capability(uint32_t function, uint8_t id);

/* The test device (guest/abi.h): its functions, and where their BARs were when the VM began. */
#define TEST_0 ECAM_OF(PCI_TEST_DEVICE, 0u)
#define TEST_1 ECAM_OF(PCI_TEST_DEVICE, 1u)
extern uint32_t registers_0, registers_1, table_0, wide_0;
void find_test_device(void);

/* Sets a BAR of a function. */
void set_bar(uint32_t function, unsigned bar, uint32_t value);

/* An access that has been made so often that everything about it is remembered. */
uint32_t hot_read(uint64_t address);

/* Moves BAR 0 from its place to another one and back, and expects it in one place at a time. */
void move_to(uint32_t to);

/* ---- Interrupts of the test device ------------------------------------------------------------
 * */

#define VECTOR 0x61u /* of MSI-X vector 0; the others follow */

/* The interrupts that each CPU has taken, by the APIC ID and the number of the MSI-X vector, and
 * how often the handler is to be called before it lowers INTA#. */
extern volatile unsigned taken[CPUS_MAX][PCI_TEST_VECTORS];
extern volatile unsigned keep_line;
void take(struct frame *frame);

/* Lets interrupts in for a while. take_count() returns how many of a vector this CPU has taken
 * since the last call. */
void let_in(void);
unsigned take_count(unsigned vector);

/* Writes an entry of the MSI-X table; returns the PBA; raises a vector. */
void set_vector(unsigned vector, uint32_t destination, bool masked);
uint32_t pending(void);
void raise(unsigned vector);

/* ---- Tests with several CPUs (pci/harm.c), of which the first three run ------------------------
 * */

void storm(void);
void harm(void);
