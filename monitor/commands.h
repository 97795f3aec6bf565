/* SPDX-License-Identifier: MIT */
/* The pieces of all commands, for the table in monitor/commands.c; the files are named where they
 * begin. */
#pragma once

#include <stdbool.h>

struct monitor_call;

bool command_help(struct monitor_call *call); /* monitor/commands.c */

bool command_vms(struct monitor_call *call); /* monitor/vms.c */
bool command_vcpus(struct monitor_call *call);

bool command_pause(struct monitor_call *call); /* monitor/control.c */
bool command_resume(struct monitor_call *call);
bool command_inject(struct monitor_call *call);
bool command_end(struct monitor_call *call);
bool command_quit(struct monitor_call *call);
