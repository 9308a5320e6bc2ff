/* SPDX-License-Identifier: MIT */
/*
 * What ormd was told: defaults, then a file, then the environment, then the command line, which wins. One table (config.c) names every option
 * once; the file's keys are the command line's long options without the dashes.
 *
 * Life: ormd_config_init, ormd_config_set and ormd_config_load in any order, ormd_config_check, ..., ormd_config_fini.
 * Or ormd_config_from_arguments for all of it, as main does.
 */
#ifndef ORMD_SERVER_CONFIG_H
#define ORMD_SERVER_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <orm/status.h>

#include "base/arena.h"

#define ORMD_MAX_ADDRESSES 16
#define ORMD_MAX_OPTIONS   32

/* Where an option's value comes from; a higher one is not changed by a lower one. */
typedef enum ormd_config_source { ORMD_FROM_DEFAULTS = 0, ORMD_FROM_FILE, ORMD_FROM_ENVIRONMENT, ORMD_FROM_ARGUMENTS } ormd_config_source;

typedef struct ormd_config {
	const char *database;                   /* URL; never NULL after ormd_config_check */
	const char *listen[ORMD_MAX_ADDRESSES]; /* addresses to listen on */
	size_t n_listen;                        /* 0: the database's own address, see address.h */
	const char *advertise;                  /* the address that other servers' clients are sent to; NULL: the first */
	uint32_t ipc_mode;                      /* permissions of socket files */
	const char *tls_ca_file;                /* for tls+tcp addresses, else NULL */
	const char *tls_cert_key_file;

	const char *log_file; /* NULL: standard error */
	int32_t log_level;    /* syslog's numbers: what is above is left out */

	uint32_t n_workers; /* 0: as many as suit the machine */
	uint32_t n_readers; /* connections for reading; 0: the driver's default */
	uint32_t n_writers; /* connections for writing, where several write */
	const char *replicas[ORMD_MAX_ADDRESSES]; /* URLs of copies, for sessions that only read */
	size_t n_replicas;
	bool create;        /* make the database if there is none */

	int64_t wait_ms;          /* for a reader, or for a turn to write */
	int64_t idle_timeout_ms;  /* end when no client is connected for so long; 0: never */
	int64_t lease_ms;         /* a participant whose connection is gone for longer is dead */
	int64_t grace_ms;         /* the same for one on this machine whose process lives */
	int64_t max_transaction_ms; /* how long a session's own database transaction may be open; 0: no limit */
	int64_t drain_timeout_ms; /* how long running calls may take to finish at the end */

	size_t max_message;        /* bytes of one message either way */
	uint32_t max_clients;      /* connections at once */
	size_t max_sessions;       /* sessions at once */
	size_t max_session_memory; /* bytes of objects in one session; 0: no limit */

	int lock_fd;           /* the discovery lock, taken before exec by who started us; -1: none */
	int ready_fd;          /* where to write our address once we answer; -1: nowhere */
	int64_t exit_with_pid; /* end when this process does; 0: none */

	const char *file;                             /* the configuration file, or NULL */
	ormd_config_source sources[ORMD_MAX_OPTIONS]; /* by place in the table */
	orm_arena arena;                              /* what the texts above are in */
} ormd_config;

void ormd_config_init(ormd_config *config); /* the defaults */
void ormd_config_fini(ormd_config *config);

/*
 * Set one option by its long name. ORM_ENOTFOUND: there is none of that name. ORM_EINVAL: the value cannot be, and the
 * message names option and value and says what would do. ORM_ENOMEM. "listen" adds an address and "replica" a URL; a higher source
 * replaces the list of a lower one.
 */
orm_status ormd_config_set(ormd_config *config, const char *name, const char *value, ormd_config_source source,
			   orm_error *error);

/* Read a file of "name = value" lines. ORM_ENOTFOUND: it cannot be read. ORM_EINVAL names file and line. */
orm_status ormd_config_load(ormd_config *config, const char *path, orm_error *error);

/* Do the options hold together? ORM_EINVAL says which do not. */
orm_status ormd_config_check(const ormd_config *config, orm_error *error);

/*
 * From the command line, the file that it names, and ORMD_DATABASE in the environment. 0: go on. Else a code of sysexits.h to exit with, after the message
 * has been written to standard error: EX_USAGE (64), EX_NOINPUT (66: no such file), EX_CONFIG (78: a bad line in it).
 * Ends the process after --help and --version.
 */
int ormd_config_from_arguments(ormd_config *config, int argc, char **argv);

#endif
