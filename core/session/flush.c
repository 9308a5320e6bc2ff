/* SPDX-License-Identifier: MIT */
#include "session/flush.h"

#include <stdio.h>

#include "base/error.h"
#include "base/map.h"
#include "session/flush_fail.h"
#include "session/flush_keys.h"
#include "session/flush_sent.h"
#include "session/select_by.h"
#include "sql/compile.h"

#define MAX_CELLS 8192 /* of one chunk of rows: what fits the processor's caches */
#define MAX_ROWS  512
#define REMOTE_CELLS                                                                                                   \
	262144 /* the same where a chunk is a round trip to a server, which has ways of its own for many               \
		*/
#define REMOTE_ROWS 32768
#define MAX_SENT    32768 /* rows whose outcome is not asked for yet */

/* A row that has another value than its object for the moment. */
struct ormd_temporary {
	ormd_temporary *next;
	ormd_object *object;
	uint16_t column;
	orm_value value;
};

/* One step being written. */
typedef struct step_writer {
	ormd_flush *flush;
	ormd_connection *connection;
	const ormd_plan_step *step;
	const ormd_layout *layout;
	const uint16_t *returning; /* columns */
	uint8_t *returning_types;
	size_t n_returning;
	uint16_t columns[ORM_MAX_COLUMNS]; /* that an INSERT or UPDATE writes */
	size_t n_columns;
	size_t n_parameters;
	size_t max_rows;
	orm_value *values;
	orm_buffer sql;
} step_writer;

/* ---- values ------------------------------------------------------------------------------------------------- */

/* As ormd_record_value, inline: every cell written passes here. */
static inline void read_cell(const ormd_layout *layout, const ormd_record *record, uint16_t column, orm_value *value)
{
	const uint8_t type = layout->cells[column].type;

	value->type = type;
	value->null = ormd_record_is_null(layout, record, column);
	value->size = 0;
	switch ((orm_type)type) {
	case ORM_TEXT:
	case ORM_BYTES:
	case ORM_DECIMAL:
	case ORM_JSON:
		value->bytes = ormd_record_bytes(layout, record, column, &value->size);
		break;
	case ORM_BOOL:
		value->boolean = ormd_record_bool(layout, record, column);
		break;
	case ORM_UUID:
		value->bytes = ormd_record_at(record, layout->cells[column].offset);
		value->size = sizeof(orm_uuid);
		break;
	case ORM_DOUBLE:
		value->number = ormd_record_double(layout, record, column);
		break;
	default:
		value->integer = ormd_record_integer(layout, record, column);
		break;
	}
}

static orm_value integer_value(const ormd_layout *layout, uint16_t column, int64_t integer)
{
	return (orm_value){.type = layout->cells[column].type, .integer = integer};
}

/* What the version is after the object's INSERT or UPDATE. A row switch goes on counting, so that nobody takes the new
 * row for the old one. */
static int64_t new_version(const ormd_layout *layout, const ormd_object *object, const ormd_object *replaced)
{
	const uint16_t column = layout->mapper->version;
	const ormd_record *before = ormd_object_committed(replaced ? replaced : object);

	if (before)
		return ormd_record_integer(layout, before, column) + 1;
	if (ormd_record_is_null(layout, object->record, column) ||
	    ormd_record_integer(layout, object->record, column) == 0)
		return 1;
	return ormd_record_integer(layout, object->record, column);
}

static const ormd_temporary *find_temporary(const ormd_flush *flush, const ormd_object *object, uint16_t column)
{
	const ormd_temporary *temporary = flush->temporaries;

	while (temporary && (temporary->object != object || temporary->column != column))
		temporary = temporary->next;
	return temporary;
}

/* ---- temporary values --------------------------------------------------------------------------------------- */

static orm_status is_used(ormd_connection *connection, const orm_mapper *mapper, uint16_t column,
			  const orm_value *value, orm_arena *arena, bool *used, orm_error *error)
{
	const ormd_term term = {.op = ORMD_EQ, .column = column, .values = value, .n_values = 1};
	const ormd_select select = {
		.mapper = mapper, .result = ORMD_EXISTS, .where = &term, .n_where = 1, .limit = ORMD_NO_LIMIT};
	size_t n_parameters = 0;
	const orm_value *parameters = ormd_select_parameters(&select, arena, &n_parameters);
	int64_t exists = 1;
	orm_buffer sql;
	orm_status status;

	orm_buffer_init(&sql);
	ormd_sql_select(connection->driver->dialect, &select, &sql);
	if (sql.failed || !parameters)
		status = orm_fail(error, ORM_ENOMEM, "out of memory");
	else
		status = ormd_select_integer(connection, sql.data, parameters, n_parameters, &exists, error);
	orm_buffer_fini(&sql);
	*used = exists != 0;
	return status;
}

/* Of as many digits as the column has, up to those of a random number. */
static bool unlikely_decimal(const orm_column *column, uint64_t random, orm_arena *arena, orm_value *value)
{
	char *text = orm_arena_alloc(arena, ORM_DECIMAL_SIZE);
	uint64_t limit = 1;

	if (!text)
		return false;
	for (unsigned i = 0; i < column->precision && i < 18; i++)
		limit *= 10;
	orm_decimal_from_int64((int64_t)(random % limit), column->scale, text);
	value->text = text;
	value->size = (uint32_t)strlen(text);
	return true;
}

static bool unlikely_uuid(uint64_t random, orm_arena *arena, orm_value *value)
{
	orm_uuid *uuid = orm_arena_calloc(arena, 1, sizeof *uuid);

	if (!uuid)
		return false;
	memcpy(uuid->bytes, &random, sizeof random);
	value->bytes = uuid;
	value->size = sizeof *uuid;
	return true;
}

/* A value of the column's type that hardly anybody has. JSON is never unique, and so never asked for. */
static bool unlikely_value(const orm_column *column, uint64_t random, orm_arena *arena, orm_value *value)
{
	static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";
	const uint32_t size = column->max_length > 0 && column->max_length < 12 ? column->max_length : 12;

	*value = (orm_value){.type = (uint8_t)column->type};
	switch (column->type) {
	case ORM_TEXT:
	case ORM_BYTES: {
		char *text = orm_arena_alloc(arena, size + 1);

		if (!text)
			return false;
		for (uint32_t i = 0; i < size; i++, random /= 36)
			text[i] = digits[random % 36];
		text[size] = '\0';
		value->size = size;
		value->text = text;
		return true;
	}
	case ORM_BOOL:
		value->boolean = random & 1;
		return true;
	case ORM_INT32:
		value->integer = (int64_t)(random % INT32_MAX);
		return true;
	case ORM_DATE:
		value->integer = (int64_t)(random % 2000000);
		return true;
	case ORM_TIME:
		value->integer = (int64_t)(random % UINT64_C(86400000000));
		return true;
	case ORM_DATETIME: /* in years that every engine keeps: to 9892 */
		value->integer = (int64_t)(random % UINT64_C(250000000000000000));
		return true;
	case ORM_DOUBLE:
		value->number = (double)(random >> 11);
		return true;
	case ORM_DECIMAL:
		return unlikely_decimal(column, random, arena, value);
	case ORM_UUID:
		return unlikely_uuid(random, arena, value);
	default:
		value->integer = (int64_t)(random >> 2);
		return true;
	}
}

/* A value for the column that no row has, until the row can take its own. */
static orm_status make_temporary(step_writer *writer, ormd_object *object, uint16_t number, orm_value *value,
				 orm_error *error)
{
	ormd_flush *flush = writer->flush;
	const orm_mapper *mapper = writer->step->mapper;
	const orm_column *column = &mapper->columns[number];
	ormd_temporary *temporary = orm_arena_calloc(&flush->scratch, 1, sizeof *temporary);
	orm_status status = ORM_OK;
	bool used = false;

	for (uint64_t i = 0; temporary && i < 64; i++) {
		if (!unlikely_value(column, orm_hash_u64(object->handle + (i << 32)), &flush->scratch, value))
			break;
		status = is_used(writer->connection, mapper, number, value, &flush->scratch, &used, error);
		if (status != ORM_OK)
			return status;
		if (used)
			continue;
		*temporary = (ormd_temporary){
			.next = flush->temporaries, .object = object, .column = number, .value = *value};
		flush->temporaries = temporary;
		return ORM_OK;
	}
	if (!temporary)
		return orm_fail(error, ORM_ENOMEM, "out of memory");
	orm_fail(error, ORM_ECONSTRAINT,
		 "%s.%s: rows exchange this unique value, and there is no other that one of them could have meanwhile; "
		 "do it in two commits",
		 mapper->table, column->name);
	orm_error_at(error, mapper->table, column->name, NULL);
	return ormd_flush_fail_row(flush->session, object, error);
}

/* Its row has got its own values of these columns. */
static void end_temporaries(ormd_flush *flush, const ormd_object *object, const ormd_shape *shape)
{
	for (ormd_temporary **link = &flush->temporaries; *link;) {
		bool over = false;

		for (uint16_t i = 0; i < shape->n_columns; i++)
			over = over || ((*link)->object == object && (*link)->column == shape->columns[i]);
		if (over)
			*link = (*link)->next;
		else
			link = &(*link)->next;
	}
}

/* ---- one row's parameters ----------------------------------------------------------------------------------- */

static orm_status put_stand_ins(step_writer *writer, ormd_object *object, orm_value *row, orm_error *error)
{
	const ormd_shape *shape = &writer->step->shape;
	orm_status status = ORM_OK;

	for (uint16_t i = 0; i < shape->n_columns && status == ORM_OK; i++) {
		if (shape->stand_ins[i] == ORMD_STAND_IN_NULL)
			row[i] = (orm_value){.type = writer->layout->cells[shape->columns[i]].type, .null = true};
		else if (shape->stand_ins[i] == ORMD_STAND_IN_TEMPORARY)
			status = make_temporary(writer, object, shape->columns[i], &row[i], error);
	}
	return status;
}

/* Which row: the key that it has in the database by now, and the version. */
static orm_value *put_where(const step_writer *writer, const ormd_object *object, const ormd_object *replaced,
			    orm_value *next)
{
	const ormd_layout *layout = writer->layout;
	const orm_mapper *mapper = writer->step->mapper;
	const bool written = writer->step->phase == ORMD_PHASE_LATER;
	const ormd_record *record = written ? object->record : ormd_object_committed(replaced ? replaced : object);

	for (uint16_t i = 0; i < mapper->n_key; i++) {
		const ormd_temporary *temporary =
			written ? find_temporary(writer->flush, object, mapper->key[i]) : NULL;

		if (temporary)
			*next++ = temporary->value;
		else
			read_cell(layout, record, mapper->key[i], next++);
	}
	if (mapper->version != ORM_NO_NUMBER)
		*next++ = integer_value(layout, mapper->version,
					written ? new_version(layout, object, replaced)
						: ormd_record_integer(layout, record, mapper->version));
	return next;
}

static orm_status put_row(step_writer *writer, size_t number, orm_value *row, orm_error *error)
{
	const ormd_plan_step *step = writer->step;
	const ormd_layout *layout = writer->layout;
	const uint16_t version = step->mapper->version;
	ormd_object *object = step->objects[number];
	const ormd_object *replaced = step->replaced ? step->replaced[number] : NULL;
	orm_value *next = row;

	for (uint16_t i = 0; i < step->shape.n_columns; i++)
		read_cell(layout, object->record, step->shape.columns[i], next++);
	if (version != ORM_NO_NUMBER && step->phase == ORMD_PHASE_MAIN && step->kind != ORMD_DELETE) {
		const orm_value value = integer_value(layout, version, new_version(layout, object, replaced));

		if (step->kind == ORMD_UPDATE)
			*next++ = value;
		for (uint16_t i = 0; step->kind == ORMD_INSERT && i < step->shape.n_columns; i++) {
			if (step->shape.columns[i] == version)
				row[i] = value;
		}
	}
	if (step->kind != ORMD_INSERT)
		put_where(writer, object, replaced, next);
	return step->shape.stand_ins ? put_stand_ins(writer, object, row, error) : ORM_OK;
}

/* ---- one step ----------------------------------------------------------------------------------------------- */

/* Columns that an INSERT leaves to the server: to be read back. */
static bool find_returning(step_writer *writer)
{
	const ormd_plan_step *step = writer->step;
	const orm_mapper *mapper = step->mapper;
	uint16_t *columns;
	uint16_t n_given = 0;

	if (step->kind != ORMD_INSERT || step->shape.n_columns == mapper->n_columns || !writer->flush->keep)
		return true;
	columns = orm_arena_calloc(&writer->flush->scratch, mapper->n_columns, sizeof *columns);
	writer->returning_types = orm_arena_calloc(&writer->flush->scratch, mapper->n_columns, 1);
	if (!columns || !writer->returning_types)
		return false;
	for (uint16_t i = 0; i < mapper->n_columns; i++) {
		if (n_given < step->shape.n_columns && step->shape.columns[n_given] == i) {
			n_given++;
			continue;
		}
		writer->returning_types[writer->n_returning] = (uint8_t)mapper->columns[i].type;
		columns[writer->n_returning++] = i;
	}
	writer->returning = columns;
	return true;
}

/* The version is counted in the same statement. */
static void compile_update(step_writer *writer, const ormd_dialect *dialect)
{
	const ormd_plan_step *step = writer->step;

	if (step->mapper->version != ORM_NO_NUMBER && step->phase == ORMD_PHASE_MAIN)
		writer->columns[writer->n_columns++] = step->mapper->version;
	if (writer->n_columns > 0)
		ormd_sql_update(dialect, step->mapper, writer->columns, writer->n_columns, &writer->sql);
}

static bool compile(step_writer *writer)
{
	const ormd_plan_step *step = writer->step;
	const ormd_dialect *dialect = writer->connection->driver->dialect;

	writer->n_columns = step->shape.n_columns;
	if (writer->n_columns)
		memcpy(writer->columns, step->shape.columns, writer->n_columns * sizeof *writer->columns);
	switch (step->kind) {
	case ORMD_INSERT:
		ormd_sql_insert(dialect, step->mapper, writer->columns, writer->n_columns, writer->returning,
				writer->n_returning, &writer->sql);
		break;
	case ORMD_UPDATE:
		compile_update(writer, dialect);
		break;
	case ORMD_DELETE:
		ormd_sql_delete(dialect, step->mapper, &writer->sql);
		break;
	}
	writer->n_parameters = writer->n_columns;
	if (step->kind != ORMD_INSERT)
		writer->n_parameters += (size_t)step->mapper->n_key + (step->mapper->version != ORM_NO_NUMBER);
	return !writer->sql.failed;
}

static bool is_told_later(const step_writer *writer)
{
	return writer->connection->driver->collect != NULL;
}

static bool make_room(step_writer *writer)
{
	const bool remote = !writer->connection->driver->single_writer;
	const size_t max_rows = remote ? REMOTE_ROWS : MAX_ROWS;

	writer->max_rows = (remote ? REMOTE_CELLS : MAX_CELLS) / (writer->n_parameters + writer->n_returning + 1);
	if (writer->max_rows > max_rows)
		writer->max_rows = max_rows;
	if (writer->max_rows > writer->step->n_objects)
		writer->max_rows = writer->step->n_objects;
	if (writer->max_rows == 0)
		writer->max_rows = 1;
	writer->values =
		orm_arena_calloc(&writer->flush->step, writer->max_rows * writer->n_parameters, sizeof *writer->values);
	return writer->values != NULL;
}

/* What the driver is given, and what it gives: that lives as long as the outcome is open. NULL: out of memory. */
static ormd_sent *new_sent(step_writer *writer, size_t first, size_t n_rows)
{
	static const ormd_write_kind kinds[] = {[ORMD_INSERT] = ORMD_WRITE_INSERT,
						[ORMD_UPDATE] = ORMD_WRITE_UPDATE,
						[ORMD_DELETE] = ORMD_WRITE_DELETE};
	const ormd_plan_step *step = writer->step;
	orm_arena *arena = is_told_later(writer) ? &writer->flush->scratch : &writer->flush->step;
	ormd_sent *sent = orm_arena_calloc(arena, 1, sizeof *sent);
	orm_value *returned = orm_arena_calloc(arena, n_rows * writer->n_returning, sizeof *returned);
	size_t *affected = orm_arena_calloc(arena, n_rows, sizeof *affected);

	if (!sent || !returned || !affected)
		return NULL;
	*sent = (ormd_sent){.step = step, .first = first, .returning = writer->returning};
	sent->write = (ormd_write){.sql = writer->sql.data,
				   .kind = kinds[step->kind],
				   .mapper = step->mapper,
				   .columns = writer->columns,
				   .n_columns = writer->n_columns,
				   .n_parameters = writer->n_parameters,
				   .n_rows = n_rows,
				   .values = writer->values,
				   .affected = step->kind == ORMD_INSERT ? NULL : affected,
				   .n_returning = writer->n_returning,
				   .returning = writer->returning_types,
				   .returned = returned,
				   .arena = arena,
				   .later = is_told_later(writer)};
	return sent;
}

static orm_status write_rows(step_writer *writer, size_t first, size_t n_rows, orm_error *error)
{
	const ormd_plan_step *step = writer->step;
	ormd_flush *flush = writer->flush;
	ormd_sent *sent = new_sent(writer, first, n_rows);
	orm_status status = sent ? ORM_OK : orm_fail(error, ORM_ENOMEM, "out of memory");

	for (size_t i = 0; i < n_rows && status == ORM_OK; i++)
		status = put_row(writer, first + i, writer->values + i * writer->n_parameters, error);
	if (status != ORM_OK)
		return ormd_flush_fail_sending(flush, writer->connection, NULL, status, error);
	status = writer->connection->driver->write(writer->connection, &sent->write, error);
	if (status != ORM_OK)
		return ormd_flush_fail_sending(flush, writer->connection, sent, status, error);
	if (!sent->write.later) {
		status = ormd_flush_take_outcome(flush, sent, error);
	} else {
		*flush->last_sent = sent;
		flush->last_sent = &sent->next;
		flush->n_sent += n_rows;
	}
	for (size_t i = 0; i < n_rows && step->phase == ORMD_PHASE_LATER && flush->temporaries; i++)
		end_temporaries(flush, step->objects[first + i], &step->shape);
	return status == ORM_OK && flush->n_sent > MAX_SENT ? ormd_flush_collect(flush, writer->connection, error)
							    : status;
}

static orm_status write_step(ormd_flush *flush, ormd_connection *connection, const ormd_plan_step *step,
			     orm_error *error)
{
	step_writer writer = {.flush = flush,
			      .connection = connection,
			      .step = step,
			      .layout = &flush->session->mappers[step->mapper->number].layout};
	orm_status status = ORM_OK;

	orm_arena_reset(&flush->step);
	orm_buffer_init(&writer.sql);
	if (!find_returning(&writer) || !compile(&writer) || !make_room(&writer))
		status = orm_fail(error, ORM_ENOMEM, "out of memory");
	/* A row switch to the very same values needs no statement. */
	for (size_t i = 0; i < step->n_objects && writer.sql.size > 0 && status == ORM_OK; i += writer.max_rows) {
		const size_t left = step->n_objects - i;

		status = write_rows(&writer, i, left < writer.max_rows ? left : writer.max_rows, error);
	}
	orm_buffer_fini(&writer.sql);
	return status;
}

/* ---- all of it ---------------------------------------------------------------------------------------------- */

orm_status ormd_flush_init(ormd_flush *flush, ormd_session *session, bool keep, orm_error *error)
{
	*flush = (ormd_flush){.session = session, .keep = keep};
	orm_arena_init(&flush->arena, 0);
	orm_arena_init(&flush->scratch, 0);
	orm_arena_init(&flush->step, 0);
	return ormd_plan_make(session, &flush->arena, &flush->plan, error);
}

/* What the latest run made, as far as it did not become the session's. */
static void forget_run(ormd_flush *flush)
{
	for (ormd_made_record *made = flush->made; made; made = made->next)
		ormd_record_free(made->record, &flush->session->pool);
	flush->made = NULL;
	flush->temporaries = NULL;
	flush->sent = NULL;
	flush->last_sent = &flush->sent;
	flush->n_sent = 0;
	orm_arena_reset(&flush->scratch);
}

void ormd_flush_fini(ormd_flush *flush)
{
	if (!flush || !flush->session)
		return;
	forget_run(flush);
	orm_arena_fini(&flush->step);
	orm_arena_fini(&flush->scratch);
	orm_arena_fini(&flush->arena);
	flush->session = NULL;
}

orm_status ormd_flush_run(ormd_flush *flush, ormd_connection *connection, orm_error *error)
{
	const char *defer = connection->driver->dialect->defer_foreign_keys;
	orm_error ignored;
	orm_error unwanted;
	ormd_key_watch watch;
	orm_status status = ORM_OK;

	forget_run(flush);
	if (!error)
		error = &ignored;
	ormd_key_watch_init(&watch, flush, connection);
	if (flush->plan.defer && defer)
		status = connection->driver->run(connection, defer, error);
	for (size_t i = 0; i < flush->plan.n_steps && status == ORM_OK; i++) {
		status = ormd_key_watch_step(&watch, &flush->plan.steps[i], error);
		if (status == ORM_OK)
			status = write_step(flush, connection, &flush->plan.steps[i], error);
	}
	if (status == ORM_OK)
		status = ormd_flush_collect(flush, connection, error);
	if (status == ORM_OK)
		status = ormd_key_watch_check(&watch, error);
	ormd_key_watch_fini(&watch);
	if (status == ORM_OK)
		return ORM_OK;
	/* What is still open writes into our memory. */
	if (flush->sent && !connection->lost)
		(void)ormd_flush_collect(flush, connection, &unwanted);
	return status;
}

static void apply_versions(ormd_flush *flush, const ormd_plan_step *step)
{
	const ormd_layout *layout = &flush->session->mappers[step->mapper->number].layout;
	const uint16_t column = step->mapper->version;

	for (size_t i = 0; i < step->n_objects; i++) {
		ormd_object *object = step->objects[i];
		const int64_t version = new_version(layout, object, step->replaced ? step->replaced[i] : NULL);

		if (ormd_record_is_null(layout, object->record, column) ||
		    ormd_record_integer(layout, object->record, column) != version)
			ormd_unit_set_server_integer(flush->session, object, column, version);
	}
}

void ormd_flush_apply(ormd_flush *flush)
{
	for (ormd_made_record *made = flush->made; made; made = made->next) {
		ormd_unit_set_server_record(flush->session, made->object, made->record, made->columns, made->n_columns);
		made->record = NULL;
	}
	flush->made = NULL;
	for (size_t i = 0; i < flush->plan.n_steps; i++) {
		const ormd_plan_step *step = &flush->plan.steps[i];

		if (step->kind != ORMD_DELETE && step->phase == ORMD_PHASE_MAIN &&
		    step->mapper->version != ORM_NO_NUMBER)
			apply_versions(flush, step);
	}
}
