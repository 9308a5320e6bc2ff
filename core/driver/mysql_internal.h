/* SPDX-License-Identifier: MIT */
/* What the files of the MySQL/MariaDB driver share. */
#ifndef ORMD_DRIVER_MYSQL_INTERNAL_H
#define ORMD_DRIVER_MYSQL_INTERNAL_H

#include <mysql.h>
#include <mysqld_error.h>
#include <errmsg.h>
#include <stdatomic.h>

#include "driver/driver.h"
#include "driver/statement_cache.h"

/* ---- URLs --------------------------------------------------------------------------------------------------- */

#define ORMD_MYSQL_MAX_HOSTS 16

typedef struct mysql_host {
	const char *name; /* "": this machine */
	unsigned port;    /* 0: not given */
} mysql_host;

/* A URL in its parts, decoded; the text is in the arena. NULL: not given. */
typedef struct mysql_url {
	orm_arena arena;
	const char *user;
	const char *password;
	const char *database;
	const char *socket;
	const char *tls_ca;
	const char *tls_cert;
	const char *tls_key;
	bool tls;
	bool tls_verify;
	unsigned connect_timeout_s;
	unsigned wsrep_sync_wait;
	size_t n_hosts; /* at least 1 */
	mysql_host hosts[ORMD_MYSQL_MAX_HOSTS];
} mysql_url;

orm_status ormd_mysql_url_parse(const char *text, mysql_url *url, orm_error *error);
void ormd_mysql_url_fini(mysql_url *url);

/* ---- connections -------------------------------------------------------------------------------------------- */

/* A parameter's value in the form that the library takes it in. */
typedef struct mysql_parameter {
	union {
		int8_t tiny;
		int32_t integer;
		int64_t big;
		double number;
		MYSQL_TIME time;
	} cell;
	unsigned long size; /* of text and bytes */
	my_bool is_null;
	char indicator; /* the same for many rows at once */
} mysql_parameter;

typedef struct mysql_statement mysql_statement;
struct mysql_statement {
	ormd_cached_statement base;
	MYSQL_STMT *handle;
	MYSQL_BIND *binds; /* one for each parameter */
	mysql_parameter *parameters;
	size_t n_parameters;
	char sql[];
};

typedef struct mysql_cursor mysql_cursor;

typedef struct mysql_connection {
	ormd_connection base;
	MYSQL *handle;
	mysql_url url;
	size_t host;     /* the one of url.hosts that it leads to */
	uint64_t id;     /* the server's number of this session; 0: not known yet */
	char server[17]; /* which server, in this one of its lives */
	bool is_cluster; /* a node of Galera */
	bool read_only;
	bool timeout_undoes_all; /* innodb_rollback_on_timeout */
	bool in_transaction;
	bool autocommit;       /* as the server has it */
	bool guards_snapshots; /* innodb_snapshot_isolation has been set, where there is such a thing */
	size_t max_packet;     /* bytes of one statement */
	int64_t busy_timeout_ms;
	ormd_statement_cache statements;
	mysql_cursor *streaming; /* the cursor whose rows are on their way */
	size_t n_cursors;
	/* waiting for the server: */
	int interrupt_fd; /* an eventfd; -1: none */
	atomic_bool interrupted;
	bool committing;    /* nothing may be sent to stop what runs */
	bool kill_sent;     /* and not yet seen to have hit */
	orm_status stopped; /* why what runs was stopped; ORM_OK: it was not */
	int64_t give_up_us; /* no answer by then: the server is gone */
	int64_t heard_us;   /* when it was last known to be there */
} mysql_connection;

static inline mysql_connection *mysql_of(ormd_connection *connection)
{
	return (mysql_connection *)(void *)connection;
}

/* A bare connection to one of the URL's hosts; *server_error (may be NULL) is the library's number of the failure.
 * Owned. */
MYSQL *ormd_mysql_dial(const mysql_url *url, size_t host, const char *database, unsigned timeout_s, unsigned *number,
		       orm_error *error);
ormd_connection *ormd_mysql_open(const ormd_open_options *options, orm_error *error);
void ormd_mysql_close(ormd_connection *connection);

/* ---- waiting ------------------------------------------------------------------------------------------------ */

/* The library's calls wait for the server in this; see MARIADB_OPT_IO_WAIT. */
int ormd_mysql_io_wait(my_socket handle, my_bool is_read, int timeout_ms);

/* Between the two, the calling thread's library calls wait for this connection: until its deadline, or an interrupt,
 * which stop what runs in the server. */
void ormd_mysql_enter(mysql_connection *connection);
void ormd_mysql_leave(void);

/* Forget interrupts from before. */
void ormd_mysql_forget_interrupt(mysql_connection *connection);
/* Stop what runs on the connection: KILL QUERY, by a connection of its own. False: it could not be sent. */
bool ormd_mysql_kill_query(mysql_connection *connection);
void ormd_mysql_interrupt(ormd_connection *connection);

/* ---- statements --------------------------------------------------------------------------------------------- */

/* Before anything is sent: is the connection good and in time, and nothing else on it? Rows on their way are taken in.
 */
orm_status ormd_mysql_ready(mysql_connection *connection, orm_error *error);
/* The same, and outside a transaction each statement is to be one. */
orm_status ormd_mysql_start(mysql_connection *connection, orm_error *error);

/* Text without results that are wanted, possibly several statements. */
orm_status ormd_mysql_execute(mysql_connection *connection, const char *sql, orm_error *error);
/* Text with one result, which is small. Owned; NULL on failure. */
MYSQL_RES *ormd_mysql_ask(mysql_connection *connection, const char *sql, orm_error *error);

/* The statement for this text; NULL on failure. Give it back soon: it is this caller's alone. */
mysql_statement *ormd_mysql_take(mysql_connection *connection, const char *sql, orm_error *error);
void ormd_mysql_give(mysql_connection *connection,
		     mysql_statement *statement); /* what is left of its result is dropped; NULL allowed */
void ormd_mysql_statements_fini(mysql_connection *connection);

/* Send it with the parameters that were bound. Its result, if it has one, has yet to be fetched. */
orm_status ormd_mysql_send(mysql_connection *connection, mysql_statement *statement, orm_error *error);
/* The next row: MYSQL_NO_DATA, 0, or 1 for a failure, which is in the statement's handle. */
int ormd_mysql_next(mysql_statement *statement);

/* ---- values ------------------------------------------------------------------------------------------------- */

/* What is wrong with a value that cannot be sent; NULL: nothing. */
const char *ormd_mysql_bind_value(MYSQL_BIND *bind, mysql_parameter *parameter, const orm_value *value);
/* The library's type for parameters of this one. */
enum enum_field_types ormd_mysql_parameter_type(orm_type type);
orm_status ormd_mysql_check_parameters(const mysql_statement *statement, size_t n_values, orm_error *error);

/* The current row's cell of a column, strictly as `type`; text and bytes as they are in the row, without a NUL. False:
 * it does not fit. */
bool ormd_mysql_cell(const mysql_statement *statement, size_t column, orm_type type, orm_value *value);
/* The failure for a cell that does not fit. `table` may be NULL. */
orm_status ormd_mysql_fail_cell(const mysql_statement *statement, size_t column, orm_type type, const char *table,
				orm_error *error);

/* ---- errors ------------------------------------------------------------------------------------------------- */

#define ORMD_MYSQL_NAME_SIZE 64 /* ORM_MAX_NAME and a NUL; also an error's column field */

/* What a failure means, and what it does to the connection and its transaction. `sql` (may be NULL): the statement, to
   tell the table from. `message` may be the handle's own: it is copied before anything is asked. */
orm_status ormd_mysql_fail(mysql_connection *connection, unsigned number, const char *message, const char *sql,
			   orm_error *error);
orm_status ormd_mysql_fail_handle(mysql_connection *connection, const char *sql, orm_error *error);
orm_status ormd_mysql_fail_statement(mysql_connection *connection, const mysql_statement *statement, orm_error *error);
/* The same for COMMIT: what leaves the outcome open is ORM_EUNKNOWN. */
orm_status ormd_mysql_fail_commit(mysql_connection *connection, orm_error *error);
/* For a connection that could not be made. */
orm_status ormd_mysql_fail_dial(const mysql_url *url, size_t host, unsigned number, const char *message,
				orm_error *error);
/* Nothing comes from the server any more. */
bool ormd_mysql_is_lost(unsigned number);

/* A constraint was violated: which, in the user's words. */
orm_status ormd_mysql_fail_constraint(mysql_connection *connection, unsigned number, const char *message,
				      const char *sql, orm_error *error);
/* The table that a statement of sql/compile.h writes to; "": it is not such a statement. */
void ormd_mysql_written_table(const char *sql, char table[ORMD_MYSQL_NAME_SIZE]);
/* The quoted name at `text`, unquoted, and what follows it; NULL and "" if there is none. */
const char *ormd_mysql_read_identifier(const char *text, char name[ORMD_MYSQL_NAME_SIZE]);

/* ---- the driver's members, from the file that has them ------------------------------------------------------ */

orm_status ormd_mysql_write(ormd_connection *connection, ormd_write *write, orm_error *error);
ormd_cursor *ormd_mysql_query(ormd_connection *connection, const char *sql, const orm_value *parameters,
			      size_t n_parameters, const uint8_t *types, size_t n_types, orm_error *error);
orm_status ormd_mysql_fetch(ormd_cursor *cursor, orm_batch_builder *builder, size_t max_rows, size_t max_size,
			    size_t *n_rows, bool *done, orm_error *error);
void ormd_mysql_close_cursor(ormd_cursor *cursor);
/* Take in the rows that are still on their way, so that the connection is free. What fails is the cursor's to tell. */
void ormd_mysql_take_in(mysql_cursor *cursor);

orm_status ormd_mysql_reserve_keys(ormd_connection *connection, const orm_mapper *mapper, uint32_t count,
				   int64_t *first, uint32_t *n_reserved, orm_error *error);
orm_status ormd_mysql_prepare_database(ormd_connection *connection, orm_error *error);

/* Which server and session this is, into base.backend and the fields for it. */
orm_status ormd_mysql_identify(mysql_connection *connection, orm_error *error);
orm_status ormd_mysql_end_backend(ormd_connection *connection, const char *backend, orm_error *error);

#endif
