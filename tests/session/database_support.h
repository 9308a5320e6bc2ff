/* SPDX-License-Identifier: MIT */
/* What the tests of flush, commit and queries share: a shop's models, a database of the engine under test, sessions on
 * it, and drafts in one line. */
#ifndef TESTS_SESSION_DATABASE_SUPPORT_H
#define TESTS_SESSION_DATABASE_SUPPORT_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "session/session.h"
#include "session/unit.h"
#include "support/engine.h"

/*
 * - User(id, name 50, email 20 unique nullable) 1-n Post(id, title, user_id cascade, reviewer_id nullable User):
 *   user.posts, post.author, post.reviewer
 * - Node(id, name, parent_id nullable Node): node.children, node.parent
 * - Leaf(id, parent_id nullable Leaf, cascade)
 * - Left(id, right_id nullable Right) <-> Right(id, left_id Left); Hard(id, other_id Hard): not nullable
 * - Account(id, owner 8 unique, balance >= 0, version, note default 'none', opened default now)
 * - Line(order_no, no, text): composite key; Part(id, line_no nullable, order_no): line.parts, part.line
 * - Letter(id, email -> User.email): letter.receiver
 * - Kind(id, and a unique column of each type but bool); Flag(id, flag unique bool)
 * - Team(id, name) 1-n Member(id, name, team_id nullable, set null): team.members, member.team
 * - Badge(code key text 4, holder unique nullable, version) 1-n Stamp(id, badge nullable)
 */
typedef struct fixture {
	char url[ENGINE_URL_SIZE];
	orm_registry *registry;
	ormd_database *database;
	ormd_session *session;
	uint32_t participant;
	uint64_t counter; /* of handles */
	uint64_t commit_number;
	bool keep_number;    /* commit with the same number again */
	orm_error error;     /* of the latest call */
	orm_status finished; /* of the latest commit or query: wait_finished. ORM_EINTERNAL: not yet */
	ormd_key_range keys; /* that the latest publish made */
	orm_arena arena;
} fixture;

int setup_database(void **state); /* cmocka: a fixture with tables and a private session */
int teardown_database(void **state);

/* The same in the caller's (zeroed) storage, on a database of its choice. */
void setup_database_at(fixture *f, const char *url);
void teardown_database_at(fixture *f);

void new_session(fixture *f, const char *name); /* in place of the one there is */
void free_session(fixture *f);
void reopen_database(fixture *f); /* as after the server's end; with a new session */

const orm_mapper *mapper_of(const fixture *f, const char *model);
const orm_relationship *relationship_of(const fixture *f, const char *model, const char *name);
uint16_t column_of(const orm_mapper *mapper, const char *name);

/*
 * Drafts of one object. `columns`: "name email"; then a value for each: long long for integers, dates and times
 * (NO_VALUE: NULL), int for booleans, double, const char * for text and bytes (NULL: NULL). They must succeed, but for
 * the try_ ones.
 */
#define NO_VALUE INT64_MIN
uint64_t add(fixture *f, const char *model, const char *columns, ...);
void set(fixture *f, uint64_t handle, const char *columns, ...);
void set_two(fixture *f, uint64_t first, uint64_t second, const char *column,
	     ...); /* one value for each, in one draft */
void del(fixture *f, uint64_t handle);
orm_status try_set(fixture *f, uint64_t handle, const char *columns, ...);

orm_status try_commit(fixture *f);
void commit(fixture *f); /* must succeed */
void roll_back(fixture *f);

int64_t key_of(const fixture *f, uint64_t handle);
ormd_state state_of(const fixture *f, uint64_t handle);
/* The object's values, "1 'a' NULL", in the fixture's arena; of the columns (NULL: all). */
const char *values_of(fixture *f, uint64_t handle, const char *columns);

/*
 * As another program (engine_run, engine_ask): statements that must succeed; the same without minding foreign keys; all
 * rows as text "1|a;2|b". How many of the tables, "'users', 'posts'", there are.
 */
void outside(const fixture *f, const char *sql);
void outside_unchecked(const fixture *f, const char *sql);
const char *ask(fixture *f, const char *sql);
int64_t count_tables(const fixture *f, const char *names);

/*
 * A finished callback that keeps the status in the fixture; it may come on another thread, and late. Before the call
 * set f->finished to ORM_EINTERNAL; afterwards wait_finished gives the status.
 */
void note_finished(orm_status status, const orm_error *error, void *context);
orm_status wait_finished(fixture *f);

#define assert_ok(f, call)                                                                                             \
	do {                                                                                                           \
		const orm_status status_ = (call);                                                                     \
		if (status_ != ORM_OK)                                                                                 \
			fail_msg("%s: %s", orm_status_name(status_), (f)->error.message);                              \
	} while (0)

/* For units that can only be written where foreign keys may lead nowhere until the end of the transaction. */
#define NEEDS_DEFERRED_KEYS(f)                                                                                         \
	do {                                                                                                           \
		if (!ormd_database_dialect((f)->database)->defer_foreign_keys)                                         \
			skip();                                                                                        \
	} while (0)

#endif
