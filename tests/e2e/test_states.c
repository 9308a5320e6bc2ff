/* SPDX-License-Identifier: MIT */
/* What an object goes through: its states, its lists, expiry, rollback, and units of work that must be written in the right order. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "e2e/notes.h"
#include "e2e/place.h"

ORM_DECLARE(Part);

struct Part {
	int64_t       id;
	const char   *name;
	orm_opt_int64 whole_id;
	Part         *whole;
	Part_list     parts;
	orm_opt_int64 twin_id;
	Part         *twin;
};

static const orm_field Part_fields[] = {
	{ ORM_COLUMN(Part, id), .primary_key = true },
	{ ORM_COLUMN(Part, name), .unique = true },
	{ ORM_COLUMN(Part, whole_id), .references = ORM_KEY(Part, id) },
	{ ORM_RELATIONSHIP(Part, whole, Part, parts), .via = ORM_NAME(Part, whole_id) },
	{ ORM_RELATIONSHIP(Part, parts, Part, whole), .via = ORM_NAME(Part, whole_id) },
	{ ORM_COLUMN(Part, twin_id), .references = ORM_KEY(Part, id) },
	{ ORM_RELATIONSHIP_ONE_WAY(Part, twin, Part), .via = ORM_NAME(Part, twin_id) },
};
ORM_MODEL(Part, "parts", Part_fields);

static const orm_model *const part_models[] = { &Part_model, NULL };

typedef struct client {
	orm_db      *db;
	orm_session *session;
} client;

static client start(const test_place *place, const orm_model *const models[])
{
	client this = {.db = place_connect(place, models)};
	this.session = orm_session_open(this.db);
	return this;
}

static void stop(client *this)
{
	assert_string_equal(orm_session_error(this->session)->message, "");
	orm_session_close(this->session);
	orm_disconnect(this->db);
}

static void commit(orm_session *session)
{
	orm_commit(session);
	assert_string_equal(orm_session_error(session)->message, "");
}

static void an_object_goes_through_its_states(void **state)
{
	client  this = start(*state, notes_models);
	Person *person = orm_add(this.session, Person, .name = "Ada");
	assert_int_equal(orm_state(this.session, person), ORM_PENDING);
	orm_flush(this.session);
	assert_int_equal(orm_state(this.session, person), ORM_PENDING); /* not a row yet */
	assert_int_equal(person->id, 1);
	commit(this.session);
	assert_int_equal(orm_state(this.session, person), ORM_PERSISTENT);
	assert_false(orm_is_dirty(this.session, person));
	person->name = "Augusta";
	assert_true(orm_is_dirty(this.session, person));
	orm_expire(this.session, person);
	assert_int_equal(orm_state(this.session, person), ORM_EXPIRED);
	assert_ptr_equal(orm_get(this.session, Person, 1), person);
	assert_int_equal(orm_state(this.session, person), ORM_PERSISTENT);
	assert_string_equal(person->name, "Ada"); /* the unsent edit is gone */
	orm_delete(this.session, person);
	assert_int_equal(orm_state(this.session, person), ORM_DELETED);
	commit(this.session);
	assert_int_equal(orm_state(this.session, person), ORM_DETACHED);
	assert_string_equal(person->name, "Ada"); /* still readable */
	assert_null(orm_get(this.session, Person, 1));
	Person stranger = {.name = "nobody"};
	assert_int_equal(orm_state(this.session, &stranger), ORM_DETACHED);
	stop(&this);
}

static void members_have_five_conditions(void **state)
{
	client this = start(*state, notes_models);
	Note  *note = orm_add(this.session, Note, .title = "first", .body = NULL, .owner = orm_add(this.session, Person, .name = "Ada"));
	assert_int_equal(orm_member_state(this.session, note, &note->title), ORM_MEMBER_SET);
	assert_int_equal(orm_member_state(this.session, note, &note->body), ORM_MEMBER_NULL);
	assert_int_equal(orm_member_state(this.session, note, &note->score), ORM_MEMBER_UNSET);
	commit(this.session);
	assert_int_equal(orm_member_state(this.session, note, &note->score), ORM_MEMBER_NULL);
	orm_session_clear(this.session);
	note = orm_get(this.session, Note, 1);
	assert_int_equal(orm_member_state(this.session, note, &note->owner), ORM_MEMBER_NOT_LOADED);
	orm_load(this.session, note, &note->owner);
	assert_int_equal(orm_member_state(this.session, note, &note->owner), ORM_MEMBER_SET);
	assert_string_equal(note->owner->name, "Ada");
	Person *person = note->owner;
	assert_int_equal(orm_member_state(this.session, person, &person->notes), ORM_MEMBER_NOT_LOADED);
	assert_true(person->notes.len == SIZE_MAX);
	orm_load(this.session, person, &person->notes);
	assert_int_equal(person->notes.len, 1);
	assert_ptr_equal(person->notes.items[0], note);
	orm_expire(this.session, note);
	assert_int_equal(orm_member_state(this.session, note, &note->title), ORM_MEMBER_EXPIRED);
	orm_refresh(this.session, note);
	assert_int_equal(orm_member_state(this.session, note, &note->title), ORM_MEMBER_SET);
	stop(&this);
}

/* In a process of its own: use a relationship that is not loaded. */
static int use_what_is_not_loaded(const char *address, const char *what)
{
	setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
	orm_explain_faults();
	orm_db      *db = orm_connect(address, notes_models);
	orm_session *session = orm_session_open(db);
	if (strcmp(what, "list") == 0) {
		Person *person = orm_get(session, Person, 1);
		printf("%s\n", person->notes.items[0]->title);
	} else {
		Note *note = orm_get(session, Note, 1);
		printf("%s\n", note->owner->name);
	}
	return 0;
}

static void what_is_not_loaded_is_loud(void **state)
{
	static const struct { const char *what, *said; } cases[] = {{"list", "Person.notes"}, {"pointer", "Note.owner"}};
	const test_place *place = *state;
	client            this = start(place, notes_models);
	orm_add(this.session, Note, .title = "first", .owner = orm_add(this.session, Person, .name = "Ada"));
	commit(this.session);
	for (size_t i = 0; i < 2; i++) {
		char              path[SUPPORT_PATH_SIZE];
		const char *const argv[] = {program_invocation_name, "fault", place->ormd.address, cases[i].what, NULL};
		/* The sanitizers' own handlers would take the fault's place. */
		const char *const environment[] = {"ASAN_OPTIONS=handle_segv=0", "TSAN_OPTIONS=handle_segv=0", NULL};
		support_join(path, place->directory, cases[i].what);
		int status = support_run(&(support_command){.argv = argv, .environment = environment, .stdout_path = path, .stderr_path = path}, 30000);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), SIGSEGV);
		char *text = support_read_file(path, NULL);
		assert_non_null(strstr(text, cases[i].said));
		assert_non_null(strstr(text, "orm_load"));
		free(text);
	}
	stop(&this);
}

static void both_sides_of_a_relationship_agree(void **state)
{
	client  this = start(*state, notes_models);
	Person *ada = orm_add(this.session, Person, .name = "Ada"), *bob = orm_add(this.session, Person, .name = "Bob");
	Note   *note = orm_add(this.session, Note, .title = "first", .owner = ada);
	Note   *other = orm_add(this.session, Note, .title = "second");
	assert_int_equal(ada->notes.len, 1);
	orm_link(this.session, bob, &bob->notes, other);
	assert_ptr_equal(other->owner, bob);
	orm_link(this.session, note, &note->owner, bob);
	assert_int_equal(ada->notes.len, 0);
	assert_int_equal(bob->notes.len, 2);
	commit(this.session);
	assert_int_equal(note->owner_id.value, bob->id);
	note->owner = ada; /* plain assignment: at the next call */
	assert_int_equal(orm_count(this.session, Note), 2);
	assert_int_equal(ada->notes.len, 1);
	assert_ptr_equal(ada->notes.items[0], note);
	assert_int_equal(bob->notes.len, 1);
	assert_int_equal(note->owner_id.value, ada->id);
	orm_unlink(this.session, ada, &ada->notes, note);
	assert_null(note->owner);
	commit(this.session);
	assert_false(note->owner_id.has);
	assert_int_equal(place_number(*state, "SELECT count(*) FROM notes WHERE owner_id IS NULL"), 1);
	/* What the database sets to NULL when the parent goes is shown as well. */
	orm_delete(this.session, bob);
	commit(this.session);
	assert_null(other->owner);
	assert_false(other->owner_id.has);
	assert_int_equal(place_number(*state, "SELECT count(*) FROM notes WHERE owner_id IS NULL"), 2);
	stop(&this);
}

static void a_rollback_restores_everything(void **state)
{
	client  this = start(*state, notes_models);
	Person *ada = orm_add(this.session, Person, .name = "Ada");
	Note   *kept = orm_add(this.session, Note, .title = "kept", .score = {true, 1}, .owner = ada);
	Note   *deleted = orm_add(this.session, Note, .title = "deleted", .owner = ada);
	commit(this.session);
	for (int flushed = 0; flushed < 2; flushed++) {
		kept->title = "changed";
		kept->body = "new";
		kept->score = (orm_opt_int64){.has = false};
		orm_link(this.session, kept, &kept->owner, NULL);
		orm_delete(this.session, deleted);
		Note *added = orm_add(this.session, Note, .title = "added", .owner = ada);
		if (flushed)
			assert_int_equal(orm_flush(this.session), ORM_OK);
		assert_int_equal(ada->notes.len, 1);
		orm_rollback(this.session);
		assert_string_equal(orm_session_error(this.session)->message, "");
		assert_string_equal(kept->title, "kept");
		assert_null(kept->body);
		assert_true(kept->score.has && kept->score.value == 1);
		assert_ptr_equal(kept->owner, ada);
		assert_int_equal(orm_state(this.session, kept), ORM_PERSISTENT);
		assert_int_equal(orm_state(this.session, deleted), ORM_PERSISTENT);
		assert_int_equal(orm_state(this.session, added), ORM_DETACHED);
		assert_string_equal(added->title, "added");
		assert_int_equal(ada->notes.len, 2);
		assert_false(orm_is_dirty(this.session, kept));
	}
	commit(this.session);
	assert_int_equal(place_number(*state, "SELECT count(*) FROM notes WHERE version = 1 AND owner_id = 1"), 2);
	stop(&this);
}

static void a_stale_version_is_refused(void **state)
{
	client       this = start(*state, notes_models);
	orm_session *other = orm_session_open(this.db);
	Note        *note = orm_add(this.session, Note, .title = "first");
	commit(this.session);
	Note *theirs = orm_get(other, Note, note->id);
	theirs->title = "theirs";
	commit(other);
	note->title = "mine";
	assert_int_equal(orm_commit(this.session), ORM_ESTALE);
	assert_string_equal(orm_session_error(this.session)->model, "Note");
	assert_string_equal(orm_session_error(this.session)->key, "1");
	assert_int_equal(orm_flush(this.session), ORM_ESTALE); /* it sticks */
	orm_rollback(this.session);
	orm_refresh(this.session, note);
	assert_string_equal(note->title, "theirs");
	assert_int_equal(note->version, 2);
	note->title = "mine";
	commit(this.session);
	assert_int_equal(note->version, 3);
	/* Deleting what another has changed is refused, too; and changing what is gone. */
	orm_delete(other, theirs);
	assert_int_equal(orm_commit(other), ORM_ESTALE);
	orm_rollback(other);
	orm_delete(this.session, note);
	commit(this.session);
	theirs->title = "too late";
	assert_int_equal(orm_commit(other), ORM_ESTALE);
	orm_rollback(other);
	assert_int_equal(orm_refresh(other, theirs), ORM_ENOTFOUND);
	orm_session_close(other);
	stop(&this);
}

static void unique_values_can_be_exchanged(void **state)
{
	client  this = start(*state, notes_models);
	Person *a = orm_add(this.session, Person, .name = "A"), *b = orm_add(this.session, Person, .name = "B"), *c = orm_add(this.session, Person, .name = "C");
	commit(this.session);
	a->name = "B";
	b->name = "C";
	c->name = "A";
	commit(this.session);
	assert_string_equal(place_text(*state, "SELECT name FROM persons ORDER BY id"), "B;C;A");
	/* A new one takes the value of one that goes. */
	orm_delete(this.session, b);
	Person *heir = orm_add(this.session, Person, .name = "C");
	commit(this.session);
	assert_string_equal(place_text(*state, "SELECT id, name FROM persons ORDER BY id"), "1|B;3|A;4|C");
	assert_int_equal(heir->id, 4);
	/* And one that is really taken is refused, by name. */
	orm_add(this.session, Person, .name = "A");
	assert_int_equal(orm_commit(this.session), ORM_ECONSTRAINT);
	assert_string_equal(orm_session_error(this.session)->model, "Person");
	assert_string_equal(orm_session_error(this.session)->column, "name");
	orm_rollback(this.session);
	stop(&this);
}

static void trees_and_circles_are_written_in_order(void **state)
{
	client this = start(*state, part_models);
	/* Children added before their parents. */
	Part *leaf = orm_add(this.session, Part, .name = "leaf");
	Part *branch = orm_add(this.session, Part, .name = "branch");
	Part *root = orm_add(this.session, Part, .name = "root");
	orm_link(this.session, leaf, &leaf->whole, branch);
	orm_link(this.session, root, &root->parts, branch);
	/* Two that refer to each other, and one to itself. */
	Part *left = orm_add(this.session, Part, .name = "left"), *right = orm_add(this.session, Part, .name = "right", .twin = left);
	Part *self = orm_add(this.session, Part, .name = "self");
	left->twin = right;
	self->twin = self;
	commit(this.session);
	assert_int_equal(leaf->whole_id.value, branch->id);
	assert_int_equal(branch->whole_id.value, root->id);
	assert_int_equal(left->twin_id.value, right->id);
	assert_int_equal(right->twin_id.value, left->id);
	assert_int_equal(self->twin_id.value, self->id);
	assert_int_equal(place_number(*state, "SELECT count(*) FROM parts a JOIN parts b ON a.whole_id = b.id"), 2);
	assert_int_equal(place_number(*state, "SELECT count(*) FROM parts a JOIN parts b ON a.twin_id = b.id AND b.twin_id = a.id"), 3);
	orm_session_clear(this.session);
	root = orm_first(this.session, Part, .name = "root");
	orm_load(this.session, root, &root->parts);
	branch = root->parts.items[0];
	orm_load(this.session, branch, &branch->parts);
	assert_string_equal(branch->parts.items[0]->name, "leaf");
	assert_ptr_equal(branch->whole, root);
	/* Parents deleted along with their children, in the wrong order. */
	leaf = branch->parts.items[0];
	orm_delete(this.session, root);
	orm_delete(this.session, branch);
	orm_delete(this.session, leaf);
	left = orm_first(this.session, Part, .name = "left");
	right = orm_first(this.session, Part, .name = "right");
	orm_delete(this.session, left);
	orm_delete(this.session, right);
	orm_delete(this.session, orm_first(this.session, Part, .name = "self"));
	commit(this.session);
	assert_int_equal(place_number(*state, "SELECT count(*) FROM parts"), 0);
	stop(&this);
}

#define IN_A_PLACE(test) cmocka_unit_test_setup_teardown(test, place_set_up, place_tear_down)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		IN_A_PLACE(an_object_goes_through_its_states),
		IN_A_PLACE(members_have_five_conditions),
		IN_A_PLACE(what_is_not_loaded_is_loud),
		IN_A_PLACE(both_sides_of_a_relationship_agree),
		IN_A_PLACE(a_rollback_restores_everything),
		IN_A_PLACE(a_stale_version_is_refused),
		IN_A_PLACE(unique_values_can_be_exchanged),
		IN_A_PLACE(trees_and_circles_are_written_in_order),
	};
	if (argc == 4 && strcmp(argv[1], "fault") == 0)
		return use_what_is_not_loaded(argv[2], argv[3]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
