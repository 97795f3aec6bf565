/* SPDX-License-Identifier: MIT */
/* Whether the ports by which emulators are told to end are theirs. Pure. */
#pragma once

#include "lib/compiler.h"

#include <stdbool.h>

/* On a computer, something else may be at Bochs' port 0x8900 and QEMU's 0xf4, so they are written
 * only on a machine that is none: its CPU says that there is a hypervisor, it has no PCI, or it has
 * a chipset that is older than VT-x. */
bool emulator_has_ports(bool hypervisor) MUST_CHECK;
