/* SPDX-License-Identifier: MIT */
/* What the tests of the RPC layer share: a server process, channels to it, certificates, raw connections. */
#ifndef TESTS_RPC_HARNESS_H
#define TESTS_RPC_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "echo.pb-c.h"
#include "rpc/frame.h"
#include "rpc/rpc.h"
#include "support/process.h"

enum { ECHO_EMPTY, ECHO_UNARY, ECHO_QUICK, ECHO_STREAM, ECHO_ADD, ECHO_WAIT, ECHO_STATS };

typedef struct echo_process {
	support_process process;
	char addresses[3][128]; /* as the server says they are */
	const char *dir;
} echo_process;

/* Start rpc_echo_server with these arguments (ends with NULL) and wait until it serves. */
void echo_process_start(echo_process *server, const char *const *arguments);
void echo_process_stop(echo_process *server); /* in good order */
void echo_process_kill(echo_process *server); /* SIGKILL */

/* ca.pem, server.pem, client.pem, and other.pem of a foreign authority, in the directory. */
void make_certificates(const char *dir);

/* A channel that must open; tls by the directory of the certificates when the address needs it. */
rpc_channel *must_open(const char *address, const char *certificates);
rpc_channel *must_open_trying(const char *address, int64_t try_timeout_ms); /* repeats a try after so long */

/* A call whose reply is thrown away. */
rpc_code call_unary(rpc_channel *channel, unsigned method, const Ormd__Test__V1__EchoRequest *request,
		    int64_t timeout_ms);
Ormd__Test__V1__StatsReply get_stats(const char *address); /* over a channel of its own */

/* nng's wire format by hand. */
int raw_connect(const char *ipc_address);                               /* greeted; -1 when refused */
bool raw_send(int fd, uint32_t tag, const uint8_t *frame, size_t size); /* one message */
/* One message without its tag, or -1: closed, or nothing within the time. */
ssize_t raw_receive(int fd, uint8_t *frame, size_t size, int timeout_ms);
/* Header, path and payload of a request into bytes[]; returns the size. client_id may be NULL: anonymous. */
size_t raw_request(uint8_t *bytes, const char *path, const uint8_t *client_id, uint64_t seq, const void *payload,
		   size_t payload_size);

bool full_size(void); /* ORMD_FULL=1: run at the size of a release, not of every commit */

#endif
