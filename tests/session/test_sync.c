/* SPDX-License-Identifier: MIT */
#include "session/unit_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static shelf lib;

static int set_up(void **state)
{
	(void)state;
	library_init(&lib, "shelf", ORMD_ON_DEATH_ROLLBACK, 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	check_consistency(&lib);
	library_fini(&lib);
	return 0;
}

static void others_get_what_was_added_with_all_its_columns(void **state)
{
	(void)state;
	const uint64_t seen = ormd_session_revision(lib.session);
	const uint8_t photo[] = {0, 1, 255};
	const cell_value cells[] = {TEXT(AUTHOR_NAME, "Ada"),
				    {AUTHOR_PHOTO, bytes_value(photo, 3)},
				    {AUTHOR_SCORE, number_value(1.5)},
				    {AUTHOR_BORN, int_value(ORM_DATE, -1)},
				    {AUTHOR_ACTIVE, {.type = ORM_BOOL, .boolean = true}}};
	const uint64_t first = add_row(&lib, lib.ann, lib.author, 5, cells);
	const uint64_t second =
		add_row(&lib, lib.ann, lib.author, CELLS(TEXT(AUTHOR_NAME, ""), TEXT(AUTHOR_EMAIL, "e")));
	const ormd_sync sync = sync_of(&lib, lib.bob, seen);

	assert_true(sync.revision == ormd_session_revision(lib.session));
	assert_int_equal(sync.n_added, 1); /* one batch a model */
	assert_int_equal(sync.added[0].n_rows, 2);
	assert_true(sync.added[0].handles[0] == first); /* in order */
	assert_string_equal(row_of(&lib, sync.added, 1, first),
			    "0=1 1='Ada' 2=NULL 3=x'0001ff' 4=1.5 5=1969-12-31 6=true 7=NULL");
	assert_string_equal(row_of(&lib, sync.added, 1, second), "0=2 1='' 2='e' 3=NULL 4=NULL 5=NULL 6=NULL 7=NULL");
	assert_int_equal(sync.n_changed + sync.n_gone + sync.n_deleted + sync.n_restored, 0);
}

static void ones_own_doings_are_no_news(void **state)
{
	(void)state;
	const uint64_t seen = ormd_session_revision(lib.session);
	const uint64_t handle = add_row(&lib, lib.ann, lib.tag, CELLS(TEXT(TAG_CODE, "a")));

	assert_int_equal(update_row(&lib, lib.ann, lib.tag, handle, CELLS(TEXT(TAG_LABEL, "x"))), ORM_OK);
	assert_false(ormd_session_has_news(lib.session, lib.ann, seen));
	assert_true(ormd_session_has_news(lib.session, lib.bob, seen));
	assert_false(ormd_session_has_news(lib.session, lib.bob, ormd_session_revision(lib.session)));
	assert_int_equal(sync_of(&lib, lib.ann, seen).n_added, 0);

	/* Still no news after somebody else's, which is. */
	add_row(&lib, lib.bob, lib.tag, CELLS(TEXT(TAG_CODE, "b")));
	assert_true(ormd_session_has_news(lib.session, lib.ann, seen));
	assert_true(ormd_session_has_news(lib.session, lib.bob, seen));
	assert_false(ormd_session_has_news(lib.session, lib.bob, seen + 2));
	assert_int_equal(sync_of(&lib, lib.ann, seen).added[0].n_rows, 1);
}

static void only_the_fields_of_others_since_then(void **state)
{
	(void)state;
	const uint64_t author =
		install_row(&lib, lib.author, false,
			    CELLS(INT(AUTHOR_ID, 7), TEXT(AUTHOR_NAME, "Ada"), INT32(AUTHOR_VERSION, 1)))
			->handle;
	const uint64_t other = install_row(&lib, lib.author, false,
					   CELLS(INT(AUTHOR_ID, 8), TEXT(AUTHOR_NAME, "Bo"), INT32(AUTHOR_VERSION, 1)))
				       ->handle;
	const uint64_t start = ormd_session_revision(lib.session);
	ormd_sync sync;

	assert_int_equal(update_row(&lib, lib.ann, lib.author, author, CELLS(TEXT(AUTHOR_NAME, "1"))), ORM_OK);
	assert_int_equal(update_row(&lib, lib.bob, lib.author, author, CELLS(TEXT(AUTHOR_EMAIL, "1"))), ORM_OK);
	assert_int_equal(update_row(&lib, lib.ann, lib.author, author, CELLS(TEXT(AUTHOR_NAME, "2"))), ORM_OK);
	assert_int_equal(update_row(&lib, lib.cid, lib.author, other, CELLS(TEXT(AUTHOR_NAME, "3"))), ORM_OK);

	sync = sync_of(&lib, lib.bob, start);
	assert_string_equal(row_of(&lib, sync.changed, sync.n_changed, author), "1='2'"); /* once, and not bob's own */
	assert_string_equal(row_of(&lib, sync.changed, sync.n_changed, other), "1='3'");
	assert_int_equal(sync.n_changed, 1); /* grouped by model and columns */
	sync = sync_of(&lib, lib.cid, start);
	assert_string_equal(row_of(&lib, sync.changed, sync.n_changed, author), "1='2' 2='1'");
	assert_null(row_of(&lib, sync.changed, sync.n_changed, other));
	sync = sync_of(&lib, lib.cid, start + 2);
	assert_string_equal(row_of(&lib, sync.changed, sync.n_changed, author), "1='2'");
	sync = sync_of(&lib, lib.ann, start + 3);
	assert_null(row_of(&lib, sync.changed, sync.n_changed, author));
}

static void groups_are_kept_apart_and_found_again(void **state)
{
	(void)state;
	enum { N = 60 };
	uint64_t handles[N];
	uint64_t start;
	ormd_sync sync;

	for (int i = 0; i < N; i++)
		handles[i] = install_row(&lib, lib.author, false,
					 CELLS(INT(AUTHOR_ID, i + 1), TEXT(AUTHOR_NAME, "n"), INT32(AUTHOR_VERSION, 1)))
				     ->handle;
	start = ormd_session_revision(lib.session);
	for (int i = 0; i < N; i++) {
		const cell_value cells[] = {TEXT(AUTHOR_NAME, "x"),
					    TEXT(AUTHOR_EMAIL, i % 2 ? "odd" : "even"),
					    {AUTHOR_SCORE, number_value(i)}};

		assert_int_equal(update_row(&lib, lib.ann, lib.author, handles[i], 1 + (size_t)i % 3, cells), ORM_OK);
	}
	sync = sync_of(&lib, lib.bob, start);
	assert_int_equal(sync.n_changed, 3);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(sync.changed[i].n_rows, N / 3);
	assert_string_equal(row_of(&lib, sync.changed, 3, handles[59]), "1='x' 2='odd' 4=59");
	assert_string_equal(row_of(&lib, sync.changed, 3, handles[57]), "1='x'");
}

static void deletions_are_told_and_committed_ones_gone(void **state)
{
	(void)state;
	const uint64_t tag = install_row(&lib, lib.tag, false, CELLS(TEXT(TAG_CODE, "a")))->handle;
	const uint64_t start = ormd_session_revision(lib.session);
	ormd_sync sync;

	assert_int_equal(delete_row(&lib, lib.ann, lib.tag, tag), ORM_OK);
	sync = sync_of(&lib, lib.bob, start);
	assert_int_equal(sync.n_deleted, 1);
	assert_true(sync.deleted[0] == tag);
	assert_int_equal(sync_of(&lib, lib.ann, start).n_deleted, 0);
	settle_all(&lib, lib.bob);
	sync = sync_of(&lib, lib.ann, start);
	assert_int_equal(sync.n_gone, 1);
	assert_int_equal(sync.n_deleted, 0);
	sync = sync_of(&lib, lib.cid, start);
	assert_int_equal(sync.n_gone, 1);
	assert_int_equal(sync.n_deleted, 0);
}

static void a_newcomer_gets_what_is_pending_and_not_what_is_over(void **state)
{
	(void)state;
	const uint64_t committed = add_row(&lib, lib.ann, lib.tag, CELLS(TEXT(TAG_CODE, "c")));
	const uint64_t changed = install_row(&lib, lib.tag, false, CELLS(TEXT(TAG_CODE, "d")))->handle;
	uint64_t pending;
	uint32_t dan;
	ormd_sync sync;

	settle_all(&lib, lib.ann);
	assert_int_equal(update_row(&lib, lib.ann, lib.tag, changed, CELLS(TEXT(TAG_LABEL, "x"))), ORM_OK);
	pending = add_row(&lib, lib.bob, lib.tag, CELLS(TEXT(TAG_CODE, "p")));
	assert_int_equal(ormd_session_join(lib.session, "dan", &dan, &lib.error), ORM_OK);
	sync = sync_of(&lib, dan, 0);
	assert_non_null(row_of(&lib, sync.added, sync.n_added, pending));
	assert_null(row_of(&lib, sync.added, sync.n_added, committed));
	assert_string_equal(row_of(&lib, sync.changed, sync.n_changed, changed), "1='x'");
	assert_int_equal(sync.n_notices, 0);
}

static void a_private_session_forgets_what_its_one_participant_knows(void **state)
{
	(void)state;
	shelf own;

	library_init(&own, NULL, ORMD_ON_DEATH_ROLLBACK, 0);

	const uint64_t author = add_row(&own, own.ann, own.author, CELLS(TEXT(AUTHOR_NAME, "Ada")));
	const uint64_t tag = add_row(&own, own.ann, own.tag, CELLS(TEXT(TAG_CODE, "a")));

	ormd_unit_settle_begin(own.session, own.ann);
	ormd_unit_set_server_integer(own.session, ormd_unit_by_handle(own.session, author), AUTHOR_VERSION, 1);
	ormd_unit_settle(own.session, own.ann);
	assert_null(ormd_unit_by_handle(own.session, tag)->change);
	assert_int_equal(own.session->settled.len, 1);

	const ormd_sync sync = sync_of(&own, own.ann, 2);

	assert_string_equal(row_of(&own, sync.changed, sync.n_changed, author), "7=1");
	assert_int_equal(sync.n_notices, 0);
	assert_int_equal(sync_of(&own, own.ann, sync.revision).n_changed, 0);
	assert_int_equal(own.session->settled.len, 0);
	check_consistency(&own);
	library_fini(&own);
}

static void what_is_settled_is_kept_within_bounds(void **state)
{
	(void)state;
	enum { N = 70000 };
	orm_batch_builder builder;
	orm_vector vectors[1];
	char code[16];
	const uint16_t columns[] = {TAG_CODE};
	ormd_adds adds = {.first_handle = (uint64_t)lib.ann << ORMD_HANDLE_SHIFT | 1};
	const ormd_draft draft = {.adds = &adds, .n_adds = 1};
	const uint64_t old = install_row(&lib, lib.author, false,
					 CELLS(INT(AUTHOR_ID, 1), TEXT(AUTHOR_NAME, "x"), INT32(AUTHOR_VERSION, 1)))
				     ->handle;
	const uint64_t base = ormd_session_revision(lib.session);
	rows_draft late;

	/* A first commit, then one that is larger than what is kept. */
	assert_int_equal(update_row(&lib, lib.ann, lib.author, old, CELLS(TEXT(AUTHOR_NAME, "y"))), ORM_OK);
	settle_all(&lib, lib.ann);
	assert_true(orm_batch_builder_init(&builder, lib.tag, columns, 1));
	for (int i = 0; i < N; i++) {
		const int size = snprintf(code, sizeof code, "%d", i);

		orm_vector_builder_put_text(&builder.vectors[0], code, (size_t)size);
		orm_batch_builder_end_row(&builder);
	}
	assert_true(orm_batch_builder_view(&builder, vectors, &adds.values));
	assert_int_equal(ormd_session_publish(lib.session, lib.ann, 0, &draft, &lib.arena, &lib.published, &lib.error),
			 ORM_OK);
	settle_all(&lib, lib.ann);
	assert_int_equal(lib.session->settled.len, N + 1);
	sync_of(&lib, lib.ann, ormd_session_revision(lib.session));
	sync_of(&lib, lib.bob, ormd_session_revision(lib.session));
	assert_int_equal(lib.session->settled.len, N + 1); /* cid has not seen them */
	sync_of(&lib, lib.cid, ormd_session_revision(lib.session));
	assert_true(lib.session->settled.len < N);

	/* An edit from before what is remembered is refused rather than trusted. */
	draft_init(&late, &lib);
	draft_update(&late, lib.author, old, base, CELLS(TEXT(AUTHOR_NAME, "z")));
	assert_int_equal(draft_publish(&late, lib.bob), ORM_ECONFLICT);
	draft_init(&late, &lib);
	draft_update(&late, lib.author, old, ormd_session_revision(lib.session), CELLS(TEXT(AUTHOR_NAME, "z")));
	assert_int_equal(draft_publish(&late, lib.bob), ORM_OK);
	orm_batch_builder_fini(&builder);
}

/* ---- a model of the rules, naive and slow, against which mirrors must agree -------------------------------- */

/*
 * Books and authors with small values. The model keeps a log of every field ever set; the participants are clients with
 * a mirror and a draft of one publish. After every operation what the session holds is compared with the model;
 * whenever a participant has synced, its mirror is.
 */
enum { MAX_OBJECTS = 4000, MAX_EVENTS = 60000, N_FIELDS = 3, N_CLIENTS = 4 };
enum { FIELD_TITLE, FIELD_AUTHOR, FIELD_RATING };
enum { NOTHING = -1 }; /* NULL */

typedef enum model_state { ABSENT, NEW, KEPT, DELETED, LEFT } model_state;

typedef struct model_object {
	uint64_t handle;
	bool is_author;
	int64_t key;
	model_state state;
	int now[N_FIELDS], base[N_FIELDS];
} model_object;

typedef struct model_event {
	uint64_t revision;
	uint32_t author;
	size_t object;
	int field; /* N_FIELDS: the object was deleted or came to be */
} model_event;

typedef struct mirror_row {
	bool there, deleted;
	int values[N_FIELDS];
} mirror_row;

typedef struct model_client {
	uint32_t number; /* 0: away */
	uint64_t seen, counter;
	bool aborted;
	mirror_row rows[MAX_OBJECTS];
} model_client;

typedef struct world {
	model_object objects[MAX_OBJECTS];
	size_t n_objects;
	model_event events[MAX_EVENTS];
	size_t n_events;
	uint64_t revision;
	model_client clients[N_CLIENTS];
	uint64_t random;
	size_t n_published, n_conflicts, n_rollbacks, n_commits, n_joins, n_undone;
} world;

static world *w;

static uint32_t roll(uint32_t n)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return (uint32_t)((w->random >> 33) % n);
}

static void note(size_t object, int field, uint32_t author)
{
	assert_true(w->n_events < MAX_EVENTS);
	w->events[w->n_events++] = (model_event){w->revision, author, object, field};
}

static size_t find_object(uint64_t handle)
{
	for (size_t i = w->n_objects; i-- > 0;) {
		if (w->objects[i].handle == handle)
			return i;
	}
	fail_msg("the model does not know %llx", (unsigned long long)handle);
	return 0;
}

/* Who set a field last is what counts: who set it again knew of it. */
static bool set_by_another(size_t object, int field, uint64_t base, uint32_t author, bool server_counts)
{
	for (size_t i = w->n_events; i-- > 0;) {
		const model_event *event = &w->events[i];

		if (event->object == object && event->field == field)
			return event->revision > base && event->author != author &&
			       (server_counts || event->author != 0);
	}
	return false;
}

static bool changed_by_another(size_t object, uint64_t base, uint32_t author)
{
	for (int field = 0; field < N_FIELDS; field++) {
		if (set_by_another(object, field, base, author, false))
			return true;
	}
	return false;
}

static bool is_live(const model_object *object)
{
	return object->state == NEW || object->state == KEPT;
}

static int model_field(const ormd_session *session, const ormd_object *object, int field)
{
	const ormd_layout *layout = ormd_object_layout(session, object);
	orm_value value;

	if (layout->mapper == lib.author)
		return field == FIELD_TITLE
			       ? atoi(ormd_record_bytes(layout, object->record, AUTHOR_NAME, &(uint32_t){0}))
			       : NOTHING;
	if (field == FIELD_TITLE)
		return atoi(ormd_record_bytes(layout, object->record, BOOK_TITLE, &(uint32_t){0}));
	ormd_record_value(layout, object->record, field == FIELD_AUTHOR ? BOOK_AUTHOR : BOOK_RATING, &value);
	return value.null ? NOTHING : (int)value.integer;
}

static void compare_session(void)
{
	check_consistency(&lib);
	assert_true(ormd_session_revision(lib.session) == w->revision);
	for (size_t i = 0; i < w->n_objects; i++) {
		const model_object *object = &w->objects[i];
		const ormd_state state = object_state(&lib, object->handle);

		switch (object->state) {
		case ABSENT:
			break;
		case LEFT:
			assert_true(state == ORMD_STATE_GONE || state == ORMD_STATE_NONE);
			break;
		case NEW:
			assert_int_equal(state, ORMD_STATE_NEW);
			break;
		case KEPT:
			assert_int_equal(state, ORMD_STATE_PERSISTENT);
			break;
		case DELETED:
			assert_int_equal(state, ORMD_STATE_DELETED);
			break;
		}
		for (int field = 0; is_live(object) && field < N_FIELDS; field++)
			assert_int_equal(
				model_field(lib.session, ormd_unit_by_handle(lib.session, object->handle), field),
				object->now[field]);
	}
}

/* ---- the clients ---- */

static void take_rows(model_client *client, const ormd_rows *rows, bool whole)
{
	for (size_t row = 0; row < rows->n_rows; row++) {
		const size_t index = find_object(rows->handles[row]);
		mirror_row *mirrored = &client->rows[index];

		if (!mirrored->there && !whole)
			continue; /* not loaded here */
		if (whole)
			*mirrored = (mirror_row){.there = true, .values = {NOTHING, NOTHING, NOTHING}};
		for (size_t i = 0; i < rows->values.n_vectors; i++) {
			orm_vector_cursor cursor;
			orm_value value;
			int field;

			orm_vector_cursor_init(&cursor, &rows->values.vectors[i]);
			for (size_t j = 0; j <= row; j++)
				orm_vector_cursor_next(&cursor, &value);
			if (rows->mapper == lib.author)
				field = rows->values.vectors[i].column == AUTHOR_NAME ? FIELD_TITLE : N_FIELDS;
			else
				field = rows->values.vectors[i].column == BOOK_TITLE    ? FIELD_TITLE
					: rows->values.vectors[i].column == BOOK_AUTHOR ? FIELD_AUTHOR
					: rows->values.vectors[i].column == BOOK_RATING ? FIELD_RATING
											: N_FIELDS;
			if (field < N_FIELDS)
				mirrored->values[field] = value.null               ? NOTHING
							  : value.type == ORM_TEXT ? atoi(value.text)
										   : (int)value.integer;
		}
	}
}

static void sync_client(model_client *client)
{
	const ormd_sync sync = sync_of(&lib, client->number, client->seen);

	for (size_t i = 0; i < sync.n_added; i++)
		take_rows(client, &sync.added[i], true);
	for (size_t i = 0; i < sync.n_changed; i++)
		take_rows(client, &sync.changed[i], false);
	for (size_t i = 0; i < sync.n_gone; i++)
		client->rows[find_object(sync.gone[i])].there = false;
	for (size_t i = 0; i < sync.n_deleted; i++)
		client->rows[find_object(sync.deleted[i])].deleted = true;
	for (size_t i = 0; i < sync.n_restored; i++)
		client->rows[find_object(sync.restored[i])].deleted = false;
	client->seen = sync.revision;
}

static void compare_mirror(const model_client *client)
{
	for (size_t i = 0; i < w->n_objects; i++) {
		const model_object *object = &w->objects[i];
		const mirror_row *row = &client->rows[i];

		if (!is_live(object)) {
			if (row->there && !row->deleted)
				fail_msg("client %u still has %llx", client->number,
					 (unsigned long long)object->handle);
			continue;
		}
		if (!row->there || row->deleted)
			fail_msg("client %u lacks %llx", client->number, (unsigned long long)object->handle);
		for (int field = 0; field < N_FIELDS; field++) {
			if (row->values[field] != object->now[field])
				fail_msg("client %u has %d in field %d of %llx instead of %d", client->number,
					 row->values[field], field, (unsigned long long)object->handle,
					 object->now[field]);
		}
	}
}

static void join_client(model_client *client)
{
	ormd_participant *participant;
	const bool alone = ormd_session_n_participants(lib.session) == 0;

	assert_int_equal(ormd_session_join(lib.session, "client", &client->number, &lib.error), ORM_OK);
	assert_int_equal(ormd_participant_saw(lib.session, client->number, 0, &participant, &lib.error), ORM_OK);
	w->revision += !alone;
	w->n_joins++;
	client->seen = client->counter = 0;
	client->aborted = false;
	memset(client->rows, 0, sizeof client->rows);
	/* As if it had queried everything that is in the database. */
	for (size_t i = 0; i < w->n_objects; i++) {
		if (w->objects[i].state != KEPT && w->objects[i].state != DELETED)
			continue;
		client->rows[i].there = true;
		memcpy(client->rows[i].values, w->objects[i].now, sizeof client->rows[i].values);
	}
}

static void model_rollback(const model_client *by)
{
	bool any = false;

	for (size_t i = 0; i < w->n_objects; i++) {
		model_object *object = &w->objects[i];

		any |= object->state == NEW || object->state == DELETED ||
		       (object->state == KEPT && ormd_object_pending(ormd_unit_by_handle(lib.session, object->handle)));
	}
	if (!any)
		return;
	w->revision++;
	w->n_rollbacks++;
	for (size_t i = 0; i < w->n_objects; i++) {
		model_object *object = &w->objects[i];

		if (object->state == NEW) {
			object->state = LEFT;
			note(i, N_FIELDS, 0);
		} else if (object->state == KEPT || object->state == DELETED) {
			for (int field = 0; field < N_FIELDS; field++) {
				if (object->now[field] != object->base[field])
					note(i, field, 0);
				object->now[field] = object->base[field];
			}
			object->state = KEPT;
		}
	}
	for (size_t i = 0; i < N_CLIENTS; i++)
		w->clients[i].aborted |= w->clients[i].number && &w->clients[i] != by;
}

static void roll_back(model_client *client)
{
	if (client->aborted) {
		client->aborted = false;
		ormd_session_rollback(lib.session, client->number);
		return;
	}
	model_rollback(client);
	ormd_session_rollback(lib.session, client->number);
}

static void commit(const model_client *client)
{
	if (client->aborted || !ormd_unit_pending(lib.session))
		return;
	w->n_commits++;
	w->revision++;
	for (size_t i = 0; i < w->n_objects; i++) {
		model_object *object = &w->objects[i];

		if (object->state == NEW)
			object->state = KEPT;
		if (object->state == DELETED) {
			object->state = LEFT;
			note(i, N_FIELDS, 0);
		}
		memcpy(object->base, object->now, sizeof object->base);
	}
	settle_all(&lib, client->number);
}

/* ---- publishing ---- */

typedef struct model_edit {
	size_t object;
	int field; /* N_FIELDS: delete */
	int value;
	uint64_t base;
} model_edit;

static size_t pick(const model_client *client, bool author, bool *found)
{
	size_t candidates[MAX_OBJECTS], n = 0;

	for (size_t i = 0; i < w->n_objects; i++) {
		if (client->rows[i].there && !client->rows[i].deleted && w->objects[i].is_author == author)
			candidates[n++] = i;
	}
	*found = n > 0;
	return n ? candidates[roll((uint32_t)n)] : 0;
}

/* What the rules say about these edits. */
static bool expect_conflict(const model_client *client, const model_edit *edits, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const model_object *object = &w->objects[edits[i].object];

		if (edits[i].field < N_FIELDS) {
			if (!is_live(object) ||
			    set_by_another(edits[i].object, edits[i].field, edits[i].base, client->number, true))
				return true;
			continue;
		}
		if (!is_live(object))
			continue;
		if (changed_by_another(edits[i].object, edits[i].base, client->number))
			return true;
		for (size_t j = 0; j < w->n_objects && object->is_author; j++) {
			if (is_live(&w->objects[j]) && !w->objects[j].is_author &&
			    w->objects[j].now[FIELD_AUTHOR] == object->key &&
			    set_by_another(j, FIELD_AUTHOR, edits[i].base, client->number, true))
				return true;
		}
	}
	return false;
}

static void model_delete(size_t index, uint32_t author)
{
	model_object *object = &w->objects[index];

	object->state = object->state == NEW ? LEFT : DELETED;
	note(index, N_FIELDS, author);
	for (size_t j = 0; j < w->n_objects && object->is_author; j++) {
		if (is_live(&w->objects[j]) && !w->objects[j].is_author &&
		    w->objects[j].now[FIELD_AUTHOR] == object->key) {
			w->objects[j].now[FIELD_AUTHOR] = NOTHING;
			note(j, FIELD_AUTHOR, author);
		}
	}
}

static void apply_edits(model_client *client, const model_edit *edits, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		model_object *object = &w->objects[edits[i].object];

		if (edits[i].field == N_FIELDS) {
			if (is_live(object))
				model_delete(edits[i].object, client->number);
			client->rows[edits[i].object].deleted = true;
		} else {
			object->now[edits[i].field] = edits[i].value;
			note(edits[i].object, edits[i].field, client->number);
			client->rows[edits[i].object].values[edits[i].field] = edits[i].value;
		}
	}
}

static void draft_edit(rows_draft *draft, const model_edit *edit)
{
	const model_object *object = &w->objects[edit->object];
	char digits[16];
	const char *copy;

	snprintf(digits, sizeof digits, "%d", edit->value);
	copy = orm_arena_strdup(&lib.arena, digits);
	if (edit->field == N_FIELDS)
		draft_delete(draft, object->is_author ? lib.author : lib.book, object->handle, edit->base);
	else if (object->is_author)
		draft_update(draft, lib.author, object->handle, edit->base, CELLS(TEXT(AUTHOR_NAME, copy)));
	else if (edit->field == FIELD_TITLE)
		draft_update(draft, lib.book, object->handle, edit->base, CELLS(TEXT(BOOK_TITLE, copy)));
	else if (edit->field == FIELD_RATING)
		draft_update(draft, lib.book, object->handle, edit->base, CELLS(INT32(BOOK_RATING, edit->value)));
	else if (edit->value == NOTHING)
		draft_update_to(draft, lib.book, object->handle, edit->base, lib.book_author, 0);
	else
		draft_update(draft, lib.book, object->handle, edit->base, CELLS(INT(BOOK_AUTHOR, edit->value)));
}

static size_t make_edits(const model_client *client, model_edit *edits)
{
	const size_t wanted = roll(4);
	size_t n = 0;

	for (size_t i = 0; i < wanted; i++) {
		const bool author = roll(3) == 0;
		bool found, parent_found;
		model_edit *edit = &edits[n];
		const size_t parent = pick(client, true, &parent_found);

		edit->object = pick(client, author, &found);
		edit->field = roll(6) == 0 ? N_FIELDS : author ? FIELD_TITLE : (int)roll(N_FIELDS);
		edit->value = edit->field != FIELD_AUTHOR ? (int)roll(50)
			      : parent_found && roll(3)   ? (int)w->objects[parent].key
							  : NOTHING;
		/* Sometimes the edit is older than what the client has seen since. */
		edit->base = roll(4) || client->seen < 3 ? client->seen : client->seen - roll(3);
		for (size_t j = 0; j < n; j++)
			found &= edits[j].object != edit->object && edits[j].field != N_FIELDS &&
				 edit->field != N_FIELDS;
		n += found;
	}
	return n;
}

static void add_object(rows_draft *draft, model_client *client, model_object *object)
{
	char digits[16];

	*object = (model_object){.handle = (uint64_t)client->number << ORMD_HANDLE_SHIFT | ++client->counter,
				 .is_author = roll(3) == 0,
				 .state = NEW};
	object->now[FIELD_TITLE] = (int)roll(50);
	object->now[FIELD_AUTHOR] = NOTHING;
	object->now[FIELD_RATING] = object->is_author ? NOTHING : (int)roll(5);
	memcpy(object->base, object->now, sizeof object->base);
	snprintf(digits, sizeof digits, "%d", object->now[FIELD_TITLE]);
	if (object->is_author)
		draft_add(draft, lib.author, object->handle,
			  CELLS(TEXT(AUTHOR_NAME, orm_arena_strdup(&lib.arena, digits))));
	else
		draft_add(draft, lib.book, object->handle,
			  CELLS(TEXT(BOOK_TITLE, orm_arena_strdup(&lib.arena, digits)),
				INT32(BOOK_RATING, object->now[FIELD_RATING])));
}

static void publish(model_client *client)
{
	model_edit edits[4];
	model_object added[3];
	const size_t n_edits = make_edits(client, edits);
	const size_t n_added = w->n_objects + 3 < MAX_OBJECTS ? roll(3) : 0;
	const bool conflict = expect_conflict(client, edits, n_edits);
	const bool doomed = roll(6) == 0;
	rows_draft draft;
	ormd_draft view;
	orm_status status;

	if (n_edits + n_added == 0)
		return;
	draft_init(&draft, &lib);
	for (size_t i = 0; i < n_edits; i++)
		draft_edit(&draft, &edits[i]);
	for (size_t i = 0; i < n_added; i++)
		add_object(&draft, client, &added[i]);
	if (doomed) /* everything else is applied when this is found */
		draft_add(&draft, lib.tag, (uint64_t)client->number << ORMD_HANDLE_SHIFT | ++client->counter,
			  CELLS(TEXT(TAG_CODE, "taken")));
	view = draft_view(&draft);
	status = ormd_session_publish(lib.session, client->number, client->seen, &view, &lib.arena, &lib.published,
				      &lib.error);
	if (client->aborted) {
		assert_int_equal(status, ORM_EABORTED);
		return;
	}
	if (doomed && !conflict) {
		w->n_undone++;
		assert_int_equal(status, ORM_EEXIST);
		return;
	}
	if (conflict) {
		w->n_conflicts++;
		assert_int_equal(status, ORM_ECONFLICT);
		assert_true(lib.published.n_conflicts > 0);
		return;
	}
	if (status != ORM_OK)
		fail_msg("%s", lib.error.message);
	w->n_published++;
	w->revision++;
	for (size_t i = 0; i < n_added; i++) {
		w->objects[w->n_objects] = added[i];
		w->objects[w->n_objects].key = atoi(cell_of(&lib, added[i].handle, 0));
		client->rows[w->n_objects] = (mirror_row){.there = true};
		memcpy(client->rows[w->n_objects].values, added[i].now, sizeof added[i].now);
		for (int field = 0; field < N_FIELDS; field++)
			note(w->n_objects, field, client->number);
		w->n_objects++;
	}
	apply_edits(client, edits, n_edits);
}

static void act(model_client *client)
{
	const uint32_t what = roll(100);

	if (!client->number) {
		if (what < 30) {
			join_client(client);
			sync_client(client);
			compare_mirror(client);
		}
		return;
	}
	if (what < 45) {
		publish(client);
	} else if (what < 80) {
		sync_client(client);
		compare_mirror(client);
	} else if (what < 90) {
		commit(client);
	} else if (what < 95 || client->aborted) {
		roll_back(client);
	} else if (what < 97) {
		const bool died = roll(2);
		const bool last = ormd_session_n_participants(lib.session) == 1;

		if (last)
			return;
		w->revision++;
		if (died)
			model_rollback(client);
		ormd_session_leave(lib.session, client->number, died, NULL);
		client->number = 0;
		client->aborted = false;
	}
}

static void play(uint64_t seed, int rounds)
{
	library_init(&lib, "world", ORMD_ON_DEATH_ROLLBACK, 0);
	w = calloc(1, sizeof *w);
	assert_non_null(w);
	w->random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	ormd_session_leave(lib.session, lib.bob, false, NULL);
	ormd_session_leave(lib.session, lib.cid, false, NULL);
	w->clients[0].number = lib.ann;
	install_row(&lib, lib.tag, false, CELLS(TEXT(TAG_CODE, "taken")));
	w->revision = ormd_session_revision(lib.session);
	for (int round = 0; round < rounds; round++) {
		act(&w->clients[roll(N_CLIENTS)]);
		compare_session();
	}
	for (size_t i = 0; i < N_CLIENTS; i++) {
		if (!w->clients[i].number)
			continue;
		sync_client(&w->clients[i]);
		compare_mirror(&w->clients[i]);
	}
	assert_true(w->n_published > 0);
	if (rounds >= 1000) /* it has tried everything */
		assert_true(w->n_conflicts > 0 && w->n_rollbacks > 0 && w->n_commits > 0 && w->n_joins > 0 &&
			    w->n_undone > 0);
	free(w);
	check_consistency(&lib);
	library_fini(&lib);
}

static void mirrors_converge_whatever_happens(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 12; seed++)
		play(seed, 1000);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(others_get_what_was_added_with_all_its_columns),
		TEST(ones_own_doings_are_no_news),
		TEST(only_the_fields_of_others_since_then),
		TEST(groups_are_kept_apart_and_found_again),
		TEST(deletions_are_told_and_committed_ones_gone),
		TEST(a_newcomer_gets_what_is_pending_and_not_what_is_over),
		cmocka_unit_test(a_private_session_forgets_what_its_one_participant_knows),
		TEST(what_is_settled_is_kept_within_bounds),
		cmocka_unit_test(mirrors_converge_whatever_happens),
	};

	return cmocka_run_group_tests_name("session_sync", tests, NULL, NULL);
}
