/* SPDX-License-Identifier: MIT */
/* The debug port 0xe9 of Bochs (port_e9_hack) and QEMU (-debugcon), as a device of the export
 * channel (arch/x86/export.h). Guests cannot reach it, because every I/O instruction exits. */
#pragma once

#include "arch/x86/export.h"

/* NULL: this machine has none. It would answer reads with its own number. */
const struct export_device *debug_port_find(void);
