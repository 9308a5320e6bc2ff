/* SPDX-License-Identifier: MIT */
/*
 * Random lives of a mirror: edits, links, deletions, drafts, and what another participant does meanwhile. After every
 * step both sides of every relationship must say the same, and after a discard every struct must show what the server
 * has.
 */
#include "client/mirror_fixture.h"

#include <stdio.h>
#include <string.h>

enum { MAX_NODES = 120, STEPS = 250, SEEDS = 60 };

/* The server's side: what it holds for each handle. */
typedef struct remote {
	uint64_t handle;
	Node value;     /* id and parent_id count */
	Node *mirrored; /* the struct, or NULL */
	bool alive;
	bool deleted; /* published, not committed */
} remote;

typedef struct life {
	fixture *f;
	uint32_t random;
	remote remotes[MAX_NODES];
	size_t n_remotes;
	Node *fresh[MAX_NODES]; /* new, not published */
	size_t n_fresh;
	int32_t next_key;
	uint64_t next_handle, next_own, rev;
	size_t step;
	uint32_t seed;
} life;

static uint32_t roll(life *l, uint32_t n)
{
	l->random = l->random * 1664525 + 1013904223;
	return (l->random >> 8) % n;
}

static bool is_live(const life *l, const Node *node)
{
	const orm_object_state state = orm_mirror_state(l->f->mirror, node);

	return state == ORM_PENDING || state == ORM_PERSISTENT || state == ORM_EXPIRED;
}

/* Any live struct, or NULL. */
static Node *pick(life *l)
{
	for (int i = 0; i < 8; i++) {
		const size_t at = roll(l, (uint32_t)(l->n_remotes + l->n_fresh + 1));
		Node *node = at < l->n_remotes                ? l->remotes[at].mirrored
			     : at < l->n_remotes + l->n_fresh ? l->fresh[at - l->n_remotes]
							      : NULL;

		if (node && is_live(l, node))
			return node;
	}
	return NULL;
}

static remote *pick_remote(life *l)
{
	remote *r = l->n_remotes ? &l->remotes[roll(l, (uint32_t)l->n_remotes)] : NULL;

	return r && r->alive && !r->deleted ? r : NULL;
}

/* ---- what must hold ------------------------------------------------------------------------------------------ */

static size_t count_in(const Node_list *list, const Node *node)
{
	size_t n = 0;

	for (size_t i = 0; i < list->len; i++)
		n += list->items[i] == node;
	return n;
}

static void check_pair(const life *l, const Node *child, const Node *parent)
{
	const bool leads = child->parent == parent;

	if (parent->children.len == SIZE_MAX)
		return;
	if (count_in(&parent->children, child) != leads)
		fail_msg("seed %u step %zu: child %d and parent %d disagree", l->seed, l->step, child->id, parent->id);
}

static void check_pointer(const life *l, const Node *child, Node *const *all, size_t n)
{
	const void *poison = orm_binding_layout(l->f->binding, &Node_model)->relations[0].poison;
	const Node *expected = child->parent_id.has ? poison : NULL;

	for (size_t i = 0; i < n && child->parent_id.has; i++) {
		if (all[i]->id == child->parent_id.value && all[i]->id != 0)
			expected = all[i];
	}
	if (child->parent == expected)
		return;
	/* A parent without a key is known by its address alone, as is one whose key came by an edit. */
	if (child->parent && child->parent != poison && child->parent->id == 0 && !child->parent_id.has)
		return;
	fail_msg("seed %u step %zu: node %d with parent_id %d points elsewhere", l->seed, l->step, child->id,
		 child->parent_id.value);
}

static void check(life *l)
{
	Node *all[2 * MAX_NODES];
	size_t n = 0;

	assert_ok(l->f, orm_mirror_settle(l->f->mirror, &l->f->error));
	for (size_t i = 0; i < l->n_remotes; i++) {
		if (l->remotes[i].mirrored && orm_mirror_state(l->f->mirror, l->remotes[i].mirrored) != ORM_DETACHED)
			all[n++] = l->remotes[i].mirrored;
	}
	for (size_t i = 0; i < l->n_fresh; i++) {
		if (orm_mirror_state(l->f->mirror, l->fresh[i]) != ORM_DETACHED)
			all[n++] = l->fresh[i];
	}
	for (size_t i = 0; i < n; i++) {
		if (!is_live(l, all[i]))
			continue;
		check_pointer(l, all[i], all, n);
		for (size_t j = 0; j < n; j++)
			check_pair(l, all[i], all[j]);
	}
}

static bool differs(const remote *r)
{
	return r->mirrored->parent_id.has != r->value.parent_id.has ||
	       r->mirrored->parent_id.value != r->value.parent_id.value ||
	       strcmp(r->mirrored->label, r->value.label) != 0;
}

static void check_against_server(life *l)
{
	for (size_t i = 0; i < l->n_remotes; i++) {
		const remote *r = &l->remotes[i];

		if (!r->mirrored || !r->alive || r->deleted)
			continue;
		if (differs(r))
			fail_msg("seed %u step %zu: node %d differs from the server", l->seed, l->step, r->value.id);
		assert_int_equal(orm_mirror_state(l->f->mirror, r->mirrored) != ORM_DETACHED, 1);
	}
	assert_false(orm_mirror_has_draft(l->f->mirror));
}

/* ---- what the program does ----------------------------------------------------------------------------------- */

static const char *const labels[] = {"a", "b", "c", "dd"};

static void step_add(life *l)
{
	Node *parent = pick(l);

	if (l->n_fresh + l->n_remotes >= MAX_NODES)
		return;
	if (roll(l, 2))
		l->fresh[l->n_fresh++] = ADD(l->f, Node, .label = labels[roll(l, 4)], .parent = parent);
	else
		l->fresh[l->n_fresh++] =
			ADD(l->f, Node, .label = "x", .parent_id = {parent && parent->id, parent ? parent->id : 0});
	assert_non_null(l->fresh[l->n_fresh - 1]);
}

static void step_edit(life *l)
{
	Node *node = pick(l), *other = pick(l);

	if (!node || !other)
		return;
	switch (roll(l, 6)) {
	case 0:
		node->parent = other;
		break;
	case 1:
		if (other->id)
			node->parent_id = (orm_opt_int32){true, other->id};
		break;
	case 2:
		node->parent = NULL;
		break;
	case 3:
		assert_ok(l->f, orm_mirror_link(l->f->mirror, other, &other->children, node, &l->f->error));
		break;
	case 4:
		node->label = labels[roll(l, 4)];
		break;
	default:
		assert_ok(l->f,
			  orm_mirror_link(l->f->mirror, node, &node->parent, roll(l, 2) ? other : NULL, &l->f->error));
		break;
	}
}

static void step_delete(life *l)
{
	Node *node = pick(l);

	if (node)
		assert_ok(l->f, orm_mirror_delete(l->f->mirror, node, &l->f->error));
}

static void step_discard(life *l)
{
	assert_ok(l->f, orm_mirror_discard(l->f->mirror, &l->f->error));
	l->n_fresh = 0;
	check_against_server(l);
}

static void take_published(life *l, Node *node, uint64_t handle)
{
	l->remotes[l->n_remotes++] = (remote){.handle = handle, .value = *node, .mirrored = node, .alive = true};
}

/* Edits of what another deleted: a server would refuse the draft. */
static bool is_refused(const life *l)
{
	for (size_t i = 0; i < l->n_remotes; i++) {
		const remote *r = &l->remotes[i];

		if (r->alive && r->deleted && r->mirrored && differs(r))
			return true;
	}
	return false;
}

static void step_publish(life *l)
{
	const orm_draft_limits limits = {.max_bytes = 1 << 20};
	const orm_status status = orm_draft_build(l->f->mirror, &limits, &l->f->arena, &l->f->draft, &l->f->error);
	bool deleting[MAX_NODES];
	size_t left;

	if (status == ORM_OK && is_refused(l)) {
		l->next_own += l->f->draft.n_adds; /* numbers are not given twice */
		step_discard(l);
		return;
	}
	if (status == ORM_ECONFLICT) {
		assert_ok(l->f, orm_conflict_resolve(l->f->mirror, NULL, ORM_THEIRS, &left, &l->f->error));
		return;
	}
	assert_ok(l->f, status);
	for (size_t i = 0; i < l->n_remotes; i++)
		deleting[i] =
			l->remotes[i].mirrored && orm_mirror_state(l->f->mirror, l->remotes[i].mirrored) == ORM_DELETED;
	accept(l->f, l->next_own, l->next_key, (uint32_t)l->f->draft.n_adds);
	for (size_t i = 0; i < l->n_remotes; i++) {
		remote *r = &l->remotes[i];

		if (!r->alive || r->deleted || !r->mirrored)
			continue;
		if (deleting[i])
			r->deleted = true;
		else
			r->value = *r->mirrored;
	}
	for (size_t i = 0; i < l->n_fresh; i++) {
		if (orm_mirror_state(l->f->mirror, l->fresh[i]) == ORM_PENDING)
			take_published(l, l->fresh[i], l->next_own + (uint64_t)(l->fresh[i]->id - l->next_key));
	}
	l->next_own += l->f->draft.n_adds;
	l->next_key += (int32_t)l->f->draft.n_adds;
	l->n_fresh = 0;
	assert_false(orm_mirror_has_draft(l->f->mirror));
	check_against_server(l);
}

/* ---- what comes from the server ------------------------------------------------------------------------------ */

static void install_remote(life *l, remote *r)
{
	orm_mirror_result result = {0};

	assert_ok(l->f, orm_mirror_install(l->f->mirror, make_rows(l->f, &Node_model, r->handle, &r->value, 1, NULL, 0),
					   &result, &l->f->error));
	r->mirrored = result.items[0];
}

static void step_server_row(life *l)
{
	const remote *parent = pick_remote(l);
	remote *r;

	if (l->n_remotes + l->n_fresh >= MAX_NODES || l->n_remotes >= MAX_NODES)
		return;
	r = &l->remotes[l->n_remotes++];
	*r = (remote){
		.handle = l->next_handle++, .value = {.id = l->next_key++, .label = labels[roll(l, 4)]}, .alive = true};
	if (parent)
		r->value.parent_id = (orm_opt_int32){true, parent->value.id};
	if (roll(l, 3))
		install_remote(l, r); /* else it is not mirrored yet */
}

static void step_load(life *l)
{
	remote *parent = pick_remote(l);

	if (!parent)
		return;
	install_remote(l, parent);
	for (size_t i = 0; i < l->n_remotes; i++) {
		remote *r = &l->remotes[i];

		if (r->alive && !r->deleted && r->value.parent_id.has && r->value.parent_id.value == parent->value.id)
			install_remote(l, r);
	}
	LOAD(l->f, Node, children, parent->handle);
}

static void step_change(life *l)
{
	remote *r = pick_remote(l), *parent = pick_remote(l);

	if (!r)
		return;
	if (roll(l, 2)) {
		r->value.label = labels[roll(l, 4)];
		sync_changed(l->f, ++l->rev,
			     make_rows(l->f, &Node_model, r->handle, &r->value, 1, COLUMNS(NODE_LABEL)));
	} else {
		r->value.parent_id = parent ? (orm_opt_int32){true, parent->value.id} : (orm_opt_int32){false, 0};
		sync_changed(l->f, ++l->rev,
			     make_rows(l->f, &Node_model, r->handle, &r->value, 1, COLUMNS(NODE_PARENT)));
	}
}

static void step_leave(life *l)
{
	remote *r = l->n_remotes ? &l->remotes[roll(l, (uint32_t)l->n_remotes)] : NULL;

	if (!r || !r->alive)
		return;
	if (r->deleted && roll(l, 2)) {
		r->deleted = false;
		sync_leaving(l->f, ++l->rev, RESTORED, r->handle);
	} else if (!r->deleted && roll(l, 2)) {
		r->deleted = true;
		sync_leaving(l->f, ++l->rev, DELETED, r->handle);
	} else {
		r->alive = false;
		sync_leaving(l->f, ++l->rev, GONE, r->handle);
	}
}

static void step_expire(life *l)
{
	remote *r = pick_remote(l);

	if (!r || !r->mirrored || orm_mirror_state(l->f->mirror, r->mirrored) == ORM_DELETED)
		return;
	assert_ok(l->f, orm_mirror_expire(l->f->mirror, r->mirrored, &l->f->error));
	install_remote(l, r);
}

static void live(life *l)
{
	static void (*const steps[])(life *) = {
		step_add,        step_edit,       step_edit, step_edit,   step_delete, step_discard, step_publish,
		step_server_row, step_server_row, step_load, step_change, step_change, step_leave,   step_expire};

	for (l->step = 0; l->step < STEPS; l->step++) {
		steps[roll(l, sizeof steps / sizeof steps[0])](l);
		check(l);
	}
	assert_ok(l->f, orm_mirror_discard(l->f->mirror, &l->f->error));
	check_against_server(l);
}

static void both_sides_always_agree(void **state)
{
	(void)state;
	for (uint32_t seed = 1; seed <= SEEDS; seed++) {
		void *f;
		life l = {.random = seed * 7919, .seed = seed, .next_key = 1, .next_handle = 1, .next_own = OWN(1)};

		fixture_setup(&f);
		l.f = f;
		live(&l);
		fixture_teardown(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_sides_always_agree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
