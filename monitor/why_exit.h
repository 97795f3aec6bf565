/* SPDX-License-Identifier: MIT */
/* The sentences of `why last`. Pure. */
#pragma once

#include "vm/last_exit.h"

struct monitor_call;

/* What the guest did, and what the hypervisor does after such an exit. */
void why_say_last(struct monitor_call *call, const struct last_exit *exit);
