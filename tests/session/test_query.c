/* SPDX-License-Identifier: MIT */
/* Queries: piece by piece from a reader, over pending changes as a rehearsal, and how rows meet objects. Get and
 * refresh as well. */
#include "session/database_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"

#define PIECE_SIZE 4096

/* ---- asking ------------------------------------------------------------------------------------------------- */

static ormd_select all_of(const fixture *f, const char *model)
{
	return (ormd_select){.mapper = mapper_of(f, model), .limit = ORMD_NO_LIMIT};
}

static ormd_query *open_query(fixture *f, const ormd_select *select, const ormd_query_options *options)
{
	ormd_query *query = NULL;

	f->finished = ORM_EINTERNAL;
	assert_ok(f, ormd_query_open(f->session, f->participant, select, options, note_finished, f, &query, &f->error));
	assert_ok(f, wait_finished(f));
	return query;
}

/* A text column of all rows, "a b c"; what the rows say, not what the objects have. */
static void append_rows(const ormd_piece *piece, uint16_t column, orm_buffer *text)
{
	for (size_t i = 0; i < piece->n_rows; i++) {
		orm_vector_cursor cursor;

		orm_vector_cursor_init(&cursor, &piece->rows[i].values.vectors[column]);
		for (size_t j = 0; j < piece->rows[i].n_rows; j++) {
			orm_value value;

			orm_vector_cursor_next(&cursor, &value);
			if (text->size)
				orm_buffer_putc(text, ' ');
			if (value.null)
				orm_buffer_puts(text, "NULL");
			else if (value.type == ORM_TEXT)
				orm_buffer_append(text, value.text, value.size);
			else
				orm_buffer_printf(text, "%lld", (long long)value.integer);
		}
	}
}

static size_t n_rows_of(const ormd_piece *piece)
{
	size_t n = 0;

	for (size_t i = 0; i < piece->n_rows; i++)
		n += piece->rows[i].n_rows;
	return n;
}

static const char *select_text(fixture *f, const ormd_select *select, const char *column,
			       const ormd_query_options *options)
{
	ormd_query *query = open_query(f, select, options);
	const uint16_t number = column_of(select->mapper, column);
	ormd_piece piece = {0};
	orm_buffer text;
	char *copy;

	orm_buffer_init(&text);
	while (!piece.last) {
		assert_ok(f, ormd_query_next(query, PIECE_SIZE, &piece, &f->error));
		append_rows(&piece, number, &text);
	}
	ormd_query_close(query);
	copy = orm_arena_strdup(&f->arena, text.data ? text.data : "");
	orm_buffer_fini(&text);
	return copy;
}

static uint64_t count(fixture *f, const ormd_select *select)
{
	ormd_query *query = open_query(f, select, NULL);
	ormd_piece piece = {0};

	assert_ok(f, ormd_query_next(query, PIECE_SIZE, &piece, &f->error));
	assert_true(piece.last);
	ormd_query_close(query);
	return piece.count;
}

static uint64_t find_one(fixture *f, const char *model, long long key)
{
	const orm_value value = {.type = ORM_INT64, .integer = key};
	const orm_mapper *mapper = mapper_of(f, model);
	orm_batch_builder builder;
	orm_vector vector;
	orm_batch batch;
	const ormd_rows *rows = NULL;
	size_t n_rows = 0;
	bool complete = false;

	assert_true(orm_batch_builder_init(&builder, mapper, mapper->key, 1));
	orm_vector_builder_put(&builder.vectors[0], &value);
	orm_batch_builder_end_row(&builder);
	assert_true(orm_batch_builder_view(&builder, &vector, &batch));
	assert_ok(f, ormd_session_get(f->session, f->participant, &batch, false, &complete, 0, &f->arena, &rows,
				      &n_rows, &f->error));
	assert_true(complete);
	orm_batch_builder_fini(&builder);
	return n_rows ? rows[0].handles[0] : 0;
}

static ormd_database_stats stats_of(const fixture *f)
{
	ormd_database_stats stats;

	ormd_database_stats_get(f->database, &stats);
	return stats;
}

static void add_users(fixture *f, int n)
{
	char sql[256];

	snprintf(sql, sizeof sql,
		 "INSERT INTO users(id, name, email) "
		 "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < %d) SELECT i, 'user' || i, "
		 "NULL FROM c",
		 n);
	outside(f, sql);
}

/* ---- from a reader ------------------------------------------------------------------------------------------ */

static void ten_thousand_rows_come_in_pieces(void **state)
{
	fixture *f = *state;
	const uint16_t id = 0;
	const ormd_order by_id = {.column = id};
	ormd_select select = all_of(f, "User");
	ormd_query *query;
	ormd_piece piece = {0};
	size_t n_pieces = 0;
	int64_t next = 1;

	add_users(f, 10000);
	select.order = &by_id;
	select.n_order = 1;
	query = open_query(f, &select, NULL);
	while (!piece.last) {
		assert_ok(f, ormd_query_next(query, PIECE_SIZE, &piece, &f->error));
		n_pieces++;
		for (size_t i = 0; i < piece.n_rows; i++) {
			assert_true(piece.rows[i].n_rows < 1000);
			for (size_t j = 0; j < piece.rows[i].n_rows; j++)
				assert_int_equal(orm_vector_int64_at(&piece.rows[i].values.vectors[id], j), next++);
		}
	}
	ormd_query_close(query);
	assert_int_equal(next, 10001);
	assert_true(n_pieces > 20);
}

static void empty_result_is_one_last_piece(void **state)
{
	fixture *f = *state;
	const ormd_select select = all_of(f, "User");
	ormd_query *query = open_query(f, &select, NULL);
	ormd_piece piece = {0};

	assert_ok(f, ormd_query_next(query, PIECE_SIZE, &piece, &f->error));
	assert_true(piece.last);
	assert_int_equal(piece.n_rows, 0);
	ormd_query_close(query);
}

static void one_row_is_one_object(void **state)
{
	fixture *f = *state;
	const ormd_select select = all_of(f, "User");
	const uint64_t n_before = (add_users(f, 3), f->session->objects.n_used);

	assert_string_equal(select_text(f, &select, "name", NULL), "user1 user2 user3");
	assert_int_equal(f->session->objects.n_used, n_before + 3);
	assert_string_equal(select_text(f, &select, "name", NULL), "user1 user2 user3");
	assert_int_equal(f->session->objects.n_used, n_before + 3);
}

static void loaded_values_win_until_the_next_unit(void **state)
{
	fixture *f = *state;
	const ormd_select select = all_of(f, "User");
	const ormd_query_options populate = {.populate_existing = true};

	add_users(f, 1);
	assert_string_equal(select_text(f, &select, "name", NULL), "user1");
	outside(f, "UPDATE users SET name = 'changed'");
	assert_string_equal(select_text(f, &select, "name", NULL), "user1");
	assert_string_equal(select_text(f, &select, "name", &populate), "changed");
	outside(f, "UPDATE users SET name = 'again'");
	add(f, "Node", "name", "n");
	commit(f);
	assert_string_equal(select_text(f, &select, "name", NULL), "again");
}

static void snapshot_from_before_a_commit_does_not_overwrite_it(void **state)
{
	fixture *f = *state;
	const ormd_select select = all_of(f, "User");
	ormd_query *query;
	ormd_piece piece = {0};
	uint64_t last;

	add_users(f, 1000);
	last = find_one(f, "User", 1000);
	query = open_query(f, &select, NULL);
	assert_ok(f, ormd_query_next(query, 100, &piece, &f->error)); /* its snapshot begins */
	set(f, last, "name", "committed");
	commit(f);
	while (!piece.last)
		assert_ok(f, ormd_query_next(query, PIECE_SIZE, &piece, &f->error));
	ormd_query_close(query);
	assert_string_equal(values_of(f, last, "name"), "'committed'");
}

static void filters_orders_and_limits(void **state)
{
	fixture *f = *state;
	const orm_mapper *mapper = mapper_of(f, "User");
	const orm_value seven = {.type = ORM_INT64, .integer = 7};
	const ormd_term where = {.op = ORMD_GE, .column = 0, .values = &seven, .n_values = 1};
	const ormd_order order = {.column = 0, .descending = true};
	ormd_select select = {.mapper = mapper,
			      .where = &where,
			      .n_where = 1,
			      .order = &order,
			      .n_order = 1,
			      .limit = 2,
			      .offset = 1};

	add_users(f, 10);
	assert_string_equal(select_text(f, &select, "name", NULL), "user9 user8");
	select.limit = ORMD_NO_LIMIT;
	select.offset = 0;
	select.result = ORMD_COUNT;
	assert_int_equal(count(f, &select), 4);
	select.result = ORMD_EXISTS;
	assert_int_equal(count(f, &select), 1);
	outside(f, "DELETE FROM users");
	assert_int_equal(count(f, &select), 0);
}

static void interrupted_query_is_cancelled(void **state)
{
	fixture *f = *state;
	const ormd_select select = all_of(f, "User");
	ormd_query *query;
	ormd_piece piece = {0};

	add_users(f, 1000);
	query = open_query(f, &select, NULL);
	assert_ok(f, ormd_query_next(query, 100, &piece, &f->error));
	ormd_query_interrupt(query);
	assert_int_equal(ormd_query_next(query, 100, &piece, &f->error), ORM_ECANCELLED);
	ormd_query_close(query);
}

/* What follows the first piece is read by a thread of its own, which must not be in the way of the end. */
static void query_given_up_while_it_is_read_ahead_leaves_nothing_behind(void **state)
{
	fixture *f = *state;
	const ormd_select select = all_of(f, "User");
	ormd_query *query;
	ormd_piece piece = {0};
	size_t n_rows;

	add_users(f, 10000);
	for (size_t n_pieces = 1; n_pieces <= 6; n_pieces++) {
		query = open_query(f, &select, NULL);
		for (size_t i = 0; i < n_pieces; i++) {
			assert_ok(f, ormd_query_next(query, PIECE_SIZE, &piece, &f->error));
			assert_false(piece.last);
		}
		ormd_query_close(query);
	}
	query = open_query(f, &select, NULL);
	for (n_rows = 0, piece.last = false; !piece.last;) {
		assert_ok(f, ormd_query_next(query, PIECE_SIZE, &piece, &f->error));
		n_rows += n_rows_of(&piece);
	}
	ormd_query_close(query);
	assert_int_equal(n_rows, 10000);
}

static void row_that_cannot_be_read_fails_the_query_when_its_turn_comes(void **state)
{
	fixture *f = *state;
	const ormd_order by_id = {.column = 0};
	ormd_select select = all_of(f, "User");
	ormd_query *query;
	ormd_piece piece = {0};
	size_t n_rows = 0;
	orm_status status = ORM_OK;

	if (engine_under_test() != ENGINE_SQLITE)
		skip(); /* the others keep a column's type themselves */
	add_users(f, 2000);
	outside(f, "UPDATE users SET name = x'00ff' WHERE id = 1500");
	select.order = &by_id;
	select.n_order = 1;
	query = open_query(f, &select, NULL);
	while ((status = ormd_query_next(query, PIECE_SIZE, &piece, &f->error)) == ORM_OK) {
		assert_false(piece.last);
		n_rows += n_rows_of(&piece);
	}
	assert_int_equal(status, ORM_EDATABASE);
	assert_string_equal(f->error.column, "name");
	assert_true(n_rows > 1000 && n_rows < 1500); /* the pieces before its own */
	ormd_query_close(query);
}

static void readers_are_given_back(void **state)
{
	fixture *f = *state;
	const ormd_select select = all_of(f, "User");
	const ormd_query_options options = {.deadline_us = orm_deadline_in_ms(20000)};
	ormd_query *queries[8];
	ormd_piece piece;

	add_users(f, 1000);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 8; i++) {
			queries[i] = open_query(f, &select, &options);
			assert_ok(f, ormd_query_next(queries[i], 100, &piece, &f->error));
			assert_false(piece.last);
		}
		for (int i = 0; i < 8; i++)
			ormd_query_close(queries[i]);
	}
	queries[0] = open_query(f, &select, &options);
	assert_ok(f, ormd_query_next(queries[0], SIZE_MAX, &piece, &f->error));
	assert_true(piece.last);
	for (int i = 1; i < 8; i++) { /* the exhausted one holds none */
		queries[i] = open_query(f, &select, &options);
		assert_ok(f, ormd_query_next(queries[i], 100, &piece, &f->error));
	}
	for (int i = 0; i < 8; i++)
		ormd_query_close(queries[i]);
}

/* A driver whose next question finds the connection lost. */
static const ormd_driver *real_driver;
static ormd_driver deaf_driver;

static ormd_cursor *query_lost(ormd_connection *connection, const char *sql, const orm_value *parameters,
			       size_t n_parameters, const uint8_t *types, size_t n_types, orm_error *error)
{
	(void)sql;
	(void)parameters;
	(void)n_parameters;
	(void)types;
	(void)n_types;
	connection->driver = real_driver;
	connection->lost = true;
	orm_fail(error, ORM_EUNAVAILABLE, "the connection to the database was lost");
	return NULL;
}

static void lose_next_reader(fixture *f)
{
	ormd_connection *reader = ormd_database_take_reader(f->database, ORM_NO_DEADLINE, &f->error);

	assert_non_null(reader);
	real_driver = reader->driver;
	deaf_driver = *real_driver;
	deaf_driver.query = query_lost;
	reader->driver = &deaf_driver;
	ormd_database_give_reader(f->database, reader);
}

static void reading_goes_on_by_another_connection(void **state)
{
	fixture *f = *state;
	const ormd_order by_id = {.column = 0};
	ormd_select select = all_of(f, "User");

	add_users(f, 3);
	lose_next_reader(f);
	assert_int_not_equal(find_one(f, "User", 2), 0);
	lose_next_reader(f);
	select.order = &by_id;
	select.n_order = 1;
	assert_string_equal(select_text(f, &select, "id", NULL), "1 2 3");
	lose_next_reader(f);
	select.order = NULL;
	select.n_order = 0;
	select.result = ORMD_COUNT;
	assert_int_equal(count(f, &select), 3);

	/* A refresh. */
	const uint64_t user = find_one(f, "User", 2);
	const ormd_rows *rows;
	const uint64_t *missing;
	size_t n_rows, n_missing;

	outside(f, "UPDATE users SET name = 'else' WHERE id = 2");
	lose_next_reader(f);
	assert_ok(f, ormd_session_refresh(f->session, f->participant, &user, 1, 0, &f->arena, &rows, &n_rows, &missing,
					  &n_missing, &f->error));
	assert_int_equal(n_missing, 0);
	assert_string_equal(values_of(f, user, "name"), "'else'");
}

static void relatives_are_loaded_by_another_connection(void **state)
{
	fixture *f = *state;
	const orm_relationship *posts = relationship_of(f, "User", "posts");
	ormd_query *query = NULL;
	ormd_piece piece = {0};
	uint64_t user;

	add_users(f, 2);
	outside(f, "INSERT INTO posts(id, title, user_id) VALUES (1, 'a', 1), (2, 'b', 2), (3, 'c', 1)");
	user = find_one(f, "User", 1);
	lose_next_reader(f);
	f->finished = ORM_EINTERNAL;
	assert_ok(f, ormd_load_open(f->session, f->participant, posts, &user, 1, NULL, note_finished, f, &query,
				    &f->error));
	assert_ok(f, wait_finished(f));
	assert_ok(f, ormd_query_next(query, PIECE_SIZE, &piece, &f->error));
	assert_true(piece.last);
	assert_int_equal(piece.n_related, 1);
	assert_int_equal(piece.related[0].n_rows, 2);
	assert_int_equal(piece.n_loaded, 1);
	ormd_query_close(query);
}

static void cell_that_does_not_fit_names_the_model(void **state)
{
	fixture *f = *state;
	const ormd_select select = all_of(f, "User");
	ormd_query *query;
	ormd_piece piece;

	if (engine_under_test() != ENGINE_SQLITE)
		skip(); /* the others keep a column's type themselves */
	outside(f, "INSERT INTO users(id, name) VALUES (1, x'00ff')");
	query = open_query(f, &select, NULL);
	assert_int_equal(ormd_query_next(query, PIECE_SIZE, &piece, &f->error), ORM_EDATABASE);
	assert_string_equal(f->error.model, "User");
	assert_string_equal(f->error.column, "name");
	assert_non_null(strstr(f->error.message, "User.name: "));
	ormd_query_close(query);
}

/* ---- over pending changes ----------------------------------------------------------------------------------- */

static void pending_rows_are_seen_as_after_the_commit(void **state)
{
	fixture *f = *state;
	const orm_mapper *mapper = mapper_of(f, "User");
	const ormd_order order = {.column = column_of(mapper, "name"), .descending = true};
	const ormd_select page = {.mapper = mapper, .order = &order, .n_order = 1, .limit = 3, .offset = 1};
	ormd_select number = all_of(f, "User");
	const char *rehearsed;
	uint64_t n_rehearsed, n_units;

	number.result = ORMD_COUNT;
	add_users(f, 5);
	add(f, "User", "name", "user35");
	set(f, find_one(f, "User", 4), "name", "zoe");
	del(f, find_one(f, "User", 5));
	n_units = stats_of(f).commits;
	rehearsed = select_text(f, &page, "name", NULL);
	n_rehearsed = count(f, &number);
	assert_string_equal(rehearsed, "user35 user3 user2");
	assert_int_equal(n_rehearsed, 5);
	assert_string_equal(ask(f, "SELECT count(*), max(id) FROM users"), "5|5"); /* nothing is left of it */
	assert_int_equal(stats_of(f).commits, n_units);
	assert_true(ormd_unit_pending(f->session));
	commit(f);
	assert_string_equal(select_text(f, &page, "name", NULL), rehearsed);
	assert_int_equal(count(f, &number), n_rehearsed);
}

static void pending_objects_are_found_again(void **state)
{
	fixture *f = *state;
	const ormd_select select = all_of(f, "Account");
	const uint64_t account = add(f, "Account", "owner balance", "ann", 5LL);
	ormd_query *query = open_query(f, &select, NULL);
	ormd_piece piece = {0};

	assert_ok(f, ormd_query_next(query, PIECE_SIZE, &piece, &f->error));
	assert_int_equal(piece.n_rows, 1);
	assert_int_equal(piece.rows[0].handles[0], account);
	ormd_query_close(query);
	assert_int_equal(state_of(f, account), ORMD_STATE_NEW);
	assert_string_equal(values_of(f, account, "version note"), "NULL NULL"); /* not what the rehearsal made */
}

static void rehearsed_rows_do_not_outlive_a_rollback(void **state)
{
	fixture *f = *state;
	const ormd_select select = all_of(f, "User");
	ormd_query *query;
	ormd_piece piece = {0};

	add(f, "User", "name", "Alice");
	query = open_query(f, &select, NULL);
	roll_back(f); /* before the rows are asked for */
	assert_ok(f, ormd_query_next(query, PIECE_SIZE, &piece, &f->error));
	assert_int_equal(piece.n_rows, 0);
	assert_true(piece.last);
	ormd_query_close(query);
	assert_int_equal(find_one(f, "User", 1), 0);
}

static void changes_of_other_tables_need_no_turn_to_write(void **state)
{
	fixture *f = *state;
	const ormd_select select = all_of(f, "User");
	uint64_t n_looked;

	add_users(f, 2);
	add(f, "Node", "name", "n");
	n_looked = stats_of(f).rolled_back;
	assert_string_equal(select_text(f, &select, "name", NULL), "user1 user2");
	assert_int_equal(stats_of(f).rolled_back, n_looked);
}

static void rows_that_the_database_will_cascade_are_gone(void **state)
{
	fixture *f = *state;
	ormd_select posts = all_of(f, "Post");

	posts.result = ORMD_COUNT;
	add_users(f, 2);
	outside(f, "INSERT INTO posts(id, title, user_id) VALUES (1, 'a', 1), (2, 'b', 2)");
	assert_int_equal(count(f, &posts), 2);
	del(f, find_one(f, "User", 1));
	assert_int_equal(count(f, &posts), 1);
	roll_back(f);
	assert_int_equal(count(f, &posts), 2);
}

static void rows_that_the_database_will_set_null_are_read_again_after_a_rollback(void **state)
{
	fixture *f = *state;
	const ormd_select members = all_of(f, "Member");

	outside(f, "INSERT INTO teams(id, name) VALUES (1, 'red'); INSERT INTO members(id, name, team_id) VALUES (1, "
		   "'ann', 1)");
	del(f, find_one(f, "Team", 1));
	assert_string_equal(select_text(f, &members, "team_id", NULL), "NULL");
	roll_back(f);
	assert_string_equal(select_text(f, &members, "team_id", NULL), "1");
}

static void unit_that_cannot_be_flushed_fails_the_query(void **state)
{
	fixture *f = *state;
	const ormd_select select = all_of(f, "Account");
	const uint64_t account = add(f, "Account", "owner balance", "ann", -1LL);
	ormd_query *query = NULL;

	f->finished = ORM_EINTERNAL;
	assert_ok(f, ormd_query_open(f->session, f->participant, &select, NULL, note_finished, f, &query, &f->error));
	assert_int_equal(wait_finished(f), ORM_ECONSTRAINT);
	assert_string_equal(f->error.model, "Account");
	ormd_query_close(query);
	set(f, account, "balance", 1LL);
	assert_string_equal(select_text(f, &select, "owner", NULL), "ann");
}

static void large_result_over_pending_changes_comes_in_pieces(void **state)
{
	fixture *f = *state;
	const ormd_select select = all_of(f, "User");
	ormd_query *query;
	ormd_piece piece = {0};
	size_t n_rows = 0, n_pieces = 0;

	add_users(f, 30000);
	add(f, "User", "name", "Alice");
	query = open_query(f, &select, NULL);
	while (!piece.last) {
		assert_ok(f, ormd_query_next(query, PIECE_SIZE, &piece, &f->error));
		n_pieces++;
		n_rows += n_rows_of(&piece);
	}
	ormd_query_close(query);
	assert_int_equal(n_rows, 30001);
	assert_true(n_pieces > 1);
}

/* ---- get ---------------------------------------------------------------------------------------------------- */

static void get_finds_rows_new_objects_and_nothing_deleted(void **state)
{
	fixture *f = *state;
	uint64_t alice, second;

	add_users(f, 2);
	second = find_one(f, "User", 2);
	assert_string_equal(values_of(f, second, "name"), "'user2'");
	assert_int_equal(find_one(f, "User", 2), second);
	assert_int_equal(find_one(f, "User", 9), 0);
	alice = add(f, "User", "name", "Alice");
	assert_int_equal(find_one(f, "User", key_of(f, alice)), alice);
	del(f, second);
	assert_int_equal(find_one(f, "User", 2), 0);
}

static void get_by_a_key_that_is_given_up(void **state)
{
	fixture *f = *state;
	const uint64_t node = add(f, "Node", "id name", 1LL, "n");

	commit(f);
	set(f, node, "id", 2LL);
	assert_int_equal(find_one(f, "Node", 2), node);
	assert_int_equal(find_one(f, "Node", 1), 0);
}

static void get_in_memory_says_whether_it_knows(void **state)
{
	fixture *f = *state;
	const orm_mapper *mapper = mapper_of(f, "User");
	orm_batch_builder builder;
	orm_vector vector;
	orm_batch batch;
	const ormd_rows *rows = NULL;
	size_t n_rows = 7;
	bool complete = true;

	add_users(f, 3);
	find_one(f, "User", 3);
	assert_true(orm_batch_builder_init(&builder, mapper, mapper->key, 1));
	orm_vector_builder_put_int64(&builder.vectors[0], 3);
	orm_batch_builder_end_row(&builder);
	assert_true(orm_batch_builder_view(&builder, &vector, &batch));
	assert_ok(f, ormd_session_get(f->session, f->participant, &batch, true, &complete, 0, &f->arena, &rows, &n_rows,
				      &f->error));
	assert_true(complete);
	assert_int_equal(n_rows, 1);

	orm_vector_builder_put_int64(&builder.vectors[0], 1);
	orm_batch_builder_end_row(&builder);
	assert_true(orm_batch_builder_view(&builder, &vector, &batch));
	assert_ok(f, ormd_session_get(f->session, f->participant, &batch, true, &complete, 0, &f->arena, &rows, &n_rows,
				      &f->error));
	assert_false(complete);
	assert_int_equal(n_rows, 0);

	assert_ok(f, ormd_session_get(f->session, f->participant, &batch, false, &complete, 0, &f->arena, &rows,
				      &n_rows, &f->error));
	assert_true(complete);
	assert_int_equal(rows[0].n_rows, 2); /* in the order of the keys */
	assert_int_equal(orm_vector_int64_at(&rows[0].values.vectors[0], 0), 3);
	assert_int_equal(orm_vector_int64_at(&rows[0].values.vectors[0], 1), 1);
	orm_batch_builder_fini(&builder);
}

/* ---- refresh ------------------------------------------------------------------------------------------------ */

static size_t refresh(fixture *f, const uint64_t *handles, size_t n, size_t *n_missing)
{
	const ormd_rows *rows = NULL;
	const uint64_t *missing = NULL;
	size_t n_rows = 0, n_found = 0;

	assert_ok(f, ormd_session_refresh(f->session, f->participant, handles, n, 0, &f->arena, &rows, &n_rows,
					  &missing, n_missing, &f->error));
	for (size_t i = 0; i < n_rows; i++)
		n_found += rows[i].n_rows;
	return n_found;
}

static void refresh_takes_the_row_but_keeps_what_is_pending(void **state)
{
	fixture *f = *state;
	const uint64_t account = add(f, "Account", "owner balance note", "ann", 5LL, "a");
	size_t n_missing = 0;

	commit(f);
	set(f, account, "balance", 6LL);
	outside(f, "UPDATE accounts SET note = 'b', version = 2");
	assert_int_equal(refresh(f, &account, 1, &n_missing), 1);
	assert_int_equal(n_missing, 0);
	assert_string_equal(values_of(f, account, "balance note version"), "6 'b' 2");
	commit(f);
	assert_string_equal(ask(f, "SELECT balance, note, version FROM accounts"), "6|b|3");
}

static void refresh_does_not_hide_a_lost_update(void **state)
{
	fixture *f = *state;
	const uint64_t account = add(f, "Account", "owner balance", "ann", 5LL);
	size_t n_missing = 0;

	commit(f);
	set(f, account, "balance", 6LL);
	outside(f, "UPDATE accounts SET balance = 9, version = 2");
	refresh(f, &account, 1, &n_missing);
	assert_string_equal(values_of(f, account, "balance"), "6");
	assert_int_equal(try_commit(f), ORM_ESTALE); /* the same field: not silently overwritten */
}

static void refresh_tells_which_rows_are_gone(void **state)
{
	fixture *f = *state;
	uint64_t handles[5];
	size_t n_missing = 0;

	add_users(f, 3);
	for (int i = 0; i < 3; i++)
		handles[i] = find_one(f, "User", i + 1);
	handles[3] = add(f, "Node", "name", "new");
	handles[4] = handles[1];
	outside(f, "DELETE FROM users WHERE id = 2");
	assert_int_equal(refresh(f, handles, 5, &n_missing), 3);
	assert_true(n_missing >= 1);
	assert_int_equal(find_one(f, "User", 2), 0);
	assert_string_equal(values_of(f, handles[2], "name"), "'user3'");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_database, teardown_database)
	const struct CMUnitTest tests[] = {
		TEST(ten_thousand_rows_come_in_pieces),
		TEST(empty_result_is_one_last_piece),
		TEST(one_row_is_one_object),
		TEST(loaded_values_win_until_the_next_unit),
		TEST(snapshot_from_before_a_commit_does_not_overwrite_it),
		TEST(filters_orders_and_limits),
		TEST(interrupted_query_is_cancelled),
		TEST(query_given_up_while_it_is_read_ahead_leaves_nothing_behind),
		TEST(row_that_cannot_be_read_fails_the_query_when_its_turn_comes),
		TEST(readers_are_given_back),
		TEST(reading_goes_on_by_another_connection),
		TEST(relatives_are_loaded_by_another_connection),
		TEST(cell_that_does_not_fit_names_the_model),
		TEST(pending_rows_are_seen_as_after_the_commit),
		TEST(pending_objects_are_found_again),
		TEST(rehearsed_rows_do_not_outlive_a_rollback),
		TEST(changes_of_other_tables_need_no_turn_to_write),
		TEST(rows_that_the_database_will_cascade_are_gone),
		TEST(rows_that_the_database_will_set_null_are_read_again_after_a_rollback),
		TEST(unit_that_cannot_be_flushed_fails_the_query),
		TEST(large_result_over_pending_changes_comes_in_pieces),
		TEST(get_finds_rows_new_objects_and_nothing_deleted),
		TEST(get_by_a_key_that_is_given_up),
		TEST(get_in_memory_says_whether_it_knows),
		TEST(refresh_takes_the_row_but_keeps_what_is_pending),
		TEST(refresh_does_not_hide_a_lost_update),
		TEST(refresh_tells_which_rows_are_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
