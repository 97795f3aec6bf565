/* SPDX-License-Identifier: MIT */
/* The pieces of all commands, for the table in monitor/commands.c; the files are named where they
 * begin. */
#pragma once

#include <stdbool.h>

struct monitor_call;

bool command_help(struct monitor_call *call); /* monitor/commands.c */
