/* SPDX-License-Identifier: MIT */
/* `why`: why an access does what it does, why a vCPU exited, why its last MMIO access was slow. */
#include "arch/x86/tsc.h"
#include "arch/x86/unprivileged.h"
#include "lib/string.h"
#include "mmio/replay.h"
#include "monitor/command.h"
#include "monitor/commands.h"
#include "monitor/look.h"
#include "monitor/why_exit.h"
#include "monitor/why_text.h"
#include "mmu/spte.h"
#include "vm/td.h"
#include "vm/td_exit.h"
#include "vm/vm.h"
#include "vmx/errors.h"

/* ---- An access ------------------------------------------------------------------------------- */

static const char *const access_words[] = {"r", "w", "x"};
static const uint64_t access_rights[] = {EPT_READ, EPT_WRITE, EPT_EXECUTE};

/* The right that the word means, or 0. */
static uint64_t access_named(const char *word)
{
    for (unsigned i = 0; i < ARRAY_SIZE(access_words); i++)
        if (!strcmp(word, access_words[i]))
            return access_rights[i];
    return 0;
}

bool monitor_gpa(struct monitor_call *call, unsigned index, uint64_t *gpa)
{
    unsigned bits =
        spte_format.caps.maxphyaddr < EPT_GPA_BITS ? spte_format.caps.maxphyaddr : EPT_GPA_BITS;
    return monitor_number(call, index, "GPA", 0, BIT(bits) - 1, gpa);
}

/* `why GPA [r|w|x]` is about the only VM, `why VM GPA [r|w|x]` about that one. */
static bool access_begin(struct monitor_call *call)
{
    bool given = access_named(call->words[call->count - 1]);
    unsigned words = call->count - given;
    unsigned gpa = words > 2 ? 2 : 1, access = gpa + 1;
    call->value[1] = given ? access_named(call->words[call->count - 1]) : EPT_READ;
    if (words > access + 1 || (words == access + 1 && given))
        return monitor_words_end(call, access + 1);
    if (words == access + 1) {
        monitor_say(call, "why: \"%s\" is no access: r, w or x is expected", call->words[access]);
        return false;
    }
    return monitor_vm(call, gpa == 2 ? 1 : MONITOR_WORDS) &&
           monitor_gpa(call, gpa, &call->value[0]);
}

/* What a TD may be asked whether or not it is a debug TD: the state of a page is no secret of its.
 */
static void say_td(struct monitor_call *call, gpa_t gpa, uint64_t access)
{
    struct vm *vm = call->vm;
    bool shared = gpa.v & td_shared_bit(vm->td);
    enum td_page_state state = td_page_state(vm, gfn_to_gpa(mmu_gfn(&vm->mmu, gpa)));
    uint64_t td_ctls = __atomic_load_n(&vm->td->td_ctls, __ATOMIC_RELAXED);
    enum td_why why = td_gpa_is_reserved(vm->td, gpa) ? TD_WHY_RESERVED
                      : shared ? td_shared_why(state, access | QUALIFICATION_FINAL)
                               : td_private_why(state, td_ctls);
    monitor_say(call, "VM %u %s is a TD, and GPA %#lx is a %s address of it; the page is %s.",
                vm->number, vm->name, gpa.v, shared ? "shared" : "private",
                td_page_state_name(state));
    if (state == TD_PAGE_ACCEPTED && !shared)
        monitor_say(call,
                    "The TD has accepted the page, and accesses it without an exit unless the "
                    "secure side is changing it.");
    else
        monitor_say(call, "An access that exits ends as follows: %s%s.",
                    why > TD_WHY_RESERVED ? "the TD is stopped, because " : "", td_why_rule(why));
}

/* The vCPUs may be changing their caches meanwhile, so this is a hint. */
static void say_caches(struct monitor_call *call, gpa_t gpa)
{
    struct vm *vm = call->vm;
    uint64_t generation = mmu_slot_generation(&vm->mmu);
    char list[60] = "";
    size_t used = 0;
    for (unsigned i = 0; i < vm->vcpu_count && used < sizeof(list); i++)
        if (mmio_cache_hit(&vm->vcpus[i]->mmio.cache, gpa, generation))
            used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%u", used ? ", " : "", i);
    if (used)
        monitor_say(call,
                    "In the MMIO cache of vCPU %s, the frame has this generation: there step 2 of "
                    "the flow answers a misconfiguration.",
                    list);
}

static bool why_access(struct monitor_call *call)
{
    struct mmu_why why;
    if (!call->vm && !access_begin(call))
        return false;
    struct vm *vm = call->vm;
    gpa_t gpa = GPA(call->value[0]);
    monitor_begin_look(call);
    if (!call->step && vm->td)
        say_td(call, gpa, call->value[1]);
    if (!call->step && monitor_may_show(vm)) {
        mmu_why(&vm->mmu, gpa, call->value[1], &why);
        why_say_access(call, &vm->mmu, &vm->mmio_bus, &why);
    } else if (call->step) {
        say_caches(call, gpa);
        why_say_debts(call, &vm->mmu);
    }
    monitor_end_look(call);
    return !call->step++;
}

/* ---- The last exit --------------------------------------------------------------------------- */

#define LAST_WAIT_MS 1000u /* for the next exit of a vCPU that was not watched */

enum { LAST_LOOKS, LAST_WAITS, LAST_SAYS };

static void look_at_last(struct monitor_call *call, struct vcpu *vcpu)
{
    struct last_exit exit;
    if (last_exit_read(vcpu, &exit) || (exit = vcpu->last).valid)
        why_say_last(call, &exit);
    else if (call->step == LAST_SAYS)
        monitor_say(call, "The vCPU has not exited since, but for kicks.");
    else
        call->value[1] = true;
    last_exit_watch(vcpu);
}

/* If the vCPU runs and has not been watched, its next exit is awaited. */
static bool why_last(struct monitor_call *call)
{
    struct vcpu *vcpu = call->vcpu;
    if (!vcpu && (!monitor_words_end(call, 3) || !monitor_vcpu(call, 2) ||
                  !monitor_may_look(call, "registers")))
        return false;
    vcpu = call->vcpu;
    if (call->step == LAST_WAITS) {
        bool noted = __atomic_load_n(&vcpu->last.valid, __ATOMIC_ACQUIRE);
        call->waits = !noted;
        if (noted || rdtsc() >= call->value[0])
            call->step = LAST_SAYS;
        return true;
    }
    if (!monitor_visit(call, look_at_last))
        return true;
    if (!monitor_seen(call) || !call->value[1] || call->step == LAST_SAYS)
        return false;
    monitor_say(call, "The last exit was the kick of this question; from now on the vCPU is "
                      "watched. Its next exit:");
    call->step = LAST_WAITS;
    call->value[0] = rdtsc() + (uint64_t)LAST_WAIT_MS * tsc_khz();
    return true;
}

/* ---- The last miss --------------------------------------------------------------------------- */

static void look_at_miss(struct monitor_call *call, struct vcpu *vcpu)
{
    why_say_miss(call, &vcpu->mmio);
}

static bool why_slow(struct monitor_call *call)
{
    if (!call->vcpu && (!monitor_words_end(call, 3) || !monitor_vcpu(call, 2) ||
                        !monitor_may_look(call, "registers")))
        return false;
    if (!monitor_visit(call, look_at_miss))
        return true;
    monitor_seen(call);
    return false;
}

bool command_why(struct monitor_call *call)
{
    if (call->count > 1 && !strcmp(call->words[1], "last"))
        return why_last(call);
    if (call->count > 1 && !strcmp(call->words[1], "slow"))
        return why_slow(call);
    return why_access(call);
}
