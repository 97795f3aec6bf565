/* SPDX-License-Identifier: MIT */
/* `set`, which changes words of the command line while the machine runs. */
#pragma once

struct options;

/* Called once, before the first command: the words in force, which `set` changes. */
void monitor_may_set(struct options *options);
