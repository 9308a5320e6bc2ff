/* SPDX-License-Identifier: MIT */
#include "session/flush_keys.h"

#include "base/error.h"
#include "session/flush_fail.h"
#include "sql/compile.h"

/* ---- what is needed ----------------------------------------------------------------------------------------- */

static bool same_values(const ormd_layout *layout, const ormd_record *record, const uint16_t *columns,
			const ormd_record *other, const uint16_t *other_columns, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++) {
		orm_value mine, theirs;

		ormd_record_value(layout, record, columns[i], &mine);
		ormd_record_value(layout, other, other_columns[i], &theirs);
		if (mine.null || !orm_value_equal(&mine, &theirs))
			return false;
	}
	return true;
}

/* The engine takes a row that refers to itself for one that is referred to. */
static bool refers_to_itself(const ormd_layout *layout, const orm_mapper *mapper, const ormd_record *record)
{
	for (uint16_t i = 0; i < mapper->n_foreign_keys; i++) {
		const orm_foreign_key *key = &mapper->foreign_keys[i];

		if (key->target == mapper &&
		    same_values(layout, record, key->columns, record, key->target_columns, key->n_columns))
			return true;
	}
	return false;
}

static bool deletes_such_rows(const ormd_flush *flush)
{
	for (size_t i = 0; i < flush->plan.n_steps; i++) {
		const ormd_plan_step *step = &flush->plan.steps[i];
		const ormd_layout *layout = &flush->session->mappers[step->mapper->number].layout;

		for (size_t j = 0; step->kind == ORMD_DELETE && step->mapper->in_cycle && j < step->n_objects; j++) {
			if (refers_to_itself(layout, step->mapper, ormd_object_committed(step->objects[j])))
				return true;
		}
	}
	return false;
}

/* Does the engine do something to other rows when one of these is deleted? */
static bool has_acting_keys(const orm_registry *registry, const orm_mapper *mapper)
{
	for (uint16_t i = 0; i < registry->n_mappers; i++) {
		for (uint16_t j = 0; j < registry->mappers[i].n_foreign_keys; j++) {
			const orm_foreign_key *key = &registry->mappers[i].foreign_keys[j];

			if (key->target == mapper && key->on_delete != ORM_NO_ACTION && key->on_delete != ORM_RESTRICT)
				return true;
		}
	}
	return false;
}

void ormd_key_watch_init(ormd_key_watch *watch, const ormd_flush *flush, ormd_connection *connection)
{
	*watch = (ormd_key_watch){.flush = flush, .connection = connection};
	watch->needed =
		connection->driver->dialect->suspend_foreign_keys && (flush->plan.defer || deletes_such_rows(flush));
}

static orm_status shut(ormd_key_watch *watch, bool wanted, orm_error *error)
{
	const ormd_dialect *dialect = watch->connection->driver->dialect;
	orm_status status = ORM_OK;

	if (watch->shut != wanted)
		status = watch->connection->driver->run(
			watch->connection, wanted ? dialect->suspend_foreign_keys : dialect->resume_foreign_keys,
			error);
	if (status == ORM_OK)
		watch->shut = wanted;
	return status;
}

orm_status ormd_key_watch_step(ormd_key_watch *watch, const ormd_plan_step *step, orm_error *error)
{
	if (!watch->needed)
		return ORM_OK;
	return shut(watch, step->kind != ORMD_DELETE || !has_acting_keys(watch->flush->session->registry, step->mapper),
		    error);
}

/* ---- looking ------------------------------------------------------------------------------------------------ */

/* Is there a row with these values, not counting those that are being taken away? It is locked. */
static orm_status is_there(ormd_key_watch *watch, const orm_mapper *mapper, const uint16_t *columns,
			   const orm_value *values, uint16_t n, bool *there, orm_error *error)
{
	const ormd_driver *driver = watch->connection->driver;
	const uint8_t type = (uint8_t)mapper->columns[mapper->key[0]].type;
	ormd_term terms[ORM_MAX_COLUMNS];
	const ormd_select select = {.mapper = mapper,
				    .columns = mapper->key,
				    .n_columns = 1,
				    .where = terms,
				    .n_where = n,
				    .limit = 1,
				    .lock = ORMD_LOCK_WAIT};
	orm_batch_builder builder = {0};
	ormd_cursor *cursor = NULL;
	const orm_value *parameters;
	orm_arena arena;
	orm_buffer sql;
	size_t n_parameters = 0;
	size_t n_rows = 0;
	bool done = false;
	orm_status status = ORM_OK;

	for (uint16_t i = 0; i < n; i++)
		terms[i] = (ormd_term){.op = ORMD_EQ, .column = columns[i], .values = &values[i], .n_values = 1};
	orm_arena_init(&arena, 0);
	orm_buffer_init(&sql);
	ormd_sql_select(driver->dialect, &select, &sql);
	parameters = ormd_select_parameters(&select, &arena, &n_parameters);
	if (!orm_batch_builder_init(&builder, mapper, mapper->key, 1) || sql.failed || !parameters)
		status = orm_fail(error, ORM_ENOMEM, "out of memory");
	else if (!(cursor = driver->query(watch->connection, sql.data, parameters, n_parameters, &type, 1, error)))
		status = error->code;
	else
		status = driver->fetch(cursor, &builder, 1, SIZE_MAX, &n_rows, &done, error);
	driver->close_cursor(cursor);
	orm_batch_builder_fini(&builder);
	orm_buffer_fini(&sql);
	orm_arena_fini(&arena);
	*there = n_rows > 0;
	return status;
}

/* False: one is NULL, which refers to nothing. */
static bool read_values(const ormd_layout *layout, const ormd_record *record, const uint16_t *columns, uint16_t n,
			orm_value *values)
{
	for (uint16_t i = 0; i < n; i++) {
		ormd_record_value(layout, record, columns[i], &values[i]);
		if (values[i].null)
			return false;
	}
	return true;
}

/* What the row refers to must be there. */
static orm_status check_references(ormd_key_watch *watch, const ormd_object *object, orm_error *error)
{
	const ormd_session *session = watch->flush->session;
	const ormd_layout *layout = ormd_object_layout(session, object);
	const orm_mapper *mapper = ormd_object_mapper(session, object);
	orm_status status = ORM_OK;

	for (uint16_t i = 0; i < mapper->n_foreign_keys && status == ORM_OK; i++) {
		const orm_foreign_key *key = &mapper->foreign_keys[i];
		const char *column = mapper->columns[key->columns[0]].name;
		orm_value values[ORM_MAX_COLUMNS];
		bool there = false;

		if (!read_values(layout, object->record, key->columns, key->n_columns, values))
			continue;
		status = is_there(watch, key->target, key->target_columns, values, key->n_columns, &there, error);
		if (status != ORM_OK || there)
			continue;
		orm_fail(error, ORM_ECONSTRAINT, "%s.%s: refers to a row of %s that does not exist; add that one first",
			 mapper->table, column, key->target->table);
		orm_error_at(error, mapper->table, column, NULL);
		status = ormd_flush_fail_row(session, object, error);
	}
	return status;
}

/* Nobody may refer any more to what `before` had and no row has now. */
static orm_status check_referrers(ormd_key_watch *watch, const ormd_object *object, const ormd_record *before,
				  const ormd_record *after, orm_error *error)
{
	const ormd_session *session = watch->flush->session;
	const orm_registry *registry = session->registry;
	const ormd_layout *layout = ormd_object_layout(session, object);
	const orm_mapper *mapper = ormd_object_mapper(session, object);
	orm_status status = ORM_OK;

	for (uint16_t i = 0; i < registry->n_mappers; i++) {
		const orm_mapper *child = &registry->mappers[i];

		for (uint16_t j = 0; j < child->n_foreign_keys && status == ORM_OK; j++) {
			const orm_foreign_key *key = &child->foreign_keys[j];
			orm_value values[ORM_MAX_COLUMNS];
			bool referred = false;
			bool there = false;

			if (key->target != mapper ||
			    !read_values(layout, before, key->target_columns, key->n_columns, values) ||
			    (after && same_values(layout, before, key->target_columns, after, key->target_columns,
						  key->n_columns)))
				continue;
			status = is_there(watch, child, key->columns, values, key->n_columns, &referred, error);
			if (status == ORM_OK && referred)
				status = is_there(watch, mapper, key->target_columns, values, key->n_columns, &there,
						  error);
			if (status != ORM_OK || !referred || there)
				continue;
			orm_fail(error, ORM_ECONSTRAINT,
				 "%s: rows of %s still refer to this one by %s; delete or change them first",
				 mapper->table, child->table, child->columns[key->columns[0]].name);
			orm_error_at(error, mapper->table, NULL, NULL);
			status = ormd_flush_fail_row(session, object, error);
		}
	}
	return status;
}

static orm_status check_step(ormd_key_watch *watch, const ormd_plan_step *step, orm_error *error)
{
	orm_status status = ORM_OK;

	for (size_t i = 0; i < step->n_objects && status == ORM_OK; i++) {
		const ormd_object *object = step->objects[i];
		const ormd_object *replaced = step->replaced ? step->replaced[i] : NULL;
		const ormd_record *before = ormd_object_committed(replaced ? replaced : object);
		const bool deleted = step->kind == ORMD_DELETE;

		if (!deleted)
			status = check_references(watch, object, error);
		if (status == ORM_OK && before)
			status = check_referrers(watch, object, before, deleted ? NULL : object->record, error);
	}
	return status;
}

orm_status ormd_key_watch_check(ormd_key_watch *watch, orm_error *error)
{
	const ormd_plan *plan = &watch->flush->plan;
	orm_status status = ORM_OK;

	if (!watch->needed)
		return ORM_OK;
	status = shut(watch, false, error);
	for (size_t i = 0; i < plan->n_steps && status == ORM_OK; i++) {
		/* What a row left out at first, or did ahead, is the same row's affair. */
		if (plan->steps[i].phase == ORMD_PHASE_MAIN)
			status = check_step(watch, &plan->steps[i], error);
	}
	return status;
}

void ormd_key_watch_fini(ormd_key_watch *watch)
{
	/* Or the connection's next user writes with its eyes shut. */
	if (watch->shut && !watch->connection->lost && shut(watch, false, NULL) != ORM_OK)
		watch->connection->lost = true;
}
