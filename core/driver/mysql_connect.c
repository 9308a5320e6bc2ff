/* SPDX-License-Identifier: MIT */
/* Opening: hosts in their order, and what each session is set to. */
#include "driver/mysql_internal.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"

#define DEFAULT_BUSY_MS 5000
#define MAX_STATEMENTS  128 /* of one connection; the server's limit, 16382 by default, is for all of them */
#define KEEPALIVE_S     30  /* a host that vanished is noticed after four of them */

/*
 * Wrong values are refused, not bent; NULL division, dates and || are those of the SQL standard, and 0 in a generated
 * key is 0. Not NO_BACKSLASH_ESCAPES: other programs' sessions read the same CHECKs and defaults.
 */
#define SQL_MODE                                                                                                       \
	"STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION,"            \
	"PIPES_AS_CONCAT,NO_AUTO_VALUE_ON_ZERO"

/* ---- one host ----------------------------------------------------------------------------------------------- */

static void use_library(void)
{
	(void)mysql_library_init(0, NULL, NULL); /* later calls do it on their own, but not from several threads */
}

static void set_options(MYSQL *handle, const mysql_url *url, const mysql_host *host, unsigned timeout_s)
{
	const my_bool off = 0;
	const my_bool verify = url->tls_verify;
	const my_bool enforce = 1;
	const unsigned no_infile = 0;
	const unsigned protocol = url->socket ? MYSQL_PROTOCOL_SOCKET : MYSQL_PROTOCOL_TCP;

	mysql_optionsv(handle, MYSQL_SET_CHARSET_NAME, "utf8mb4");
	mysql_optionsv(handle, MYSQL_OPT_CONNECT_TIMEOUT, &timeout_s);
	mysql_optionsv(handle, MYSQL_OPT_READ_TIMEOUT, &timeout_s);
	mysql_optionsv(handle, MYSQL_OPT_WRITE_TIMEOUT, &timeout_s);
	mysql_optionsv(handle, MYSQL_OPT_RECONNECT, &off);
	mysql_optionsv(handle, MYSQL_OPT_LOCAL_INFILE, &no_infile);
	mysql_optionsv(handle, MYSQL_REPORT_DATA_TRUNCATION, &off);
	if (url->socket || host->port != 0)
		mysql_optionsv(handle, MYSQL_OPT_PROTOCOL, &protocol);
	if (!url->tls)
		return;
	if (url->tls_ca)
		mysql_optionsv(handle, MYSQL_OPT_SSL_CA, url->tls_ca);
	if (url->tls_cert)
		mysql_optionsv(handle, MYSQL_OPT_SSL_CERT, url->tls_cert);
	if (url->tls_key)
		mysql_optionsv(handle, MYSQL_OPT_SSL_KEY, url->tls_key);
	mysql_optionsv(handle, MYSQL_OPT_SSL_ENFORCE, &enforce);
	mysql_optionsv(handle, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &verify);
}

/* A host that loses its power never says so. Refused on a Unix socket, which has no such question. */
static void watch_for_silence(MYSQL *handle)
{
	const int seconds = KEEPALIVE_S;
	const int probes = 3;
	const unsigned unsent_ms = KEEPALIVE_S * 4 * 1000;
	const my_socket fd = mysql_get_socket(handle);

	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof seconds);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &seconds, sizeof seconds);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unsent_ms, sizeof unsent_ms);
}

MYSQL *ormd_mysql_dial(const mysql_url *url, size_t host, const char *database, unsigned timeout_s, unsigned *number,
		       orm_error *error)
{
	static pthread_once_t library = PTHREAD_ONCE_INIT;
	const mysql_host *place = &url->hosts[host];

	*number = 0;
	pthread_once(&library, use_library);

	MYSQL *handle = mysql_init(NULL);

	if (!handle) {
		orm_fail(error, ORM_ENOMEM, "out of memory");
		return NULL;
	}
	set_options(handle, url, place, timeout_s);
	if (mysql_real_connect(handle, place->name[0] ? place->name : NULL, url->user, url->password, database,
			       place->port, url->socket, CLIENT_FOUND_ROWS | CLIENT_MULTI_STATEMENTS)) {
		watch_for_silence(handle);
		return handle;
	}
	*number = mysql_errno(handle);
	ormd_mysql_fail_dial(url, host, *number, mysql_error(handle), error);
	mysql_close(handle);
	return NULL;
}

static unsigned dial_timeout_s(const mysql_connection *connection)
{
	const int64_t deadline_us = connection->base.deadline_us;
	const unsigned own = connection->url.connect_timeout_s;

	if (deadline_us == 0)
		return own;

	const int64_t left_ms = orm_deadline_left_ms(deadline_us);

	if (left_ms >= (int64_t)own * 1000)
		return own;
	return left_ms <= 1000 ? 1 : (unsigned)((left_ms + 999) / 1000);
}

/* ---- the session -------------------------------------------------------------------------------------------- */

/* A server older than this lacks what the statements need: INSERT .. RETURNING, SKIP LOCKED, the bulk protocol. */
#define OLDEST_VERSION 100600

static orm_status check_version(mysql_connection *connection, orm_error *error)
{
	const char *text = mysql_get_server_info(connection->handle);
	const unsigned long version = mysql_get_server_version(connection->handle);

	if (mariadb_connection(connection->handle) && version >= OLDEST_VERSION)
		return ORM_OK;
	return orm_fail(error, ORM_EUNSUPPORTED,
			"the server is %s%.60s; ormd needs MariaDB 10.6 or later, for INSERT .. RETURNING and bulk "
			"statements",
			mariadb_connection(connection->handle) ? "" : "MySQL ", text ? text : "?");
}

/* In one round trip. A lock that is waited for too long is the engine's to give up, in whole seconds. */
static orm_status set_up_session(mysql_connection *connection, orm_error *error)
{
	const long long lock_wait_s = (connection->busy_timeout_ms + 999) / 1000;
	char settings[1024];

	snprintf(settings, sizeof settings,
		 "SET NAMES utf8mb4 COLLATE utf8mb4_nopad_bin; SET SESSION sql_mode='" SQL_MODE
		 "', time_zone='+00:00', "
		 "innodb_lock_wait_timeout=%lld, lock_wait_timeout=%lld, net_write_timeout=600, tx_isolation='%s'%s",
		 lock_wait_s, lock_wait_s, connection->read_only ? "REPEATABLE-READ" : "READ-COMMITTED",
		 connection->read_only ? ", tx_read_only=ON" : "");
	return ormd_mysql_execute(connection, settings, error);
}

/* Reads wait until the node has what the cluster has committed: now once, and at each statement of the URL's choice. */
static orm_status catch_up(mysql_connection *connection, orm_error *error)
{
	char settings[128];

	if (!connection->is_cluster)
		return ORM_OK;
	snprintf(settings, sizeof settings,
		 "SET STATEMENT wsrep_sync_wait=15 FOR SHOW STATUS LIKE 'Uptime'; SET SESSION wsrep_sync_wait=%u",
		 connection->url.wsrep_sync_wait);
	return ormd_mysql_execute(connection, settings, error);
}

static orm_status make_database(mysql_connection *connection, orm_error *error)
{
	orm_buffer sql;
	orm_status status;

	orm_buffer_init(&sql);
	orm_buffer_puts(&sql, "CREATE DATABASE IF NOT EXISTS ");
	ormd_sql_identifier(&ormd_dialect_mysql, connection->url.database, &sql);
	orm_buffer_puts(&sql, " CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin; USE ");
	ormd_sql_identifier(&ormd_dialect_mysql, connection->url.database, &sql);
	status = sql.failed ? orm_fail(error, ORM_ENOMEM, "out of memory")
			    : ormd_mysql_execute(connection, sql.data, error);
	orm_buffer_fini(&sql);
	return status;
}

/* Whether this server takes writes; a host of several may be a copy of another. */
static orm_status check_writable(mysql_connection *connection, orm_error *error)
{
	MYSQL_RES *result = ormd_mysql_ask(connection, "SELECT @@GLOBAL.read_only", error);
	MYSQL_ROW row = result ? mysql_fetch_row(result) : NULL;
	orm_status status = ORM_OK;

	if (!result)
		return error->code;
	if (row && row[0] && strcmp(row[0], "0") != 0)
		status = orm_fail(error, ORM_EUNAVAILABLE,
				  "the server at %s is read-only, and no other host of the URL can be reached",
				  connection->url.hosts[connection->host].name);
	mysql_free_result(result);
	return status;
}

static orm_status open_host(mysql_connection *connection, size_t host, const ormd_open_options *options,
			    orm_error *error)
{
	const mysql_url *url = &connection->url;
	unsigned number = 0;
	orm_status status;

	connection->host = host;
	connection->handle = ormd_mysql_dial(url, host, url->database, dial_timeout_s(connection), &number, error);

	const bool make = !connection->handle && number == ER_BAD_DB_ERROR && options->create && !options->read_only;

	if (make)
		connection->handle = ormd_mysql_dial(url, host, NULL, dial_timeout_s(connection), &number, error);
	if (!connection->handle)
		return error->code;
	mysql_optionsv(connection->handle, MARIADB_OPT_IO_WAIT, ormd_mysql_io_wait);
	connection->autocommit = true;
	status = check_version(connection, error);
	if (status == ORM_OK)
		status = set_up_session(connection, error);
	if (status == ORM_OK && make)
		status = make_database(connection, error);
	if (status == ORM_OK)
		status = ormd_mysql_identify(connection, error);
	if (status == ORM_OK)
		status = catch_up(connection, error);
	if (status == ORM_OK && url->n_hosts > 1 && !options->replica)
		status = check_writable(connection, error);
	return status;
}

/* Back to where the next host can be tried. */
static void hang_up(mysql_connection *connection)
{
	ormd_mysql_statements_fini(connection);
	mysql_close(connection->handle);
	connection->handle = NULL;
	connection->base.lost = false;
	connection->id = 0;
}

/* In the URL's order; who is content with a copy begins at its end. */
static orm_status open_any(mysql_connection *connection, const ormd_open_options *options, orm_error *error)
{
	const size_t n_hosts = connection->url.n_hosts;
	orm_status status = ORM_EUNAVAILABLE;

	for (size_t i = 0; i < n_hosts; i++) {
		status = open_host(connection, options->replica ? n_hosts - 1 - i : i, options, error);
		/* Another host helps only where this one is away. */
		if (status != ORM_EUNAVAILABLE && !(status == ORM_ETIMEOUT && i + 1 < n_hosts))
			break;
		hang_up(connection);
	}
	return status;
}

ormd_connection *ormd_mysql_open(const ormd_open_options *options, orm_error *error)
{
	orm_error ignored;
	mysql_connection *connection = calloc(1, sizeof *connection);

	error = error ? error : &ignored;
	if (!connection) {
		orm_fail(error, ORM_ENOMEM, "out of memory");
		return NULL;
	}
	connection->base.driver = &ormd_driver_mysql;
	connection->base.deadline_us = options->deadline_us;
	connection->read_only = options->read_only;
	connection->busy_timeout_ms = options->busy_timeout_ms > 0 ? options->busy_timeout_ms : DEFAULT_BUSY_MS;
	connection->interrupt_fd = -1;
	ormd_statement_cache_init(&connection->statements, MAX_STATEMENTS);
	if (ormd_mysql_url_parse(options->url, &connection->url, error) != ORM_OK)
		goto failed;
	connection->interrupt_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (connection->interrupt_fd < 0) {
		orm_fail(error, ORM_ELIMIT, "no file descriptor is left; raise the limit (ulimit -n)");
		goto failed;
	}
	if (open_any(connection, options, error) != ORM_OK)
		goto failed;
	connection->base.deadline_us = 0;
	return &connection->base;
failed:
	ormd_mysql_close(&connection->base);
	return NULL;
}

void ormd_mysql_close(ormd_connection *base)
{
	mysql_connection *connection = base ? mysql_of(base) : NULL;

	if (!connection)
		return;
	hang_up(connection);
	if (connection->interrupt_fd >= 0)
		close(connection->interrupt_fd);
	ormd_statement_cache_fini(&connection->statements);
	ormd_mysql_url_fini(&connection->url);
	free(connection);
}
