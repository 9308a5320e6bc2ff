/* SPDX-License-Identifier: MIT */
#include "session/database_support.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "support/eventually.h"

/* ---- models ------------------------------------------------------------------------------------------------- */

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define ID                                                                                                             \
	{                                                                                                              \
		.name = "id", .type = ORM_INT64, .primary_key = true                                                   \
	}
#define TO(model) .references_model = model, .references_column = "id"

static const orm_column_spec user_columns[] = {
	ID,
	{.name = "name", .type = ORM_TEXT, .max_length = 50},
	{.name = "email", .type = ORM_TEXT, .max_length = 20, .nullable = true, .unique = true}};
static const orm_relationship_spec user_relationships[] = {
	{.name = "posts", .to_many = true, .target = "Post", .reverse = "author"}};

static const orm_column_spec post_columns[] = {
	ID,
	{.name = "title", .type = ORM_TEXT},
	{.name = "user_id", .type = ORM_INT64, .index = true, TO("User"), .on_delete = ORM_CASCADE},
	{.name = "reviewer_id", .type = ORM_INT64, .nullable = true, TO("User")}};
static const orm_relationship_spec post_relationships[] = {
	{.name = "author", .target = "User", .reverse = "posts", .via = "user_id"},
	{.name = "reviewer", .target = "User", .via = "reviewer_id"}};

static const orm_column_spec node_columns[] = {
	ID, {.name = "name", .type = ORM_TEXT}, {.name = "parent_id", .type = ORM_INT64, .nullable = true, TO("Node")}};
static const orm_relationship_spec node_relationships[] = {
	{.name = "children", .to_many = true, .target = "Node", .reverse = "parent"},
	{.name = "parent", .target = "Node", .reverse = "children"}};

static const orm_column_spec leaf_columns[] = {
	ID, {.name = "parent_id", .type = ORM_INT64, .nullable = true, TO("Leaf"), .on_delete = ORM_CASCADE}};

static const orm_column_spec left_columns[] = {ID,
					       {.name = "right_id", .type = ORM_INT64, .nullable = true, TO("Right")}};
static const orm_column_spec right_columns[] = {ID, {.name = "left_id", .type = ORM_INT64, TO("Left")}};
static const orm_column_spec hard_columns[] = {ID, {.name = "other_id", .type = ORM_INT64, TO("Hard")}};

static const orm_column_spec account_columns[] = {
	ID,
	{.name = "owner", .type = ORM_TEXT, .max_length = 8, .unique = true},
	{.name = "balance", .type = ORM_INT64, .check = "balance >= 0"},
	{.name = "version", .type = ORM_INT64, .version = true},
	{.name = "note", .type = ORM_TEXT, .server_default = "'none'"},
	{.name = "opened", .type = ORM_DATETIME, .server_default = ORM_DEFAULT_NOW}};

static const orm_column_spec line_columns[] = {{.name = "order_no", .type = ORM_INT64, .primary_key = true},
					       {.name = "no", .type = ORM_INT32, .primary_key = true},
					       {.name = "text", .type = ORM_TEXT, .nullable = true}};

static const orm_relationship_spec line_relationships[] = {
	{.name = "parts", .to_many = true, .target = "Part", .reverse = "line"}};
static const orm_column_spec part_columns[] = {
	ID,
	{.name = "line_no", .type = ORM_INT32, .nullable = true, .references_model = "Line", .references_column = "no"},
	{.name = "order_no", .type = ORM_INT64, .references_model = "Line", .references_column = "order_no"}};
static const orm_relationship_spec part_relationships[] = {{.name = "line", .target = "Line", .reverse = "parts"}};

/* Refers to a unique column that is no key. */
static const orm_column_spec letter_columns[] = {ID,
						 {.name = "email",
						  .type = ORM_TEXT,
						  .max_length = 20,
						  .references_model = "User",
						  .references_column = "email"}};
static const orm_relationship_spec letter_relationships[] = {{.name = "receiver", .target = "User"}};

#define UNIQUE(n, t)                                                                                                   \
	{                                                                                                              \
		.name = n, .type = t, .unique = true                                                                   \
	}
static const orm_column_spec kind_columns[] = {
	ID,
	UNIQUE("int32", ORM_INT32),
	UNIQUE("int64", ORM_INT64),
	UNIQUE("real", ORM_DOUBLE),
	UNIQUE("text", ORM_TEXT),
	UNIQUE("bytes", ORM_BYTES),
	UNIQUE("date", ORM_DATE),
	UNIQUE("time", ORM_TIME),
	UNIQUE("datetime", ORM_DATETIME),
	{.name = "amount", .type = ORM_DECIMAL, .precision = 6, .scale = 2, .unique = true},
	UNIQUE("uuid", ORM_UUID),
	{.name = "json", .type = ORM_JSON}};
static const orm_column_spec flag_columns[] = {ID, UNIQUE("flag", ORM_BOOL)};

static const orm_column_spec team_columns[] = {ID, {.name = "name", .type = ORM_TEXT}};
static const orm_relationship_spec team_relationships[] = {
	{.name = "members", .to_many = true, .target = "Member", .reverse = "team"}};
static const orm_column_spec member_columns[] = {
	ID,
	{.name = "name", .type = ORM_TEXT},
	{.name = "team_id", .type = ORM_INT64, .nullable = true, TO("Team"), .on_delete = ORM_SET_NULL}};
static const orm_relationship_spec member_relationships[] = {{.name = "team", .target = "Team", .reverse = "members"}};

static const orm_column_spec badge_columns[] = {
	{.name = "code", .type = ORM_TEXT, .max_length = 4, .primary_key = true},
	{.name = "holder", .type = ORM_INT32, .nullable = true, .unique = true},
	{.name = "version", .type = ORM_INT32, .version = true}};
static const orm_column_spec stamp_columns[] = {ID,
						{.name = "badge",
						 .type = ORM_TEXT,
						 .max_length = 4,
						 .nullable = true,
						 .references_model = "Badge",
						 .references_column = "code"}};

#define MODEL(n, t, c)                                                                                                 \
	{                                                                                                              \
		.name = n, .table = t, .columns = c, .n_columns = COUNT(c)                                             \
	}
#define MODEL_WITH(n, t, c, r)                                                                                         \
	{                                                                                                              \
		.name = n, .table = t, .columns = c, .n_columns = COUNT(c), .relationships = r,                        \
		.n_relationships = COUNT(r)                                                                            \
	}

/* Children first here, so that nothing is in order by chance. */
static const orm_model_spec specs[] = {
	MODEL_WITH("Post", "posts", post_columns, post_relationships),
	MODEL_WITH("User", "users", user_columns, user_relationships),
	MODEL_WITH("Node", "nodes", node_columns, node_relationships),
	MODEL("Leaf", "leaves", leaf_columns),
	MODEL("Left", "lefts", left_columns),
	MODEL("Right", "rights", right_columns),
	MODEL("Hard", "hards", hard_columns),
	MODEL("Account", "accounts", account_columns),
	MODEL_WITH("Part", "parts", part_columns, part_relationships),
	MODEL_WITH("Line", "lines", line_columns, line_relationships),
	MODEL_WITH("Letter", "letters", letter_columns, letter_relationships),
	MODEL("Kind", "kinds", kind_columns),
	MODEL("Flag", "flags", flag_columns),
	MODEL_WITH("Member", "members", member_columns, member_relationships),
	MODEL_WITH("Team", "teams", team_columns, team_relationships),
	MODEL("Stamp", "stamps", stamp_columns),
	MODEL("Badge", "badges", badge_columns),
};

/* ---- fixtures ----------------------------------------------------------------------------------------------- */

static void open_it(fixture *f)
{
	const ormd_database_options options = {.url = f->url, .create = true};

	f->database = ormd_database_open(&options, &f->error);
	if (!f->database)
		fail_msg("%s", f->error.message);
}

int setup_database(void **state)
{
	fixture *f = calloc(1, sizeof *f);
	char url[ENGINE_URL_SIZE];

	assert_non_null(f);
	engine_fresh_url(url);
	setup_database_at(f, url);
	*state = f;
	return 0;
}

int teardown_database(void **state)
{
	teardown_database_at(*state);
	free(*state);
	return 0;
}

void setup_database_at(fixture *f, const char *url)
{
	orm_arena_init(&f->arena, 0);
	snprintf(f->url, sizeof f->url, "%s", url);
	f->registry = orm_registry_new(specs, COUNT(specs), &f->error);
	if (!f->registry)
		fail_msg("%s", f->error.message);
	open_it(f);
	assert_ok(f, ormd_schema_create_all(f->database, f->registry, 0, NULL, &f->error));
	new_session(f, NULL);
}

void teardown_database_at(fixture *f)
{
	free_session(f);
	ormd_database_close(f->database);
	engine_drop(f->url);
	orm_registry_free(f->registry);
	orm_arena_fini(&f->arena);
}

void free_session(fixture *f)
{
	ormd_session_free(f->session);
	f->session = NULL;
}

void new_session(fixture *f, const char *name)
{
	free_session(f);
	f->session = ormd_session_new(f->registry, f->database, &(ormd_session_options){.name = name}, &f->error);
	assert_non_null(f->session);
	assert_ok(f, ormd_session_join(f->session, "desk", &f->participant, &f->error));
}

void reopen_database(fixture *f)
{
	free_session(f);
	ormd_database_close(f->database);
	open_it(f);
	new_session(f, NULL);
}

const orm_mapper *mapper_of(const fixture *f, const char *model)
{
	const orm_mapper *mapper = orm_registry_find(f->registry, model);

	assert_non_null(mapper);
	return mapper;
}

const orm_relationship *relationship_of(const fixture *f, const char *model, const char *name)
{
	const orm_relationship *relationship = orm_mapper_relationship(mapper_of(f, model), name);

	assert_non_null(relationship);
	return relationship;
}

uint16_t column_of(const orm_mapper *mapper, const char *name)
{
	const orm_column *column = orm_mapper_column(mapper, name);

	if (!column)
		fail_msg("%s has no column %s", mapper->name, name);
	return column->number;
}

/* ---- drafts ------------------------------------------------------------------------------------------------- */

static size_t split_columns(const orm_mapper *mapper, const char *columns, uint16_t *numbers)
{
	char text[256];
	size_t n = 0;

	snprintf(text, sizeof text, "%s", columns);
	for (char *rest = text, *name; (name = strtok_r(rest, " ", &rest));)
		numbers[n++] = column_of(mapper, name);
	return n;
}

static orm_value next_value(orm_type type, va_list *args)
{
	orm_value value = {.type = (uint8_t)type};
	const char *text;
	long long integer;

	switch (type) {
	case ORM_UUID:
		value.bytes = va_arg(*args, const char *);
		value.null = !value.bytes;
		value.size = sizeof(orm_uuid);
		break;
	case ORM_TEXT:
	case ORM_BYTES:
	case ORM_DECIMAL:
	case ORM_JSON:
		text = va_arg(*args, const char *);
		value.null = !text;
		value.size = text ? (uint32_t)strlen(text) : 0;
		value.text = text;
		break;
	case ORM_DOUBLE:
		value.number = va_arg(*args, double);
		break;
	case ORM_BOOL:
		value.boolean = va_arg(*args, int) != 0;
		break;
	default:
		integer = va_arg(*args, long long);
		value.null = integer == NO_VALUE;
		value.integer = value.null ? 0 : integer;
		break;
	}
	return value;
}

/* One row of the columns and values; the builder is the caller's to end. */
static void build_row(const orm_mapper *mapper, const char *columns, va_list *args, orm_batch_builder *builder,
		      orm_vector *vectors, orm_batch *batch)
{
	uint16_t numbers[32];
	const size_t n = split_columns(mapper, columns, numbers);

	assert_true(orm_batch_builder_init(builder, mapper, numbers, n));
	for (size_t i = 0; i < n; i++) {
		const orm_value value = next_value(mapper->columns[numbers[i]].type, args);

		orm_vector_builder_put(&builder->vectors[i], &value);
	}
	orm_batch_builder_end_row(builder);
	assert_true(orm_batch_builder_view(builder, vectors, batch));
}

static orm_status publish(fixture *f, const ormd_draft *draft)
{
	ormd_published published = {0};
	const orm_status status = ormd_session_publish(f->session, f->participant, ormd_session_revision(f->session),
						       draft, &f->arena, &published, &f->error);

	if (status == ORM_OK && published.n_keys)
		f->keys = published.keys[0];
	return status;
}

uint64_t add(fixture *f, const char *model, const char *columns, ...)
{
	const orm_mapper *mapper = mapper_of(f, model);
	orm_batch_builder builder;
	orm_vector vectors[32];
	ormd_adds adds = {.first_handle = (uint64_t)f->participant << ORMD_HANDLE_SHIFT | ++f->counter};
	va_list args;

	va_start(args, columns);
	build_row(mapper, columns, &args, &builder, vectors, &adds.values);
	va_end(args);
	assert_ok(f, publish(f, &(ormd_draft){.adds = &adds, .n_adds = 1}));
	orm_batch_builder_fini(&builder);
	return adds.first_handle;
}

static orm_status set_values(fixture *f, uint64_t handle, const char *columns, va_list *args)
{
	const ormd_object *object = ormd_unit_by_handle(f->session, handle);
	orm_batch_builder builder;
	orm_vector vectors[32];
	ormd_updates updates = {.first_handle = handle, .base = ormd_session_revision(f->session)};
	orm_status status;

	assert_non_null(object);
	build_row(ormd_object_mapper(f->session, object), columns, args, &builder, vectors, &updates.values);
	status = publish(f, &(ormd_draft){.updates = &updates, .n_updates = 1});
	orm_batch_builder_fini(&builder);
	return status;
}

void set(fixture *f, uint64_t handle, const char *columns, ...)
{
	va_list args;

	va_start(args, columns);
	assert_ok(f, set_values(f, handle, columns, &args));
	va_end(args);
}

void set_two(fixture *f, uint64_t first, uint64_t second, const char *column, ...)
{
	const uint64_t handles[] = {first, second};
	const ormd_object *object = ormd_unit_by_handle(f->session, first);
	orm_batch_builder builder;
	orm_vector vector;
	ormd_updates updates = {.handles = handles, .base = ormd_session_revision(f->session)};
	const orm_mapper *mapper;
	uint16_t number;
	va_list args;

	assert_non_null(object);
	mapper = ormd_object_mapper(f->session, object);
	number = column_of(mapper, column);
	assert_true(orm_batch_builder_init(&builder, mapper, &number, 1));
	va_start(args, column);
	for (int i = 0; i < 2; i++) {
		const orm_value value = next_value(mapper->columns[number].type, &args);

		orm_vector_builder_put(&builder.vectors[0], &value);
		orm_batch_builder_end_row(&builder);
	}
	va_end(args);
	assert_true(orm_batch_builder_view(&builder, &vector, &updates.values));
	assert_ok(f, publish(f, &(ormd_draft){.updates = &updates, .n_updates = 1}));
	orm_batch_builder_fini(&builder);
}

orm_status try_set(fixture *f, uint64_t handle, const char *columns, ...)
{
	va_list args;
	orm_status status;

	va_start(args, columns);
	status = set_values(f, handle, columns, &args);
	va_end(args);
	return status;
}

void del(fixture *f, uint64_t handle)
{
	const ormd_object *object = ormd_unit_by_handle(f->session, handle);
	ormd_deletes deletes = {.handles = &handle, .n_handles = 1, .base = ormd_session_revision(f->session)};

	assert_non_null(object);
	deletes.mapper = ormd_object_mapper(f->session, object);
	assert_ok(f, publish(f, &(ormd_draft){.deletes = &deletes, .n_deletes = 1}));
}

/* ---- commits ------------------------------------------------------------------------------------------------ */

static pthread_mutex_t finish_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t finish_told = PTHREAD_COND_INITIALIZER;

void note_finished(orm_status status, const orm_error *error, void *context)
{
	fixture *f = context;

	pthread_mutex_lock(&finish_lock);
	f->finished = status;
	if (error)
		f->error = *error;
	pthread_cond_broadcast(&finish_told);
	pthread_mutex_unlock(&finish_lock);
}

orm_status wait_finished(fixture *f)
{
	struct timespec end;
	int late = 0;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += SUPPORT_PATIENCE_MS / 1000;
	pthread_mutex_lock(&finish_lock);
	while (f->finished == ORM_EINTERNAL && late == 0)
		late = pthread_cond_timedwait(&finish_told, &finish_lock, &end);

	const orm_status status = f->finished;

	pthread_mutex_unlock(&finish_lock);
	return status;
}

orm_status try_commit(fixture *f)
{
	ormd_commit_request request = {.participant = f->participant,
				       .seen = ormd_session_revision(f->session),
				       .id = {.client_id = "test client 123"},
				       .fingerprint = 42,
				       .result = "kept",
				       .result_size = 4};

	if (!f->keep_number)
		f->commit_number++;
	request.id.number = f->commit_number;
	f->finished = ORM_EINTERNAL;
	ormd_session_commit(f->session, &request, note_finished, f);
	return wait_finished(f);
}

void commit(fixture *f)
{
	assert_ok(f, try_commit(f));
}

void roll_back(fixture *f)
{
	ormd_session_rollback(f->session, f->participant);
}

/* ---- looking ------------------------------------------------------------------------------------------------ */

int64_t key_of(const fixture *f, uint64_t handle)
{
	const ormd_object *object = ormd_unit_by_handle(f->session, handle);

	assert_non_null(object);
	return ormd_record_integer(ormd_object_layout(f->session, object), object->record,
				   ormd_object_mapper(f->session, object)->key[0]);
}

ormd_state state_of(const fixture *f, uint64_t handle)
{
	const ormd_object *object = ormd_unit_by_handle(f->session, handle);

	return object ? (ormd_state)object->state : ORMD_STATE_NONE;
}

const char *values_of(fixture *f, uint64_t handle, const char *columns)
{
	const ormd_object *object = ormd_unit_by_handle(f->session, handle);
	const orm_mapper *mapper;
	uint16_t numbers[32];
	orm_buffer text;
	size_t n;
	char *copy;

	assert_non_null(object);
	mapper = ormd_object_mapper(f->session, object);
	n = columns ? split_columns(mapper, columns, numbers) : mapper->n_columns;
	orm_buffer_init(&text);
	for (size_t i = 0; i < n; i++) {
		orm_value value;

		ormd_record_value(ormd_object_layout(f->session, object), object->record,
				  columns ? numbers[i] : (uint16_t)i, &value);
		if (i > 0)
			orm_buffer_putc(&text, ' ');
		orm_value_print(&value, 100, &text);
	}
	copy = orm_arena_strdup(&f->arena, text.data ? text.data : "");
	orm_buffer_fini(&text);
	return copy;
}

void outside(const fixture *f, const char *sql)
{
	engine_run(f->url, sql);
}

void outside_unchecked(const fixture *f, const char *sql)
{
	static const char *const formats[N_ENGINES] = {
		[ENGINE_SQLITE] = "PRAGMA foreign_keys = OFF; %s",
		[ENGINE_POSTGRESQL] = "SET session_replication_role = replica; %s; RESET session_replication_role",
		[ENGINE_MARIADB] = "SET foreign_key_checks = OFF; %s; SET foreign_key_checks = ON"};
	char all[1024];

	snprintf(all, sizeof all, formats[engine_of(f->url)], sql);
	engine_run(f->url, all);
}

const char *ask(fixture *f, const char *sql)
{
	char *answer = engine_ask(f->url, sql);
	char *copy = orm_arena_strdup(&f->arena, answer);

	free(answer);
	return copy;
}

int64_t count_tables(const fixture *f, const char *names)
{
	static const char *const tables[N_ENGINES] = {
		[ENGINE_SQLITE] = "sqlite_master WHERE type = 'table' AND name",
		[ENGINE_POSTGRESQL] = "information_schema.tables WHERE table_schema = current_schema() AND table_name",
		[ENGINE_MARIADB] = "information_schema.tables WHERE table_schema = database() AND table_name"};
	char sql[512];

	snprintf(sql, sizeof sql, "SELECT count(*) FROM %s IN (%s)", tables[engine_of(f->url)], names);
	return engine_ask_number(f->url, sql);
}
