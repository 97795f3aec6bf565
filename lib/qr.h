/* SPDX-License-Identifier: MIT */
/*
 * Makes QR codes (ISO/IEC 18004:2015): model 2, versions 1 to 40, bytes, error correction level L,
 * which is the right one for a screen, where nothing is dirty or torn. Pure.
 */
#pragma once

#include "lib/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define QR_VERSION_MAX   40u
#define QR_SIZE(version) (17 + 4 * (version)) /* in modules, without the quiet zone */
#define QR_SIZE_MAX      QR_SIZE(QR_VERSION_MAX)
#define QR_QUIET         4u /* light modules that must surround a symbol */

struct qr_modules {
    uint64_t row[QR_SIZE_MAX][(QR_SIZE_MAX + 63) / 64];
};

struct qr {
    unsigned version, size;
    struct qr_modules dark;
    struct qr_modules fixed; /* the modules that hold no data */
};

/* The number of bytes that a symbol of this version holds. */
size_t qr_capacity(unsigned version) MUST_CHECK;

/* Makes a symbol of version 1 to 40 of at most qr_capacity() bytes. */
void qr_encode(struct qr *qr, unsigned version, const void *data, size_t length);

/* Is this module dark? */
bool qr_dark(const struct qr *qr, unsigned x, unsigned y) MUST_CHECK;
