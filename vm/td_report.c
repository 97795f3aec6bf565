/* SPDX-License-Identifier: MIT */
#include "vm/td_report.h"

#include "arch/x86/entropy.h"
#include "lib/log.h"
#include "lib/string.h"
#include "tdx/quote.h"
#include "vm/td_memory.h"
#include "vm/vm.h"

static struct tdx_reporter reporter;
static struct spinlock reporter_lock; /* while it is made */
static bool reporter_ready;

void td_reporter_prepare(void)
{
    spin_lock(&reporter_lock);
    if (!reporter_ready) {
        struct entropy_source source = entropy_source_of_this_cpu();
        uint8_t key[SHA384_SIZE];
        if (entropy_key(&source, key))
            log_info("tdx: the key of this boot's reports is made of %s and the TSC", source.name);
        else
            log_info(
                "tdx: the key of this boot's reports is made of the TSC alone (%s %s), and can "
                "be guessed",
                source.name, source.generator ? "does not work" : "here");
        tdx_reporter_init(&reporter, key, sizeof(key));
        reporter_ready = true;
    }
    spin_unlock(&reporter_lock);
}

/* ---- The TD's memory ------------------------------------------------------------------------- */

static bool td_address_is_shared(const struct vm *vm, gpa_t gpa)
{
    return gpa.v & td_shared_bit(vm->td);
}

static int td_report_read(void *context, gpa_t gpa, void *buffer, size_t size)
{
    struct vm *vm = context;

    if (td_address_is_shared(vm, gpa))
        return guest_read(&vm->mmu, gpa, buffer, size, ACCESS_READ);
    return td_private_read(vm, gpa, buffer, size);
}

static int td_report_write(void *context, gpa_t gpa, const void *buffer, size_t size)
{
    struct vm *vm = context;

    if (td_address_is_shared(vm, gpa))
        return guest_write(&vm->mmu, gpa, buffer, size);
    return td_private_write(vm, gpa, buffer, size);
}

static struct tdx_memory td_report_memory(struct vm *vm)
{
    return (struct tdx_memory){td_report_read, td_report_write, vm};
}

uint64_t td_mr_report(struct vm *vm, uint64_t rcx, uint64_t rdx, uint64_t r8,
                      struct tdx_operand_fault *fault)
{
    const struct tdx_memory memory = td_report_memory(vm);

    return tdx_mr_report(&reporter, vm->td, &memory, rcx, rdx, r8, fault);
}

uint64_t td_mr_verifyreport(struct vm *vm, uint64_t rcx, struct tdx_operand_fault *fault)
{
    const struct tdx_memory memory = td_report_memory(vm);

    return tdx_mr_verifyreport(&reporter, vm->td, &memory, rcx, fault);
}

uint64_t td_mr_rtmr_extend(struct vm *vm, uint64_t rcx, uint64_t rdx,
                           struct tdx_operand_fault *fault)
{
    const struct tdx_memory memory = td_report_memory(vm);

    return tdx_mr_rtmr_extend(vm->td, &memory, rcx, rdx, fault);
}

bool td_get_quote(struct vm *vm, uint64_t gpa, uint64_t size)
{
    const struct tdx_memory memory = td_report_memory(vm);

    return tdx_get_quote(&reporter, vm->td, &memory, vm->words.quote, gpa, size);
}

/* ---- The VM's report ------------------------------------------------------------------------- */

static void td_print_digest(const struct vm *vm, const char *name, const uint8_t *digest)
{
    char text[2 * SHA384_SIZE + 1];

    for (unsigned i = 0; i < SHA384_SIZE; i++)
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
    transcript_line(vm->console.transcript, "# %s: %s %s", vm->name, name, text);
}

void td_report_measurements(struct vm *vm)
{
    static const uint8_t zero[SHA384_SIZE];
    uint8_t rtmr[TDX_RTMRS][SHA384_SIZE];
    char name[] = "RTMR0";

    if (!vm->td || !vm->td->finalised || vm->words.measure == MEASURE_OFF)
        return;
    td_print_digest(vm, "MRTD", vm->td->measurement->mrtd);
    tdx_rtmr_read(vm->td->measurement, rtmr);
    for (unsigned i = 0; i < TDX_RTMRS; i++) {
        name[4] = (char)('0' + i);
        if (memcmp(rtmr[i], zero, SHA384_SIZE))
            td_print_digest(vm, name, rtmr[i]);
    }
}
