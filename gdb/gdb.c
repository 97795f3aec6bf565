/* SPDX-License-Identifier: MIT */
#include "gdb/session.h"

#include "arch/x86/serial.h"
#include "arch/x86/tsc.h"
#include "gdb/command.h"
#include "gdb/stops.h"
#include "gdb/target.h"
#include "lib/string.h"
#include "vm/pause.h"
#include "vm/registry.h"
#include "vm/transcript.h"
#include "vm/visit.h"
#include "vm/vm.h"
#include "vm/watch.h"
#include "vmx/extra_state.h"
#include "vmx/xcr0.h"

#define READ_MOST 64u /* bytes that one look reads at most */

enum state {
    NO_VM,     /* it has not started, has ended, or starts anew */
    STOPPED,   /* GDB's turn */
    VISITING,  /* a packet is executed in a visit */
    TELLING,   /* the registers that are sent with a stop are being read */
    ASKING,    /* the answer of a command of `monitor` is being collected */
    ARMING,    /* a vCPU is told to make a step, before all go on */
    RUNNING,   /* the VM's turn */
    STOPPING,  /* the vCPUs are leaving the guest */
    FOLLOWING, /* watched memory is looked for, after a change of the slots */
    LEAVING,   /* the VM has ended, and GDB is being told */
};

static struct {
    unsigned number;  /* of the VM */
    uint32_t offered; /* it has started and is not held yet; atomic */
    bool expected;    /* it has not started for the first time: GDB waits for it */

    enum state state;
    struct vm *vm; /* held, unless NO_VM */
    bool attached; /* GDB has sent something since it was last detached */
    bool told;     /* … and has to be told of the next stop */
    bool waiting;  /* a packet waits for the VM to be stopped */
    bool interrupted;
    bool began;      /* the VM has executed something */
    unsigned arming; /* the vCPU whose turn it is to be told */
    struct gdb gdb;
    struct wire wire;
    struct reply reply;
    char text[WIRE_PACKET];
    size_t size; /* of the packet */
    enum gdb_outcome outcome;
    struct visit visit;
    bool followed;    /* all were stopped to follow watched memory, perhaps for nothing else */
    struct stop last; /* what GDB was told last */
} g;

static uint64_t gdb_look(uint64_t now);
static struct watch watch = {.look = gdb_look};

/* ---- Threads --------------------------------------------------------------------------------- */

/* The vCPUs that do not wait for a start-up IPI. */
static void count_threads(void)
{
    g.gdb.threads = 0;
    for (unsigned i = 0; i < g.vm->vcpu_count; i++)
        g.gdb.threads |= visit_is_open(g.vm->vcpus[i]) ? BIT(i) : 0;
    if (!(g.gdb.threads & BIT(g.gdb.thread)))
        g.gdb.thread = g.gdb.threads ? (unsigned)__builtin_ctzll(g.gdb.threads) : 0;
}

/* ---- Stops ----------------------------------------------------------------------------------- */

static void begin_reply(void)
{
    g.reply = (struct reply){.text = g.text, .room = sizeof(g.text)};
}

static void send_reply(void)
{
    wire_reply(&g.wire, g.reply.text, g.reply.full ? 0 : g.reply.size);
    g.wire.no_acks = g.gdb.no_acks;
}

static void say_stop(void)
{
    bool by_gdb = g.interrupted && g.last.why == DEBUGGER_NO_STOP;
    gdb_say_stop(&g.gdb, &g.last, by_gdb, &g.reply);
}

/* GDB needs these few registers after each stop, and the others seldom. */
static void tell_call(struct vcpu *vcpu, void *context)
{
    (void)context;
    gdb_tell(&g.gdb, vcpu, &g.reply);
}

static void vm_is_stopped(void)
{
    count_threads();
    g.state = STOPPED;
    g.last = stops_take();
    if (!g.told)
        return;
    g.told = false;
    begin_reply();
    say_stop();
    g.state = TELLING;
    g.visit = (struct visit){.call = tell_call};
    visit_begin(g.vm->vcpus[g.gdb.thread], &g.visit);
}

/* ---- The VM ---------------------------------------------------------------------------------- */

static void take_vm(void)
{
    bool awaited = g.told; /* GDB has let it go on, and it starts anew */
    struct vm *held = registry_hold(g.number);
    if (!held)
        return;
    g.vm = held;
    g.expected = false;
    stops_forget();
    memset(g.gdb.breakpoints, 0, sizeof(g.gdb.breakpoints));
    memset(g.gdb.watches, 0, sizeof(g.gdb.watches));
    g.gdb.debugger.software = false;
    g.gdb.debugger.watches = g.gdb.thread = 0;
    g.gdb.watch_error = 0;
    g.gdb.description = &gdb_x86_64;
    g.gdb.avx = extra_xcr0_supported() & XCR0_AVX;
    g.state = STOPPING;
    g.interrupted = g.began = g.followed = false;
    if (!awaited)
        transcript_line(transcript_console(),
                        "# gdb: VM %u, %s, is stopped before its first instruction and waits for "
                        "GDB on COM2",
                        held->number, held->name);
}

void session_offer(struct vm *vm)
{
    vm->debugger = &g.gdb.debugger;
    pause_vm(vm, PAUSE_GDB);
    __atomic_store_n(&g.offered, 1, __ATOMIC_SEQ_CST);
    watch_soon(&watch);
}

/* A VM that is not there has no registers and no memory, and has ended if it is to go on. */
static void answer_without_vm(void)
{
    begin_reply();
    bool needs_vcpu = gdb_needs_vcpu(g.wire.packet);
    g.outcome =
        needs_vcpu ? GDB_ANSWERED : gdb_execute(&g.gdb, NULL, g.wire.packet, g.size, &g.reply);
    if (needs_vcpu)
        reply_text(&g.reply, GDB_BROKEN);
    else if (g.outcome != GDB_ANSWERED)
        reply_text(&g.reply, "W00");
    send_reply();
}

/* Tells GDB that the VM has ended. A VM that starts anew is stopped before its first instruction;
 * GDB learns that then. */
static void vm_has_ended(void)
{
    if (g.told && !g.vm->again) {
        char text[8];
        snprintf(text, sizeof(text), "W%02x", g.vm->exit_value);
        wire_reply(&g.wire, text, strlen(text));
        g.told = false;
    }
    g.state = LEAVING;
    if (g.waiting)
        answer_without_vm();
    g.waiting = false;
}

static void leave_vm(void)
{
    struct vm *vm = g.vm;
    if (wire_is_sending(&g.wire) || (g.attached && !serial2_is_idle()))
        return;
    g.vm = NULL;
    g.state = NO_VM;
    g.gdb.threads = 0;
    registry_release(vm);
}

/* ---- Going on -------------------------------------------------------------------------------- */

static void step_call(struct vcpu *vcpu, void *context)
{
    (void)context;
    debugger_step(vcpu, stops_stepped);
}

/* If a vCPU has met a watchpoint that GDB has not been told of, that is its next stop. */
static void resume_all(void)
{
    if (stops_any()) {
        vm_is_stopped();
        return;
    }
    g.interrupted = false;
    g.began = true;
    g.state = RUNNING;
    stops_go_on();
    for (unsigned i = 0; i < g.vm->vcpu_count; i++)
        if (g.gdb.actions[i] != GDB_STAY)
            resume_vcpu(g.vm->vcpus[i], PAUSE_GDB);
}

/* Tells the vCPUs that make a step, one after the other, and then lets all go on. */
static void arm_next(void)
{
    while (g.arming < g.vm->vcpu_count && g.gdb.actions[g.arming] != GDB_STEP)
        g.arming++;
    if (g.arming == g.vm->vcpu_count) {
        resume_all();
        return;
    }
    g.visit = (struct visit){.call = step_call};
    visit_begin(g.vm->vcpus[g.arming++], &g.visit);
    g.state = ARMING;
}

static void detach(void)
{
    g.attached = g.told = false;
    g.gdb.no_acks = false;
    for (unsigned i = 0; i < GDB_THREADS; i++)
        g.gdb.actions[i] = GDB_GO;
    stops_forget();
    resume_all();
}

static void begin_packet(void);

/* Called when a packet has been executed, or a part of it. */
static void packet_done(void)
{
    g.state = STOPPED;
    switch (g.outcome) {
    case GDB_RESUMES:
        g.told = true;
        g.arming = 0;
        arm_next();
        return;
    case GDB_KILLS:
        detach();
        return;
    case GDB_MONITORS:
        g.state = ASKING;
        return;
    case GDB_ASKS_WHY:
        say_stop();
        break;
    case GDB_DETACHES:
        send_reply();
        detach();
        return;
    case GDB_GOES_ON:
        begin_packet();
        return;
    case GDB_ANSWERED:
        break;
    }
    send_reply();
}

/* ---- Packets --------------------------------------------------------------------------------- */

static void packet_call(struct vcpu *vcpu, void *context)
{
    (void)context;
    g.outcome = gdb_execute(&g.gdb, vcpu, g.wire.packet, g.size, &g.reply);
    if (g.outcome != GDB_KILLS)
        return;
    g.vm->exit_value = 1;
    vm_end(g.vm, VM_ENDED_EXIT, "ended by the debugger");
}

static bool connects(void)
{
    return !strncmp(g.wire.packet, "qSupported", strlen("qSupported"));
}

/* The description of the registers is chosen when GDB connects. The mode of a guest that has not
 * begun says nothing about it. */
static void mode_call(struct vcpu *vcpu, void *context)
{
    g.gdb.description = g.began && target_is_narrow(vcpu) ? &gdb_i386 : &gdb_x86_64;
    packet_call(vcpu, context);
}

static void begin_packet(void)
{
    begin_reply();
    count_threads();
    if (!gdb_needs_vcpu(g.wire.packet) && !connects()) {
        packet_call(NULL, NULL);
        packet_done();
        return;
    }
    g.outcome = GDB_ANSWERED;
    g.visit = (struct visit){.call = connects() ? mode_call : packet_call};
    g.state = VISITING;
    visit_begin(g.vm->vcpus[g.gdb.thread], &g.visit);
}

static void take_packet(void)
{
    g.size = g.wire.size;
    g.attached = true;
    if (connects()) {
        wire_restart(&g.wire);
        g.gdb.no_acks = false;
    }
    if (g.state == STOPPED) {
        begin_packet();
    } else if ((g.state == NO_VM && !g.expected) || g.state == LEAVING) {
        answer_without_vm();
    } else if (g.state == NO_VM) {
        g.waiting = true;
    } else { /* GDB connects to a VM that runs: it is stopped first, and waits for no other stop */
        g.told = false;
        g.waiting = true;
        pause_vm(g.vm, PAUSE_GDB);
        g.state = STOPPING;
    }
}

static void take_interrupt(void)
{
    if (g.state != RUNNING)
        return;
    g.interrupted = true;
    pause_vm(g.vm, PAUSE_GDB);
    g.state = STOPPING;
}

static bool is_visiting(void)
{
    return g.state == VISITING || g.state == TELLING || g.state == ARMING || g.state == FOLLOWING;
}

/* No further byte is read before the packet has been answered, because it is in the buffer. */
static void receive(void)
{
    for (unsigned i = 0; i < READ_MOST; i++) {
        bool busy = g.waiting || is_visiting() || g.state == ASKING;
        int byte = busy ? -1 : serial2_read();
        if (byte < 0)
            return;
        enum wire_event event = wire_take(&g.wire, (uint8_t)byte);
        if (event == WIRE_PACKET_COMPLETE)
            take_packet();
        else if (event == WIRE_INTERRUPT)
            take_interrupt();
    }
}

static void transmit(void)
{
    unsigned room = wire_is_sending(&g.wire) ? serial2_room() : 0;
    for (; room && wire_is_sending(&g.wire); room--)
        serial2_put((uint8_t)wire_next(&g.wire));
}

/* A visit to a vCPU that has left meanwhile has not executed the packet. */
static void visit_over(void)
{
    if (g.state == ARMING) {
        arm_next();
        return;
    }
    if (g.state == FOLLOWING) {
        if (!visit_called(&g.visit))
            stops_lost();
        g.state = STOPPING;
        return;
    }
    if (g.state == TELLING) {
        g.state = STOPPED;
        send_reply();
        return;
    }
    if (!visit_called(&g.visit))
        reply_text(&g.reply, GDB_BROKEN);
    packet_done();
}

/* All vCPUs are out of the guest. If that was only because of a change of the slots, they go on. */
static void all_are_out(void)
{
    bool followed = g.followed;
    g.followed = stops_remapped();
    if (g.followed) {
        g.state = FOLLOWING;
        count_threads();
        stops_follow(g.vm->vcpus[g.gdb.thread], &g.visit);
    } else if (followed && !g.waiting && !g.interrupted && !stops_any()) {
        resume_all();
    } else {
        vm_is_stopped();
        if (g.waiting) {
            g.waiting = false;
            begin_packet();
        }
    }
}

static void advance(void)
{
    bool visits = is_visiting();
    if (g.state == NO_VM) {
        if (__atomic_exchange_n(&g.offered, 0, __ATOMIC_SEQ_CST))
            take_vm();
    } else if (visits && visit_done(&g.visit)) {
        visit_over();
    } else if (g.state == ASKING) {
        if (gdb_ask_monitor(&g.gdb, &g.reply))
            return;
        g.state = STOPPED;
        send_reply();
    } else if (g.state == LEAVING) {
        leave_vm();
    } else if (!visits && vm_ending(g.vm) != VM_RUNNING) {
        vm_has_ended();
    } else if (g.state == RUNNING && stops_met()) {
        pause_vm(g.vm, PAUSE_GDB); /* again: resume_all() may have resumed a vCPU after the stop */
        g.state = STOPPING;
    }
    if (g.state == STOPPING && pause_reached(g.vm))
        all_are_out();
}

static uint64_t gdb_look(uint64_t now)
{
    advance();
    receive();
    transmit();
    return now + tsc_khz();
}

/* ---- The start ------------------------------------------------------------------------------- */

void session_refuse(void)
{
    g.expected = false;
}

void session_start(unsigned number)
{
    g.number = number;
    g.expected = true;
    g.gdb.description = &gdb_x86_64;
    stops_init(&g.gdb, &watch);
    watch_add(&watch);
}
