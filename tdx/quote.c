/* SPDX-License-Identifier: MIT */
/* Quotes of the test key; see the header. Pure. */
#include "tdx/quote.h"

#include "lib/assert.h"
#include "lib/sha256.h"
#include "lib/string.h"
#include "tdx/quote_key.h"

#include <stddef.h>

/* ---- The quote ------------------------------------------------------------------------------- */

#define VERSION    4
#define ECDSA_P256 2
#define TEE_TDX    0x81

/* Intel, "TDX DCAP: Quote Generation Library and Quote Verification Library", quote version 4. */
struct tdx_quote {
    uint16_t version, key_type;
    uint32_t tee_type, reserved;
    char vendor[16];
    uint8_t user_data[20];
    struct {
        uint8_t tcb[120]; /* TEE_TCB_INFO from TEE_TCB_SVN to ATTRIBUTES */
        uint8_t td[400];  /* TDINFO from ATTRIBUTES to RTMR3 */
        uint8_t report_data[TDX_REPORT_DATA];
    } body;
    uint8_t signature_size[4]; /* of what follows: the signature, and tdx_quote_key */
    uint8_t signature[64];
};
_Static_assert(offsetof(struct tdx_quote, body) == 48, "ABI");
_Static_assert(offsetof(struct tdx_quote, signature_size) == 632, "ABI");
_Static_assert(offsetof(struct tdx_tcb_info, tee_tcb_svn2) ==
                   offsetof(struct tdx_tcb_info, tee_tcb_svn) + 120,
               "the quote has TEE_TCB_INFO from TEE_TCB_SVN to ATTRIBUTES");
_Static_assert(offsetof(struct tdx_td_info, servtd_hash) == 400,
               "the quote has TDINFO up to RTMR3");

void tdx_quote_add(uint8_t sum[32], const uint8_t a[32], const uint8_t b[32])
{
    uint8_t reduced[32];
    unsigned carry = 0, borrow = 0;

    for (unsigned i = 32; i--;) {
        carry += (unsigned)a[i] + b[i];
        sum[i] = (uint8_t)carry;
        carry >>= 8;
    }
    for (unsigned i = 32; i--;) {
        unsigned difference = (unsigned)sum[i] - tdx_quote_order[i] - borrow;
        reduced[i] = (uint8_t)difference;
        borrow = difference >> 8 & 1;
    }
    if (carry || !borrow)
        memcpy(sum, reduced, sizeof(reduced));
}

/* All of the quote of a report but what is the same in each. */
static void tdx_quote_make(const struct tdx_report *report, struct tdx_quote *quote)
{
    const uint32_t size = (uint32_t)(sizeof(quote->signature) + tdx_quote_key_size);
    uint8_t hash[SHA256_SIZE];

    *quote = (struct tdx_quote){
        .version = VERSION, .key_type = ECDSA_P256, .tee_type = TEE_TDX, .vendor = "eptvisor test"};
    memcpy(quote->body.tcb,
           (const uint8_t *)&report->tcb + offsetof(struct tdx_tcb_info, tee_tcb_svn),
           sizeof(quote->body.tcb));
    memcpy(quote->body.td, &report->td, sizeof(quote->body.td));
    memcpy(quote->body.report_data, report->mac.report_data, sizeof(quote->body.report_data));
    memcpy(quote->signature_size, &size, sizeof(size));
    sha256(quote, offsetof(struct tdx_quote, signature_size), hash);
    memcpy(quote->signature, tdx_quote_r, sizeof(tdx_quote_r));
    tdx_quote_add(quote->signature + 32, hash, tdx_quote_r_key);
}

/* ---- GetQuote -------------------------------------------------------------------------------- */

/* The head of the shared buffer (GHCI 1.5, table 3-10). */
struct tdx_quote_buffer {
    uint64_t version, status;
    uint32_t in_size, out_size;
};

#define BUFFER_VERSION 1
#define BUFFER_DATA    sizeof(struct tdx_quote_buffer) /* offset */

static uint64_t tdx_report_to_quote(const struct tdx_reporter *reporter,
                                    const struct tdx_memory *memory, uint64_t data, uint32_t *size)
{
    struct tdx_report report;
    struct tdx_quote quote;

    if (memory->read(memory->context, GPA(data), &report, sizeof(report)) ||
        !tdx_report_is_ours(reporter, &report))
        return TDX_QUOTE_ERROR;
    tdx_quote_make(&report, &quote);
    if (memory->write(memory->context, GPA(data), &quote, sizeof(quote)) ||
        memory->write(memory->context, GPA(data + sizeof(quote)), tdx_quote_key,
                      tdx_quote_key_size))
        return TDX_QUOTE_ERROR;
    *size = (uint32_t)(sizeof(quote) + tdx_quote_key_size);
    return TDX_QUOTE_SUCCESS;
}

bool tdx_get_quote(const struct tdx_reporter *reporter, const struct td *td,
                   const struct tdx_memory *memory, bool available, uint64_t gpa, uint64_t size)
{
    struct tdx_quote_buffer head;
    uint64_t status = TDX_QUOTE_UNAVAILABLE;
    uint32_t out = 0;

    BUG_ON(BUFFER_DATA + sizeof(struct tdx_quote) + tdx_quote_key_size > PAGE_SIZE);
    if ((gpa | size) % PAGE_SIZE || !size || gpa >> (td->gpa_width - 1u) != 1 ||
        memory->read(memory->context, GPA(gpa), &head, sizeof(head)))
        return false;
    if (head.version != BUFFER_VERSION || (available && head.in_size != TDX_REPORT_SIZE))
        status = TDX_QUOTE_ERROR;
    else if (available)
        status = tdx_report_to_quote(reporter, memory, gpa + BUFFER_DATA, &out);

    /* The TD waits for a change of the status, so this is written last. */
    return !memory->write(memory->context, GPA(gpa + offsetof(struct tdx_quote_buffer, out_size)),
                          &out, sizeof(out)) &&
           !memory->write(memory->context, GPA(gpa + offsetof(struct tdx_quote_buffer, status)),
                          &status, sizeof(status));
}
