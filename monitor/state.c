/* SPDX-License-Identifier: MIT */
/* `vmcs` and `cache`: what a vCPU holds. */
#include "lib/string.h"
#include "mmio/vcpu.h"
#include "monitor/command.h"
#include "monitor/commands.h"
#include "vm/vm.h"
#include "vmx/dump.h"
#include "vmx/vmcs.h"
#include "vmx/vmx.h"

/* ---- vmcs ------------------------------------------------------------------------------------ */

static const struct {
    const char *name;
    enum vmcs_section section;
} sections[] = {
    {"guest", VMCS_GUEST_STATE},
    {"host", VMCS_HOST_STATE},
    {"controls", VMCS_CONTROL},
    {"exit", VMCS_EXIT_INFO},
};

/* Chooses the sections: call->value[0] is the next one, call->value[1] the one after the last. */
static bool vmcs_sections(struct monitor_call *call)
{
    call->value[1] = ARRAY_SIZE(sections);
    if (call->count < 3)
        return true;
    for (unsigned i = 0; i < ARRAY_SIZE(sections); i++) {
        if (!strcmp(sections[i].name, call->words[2])) {
            call->value[0] = i;
            call->value[1] = i + 1;
            return true;
        }
    }
    monitor_say(call, "vmcs: \"%s\" is no section; guest, host, controls or exit is expected",
                call->words[2]);
    return false;
}

static uint64_t vmcs_get(void *context, uint32_t field)
{
    (void)context;
    return vmread(field);
}

static void vmcs_line(void *context, const char *line)
{
    monitor_say(context, "%s", line);
}

static void look_at_vmcs(struct monitor_call *call, struct vcpu *vcpu)
{
    const struct vmcs_dump dump = {
        .read = vmcs_get, .say = vmcs_line, .ctx = call, .msrs = &vmx.msrs};
    unsigned at = (unsigned)call->index;
    (void)vcpu;
    bool more = vmcs_dump_piece(&dump, sections[call->value[0]].section, &at);
    call->index = more ? at : 0;
    call->value[0] += !more;
}

bool command_vmcs(struct monitor_call *call)
{
    if (!call->vm && (!monitor_words_end(call, 3) || !monitor_vcpu(call, 1) ||
                      !monitor_may_look(call, "registers") || !vmcs_sections(call)))
        return false;
    if (!monitor_visit(call, look_at_vmcs))
        return true;
    return monitor_seen(call) && call->value[0] < call->value[1];
}

/* ---- cache ----------------------------------------------------------------------------------- */

#define REPLAYS_AT_ONCE 12u

/* Which of the values that only the hypervisor changes do not hold any more. */
static const char *replay_state(const struct vcpu *vcpu, const struct replay *replay)
{
    const struct mmu *mmu = &vcpu->vm->mmu;
    if (replay->bus_sequence != bus_sequence(&vcpu->vm->mmio_bus))
        return "a miss: the bus has changed";
    if (replay->flags & REPLAY_BELL)
        return "a doorbell";
    if (replay->generation != mmu_slot_generation(mmu))
        return "a miss at first: the slots have changed";
    if (replay->sequence != mmu_invalidate_sequence(mmu))
        return "a miss at first: pages have left the guest";
    return "a hit, if the guest's code, tables and registers are as they were";
}

static void say_cache(struct monitor_call *call, const struct vcpu *vcpu)
{
    static const char *const modes[] = {"off", "exits", "verify"};
    const struct mmio_cache *cache = &vcpu->mmio.cache;
    uint64_t generation = mmu_slot_generation(&vcpu->vm->mmu);
    unsigned data = 0, code = 0, decoded = 0, ranges = 0;
    for (unsigned i = 0; i < MMIO_CACHED_WALKS; i++) {
        data += cache->data[i].page != CACHED_WALK_EMPTY;
        code += cache->code[i].page != CACHED_WALK_EMPTY;
    }
    for (unsigned i = 0; i < MMIO_DECODED; i++)
        decoded += cache->decoded[i].insn.code != DECODED_EMPTY;
    for (unsigned i = 0; i < MMIO_BUS_RANGES; i++)
        ranges += cache->ranges[i].hint.sequence != 0;
    if (cache->generation && cache->generation != GENERATION_NEVER)
        monitor_say(call, "  MMIO cache: GPA %#lx is MMIO in generation %#lx, %s",
                    cache->alias.v << PAGE_SHIFT, cache->generation,
                    cache->generation == generation ? "which is the slots' now" : "which is over");
    else
        monitor_say(call, "  MMIO cache: empty");
    monitor_say(call,
                "  gva_cache=%s: walks of %u data and %u code pages, %u decoded instructions, "
                "%u ranges of the bus",
                modes[cache->mode], data, code, decoded, ranges);
}

static void look_at_cache(struct monitor_call *call, struct vcpu *vcpu)
{
    unsigned said = 0;
    if (!call->index)
        say_cache(call, vcpu);
    for (; call->index < MMIO_REPLAYS && said < REPLAYS_AT_ONCE; call->index++) {
        const struct replay *replay = &vcpu->mmio.replays.entry[call->index];
        if (replay->rip == REPLAY_NONE)
            continue;
        monitor_say(call, "  replay %2lu: RIP %#lx accesses GPA %#lx, CR3 %#lx: %s", call->index,
                    replay->rip, replay->gpa.v, replay->cr3, replay_state(vcpu, replay));
        said++;
        call->value[0]++;
    }
    if (call->index == MMIO_REPLAYS && !call->value[0])
        monitor_say(call, "  no replay entries");
}

bool command_cache(struct monitor_call *call)
{
    if (!call->vm && (!monitor_words_end(call, 2) || !monitor_vcpu(call, 1) ||
                      !monitor_may_look(call, "registers")))
        return false;
    if (!monitor_visit(call, look_at_cache))
        return true;
    return monitor_seen(call) && call->index < MMIO_REPLAYS;
}
