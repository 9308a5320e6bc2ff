/* SPDX-License-Identifier: MIT */
/* The table of options, for config*.c. */
#ifndef ORMD_SERVER_CONFIG_OPTIONS_H
#define ORMD_SERVER_CONFIG_OPTIONS_H

#include <stddef.h>
#include <stdint.h>

typedef enum ormd_option_kind {
	ORMD_OPTION_TEXT,     /* const char * */
	ORMD_OPTION_DATABASE, /* const char *, a URL that some driver knows */
	ORMD_OPTION_LISTEN,   /* the list of addresses */
	ORMD_OPTION_ADDRESS,  /* const char *, an address */
	ORMD_OPTION_REPLICA,  /* the list of replicas */
	ORMD_OPTION_BOOL,     /* bool */
	ORMD_OPTION_LEVEL,    /* int32_t */
	ORMD_OPTION_U32,      /* uint32_t */
	ORMD_OPTION_MODE,     /* uint32_t, written in octal */
	ORMD_OPTION_DURATION, /* int64_t, milliseconds */
	ORMD_OPTION_SIZE,     /* size_t, bytes */
	ORMD_OPTION_FD,       /* int */
	ORMD_OPTION_PID       /* int64_t */
} ormd_option_kind;

typedef struct ormd_option {
	const char *heading;  /* of the group that begins here in --help, or NULL */
	const char *name;     /* on the command line with two dashes before */
	int letter;           /* short option, or 0 */
	const char *argument; /* what --help calls its value */
	ormd_option_kind kind;
	size_t offset;            /* in ormd_config */
	int64_t min, max;         /* of numbers */
	const char *default_text; /* as one would write it; NULL: unset */
	const char *help;
} ormd_option;

extern const ormd_option ormd_options[];
extern const size_t ormd_n_options;

#endif
