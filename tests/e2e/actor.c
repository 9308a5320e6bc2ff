/* SPDX-License-Identifier: MIT */
#include "e2e/actor.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/eventually.h"

void actor_start(test_actor *actor, const char *name, const char *url)
{
	const char *const argv[] = {getenv("PARTICIPANT"), url, NULL};
	memset(actor, 0, sizeof *actor);
	snprintf(actor->name, sizeof actor->name, "%s", name);
	if (!argv[0] || !support_process_start(&actor->process, &(support_command){.argv = argv, .pipe_stdin = true, .pipe_stdout = true}))
		support_die("participant %s cannot be started", name);
	if (strcmp(actor_answer(actor), "ok") != 0)
		support_die("participant %s did not connect: %s", name, actor->answer);
}

void actor_stop(test_actor *actor)
{
	int status = 0;
	if (actor->process.pid <= 0)
		return;
	close(actor->process.stdin_fd);
	actor->process.stdin_fd = -1;
	if (!support_process_wait(&actor->process, SUPPORT_PATIENCE_MS, &status))
		support_die("participant %s does not end", actor->name);
	support_process_fini(&actor->process);
	assert_int_equal(status, 0);
}

void actor_kill(test_actor *actor)
{
	int status;
	support_process_signal(&actor->process, SIGKILL);
	support_process_wait(&actor->process, SUPPORT_PATIENCE_MS, &status);
	support_process_fini(&actor->process);
}

static void tell(test_actor *actor, const char *format, va_list args)
{
	char command[1000];
	int  len = vsnprintf(command, sizeof command - 1, format, args);
	command[len++] = '\n';
	command[len] = '\0';
	if (!support_write_text(actor->process.stdin_fd, command))
		support_die("participant %s takes no commands any more", actor->name);
}

void actor_tell(test_actor *actor, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	tell(actor, format, args);
	va_end(args);
}

const char *actor_answer(test_actor *actor)
{
	if (!support_read_line(actor->process.stdout_fd, actor->answer, sizeof actor->answer, SUPPORT_PATIENCE_MS))
		support_die("participant %s gives no answer", actor->name);
	return actor->answer;
}

const char *actor_ask(test_actor *actor, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	tell(actor, format, args);
	va_end(args);
	return actor_answer(actor);
}

void actor_expect_at(test_actor *actor, const char *expected, bool prefix, const char *file, int line, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	tell(actor, format, args);
	va_end(args);
	const char *answer = actor_answer(actor);
	if (prefix ? strncmp(answer, expected, strlen(expected)) != 0 : strcmp(answer, expected) != 0) {
		print_error("%s was asked '%s' and answered '%s', not '%s'\n", actor->name, format, answer, expected);
		_fail(file, line);
	}
}
