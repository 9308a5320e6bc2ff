/* SPDX-License-Identifier: MIT */
#include "server/daemon.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/url.h"
#include "server/host.h"
#include "server/liveness.h"
#include "server/log.h"
#include "server/presence.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <syslog.h>

/* Programs of different versions declare different models; that many different sets at most. */
#define MAX_REGISTRIES 1024

/* ---- registries ---- */

static bool has_hash(const void *value, const void *key)
{
	return ((const orm_registry *)value)->hash == *(const uint64_t *)key;
}

const orm_registry *ormd_daemon_find_registry(ormd_daemon *daemon, uint64_t hash)
{
	pthread_mutex_lock(&daemon->lock);
	const orm_registry *registry = orm_map_get(&daemon->registries, orm_hash_u64(hash), has_hash, &hash);
	pthread_mutex_unlock(&daemon->lock);
	return registry;
}

const orm_registry *ormd_daemon_registry(ormd_daemon *daemon, const orm_model_spec *specs, size_t n_specs, orm_error *error)
{
	orm_registry *made = orm_registry_new(specs, n_specs, error);
	if (!made)
		return NULL;
	if (ormd_dialect_check(ormd_database_dialect(daemon->database), made, error) != ORM_OK) {
		orm_registry_free(made);
		return NULL;
	}
	pthread_mutex_lock(&daemon->lock);
	const orm_registry *known = orm_map_get(&daemon->registries, orm_hash_u64(made->hash), has_hash, &made->hash);
	if (!known && daemon->n_registries >= MAX_REGISTRIES) {
		orm_fail(error, ORM_ELIMIT, "programs have declared %zu different sets of models to this server already", daemon->n_registries);
	} else if (!known && !orm_map_put(&daemon->registries, orm_hash_u64(made->hash), made)) {
		orm_fail(error, ORM_ENOMEM, "out of memory for %zu models", n_specs);
	} else if (!known) {
		daemon->n_registries++;
		known = made;
		made = NULL;
	}
	pthread_mutex_unlock(&daemon->lock);
	orm_registry_free(made);
	return known;
}

static void free_registries(ormd_daemon *daemon)
{
	size_t        cursor = 0;
	orm_registry *registry;
	while ((registry = orm_map_next(&daemon->registries, &cursor)))
		orm_registry_free(registry);
	orm_map_fini(&daemon->registries);
}

/* ---- start and stop ---- */

static bool open_rpc(ormd_daemon *daemon, orm_error *error)
{
	const ormd_config *config = daemon->config;
	rpc_tls            tls = {.ca_file = config->tls_ca_file, .cert_key_file = config->tls_cert_key_file};
	rpc_status         status = {0};
	rpc_server_options options = {
		.limits = rpc_limits_default(),
		.n_workers = config->n_workers,
		.tls = config->tls_ca_file ? &tls : NULL,
		.ipc_mode = config->ipc_mode,
		.watcher = {.connected = ormd_liveness_connected, .disconnected = ormd_liveness_disconnected, .exited = ormd_liveness_exited,
	                    .context = daemon->liveness},
		.log = ormd_log_message,
	};
	if (config->max_message)
		options.limits.max_message = config->max_message;
	if (config->max_clients)
		options.limits.max_clients = config->max_clients;
	if (!(daemon->rpc = rpc_server_new(&options, &status))) {
		orm_fail(error, ORM_EUNAVAILABLE, "%s", status.message);
		return false;
	}
	return true;
}

static orm_status listen_failure(rpc_code code)
{
	switch (code) {
	case RPC_ALREADY_EXISTS: return ORM_EEXIST;
	case RPC_INVALID_ARGUMENT: return ORM_EINVAL;
	case RPC_PERMISSION_DENIED: return ORM_EPERM;
	default: return ORM_EUNAVAILABLE;
	}
}

static bool listen_everywhere(ormd_daemon *daemon, orm_error *error)
{
	for (size_t i = 0; i < daemon->config->n_listen; i++) {
		rpc_status status = {0};
		rpc_code   code = rpc_server_listen(daemon->rpc, daemon->config->listen[i], &status);
		if (code != RPC_OK) {
			orm_fail(error, listen_failure(code), "%s", status.message); /* names the address */
			return false;
		}
	}
	return true;
}

/* Before anybody can ask for a session. */
static bool join_others(ormd_daemon *daemon, orm_error *error)
{
	const char *advertised = daemon->config->advertise ? daemon->config->advertise : rpc_server_address(daemon->rpc, 0);
	if (!ormd_database_is_shared(daemon->database))
		return true;
	if (strstr(advertised, "//0.0.0.0:") || strstr(advertised, "//[::]:"))
		ormd_log(LOG_WARNING, "clients of the database's other servers cannot be sent to %s: set advertise to an address that they reach", advertised);
	daemon->presence = ormd_presence_start(daemon, advertised, error);
	return daemon->presence != NULL;
}

ormd_daemon *ormd_daemon_start(const ormd_config *config, orm_error *error)
{
	ormd_daemon *daemon = calloc(1, sizeof *daemon);
	if (!daemon) {
		orm_fail(error, ORM_ENOMEM, "out of memory");
		return NULL;
	}
	daemon->config = config;
	daemon->started_us = orm_clock_us();
	pthread_mutex_init(&daemon->lock, NULL);
	pthread_mutex_init(&daemon->answers_lock, NULL);
	orm_map_init(&daemon->registries);
	orm_map_init(&daemon->hosts_by_id);
	orm_map_init(&daemon->hosts_by_name);

	/* A session of an earlier server of this database is never mistaken for one of this. */
	uint32_t start = 0;
	if (getrandom(&start, sizeof start, 0) != sizeof start) {
		orm_fail(error, ORM_EUNAVAILABLE, "the system gives no random numbers");
		goto failed;
	}
	daemon->last_session = (uint64_t)start << 32;

	orm_url_without_password(config->database, daemon->shown_url, sizeof daemon->shown_url);

	ormd_database_options database = {
		.url = config->database,
		.n_readers = config->n_readers,
		.n_writers = config->n_writers,
		.replicas = config->replicas,
		.n_replicas = config->n_replicas,
		.wait_ms = config->wait_ms,
		.create = config->create,
		.own_thread = true, /* the network's thread submits */
		.lock_fd = config->lock_fd > 0 ? config->lock_fd : 0,
		.log = ormd_log_message,
	};
	if (!(daemon->database = ormd_database_open(&database, error)))
		goto failed;
	if (!(daemon->liveness = ormd_liveness_start(daemon, error)) || !open_rpc(daemon, error))
		goto failed;
	daemon->metrics = rpc_metrics_new();
	if (!daemon->metrics) {
		orm_fail(error, ORM_ENOMEM, "out of memory");
		goto failed;
	}
	rpc_interceptor metrics = rpc_metrics_interceptor(daemon->metrics);
	rpc_server_add_interceptor(daemon->rpc, &metrics);
	ormd_service_database_add(daemon);
	ormd_service_session_add(daemon);
	ormd_service_admin_add(daemon);
	rpc_status status = {0};
	if (!listen_everywhere(daemon, error))
		goto failed;
	if (!join_others(daemon, error))
		goto failed;
	if (rpc_server_start(daemon->rpc, &status) != RPC_OK) {
		orm_fail(error, ORM_EUNAVAILABLE, "%s", status.message);
		goto failed;
	}
	return daemon;
failed:
	ormd_daemon_stop(daemon);
	return NULL;
}

/* Nobody calls any more: sessions that are left end here, and what is pending in them is rolled back by never being written. */
static void drop_hosts(ormd_daemon *daemon)
{
	size_t     cursor = 0;
	ormd_host *host;
	while ((host = orm_map_next(&daemon->hosts_by_id, &cursor)))
		ormd_host_unref(host);
	orm_map_fini(&daemon->hosts_by_id);
	orm_map_fini(&daemon->hosts_by_name);
}

bool ormd_daemon_stop(ormd_daemon *daemon)
{
	if (!daemon)
		return true;
	atomic_store(&daemon->draining, true);
	bool ended = true;
	if (daemon->rpc) {
		ormd_hosts_end_waits(daemon);
		ended = rpc_server_drain(daemon->rpc, daemon->config->drain_timeout_ms);
	}
	/* Liveness posts to the rpc layer's workers, and is told by it of each client that goes: its thread ends first, its memory last. */
	ormd_presence_stop(daemon->presence); /* which posts, too */
	ormd_liveness_stop(daemon->liveness);
	rpc_server_free(daemon->rpc);
	ormd_liveness_free(daemon->liveness);
	drop_hosts(daemon);
	ormd_presence_free(daemon->presence);
	ormd_database_close(daemon->database);
	free_registries(daemon);
	rpc_metrics_free(daemon->metrics);
	pthread_mutex_destroy(&daemon->answers_lock);
	pthread_mutex_destroy(&daemon->lock);
	free(daemon);
	return ended;
}

bool ormd_daemon_retire(ormd_daemon *daemon)
{
	return rpc_server_retire(daemon->rpc);
}

int64_t ormd_daemon_idle_us(ormd_daemon *daemon)
{
	return ormd_liveness_idle_us(daemon->liveness);
}
