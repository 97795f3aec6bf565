/* SPDX-License-Identifier: MIT */
/*
 * Communication with the hypervisor: detection by CPUID, hypercalls, and counters over a block of
 * code.
 */
#include "guest/programs/rt/td.h"

_Static_assert(HYPERCALL_ZAP == (ABI_HYPERCALL | HC_ZAP), "layout.h spells it");
_Static_assert(HYPERCALL_INJECT == (ABI_HYPERCALL | HC_INJECT), "layout.h spells it");

/* The hypercalls are not for TDs, in which the leaf is #VE. */
bool under_eptvisor(void)
{
    if (rt_is_td)
        return false;
    struct cpuid r = cpuid(ABI_CPUID_LEAF);
    return r.ebx == ABI_CPUID_EBX && r.ecx == ABI_CPUID_ECX && r.edx == ABI_CPUID_EDX;
}

bool launched(void)
{
    static const char word[] = "launcher";

    for (size_t i = 0; i < sizeof(word); i++)
        if (rt_args[i] != word[i])
            return false;
    return true;
}

/* Replaces every VMCALL of hypercall() by `out %eax, $PORT_LAUNCHER; nop`, which has the same
 * length, so that the rows that contain one measure the same number of instructions everywhere. */
void use_launcher(void)
{
    extern uint32_t rt_vmcalls[], rt_vmcalls_end[];
    static const uint8_t out[] = {0xe7, PORT_LAUNCHER, 0x90};

    for (uint32_t *at = rt_vmcalls; at < rt_vmcalls_end; at++)
        memcpy((void *)(uintptr_t)*at, out, sizeof(out));
}

int hypercall(unsigned number, struct hypercall *call)
{
    uint64_t rax = ABI_HYPERCALL | number;

    __asm__ volatile("1: vmcall\n"
                     ".pushsection .vmcalls, \"a\"\n"
                     ".long 1b\n"
                     ".popsection"
                     : "+a"(rax), "+b"(call->rbx), "+c"(call->rcx), "+d"(call->rdx), "+S"(call->rsi)
                     :
                     : "memory");
    return (int)(uint32_t)rax;
}

int hc_slot_add(uint64_t id, uint64_t gpa, uint64_t pages, uint64_t flags)
{
    struct hypercall call = {id, gpa, pages, flags};
    return hypercall(HC_SLOT_ADD, &call);
}

int hc_slot_delete(uint64_t id)
{
    struct hypercall call = {.rbx = id};
    return hypercall(HC_SLOT_DELETE, &call);
}

int hc_slot_move(uint64_t id, uint64_t gpa)
{
    struct hypercall call = {.rbx = id, .rcx = gpa};
    return hypercall(HC_SLOT_MOVE, &call);
}

int hc_zap(uint64_t gpa, uint64_t pages)
{
    struct hypercall call = {.rbx = gpa, .rcx = pages};
    return hypercall(HC_ZAP, &call);
}

int hc_slot_flags(uint64_t id, uint64_t flags)
{
    struct hypercall call = {.rbx = id, .rcx = flags};
    return hypercall(HC_SLOT_FLAGS, &call);
}

uint64_t hc_dirty_get(uint64_t id, uint64_t page)
{
    struct hypercall call = {.rbx = id, .rcx = page};
    int error = hypercall(HC_DIRTY_GET, &call);
    EXPECT_EQ(error, 0);
    return error ? 0 : call.rbx;
}

int hc_page(unsigned number, uint64_t gpa)
{
    struct hypercall call = {.rbx = gpa};
    return hypercall(number, &call);
}

uint64_t hc_age(uint64_t gpa, uint64_t pages)
{
    struct hypercall call = {.rbx = gpa, .rcx = pages};
    EXPECT_EQ(hypercall(HC_AGE, &call), 0);
    return call.rbx;
}

/* `label` has up to 32 characters. */
void hc_map(const char *label)
{
    struct hypercall call = {0};
    uint64_t words[4] = {0};

    for (unsigned i = 0; i < 32 && label[i]; i++)
        words[i / 8] |= (uint64_t)(uint8_t)label[i] << i % 8 * 8;
    call = (struct hypercall){words[0], words[1], words[2], words[3]};
    EXPECT_EQ(hypercall(HC_MAP, &call), 0);
}

int hc_inject(uint64_t event, uint64_t error_code, uint64_t delay)
{
    struct hypercall call = {.rbx = event, .rcx = error_code, .rdx = delay};
    return hypercall(HC_INJECT, &call);
}

int hc_generation_set(uint64_t generation)
{
    struct hypercall call = {.rbx = generation};
    return hypercall(HC_GENERATION_SET, &call);
}

/* A query that must succeed: a wrong number would make every later check meaningless. */
static uint64_t query(unsigned number, uint64_t argument)
{
    struct hypercall call = {.rbx = argument};
    int error = hypercall(number, &call);

    if (error) {
        print("Bail out! hypercall 0x%x(0x%lx) returned %d\n", number, argument, error);
        debug_exit(1);
    }
    return call.rbx;
}

uint64_t hc_generation(void)
{
    return query(HC_GENERATION_GET, 0);
}

uint64_t hc_spte(uint64_t gpa)
{
    return query(HC_SPTE, gpa);
}

uint64_t hc_config(unsigned which)
{
    return query(HC_CONFIG, which);
}

uint64_t counter(unsigned which)
{
    return query(HC_COUNTER, which);
}

struct watch watch(unsigned which)
{
    return (struct watch){which, counter(which)};
}

uint64_t watched(struct watch watch)
{
    return counter(watch.which) - watch.start;
}

struct flushes watch_flushes(void)
{
    return (struct flushes){watch(COUNTER_INVEPT_DEBT), watch(COUNTER_INVEPT)};
}

uint64_t flushed(struct flushes flushes, uint64_t expected)
{
    uint64_t debts = watched(flushes.debts); /* read first: `all` includes these */
    bool returned = watched(flushes.all) > debts;
    return returned && debts < expected ? expected : debts;
}

unsigned mmio_exit(void)
{
    return hc_config(CONFIG_MMIO_CACHING) ? EXITS_MISCONFIG : EXITS_VIOLATION;
}
