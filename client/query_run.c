/* SPDX-License-Identifier: MIT */
/* Running queries, and the public calls that do. */
#include "client/query_state.h"

#include "base/error.h"
#include "client/arguments.h"

static const orm_list no_rows;

/* ---- what a stream brings ---- */

/* Relationships that are complete once the stream has ended well; copies in the session's request arena. */
typedef struct loaded_list {
	struct loaded_list *next;
	Ormd__V1__Loaded loaded;
} loaded_list;

typedef struct rows_taker {
	orm_session *session;
	query_result *result; /* NULL: rows are not wanted */
	loaded_list *loaded;
} rows_taker;

static orm_status remember_loaded(rows_taker *taker, const Ormd__V1__Loaded *loaded, orm_error *error)
{
	orm_arena *arena = &taker->session->request;
	loaded_list *copy = orm_arena_alloc(arena, sizeof *copy);
	uint64_t *parents = orm_arena_memdup(arena, loaded->parents, loaded->n_parents * sizeof *parents);

	if (!copy || !parents)
		return orm_fail(error, ORM_ENOMEM, "out of memory");
	copy->loaded = *loaded;
	copy->loaded.parents = parents;
	copy->next = taker->loaded;
	taker->loaded = copy;
	return ORM_OK;
}

static orm_status take(void *context, const Ormd__V1__QueryReply *message, orm_error *error)
{
	rows_taker *taker = context;
	orm_mirror *mirror = taker->session->mirror;
	orm_status status = ORM_OK;

	for (size_t i = 0; i < message->n_rows && status == ORM_OK; i++)
		status = orm_mirror_install(mirror, message->rows[i], taker->result ? &taker->result->rows : NULL,
					    error);
	for (size_t i = 0; i < message->n_related && status == ORM_OK; i++)
		status = orm_mirror_install(mirror, message->related[i], NULL, error);
	for (size_t i = 0; i < message->n_loaded && status == ORM_OK; i++)
		status = remember_loaded(taker, message->loaded[i], error);
	if (taker->result && message->has_count)
		taker->result->count = message->count;
	return status;
}

orm_status query_stream(orm_call *call, query_result *result)
{
	rows_taker taker = {.session = call->session, .result = result};
	orm_error error = {0};
	orm_status status = call_stream(call, take, &taker);

	for (loaded_list *loaded = taker.loaded; loaded && status == ORM_OK; loaded = loaded->next)
		if (orm_mirror_loaded(call->session->mirror, &loaded->loaded, &error) != ORM_OK)
			status = session_fail(call->session, &error);
	return status;
}

/* ---- running ---- */

/* Without an order, rows come by primary key: a limit would otherwise cut off any of them. */
static bool order_by_key(const orm_query *query, Ormd__V1__Statement *statement, orm_arena *arena)
{
	const orm_mapper *mapper = query->layout->mapper;
	Ormd__V1__Order *orders = orm_arena_calloc(arena, mapper->n_key, sizeof *orders);
	Ormd__V1__Order **pointers = orm_arena_calloc(arena, mapper->n_key, sizeof *pointers);

	if (!orders || !pointers)
		return false;
	for (size_t i = 0; i < mapper->n_key; i++) {
		ormd__v1__order__init(&orders[i]);
		orders[i].has_column = true;
		orders[i].column = mapper->key[i];
		pointers[i] = &orders[i];
	}
	statement->order = pointers;
	statement->n_order = mapper->n_key;
	return true;
}

static bool fill_statement(orm_query *query, Ormd__V1__Statement *statement, Ormd__V1__ResultKind kind, uint64_t limit,
			   orm_arena *arena)
{
	const size_t n_terms = query->terms.size / sizeof(Ormd__V1__Term *);
	const size_t n_joins = query->n_operands > 0 ? query->n_operands - 1 : 0;
	Ormd__V1__Term *join = orm_arena_alloc(arena, sizeof *join);
	Ormd__V1__Term **terms = orm_arena_calloc(arena, n_terms + n_joins, sizeof *terms);

	if (!join || !terms)
		return false;
	ormd__v1__term__init(join);
	join->has_op = true;
	join->op = ORMD__V1__OPERATOR__OP_AND;
	if (n_terms > 0)
		memcpy(terms, query->terms.data, query->terms.size);
	for (size_t i = 0; i < n_joins; i++)
		terms[n_terms + i] = join;

	ormd__v1__statement__init(statement);
	statement->has_model = statement->has_kind = true;
	statement->model = query->layout->number;
	statement->kind = kind;
	statement->where = terms;
	statement->n_where = n_terms + n_joins;
	statement->has_limit = query->limited || limit != UINT64_MAX;
	statement->limit = query->limited && query->limit < limit ? query->limit : limit;
	statement->has_offset = query->offset > 0;
	statement->offset = query->offset;
	statement->has_lock = query->lock != ORMD__V1__LOCK__LOCK_NONE;
	statement->lock = query->lock;
	if (kind != ORMD__V1__RESULT_KIND__RESULT_ROWS)
		return true;
	statement->load = (uint32_t *)(void *)query->loads.data;
	statement->n_load = query->loads.size / sizeof(uint32_t);
	statement->order = (Ormd__V1__Order **)(void *)query->orders.data;
	statement->n_order = query->orders.size / sizeof(Ormd__V1__Order *);
	return statement->n_order > 0 || order_by_key(query, statement, arena);
}

orm_status query_run(orm_query *query, Ormd__V1__ResultKind kind, uint64_t limit, query_result *result)
{
	Ormd__V1__QueryRequest request = ORMD__V1__QUERY_REQUEST__INIT;
	Ormd__V1__Statement statement;
	Ormd__V1__At at;
	orm_session *session = query->session;
	orm_call call;
	orm_status status = session_enter(session);

	*result = (query_result){.count = 0};
	if (status != ORM_OK)
		return status;

	orm_arena *arena = call_begin(&call, session, METHOD_QUERY);

	if (!fill_statement(query, &statement, kind, limit, arena))
		return session_fail_with(session, ORM_ENOMEM, "out of memory");
	call.request = &request.base;
	call.at = request.at = &at;
	if (!session->shared)
		call.draft = &request.draft;
	request.statement = &statement;
	request.has_populate_existing = request.populate_existing = query->populate_existing;
	return query_stream(&call, result);
}

/* The result as the program sees it, in the mirror's arena. */
static const void *run_all(orm_query *query)
{
	query_result result;
	orm_list *list;

	if (query_run(query, ORMD__V1__RESULT_KIND__RESULT_ROWS, UINT64_MAX, &result) != ORM_OK)
		return &no_rows;
	list = orm_arena_alloc(orm_mirror_arena(query->session->mirror), sizeof *list);
	if (!list) {
		session_fail_with(query->session, ORM_ENOMEM, "out of memory");
		return &no_rows;
	}
	*list = (orm_list){.items = result.rows.items, .len = result.rows.len};
	return list;
}

static void *run_first(orm_query *query)
{
	query_result result;

	if (query_run(query, ORMD__V1__RESULT_KIND__RESULT_ROWS, 1, &result) != ORM_OK || result.rows.len == 0)
		return NULL;
	return result.rows.items[0];
}

static int64_t run_count(orm_query *query)
{
	query_result result;
	const orm_status status = query_run(query, ORMD__V1__RESULT_KIND__RESULT_COUNT, UINT64_MAX, &result);

	return status == ORM_OK ? (int64_t)result.count : status;
}

static bool run_exists(orm_query *query)
{
	query_result result;

	return query_run(query, ORMD__V1__RESULT_KIND__RESULT_EXISTS, UINT64_MAX, &result) == ORM_OK &&
	       result.count > 0;
}

/* ---- queries that orm_select made ---- */

static bool is_on(orm_query *query, const orm_model *model)
{
	if (!query)
		return false;
	if (model == query->layout->model)
		return true;
	if (session_enter(query->session) == ORM_OK)
		session_fail_with(query->session, ORM_EINVAL, "the query is on %s, not on %s",
				  query->layout->model->name, model->name);
	return false;
}

const void *orm_query_all_objects(orm_query *query, const orm_model *model)
{
	return is_on(query, model) ? run_all(query) : &no_rows;
}

void *orm_query_first_object(orm_query *query, const orm_model *model)
{
	return is_on(query, model) ? run_first(query) : NULL;
}

int64_t orm_query_count(orm_query *query)
{
	return query ? run_count(query) : ORM_ENOMEM;
}

bool orm_query_exists(orm_query *query)
{
	return query && run_exists(query);
}

/* ---- queries of one call ---- */

/* NULL if it failed, which sticks. */
static orm_query *filtered(orm_session *session, const orm_model *model, const void *example, const char *text)
{
	if (session_enter(session) != ORM_OK)
		return NULL;

	orm_query *query = orm_query_new(session, model);

	if (query && example && query_filter(query, example, text) != ORM_OK) {
		orm_query_free(query);
		return NULL;
	}
	return query;
}

void *orm_first_object(orm_session *session, const orm_model *model, const void *example, const char *text)
{
	orm_query *query = filtered(session, model, example, text);
	void *object = query ? run_first(query) : NULL;

	orm_query_free(query);
	return object;
}

const void *orm_all_objects(orm_session *session, const orm_model *model, const void *example, const char *text)
{
	orm_query *query = filtered(session, model, example, text);
	const void *list = query ? run_all(query) : &no_rows;

	orm_query_free(query);
	return list;
}

int64_t orm_count_objects(orm_session *session, const orm_model *model, const void *example, const char *text)
{
	orm_query *query = filtered(session, model, example, text);
	const int64_t n = query ? run_count(query) : session_enter(session);

	orm_query_free(query);
	return n;
}

bool orm_exists_object(orm_session *session, const orm_model *model, const void *example, const char *text)
{
	orm_query *query = filtered(session, model, example, text);
	const bool exists = query && run_exists(query);

	orm_query_free(query);
	return exists;
}

/* ---- by key, locked ---- */

/* NULL if it failed, which sticks. */
static orm_query *locked(orm_session *session, const orm_layout *layout, const orm_value *key)
{
	orm_query *query = query_new(session, layout);

	for (size_t i = 0; query && i < layout->mapper->n_key; i++) {
		const orm_column *column = &layout->mapper->columns[layout->mapper->key[i]];
		Ormd__V1__Value *value = query_value(query, column, &key[i]);
		Ormd__V1__Value **values =
			value ? orm_arena_memdup(&query->arena, &value, sizeof(Ormd__V1__Value *)) : NULL;

		if (values)
			query_put_term(query, ORMD__V1__OPERATOR__OP_EQ, column->number, values, 1);
		else if (value)
			session_fail_with(session, ORM_ENOMEM, "out of memory");
	}
	if (query)
		query->lock = ORMD__V1__LOCK__LOCK_WAIT;
	return query;
}

void *orm_get_object_for_update(orm_session *session, const orm_model *model, const orm_arg *arguments,
				size_t n_arguments)
{
	orm_value key[MAX_KEY_ARGUMENTS];
	orm_error error = {0};
	bool possible = false;

	if (session_enter(session) != ORM_OK)
		return NULL;

	const orm_layout *layout = session_layout(session, model);

	if (!layout)
		return NULL;
	if (arguments_key(layout, arguments, n_arguments, MAX_KEY_ARGUMENTS, key, &possible, &error) != ORM_OK) {
		session_fail(session, &error);
		return NULL;
	}

	orm_query *query = possible ? locked(session, layout, key) : NULL;
	void *object = query ? run_first(query) : NULL;

	orm_query_free(query);
	return object;
}
