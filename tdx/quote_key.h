/* SPDX-License-Identifier: MIT */
/* The test key of quotes, which tools/tdquote.py explains, and makes when the image is built. The
 * numbers are big-endian. */
#pragma once

#include "lib/types.h"

extern const uint8_t tdx_quote_r[32];     /* the first half of each signature */
extern const uint8_t tdx_quote_r_key[32]; /* that times the private key, modulo the order */
extern const uint8_t tdx_quote_order[32]; /* of the curve P-256 */

/* What follows the signature in each quote: the public key and what certifies it. */
extern const size_t tdx_quote_key_size;
extern const uint8_t tdx_quote_key[];
