/* SPDX-License-Identifier: MIT */
/*
 * ormctl: a look into a running ormd. It speaks to the services Admin, Health and Reflection and knows nothing of
 * liborm.
 *
 * Files: ormctl (options, commands by name), ormctl_client (finding the server, calling), ormctl_commands (what each
 * command asks and shows), ormctl_show (tables, times and sizes for people), ormctl_json (any message as JSON),
 * schema_text (models as text and diagrams).
 */
#ifndef ORMD_SERVER_ORMCTL_H
#define ORMD_SERVER_ORMCTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/discovery.h"
#include "rpc/rpc.h"

/* Exit codes, as far as sysexits.h has no better ones. */
enum {
	ORMCTL_OK = 0,
	ORMCTL_NO = 1 /* the server answered, and the answer is no */
};

typedef struct ormctl {
	/* What was asked for: */
	const char *address; /* one of these two */
	const char *database;
	const char *format; /* of schema */
	const char *tls_ca_file, *tls_cert_key_file, *tls_server_name;
	int64_t timeout_ms;
	int64_t limit; /* of pending */
	bool json;
	const char *argument; /* of the command, or NULL */

	char found[ORM_DISCOVERY_ADDRESS_SIZE]; /* the server's address */
	int64_t deadline_us;
	rpc_channel *channel;
	orm_arena arena; /* replies */
} ormctl;

/* ---- ormctl_client ---- */

/* Find the server and connect. 0, or an exit code after the reason has been written to standard error. */
int ormctl_open(ormctl *ctl);
void ormctl_close(ormctl *ctl);

/*
 * One call; the reply lives in ctl->arena. The same results. `reply` NULL on failure. NOT_FOUND is not reported if
 * `absent` is not NULL: it becomes true, and the result is EX_NOINPUT.
 */
int ormctl_call(ormctl *ctl, const ProtobufCServiceDescriptor *service, const char *method,
		const ProtobufCMessage *request, ProtobufCMessage **reply, bool *absent);

/* Write "ormctl: ..." to standard error; returns `code`. */
int ormctl_fail(int code, const char *format, ...) ORM_PRINTF(2, 3);

/* ---- ormctl_commands ---- */

typedef struct ormctl_command {
	const char *name;
	const char *argument; /* its name for --help, in brackets if it may be left out; NULL: none */
	const char *help;
	int (*run)(ormctl *ctl); /* an exit code */
} ormctl_command;

extern const ormctl_command ormctl_commands[]; /* ends with a NULL name */

/* ---- ormctl_show ---- */

/* A table of text, printed with its columns aligned. A heading that begins with '>' aligns its column to the right. */
typedef struct ormctl_table {
	const char *const *headings;
	size_t n_columns;
	char **cells; /* owned, row by row */
	size_t n_cells;
	bool failed; /* out of memory; sticks */
} ormctl_table;

void ormctl_table_init(ormctl_table *table, const char *const *headings, size_t n_columns); /* headings borrowed */
void ormctl_table_fini(ormctl_table *table);
void ormctl_table_add(ormctl_table *table, const char *format, ...) ORM_PRINTF(2, 3); /* one cell */
int ormctl_table_print(const ormctl_table *table);                                    /* an exit code */

#define ORMCTL_TEXT_SIZE 32
const char *ormctl_duration(uint64_t milliseconds, char text[ORMCTL_TEXT_SIZE]); /* "3m12s" */
const char *ormctl_size(uint64_t bytes, char text[ORMCTL_TEXT_SIZE]);            /* "1.2 MiB" */

/* Text from the server as a terminal may have it: control characters become '?'. In `arena`; "" for NULL. */
const char *ormctl_clean(const char *text, orm_arena *arena);

/* ---- ormctl_json ---- */

/*
 * A message, with its fields' own names. Fields that are absent are left out, lists are always there; ids (fixed64) are
 * strings of 16 hexadecimal digits, since not every reader of JSON can count that far. Written to standard output; an
 * exit code.
 */
int ormctl_print_json(const ProtobufCMessage *message);

#endif
