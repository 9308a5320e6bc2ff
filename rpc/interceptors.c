/* SPDX-License-Identifier: MIT */
#include "rpc/interceptors.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

enum { MAX_METHODS = 128 };

struct rpc_metrics {
	pthread_mutex_t lock;
	size_t len;
	rpc_method_metrics items[MAX_METHODS]; /* [0]: what is no method of ours */
};

static void log_end(rpc_call *call, rpc_code code, int64_t duration_us, size_t request_size, size_t reply_size,
		    void *context);
static void count_end(rpc_call *call, rpc_code code, int64_t duration_us, size_t request_size, size_t reply_size,
		      void *context);
static unsigned bucket_of(uint64_t us);

rpc_interceptor rpc_call_log_interceptor(rpc_call_log *log)
{
	return (rpc_interceptor){.end = log_end, .context = log};
}

rpc_metrics *rpc_metrics_new(void)
{
	rpc_metrics *metrics = calloc(1, sizeof *metrics);
	if (!metrics)
		return NULL;
	pthread_mutex_init(&metrics->lock, NULL);
	strcpy(metrics->items[0].method, "(other)");
	metrics->len = 1;
	return metrics;
}

void rpc_metrics_free(rpc_metrics *metrics)
{
	if (!metrics)
		return;
	pthread_mutex_destroy(&metrics->lock);
	free(metrics);
}

rpc_interceptor rpc_metrics_interceptor(rpc_metrics *metrics)
{
	return (rpc_interceptor){.end = count_end, .context = metrics};
}

size_t rpc_metrics_snapshot(rpc_metrics *metrics, rpc_method_metrics *items, size_t max)
{
	pthread_mutex_lock(&metrics->lock);
	size_t len = metrics->len;
	memcpy(items, metrics->items, (len < max ? len : max) * sizeof *items);
	pthread_mutex_unlock(&metrics->lock);
	return len;
}

uint64_t rpc_method_metrics_quantile(const rpc_method_metrics *metrics, double share)
{
	uint64_t wanted = (uint64_t)((double)metrics->calls * share), seen = 0;
	for (unsigned i = 0; i < RPC_METRICS_BUCKETS; i++) {
		seen += metrics->took[i];
		if (seen > wanted || seen == metrics->calls)
			return UINT64_C(1) << i;
	}
	return metrics->max_us;
}

static void log_end(rpc_call *call, rpc_code code, int64_t duration_us, size_t request_size, size_t reply_size,
		    void *context)
{
	const rpc_call_log *log = context;
	const rpc_peer *peer = rpc_call_peer(call);
	char line[256];
	snprintf(line, sizeof line, "%s %s %" PRId64 " us, %zu bytes in, %zu out, connection %" PRIu64 " pid %" PRId64,
		 rpc_call_method(call), rpc_code_name(code), duration_us, request_size, reply_size, peer->connection,
		 peer->pid);
	log->log(code == RPC_OK ? LOG_DEBUG : LOG_INFO, line, log->context);
}

static void count_end(rpc_call *call, rpc_code code, int64_t duration_us, size_t request_size, size_t reply_size,
		      void *context)
{
	rpc_metrics *metrics = context;
	const char *method = rpc_call_method(call);
	uint64_t us = duration_us > 0 ? (uint64_t)duration_us : 0;
	pthread_mutex_lock(&metrics->lock);
	size_t i = 1;
	while (i < metrics->len && strcmp(metrics->items[i].method, method) != 0)
		i++;
	if (i == metrics->len && *method && i < MAX_METHODS && strlen(method) < sizeof metrics->items[i].method) {
		strcpy(metrics->items[i].method, method);
		metrics->len++;
	} else if (i == metrics->len) {
		i = 0;
	}
	rpc_method_metrics *item = &metrics->items[i];
	item->calls++;
	item->failed += code != RPC_OK;
	item->bytes_in += request_size;
	item->bytes_out += reply_size;
	item->total_us += us;
	item->max_us = us > item->max_us ? us : item->max_us;
	item->took[bucket_of(us)]++;
	item->codes[code <= RPC_UNAUTHENTICATED ? code : RPC_UNKNOWN]++;
	pthread_mutex_unlock(&metrics->lock);
}

static unsigned bucket_of(uint64_t us)
{
	unsigned bucket = 0;
	while (us && bucket < RPC_METRICS_BUCKETS - 1) {
		us >>= 1;
		bucket++;
	}
	return bucket;
}
