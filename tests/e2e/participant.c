/* SPDX-License-Identifier: MIT */
/*
 * A participant under a test's control: a real client process that does what it reads from standard input, one command a line, and
 * answers each with one line: "ok ..." or the name of an orm_status and its message. So a test decides which process does what, and when.
 *
 *   participant URL
 *
 * Objects have names in the test's language: `note n title` adds a note known as n from then on.
 */
#include "e2e/notes.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_NAMES 64

typedef struct named {
	char  name[32];
	void *object;
} named;

static orm_db      *db;
static orm_session *session;
static named        names[N_NAMES];

/* ---- answers ---- */

static void answer(const char *format, ...) ORM_PRINTF(1, 2);

static void answer(const char *format, ...)
{
	va_list args;
	printf("ok ");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
}

static void answer_error(const orm_error *error)
{
	printf("%s %s\n", orm_status_name(error->code), error->message);
}

/* "ok", or the session's failure. */
static void answer_status(orm_status status)
{
	if (status < 0 || orm_session_error(session)->code < 0)
		answer_error(orm_session_error(session));
	else
		printf("ok\n");
}

/* ---- names ---- */

static void *object(const char *name)
{
	for (size_t i = 0; i < N_NAMES && name; i++) {
		if (strcmp(names[i].name, name) == 0)
			return names[i].object;
	}
	return NULL;
}

static void name_object(const char *name, void *named_object)
{
	for (size_t i = 0; i < N_NAMES; i++) {
		if (!names[i].name[0] || strcmp(names[i].name, name) == 0) {
			snprintf(names[i].name, sizeof names[i].name, "%s", name);
			names[i].object = named_object;
			return;
		}
	}
	abort();
}

/* "NULL" stands for NULL, "EMPTY" for the empty text. */
static const char *text(const char *word)
{
	if (word && strcmp(word, "EMPTY") == 0)
		return "";
	return word && strcmp(word, "NULL") != 0 ? orm_printf(session, "%s", word) : NULL;
}

static void show_note(const Note *note)
{
	char score[32] = "NULL", owner[32] = "NULL";
	if (note->score.has)
		snprintf(score, sizeof score, "%" PRId64, note->score.value);
	if (note->owner_id.has)
		snprintf(owner, sizeof owner, "%" PRId64, note->owner_id.value);
	answer("id=%" PRId64 " title=%s body=%s score=%s version=%" PRId64 " owner_id=%s", note->id, note->title, note->body ? note->body : "NULL",
	       score, note->version, owner);
}

/* ---- commands: the words after the first ---- */

static void do_join(char **words)
{
	bool keep = words[1] && strcmp(words[1], "keep") == 0;
	session = orm_session_join(db, words[0],
	                           &(orm_join_options){.participant = words[2],
	                                               .on_death = keep ? ORM_ON_DEATH_KEEP : ORM_ON_DEATH_ROLLBACK});
	answer_status(ORM_OK);
}

static void do_open(char **words)
{
	(void)words;
	session = orm_session_open(db);
	answer_status(ORM_OK);
}

static void do_create(char **words)
{
	(void)words;
	if (orm_create_all(db) < 0)
		answer_error(orm_db_error(db));
	else
		printf("ok\n");
}

/* person NAME person's-name */
static void do_person(char **words)
{
	name_object(words[0], orm_add(session, Person, .name = text(words[1])));
	answer_status(ORM_OK);
}

/* note NAME title [owner] */
static void do_note(char **words)
{
	name_object(words[0], orm_add(session, Note, .title = text(words[1]), .owner = object(words[2])));
	answer_status(ORM_OK);
}

/* get NAME id: a note by its key */
static void do_get(char **words)
{
	Note *note = orm_get(session, Note, strtoll(words[1], NULL, 10));
	name_object(words[0], note);
	if (note)
		show_note(note);
	else if (orm_session_error(session)->code < 0)
		answer_status(ORM_OK);
	else
		answer("none");
}

/* person-named NAME person's-name */
static void do_find_person(char **words)
{
	Person *person = orm_first(session, Person, .name = words[1]);
	name_object(words[0], person);
	if (orm_session_error(session)->code < 0)
		answer_status(ORM_OK);
	else
		answer("%s", person ? "found" : "none");
}

/* set NAME member value */
static void do_set(char **words)
{
	Note *note = object(words[0]);
	if (strcmp(words[1], "title") == 0)
		note->title = text(words[2]);
	else if (strcmp(words[1], "body") == 0)
		note->body = text(words[2]);
	else if (strcmp(words[1], "score") == 0)
		note->score = (orm_opt_int64){strcmp(words[2], "NULL") != 0, strtoll(words[2], NULL, 10)};
	else if (strcmp(words[1], "owner") == 0)
		orm_link(session, note, &note->owner, object(words[2]));
	printf("ok\n");
}

static void do_show(char **words)
{
	const Note *note = object(words[0]);
	if (note)
		show_note(note);
	else
		answer("none");
}

static void do_delete(char **words)
{
	orm_delete(session, object(words[0]));
	answer_status(ORM_OK);
}

static void do_state(char **words)
{
	static const char *const states[] = {"detached", "pending", "persistent", "deleted", "expired"};
	answer("%s", states[orm_state(session, object(words[0]))]);
}

/* load NAME: a person's notes; lists NAME tells them without loading */
static void do_load(char **words)
{
	Person *person = object(words[0]);
	answer_status(orm_load(session, person, &person->notes));
}

static void do_notes(char **words)
{
	const Person *person = object(words[0]);
	if (orm_member_state(session, person, &person->notes) == ORM_MEMBER_NOT_LOADED) {
		answer("not loaded");
		return;
	}
	printf("ok %zu", person->notes.len);
	for (size_t i = 0; i < person->notes.len; i++)
		printf(" %s", person->notes.items[i]->title);
	printf("\n");
}

/* all: the notes by title, as a query sees them */
static void do_all(char **words)
{
	(void)words;
	orm_query *query = orm_select(session, Note);
	orm_order_by(query, Note, title);
	Note_list notes = orm_query_all(query, Note);
	orm_query_free(query);
	if (orm_session_error(session)->code < 0) {
		answer_status(ORM_OK);
		return;
	}
	printf("ok %zu", notes.len);
	for (size_t i = 0; i < notes.len; i++)
		printf(" %s", notes.items[i]->title);
	printf("\n");
}

static void do_count(char **words)
{
	(void)words;
	int64_t n = orm_count(session, Note);
	if (n < 0)
		answer_status((orm_status)n);
	else
		answer("%" PRId64, n);
}

static void do_flush(char **words)
{
	(void)words;
	answer_status(orm_flush(session));
}

static void do_commit(char **words)
{
	(void)words;
	answer_status(orm_commit(session));
}

static void do_rollback(char **words)
{
	(void)words;
	answer_status(orm_rollback(session));
}

static void do_discard(char **words)
{
	(void)words;
	orm_discard(session);
	answer_status(ORM_OK);
}

static void do_refresh(char **words)
{
	answer_status(orm_refresh(session, object(words[0])));
}

/* wait milliseconds */
static void do_wait(char **words)
{
	int news = orm_wait(session, strtoll(words[0], NULL, 10));
	if (news < 0)
		answer_status((orm_status)news);
	else
		answer("%d", news);
}

static void do_notices(char **words)
{
	static const char *const kinds[] = {"", "joined", "left", "died", "published", "committed", "rolled-back"};
	const orm_notice        *notice;
	(void)words;
	printf("ok");
	while ((notice = orm_next_notice(session)))
		printf(" %s:%s", kinds[notice->kind], notice->participant);
	printf("\n");
}

static void do_conflicts(char **words)
{
	size_t              n;
	const orm_conflict *conflicts = orm_conflicts(session, &n);
	(void)words;
	printf("ok %zu", n);
	for (size_t i = 0; i < n; i++)
		printf(" %s.%s(%s):%s/%s/%s:%s", conflicts[i].model->name, conflicts[i].column, conflicts[i].key, conflicts[i].base ? conflicts[i].base : "NULL",
		       conflicts[i].theirs ? conflicts[i].theirs : "NULL", conflicts[i].mine ? conflicts[i].mine : "NULL", conflicts[i].author);
	printf("\n");
}

/* resolve mine|theirs: all of them */
static void do_resolve(char **words)
{
	answer_status(orm_resolve(session, NULL, strcmp(words[0], "mine") == 0 ? ORM_MINE : ORM_THEIRS));
}

static void do_error(char **words)
{
	const orm_error *error = orm_session_error(session);
	(void)words;
	answer("%s model=%s column=%s key=%s", orm_status_name(error->code), error->model, error->column, error->key);
}

static void do_requests(char **words)
{
	(void)words;
	answer("%" PRIu64, orm_db_requests(db));
}

/* add-many n title */
static void do_add_many(char **words)
{
	for (long i = strtol(words[0], NULL, 10); i > 0; i--)
		orm_add(session, Note, .title = orm_printf(session, "%s-%ld", words[1], i), .score = {true, i % 1000});
	answer_status(ORM_OK);
}

static void do_close(char **words)
{
	(void)words;
	orm_session_close(session);
	session = NULL;
	printf("ok\n");
}

static const struct command {
	const char *name;
	int         n_words; /* that it needs at least */
	void (*run)(char **words);
} commands[] = {
	{"join", 1, do_join}, {"open", 0, do_open}, {"create", 0, do_create}, {"person", 2, do_person}, {"note", 2, do_note},
	{"get", 2, do_get}, {"person-named", 2, do_find_person}, {"set", 3, do_set}, {"show", 1, do_show}, {"delete", 1, do_delete},
	{"state", 1, do_state}, {"load", 1, do_load}, {"notes", 1, do_notes}, {"all", 0, do_all}, {"count", 0, do_count},
	{"flush", 0, do_flush}, {"commit", 0, do_commit}, {"rollback", 0, do_rollback}, {"discard", 0, do_discard},
	{"refresh", 1, do_refresh}, {"wait", 1, do_wait}, {"notices", 0, do_notices}, {"conflicts", 0, do_conflicts},
	{"resolve", 1, do_resolve}, {"error", 0, do_error}, {"requests", 0, do_requests}, {"add-many", 2, do_add_many}, {"close", 0, do_close},
};

static void run_line(char *line)
{
	char *words[8] = {0}, *rest = NULL;
	int   n = 0;
	for (char *word = strtok_r(line, " \n", &rest); word && n < 7; word = strtok_r(NULL, " \n", &rest))
		words[n++] = word;
	for (size_t i = 0; n && i < sizeof commands / sizeof commands[0]; i++) {
		if (strcmp(commands[i].name, words[0]) == 0 && n - 1 >= commands[i].n_words) {
			commands[i].run(words + 1);
			return;
		}
	}
	printf("? %s\n", n ? words[0] : "");
}

int main(int argc, char **argv)
{
	char line[1024];
	if (argc != 2)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	db = orm_connect(argv[1], notes_models);
	if (orm_db_error(db)->code < 0)
		answer_error(orm_db_error(db));
	else
		printf("ok\n");
	while (fgets(line, sizeof line, stdin))
		run_line(line);
	orm_session_close(session);
	orm_disconnect(db);
	return 0;
}
