/*
 * begin.c - beginnings: the master key, the first secrets, the price list.  All of it may be run
 * again and then changes nothing.
 */
#include "base/clock.h"
#include "base/hash.h"
#include "base/money.h"
#include "conf/conf.h"
#include "manage/manage-int.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MASTER_KEY_BYTES 32
#define PRICES_MOST      4096
#define PRICES_BYTES     (16 << 20)

/* ---- master key ---- */

static int
master_key_of(const char *given, uint8_t key[MASTER_KEY_BYTES], struct err *err)
{
	unsigned char raw[64];
	size_t len = strlen(given);

	if (hash_unhex(given, key, MASTER_KEY_BYTES) == 0)
		return 0;
	/* 32 bytes are 44 characters of base64, the last a filler. */
	if (len == 44 && EVP_DecodeBlock(raw, (const unsigned char *)given, (int)len) == 33) {
		memcpy(key, raw, MASTER_KEY_BYTES);
		explicit_bzero(raw, sizeof raw);
		return 0;
	}
	err_set(err, ERR_BAD_REQUEST,
		"the master key given is neither 64 hexadecimal digits nor "
		"base64 of 32 bytes");
	return -1;
}

int
manage_make_master_key(const char *path, const char *given, struct err *err)
{
	uint8_t key[MASTER_KEY_BYTES];
	bool is_given = given != NULL && given[0] != '\0';
	int fd;

	if (is_given && master_key_of(given, key, err) != 0)
		return -1;
	if (!is_given)
		hash_random(key, sizeof key);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 && errno == EEXIST) {
		explicit_bzero(key, sizeof key);
		return 0;
	}
	if (fd < 0 || write(fd, key, sizeof key) != (ssize_t)sizeof key || fsync(fd) != 0) {
		err_set(err, ERR_INTERNAL, "master key %s: %s", path, strerror(errno));
		if (fd >= 0) {
			close(fd);
			unlink(path);
		}
		explicit_bzero(key, sizeof key);
		return -1;
	}
	close(fd);
	explicit_bzero(key, sizeof key);
	return 1;
}

/* ---- first secrets ---- */

int
manage_init_secrets(struct manage *m, struct manage_secrets *s, struct err *err)
{
	int any = management_token_any(m, err), has_password = password_exists(m, err);

	s->token[0] = s->setup_code[0] = '\0';
	s->took_token = s->took_password = false;
	if (any < 0 || has_password < 0)
		return -1;
	if (s->given_token != NULL && s->given_token[0] != '\0') {
		int rc = management_token_store(m, s->given_token, err);

		if (rc < 0)
			return -1;
		s->took_token = true;
	} else if (any == 0 && management_token_make(m, s->token, err) != 0) {
		return -1;
	}
	if (has_password > 0)
		return 0;
	if (s->given_password != NULL && s->given_password[0] != '\0') {
		if (manage_set_password(m, span_of(s->given_password), err) != 0)
			return -1;
		s->took_password = true;
		return 0;
	}
	return setup_code_make(m, s->setup_code, err) < 0 ? -1 : 0;
}

/* ---- prices ---- */

/* A price's own id, so that every import finds it again. */
static struct id
price_id(const struct price *p)
{
	uint8_t digest[SHA256_BYTES];
	char text[512], upstream[ID_TEXT_BYTES];
	struct id id;
	int n;

	id_text(record_prefix(RECORD_UPSTREAM), p->upstream, upstream);
	n = snprintf(
		text, sizeof text, "price|%s|%s|%lld", p->model, upstream, (long long)p->from_ms);
	hash_sha256(text, (size_t)n, digest);
	memcpy(id.b, digest, sizeof id.b);
	return id;
}

struct import {
	struct call *call;
	struct price *rows;
	size_t count;
	struct price *row; /* being read */
};

static bool
price_member(void *ctx, const struct json_member *m)
{
	struct import *i = ctx;
	const struct field *f;
	char name[64];

	if (!span_copy(m->key, name, sizeof name))
		name[0] = '\0';
	f = shape_field_named(RECORD_PRICE, name);
	if (f == NULL || (f->flags & (FIELD_READ | FIELD_HIDDEN)) != 0) {
		call_refuse(i->call, ERR_BAD_REQUEST, name, "A price has no field %s.", name);
		return false;
	}
	return shape_set(i->call, f, m->value, i->row) == 0;
}

static bool
price_row(void *ctx, const struct json_member *m)
{
	struct import *i = ctx;

	if (i->count == PRICES_MOST) {
		call_refuse(i->call, ERR_BAD_REQUEST, "prices", "At most %d prices.", PRICES_MOST);
		return false;
	}
	i->row = &i->rows[i->count];
	record_init(RECORD_PRICE, i->row);
	if (json_each(m->value.raw, price_member, i, NULL) != 0 && i->call->err.code == ERR_NONE)
		call_refuse(i->call, ERR_BAD_REQUEST, "prices", "Price %zu is no JSON object.",
			i->count + 1);
	if (i->call->err.code == ERR_NONE && i->row->model[0] == '\0')
		call_refuse(i->call, ERR_BAD_REQUEST, "model", "Price %zu names no model.",
			i->count + 1);
	if (i->call->err.code != ERR_NONE)
		return false;
	i->row->is_builtin = true;
	i->row->head.id = price_id(i->row);
	for (size_t k = 0; k < i->count; k++)
		if (id_equal(i->rows[k].head.id, i->row->head.id)) {
			call_refuse(i->call, ERR_CONFLICT, "model", "%s stands there twice.",
				i->row->model);
			return false;
		}
	i->count++;
	return true;
}

static bool
same_price(const struct price *a, const struct price *b)
{
	return a->input_nusd == b->input_nusd && a->output_nusd == b->output_nusd &&
	       a->cache_read_nusd == b->cache_read_nusd &&
	       a->cache_write_5m_nusd == b->cache_write_5m_nusd &&
	       a->cache_write_1h_nusd == b->cache_write_1h_nusd &&
	       a->request_nusd == b->request_nusd && a->is_builtin == b->is_builtin;
}

/* What is in the store against what is in the list.  Missing ones come in one transaction. */
static int
merge_prices(struct call *c, struct import *i, size_t *changed)
{
	struct price *had;
	void *records = NULL;
	struct price *fresh = arena_alloc(c->arena, (i->count + 1) * sizeof *fresh);
	size_t count = 0, fresh_count = 0;

	if (fresh == NULL)
		return call_no_memory(c);
	if (resource_collect(
		    c, RECORD_PRICE, ID_NONE, 4 * PRICES_MOST, NULL, NULL, &records, &count) != 0)
		return -1;
	had = records;
	for (size_t k = 0; k < i->count; k++) {
		struct price *want = &i->rows[k];
		const struct price *is = NULL;

		for (size_t n = 0; n < count && is == NULL; n++)
			if (id_equal(had[n].head.id, want->head.id))
				is = &had[n];
		if (is == NULL) {
			fresh[fresh_count++] = *want;
		} else if (is->is_builtin && !same_price(is, want)) {
			if (store_update(c->m->store, RECORD_PRICE, want, 0,
				    call_change(c, "price.import"), &c->err) != 0)
				return -1;
			++*changed;
		}
	}
	for (size_t n = 0; n < count; n++) {
		bool stays = !had[n].is_builtin;

		for (size_t k = 0; k < i->count && !stays; k++)
			stays = id_equal(had[n].head.id, i->rows[k].head.id);
		if (stays)
			continue;
		if (store_delete(c->m->store, RECORD_PRICE, had[n].head.id,
			    call_change(c, "price.import"), &c->err) != 0)
			return -1;
		++*changed;
	}
	if (fresh_count > 0 && store_create_many(c->m->store, RECORD_PRICE, fresh, fresh_count,
				       call_change(c, "price.import"), &c->err) != 0)
		return -1;
	*changed += fresh_count;
	return 0;
}

int
manage_import_prices(
	struct manage *m, struct span json, const char *actor, size_t *changed, struct err *err)
{
	struct manage_once once;
	struct manage_request q = { .method = "POST", .actor = actor, .once = &once };
	struct manage_reply out = { 0 };
	struct call c = { .m = m, .q = &q, .out = &out };
	struct import i = { .call = &c };
	struct json_value list = json_get(json, "prices");
	int rc = -1;

	*changed = 0;
	manage_once(&once);
	c.arena = arena_new(CALL_ARENA_MAX);
	if (c.arena == NULL)
		return err_set(err, ERR_MEMORY, "no memory for the price list");
	snprintf(c.actor, sizeof c.actor, "%s", actor);
	i.rows = arena_alloc(c.arena, PRICES_MOST * sizeof *i.rows);
	if (i.rows == NULL) {
		call_no_memory(&c);
	} else if (list.type != JSON_ARRAY || !json_valid(json)) {
		call_refuse(&c, ERR_BAD_REQUEST, "prices",
			"The price list must be a JSON object with a list `prices`.");
	} else {
		if (json_each_element(list.raw, price_row, &i, NULL) != 0 && c.err.code == ERR_NONE)
			call_refuse(&c, ERR_BAD_REQUEST, "prices", "The price list is broken.");
		if (c.err.code == ERR_NONE)
			rc = merge_prices(&c, &i, changed);
	}
	arena_free(c.arena);
	if (rc != 0 && err != NULL)
		*err = c.err;
	return rc;
}

/* It lies beside the settings, beside the program, where `make install` puts it, or in the source. */
int
manage_import_price_list(struct manage *m, const struct conf *conf, const char *actor,
	size_t *changed, struct err *err)
{
	static const char *const from_program[] = { "", "/../../share/sluice/conf", "/../../conf" };
	char program[PATH_MAX] = ".", path[PATH_MAX + 64], piece[16384];
	ssize_t len = readlink("/proc/self/exe", program, sizeof program - 1);
	struct bytes text = BYTES_LIMIT(PRICES_BYTES);
	const char *slash = strrchr(conf->file, '/');
	FILE *f;
	size_t n;
	int rc = 1;

	*changed = 0;
	if (len > 0) {
		program[len] = '\0';
		*strrchr(program, '/') = '\0';
	}
	snprintf(path, sizeof path, "%.*s/prices.json",
		slash != NULL ? (int)(slash - conf->file) : 1, slash != NULL ? conf->file : ".");
	f = fopen(path, "re");
	for (size_t i = 0; i < sizeof from_program / sizeof from_program[0] && f == NULL; i++) {
		snprintf(path, sizeof path, "%s%s/prices.json", program, from_program[i]);
		f = fopen(path, "re");
	}
	if (f == NULL)
		return 0;
	while ((n = fread(piece, 1, sizeof piece, f)) > 0)
		bytes_add(&text, piece, n);
	fclose(f);
	if (text.failed)
		rc = err_set(err, ERR_BAD_REQUEST, "%.200s is too long", path);
	else if (manage_import_prices(m, bytes_span(&text), actor, changed, err) != 0)
		rc = -1;
	bytes_free(&text);
	return rc;
}

/* ---- upstreams of the settings ---- */

struct given {
	struct manage *m;
	const struct store_change *change;
	size_t made;
	struct err *err;
	bool failed;
};

static bool
give_up(struct given *g, const char *name, const char *why)
{
	g->failed = true;
	if (why != NULL)
		err_set(g->err, ERR_BAD_REQUEST, "upstream '%s': %s", name, why);
	return false;
}

static int
make_key(struct given *g, const struct upstream *u, struct json_value secret)
{
	char text[SEALED_BYTES];
	struct key k;
	ptrdiff_t len = json_string(secret, text, sizeof text);
	int rc = -1;

	record_init(RECORD_KEY, &k);
	k.head.id = id_random();
	k.upstream = u->head.id;
	if (len > 0) {
		token_mask(text, (size_t)len, k.masked);
		rc = store_seal(g->m->store, k.head.id, (struct span){ text, (size_t)len },
			&k.secret, g->err);
	} else {
		err_set(g->err, ERR_BAD_REQUEST, "upstream '%s': its api_key is no text", u->name);
	}
	explicit_bzero(text, sizeof text);
	return rc == 0 ? store_create(g->m->store, RECORD_KEY, &k, g->change, g->err) : -1;
}

static bool
on_upstream(void *ctx, const struct json_member *member)
{
	struct given *g = ctx;
	struct span row = member->value.raw;
	struct upstream u, there;
	int64_t seconds;

	record_init(RECORD_UPSTREAM, &u);
	if (json_string(json_get(row, "name"), u.name, sizeof u.name) <= 0)
		return give_up(g, "", "one has no name");
	switch (store_find(g->m->store, RECORD_UPSTREAM, u.name, &there, g->err)) {
	case 1:
		return true;
	case -1:
		return give_up(g, u.name, NULL);
	default:
		break;
	}
	if (json_string(json_get(row, "base_url"), u.base_url, sizeof u.base_url) <= 0)
		return give_up(g, u.name, "it has no base_url");
	u.head.id = id_random();
	u.is_default = json_get(row, "is_default").type == JSON_TRUE;
	u.allow_private = json_get(row, "allow_private").type == JSON_TRUE;
	if (json_int(json_get(row, "timeout"), &seconds) == 0 && seconds > 0 && seconds <= 86400)
		u.total_ms = seconds * 1000;
	if (json_get(row, "api_key").type == JSON_NONE)
		u.auth = AUTH_NONE;
	if (store_create(g->m->store, RECORD_UPSTREAM, &u, g->change, g->err) != 0 ||
		(u.auth != AUTH_NONE && make_key(g, &u, json_get(row, "api_key")) != 0))
		return give_up(g, u.name, NULL);
	g->made++;
	return true;
}

int
manage_import_upstreams(
	struct manage *m, struct span json, const char *actor, size_t *made, struct err *err)
{
	struct store_change change = { actor, "upstream.import", "", ID_NONE };
	struct given g = { .m = m, .change = &change, .err = err };

	*made = 0;
	if (json_each_element(json, on_upstream, &g, NULL) != 0 && !g.failed)
		return err_set(err, ERR_BAD_REQUEST, "the setting `upstreams` is no JSON list");
	*made = g.made;
	return g.failed ? -1 : 0;
}
