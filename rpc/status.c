/* SPDX-License-Identifier: MIT */
/* gRPC's canonical codes by name, and the default limits. */
#include "rpc/rpc.h"

const char *rpc_code_name(rpc_code code)
{
	switch (code) {
	case RPC_OK:
		return "OK";
	case RPC_CANCELLED:
		return "CANCELLED";
	case RPC_INVALID_ARGUMENT:
		return "INVALID_ARGUMENT";
	case RPC_DEADLINE_EXCEEDED:
		return "DEADLINE_EXCEEDED";
	case RPC_NOT_FOUND:
		return "NOT_FOUND";
	case RPC_ALREADY_EXISTS:
		return "ALREADY_EXISTS";
	case RPC_PERMISSION_DENIED:
		return "PERMISSION_DENIED";
	case RPC_RESOURCE_EXHAUSTED:
		return "RESOURCE_EXHAUSTED";
	case RPC_FAILED_PRECONDITION:
		return "FAILED_PRECONDITION";
	case RPC_ABORTED:
		return "ABORTED";
	case RPC_OUT_OF_RANGE:
		return "OUT_OF_RANGE";
	case RPC_UNIMPLEMENTED:
		return "UNIMPLEMENTED";
	case RPC_INTERNAL:
		return "INTERNAL";
	case RPC_UNAVAILABLE:
		return "UNAVAILABLE";
	case RPC_DATA_LOSS:
		return "DATA_LOSS";
	case RPC_UNAUTHENTICATED:
		return "UNAUTHENTICATED";
	case RPC_UNKNOWN:
		break;
	}
	return "UNKNOWN";
}

rpc_limits rpc_limits_default(void)
{
	return (rpc_limits){
		.max_message = 16 << 20,
		.max_unpacked = 64 << 20,
		.max_clients = 4096,
		.max_in_flight = 16,
		.max_streams = 16,
		.reply_timeout_ms = 2000,
		.stream_lease_ms = 30000,
		.max_cached_reply = 1 << 20,
		.max_cached = 8 << 20,
	};
}
