/* SPDX-License-Identifier: MIT */
#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/error.h"
#include "server/config.h"
#include "server/config_options.h"

#define FIRST_KEY 0x1000 /* of options without a letter: no character */

typedef struct parsing {
	ormd_config *config;
	orm_status status;
	orm_error error;
} parsing;

static const ormd_option *option_of_key(int key)
{
	if (key >= FIRST_KEY && key < FIRST_KEY + (int)ormd_n_options)
		return &ormd_options[key - FIRST_KEY];
	for (size_t i = 0; i < ormd_n_options; i++)
		if (ormd_options[i].letter && ormd_options[i].letter == key)
			return &ormd_options[i];
	return NULL;
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
	parsing *p = state->input;
	const ormd_option *option = option_of_key(key);
	orm_error why = {0};

	if (key == 'c') {
		p->config->file = argument; /* argv lives as long as the process */
		return 0;
	}
	if (key == ARGP_KEY_ARG) {
		argp_error(state, "'%s': ormd takes options only", argument);
		return EINVAL;
	}
	if (!option)
		return ARGP_ERR_UNKNOWN;
	if (p->status == ORM_OK &&
	    (p->status = ormd_config_set(p->config, option->name, argument, ORMD_FROM_ARGUMENTS, &why)) != ORM_OK)
		orm_fail(&p->error, p->status, "--%s", why.message);
	return 0;
}

/* The table as argp wants it: `rows` for the options, one for -c, the headings and the end; texts in the arena. */
static bool describe_options(ormd_config *config, struct argp_option rows[2 * ORMD_MAX_OPTIONS + 3])
{
	size_t n = 0;
	int group = 1;

	rows[n++] = (struct argp_option){
		.name = "config",
		.key = 'c',
		.arg = "FILE",
		.group = group,
		.doc = "Read options from FILE: lines of NAME = VALUE with the names below. What is given here wins"};
	for (size_t i = 0; i < ormd_n_options; i++) {
		const ormd_option *option = &ormd_options[i];
		const char *help = option->help;

		if (option->heading) {
			group++;
			rows[n++] = (struct argp_option){.doc = option->heading, .group = group};
		}
		if (option->default_text)
			help = orm_arena_printf(&config->arena, "%s (default: %s)", option->help, option->default_text);
		if (!help)
			return false;
		rows[n++] = (struct argp_option){.name = option->name,
						 .key = option->letter ? option->letter : FIRST_KEY + (int)i,
						 .arg = option->argument,
						 .doc = help,
						 .group = group};
	}
	rows[n] = (struct argp_option){0};
	return true;
}

static int report(const orm_error *error, int code)
{
	fprintf(stderr, "ormd: %s\n", error->message);
	if (code == EX_USAGE)
		fputs("Try `ormd --help' for more information.\n", stderr);
	return code;
}

int ormd_config_from_arguments(ormd_config *config, int argc, char **argv)
{
	struct argp_option rows[2 * ORMD_MAX_OPTIONS + 3];
	const struct argp argp = {
		.options = rows,
		.parser = parse_option,
		.doc = "Serve the sessions of one database: programs that link liborm share its units of work.\v"
		       "The database may also be given by ORMD_DATABASE in the environment, where a password in its URL is not "
		       "seen by others; it wins over the file.\n"
		       "TIME is a number with ms, s, m or h; SIZE one with KiB, MiB, GiB or nothing.\n"
		       "SIGTERM and SIGINT end ormd once running calls have finished; a second one ends it at once.\n"
		       "Exit status: 0 clean end, 64 wrong usage, 66 no such configuration file, 69 the database or an "
		       "address "
		       "is in use or cannot be reached, 70 internal error, 71 out of memory, 75 not possible now, 77 "
		       "not permitted, "
		       "78 mistake in the configuration file.",
	};
	const char *database = getenv("ORMD_DATABASE");
	parsing p = {.config = config};
	orm_error why = {0};
	orm_status status;

	if (!describe_options(config, rows)) {
		orm_fail(&p.error, ORM_ENOMEM, "out of memory");
		return report(&p.error, EX_OSERR);
	}
	argp_program_version = "ormd " ORMD_VERSION;
	argp_err_exit_status = EX_USAGE;
	if (argp_parse(&argp, argc, argv, 0, NULL, &p) != 0)
		return EX_USAGE;
	if (p.status != ORM_OK)
		return report(&p.error, p.status == ORM_ENOMEM ? EX_OSERR : EX_USAGE);
	if (database && *database &&
	    ormd_config_set(config, "database", database, ORMD_FROM_ENVIRONMENT, &why) != ORM_OK) {
		orm_fail(&p.error, ORM_EINVAL, "ORMD_DATABASE: %s", why.message);
		return report(&p.error, EX_USAGE);
	}
	status = config->file ? ormd_config_load(config, config->file, &p.error) : ORM_OK;
	if (status != ORM_OK)
		return report(&p.error, status == ORM_ENOTFOUND ? EX_NOINPUT
					: status == ORM_ENOMEM  ? EX_OSERR
								: EX_CONFIG);
	if (ormd_config_check(config, &p.error) != ORM_OK)
		return report(&p.error, config->file ? EX_CONFIG : EX_USAGE);
	return 0;
}
