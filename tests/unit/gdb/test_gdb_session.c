/* SPDX-License-Identifier: MIT */
/*
 * The session of GDB with a VM of two vCPUs (gdb/gdb.c): a stop that comes while all go on again, a
 * step that is overtaken by another stop, a connection to a VM that runs, and one that the VM's end
 * answers; and breakpoints at several addresses of one byte.
 */
#include "tests/unit/support.h"

#include "tests/unit/gdb/gdb_world.h"

#include "arch/x86/serial_port.h"
#include "gdb/gdb.c"

static struct vm vm;
static struct vcpu second;
static struct visit *visiting;
static unsigned steps, held;
static bool stays; /* a vCPU is in the guest for long, although it is to be paused */
static char sent[4096];
static size_t sent_size;
static const char *to_receive = "";
static void (*at_resume)(struct vcpu *vcpu); /* what happens just after a vCPU has been resumed */

/* ---- What the session uses ------------------------------------------------------------------- */

struct vm *registry_hold(unsigned number)
{
    held++;
    return number == vm.number ? &vm : NULL;
}

void registry_release(struct vm *released)
{
    assert_ptr_equal(released, &vm);
    held--;
}

/* A visit that waits must not be begun again: the list of a vCPU's visits would be broken. */
void visit_begin(struct vcpu *vcpu, struct visit *visit)
{
    assert_null(visiting);
    visit->done = 0;
    visit->next = (struct visit *)vcpu;
    visiting = visit;
}

bool visit_is_open(const struct vcpu *vcpu)
{
    (void)vcpu;
    return true;
}

void pause_vcpu(struct vcpu *vcpu, enum pauser who)
{
    vcpu->paused |= who;
}

void resume_vcpu(struct vcpu *vcpu, enum pauser who)
{
    vcpu->paused &= ~(uint32_t)who;
    if (at_resume)
        at_resume(vcpu);
}

void pause_vm(struct vm *of, enum pauser who)
{
    for (unsigned i = 0; i < of->vcpu_count; i++)
        pause_vcpu(of->vcpus[i], who);
}

bool pause_reached(const struct vm *of)
{
    return of->vcpus[0]->paused && of->vcpus[1]->paused && !stays;
}

void watch_add(struct watch *added)
{
    (void)added;
}

void watch_soon(struct watch *soon)
{
    (void)soon;
}

bool serial2_init(void)
{
    return true;
}

int serial2_read(void)
{
    return *to_receive ? *to_receive++ : -1;
}

unsigned serial2_room(void)
{
    return SERIAL_FIFO;
}

void serial2_put(uint8_t byte)
{
    sent[sent_size++] = (char)byte;
    sent[sent_size] = 0;
}

bool serial2_is_idle(void)
{
    return true;
}

uint64_t tsc_khz(void)
{
    return 1000;
}

uint64_t extra_xcr0_supported(void)
{
    return 0;
}

bool target_is_narrow(struct vcpu *vcpu)
{
    (void)vcpu;
    return false;
}

void debugger_step(struct vcpu *vcpu, void (*over)(struct vcpu *vcpu))
{
    vcpu->debugger.stepped = over;
    steps++;
}

static unsigned said; /* lines that say that the VM waits */

void transcript_line(struct transcript *out, const char *format, ...)
{
    (void)out, (void)format;
    said++;
}

struct transcript *transcript_console(void)
{
    return NULL;
}

bool vm_end(struct vm *ended, enum vm_ending ending, const char *format, ...)
{
    (void)format;
    ended->ending = ending;
    return true;
}

/* ---- The world ------------------------------------------------------------------------------- */

/* Looks several times; the visits are made between two looks. */
static void look(void)
{
    for (unsigned i = 0; i < 64; i++) {
        struct visit *visit = visiting;
        if (visit) {
            visiting = NULL;
            visit->call((struct vcpu *)visit->next, visit->context);
            visit->done = VISIT_CALLED;
        }
        (void)gdb_look(0);
    }
}

/* Receives a packet. What is sent after it is in `sent`. */
static void receives(const char *packet)
{
    static char frame[256];
    uint8_t sum = 0;
    for (const char *c = packet; *c; c++)
        sum = (uint8_t)(sum + (uint8_t)*c);
    snprintf(frame, sizeof(frame), "$%s#%02x", packet, sum);
    to_receive = frame;
    sent_size = 0;
    sent[0] = 0;
    look();
}

static void assert_says(const char *text)
{
    if (!strstr(sent, text))
        fail_msg("\"%s\" is not in \"%s\"", text, sent);
}

static int setup_session(void **state)
{
    (void)state;
    world_begin_gdb();
    memset(&g, 0, sizeof(g));
    memset(&vm, 0, sizeof(vm));
    at_resume = NULL;
    visiting = NULL;
    stays = false;
    steps = held = said = 0;
    vm.number = 3;
    vm.vcpu_count = 2;
    vm.vcpus[0] = &vm.vcpu;
    vm.vcpus[1] = &second;
    vm.vcpu.vm = second.vm = &vm;
    second.index = 1;
    second.paused = 0;
    session_start(3);
    receives("qSupported"); /* waits for the VM */
    assert_string_equal(sent, "+");
    session_offer(&vm);
    look();
    assert_says("PacketSize=1000");
    receives("?");
    assert_says("$T05thread:1;#");
    return 0;
}

/* The VM resets itself: another one takes its place. */
static void starts_anew(void)
{
    vm.ending = VM_ENDED_EXIT;
    vm.again = true;
    look();
    vm.ending = VM_RUNNING;
    vm.again = false;
    session_offer(&vm);
    look();
}

static void says_that_it_waits(void **state)
{
    (void)state;
    assert_int_equal(said, 1);
    receives("c");
    starts_anew(); /* GDB, which waits for a stop, learns it */
    assert_says("$T05");
    assert_int_equal(said, 1);
    receives("D");
    starts_anew();
    assert_int_equal(said, 2);
}

static bool runs(void)
{
    return !vm.vcpu.paused && !second.paused;
}

/* ---- Stops ----------------------------------------------------------------------------------- */

/* The first vCPU meets a breakpoint before the second one has been resumed. */
static void stops_at_once(struct vcpu *vcpu)
{
    if (vcpu->index == 0)
        vm.debugger->stopped(vcpu, DEBUGGER_BREAKPOINT, 0);
}

static void a_stop_while_all_go_on(void **state)
{
    (void)state;
    at_resume = stops_at_once;
    receives("vCont;c");
    assert_says("$T05thread:1;swbreak:;");
    assert_true(vm.vcpu.paused && second.paused);
}

/* The second vCPU meets a breakpoint before the first one has made its step, which it makes later,
 * when GDB has asked for none. */
static void a_step_is_overtaken(void **state)
{
    (void)state;
    receives("vCont;s:1;c");
    assert_int_equal(steps, 1);
    vm.debugger->stopped(&second, DEBUGGER_BREAKPOINT, 0);
    look();
    assert_says("$T05thread:2;swbreak:;");
    receives("vCont;c");
    assert_true(runs());
    vm.debugger->stopped(&vm.vcpu, DEBUGGER_STEPPED, 0);
    look();
    assert_true(runs());
    assert_string_equal(sent, "+");
}

static void what_a_step_meets(void **state)
{
    (void)state;
    receives("Z2,2000,4");
    assert_says("$OK#");
    receives("vCont;s:1;c");
    vm.debugger->stopped(&vm.vcpu, DEBUGGER_HARDWARE, 1);
    vm.debugger->stopped(&vm.vcpu, DEBUGGER_STEPPED, 0);
    look();
    assert_says("$T05thread:1;watch:2000;");
    assert_false(runs());
    receives("vCont;s:1");
    vm.debugger->stopped(&vm.vcpu, DEBUGGER_STEPPED, 0);
    look();
    assert_says("$T05thread:1;6:");
}

/* Two vCPUs have met what is not met again. */
static void the_second_stop_is_told_later(void **state)
{
    (void)state;
    receives("Z2,2000,4");
    receives("Z4,2010,4");
    receives("vCont;c");
    vm.debugger->stopped(&vm.vcpu, DEBUGGER_HARDWARE, 1);
    vm.debugger->stopped(&second, DEBUGGER_HARDWARE, 2);
    look();
    assert_says("$T05thread:1;watch:2000;");
    receives("vCont;c");
    assert_says("$T05thread:2;awatch:2010;");
    assert_false(runs());
    receives("vCont;c");
    assert_true(runs());
}

/* N139: one instruction has accessed several watched places, of which one is in a tracked page, and
 * there is a breakpoint at the next one. GDB is told of one place at a time, and not of those that
 * it has given up, or that are in another register now. */
static void an_instruction_accesses_several(void **state)
{
    (void)state;
    receives("Z1,1000,1");
    receives("Z2,2000,4");
    receives("Z3,2010,4");
    receives("Z4,2020,4");
    receives("Z2,2031,3"); /* in no debug register */
    receives("vCont;c");
    vm.debugger->stopped(&second, DEBUGGER_HARDWARE, 15);
    vm.debugger->stopped(&second, DEBUGGER_WRITTEN, 0x2031);
    look();
    assert_says("$T05thread:2;watch:2000;");
    receives("z1,1000,1");
    receives("z2,2000,4");
    receives("z3,2010,4");
    receives("z4,2020,4");
    receives("Z4,2020,4");
    receives("Z2,2000,4");
    receives("vCont;c");
    assert_says("$T05thread:2;awatch:2020;");
    receives("vCont;s:2");
    assert_says("$T05thread:2;watch:2031;");
    assert_false(runs());
    receives("vCont;c");
    assert_true(runs());
    vm.debugger->stopped(&second, DEBUGGER_HARDWARE, 1);
    vm.debugger->stopped(&second, DEBUGGER_STEPPED, 0);
    look();
    assert_says("$T05thread:2;awatch:2020;");
    receives("vCont;c");
    assert_true(runs());
}

/* N101: a vCPU changes the slots. It does not go on before the watched memory has been looked for;
 * the VM stops only if that is not what it was. */
static void the_slots_change(void **state)
{
    (void)state;
    guest_debugs = true;
    receives("Z2,2000,40");
    receives("vCont;c");
    for (unsigned other = 0; other < 2; other++) {
        memory_at[2] = (struct mmu_memory){2 + other, 0};
        tracked[2] = 0;
        ram[0x2005] = (uint8_t)(0x90 + other);
        vm.debugger->remapped(&second);
        assert_false(runs());
        (void)gdb_look(0);
        assert_false(runs());
        look();
        assert_int_equal(tracked[2], 8);
        assert_int_equal(runs(), !other);
    }
    assert_says("$T05thread:2;watch:2000;");
    receives("vCont;c");
    vm.debugger->remapped(&second);
    to_receive = "\x03"; /* comes meanwhile */
    look();
    assert_false(runs());
    assert_says("$T02thread:2;");
}

/* ---- Connections ----------------------------------------------------------------------------- */

/* The GDB before it has been told to wait for a stop, and is gone. The new one gets its answer, and
 * nothing else. */
static void a_connection_to_a_vm_that_runs(void **state)
{
    (void)state;
    receives("vCont;c");
    assert_true(runs());
    receives("qSupported:swbreak+");
    assert_says("+$PacketSize=1000");
    assert_null(strstr(sent, "T05"));
    assert_false(runs());
    receives("m10,2");
    assert_says("$9090#");
}

static void the_vm_ends_meanwhile(void **state)
{
    (void)state;
    receives("vCont;c");
    stays = true;
    receives("qSupported");
    assert_string_equal(sent, "+");
    vm.ending = VM_ENDED_EXIT;
    look();
    assert_says("+$PacketSize=1000");
    assert_int_equal(held, 0);
}

static void a_vm_ends(void **state)
{
    (void)state;
    receives("vCont;c");
    vm.exit_value = 5;
    vm.ending = VM_ENDED_EXIT;
    look();
    assert_says("$W05#");
    assert_int_equal(held, 0);
    receives("m0,1");
    assert_says("$E01#");
    receives("vCont;c");
    assert_says("$W00#");
}

/* ---- Breakpoints ----------------------------------------------------------------------------- */

/* One byte of RAM is at two linear addresses. The INT3 stays until the last breakpoint is gone. */
static void breakpoints_at_one_byte(void **state)
{
    (void)state;
    paging = (struct gdb_paging){.cr0 = CR0_PG, .cr3 = 0x1000, .cr4 = CR4_PSE};
    for (unsigned i = 0; i < 2; i++)
        memcpy(ram + 0x1000 + 4 * i, &(uint32_t){0x81}, 4); /* 4 MiB at 0 */
    for (unsigned first = 0; first < 2; first++) {
        ram[0x2000] = 0x90;
        receives("Z0,2000,1");
        receives("Z0,402000,1");
        receives("M402000,1:55");
        receives(first ? "z0,2000,1" : "z0,402000,1");
        assert_int_equal(ram[0x2000], 0xcc);
        receives("m2000,1");
        assert_says("$55#");
        receives(first ? "z0,402000,1" : "z0,2000,1");
        assert_int_equal(ram[0x2000], 0x55);
    }
}

/* Twice this length has as many digits as there are. */
static void a_length_that_wraps(void **state)
{
    (void)state;
    receives("M2000,8000000000000001:55");
    assert_says("$E01#");
    assert_int_equal(ram[0x2000], 0x90);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(says_that_it_waits, setup_session),
        cmocka_unit_test_setup(a_stop_while_all_go_on, setup_session),
        cmocka_unit_test_setup(a_step_is_overtaken, setup_session),
        cmocka_unit_test_setup(what_a_step_meets, setup_session),
        cmocka_unit_test_setup(the_second_stop_is_told_later, setup_session),
        cmocka_unit_test_setup(an_instruction_accesses_several, setup_session),
        cmocka_unit_test_setup(the_slots_change, setup_session),
        cmocka_unit_test_setup(a_connection_to_a_vm_that_runs, setup_session),
        cmocka_unit_test_setup(the_vm_ends_meanwhile, setup_session),
        cmocka_unit_test_setup(a_vm_ends, setup_session),
        cmocka_unit_test_setup(breakpoints_at_one_byte, setup_session),
        cmocka_unit_test_setup(a_length_that_wraps, setup_session),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
