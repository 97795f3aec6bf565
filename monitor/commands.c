/* SPDX-License-Identifier: MIT */
/* The table of commands, and `help`, which prints it. Pure. */
#include "monitor/commands.h"

#include "lib/bits.h"
#include "lib/string.h"
#include "monitor/command.h"

const struct monitor_command monitor_commands[] = {
    {"help", "[COMMAND]", "lists the commands, or one of them", command_help, 'h'},
    {"vms", "", "the VMs, and what they are doing", command_vms, 'v'},
    {"vcpus", "[VM]", "its vCPUs: where they are, why they exited, what they wait for",
     command_vcpus, 'c'},
    {"vmcs", "VM.VCPU [SECTION]", "the VMCS in words: guest, host, controls, exit", command_vmcs,
     0},
    {"ept", "VM GPA", "what an address leads to: slot, page, flushes, each root's entries",
     command_ept, 0},
    {"gva", "VM.VCPU GVA", "the walk through the guest's own page tables", command_gva, 0},
    {"slots", "VM", "the memory slots", command_slots, 's'},
    {"bus", "VM", "the devices and doorbells by address", command_bus, 'b'},
    {"cache", "VM.VCPU", "the MMIO cache and the replay entries", command_cache, 0},
    {"dirty", "VM", "the dirty logs", command_dirty, 0},
    {"lapic", "VM.VCPU", "the local APIC", command_lapic, 0},
    {"ioapic", "VM", "the I/O APIC", command_ioapic, 0},
    {"virtio", "VM", "the virtio devices and their queues", command_virtio, 0},
    {"counters", "VM", "the counters, and their rates since the last time", command_counters, 'n'},
    {"memory", "", "the host's memory by owner", command_memory, 'm'},
    {"why", "VM GPA [r|w|x]", "what an access does now and why; why last, why slow: [VM.VCPU]",
     command_why, 'w'},
    {"pause", "VM[.VCPU]", "keeps a VM or a vCPU out of its guest", command_pause, 'p'},
    {"resume", "[VM[.VCPU]]", "lets it go on; without a word, all", command_resume, 'r'},
    {"step", "VM.VCPU", "a paused vCPU executes one instruction", command_step, 't'},
    {"inject", "VM.VCPU VECTOR|nmi", "sends an interrupt or an NMI", command_inject, 0},
    {"end", "VM", "ends a VM", command_end, 0},
    {"start", "GUEST", "starts a guest again that has ended, from its modules", command_start, 0},
    {"set", "WORD=VALUE", "changes trace=, escape=, on_exit=, counters= or tests=", command_set, 0},
    {"quit", "", "gives the console back, and lets VMs go on that have not begun", command_quit,
     'q'},
};
const unsigned monitor_command_count = ARRAY_SIZE(monitor_commands);

static void help_line(struct monitor_call *call, const struct monitor_command *command)
{
    char left[64];
    snprintf(left, sizeof(left), "%s%s%s", command->name, command->arguments[0] ? " " : "",
             command->arguments);
    monitor_say(call, "%c %-34s %s", command->key ? command->key : ' ', left, command->help);
}

bool command_help(struct monitor_call *call)
{
    if (!monitor_words_end(call, 2))
        return false;
    for (unsigned said = 0; said < MONITOR_LINES && call->index < monitor_command_count;
         call->index++) {
        const struct monitor_command *command = &monitor_commands[call->index];
        if (call->count > 1 && strcmp(command->name, call->words[1]))
            continue;
        help_line(call, command);
        call->value[0]++;
        said++;
    }
    if (call->index < monitor_command_count)
        return true;
    if (!call->value[0])
        monitor_say(call, "help: \"%.40s\" is no command; h lists all", call->words[1]);
    return false;
}
