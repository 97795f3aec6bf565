/* SPDX-License-Identifier: MIT */
/*
 * The cost of what a kernel does all the time with its devices, from the first instruction for it
 * to the last: a frame sent by the network device, one that is answered by another VM, and one that
 * is received; a read of the virtio disk, a character of the console, and a tick of the timer, with
 * their interrupts: `make bench-io`.
 *
 * With the argument `beside`, the VM measures nothing, and answers each frame. Otherwise it is
 * halted, so that it takes no time on the CPU that both VMs share.
 */
#include "guest/programs/bench/measure.h"
#include "guest/programs/disk/driver.h"
#include "guest/programs/net/driver.h"
#include "guest/programs/rt/apic.h"

#define SAMPLES      100u
#define IOAPIC       0xfec00000u
#define PIN_UART     4u
#define VECTOR_UART  0x61u
#define VECTOR_TIMER 0x62u
#define LVT_DEADLINE BIT(18)
#define LVT_MASKED   BIT(16)

#define UART_IER     1
#define UART_IIR     2
#define UART_MCR     4
#define IER_TRANSMIT 2u
#define MCR_OUT2     0x08u /* without it, no interrupt leaves the UART */

/* Prints a row with the cost of one run of `run`, and one with its number of exits. */
static void io_row(const char *name, const char *exits_name, step_t prepare, step_t run,
                   step_t idle)
{
    row(name, prepare, run, idle, 0, 1, SAMPLES);
    prepare(0);
    uint64_t asking = counter(COUNTER_EXITS);
    uint64_t before = counter(COUNTER_EXITS);
    run(0);
    uint64_t after = counter(COUNTER_EXITS);
    print("BENCH %s %lu exits\n", exits_name, after - before - (before - asking));
}

/* ---- The timer's interrupt ------------------------------------------------------------------- */

static volatile unsigned expirations;

static void timer_interrupt(struct frame *frame)
{
    (void)frame;
    expirations++;
    apic_write(APIC_REG_EOI, 0);
}

static void start_timer(void)
{
    apic_write(APIC_REG_SVR, 0x1ff);
    apic_write(APIC_REG_TIMER, LVT_DEADLINE | VECTOR_TIMER);
    set_handler(VECTOR_TIMER, timer_interrupt);
}

static void stop_timer(void)
{
    apic_write(APIC_REG_TIMER, LVT_MASKED);
}

/* ---- The network ---------------------------------------------------------------------------- */

#define GOODBYE   0u /* numbers of frames: VMs send no others */
#define HELLO     1u
#define QUESTION  2u
#define LONG_TIME 1000000000ull

static unsigned peer; /* the other VM */
static struct packet *question;
static const struct packet *answer;

/* Sends broadcasts until the other VM answers, which may start later. */
static void meet(void)
{
    uint64_t again = 0, end = rdtsc() + LONG_TIME, turns = hc_config(CONFIG_TSC_KHZ) * 40;
    net_start();
    while (!answer && rdtsc() < end) {
        if (rdtsc() >= again) {
            net_send(net_packet(0, HELLO));
            again = rdtsc() + turns; /* for a slice of 10 ms of each VM, or two */
        }
        answer = net_received();
    }
    if (EXPECT(answer)) {
        EXPECT_EQ(answer->number, HELLO);
        peer = net_sender(answer);
        net_return(answer);
    }
    net_take_interrupts();
}

static void prepare_send(uint64_t at)
{
    (void)at;
    question = net_packet(net_own(), QUESTION);
}

static void run_send(uint64_t at)
{
    (void)at;
    net_send(question);
}

static void prepare_question(uint64_t at)
{
    (void)at;
    question = net_packet(peer, QUESTION);
}

/* The buffer goes back without a notification: the device has others. */
static void run_round_trip(uint64_t at)
{
    (void)at;
    net_send(question);
    answer = net_wait();
    net_return(answer);
}

#define TIME_TO_ANSWER 200000u /* ticks in which the other VM has answered */

/* The device has no buffer, so that the answer waits at the switch. This VM sleeps until then. */
static void prepare_receive(uint64_t at)
{
    unsigned before = expirations;
    (void)at;
    net_send(net_packet(peer, QUESTION));
    wrmsr(MSR_TSC_DEADLINE, rdtsc() + TIME_TO_ANSWER);
    while (expirations == before)
        __asm__ volatile("sti; hlt; cli" : : : "memory");
    EXPECT(!net_received());
}

/* The device gets one buffer, and has put the frame into it when the notification returns. */
static void run_receive(uint64_t at)
{
    (void)at;
    net_return(answer);
    net_notify(RECEIVE);
    answer = net_received();
}

static void receive(void)
{
    for (unsigned i = 0; i < NET_BUFFERS; i++) {
        net_send(net_packet(peer, QUESTION));
        answer = net_wait();
    }
    net_refuse_interrupts();
    start_timer();
    unsigned before = net_interrupts;
    io_row("net_receive", "net_receive_exits", prepare_receive, run_receive, nothing);
    EXPECT_EQ(net_interrupts, before);
    EXPECT_EQ(answer->number, QUESTION);
    stop_timer();
}

static void network(void)
{
    meet();
    if (!peer)
        return;
    io_row("net_send", "net_send_exits", prepare_send, run_send, nothing);
    EXPECT_EQ(net_interrupts, 0);
    io_row("net_round_trip", "net_round_trip_exits", prepare_question, run_round_trip, nothing);
    EXPECT_EQ(net_interrupts, SAMPLES + 1);
    EXPECT_EQ(answer->number, QUESTION);
    receive();
}

/* What the end of the other VM costs is in no row. */
static void leave(void)
{
    net_send(net_packet(peer, GOODBYE));
}

static void beside(void)
{
    uint32_t number;
    net_start();
    net_take_interrupts();
    do {
        const struct packet *packet = net_wait();
        number = packet->number;
        peer = net_sender(packet);
        net_return(packet);
        net_send(net_packet(peer, number));
    } while (number != GOODBYE);
}

/* ---- The disk -------------------------------------------------------------------------------- */

static void prepare_read(uint64_t at)
{
    disk_request(0, 8 * (at % 4), 4096);
}

/* The driver asks for no interrupt, and looks at the status. */
static void run_read(uint64_t at)
{
    (void)at;
    disk_offer(1);
    disk_set_reg(QUEUE_NOTIFY, 0);
    while (status)
        ;
}

static void idle_read(uint64_t at)
{
    (void)at;
    disk_offer(1);
    available.index--;
}

/* The driver waits for the interrupt. */
static void run_read_interrupt(uint64_t at)
{
    unsigned before = interrupts;
    (void)at;
    disk_offer(1);
    disk_set_reg(QUEUE_NOTIFY, 0);
    __asm__ volatile("sti" : : : "memory");
    while (interrupts == before)
        ;
    __asm__ volatile("cli" : : : "memory");
}

static void disk(void)
{
    disk_take_interrupts();
    disk_start(0);
    available.flags = 1;
    io_row("blk_read_4k", "blk_read_4k_exits", prepare_read, run_read, idle_read);
    EXPECT_EQ(status, 0);
    EXPECT_EQ(interrupts, 0);
    available.flags = 0;
    io_row("blk_read_4k_interrupt", "blk_read_4k_interrupt_exits", prepare_read, run_read_interrupt,
           idle_read);
    EXPECT_EQ(status, 0);
    EXPECT(interrupts > SAMPLES);
}

/* ---- The console ----------------------------------------------------------------------------- */

static volatile unsigned characters;

/* As a driver does, it asks for the reason, and sends the next character. */
static void uart_interrupt(struct frame *frame)
{
    (void)frame;
    if ((inb(PORT_UART + UART_IIR) & 0xf) == 2)
        characters++;
    apic_write(APIC_REG_EOI, 0);
}

static void run_character(uint64_t at)
{
    unsigned before = characters;
    outb(PORT_UART, (uint8_t)('a' + at % 26));
    __asm__ volatile("sti" : : : "memory");
    while (characters == before)
        ;
    __asm__ volatile("cli" : : : "memory");
}

static void idle_character(uint64_t at)
{
    (void)at;
}

/* The characters are printed as comments. */
static void console(void)
{
    uint8_t modem = inb(PORT_UART + UART_MCR);
    set_handler(VECTOR_UART, uart_interrupt);
    write32(IOAPIC, 0x10 + 2 * PIN_UART);
    write32(IOAPIC + 0x10, VECTOR_UART);
    print("# ");
    outb(PORT_UART + UART_MCR, modem | MCR_OUT2);
    outb(PORT_UART + UART_IER, IER_TRANSMIT);
    __asm__ volatile("sti; nop; cli" : : : "memory"); /* the transmitter is empty */
    unsigned before = characters;
    uint32_t gross = measure(nothing, run_character, 0, 1, SAMPLES);
    uint64_t asking = counter(COUNTER_EXITS);
    uint64_t exits = counter(COUNTER_EXITS);
    run_character(0);
    asking = exits - asking;
    exits = counter(COUNTER_EXITS) - exits - asking;
    outb(PORT_UART + UART_IER, 0);
    outb(PORT_UART + UART_MCR, modem);
    print("\n");
    EXPECT_EQ(characters - before, SAMPLES + 1);
    uint32_t empty = measure(nothing, idle_character, 0, 1, SAMPLES);
    print_row("console_character", gross - empty, 1);
    print("BENCH console_character_exits %lu exits\n", exits);
}

/* ---- The timer ------------------------------------------------------------------------------- */

#define WAIT 3000u /* ticks until the timer expires: more than it takes to arm it */

/* Arms the timer, and waits for its interrupt. */
static void run_tick(uint64_t at)
{
    unsigned before = expirations;
    (void)at;
    __asm__ volatile("sti" : : : "memory");
    wrmsr(MSR_TSC_DEADLINE, rdtsc() + WAIT);
    while (expirations == before)
        ;
    __asm__ volatile("cli" : : : "memory");
}

/* Waits as long without the timer. */
static void idle_tick(uint64_t at)
{
    uint64_t end = rdtsc() + WAIT;
    (void)at;
    while (rdtsc() < end)
        ;
}

/* What it costs to arm the timer is a part of WAIT, and is added. */
static void tick(void)
{
    uint64_t least = UINT64_MAX;
    start_timer();
    for (unsigned i = 0; i < SAMPLES; i++) {
        uint64_t start = rdtsc();
        wrmsr(MSR_TSC_DEADLINE, start + BIT(28));
        uint64_t cost = rdtsc() - start;
        least = cost < least ? cost : least;
    }
    unsigned before = expirations;
    uint32_t gross = measure(nothing, run_tick, 0, 1, SAMPLES);
    uint32_t empty = measure(nothing, idle_tick, 0, 1, SAMPLES);
    EXPECT_EQ(expirations - before, SAMPLES);
    EXPECT(gross > empty);
    print_row("timer_tick", gross - empty + (uint32_t)least, 1);
    uint64_t fewest = ~0ull; /* without the end of a slice, which can come at any time */
    for (unsigned i = 0; i < 8; i++) {
        uint64_t asking = counter(COUNTER_EXITS);
        uint64_t exits = counter(COUNTER_EXITS);
        run_tick(0);
        uint64_t after = counter(COUNTER_EXITS);
        uint64_t count = after - exits - (exits - asking);
        fewest = count < fewest ? count : fewest;
    }
    print("BENCH timer_tick_exits %lu exits\n", fewest);
    stop_timer();
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"network", network, NEED_TESTCTL},
        {"disk", disk, NEED_TESTCTL},
        {"console", console, NEED_TESTCTL},
        {"tick", tick, NEED_TESTCTL},
        {"leave", leave, 0},
    };
    static const struct test others[] = {{"beside", beside, 0}};
    if (*rt_args == 'b')
        run_tests(others, 1);
    else
        run_tests(tests, ARRAY_SIZE(tests));
}
