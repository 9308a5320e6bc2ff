/* SPDX-License-Identifier: MIT */
/*
 * Who is still there. A closed connection is not death: a client whose process lives may come back within the grace time, one on another
 * machine within its lease; where the kernel says that the process has ended, it is dead at once.
 *
 * One thread keeps the times: of participants whose connection is gone, and of parked Wait calls. A participant whose time is up is
 * taken out of its session by a task of the session's host, which looks once more whether its client has a connection again.
 */
#ifndef ORMD_SERVER_LIVENESS_H
#define ORMD_SERVER_LIVENESS_H

#include "server/daemon.h"

/* NULL and error on failure. Owned. */
ormd_liveness *ormd_liveness_start(ormd_daemon *daemon, orm_error *error);
/* End the thread; events are still taken in, and lead to nothing. Then free. NULL allowed. */
void           ormd_liveness_stop(ormd_liveness *liveness);
void           ormd_liveness_free(ormd_liveness *liveness);

/* The rpc layer's events; context is the ormd_liveness. */
void ormd_liveness_connected(const rpc_peer *peer, void *context);
void ormd_liveness_disconnected(const rpc_peer *peer, bool process_gone, void *context);
void ormd_liveness_exited(const rpc_peer *peer, void *context);

/* A participant has joined, or left. False: out of memory. */
bool ormd_liveness_watch(ormd_liveness *liveness, const rpc_peer *peer, uint64_t host, uint32_t participant);
void ormd_liveness_forget(ormd_liveness *liveness, uint64_t host, uint32_t participant);

/* Has this client a connection now? */
bool ormd_liveness_is_connected(ormd_liveness *liveness, const uint8_t client_id[16]);

/* Call ormd_host_tick on every host at this time, or before. */
void ormd_liveness_wake_at(ormd_liveness *liveness, int64_t at_us);

/* Microseconds since the last connection closed; 0 while there is one, and while the first has time to come. */
int64_t ormd_liveness_idle_us(ormd_liveness *liveness);

/* Participants of all sessions. */
uint32_t ormd_liveness_n_participants(ormd_liveness *liveness);

#endif
