/* SPDX-License-Identifier: MIT */
/*
 * Why the vCPUs of GDB's VM have stopped. The vCPUs write it, by the functions of vm/debugger.h,
 * before they are paused; the session (gdb/gdb.c) reads it when all are. It also looks for watched
 * memory whose slot was changed, while all are paused: no vCPU goes on before that is done (rule
 * N101).
 */
#pragma once

#include <stdbool.h>

struct gdb;
struct stop;
struct visit;
struct vcpu;
struct watch;

/* Called once. A stop makes `watch` due. */
void stops_init(struct gdb *gdb, struct watch *watch);

/* Says that a step is over: for debugger_step(). */
void stops_stepped(struct vcpu *vcpu);

/* Forgets all stops: the VM is another one, or GDB has left. */
void stops_forget(void);

/* All vCPUs go on. Returns true if one has stopped since then. */
void stops_go_on(void);
bool stops_met(void);

/* Has a vCPU a stop that GDB has not been told of? */
bool stops_any(void);

/* Takes a stop of a vCPU that has one, which becomes the chosen thread. GDB learns of one watched
 * place in a message; if an instruction has accessed several, the others are the next stops, unless
 * GDB has given them up by then. */
struct stop stops_take(void);

/* Does watched memory have to be looked for? stops_follow() begins a visit of this vCPU that does a
 * piece of that; stops_lost() says that the visit has called nothing. */
bool stops_remapped(void);
void stops_follow(struct vcpu *vcpu, struct visit *visit);
void stops_lost(void);
