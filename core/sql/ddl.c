/* SPDX-License-Identifier: MIT */
#include "sql/ddl.h"

#include <string.h>
#include <strings.h>

#include <xxhash.h>

#include "base/error.h"

/* ---- names of constraints and indexes ----------------------------------------------------------------------- */

/* Is there another column whose table and name, joined by _, read the same: "order" + "line_id", "order_line" + "id"?
 */
static bool reads_as_another(const orm_mapper *mapper, const char *column)
{
	const orm_registry *registry = mapper->registry;
	char joined[2 * (ORM_MAX_NAME + 1)];
	const size_t table_len = strlen(mapper->table);

	if (!registry)
		return false;
	memcpy(joined, mapper->table, table_len);
	joined[table_len] = '_';
	strcpy(joined + table_len + 1, column); /* both are at most ORM_MAX_NAME long */
	for (size_t i = 0; i < registry->n_mappers; i++) {
		const orm_mapper *other = &registry->mappers[i];
		const size_t len = strlen(other->table);

		if (other == mapper || strncasecmp(other->table, joined, len) != 0 || joined[len] != '_')
			continue;
		for (size_t j = 0; j < other->n_columns; j++) {
			if (strcasecmp(other->columns[j].name, joined + len + 1) == 0)
				return true;
		}
	}
	return false;
}

/* Long or doubtful names end in a hash of what they are for: table and columns, which are not joined by a mere _ there.
 */
static void make_unmistakable(const orm_mapper *mapper, const uint16_t *columns, size_t n_columns, orm_buffer *name)
{
	const size_t suffix = 1 + 8;
	orm_buffer whole;
	size_t len = name->size;

	orm_buffer_init(&whole);
	orm_buffer_append(&whole, name->data, name->size + 1);
	orm_buffer_append(&whole, mapper->table, strlen(mapper->table) + 1);
	for (size_t i = 0; i < n_columns; i++)
		orm_buffer_append(&whole, mapper->columns[columns[i]].name,
				  strlen(mapper->columns[columns[i]].name) + 1);
	if (whole.failed) {
		name->failed = true;
	} else {
		if (len > ORM_MAX_NAME - suffix)
			len = ORM_MAX_NAME - suffix;
		while (len > 0 && ((unsigned char)name->data[len] & 0xC0) == 0x80) /* not through a character */
			len--;
		name->size = len;
		orm_buffer_printf(name, "_%08x", (unsigned)(XXH3_64bits(whole.data, whole.size) & 0xffffffff));
	}
	orm_buffer_fini(&whole);
}

/* kind_table_column[_column...][_target], quoted. */
static void put_name(const ormd_dialect *dialect, const char *kind, const orm_mapper *mapper, const uint16_t *columns,
		     size_t n_columns, const char *target, orm_buffer *out)
{
	orm_buffer name;

	orm_buffer_init(&name);
	orm_buffer_printf(&name, "%s_%s", kind, mapper->table);
	for (size_t i = 0; i < n_columns; i++)
		orm_buffer_printf(&name, "_%s", mapper->columns[columns[i]].name);
	if (target)
		orm_buffer_printf(&name, "_%s", target);
	if (!name.failed && (name.size > ORM_MAX_NAME ||
			     (n_columns == 1 && reads_as_another(mapper, mapper->columns[columns[0]].name))))
		make_unmistakable(mapper, columns, n_columns, &name);
	if (name.failed)
		out->failed = true;
	else
		ormd_sql_identifier(dialect, name.data, out);
	orm_buffer_fini(&name);
}

/* ---- CREATE TABLE ------------------------------------------------------------------------------------------ */

static void put_columns(const ormd_dialect *dialect, const orm_mapper *mapper, const uint16_t *columns,
			size_t n_columns, orm_buffer *out)
{
	orm_buffer_puts(out, " (");
	for (size_t i = 0; i < n_columns; i++) {
		if (i > 0)
			orm_buffer_puts(out, ", ");
		ormd_sql_identifier(dialect, mapper->columns[columns[i]].name, out);
	}
	orm_buffer_putc(out, ')');
}

static void put_column(const ormd_dialect *dialect, const orm_mapper *mapper, const orm_column *column, orm_buffer *out)
{
	const bool generated = mapper->generated_key && column->primary_key;

	ormd_sql_identifier(dialect, column->name, out);
	orm_buffer_putc(out, ' ');
	dialect->type(column, generated, out);
	if (generated)
		orm_buffer_puts(out, " PRIMARY KEY");
	else if (!column->nullable)
		orm_buffer_puts(out, " NOT NULL");
	if (column->server_default && column->type == ORM_DECIMAL && dialect->decimal_default) {
		orm_buffer_puts(out, " DEFAULT (");
		dialect->decimal_default(column, out);
		orm_buffer_putc(out, ')');
	} else if (column->server_default) {
		const bool is_now = strcmp(column->server_default, ORM_DEFAULT_NOW) == 0;

		orm_buffer_printf(out, " DEFAULT (%s)", is_now ? dialect->now(column->type) : column->server_default);
	}
}

static bool is_whole_key(const orm_mapper *mapper, const orm_column *column)
{
	return mapper->n_key == 1 && column->primary_key;
}

/* The program's condition and the engine's own in one constraint, since both have the one name. */
static void put_check(const ormd_dialect *dialect, const orm_mapper *mapper, const orm_column *column, orm_buffer *out)
{
	orm_buffer own;

	orm_buffer_init(&own);
	if (dialect->type_check)
		dialect->type_check(column, &own);
	if (own.failed) {
		out->failed = true;
	} else if (column->check || own.size > 0) {
		orm_buffer_puts(out, ",\n\tCONSTRAINT ");
		put_name(dialect, "ck", mapper, &column->number, 1, NULL, out);
		orm_buffer_puts(out, " CHECK (");
		if (column->check)
			orm_buffer_printf(out, own.size > 0 ? "(%s) AND " : "%s", column->check);
		orm_buffer_append(out, own.data, own.size);
		orm_buffer_putc(out, ')');
	}
	orm_buffer_fini(&own);
}

static const char *on_delete_clause(orm_on_delete on_delete)
{
	switch (on_delete) {
	case ORM_RESTRICT:
		return " ON DELETE RESTRICT";
	case ORM_CASCADE:
		return " ON DELETE CASCADE";
	case ORM_SET_NULL:
		return " ON DELETE SET NULL";
	case ORM_SET_DEFAULT:
		return " ON DELETE SET DEFAULT";
	default:
		return "";
	}
}

static void put_foreign_key_name(const ormd_dialect *dialect, const orm_mapper *mapper, const orm_foreign_key *key,
				 orm_buffer *out)
{
	put_name(dialect, "fk", mapper, key->columns, key->n_columns, key->target->table, out);
}

static void put_foreign_key(const ormd_dialect *dialect, const orm_mapper *mapper, const orm_foreign_key *key,
			    orm_buffer *out)
{
	orm_buffer_puts(out, "CONSTRAINT ");
	put_foreign_key_name(dialect, mapper, key, out);
	orm_buffer_puts(out, " FOREIGN KEY");
	put_columns(dialect, mapper, key->columns, key->n_columns, out);
	orm_buffer_puts(out, " REFERENCES ");
	ormd_sql_identifier(dialect, key->target->table, out);
	put_columns(dialect, key->target, key->target_columns, key->n_columns, out);
	orm_buffer_puts(out, on_delete_clause(key->on_delete));
	if (dialect->foreign_key_suffix)
		orm_buffer_puts(out, dialect->foreign_key_suffix);
}

/* Does it lead to a table that may not be there yet when this one is created? Only within a cycle, and not to the table
 * itself. */
static bool leads_ahead(const orm_mapper *mapper, const orm_foreign_key *key)
{
	return key->target != mapper && key->target->depth >= mapper->depth;
}

static bool added_later(const ormd_dialect *dialect, const orm_mapper *mapper, const orm_foreign_key *key)
{
	return dialect->alter_add_foreign_key && leads_ahead(mapper, key);
}

static void put_table(const ormd_dialect *dialect, const orm_mapper *mapper, orm_buffer *out)
{
	orm_buffer_puts(out, "CREATE TABLE IF NOT EXISTS ");
	ormd_sql_identifier(dialect, mapper->table, out);
	orm_buffer_puts(out, " (\n\t");
	for (size_t i = 0; i < mapper->n_columns; i++) {
		if (i > 0)
			orm_buffer_puts(out, ",\n\t");
		put_column(dialect, mapper, &mapper->columns[i], out);
	}
	if (!mapper->generated_key) {
		orm_buffer_puts(out, ",\n\tCONSTRAINT ");
		put_name(dialect, "pk", mapper, NULL, 0, NULL, out);
		orm_buffer_puts(out, " PRIMARY KEY");
		put_columns(dialect, mapper, mapper->key, mapper->n_key, out);
	}
	for (size_t i = 0; i < mapper->n_columns; i++) {
		const orm_column *column = &mapper->columns[i];

		if (!column->unique || is_whole_key(mapper, column))
			continue;
		orm_buffer_puts(out, ",\n\tCONSTRAINT ");
		put_name(dialect, "uq", mapper, &column->number, 1, NULL, out);
		orm_buffer_puts(out, " UNIQUE");
		put_columns(dialect, mapper, &column->number, 1, out);
	}
	for (size_t i = 0; i < mapper->n_columns; i++)
		put_check(dialect, mapper, &mapper->columns[i], out);
	for (size_t i = 0; i < mapper->n_foreign_keys; i++) {
		if (added_later(dialect, mapper, &mapper->foreign_keys[i]))
			continue;
		orm_buffer_puts(out, ",\n\t");
		put_foreign_key(dialect, mapper, &mapper->foreign_keys[i], out);
	}
	orm_buffer_puts(out, "\n)");
	if (dialect->table_options)
		orm_buffer_puts(out, dialect->table_options);
}

/* ---- statements, one after the other ------------------------------------------------------------------------ */

typedef struct script {
	const ormd_dialect *dialect;
	ormd_ddl_emit *emit;
	void *context;
	orm_error *error;
	orm_buffer sql;
} script;

static orm_status emit_and_reset(script *s)
{
	orm_status status;

	if (s->sql.failed)
		return orm_fail(s->error, ORM_ENOMEM, "out of memory for a statement of the schema");
	status = s->emit(s->sql.data, s->context, s->error);
	orm_buffer_reset(&s->sql);
	return status;
}

static orm_status create_table(script *s, const orm_mapper *mapper)
{
	put_table(s->dialect, mapper, &s->sql);
	return emit_and_reset(s);
}

static orm_status create_indexes(script *s, const orm_mapper *mapper)
{
	orm_status status = ORM_OK;

	for (size_t i = 0; i < mapper->n_columns && status == ORM_OK; i++) {
		const orm_column *column = &mapper->columns[i];

		if (!column->index || column->unique || is_whole_key(mapper, column)) /* there is one already */
			continue;
		orm_buffer_puts(&s->sql, "CREATE INDEX IF NOT EXISTS ");
		put_name(s->dialect, "ix", mapper, &column->number, 1, NULL, &s->sql);
		orm_buffer_puts(&s->sql, " ON ");
		ormd_sql_identifier(s->dialect, mapper->table, &s->sql);
		orm_buffer_puts(&s->sql, " (");
		ormd_sql_identifier(s->dialect, column->name, &s->sql);
		if (s->dialect->index_part)
			s->dialect->index_part(column, &s->sql);
		orm_buffer_putc(&s->sql, ')');
		status = emit_and_reset(s);
	}
	return status;
}

static orm_status drop_foreign_keys(script *s, const orm_mapper *mapper)
{
	orm_status status = ORM_OK;

	for (size_t i = 0; i < mapper->n_foreign_keys && status == ORM_OK; i++) {
		const orm_foreign_key *key = &mapper->foreign_keys[i];

		if (!added_later(s->dialect, mapper, key))
			continue;
		orm_buffer_puts(&s->sql, "ALTER TABLE IF EXISTS ");
		ormd_sql_identifier(s->dialect, mapper->table, &s->sql);
		orm_buffer_puts(&s->sql, " DROP CONSTRAINT IF EXISTS ");
		put_foreign_key_name(s->dialect, mapper, key, &s->sql);
		status = emit_and_reset(s);
	}
	return status;
}

/* Dropped first: ADD CONSTRAINT knows no IF NOT EXISTS, and the tables may be there already. */
static orm_status add_foreign_keys(script *s, const orm_mapper *mapper)
{
	orm_status status = drop_foreign_keys(s, mapper);

	for (size_t i = 0; i < mapper->n_foreign_keys && status == ORM_OK; i++) {
		const orm_foreign_key *key = &mapper->foreign_keys[i];

		if (!added_later(s->dialect, mapper, key))
			continue;
		orm_buffer_puts(&s->sql, "ALTER TABLE ");
		ormd_sql_identifier(s->dialect, mapper->table, &s->sql);
		orm_buffer_puts(&s->sql, " ADD ");
		put_foreign_key(s->dialect, mapper, key, &s->sql);
		status = emit_and_reset(s);
	}
	return status;
}

/* Rows in a cycle hold each other: whichever table goes first, the other's rows then lead nowhere until it goes, too.
 */
static orm_status defer_foreign_keys(script *s, const orm_registry *registry)
{
	if (!s->dialect->defer_foreign_keys)
		return ORM_OK;
	for (size_t i = 0; i < registry->n_mappers; i++) {
		if (registry->mappers[i].in_cycle) {
			orm_buffer_puts(&s->sql, s->dialect->defer_foreign_keys);
			return emit_and_reset(s);
		}
	}
	return ORM_OK;
}

static orm_status drop_table(script *s, const orm_mapper *mapper)
{
	orm_buffer_puts(&s->sql, "DROP TABLE IF EXISTS ");
	ormd_sql_identifier(s->dialect, mapper->table, &s->sql);
	return emit_and_reset(s);
}

orm_status ormd_ddl_create_all(const ormd_dialect *dialect, const orm_registry *registry, ormd_ddl_emit *emit,
			       void *context, orm_error *error)
{
	script s = {.dialect = dialect, .emit = emit, .context = context, .error = error};
	orm_status status = ORM_OK;

	orm_buffer_init(&s.sql);
	for (size_t i = 0; i < registry->n_mappers && status == ORM_OK; i++) {
		status = create_table(&s, registry->by_depth[i]);
		if (status == ORM_OK)
			status = create_indexes(&s, registry->by_depth[i]);
	}
	for (size_t i = 0; i < registry->n_mappers && status == ORM_OK; i++)
		status = add_foreign_keys(&s, registry->by_depth[i]);
	orm_buffer_fini(&s.sql);
	return status;
}

orm_status ormd_ddl_drop_all(const ormd_dialect *dialect, const orm_registry *registry, ormd_ddl_emit *emit,
			     void *context, orm_error *error)
{
	script s = {.dialect = dialect, .emit = emit, .context = context, .error = error};
	orm_status status;

	orm_buffer_init(&s.sql);
	status = defer_foreign_keys(&s, registry);
	for (size_t i = registry->n_mappers; i-- > 0 && status == ORM_OK;)
		status = drop_foreign_keys(&s, registry->by_depth[i]);
	for (size_t i = registry->n_mappers; i-- > 0 && status == ORM_OK;)
		status = drop_table(&s, registry->by_depth[i]);
	orm_buffer_fini(&s.sql);
	return status;
}

/* ---- ormd's own ------------------------------------------------------------------------------------------- */

#define SYSTEM_COLUMN(place, ...) [place] = {.number = place, .foreign_key = ORM_NO_NUMBER, __VA_ARGS__}

static const orm_column commit_columns[] = {
	SYSTEM_COLUMN(ORMD_COMMIT_CLIENT_ID, .name = "client_id", .type = ORM_BYTES, .max_length = 16,
		      .primary_key = true),
	SYSTEM_COLUMN(ORMD_COMMIT_NO, .name = "commit_no", .type = ORM_INT64, .primary_key = true),
	SYSTEM_COLUMN(ORMD_COMMIT_FINGERPRINT, .name = "fingerprint", .type = ORM_INT64),
	SYSTEM_COLUMN(ORMD_COMMIT_RESULT, .name = "result", .type = ORM_BYTES, .nullable = true),
	SYSTEM_COLUMN(ORMD_COMMIT_AT, .name = "at", .type = ORM_DATETIME, .server_default = ORM_DEFAULT_NOW),
};

static const uint16_t commit_key[] = {ORMD_COMMIT_CLIENT_ID, ORMD_COMMIT_NO};

const orm_mapper ormd_commit_mapper = {
	.name = "ormd_commit",
	.table = "ormd_commit",
	.columns = commit_columns,
	.n_columns = sizeof commit_columns / sizeof *commit_columns,
	.key = commit_key,
	.n_key = sizeof commit_key / sizeof *commit_key,
	.version = ORM_NO_NUMBER,
	.has_defaults = true,
};

static const orm_column server_columns[] = {
	SYSTEM_COLUMN(0, .name = "id", .type = ORM_INT64, .primary_key = true),
	SYSTEM_COLUMN(1, .name = "address", .type = ORM_TEXT),
	SYSTEM_COLUMN(2, .name = "host", .type = ORM_TEXT),
	SYSTEM_COLUMN(3, .name = "started", .type = ORM_DATETIME, .server_default = ORM_DEFAULT_NOW),
	SYSTEM_COLUMN(4, .name = "seen_at", .type = ORM_DATETIME, .server_default = ORM_DEFAULT_NOW),
	SYSTEM_COLUMN(5, .name = "lease_ms", .type = ORM_INT64),
};

static const orm_column session_columns[] = {
	SYSTEM_COLUMN(0, .name = "name", .type = ORM_TEXT, .max_length = 200, .primary_key = true),
	SYSTEM_COLUMN(1, .name = "server_id", .type = ORM_INT64, .index = true),
	SYSTEM_COLUMN(2, .name = "fence", .type = ORM_INT64),
	SYSTEM_COLUMN(3, .name = "since", .type = ORM_DATETIME, .server_default = ORM_DEFAULT_NOW),
	SYSTEM_COLUMN(4, .name = "commits", .type = ORM_INT64, .server_default = "0"),
};

static const uint16_t first_is_key[] = {0};

const orm_mapper ormd_server_mapper = {
	.name = "ormd_server",
	.table = "ormd_server",
	.columns = server_columns,
	.n_columns = sizeof server_columns / sizeof *server_columns,
	.key = first_is_key,
	.n_key = 1,
	.version = ORM_NO_NUMBER,
	.has_defaults = true,
};

const orm_mapper ormd_session_mapper = {
	.name = "ormd_session",
	.table = "ormd_session",
	.columns = session_columns,
	.n_columns = sizeof session_columns / sizeof *session_columns,
	.key = first_is_key,
	.n_key = 1,
	.version = ORM_NO_NUMBER,
	.has_defaults = true,
};

orm_status ormd_ddl_create_directory(const ormd_dialect *dialect, ormd_ddl_emit *emit, void *context, orm_error *error)
{
	script s = {.dialect = dialect, .emit = emit, .context = context, .error = error};
	orm_status status;

	orm_buffer_init(&s.sql);
	status = create_table(&s, &ormd_server_mapper);
	if (status == ORM_OK)
		status = create_table(&s, &ormd_session_mapper);
	if (status == ORM_OK)
		status = create_indexes(&s, &ormd_session_mapper);
	orm_buffer_fini(&s.sql);
	return status;
}

orm_status ormd_ddl_create_system(const ormd_dialect *dialect, ormd_ddl_emit *emit, void *context, orm_error *error)
{
	script s = {.dialect = dialect, .emit = emit, .context = context, .error = error};
	orm_status status;

	orm_buffer_init(&s.sql);
	status = create_table(&s, &ormd_commit_mapper);
	orm_buffer_fini(&s.sql);
	return status;
}
