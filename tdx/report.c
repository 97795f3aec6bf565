/* SPDX-License-Identifier: MIT */
/* TDREPORTs; see the header. Pure. */
#include "tdx/report.h"

#include "ept/tdx_status.h"
#include "lib/bits.h"
#include "lib/string.h"

#include <stddef.h>

#define REPORT_TYPE_TDX 0x81

/* Bits 8:0 are VALID, TEE_TCB_SVN and MRSEAM, 14:9 MRSIGNERSEAM, 15 ATTRIBUTES, and 17:16
 * TEE_TCB_SVN2. Bits 15:9 are 0 in the reports of a module that Intel has signed. */
#define TCB_INFO_VALID BITS(17, 0)

/* What the version of the TDX module stands for in byte 1 of its SVN. */
#define MODULE_MAJOR_SVN 1 /* TDX 1.5 */

_Static_assert(sizeof(struct tdx_report_mac) == TDX_REPORT_MAC_SIZE, "ABI");
_Static_assert(sizeof(struct tdx_tcb_info) == 256, "ABI");
_Static_assert(sizeof(struct tdx_td_info) == 512, "ABI");
_Static_assert(sizeof(struct tdx_report) == TDX_REPORT_SIZE, "ABI");
_Static_assert(offsetof(struct tdx_report_mac, report_data) == 128, "ABI");
_Static_assert(offsetof(struct tdx_report_mac, mac) == 224, "ABI");
_Static_assert(offsetof(struct tdx_tcb_info, tee_tcb_svn2) == 128, "ABI");
_Static_assert(offsetof(struct tdx_td_info, rtmr) == 208, "ABI");

void tdx_reporter_init(struct tdx_reporter *reporter, const void *secret, size_t size)
{
    static const char module[SHA384_SIZE] = "eptvisor, which is not Intel's TDX module";
    static const char signer[SHA384_SIZE] = "nobody has signed this, least of all Intel";

    *reporter = (struct tdx_reporter){.tcb = {.valid = TCB_INFO_VALID}};
    reporter->tcb.tee_tcb_svn[1] = MODULE_MAJOR_SVN;
    reporter->tcb.tee_tcb_svn2[1] = MODULE_MAJOR_SVN;
    memcpy(reporter->tcb.mrseam, module, sizeof(module));
    memcpy(reporter->tcb.mrsignerseam, signer, sizeof(signer));
    sha384(&reporter->tcb, TDX_TCB_INFO_HASHED, reporter->tcb_hash);
    sha384_hmac_init(&reporter->key, secret, size);
}

static void tdx_report_mac(const struct tdx_reporter *reporter, const struct tdx_report_mac *body,
                           uint8_t mac[sizeof(body->mac)])
{
    uint8_t digest[SHA384_SIZE];

    sha384_hmac(&reporter->key, body, offsetof(struct tdx_report_mac, mac), digest);
    memcpy(mac, digest, sizeof(body->mac));
}

/* In time that does not depend on where the bytes differ. */
static bool tdx_report_mac_matches(const struct tdx_reporter *reporter,
                                   const struct tdx_report_mac *body)
{
    uint8_t mac[sizeof(body->mac)], difference = 0;

    tdx_report_mac(reporter, body, mac);
    for (size_t i = 0; i < sizeof(mac); i++)
        difference |= mac[i] ^ body->mac[i];
    return !difference;
}

void tdx_report_make(const struct tdx_reporter *reporter, const struct td *td,
                     const uint8_t data[TDX_REPORT_DATA], struct tdx_report *report)
{
    *report = (struct tdx_report){
        .mac = {.type = REPORT_TYPE_TDX},
        .tcb = reporter->tcb,
        .td = {.attributes = td->attributes, .xfam = td->xfam},
    };
    memcpy(report->td.mrtd, td->measurement->mrtd, SHA384_SIZE);
    tdx_rtmr_read(td->measurement, report->td.rtmr);
    memcpy(report->mac.tee_tcb_info_hash, reporter->tcb_hash, SHA384_SIZE);
    sha384(&report->td, sizeof(report->td), report->mac.tee_info_hash);
    memcpy(report->mac.report_data, data, TDX_REPORT_DATA);
    tdx_report_mac(reporter, &report->mac, report->mac.mac);
}

bool tdx_report_is_ours(const struct tdx_reporter *reporter, const struct tdx_report *report)
{
    uint8_t hash[SHA384_SIZE];

    sha384(&report->td, sizeof(report->td), hash);
    return tdx_report_mac_matches(reporter, &report->mac) &&
           !memcmp(&report->tcb, &reporter->tcb, sizeof(report->tcb)) &&
           !memcmp(hash, report->mac.tee_info_hash, sizeof(hash));
}

/* An address of `operand` that is aligned to its structure, has no bits beyond the TD's width, and
 * is not shared where only private memory will do. */
static uint64_t tdx_check_address(const struct td *td, uint64_t gpa, uint64_t alignment,
                                  bool may_be_shared, uint64_t operand)
{
    unsigned bits = td->gpa_width - (may_be_shared ? 0u : 1u);

    return gpa % alignment || gpa >> bits ? TDX_OPERAND_INVALID | operand : TDX_SUCCESS;
}

static uint64_t tdx_read(const struct tdx_memory *memory, uint64_t gpa, void *buffer, size_t size,
                         struct tdx_operand_fault *fault)
{
    int error = memory->read(memory->context, GPA(gpa), buffer, size);

    *fault = (struct tdx_operand_fault){GPA(gpa), .write = false, .error = error};
    return error ? TDX_OPERAND_FAULT : TDX_SUCCESS;
}

uint64_t tdx_mr_report(const struct tdx_reporter *reporter, const struct td *td,
                       const struct tdx_memory *memory, uint64_t rcx, uint64_t rdx, uint64_t r8,
                       struct tdx_operand_fault *fault)
{
    struct tdx_report report;
    uint8_t data[TDX_REPORT_DATA];
    uint64_t status;

    if (rcx % TDX_REPORT_SIZE)
        return TDX_OPERAND_INVALID | TDX_OPERAND_RCX;
    status = tdx_check_address(td, rdx, TDX_REPORT_DATA, true, TDX_OPERAND_RDX);
    if (!status)
        status = tdx_read(memory, rdx, data, sizeof(data), fault);
    if (status)
        return status;
    if (r8)
        return TDX_OPERAND_INVALID | TDX_OPERAND_R8;
    status = tdx_check_address(td, rcx, TDX_REPORT_SIZE, true, TDX_OPERAND_RCX);
    if (status)
        return status;
    tdx_report_make(reporter, td, data, &report);
    int error = memory->write(memory->context, GPA(rcx), &report, sizeof(report));
    *fault = (struct tdx_operand_fault){GPA(rcx), .write = true, .error = error};
    return error ? TDX_OPERAND_FAULT : TDX_SUCCESS;
}

uint64_t tdx_mr_verifyreport(const struct tdx_reporter *reporter, const struct td *td,
                             const struct tdx_memory *memory, uint64_t rcx,
                             struct tdx_operand_fault *fault)
{
    struct tdx_report_mac body;
    uint64_t status = tdx_check_address(td, rcx, TDX_REPORT_MAC_SIZE, false, TDX_OPERAND_RCX);

    if (!status)
        status = tdx_read(memory, rcx, &body, sizeof(body), fault);
    if (status)
        return status;
    for (size_t i = 0; i < sizeof(body.cpusvn); i++) {
        if (body.cpusvn[i])
            return TDX_INVALID_CPUSVN;
    }
    return tdx_report_mac_matches(reporter, &body) ? TDX_SUCCESS : TDX_INVALID_REPORTMACSTRUCT;
}

uint64_t tdx_mr_rtmr_extend(const struct td *td, const struct tdx_memory *memory, uint64_t rcx,
                            uint64_t rdx, struct tdx_operand_fault *fault)
{
    uint8_t data[SHA384_SIZE];
    uint64_t status = tdx_check_address(td, rcx, 64, false, TDX_OPERAND_RCX);

    if (!status)
        status = tdx_read(memory, rcx, data, sizeof(data), fault);
    if (status)
        return status;
    if (rdx >= TDX_RTMRS)
        return TDX_OPERAND_INVALID | TDX_OPERAND_RDX;
    tdx_rtmr_extend(td->measurement, (unsigned)rdx, data);
    return TDX_SUCCESS;
}
