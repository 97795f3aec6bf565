/* SPDX-License-Identifier: MIT */
/* The registers of a PCI configuration space: type 0 header (PCI Local Bus 3.0, chapter 6), and the
 * MSI-X capability (section 6.8.2). */
#pragma once

#include "lib/bits.h"

#define PCI_VENDOR         0x00u
#define PCI_DEVICE         0x02u
#define PCI_COMMAND        0x04u
#define PCI_STATUS         0x06u
#define PCI_REVISION       0x08u /* and the class code above it */
#define PCI_CACHE_LINE     0x0cu
#define PCI_HEADER_TYPE    0x0eu
#define PCI_BAR_0          0x10u
#define PCI_SUBVENDOR      0x2cu
#define PCI_SUBSYSTEM      0x2eu
#define PCI_CAPABILITIES   0x34u
#define PCI_INTERRUPT_LINE 0x3cu
#define PCI_INTERRUPT_PIN  0x3du
#define PCI_HEADER_END     0x40u

#define COMMAND_MEMORY  BIT(1)
#define COMMAND_MASTER  BIT(2)
#define COMMAND_PARITY  BIT(6)
#define COMMAND_SERR    BIT(8)
#define COMMAND_NO_INTX BIT(10)

#define STATUS_INTERRUPT    BIT(3)
#define STATUS_CAPABILITIES BIT(4)
#define STATUS_MASTER_ABORT BIT(13)
/* Master Data Parity Error, Signaled and Received Target Abort, Received Master Abort, Signaled
 * System Error, Detected Parity Error: a write of 1 clears them. */
#define STATUS_CLEARS (BIT(8) | BITS(15, 11))

#define HEADER_MULTI_FUNCTION BIT(7)

#define BAR_TYPE_64 BIT(2)

#define PCI_CAP_MSIX       0x11u
#define MSIX_CONTROL       2u /* offsets in the capability */
#define MSIX_TABLE         4u
#define MSIX_PBA           8u
#define MSIX_FUNCTION_MASK BIT(14)
#define MSIX_ENABLE        BIT(15)

#define MSIX_MASKED 1u /* in the control word of a vector */
