/* SPDX-License-Identifier: MIT */
/* The devices of the export channel (arch/x86/export.h). No guest reaches them, because every I/O
 * instruction exits. */
#pragma once

#include "arch/x86/export.h"

/* The debug port 0xe9 of Bochs (port_e9_hack) and QEMU (-debugcon), which takes everything at once.
 * NULL: this machine has none. It would answer reads with its own number. */
const struct export_device *export_device_e9(void);

/* The second serial port, which takes 16 bytes at a time, 11,520 in a second. NULL: there is
 * none. */
const struct export_device *export_device_com2(void);
