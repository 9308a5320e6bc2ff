/* SPDX-License-Identifier: MIT */
#include "client/error.h"

#include <stdarg.h>
#include <string.h>

#include "base/error.h"
#include "client/connection.h"
#include "client/process.h"

const orm_error forked_error = {
	.code = ORM_EFORKED,
	.message = "this connection belongs to the parent process; call orm_connect in the child after fork()",
};

static const orm_error memory_error = {.code = ORM_ENOMEM, .message = "out of memory"};

/* ---- what a server said ---- */

/* gRPC's codes, where no ErrorDetail says it better. */
static orm_status status_of_code(rpc_code code)
{
	switch (code) {
	case RPC_CANCELLED:
		return ORM_ECANCELLED;
	case RPC_INVALID_ARGUMENT:
	case RPC_OUT_OF_RANGE:
		return ORM_EPROTOCOL;
	case RPC_DEADLINE_EXCEEDED:
		return ORM_ETIMEOUT;
	case RPC_NOT_FOUND:
		return ORM_ENOTFOUND;
	case RPC_ALREADY_EXISTS:
		return ORM_EEXIST;
	case RPC_PERMISSION_DENIED:
	case RPC_UNAUTHENTICATED:
		return ORM_EPERM;
	case RPC_RESOURCE_EXHAUSTED:
		return ORM_ELIMIT;
	case RPC_FAILED_PRECONDITION:
		return ORM_ESTATE;
	case RPC_UNIMPLEMENTED:
		return ORM_EUNSUPPORTED;
	case RPC_ABORTED: /* by the channel: the server was restarted, and the next one knows nothing of the call */
	case RPC_UNAVAILABLE:
		return ORM_EUNAVAILABLE;
	case RPC_DATA_LOSS:
		return ORM_EPROTOCOL;
	case RPC_OK:
	case RPC_UNKNOWN:
	case RPC_INTERNAL:
		break;
	}
	return ORM_EINTERNAL;
}

static const ProtobufCMessage *find_detail(const rpc_status *status, const ProtobufCMessageDescriptor *type,
					   orm_arena *arena)
{
	for (size_t i = 0; i < status->n_details; i++) {
		const rpc_detail *detail = &status->details[i];
		rpc_code code;

		if (strcmp(detail->type, type->name) == 0)
			return rpc_unpack(type, detail->value, detail->size, arena, &code);
	}
	return NULL;
}

void failure_read(const rpc_status *status, orm_arena *arena, orm_failure *failure)
{
	orm_status code = status_of_code(status->code);

	failure->code = status->code;
	failure->detail =
		(const Ormd__V1__ErrorDetail *)find_detail(status, &ormd__v1__error_detail__descriptor, arena);
	failure->conflicts =
		(const Ormd__V1__ConflictDetail *)find_detail(status, &ormd__v1__conflict_detail__descriptor, arena);

	/* A number that we do not know is a newer server's; ORM_OK would be nonsense. */
	if (failure->detail && failure->detail->has_status && failure->detail->status <= ORM_EINVAL &&
	    failure->detail->status >= ORM_EINTERNAL)
		code = (orm_status)failure->detail->status;
	orm_fail(&failure->error, code, "%s",
		 status->message && *status->message ? status->message : rpc_code_name(status->code));
	if (failure->detail)
		orm_error_at(&failure->error, failure->detail->model, failure->detail->column, failure->detail->key);
}

/* ---- the session's ---- */

orm_status session_enter(orm_session *session)
{
	if (!session)
		return ORM_ENOMEM;
	if (!process_is(session->db->process))
		return ORM_EFORKED;
	if (session->over && session->error.code == ORM_OK)
		return session_fail_with(session, ORM_ELOST,
					 "the last commit was written, but the server was restarted and the session "
					 "ended with it; open a new session");
	return session->error.code;
}

bool session_usable(const orm_session *session)
{
	return session && session->mirror && process_is(session->db->process);
}

orm_status session_fail(orm_session *session, const orm_error *error)
{
	const bool loss = error->code == ORM_ELOST || error->code == ORM_EFENCED;

	if (session->error.code == ORM_OK || (loss && !session->lost))
		session->error = *error;
	session->lost = session->lost || loss;
	return error->code;
}

orm_status session_fail_with(orm_session *session, orm_status code, const char *format, ...)
{
	orm_error error;
	va_list args;

	va_start(args, format);
	orm_fail_v(&error, code, format, args);
	va_end(args);
	return session_fail(session, &error);
}

orm_status session_fail_read_only(orm_session *session)
{
	return session_fail_with(session, ORM_EPERM,
				 "the session was opened read-only: nothing can be added, changed, deleted or locked in "
				 "it; open another for that");
}

const orm_error *orm_session_error(const orm_session *session)
{
	if (!session)
		return &memory_error;
	return process_is(session->db->process) ? &session->error : &forked_error;
}

void orm_session_clear_error(orm_session *session)
{
	if (session_usable(session) && !session->lost && !session->commit_unknown && !session->draft_unknown)
		orm_error_clear(&session->error);
}

const orm_error *orm_db_error(const orm_db *db)
{
	if (!db)
		return &memory_error;
	return process_is(db->process) ? &db->error : &forked_error;
}
