/* SPDX-License-Identifier: MIT */
/*
 * The PCI functions for tests (guest/abi.h): BARs of different sizes and widths, and interrupts
 * that the guest raises by itself. Any CPU may access them. Pure.
 */
#pragma once

#include "dev/pci.h"
#include "guest/abi.h"

struct pci_test {
    struct pci_function function;
    uint32_t scratch, level;
};

/* Adds the functions to the bus. Returns 0 or an error of pci_add(). */
int pci_test_add(struct pci_test test[PCI_TEST_FUNCTIONS], struct pci_host *host) MUST_CHECK;
