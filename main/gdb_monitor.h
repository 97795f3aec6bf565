/* SPDX-License-Identifier: MIT */
/* Connects GDB's `monitor` packets with the commands of the monitor. */
#pragma once

#include "gdb/gdb.h"

extern const struct gdb_monitor gdb_monitor;
