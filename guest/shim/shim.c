/* SPDX-License-Identifier: MIT */
/*
 * The boot shim of a TD: accepts its memory, measures what it starts, and starts it. Linux expects
 * firmware to have done both.
 *
 * The shim trusts its parameters, because they are measured with it: a host that lies in them
 * changes MRTD. It never makes memory shared, and it reads no memory that is not in its parameters.
 */
#include "guest/shim/shim.h"

#include "ept/tdx_status.h"
#include "lib/assert.h"
#include "lib/bits.h"
#include "lib/sha384.h"
#include "lib/string.h"

#define TDCALL_VMCALL      0u
#define TDCALL_INFO        1u
#define TDCALL_RTMR_EXTEND 2u
#define TDCALL_ACCEPT      6u

#define STATUS_CODE BITS(63, 32) /* without the operand that is to blame */

#define VMCALL_FATAL      0x10003u
#define VMCALL_FATAL_MASK 0xffccu /* all registers but RAX, RCX, RSP and RBP */

#define LEVEL_4K 0u
#define LEVEL_2M 1u
#define SIZE_4K  0x1000ull
#define SIZE_2M  0x200000ull

#define MESSAGE_SIZE 64u /* of ReportFatalError */
#define BUSY_TRIES   1000u

/* ---- Failure --------------------------------------------------------------------------------- */

/* Reports a message to the host, which ends the TD. Its first 64 characters count. */
static NORETURN PRINTF(1, 2) void shim_fatal(const char *format, ...)
{
    char text[MESSAGE_SIZE + 1] = {0};
    uint64_t words[MESSAGE_SIZE / sizeof(uint64_t)];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    memcpy(words, text, sizeof(words));
    for (;;) {
        struct td_registers registers = {.rax = TDCALL_VMCALL,
                                         .rcx = VMCALL_FATAL_MASK,
                                         .r11 = VMCALL_FATAL,
                                         .r14 = words[0],
                                         .r15 = words[1],
                                         .rbx = words[2],
                                         .rdi = words[3],
                                         .rsi = words[4],
                                         .r8 = words[5],
                                         .r9 = words[6],
                                         .rdx = words[7]};
        execute_tdcall(&registers);
    }
}

void shim_trap(uint64_t vector, uint64_t error, uint64_t rip)
{
    shim_fatal("shim: exception %lu, error code %#lx, RIP %#lx", vector, error, rip);
}

#ifdef bug /* lib/assert.h */
void bug(const char *file, int line, const char *condition)
{
    shim_fatal("shim: %s:%d: %s", file, line, condition);
}
#endif

/* ---- Memory ---------------------------------------------------------------------------------- */

/* Returns the status of PAGE.ACCEPT without its operand. */
static uint64_t shim_accept_page(uint64_t gpa, unsigned level)
{
    for (unsigned i = 0;; i++) {
        struct td_registers registers = {.rax = TDCALL_ACCEPT, .rcx = gpa | level};
        execute_tdcall(&registers);
        uint64_t status = registers.rax & STATUS_CODE;
        if (status != TDX_OPERAND_BUSY || i == BUSY_TRIES)
            return status;
    }
}

/* The pages of the initial image are private from the beginning and need no acceptance. */
static bool shim_is_accepted(uint64_t status)
{
    return status == TDX_SUCCESS || status == TDX_PAGE_ALREADY_ACCEPTED;
}

/* Accepts 2 MiB in pages of 4 KiB, because the initial image has pages of that size there, or the
 * part of the 2 MiB that is in the range. */
static void shim_accept_4k_pages(uint64_t base, uint64_t end)
{
    for (uint64_t gpa = base; gpa < end; gpa += SIZE_4K) {
        uint64_t status = shim_accept_page(gpa, LEVEL_4K);
        if (!shim_is_accepted(status))
            shim_fatal("shim: ACCEPT of 4 KiB at %#lx: %#lx", gpa, status);
    }
}

static void shim_accept_range(const struct shim_range *range, uint64_t shared)
{
    const uint64_t end = range->base + range->size;
    uint64_t gpa = range->base;
    if ((range->base | range->size) & (SIZE_4K - 1) || end < range->base || end > shared)
        shim_fatal("shim: bad range of memory, %#lx to %#lx", range->base, end);
    while (gpa < end) {
        uint64_t next = (gpa | (SIZE_2M - 1)) + 1;
        uint64_t status = TDX_PAGE_SIZE_MISMATCH;
        if (next > end)
            next = end;
        if (next - gpa == SIZE_2M)
            status = shim_accept_page(gpa, LEVEL_2M);
        if (status == TDX_PAGE_SIZE_MISMATCH)
            shim_accept_4k_pages(gpa, next);
        else if (!shim_is_accepted(status))
            shim_fatal("shim: ACCEPT of 2 MiB at %#lx: %#lx", gpa, status);
        gpa = next;
    }
}

/* Returns the TD's shared bit as a mask. */
static uint64_t shim_shared_bit(void)
{
    struct td_registers registers = {.rax = TDCALL_INFO};
    execute_tdcall(&registers);
    if (registers.rax)
        shim_fatal("shim: VP.INFO: %#lx", registers.rax);
    return BIT((registers.rcx & BITS(5, 0)) - 1);
}

/* ---- Measurement ----------------------------------------------------------------------------- */

static void shim_measure(const struct shim_item *item)
{
    static uint8_t digest[SHA384_SIZE] __attribute__((aligned(64)));
    sha384((const void *)(uintptr_t)item->base, item->size, digest);
    struct td_registers registers = {
        .rax = TDCALL_RTMR_EXTEND, .rcx = (uintptr_t)digest, .rdx = item->rtmr};
    execute_tdcall(&registers);
    if (registers.rax)
        shim_fatal("shim: RTMR.EXTEND of RTMR %u: %#lx", item->rtmr, registers.rax);
}

/* ---- All of it ------------------------------------------------------------------------------- */

void shim_main(const struct shim_parameters *parameters)
{
    if (parameters->magic != SHIM_MAGIC || parameters->version != SHIM_VERSION ||
        parameters->range_count > SHIM_RANGES || parameters->item_count > SHIM_ITEMS)
        shim_fatal("shim: bad parameters at %p", (const void *)parameters);
    const uint64_t shared = shim_shared_bit();
    for (unsigned i = 0; i < parameters->range_count; i++)
        shim_accept_range(&parameters->ranges[i], shared);
    for (unsigned i = 0; i < parameters->item_count; i++)
        shim_measure(&parameters->items[i]);
    shim_enter(parameters->entry, parameters->zero_page);
}
