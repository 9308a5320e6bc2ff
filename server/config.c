/* SPDX-License-Identifier: MIT */
#include "server/config.h"

#include <errno.h>
#include <ini.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "base/error.h"
#include "base/url.h"
#include "driver/driver.h"
#include "server/config_options.h"
#include "server/units.h"

#define LONGEST_MS   (INT64_C(10) * 365 * 24 * 3600 * 1000)
#define LARGEST_SIZE (INT64_C(1) << 46)

#define AT(member) offsetof(ormd_config, member)

/* Shown by --help in this order. */
const ormd_option ormd_options[] = {
	{NULL, "database", 'd', "URL", ORMD_OPTION_DATABASE, AT(database), 0, 0, NULL,
	 "The database to serve: " ORM_URL_KNOWN},
	{NULL, "listen", 'l', "ADDRESS", ORMD_OPTION_LISTEN, AT(listen), 0, 0, NULL,
	 "Serve at ipc:///PATH, tcp://HOST:PORT (this machine only) or tls+tcp://HOST:PORT; may be given several "
	 "times. "
	 "Without it: a socket of the database's own, where clients look for it"},
	{NULL, "advertise", 0, "ADDRESS", ORMD_OPTION_ADDRESS, AT(advertise), 0, 0, NULL,
	 "Where several servers serve the database: the address under which this one is reached by all their clients. Default: the first of --listen"},
	{NULL, "replica", 0, "URL", ORMD_OPTION_REPLICA, AT(replicas), 0, 0, NULL,
	 "A copy of the database, for sessions that only read; may be given several times"},
	{NULL, "create", 0, "yes|no", ORMD_OPTION_BOOL, AT(create), 0, 0, "yes", "Make the database if there is none"},

	{"Who may connect:", "ipc-mode", 0, "MODE", ORMD_OPTION_MODE, AT(ipc_mode), 0, 0777, "0600",
	 "Permissions of socket files, octal"},
	{NULL, "tls-ca-file", 0, "FILE", ORMD_OPTION_TEXT, AT(tls_ca_file), 0, 0, NULL,
	 "Certificates of those who may sign clients' certificates (PEM)"},
	{NULL, "tls-cert-key-file", 0, "FILE", ORMD_OPTION_TEXT, AT(tls_cert_key_file), 0, 0, NULL,
	 "The server's own certificate and key in one file (PEM)"},
	{NULL, "max-clients", 0, "N", ORMD_OPTION_U32, AT(max_clients), 1, 60000, "4096", "Connections at once"},

	{"Lives and times:", "lease", 0, "TIME", ORMD_OPTION_DURATION, AT(lease_ms), 1, LONGEST_MS, "15s",
	 "A participant whose connection is gone for longer is dead"},
	{NULL, "grace", 0, "TIME", ORMD_OPTION_DURATION, AT(grace_ms), 1, LONGEST_MS, "2s",
	 "The lease of a participant on this machine whose process still lives"},
	{NULL, "wait", 0, "TIME", ORMD_OPTION_DURATION, AT(wait_ms), 1, LONGEST_MS, "30s",
	 "How long a call without a deadline waits for its turn to write"},
	{NULL, "max-transaction", 0, "TIME", ORMD_OPTION_DURATION, AT(max_transaction_ms), 0, LONGEST_MS, "60s",
	 "Roll back a session's own database transaction (isolation, row locks) that is open for longer; 0: never"},
	{NULL, "idle-timeout", 0, "TIME", ORMD_OPTION_DURATION, AT(idle_timeout_ms), 0, LONGEST_MS, "0",
	 "End when no client was connected for so long; 0: never"},
	{NULL, "drain-timeout", 0, "TIME", ORMD_OPTION_DURATION, AT(drain_timeout_ms), 0, LONGEST_MS, "5s",
	 "How long running calls may take to finish when the server ends"},

	{"Sizes:", "workers", 0, "N", ORMD_OPTION_U32, AT(n_workers), 0, 1024, "0",
	 "Threads that answer calls; 0: what suits the machine"},
	{NULL, "readers", 0, "N", ORMD_OPTION_U32, AT(n_readers), 0, 1024, "8",
	 "Connections to the database for reading"},
	{NULL, "writers", 0, "N", ORMD_OPTION_U32, AT(n_writers), 0, 1024, "8",
	 "Connections to the database for writing, where the engine writes side by side"},
	{NULL, "max-message", 0, "SIZE", ORMD_OPTION_SIZE, AT(max_message), 64 << 10, 1 << 30, "16MiB",
	 "Largest message, either way"},
	{NULL, "max-sessions", 0, "N", ORMD_OPTION_SIZE, AT(max_sessions), 1, 1 << 30, "65536", "Sessions at once"},
	{NULL, "max-session-memory", 0, "SIZE", ORMD_OPTION_SIZE, AT(max_session_memory), 0, LARGEST_SIZE, "1GiB",
	 "Objects of one session; 0: no limit"},

	{"Log:", "log-file", 0, "FILE", ORMD_OPTION_TEXT, AT(log_file), 0, 0, NULL,
	 "Append the log to FILE instead of standard error; SIGHUP opens it anew"},
	{NULL, "log-level", 0, "LEVEL", ORMD_OPTION_LEVEL, AT(log_level), 0, 0, "info",
	 "debug, info, warning or error"},

	{"For programs that start ormd:", "ready-fd", 0, "FD", ORMD_OPTION_FD, AT(ready_fd), 1, INT_MAX, NULL,
	 "Write the address and a newline to this descriptor, and close it, once it answers"},
	{NULL, "lock-fd", 0, "FD", ORMD_OPTION_FD, AT(lock_fd), 3, INT_MAX, NULL,
	 "Take over the database's lock file, which this descriptor has locked"},
	{NULL, "exit-with", 0, "PID", ORMD_OPTION_PID, AT(exit_with_pid), 1, INT_MAX, NULL,
	 "End when this process does"},
};

const size_t ormd_n_options = sizeof ormd_options / sizeof *ormd_options;

_Static_assert(sizeof ormd_options / sizeof *ormd_options <= ORMD_MAX_OPTIONS, "raise ORMD_MAX_OPTIONS");

/* ---- one option ---------------------------------------------------------------------------------------------- */

static const ormd_option *find_option(const char *name)
{
	for (size_t i = 0; i < ormd_n_options; i++)
		if (strcmp(ormd_options[i].name, name) == 0)
			return &ormd_options[i];
	return NULL;
}

static orm_status refuse(orm_error *error, const ormd_option *option, const char *value, const char *remedy)
{
	return orm_fail(error, ORM_EINVAL, "%s: '%.200s' %s", option->name, value, remedy);
}

static orm_status copy_text(ormd_config *config, const char *value, const char **copy, orm_error *error)
{
	const char *text = orm_arena_strdup(&config->arena, value);

	if (!text)
		return orm_fail(error, ORM_ENOMEM, "out of memory");
	*copy = text;
	return ORM_OK;
}

static orm_status set_text(ormd_config *config, const ormd_option *option, const char *value, orm_error *error)
{
	if (!*value)
		return refuse(error, option, value, "is empty");
	return copy_text(config, value, (const char **)((char *)config + option->offset), error);
}

static orm_status set_database(ormd_config *config, const ormd_option *option, const char *value, orm_error *error)
{
	orm_error why = {0};

	if (!ormd_driver_for_url(value, &why))
		return orm_fail(error, ORM_EINVAL, "%s: %s", option->name, why.message);
	return copy_text(config, value, &config->database, error);
}

static orm_status check_address(const ormd_option *option, const char *value, orm_error *error)
{
	static const char *const schemes[] = {"ipc:///", "tcp://", "tls+tcp://"};

	for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
		if (strncmp(value, schemes[i], strlen(schemes[i])) == 0 && value[strlen(schemes[i])])
			return ORM_OK;
	return refuse(error, option, value,
		      "is not an address; write ipc:///PATH, tcp://HOST:PORT or tls+tcp://HOST:PORT");
}

/* One more of a list; `anew` if what is there comes from a lower source. */
static orm_status add_text(ormd_config *config, const ormd_option *option, const char *value, bool anew,
			   const char **list, size_t *n, orm_error *error)
{
	if (anew)
		*n = 0;
	if (*n == ORMD_MAX_ADDRESSES)
		return orm_fail(error, ORM_EINVAL, "%s: more than %d of them", option->name, ORMD_MAX_ADDRESSES);

	const orm_status status = copy_text(config, value, &list[*n], error);

	if (status == ORM_OK)
		++*n;
	return status;
}

static orm_status add_replica(ormd_config *config, const ormd_option *option, const char *value, bool anew,
			      orm_error *error)
{
	orm_error why = {0};

	if (!ormd_driver_for_url(value, &why))
		return orm_fail(error, ORM_EINVAL, "%s: %s", option->name, why.message);
	return add_text(config, option, value, anew, config->replicas, &config->n_replicas, error);
}

static orm_status set_bool(ormd_config *config, const ormd_option *option, const char *value, orm_error *error)
{
	const bool yes = strcmp(value, "yes") == 0 || strcmp(value, "true") == 0 || strcmp(value, "on") == 0;
	const bool no = strcmp(value, "no") == 0 || strcmp(value, "false") == 0 || strcmp(value, "off") == 0;

	if (!yes && !no)
		return refuse(error, option, value, "is neither yes nor no");
	*(bool *)((char *)config + option->offset) = yes;
	return ORM_OK;
}

static orm_status set_level(ormd_config *config, const ormd_option *option, const char *value, orm_error *error)
{
	static const struct {
		const char *name;
		int level;
	} levels[] = {{"debug", LOG_DEBUG}, {"info", LOG_INFO}, {"warning", LOG_WARNING}, {"error", LOG_ERR}};

	for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
		if (strcmp(value, levels[i].name) == 0) {
			*(int32_t *)((char *)config + option->offset) = levels[i].level;
			return ORM_OK;
		}
	return refuse(error, option, value, "is not a level; write debug, info, warning or error");
}

static orm_status set_number(ormd_config *config, const ormd_option *option, const char *value, orm_error *error)
{
	void *member = (char *)config + option->offset;
	const char *remedy = "is not a number";
	int64_t number = 0;
	bool good;

	switch (option->kind) {
	case ORMD_OPTION_DURATION:
		good = ormd_parse_duration(value, &number);
		remedy = "is not a time; write a number and ms, s, m or h, such as 500ms or 30s";
		break;
	case ORMD_OPTION_SIZE:
		good = ormd_parse_size(value, &number);
		remedy = "is not a number of bytes; write it with or without KiB, MiB or GiB, such as 16MiB";
		break;
	case ORMD_OPTION_MODE:
		good = ormd_parse_octal(value, &number);
		remedy = "is not an octal mode, such as 0660";
		break;
	default:
		good = ormd_parse_number(value, &number);
		break;
	}
	if (!good)
		return refuse(error, option, value, remedy);
	if (number < option->min)
		return refuse(error, option, value, "is too small");
	if (number > option->max)
		return refuse(error, option, value, "is too large");
	switch (option->kind) {
	case ORMD_OPTION_SIZE:
		*(size_t *)member = (size_t)number;
		break;
	case ORMD_OPTION_DURATION:
	case ORMD_OPTION_PID:
		*(int64_t *)member = number;
		break;
	case ORMD_OPTION_FD:
		*(int *)member = (int)number;
		break;
	default:
		*(uint32_t *)member = (uint32_t)number;
		break;
	}
	return ORM_OK;
}

static orm_status set_option(ormd_config *config, const ormd_option *option, const char *value,
			     ormd_config_source source, orm_error *error)
{
	ormd_config_source *known = &config->sources[option - ormd_options];
	const ormd_config_source before = *known;
	orm_status status;

	switch (option->kind) {
	case ORMD_OPTION_DATABASE:
		status = set_database(config, option, value, error);
		break;
	case ORMD_OPTION_LISTEN:
		status = check_address(option, value, error);
		if (status == ORM_OK)
			status = add_text(config, option, value, before < source, config->listen, &config->n_listen,
					  error);
		break;
	case ORMD_OPTION_ADDRESS:
		status = check_address(option, value, error);
		if (status == ORM_OK)
			status = set_text(config, option, value, error);
		break;
	case ORMD_OPTION_REPLICA:
		status = add_replica(config, option, value, before < source, error);
		break;
	case ORMD_OPTION_TEXT:
		status = set_text(config, option, value, error);
		break;
	case ORMD_OPTION_BOOL:
		status = set_bool(config, option, value, error);
		break;
	case ORMD_OPTION_LEVEL:
		status = set_level(config, option, value, error);
		break;
	default:
		status = set_number(config, option, value, error);
		break;
	}
	if (status == ORM_OK)
		*known = source;
	return status;
}

/* ---- all of them --------------------------------------------------------------------------------------------- */

void ormd_config_init(ormd_config *config)
{
	*config = (ormd_config){.lock_fd = -1, .ready_fd = -1};
	orm_arena_init(&config->arena, 0);
	for (size_t i = 0; i < ormd_n_options; i++)
		if (ormd_options[i].default_text)
			set_option(config, &ormd_options[i], ormd_options[i].default_text, ORMD_FROM_DEFAULTS, NULL);
}

void ormd_config_fini(ormd_config *config)
{
	if (config)
		orm_arena_fini(&config->arena);
}

orm_status ormd_config_set(ormd_config *config, const char *name, const char *value, ormd_config_source source,
			   orm_error *error)
{
	const ormd_option *option = find_option(name);

	if (!option)
		return orm_fail(error, ORM_ENOTFOUND, "there is no option '%.100s'", name);
	if (config->sources[option - ormd_options] > source) {
		/* It loses, but a mistake in it is a mistake all the same. */
		ormd_config other;

		ormd_config_init(&other);

		const orm_status status = set_option(&other, option, value, source, error);

		ormd_config_fini(&other);
		return status;
	}
	return set_option(config, option, value, source, error);
}

orm_status ormd_config_check(const ormd_config *config, orm_error *error)
{
	bool tls = false;

	if (!config->database)
		return orm_fail(error, ORM_EINVAL,
				"which database? Give --database URL, such as sqlite:///shop.db, ORMD_DATABASE in the environment, or a file with -c");
	for (size_t i = 0; i < config->n_listen; i++)
		tls = tls || strncmp(config->listen[i], "tls+tcp://", 10) == 0;
	if (tls && (!config->tls_ca_file || !config->tls_cert_key_file))
		return orm_fail(error, ORM_EINVAL,
				"an address with tls+tcp:// needs tls-ca-file and tls-cert-key-file");
	if (!config->tls_ca_file != !config->tls_cert_key_file)
		return orm_fail(error, ORM_EINVAL, "tls-ca-file and tls-cert-key-file belong together: %s is missing",
				config->tls_ca_file ? "tls-cert-key-file" : "tls-ca-file");
	return ORM_OK;
}

/* ---- files --------------------------------------------------------------------------------------------------- */

typedef struct loading {
	ormd_config *config;
	const char *path;
	FILE *file;
	unsigned line; /* the one read last, from 1 */
	bool whole;    /* its end has been read */
	orm_status status;
	orm_error *error;
} loading;

/* For inih, which does not tell line numbers to its handler: hands on what fgets reads, and counts. */
static char *read_line(char *text, int size, void *context)
{
	loading *l = context;

	if (l->status != ORM_OK || !fgets(text, size, l->file))
		return NULL;
	if (l->whole)
		l->line++;
	l->whole = strchr(text, '\n') != NULL;
	return text;
}

static int set_from_line(void *context, const char *section, const char *name, const char *value)
{
	loading *l = context;
	orm_error why = {0};
	orm_status status;

	if (l->status != ORM_OK)
		return 0;
	if (*section && strcmp(section, "ormd") != 0)
		status = orm_fail(&why, ORM_EINVAL, "there is no section [%.100s]; write [ormd] or none", section);
	else
		status = ormd_config_set(l->config, name, value, ORMD_FROM_FILE, &why);
	if (status == ORM_OK)
		return 1;
	l->status = orm_fail(l->error, status == ORM_ENOTFOUND ? ORM_EINVAL : status, "%.200s:%u: %.280s", l->path,
			     l->line, why.message);
	return 0;
}

orm_status ormd_config_load(ormd_config *config, const char *path, orm_error *error)
{
	loading l = {.config = config, .path = path, .whole = true, .error = error};

	l.file = fopen(path, "re");
	if (!l.file)
		return orm_fail(error, ORM_ENOTFOUND, "cannot read '%s': %s", path, strerror(errno));
	ini_use_stack = false;
	ini_allow_realloc = true;
	ini_max_line = 16384;
	ini_allow_multiline = false;
	ini_stop_on_first_error = true;

	const int result = ini_parse_stream(read_line, &l, set_from_line, &l);
	const bool broken = ferror(l.file);

	fclose(l.file);
	if (l.status != ORM_OK)
		return l.status;
	if (broken)
		return orm_fail(error, ORM_ENOTFOUND, "cannot read '%s'", path);
	if (result > 0)
		return orm_fail(error, ORM_EINVAL, "%.200s:%d: not understood; write NAME = VALUE", path, result);
	return result == 0 ? ORM_OK : orm_fail(error, ORM_ENOMEM, "out of memory reading '%s'", path);
}
