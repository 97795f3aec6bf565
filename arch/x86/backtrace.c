/* SPDX-License-Identifier: MIT */
/* Backtraces, and the assertions that print them; see the header and lib/assert.h. */
#include "arch/x86/backtrace.h"

#include "arch/x86/this_cpu.h"
#include "arch/x86/power.h"
#include "lib/assert.h"
#include "lib/log.h"

#define BACKTRACE_MAX 2000 /* a stack holds no more frames */

/* The table that tools/symbols.awk makes, sorted by address. `name` is the offset of the name from
 * symbols_start. The first element's `address` is the number of the others. */
struct symbol {
    uint64_t address;
    uint64_t name;
};

extern const struct symbol symbols_start[], symbols_end[];
extern const char text_start[], rodata_start[];

static bool in_text(uint64_t address)
{
    return address >= (uint64_t)text_start && address < (uint64_t)rodata_start;
}

const char *symbol_at(uint64_t address, uint64_t *offset)
{
    const struct symbol *found = NULL;
    uint64_t count = &symbols_end[0] > &symbols_start[0] ? symbols_start[0].address : 0;

    for (uint64_t i = 1; i <= count && symbols_start[i].address <= address; i++)
        found = &symbols_start[i];
    if (!found || !in_text(address))
        return NULL;
    *offset = address - found->address;
    return (const char *)symbols_start + found->name;
}

static void print_address(uint64_t address)
{
    uint64_t offset;
    const char *name = symbol_at(address, &offset);
    if (name)
        log_info("  %016lx %s+%#lx", address, name, offset);
    else
        log_info("  %016lx, which is not hypervisor code", address);
}

static bool on_a_stack(uint64_t frame)
{
    uint64_t offset = frame - (uint64_t)cpus[this_cpu()].stacks;
    return frame % 8 == 0 && offset < STACK_COUNT * sizeof(struct guarded_stack) - 8 &&
           offset % sizeof(struct guarded_stack) >= STACK_GUARD;
}

void backtrace(uint64_t rip, uint64_t rbp)
{
    uint64_t last = 0;
    unsigned repeats = 0;

    log_info("backtrace:");
    print_address(rip);
    for (unsigned depth = 0; depth < BACKTRACE_MAX && on_a_stack(rbp); depth++) {
        const uint64_t *frame = (const uint64_t *)rbp;
        uint64_t caller = frame[1] - 1; /* within the CALL instruction, not after it */
        if (!in_text(caller))
            break;
        repeats = caller == last ? repeats + 1 : 0;
        if (repeats < 2)
            print_address(caller);
        else if (repeats == 2)
            log_info("  ... repeated");
        last = caller;
        if (frame[0] <= rbp)
            break;
        rbp = frame[0];
    }
}

void bug(const char *file, int line, const char *condition)
{
    log_divert(NULL);
    log_error("BUG at %s:%d: %s", file, line, condition);
    backtrace((uint64_t)__builtin_return_address(0) - 1, *(uint64_t *)__builtin_frame_address(0));
    machine_exit(EXIT_PANIC);
}

void warn(const char *file, int line, const char *condition)
{
    log_warn("at %s:%d: %s", file, line, condition);
    backtrace((uint64_t)__builtin_return_address(0) - 1, *(uint64_t *)__builtin_frame_address(0));
}
