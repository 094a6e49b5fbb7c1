/* records_test.c - records: their binary form, and what one can do to them in the store. */
#include "store_fixture.h"

static const struct store_change change = {
	.actor = "admin", .action = "test.change", .address = "192.0.2.1"
};

static void
fill_by_table(enum record_kind kind, void *record)
{
	size_t count;
	const struct field *f = record_fields(kind, &count);

	record_init(kind, record);
	for (size_t i = 0; i < count; i++) {
		uint8_t *at = (uint8_t *)record + f[i].offset;

		switch (f[i].type) {
		case FIELD_TEXT:
		case FIELD_LIST:
		case FIELD_LIST_INT:
			(void)snprintf((char *)at, f[i].size, "text %zu\nmore", i);
			break;
		case FIELD_BOOL:
			*(bool *)at = !*(bool *)at;
			break;
		case FIELD_ENUM:
			((int32_t *)(void *)at)[0] = 1;
			break;
		case FIELD_SEALED:
			((struct sealed *)(void *)at)->len = 100;
			memset(((struct sealed *)(void *)at)->data, 0x5a, 100);
			break;
		case FIELD_ID:
		case FIELD_HASH:
			memset(at, (int)i + 1, f[i].size);
			break;
		case FIELD_INT:
		case FIELD_MS:
		case FIELD_TIME:
		case FIELD_MONEY:
			((int64_t *)(void *)at)[0] = -7 - (int64_t)i;
			break;
		}
	}
}

static void
every_field_of_every_kind_survives_its_binary_form(void **state)
{
	static uint8_t data[RECORD_BINARY_MAX];

	(void)state;
	for (enum record_kind kind = 0; kind < RECORD__COUNT; kind++) {
		size_t bytes = record_bytes(kind);
		void *before = malloc(bytes), *after = malloc(bytes);
		ptrdiff_t len;

		fill_by_table(kind, before);
		len = record_encode(kind, before, data, sizeof data);
		assert_true(len > 0);
		assert_int_equal(record_decode(kind, data, (size_t)len, after), 0);
		assert_memory_equal(before, after, bytes);
		for (size_t room = 0; room < (size_t)len; room++)
			assert_int_equal(record_encode(kind, before, data, room), -1);
		free(before);
		free(after);
	}
}

static void
tables_do_not_contradict_themselves(void **state)
{
	(void)state;
	for (enum record_kind kind = 0; kind < RECORD__COUNT; kind++) {
		size_t count;
		const struct field *f = record_fields(kind, &count);

		for (size_t i = 0; i < count; i++) {
			assert_true(f[i].offset + f[i].size <= record_bytes(kind));
			assert_non_null(f[i].help);
			if (f[i].type == FIELD_ENUM)
				assert_non_null(f[i].values);
			for (size_t j = i + 1; j < count; j++) {
				assert_int_not_equal(f[i].tag, f[j].tag);
				assert_string_not_equal(f[i].name, f[j].name);
				assert_true(f[i].offset + f[i].size <= f[j].offset ||
					    f[j].offset + f[j].size <= f[i].offset);
			}
		}
	}
}

static void
put_entry(uint8_t *data, size_t *len, uint16_t tag, const void *value, size_t n)
{
	data[(*len)++] = (uint8_t)(tag >> 8);
	data[(*len)++] = (uint8_t)tag;
	data[(*len)++] = 0;
	data[(*len)++] = 0;
	data[(*len)++] = (uint8_t)(n >> 8);
	data[(*len)++] = (uint8_t)n;
	memcpy(data + *len, value, n);
	*len += n;
}

static void
fields_of_a_newer_program_survive_a_change_by_an_older_one(void **state)
{
	static uint8_t data[RECORD_BINARY_MAX], again[RECORD_BINARY_MAX];
	struct project p;
	size_t len = 1;
	ptrdiff_t n;

	(void)state;
	data[0] = 1;
	put_entry(data, &len, 900, "from the future", 15);
	put_entry(data, &len, 16, "old name", 8);
	put_entry(data, &len, 901, "", 0);
	assert_int_equal(record_decode(RECORD_PROJECT, data, len, &p), 0);
	assert_string_equal(p.name, "old name");
	assert_true(p.is_active); /* absent: its fallback */

	(void)snprintf(p.name, sizeof p.name, "new name");
	n = record_encode(RECORD_PROJECT, &p, again, sizeof again);
	assert_true(n > 0);
	assert_non_null(memmem(again, (size_t)n, "from the future", 15));
	assert_non_null(memmem(again, (size_t)n, "new name", 8));
	assert_int_equal(record_decode(RECORD_PROJECT, again, (size_t)n, &p), 0);
	assert_int_equal(p.head.rest.len, 2 * 6 + 15);
}

static void
what_cannot_be_kept_can_be_read_but_not_written(void **state)
{
	static uint8_t data[RECORD_BINARY_MAX], much[RECORD_REST_BYTES + 1];
	struct project p;
	size_t len = 1;

	(void)state;
	data[0] = 1;
	put_entry(data, &len, 16, "name", 4);
	put_entry(data, &len, 900, much, sizeof much);
	assert_int_equal(record_decode(RECORD_PROJECT, data, len, &p), 0);
	assert_string_equal(p.name, "name");
	assert_int_equal(record_encode(RECORD_PROJECT, &p, data, sizeof data), -1);

	len = 1;
	memset(much, 'a', sizeof much);
	put_entry(data, &len, 16, much, NAME_BYTES);
	assert_int_equal(record_decode(RECORD_PROJECT, data, len, &p), 0);
	assert_int_equal(strlen(p.name), NAME_BYTES - 1);
	assert_int_equal(record_encode(RECORD_PROJECT, &p, data, sizeof data), -1);
}

static void
damaged_bytes_are_refused_and_never_read_beyond(void **state)
{
	static uint8_t data[RECORD_BINARY_MAX];
	struct limit l;
	ptrdiff_t len;

	(void)state;
	fill_by_table(RECORD_LIMIT, &l);
	len = record_encode(RECORD_LIMIT, &l, data, sizeof data);
	assert_true(len > 0);
	assert_int_equal(record_decode(RECORD_LIMIT, data, 0, &l), -1);
	for (size_t cut = 1; cut < (size_t)len; cut++) {
		uint8_t *exact = malloc(cut); /* so that a sanitizer sees one byte too far */

		memcpy(exact, data, cut);
		(void)record_decode(RECORD_LIMIT, exact, cut, &l);
		free(exact);
	}
	data[0] = 77;
	assert_int_equal(record_decode(RECORD_LIMIT, data, (size_t)len, &l), -1);
}

/* ---- in the store ---- */

static void
make_project(struct store *s, const char *name, struct project *p)
{
	record_init(RECORD_PROJECT, p);
	(void)snprintf(p->name, sizeof p->name, "%s", name);
	WORKS(store_create(s, RECORD_PROJECT, p, &change, &err));
}

static void
a_record_is_created_found_changed_and_deleted(void **state)
{
	struct fixture *f = *state;
	struct project p, q;
	char text[ID_TEXT_BYTES];

	make_project(f->s, "alpha", &p);
	assert_false(id_is_none(p.head.id));
	assert_int_equal(p.head.version, 1);
	assert_true(p.head.created_ms > 0);

	assert_int_equal(store_get(f->s, RECORD_PROJECT, p.head.id, &q, &err), 1);
	assert_memory_equal(&p, &q, sizeof p);
	assert_int_equal(store_find(f->s, RECORD_PROJECT, "alpha", &q, &err), 1);
	assert_memory_equal(&p, &q, sizeof p);
	id_text("prj_", p.head.id, text);
	assert_int_equal(store_find(f->s, RECORD_PROJECT, text, &q, &err), 1);
	assert_int_equal(store_find(f->s, RECORD_PROJECT, "beta", &q, &err), 0);
	assert_int_equal(store_get(f->s, RECORD_TOKEN, p.head.id, &(struct token){ 0 }, &err), 0);

	(void)snprintf(p.name, sizeof p.name, "gamma");
	p.is_active = false;
	WORKS(store_update(f->s, RECORD_PROJECT, &p, 1, &change, &err));
	assert_int_equal(p.head.version, 2);
	assert_int_equal(store_find(f->s, RECORD_PROJECT, "alpha", &q, &err), 0);
	assert_int_equal(store_find(f->s, RECORD_PROJECT, "gamma", &q, &err), 1);
	assert_false(q.is_active);
	assert_int_equal(q.head.created_ms, p.head.created_ms);

	WORKS(store_delete(f->s, RECORD_PROJECT, p.head.id, &change, &err));
	assert_int_equal(store_find(f->s, RECORD_PROJECT, "gamma", &q, &err), 0);
	assert_int_equal(store_get(f->s, RECORD_PROJECT, p.head.id, &q, &err), 0);
	REFUSED(store_delete(f->s, RECORD_PROJECT, p.head.id, &change, &err), ERR_NOT_FOUND);
	REFUSED(store_update(f->s, RECORD_PROJECT, &p, 0, &change, &err), ERR_NOT_FOUND);
	make_project(f->s, "gamma", &p); /* the name is free again */
}

static void
names_are_unique_and_a_repeated_creation_is_a_success(void **state)
{
	struct fixture *f = *state;
	struct project p, q, r;

	make_project(f->s, "alpha", &p);
	make_project(f->s, "beta", &q);
	r = p;
	r.head.id = id_random();
	REFUSED(store_create(f->s, RECORD_PROJECT, &r, &change, &err), ERR_CONFLICT);
	(void)snprintf(q.name, sizeof q.name, "alpha");
	REFUSED(store_update(f->s, RECORD_PROJECT, &q, 0, &change, &err), ERR_CONFLICT);
	assert_int_equal(store_find(f->s, RECORD_PROJECT, "beta", &q, NULL), 1);

	r = p;
	r.head.created_ms = r.head.updated_ms = r.head.version = 0;
	WORKS(store_create(f->s, RECORD_PROJECT, &r, &change, &err));
	assert_memory_equal(&p, &r, sizeof p);
	(void)snprintf(r.name, sizeof r.name, "delta");
	REFUSED(store_create(f->s, RECORD_PROJECT, &r, &change, &err), ERR_CONFLICT);
	record_init(RECORD_PROJECT, &r);
	REFUSED(store_create(f->s, RECORD_PROJECT, &r, &change, &err), ERR_PARAM_NOT_ALLOWED);
}

static void
a_change_of_an_old_version_is_refused(void **state)
{
	struct fixture *f = *state;
	struct project mine, theirs;

	make_project(f->s, "alpha", &mine);
	theirs = mine;
	(void)snprintf(theirs.allowed_models, sizeof theirs.allowed_models, "gpt-*");
	WORKS(store_update(f->s, RECORD_PROJECT, &theirs, 1, &change, &err));
	mine.is_active = false;
	REFUSED(store_update(f->s, RECORD_PROJECT, &mine, 1, &change, &err), ERR_STALE);
	/* The same change once more: its first commit was not heard of. */
	WORKS(store_update(f->s, RECORD_PROJECT, &theirs, 1, &change, &err));
	assert_int_equal(theirs.head.version, 2);
	WORKS(store_update(f->s, RECORD_PROJECT, &mine, 0, &change, &err));
	assert_int_equal(mine.head.version, 3);
}

static void
a_token_is_found_by_the_hash_of_its_secret_alone(void **state)
{
	struct fixture *f = *state;
	struct project p;
	struct token t, found;
	uint8_t other[SHA256_BYTES];

	make_project(f->s, "alpha", &p);
	record_init(RECORD_TOKEN, &t);
	t.project = p.head.id;
	hash_sha256("secret", 6, t.sha256);
	WORKS(store_create(f->s, RECORD_TOKEN, &t, &change, &err));
	assert_int_equal(store_token_by_hash(f->s, t.sha256, &found, &err), 1);
	assert_memory_equal(&t, &found, sizeof t);
	hash_sha256("secreT", 6, other);
	assert_int_equal(store_token_by_hash(f->s, other, &found, &err), 0);

	memcpy(t.sha256, other, sizeof other); /* rotated */
	WORKS(store_update(f->s, RECORD_TOKEN, &t, 0, &change, &err));
	assert_int_equal(store_token_by_hash(f->s, other, &found, &err), 1);
	hash_sha256("secret", 6, other);
	assert_int_equal(store_token_by_hash(f->s, other, &found, &err), 0);

	found.head.id = id_random();
	memcpy(found.sha256, t.sha256, sizeof found.sha256);
	REFUSED(store_create(f->s, RECORD_TOKEN, &found, &change, &err), ERR_CONFLICT);
	WORKS(store_delete(f->s, RECORD_TOKEN, t.head.id, &change, &err));
	assert_int_equal(store_token_by_hash(f->s, t.sha256, &found, &err), 0);
}

struct counting {
	int count, stop_at;
	struct id last;
	bool in_order;
	struct store *s;
};

static bool
count_record(void *ctx, const void *record)
{
	struct counting *c = ctx;
	const struct record *head = record;
	struct upstream again;

	c->in_order &= memcmp(c->last.b, head->id.b, sizeof head->id.b) < 0;
	c->last = head->id;
	/* A walk may call the store. */
	assert_int_equal(store_get(c->s, RECORD_UPSTREAM, head->id, &again, NULL), 1);
	return ++c->count != c->stop_at;
}

static void
a_walk_sees_all_of_a_kind_in_order(void **state)
{
	struct fixture *f = *state;
	struct counting c = { .in_order = true, .s = f->s };
	struct upstream u;
	struct project p;

	for (int i = 0; i < 300; i++) {
		record_init(RECORD_UPSTREAM, &u);
		(void)snprintf(u.name, sizeof u.name, "u%d", i);
		memset(u.models, 'm', 1500); /* many batches */
		WORKS(store_create(f->s, RECORD_UPSTREAM, &u, &change, &err));
	}
	make_project(f->s, "not an upstream", &p);
	WORKS(store_each(f->s, RECORD_UPSTREAM, ID_NONE, count_record, &c, &err));
	assert_int_equal(c.count, 300);
	assert_true(c.in_order);
	c = (struct counting){ .in_order = true, .s = f->s, .stop_at = 100 };
	WORKS(store_each(f->s, RECORD_UPSTREAM, ID_NONE, count_record, &c, &err));
	assert_int_equal(c.count, 100);
	c.count = c.stop_at = 0;
	WORKS(store_each(f->s, RECORD_UPSTREAM, c.last, count_record, &c, &err));
	assert_int_equal(c.count, 200);
	c.count = 0;
	WORKS(store_each(f->s, RECORD_LIMIT, ID_NONE, count_record, &c, &err));
	assert_int_equal(c.count, 0);
}

static void
many_are_created_together_or_not_at_all(void **state)
{
	struct fixture *f = *state;
	struct project p[3], q;

	for (int i = 0; i < 3; i++) {
		record_init(RECORD_PROJECT, &p[i]);
		(void)snprintf(p[i].name, sizeof p[i].name, "p%d", i % 2);
	}
	REFUSED(store_create_many(f->s, RECORD_PROJECT, p, 3, &change, &err), ERR_CONFLICT);
	assert_int_equal(store_find(f->s, RECORD_PROJECT, "p0", &q, &err), 0);
	(void)snprintf(p[2].name, sizeof p[2].name, "p2");
	WORKS(store_create_many(f->s, RECORD_PROJECT, p, 3, &change, &err));
	assert_int_equal(store_find(f->s, RECORD_PROJECT, "p2", &q, &err), 1);
}

static void
many_are_replaced_at_once_or_none(void **state)
{
	struct fixture *f = *state;
	struct project p[3], q;
	struct id gone[2];

	make_project(f->s, "old", &p[0]);
	make_project(f->s, "going", &q);
	gone[0] = q.head.id;
	gone[1] = id_random(); /* gone already */
	record_init(RECORD_PROJECT, &p[1]);
	record_init(RECORD_PROJECT, &p[2]);
	p[1].head.id = id_random();
	p[2].head.id = id_random();
	(void)snprintf(p[0].name, sizeof p[0].name, "renamed");
	(void)snprintf(p[1].name, sizeof p[1].name, "going"); /* free in the same breath */
	(void)snprintf(p[2].name, sizeof p[2].name, "renamed");
	REFUSED(store_replace_many(f->s, RECORD_PROJECT, p, 3, gone, 2, &change, &err),
		ERR_CONFLICT);
	assert_int_equal(store_find(f->s, RECORD_PROJECT, "old", &q, &err), 1);
	assert_int_equal(store_find(f->s, RECORD_PROJECT, "renamed", &q, &err), 0);
	assert_int_equal(store_get(f->s, RECORD_PROJECT, gone[0], &q, &err), 1);

	(void)snprintf(p[2].name, sizeof p[2].name, "third");
	WORKS(store_replace_many(f->s, RECORD_PROJECT, p, 3, gone, 2, &change, &err));
	assert_int_equal(store_find(f->s, RECORD_PROJECT, "old", &q, &err), 0);
	assert_int_equal(store_find(f->s, RECORD_PROJECT, "renamed", &q, &err), 1);
	assert_true(id_equal(q.head.id, p[0].head.id));
	assert_int_equal(q.head.version, 2);
	assert_int_equal(store_get(f->s, RECORD_PROJECT, gone[0], &q, &err), 0);
	assert_int_equal(store_find(f->s, RECORD_PROJECT, "going", &q, &err), 1);
	assert_true(id_equal(q.head.id, p[1].head.id));
	assert_int_equal(q.head.version, 1);
	assert_true(q.head.created_ms > 0);
	WORKS(store_replace_many(f->s, RECORD_PROJECT, NULL, 0, NULL, 0, &change, &err));
}

static int changes[RECORD__COUNT];

static void
note_change(void *ctx, enum record_kind kind)
{
	(void)ctx;
	changes[kind]++;
}

static void
each_committed_change_is_told(void **state)
{
	struct fixture *f = *state;
	struct project p;

	memset(changes, 0, sizeof changes);
	store_on_change(f->s, note_change, NULL);
	make_project(f->s, "alpha", &p);
	WORKS(store_update(f->s, RECORD_PROJECT, &p, 0, &change, &err));
	REFUSED(store_update(f->s, RECORD_PROJECT, &p, 77, &change, &err), ERR_STALE);
	WORKS(store_delete(f->s, RECORD_PROJECT, p.head.id, &change, &err));
	assert_int_equal(changes[RECORD_PROJECT], 3);
}

struct audits {
	int count;
	uint64_t last;
	struct audit_entry first;
};

static bool
note_audit(void *ctx, const struct audit_entry *e)
{
	struct audits *a = ctx;

	if (a->count++ == 0)
		a->first = *e;
	else
		assert_true(e->number < a->last);
	a->last = e->number;
	return true;
}

static void
every_change_leaves_an_audit_entry(void **state)
{
	struct fixture *f = *state;
	struct audits a = { 0 };
	struct project p;
	char text[ID_TEXT_BYTES];

	make_project(f->s, "alpha", &p);
	WORKS(store_update(f->s, RECORD_PROJECT, &p, 0, &change, &err));
	REFUSED(store_update(f->s, RECORD_PROJECT, &p, 77, &change, &err), ERR_STALE);
	for (int i = 0; i < 3000; i++)
		WORKS(i >= 5 ? 0 : store_audit_add(f->s, &change, "sign-in", &err));
	WORKS(store_audit_each(f->s, 0, note_audit, &a, &err));
	assert_int_equal(a.count, 7);
	assert_string_equal(a.first.object, "sign-in");
	assert_string_equal(a.first.actor, "admin");
	assert_string_equal(a.first.address, "192.0.2.1");
	assert_true(a.first.time_ms > 0);
	a.count = 0;
	WORKS(store_audit_each(f->s, 3, note_audit, &a, &err));
	assert_int_equal(a.count, 2);
	id_text("prj_", p.head.id, text);
	assert_string_equal(a.first.object, text);
	assert_string_equal(a.first.action, "test.change");
}

static bool
collect_name(void *ctx, const char *name, struct span value)
{
	char *all = ctx;

	assert_int_equal(value.len, 3);
	(void)strcat(strcat(all, name), " ");
	return true;
}

struct told {
	int count;
	char text[16384]; /* "field:before>after field:…", numbers and texts */
	bool cut;
};

static void
tell_side(struct told *t, const struct audit_change *c, const void *record)
{
	size_t n = strlen(t->text);
	const char *at = (const char *)record + c->field->offset;
	int64_t number;

	if (record == NULL) {
		(void)snprintf(t->text + n, sizeof t->text - n, "-");
	} else if (c->is_secret) {
		(void)snprintf(t->text + n, sizeof t->text - n, "secret");
	} else if (c->field->type == FIELD_TEXT || c->field->type == FIELD_LIST) {
		(void)snprintf(t->text + n, sizeof t->text - n, "%.20s", at);
	} else if (c->field->type == FIELD_BOOL) {
		(void)snprintf(t->text + n, sizeof t->text - n, "%d", *at);
	} else {
		memcpy(&number, at, sizeof number);
		(void)snprintf(t->text + n, sizeof t->text - n, c->is_money ? "$%lld" : "%lld",
			(long long)number);
	}
}

static bool
tell_change(void *ctx, const struct audit_change *c)
{
	struct told *t = ctx;

	(void)snprintf(t->text + strlen(t->text), sizeof t->text - strlen(t->text),
		"%s%s:", t->count++ > 0 ? " " : "", c->field->name);
	tell_side(t, c, c->before);
	(void)strcat(t->text, ">");
	tell_side(t, c, c->after);
	t->cut |= c->is_cut;
	return true;
}

static bool
newest(void *ctx, const struct audit_entry *e)
{
	*(struct audit_entry *)ctx = *e;
	return false;
}

/* What the newest entry tells. */
static const char *
told(struct store *s, struct told *t)
{
	struct audit_entry e = { 0 };

	memset(t, 0, sizeof *t);
	WORKS(store_audit_each(s, 0, newest, &e, &err));
	WORKS(audit_changes_each(&e, tell_change, t, &err));
	t->cut |= audit_is_cut(&e);
	return t->text;
}

static void
the_audit_tells_each_field_before_and_after(void **state)
{
	struct fixture *f = *state;
	struct project p;
	struct told t;

	make_project(f->s, "alpha", &p);
	assert_string_equal(told(f->s, &t), "name:->alpha");
	(void)snprintf(p.allowed_models, sizeof p.allowed_models, "gpt-*\nclaude-*");
	p.is_active = false;
	WORKS(store_update(f->s, RECORD_PROJECT, &p, 1, &change, &err));
	assert_string_equal(told(f->s, &t), "is_active:1>0 allowed_models:>gpt-*\nclaude-*");
	memset(p.allowed_models, 0, sizeof p.allowed_models);
	WORKS(store_update(f->s, RECORD_PROJECT, &p, 2, &change, &err));
	assert_string_equal(told(f->s, &t), "allowed_models:gpt-*\nclaude-*>");
	WORKS(store_update(f->s, RECORD_PROJECT, &p, 3, &change, &err));
	assert_string_equal(told(f->s, &t), ""); /* written over as it was */
	WORKS(store_delete(f->s, RECORD_PROJECT, p.head.id, &change, &err));
	assert_string_equal(told(f->s, &t), "name:alpha>- is_active:0>-");
	assert_false(t.cut);
	WORKS(store_audit_add(f->s, &change, "sign-in", &err));
	assert_string_equal(told(f->s, &t), "");
}

static void
the_audit_tells_of_a_secret_only_that_it_changed(void **state)
{
	struct fixture *f = *state;
	struct audit_entry e;
	struct upstream u;
	struct told t;
	struct key k;

	record_init(RECORD_UPSTREAM, &u);
	(void)snprintf(u.name, sizeof u.name, "up");
	(void)snprintf(u.extra_headers, sizeof u.extra_headers, "X-Secret: hidden-one");
	WORKS(store_create(f->s, RECORD_UPSTREAM, &u, &change, &err));
	assert_string_equal(told(f->s, &t), "name:->up");
	(void)snprintf(u.extra_headers, sizeof u.extra_headers, "X-Secret: hidden-two");
	WORKS(store_update(f->s, RECORD_UPSTREAM, &u, 0, &change, &err));
	assert_string_equal(told(f->s, &t), "extra_headers:secret>secret");

	record_init(RECORD_KEY, &k);
	k.head.id = id_random();
	k.upstream = u.head.id;
	WORKS(store_seal(f->s, k.head.id, span_of("sk-1"), &k.secret, &err));
	WORKS(store_create(f->s, RECORD_KEY, &k, &change, &err));
	WORKS(store_seal(f->s, k.head.id, span_of("sk-2"), &k.secret, &err));
	WORKS(store_update(f->s, RECORD_KEY, &k, 0, &change, &err));
	assert_string_equal(told(f->s, &t), "secret:secret>secret");
	WORKS(store_audit_each(f->s, 0, newest, &e, &err));
	assert_true(e.changes_len < 40); /* there is no room for it */
	assert_null(memmem(e.changes, e.changes_len, k.secret.data, k.secret.len));
}

static void
the_audit_cuts_what_is_long_and_says_so(void **state)
{
	enum { MANY = 1000 };
	struct fixture *f = *state;
	struct project p, *many = calloc(MANY, sizeof *many);
	struct audit_entry e;
	struct told t;

	make_project(f->s, "alpha", &p);
	while (strlen(p.allowed_models) < AUDIT_VALUE_MAX + 20)
		(void)strcat(p.allowed_models, "some-model-*\n");
	WORKS(store_update(f->s, RECORD_PROJECT, &p, 0, &change, &err));
	assert_non_null(strstr(told(f->s, &t), "allowed_models:>some-model-*"));
	assert_true(t.cut);

	for (int i = 0; i < MANY; i++) {
		record_init(RECORD_PROJECT, &many[i]);
		(void)snprintf(many[i].name, sizeof many[i].name, "many %d", i);
	}
	WORKS(store_create_many(f->s, RECORD_PROJECT, many, MANY, &change, &err));
	free(many);
	(void)told(f->s, &t);
	assert_true(t.cut && t.count > 50 && t.count < MANY);
	WORKS(store_audit_each(f->s, 0, newest, &e, &err));
	assert_true(e.changes_len <= AUDIT_CHANGES_MAX);
	/* cut anywhere, it is read as far as it goes */
	for (uint16_t len = e.changes_len; len-- > 0;) {
		struct told part = { 0 };

		if (len > 300 && len < AUDIT_CHANGES_MAX - 200)
			continue;
		e.changes_len = len;
		WORKS(audit_changes_each(&e, tell_change, &part, &err));
		assert_true(part.count <= t.count);
		part.text[0] = '\0';
	}
}

static void
the_audit_knows_which_amounts_are_money(void **state)
{
	struct fixture *f = *state;
	struct limit l;
	struct grant g;
	struct told t;

	record_init(RECORD_LIMIT, &l);
	l.metric = METRIC_COST;
	l.cap = 5000000000;
	WORKS(store_create(f->s, RECORD_LIMIT, &l, &change, &err));
	assert_non_null(strstr(told(f->s, &t), "cap:->$5000000000"));
	record_init(RECORD_GRANT, &g);
	g.limit = l.head.id;
	g.amount = 7;
	WORKS(store_create(f->s, RECORD_GRANT, &g, &change, &err));
	assert_non_null(strstr(told(f->s, &t), "amount:->$7"));
	l.metric = METRIC_REQUESTS;
	l.cap = 9;
	WORKS(store_update(f->s, RECORD_LIMIT, &l, 0, &change, &err));
	assert_non_null(strstr(told(f->s, &t), "cap:5000000000>9"));
}

static void
small_values_come_back_and_are_listed_by_prefix(void **state)
{
	struct fixture *f = *state;
	char out[16], all[100] = "";

	WORKS(store_value_put(f->s, "session/b", "bbb", 3, &err));
	WORKS(store_value_put(f->s, "session/a", "aaa", 3, &err));
	WORKS(store_value_put(f->s, "setting/x", "x", 1, &err));
	WORKS(store_value_put(f->s, "setting/x", "xyz", 3, &err));
	assert_int_equal(store_value_get(f->s, "setting/x", out, sizeof out, &err), 3);
	assert_memory_equal(out, "xyz", 3);
	assert_int_equal(store_value_get(f->s, "setting/y", out, sizeof out, &err), 0);
	REFUSED(store_value_get(f->s, "setting/x", out, 2, &err), ERR_INTERNAL);
	WORKS(store_value_each(f->s, "session/", collect_name, all, &err));
	assert_string_equal(all, "session/a session/b ");
	WORKS(store_value_delete(f->s, "session/a", &err));
	WORKS(store_value_delete(f->s, "session/a", &err));
	assert_int_equal(store_value_get(f->s, "session/a", out, sizeof out, &err), 0);
}

static void
a_secret_opens_only_for_its_owner_and_unharmed(void **state)
{
	struct fixture *f = *state;
	struct id owner = id_random(), other = id_random();
	struct sealed sealed, again;
	static char long_secret[SEALED_BYTES];
	char out[64];

	WORKS(store_seal(f->s, owner, SPAN_LIT("sk-provider-secret"), &sealed, &err));
	WORKS(store_seal(f->s, owner, SPAN_LIT("sk-provider-secret"), &again, &err));
	assert_memory_not_equal(sealed.data, again.data, sealed.len);
	assert_null(memmem(sealed.data, sealed.len, "provider", 8));
	assert_int_equal(store_unseal(f->s, owner, &sealed, out, sizeof out, &err), 18);
	assert_string_equal(out, "sk-provider-secret");
	REFUSED((int)store_unseal(f->s, other, &sealed, out, sizeof out, &err),
		ERR_STORE_UNAVAILABLE);
	REFUSED((int)store_unseal(f->s, owner, &sealed, out, 18, &err), ERR_INTERNAL);
	for (size_t i = 0; i < sealed.len; i++) {
		again = sealed;
		again.data[i] ^= 1;
		assert_int_equal(store_unseal(f->s, owner, &again, out, sizeof out, &err), -1);
	}
	memset(long_secret, 'x', sizeof long_secret);
	REFUSED(store_seal(f->s, owner, (struct span){ long_secret, sizeof long_secret }, &sealed,
			&err),
		ERR_PARAM_NOT_ALLOWED);
	WORKS(store_seal(
		f->s, owner, (struct span){ long_secret, SEALED_BYTES - 28 }, &sealed, &err));
}

static void
everything_is_there_after_closing_and_opening(void **state)
{
	struct fixture *f = *state;
	struct project p, q;
	struct store_health health;

	make_project(f->s, "alpha", &p);
	store_close(f->s);
	f->s = fixture_open(f, false);
	assert_int_equal(store_get(f->s, RECORD_PROJECT, p.head.id, &q, &err), 1);
	assert_memory_equal(&p, &q, sizeof p);
	WORKS(store_health(f->s, &health, &err));
	assert_int_equal(health.recoveries, 1); /* its making; a proper end needs none */
	assert_int_equal(health.attached, 1);
	assert_true(health.bytes_on_disk > 0);
}

static void
a_brief_store_leaves_after_each_call(void **state)
{
	struct fixture *f = *state;
	struct store_options o = fixture_options(f);
	struct store_health health;
	struct project p, q;
	struct store *brief;

	o.brief = true;
	brief = store_open(&o, NULL, &err);
	assert_non_null(brief);
	make_project(brief, "alpha", &p);
	assert_int_equal(store_get(f->s, RECORD_PROJECT, p.head.id, &q, &err), 1);
	WORKS(store_health(f->s, &health, &err));
	assert_int_equal(health.attached, 1);
	store_stay(brief, true);
	assert_int_equal(store_get(brief, RECORD_PROJECT, p.head.id, &q, &err), 1);
	WORKS(store_health(f->s, &health, &err));
	assert_int_equal(health.attached, 2);
	store_stay(brief, false);
	WORKS(store_health(f->s, &health, &err));
	assert_int_equal(health.attached, 1);
	store_close(brief);
	WORKS(store_health(f->s, &health, &err));
	assert_int_equal(health.recoveries, 1);
}

int
main(void)
{
#define IN_STORE(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_field_of_every_kind_survives_its_binary_form),
		cmocka_unit_test(tables_do_not_contradict_themselves),
		cmocka_unit_test(fields_of_a_newer_program_survive_a_change_by_an_older_one),
		cmocka_unit_test(what_cannot_be_kept_can_be_read_but_not_written),
		cmocka_unit_test(damaged_bytes_are_refused_and_never_read_beyond),
		IN_STORE(a_record_is_created_found_changed_and_deleted),
		IN_STORE(names_are_unique_and_a_repeated_creation_is_a_success),
		IN_STORE(a_change_of_an_old_version_is_refused),
		IN_STORE(a_token_is_found_by_the_hash_of_its_secret_alone),
		IN_STORE(a_walk_sees_all_of_a_kind_in_order),
		IN_STORE(many_are_created_together_or_not_at_all),
		IN_STORE(many_are_replaced_at_once_or_none),
		IN_STORE(each_committed_change_is_told),
		IN_STORE(every_change_leaves_an_audit_entry),
		IN_STORE(the_audit_tells_each_field_before_and_after),
		IN_STORE(the_audit_tells_of_a_secret_only_that_it_changed),
		IN_STORE(the_audit_cuts_what_is_long_and_says_so),
		IN_STORE(the_audit_knows_which_amounts_are_money),
		IN_STORE(small_values_come_back_and_are_listed_by_prefix),
		IN_STORE(a_secret_opens_only_for_its_owner_and_unharmed),
		IN_STORE(everything_is_there_after_closing_and_opening),
		IN_STORE(a_brief_store_leaves_after_each_call),
	};

	log_unbuffered();
	return cmocka_run_group_tests_name("store/records", tests, NULL, NULL);
}
