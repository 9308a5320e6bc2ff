/* SPDX-License-Identifier: MIT */
/*
 * The frame: what one message between two processes looks like, before any protobuf is parsed.
 *
 *   offset size
 *    0  4  magic "ORM1"
 *    4  1  major version: another one is refused
 *    5  1  minor version: for information
 *    6  1  kind (rpc_kind)
 *    7  1  flags (RPC_FLAG_...)
 *    8  1  status code, in replies (rpc_code)
 *    9  1  reserved, 0
 *   10  2  length of the method path
 *   12  4  length of the Head
 *   16  4  length of the payload
 *   20  4  lane
 *   24 16  client id; zeros: anonymous
 *   40  8  the server's epoch; 0 in a request: not known yet
 *   48  8  seq: the call's number on its lane
 *   56  8  ack_seq: the client has no further interest in numbers up to this one
 *   64  4  deadline: milliseconds left; 0xffffffff: none. In a HELLO's reply: largest message the server takes
 *   68  4  chunk: number of a stream's message, 0 the first
 *   72     path, Head (protobuf), payload (protobuf), nothing else
 *
 * All numbers are little-endian. There is no checksum: the transports (local sockets, TCP, TLS) have theirs.
 */
#ifndef RPC_FRAME_H
#define RPC_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RPC_FRAME_HEADER_SIZE 72
#define RPC_FRAME_MAJOR       1
#define RPC_FRAME_MINOR       0
#define RPC_FRAME_NO_DEADLINE UINT32_MAX
#define RPC_CLIENT_ID_SIZE    16

typedef enum rpc_kind {
	RPC_KIND_REQUEST = 1, /* run a method */
	RPC_KIND_REPLY = 2,   /* the answer to anything that has one */
	RPC_KIND_CANCEL = 3,  /* of the request (or stream) with this seq; not answered */
	RPC_KIND_NEXT = 4,    /* message `chunk` of the stream that request `seq` opened, please */
	RPC_KIND_CLOSE = 5,   /* that stream is no longer wanted; not answered */
	RPC_KIND_HELLO = 6,   /* who are you? Answered at once, with epoch and limit */
	RPC_KIND_BYE = 7      /* the client ends in good order and may be forgotten; answered at once */
} rpc_kind;

enum {
	RPC_FLAG_LAST = 1,         /* reply: the stream's last message, or of a failed call */
	RPC_FLAG_NOT_EXECUTED = 2, /* reply: refused before any handler saw it */
	RPC_FLAG_SUPERSEDED = 4,   /* reply: a repetition of this request waits in its place; ignore this reply */
	RPC_FLAG_STREAM = 8,       /* reply: one message of a stream */
	RPC_FLAG_EMPTY = 16        /* reply: the stream's end, without another message */
};

typedef struct rpc_frame {
	uint8_t major, minor, kind, flags, code;
	uint16_t path_size;
	uint32_t head_size, payload_size, lane, deadline_ms, chunk;
	uint8_t client_id[RPC_CLIENT_ID_SIZE];
	uint64_t epoch, seq, ack_seq;
	const char *path; /* borrowed from the decoded bytes, not terminated */
	const uint8_t *head, *payload;
} rpc_frame;

/*
 * Read a frame's fixed part and find the others. False: the bytes are no frame (too short, wrong magic, or
 * lengths that do not add up), and their sender is best hung up on. Version, kind and the rest are not judged.
 */
bool rpc_frame_decode(rpc_frame *frame, const uint8_t *bytes, size_t size);

/* Write the fixed part; magic and version are put in, the borrowed pointers are not looked at. */
void rpc_frame_encode(const rpc_frame *frame, uint8_t bytes[RPC_FRAME_HEADER_SIZE]);

bool rpc_client_id_is_zero(const uint8_t id[RPC_CLIENT_ID_SIZE]);

#endif
