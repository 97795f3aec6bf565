/* SPDX-License-Identifier: MIT */
/* `counters`: what a VM counts, and how fast. */
#include "arch/x86/tsc.h"
#include "arch/x86/unprivileged.h"
#include "boot/boot_info.h"
#include "lib/string.h"
#include "monitor/command.h"
#include "monitor/commands.h"
#include "vm/counters.h"
#include "vm/vm.h"

/* The values of the last call for each VM, by its number. */
static struct sample {
    uint64_t tsc;
    const struct vm *vm;
    uint64_t values[COUNTER_COUNT];
} samples[BOOT_MODULES + 1];

static void say_counter(struct monitor_call *call, unsigned i, uint64_t value, uint64_t before,
                        uint64_t ms)
{
    bool fell = value < before; /* some count what there is now, such as mapped pages */
    uint64_t tenths = ms ? (fell ? before - value : value - before) * 10000 / ms : 0;
    char rate[40];
    snprintf(rate, sizeof(rate), "%s%lu.%lu", fell && tenths ? "-" : "", tenths / 10, tenths % 10);
    if (ms)
        monitor_say(call, "  %-22s %14lu  %12s /s", counter_name(i), value, rate);
    else
        monitor_say(call, "  %-22s %14lu", counter_name(i), value);
}

static void say_counters(struct monitor_call *call, struct sample *last,
                         const uint64_t values[COUNTER_COUNT], uint64_t ms)
{
    unsigned zero = 0;
    for (unsigned i = 0; i < COUNTER_COUNT; i++) {
        if (values[i] && call->said < MONITOR_TEXT - 2 * MONITOR_WIDTH)
            say_counter(call, i, values[i], last->values[i], ms);
        zero += !values[i];
    }
    monitor_say(call, "  the other %u counters are 0", zero);
}

/* A VM that has been reset begins anew, and so does another one that has got the number. */
bool command_counters(struct monitor_call *call)
{
    uint64_t values[COUNTER_COUNT], now = rdtsc();
    if (!monitor_words_end(call, 2) || !monitor_vm(call, 1))
        return false;
    struct sample *last = &samples[call->vm->number];
    counters_read(&call->vm->vcpu, values);
    values[COUNTER_EXITS] = vm_exit_count(call->vm);
    bool again = last->vm == call->vm && last->values[COUNTER_EXITS] <= values[COUNTER_EXITS];
    uint64_t ms = again ? (now - last->tsc) / tsc_khz() : 0;
    if (again)
        monitor_say(call, "VM %u %s, and its rates in the last %lu.%03lu s", call->vm->number,
                    call->vm->name, ms / 1000, ms % 1000);
    else
        monitor_say(call, "VM %u %s; ask again for rates", call->vm->number, call->vm->name);
    say_counters(call, last, values, ms);
    last->tsc = now;
    last->vm = call->vm;
    memcpy(last->values, values, sizeof(values));
    return false;
}
