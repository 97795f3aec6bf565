/* SPDX-License-Identifier: MIT */
/*
 * The log's end as QR codes on a framebuffer, so that a telephone brings it home from a machine
 * without a serial line. Pure but for the screen.
 *
 * The last 8 KiB, or less, are cut into pieces of QR_LOG_PIECE characters. Each becomes a symbol
 * that begins with a line `eptvisor 1/7`; version 25 is the largest that telephones read well. As
 * many symbols as can be read are on the screen at once; the others follow page by page.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define QR_LOG_SIZE    8192u
#define QR_LOG_VERSION 25u
#define QR_LOG_PIECE   1260u

/* Chooses whether qr_log_show() shows anything. A message says why it can't, if there is no
 * framebuffer or if it is too small. */
void qr_log_choose(bool wanted);

/* Shows the symbols, if that was chosen. `wait` returns when the next page may be shown; `for_ever`
 * begins again after the last page. Called when only one CPU runs; takes no locks and no memory.
 * Returns whether it has shown them; a second call, after a failure in here, does nothing. */
bool qr_log_show(void (*wait)(void), bool for_ever);
