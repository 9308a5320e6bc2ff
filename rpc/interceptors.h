/* SPDX-License-Identifier: MIT */
/* Two interceptors for rpc_server_add_interceptor: one writes a line per call, one counts. */
#ifndef RPC_INTERCEPTORS_H
#define RPC_INTERCEPTORS_H

#include "rpc/rpc.h"

/* A line per call: method, code, time, sizes. LOG_DEBUG, failed calls LOG_INFO. `log` is called from any thread. */
typedef struct rpc_call_log {
	void (*log)(int level, const char *message, void *context);
	void *context;
} rpc_call_log;

rpc_interceptor rpc_call_log_interceptor(rpc_call_log *log); /* borrows log */

/* Counters per method. */
typedef struct rpc_metrics rpc_metrics;

#define RPC_METRICS_BUCKETS 32

typedef struct rpc_method_metrics {
	char method[96];
	uint64_t calls, failed, bytes_in, bytes_out, total_us, max_us;
	uint64_t took[RPC_METRICS_BUCKETS]; /* [i]: calls that took less than 2^i us, and at least half of that */
	uint64_t codes[17];                 /* by rpc_code */
} rpc_method_metrics;

rpc_metrics *rpc_metrics_new(void);                            /* NULL: out of memory. Owned */
void rpc_metrics_free(rpc_metrics *metrics);                   /* after the server; NULL allowed */
rpc_interceptor rpc_metrics_interceptor(rpc_metrics *metrics); /* borrows metrics */

/* Copy what was counted so far into items[max]; returns how many methods there are. */
size_t rpc_metrics_snapshot(rpc_metrics *metrics, rpc_method_metrics *items, size_t max);

/* Upper bound of the time within which this share (0 to 1) of the calls ended, us. */
uint64_t rpc_method_metrics_quantile(const rpc_method_metrics *metrics, double share);

#endif
