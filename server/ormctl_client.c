/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/url.h"
#include "server/ormctl.h"

#define LOCAL_CONNECT_MS 5000 /* enough for a server that has to listen anew; a leftover socket is given up then */

int ormctl_fail(int code, const char *format, ...)
{
	va_list args;

	fflush(stdout);
	fputs("ormctl: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return code;
}

static int exit_code(rpc_code code)
{
	switch (code) {
	case RPC_OK:
		return ORMCTL_OK;
	case RPC_UNAVAILABLE:
		return EX_UNAVAILABLE;
	case RPC_DEADLINE_EXCEEDED:
		return EX_TEMPFAIL;
	case RPC_NOT_FOUND:
		return EX_NOINPUT;
	case RPC_INVALID_ARGUMENT:
		return EX_USAGE;
	case RPC_PERMISSION_DENIED:
	case RPC_UNAUTHENTICATED:
		return EX_NOPERM;
	case RPC_UNIMPLEMENTED:
		return EX_PROTOCOL;
	default:
		return EX_SOFTWARE;
	}
}

/* Who serves this database, as its lock file tells. */
static int find_server(ormctl *ctl)
{
	char path[ORM_DISCOVERY_PATH_SIZE];
	char shown[ORM_DISCOVERY_PATH_SIZE];
	orm_discovery_owner owner = {0};
	orm_error error = {0};
	orm_status status = orm_discovery_lock_path(ctl->database, path, &error);

	orm_url_without_password(ctl->database, shown, sizeof shown);
	if (status != ORM_OK)
		return ormctl_fail(EX_USAGE, "%s", error.message);
	status = orm_discovery_read(path, &owner, &error);
	if (status != ORM_OK && status != ORM_ENOTFOUND)
		return ormctl_fail(status == ORM_EPERM ? EX_NOPERM : EX_UNAVAILABLE, "%s", error.message);
	if (status == ORM_ENOTFOUND || (!owner.pid && !owner.address[0]))
		return ormctl_fail(EX_UNAVAILABLE, "nobody serves %s", shown);
	if (owner.pid && kill((pid_t)owner.pid, 0) != 0 && errno == ESRCH)
		return ormctl_fail(EX_UNAVAILABLE, "nobody serves %s: its last server, process %ld, has died", shown,
				   owner.pid);
	if (!owner.address[0])
		return ormctl_fail(EX_UNAVAILABLE,
				   "the server of %s, process %ld, does not answer yet, or has ended before it did",
				   shown, owner.pid);
	memcpy(ctl->found, owner.address, sizeof ctl->found);
	return ORMCTL_OK;
}

int ormctl_open(ormctl *ctl)
{
	rpc_status status = {0};
	const rpc_tls tls = {.ca_file = ctl->tls_ca_file,
			     .cert_key_file = ctl->tls_cert_key_file,
			     .server_name = ctl->tls_server_name};
	rpc_channel_options options = {.limits = rpc_limits_default(), .connect_timeout_ms = ctl->timeout_ms};
	int code = ORMCTL_OK;

	orm_arena_init(&ctl->arena, 0);
	ctl->deadline_us = orm_deadline_in_ms(ctl->timeout_ms);
	if (ctl->address)
		snprintf(ctl->found, sizeof ctl->found, "%s", ctl->address);
	else
		code = find_server(ctl);
	if (code != ORMCTL_OK)
		return code;
	if (strncmp(ctl->found, "tls+tcp://", 10) == 0) {
		if (!tls.ca_file || !tls.cert_key_file || !tls.server_name)
			return ormctl_fail(EX_USAGE,
					   "%s: tls+tcp needs --tls-ca-file, --tls-cert-key-file and --tls-server-name",
					   ctl->found);
		options.tls = &tls;
	}
	/* A channel tries again and again, in case the server comes. We look at what is there: without a socket we say
	 * so at once. */
	if (strncmp(ctl->found, "ipc://", 6) == 0 && access(ctl->found + 6, F_OK) != 0)
		return ormctl_fail(errno == EACCES ? EX_NOPERM : EX_UNAVAILABLE, "cannot connect to %s: %s", ctl->found,
				   strerror(errno));
	if (strncmp(ctl->found, "ipc://", 6) == 0 && options.connect_timeout_ms > LOCAL_CONNECT_MS)
		options.connect_timeout_ms = LOCAL_CONNECT_MS;
	ctl->channel = rpc_channel_open(ctl->found, &options, &status);
	if (!ctl->channel)
		return ormctl_fail(exit_code(status.code), "%s", status.message);
	return ORMCTL_OK;
}

void ormctl_close(ormctl *ctl)
{
	rpc_channel_close(ctl->channel);
	ctl->channel = NULL;
	orm_arena_fini(&ctl->arena);
}

static unsigned method_number(const ProtobufCServiceDescriptor *service, const char *name)
{
	unsigned i = 0;

	while (i < service->n_methods && strcmp(service->methods[i].name, name) != 0)
		i++;
	return i;
}

int ormctl_call(ormctl *ctl, const ProtobufCServiceDescriptor *service, const char *method,
		const ProtobufCMessage *request, ProtobufCMessage **reply, bool *absent)
{
	rpc_status status = {0};
	const rpc_code code = rpc_channel_call(ctl->channel, service, method_number(service, method), request,
					       ctl->deadline_us, &ctl->arena, reply, &status);

	if (code == RPC_NOT_FOUND && absent) {
		*absent = true;
		return EX_NOINPUT;
	}
	if (code != RPC_OK)
		return ormctl_fail(exit_code(code), "%s",
				   ormctl_clean(*status.message ? status.message : rpc_code_name(code), &ctl->arena));
	return ORMCTL_OK;
}
