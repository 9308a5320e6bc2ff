/* SPDX-License-Identifier: MIT */
#include "server/ormctl.h"

#include <argp.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/buffer.h"
#include "base/url.h"
#include "server/units.h"

#define DEFAULT_TIMEOUT_MS 10000
#define MOST_TIMEOUT_MS    3600000

enum { KEY_FORMAT = 0x1000, KEY_LIMIT, KEY_TLS_CA, KEY_TLS_CERT, KEY_TLS_NAME };

static const struct argp_option options[] = {
	{"address", 'a', "ADDRESS", 0, "The server's address: ipc:///PATH, tcp://HOST:PORT or tls+tcp://HOST:PORT", 1},
	{"database", 'd', "URL", 0, "The server of this database on this machine: " ORM_URL_KNOWN, 1},
	{"json", 'j', NULL, 0, "Answer in JSON", 2},
	{"timeout", 't', "TIME", 0, "How long to wait for the server, such as 500ms or 10s (default: 10s)", 2},
	{"format", KEY_FORMAT, "FORMAT", 0,
	 "Of schema: text, or a diagram in dot (Graphviz) or mermaid (default: text)", 2},
	{"limit", KEY_LIMIT, "N", 0, "Of pending: how many objects at most (default: 1000)", 2},
	{"tls-ca-file", KEY_TLS_CA, "FILE", 0, "For tls+tcp: certificates of those who may sign the server's (PEM)", 3},
	{"tls-cert-key-file", KEY_TLS_CERT, "FILE", 0, "For tls+tcp: own certificate and key (PEM)", 3},
	{"tls-server-name", KEY_TLS_NAME, "NAME", 0, "For tls+tcp: the name in the server's certificate", 3},
	{0},
};

typedef struct parsing {
	ormctl *ctl;
	const char *command;
} parsing;

static error_t parse_limit(ormctl *ctl, const char *text, struct argp_state *state)
{
	if (!ormd_parse_number(text, &ctl->limit) || ctl->limit < 1 || ctl->limit > INT32_MAX)
		argp_error(state, "--limit: '%s' is not a number from 1", text);
	return 0;
}

static error_t parse_timeout(ormctl *ctl, const char *text, struct argp_state *state)
{
	if (!ormd_parse_duration(text, &ctl->timeout_ms) || ctl->timeout_ms < 1 || ctl->timeout_ms > MOST_TIMEOUT_MS)
		argp_error(state, "--timeout: '%s' is not a time from 1ms to 1h, such as 500ms or 10s", text);
	return 0;
}

static error_t parse_argument(parsing *p, const char *argument, struct argp_state *state)
{
	if (!p->command)
		p->command = argument;
	else if (!p->ctl->argument)
		p->ctl->argument = argument;
	else
		argp_error(state, "'%s': too many arguments", argument);
	return 0;
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
	parsing *p = state->input;

	switch (key) {
	case 'a':
		p->ctl->address = argument;
		return 0;
	case 'd':
		p->ctl->database = argument;
		return 0;
	case 'j':
		p->ctl->json = true;
		return 0;
	case 't':
		return parse_timeout(p->ctl, argument, state);
	case KEY_FORMAT:
		p->ctl->format = argument;
		return 0;
	case KEY_LIMIT:
		return parse_limit(p->ctl, argument, state);
	case KEY_TLS_CA:
		p->ctl->tls_ca_file = argument;
		return 0;
	case KEY_TLS_CERT:
		p->ctl->tls_cert_key_file = argument;
		return 0;
	case KEY_TLS_NAME:
		p->ctl->tls_server_name = argument;
		return 0;
	case ARGP_KEY_ARG:
		return parse_argument(p, argument, state);
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* What --help says before and after the options. */
static void describe(orm_buffer *text)
{
	orm_buffer_puts(text, "Look into a running ormd. Commands:\n");
	for (const ormctl_command *command = ormctl_commands; command->name; command++) {
		char usage[32];

		snprintf(usage, sizeof usage, "%s %s", command->name, command->argument ? command->argument : "");
		orm_buffer_printf(text, "\n  %-22s%s", usage, command->help);
	}
	orm_buffer_puts(
		text,
		"\n\nOptions:\v"
		"SESSION is a shared session's name, or an id as `ormctl sessions' shows it.\n"
		"Exit status: 0 done, 1 not serving (health), 64 wrong usage, 66 no such session, 69 nobody serves "
		"there, "
		"70 the server failed, 75 no answer in time, 76 the server does not know this call, 77 not permitted.");
}

static const ormctl_command *find_command(const char *name)
{
	for (const ormctl_command *command = ormctl_commands; command->name; command++)
		if (strcmp(command->name, name) == 0)
			return command;
	return NULL;
}

static int usage(const char *text, const char *about)
{
	ormctl_fail(EX_USAGE, "%s%s", about, text);
	fputs("Try `ormctl --help' for more information.\n", stderr);
	return EX_USAGE;
}

static int run(ormctl *ctl, const char *name)
{
	const ormctl_command *command = name ? find_command(name) : NULL;
	int code;

	if (!name)
		return usage("which command?", "");
	if (!command)
		return usage(": no such command", name);
	if (!command->argument && ctl->argument)
		return usage(" takes no argument", name);
	if (command->argument && command->argument[0] != '[' && !ctl->argument)
		return usage(": which session?", name);
	if (!ctl->address == !ctl->database)
		return usage("give either --address or --database", "");

	code = ormctl_open(ctl);
	if (code == ORMCTL_OK)
		code = command->run(ctl);
	ormctl_close(ctl);
	if (fflush(stdout) != 0 && code == ORMCTL_OK)
		code = ormctl_fail(EX_IOERR, "cannot write the output");
	return code;
}

int main(int argc, char **argv)
{
	ormctl ctl = {.timeout_ms = DEFAULT_TIMEOUT_MS};
	parsing p = {.ctl = &ctl};
	orm_buffer text;
	struct argp argp = {.options = options, .parser = parse_option, .args_doc = "COMMAND [ARGUMENT]"};
	int code = EX_OSERR;

	orm_buffer_init(&text);
	describe(&text);
	argp.doc = text.data;
	argp_program_version = "ormctl " ORMD_VERSION;
	argp_err_exit_status = EX_USAGE;
	if (text.failed)
		ormctl_fail(EX_OSERR, "out of memory");
	else if (argp_parse(&argp, argc, argv, 0, NULL, &p) != 0)
		code = EX_USAGE;
	else
		code = run(&ctl, p.command);
	orm_buffer_fini(&text);
	return code;
}
