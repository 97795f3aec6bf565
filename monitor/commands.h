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

bool command_ept(struct monitor_call *call); /* monitor/memory.c */
bool command_gva(struct monitor_call *call);
bool command_slots(struct monitor_call *call);
bool command_dirty(struct monitor_call *call);
bool command_memory(struct monitor_call *call);

bool command_vmcs(struct monitor_call *call); /* monitor/state.c */
bool command_cache(struct monitor_call *call);

bool command_bus(struct monitor_call *call); /* monitor/devices.c */
bool command_lapic(struct monitor_call *call);
bool command_ioapic(struct monitor_call *call);
bool command_virtio(struct monitor_call *call);

bool command_counters(struct monitor_call *call); /* monitor/rates.c */

bool command_start(struct monitor_call *call); /* monitor/start.c */
bool command_step(struct monitor_call *call);  /* monitor/step.c */

bool command_set(struct monitor_call *call); /* monitor/set.c */
bool command_why(struct monitor_call *call); /* monitor/why.c */
