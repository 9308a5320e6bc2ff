/* SPDX-License-Identifier: MIT */
/* Client processes under a test's control: tests/e2e/participant, one command at a time. */
#ifndef E2E_ACTOR_H
#define E2E_ACTOR_H

#include "support/process.h"
#include "support/server.h"

typedef struct test_actor {
	support_process process;
	char            name[32];
	char            answer[1024]; /* to the last command */
} test_actor;

/* Start a participant that connects to `url`; its answer must be "ok". $PARTICIPANT is the program. */
void actor_start(test_actor *actor, const char *name, const char *url);
/* Let it end, or kill it; both wait. */
void actor_stop(test_actor *actor);
void actor_kill(test_actor *actor);

/* Give it a command without waiting, and take the answer later. */
void        actor_tell(test_actor *actor, const char *format, ...) __attribute__((format(printf, 2, 3)));
const char *actor_answer(test_actor *actor);
/* Both: the answer. */
const char *actor_ask(test_actor *actor, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Ask, and fail the test unless the answer is exactly, or begins with, `expected`. */
#define actor_expect(actor, expected, ...) actor_expect_at((actor), (expected), false, __FILE__, __LINE__, __VA_ARGS__)
#define actor_expect_prefix(actor, expected, ...) actor_expect_at((actor), (expected), true, __FILE__, __LINE__, __VA_ARGS__)
void actor_expect_at(test_actor *actor, const char *expected, bool prefix, const char *file, int line, const char *format, ...)
	__attribute__((format(printf, 6, 7)));

#endif
