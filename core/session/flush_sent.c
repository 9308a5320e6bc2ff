/* SPDX-License-Identifier: MIT */
#include "session/flush_sent.h"

#include "base/error.h"
#include "session/flush_fail.h"

static orm_status keep_returned(ormd_flush *flush, const ormd_sent *sent, orm_error *error)
{
	const ormd_write *write = &sent->write;
	const ormd_layout *layout = &flush->session->mappers[sent->step->mapper->number].layout;

	for (size_t i = 0; i < write->n_rows && write->n_returning > 0; i++) {
		ormd_object *object = sent->step->objects[sent->first + i];
		ormd_made_record *made = orm_arena_calloc(&flush->scratch, 1, sizeof *made);
		ormd_record *record = ormd_record_with(layout, object->record, sent->returning,
						       write->returned + i * write->n_returning, write->n_returning,
						       &flush->session->pool);

		if (!made || !record) {
			ormd_record_free(record, &flush->session->pool);
			return orm_fail(error, ORM_ENOMEM, "out of memory");
		}
		*made = (ormd_made_record){flush->made, object, record, sent->returning, write->n_returning};
		flush->made = made;
	}
	return ORM_OK;
}

orm_status ormd_flush_take_outcome(ormd_flush *flush, const ormd_sent *sent, orm_error *error)
{
	const ormd_plan_step *step = sent->step;

	for (size_t i = 0; sent->write.affected && i < sent->write.n_rows; i++) {
		const size_t number = sent->first + i;

		if (sent->write.affected[i] == 0)
			return ormd_flush_fail_stale(flush->session,
						     step->replaced ? step->replaced[number] : step->objects[number],
						     step, error);
	}
	return keep_returned(flush, sent, error);
}

/* The driver failed with these rows: say which row it was. */
static orm_status name_row(const ormd_flush *flush, const ormd_sent *sent, orm_status status, orm_error *error)
{
	if (status != ORM_ECONSTRAINT && status != ORM_EINVAL)
		return status;
	return ormd_flush_fail_row(flush->session, sent->step->objects[sent->first + sent->write.failed_row], error);
}

orm_status ormd_flush_collect(ormd_flush *flush, ormd_connection *connection, orm_error *error)
{
	const ormd_sent *sent = flush->sent;
	ormd_write *failed = NULL;
	const orm_status status = sent ? connection->driver->collect(connection, &failed, error) : ORM_OK;

	flush->sent = NULL;
	flush->last_sent = &flush->sent;
	flush->n_sent = 0;
	if (status != ORM_OK && !failed)
		return status;
	for (; sent; sent = sent->next) {
		orm_error stale;

		if (&sent->write == failed)
			return name_row(flush, sent, status, error);
		if (ormd_flush_take_outcome(flush, sent, &stale) != ORM_OK) {
			*error = stale;
			return stale.code;
		}
	}
	return status;
}

orm_status ormd_flush_fail_sending(ormd_flush *flush, ormd_connection *connection, const ormd_sent *sent,
				   orm_status status, orm_error *error)
{
	orm_error earlier;

	if (flush->sent && !connection->lost && ormd_flush_collect(flush, connection, &earlier) != ORM_OK) {
		*error = earlier;
		return earlier.code;
	}
	return sent ? name_row(flush, sent, status, error) : status;
}
