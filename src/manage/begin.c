/*
 * begin.c - what a new installation needs: a master key, the first secrets, a price list.  All of
 * it can be repeated, and then changes nothing.
 */
#include "manage/manage.h"

#include "base/hash.h"
#include "base/json.h"
#include "base/money.h"
#include "manage/manage-int.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MASTER_KEY_BYTES 32
#define PRICES_MAX       16384

/* ---- the master key ---- */

/* 64 hex digits, or base64 of 32 bytes. */
static int
read_key(const char *given, uint8_t key[MASTER_KEY_BYTES])
{
	unsigned char decoded[48];
	size_t len = strlen(given);

	if (len == 2 * MASTER_KEY_BYTES)
		return hash_unhex(given, key, MASTER_KEY_BYTES);
	if (len != 44 || given[43] != '='
		|| EVP_DecodeBlock(decoded, (const unsigned char *)given, (int)len) != 33)
		return -1;
	memcpy(key, decoded, MASTER_KEY_BYTES);
	explicit_bzero(decoded, sizeof decoded);
	return 0;
}

int
manage_make_master_key(const char *path, const char *given, struct err *err)
{
	uint8_t key[MASTER_KEY_BYTES];
	ssize_t written;
	int fd;

	if (given != NULL && given[0] != '\0') {
		if (read_key(given, key) != 0)
			return err_set(err, ERR_BAD_REQUEST,
				"the master key given is neither 64 hex digits nor base64 of 32 bytes");
	} else {
		hash_random(key, sizeof key);
	}
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 && errno == EEXIST)
		return 0;
	if (fd < 0)
		return err_set(err, ERR_STORE_UNAVAILABLE, "the master key %s cannot be made: %s", path,
			strerror(errno));
	written = write(fd, key, sizeof key);
	explicit_bzero(key, sizeof key);
	if (written != MASTER_KEY_BYTES || fsync(fd) != 0) {
		err_set(err, ERR_STORE_UNAVAILABLE, "the master key %s cannot be written: %s", path,
			strerror(errno));
		close(fd);
		unlink(path); /* half a key is worse than none */
		return -1;
	}
	close(fd);
	return 1;
}

/* ---- the first secrets ---- */

int
manage_init_secrets(struct manage *m, struct manage_secrets *s, struct err *err)
{
	int there;

	s->token[0] = s->setup_code[0] = '\0';
	s->took_token = s->took_password = false;
	if (s->given_token != NULL && s->given_token[0] != '\0') {
		if (management_token_store(m, s->given_token, err) < 0)
			return -1;
		s->took_token = true;
	} else {
		there = management_token_any(m, err);
		if (there < 0 || (there == 0 && management_token_make(m, s->token, err) != 0))
			return -1;
	}
	there = password_exists(m, err);
	if (there < 0)
		return -1;
	if (there == 0 && s->given_password != NULL && s->given_password[0] != '\0') {
		if (password_store(m, span_of(s->given_password), err) != 0)
			return -1;
		s->took_password = true;
		unlink(m->code_file); /* nobody needs it any more */
		return 0;
	}
	return there == 0 && setup_code_make(m, s->setup_code, err) < 0 ? -1 : 0;
}

/* ---- prices ---- */

struct importing {
	struct manage *m;
	struct price *rows; /* as the file has them */
	size_t count;
	struct err *err;
	bool failed;
};

static bool
refuse(struct importing *in, const char *why)
{
	in->failed = true;
	err_set(in->err, ERR_BAD_REQUEST, "price %zu: %s", in->count + 1, why);
	return false;
}

/* Dollars as a string or a number; absent: as it is. */
static int
money_member(struct span row, const char *name, int64_t *nusd)
{
	struct json_value v = json_get(row, name);
	char text[64];

	if (v.type == JSON_NONE || v.type == JSON_NULL)
		return 0;
	if (v.type == JSON_STRING ? json_string(v, text, sizeof text) < 0
				  : v.type != JSON_NUMBER || !span_copy(v.raw, text, sizeof text))
		return -1;
	return money_parse(text, nusd) == 0 && *nusd >= 0 ? 0 : -1;
}

static bool
on_row(void *ctx, const struct json_member *member)
{
	struct importing *in = ctx;
	struct span row = member->value.raw;
	struct price *p;
	char name[NAME_BYTES], from[64];

	if (in->count == PRICES_MAX)
		return refuse(in, "there are too many");
	p = &in->rows[in->count];
	record_init(RECORD_PRICE, p);
	p->is_builtin = true;
	if (json_string(json_get(row, "model"), p->model, sizeof p->model) <= 0)
		return refuse(in, "it names no model");
	if (json_get(row, "input").type == JSON_NONE
		|| money_member(row, "input", &p->input_nusd) != 0
		|| money_member(row, "output", &p->output_nusd) != 0
		|| money_member(row, "cache_read", &p->cache_read_nusd) != 0
		|| money_member(row, "cache_write_5m", &p->cache_write_5m_nusd) != 0
		|| money_member(row, "cache_write_1h", &p->cache_write_1h_nusd) != 0
		|| money_member(row, "request", &p->request_nusd) != 0)
		return refuse(in, "an amount is missing or is no amount of dollars");
	if (json_get(row, "from").type == JSON_STRING
		&& (json_string(json_get(row, "from"), from, sizeof from) < 0
			|| time_of_text(from, &p->from_ms) != 0))
		return refuse(in, "`from` is no time");
	if (json_get(row, "upstream").type == JSON_STRING) {
		struct upstream u;

		if (json_string(json_get(row, "upstream"), name, sizeof name) < 0
			|| store_find(in->m->store, RECORD_UPSTREAM, name, &u, in->err) != 1)
			return refuse(in, "its upstream is not known");
		p->upstream = u.head.id;
	}
	in->count++;
	return true;
}

static bool
same_place(const struct price *a, const struct price *b)
{
	return strcmp(a->model, b->model) == 0 && id_equal(a->upstream, b->upstream)
		&& a->from_ms == b->from_ms;
}

static bool
same_amounts(const struct price *a, const struct price *b)
{
	return a->input_nusd == b->input_nusd && a->output_nusd == b->output_nusd
		&& a->cache_read_nusd == b->cache_read_nusd
		&& a->cache_write_5m_nusd == b->cache_write_5m_nusd
		&& a->cache_write_1h_nusd == b->cache_write_1h_nusd
		&& a->request_nusd == b->request_nusd;
}

struct builtin {
	struct price *rows;
	size_t count;
};

static bool
on_stored(void *ctx, const void *record)
{
	struct builtin *b = ctx;
	const struct price *p = record;

	if (p->is_builtin && b->count < PRICES_MAX)
		b->rows[b->count++] = *p;
	return true;
}

/* Brings the built-in rows to what the file says: new ones in one transaction, the rest by row. */
static int
bring_to(struct importing *in, struct builtin *there, const struct store_change *change,
	size_t *changed)
{
	size_t fresh = 0;

	for (size_t i = 0; i < there->count; i++) {
		struct price *old = &there->rows[i];
		size_t k = 0;

		while (k < in->count && !same_place(old, &in->rows[k]))
			k++;
		if (k == in->count) {
			if (store_delete(in->m->store, RECORD_PRICE, old->head.id, change, in->err) != 0)
				return -1;
			++*changed;
			continue;
		}
		in->rows[k].head = old->head; /* marks it as there */
		if (same_amounts(old, &in->rows[k]))
			continue;
		if (store_update(in->m->store, RECORD_PRICE, &in->rows[k], 0, change, in->err) != 0)
			return -1;
		++*changed;
	}
	for (size_t i = 0; i < in->count; i++)
		if (id_is_none(in->rows[i].head.id)) {
			in->rows[i].head.id = id_random();
			in->rows[fresh++] = in->rows[i];
		}
	*changed += fresh;
	return fresh == 0 ? 0
			  : store_create_many(in->m->store, RECORD_PRICE, in->rows, fresh, change,
				    in->err);
}

int
manage_import_prices(struct manage *m, struct span json, const char *actor, size_t *changed,
	struct err *err)
{
	struct importing in = { .m = m, .err = err };
	struct builtin there = { 0 };
	struct store_change change = { actor, "price.import", "", ID_NONE };
	struct json_value list = json_get(json, "prices");
	int rc = -1;

	*changed = 0;
	if (list.type != JSON_ARRAY)
		return err_set(err, ERR_BAD_REQUEST, "the file is no JSON object with a list `prices`");
	in.rows = calloc(PRICES_MAX, sizeof *in.rows);
	there.rows = calloc(PRICES_MAX, sizeof *there.rows);
	if (in.rows == NULL || there.rows == NULL)
		err_set(err, ERR_MEMORY, "no memory to import prices");
	else if (json_each_element(list.raw, on_row, &in, NULL) != 0 && !in.failed)
		err_set(err, ERR_BAD_REQUEST, "the list of prices is no valid JSON");
	else if (!in.failed
		&& store_each(m->store, RECORD_PRICE, ID_NONE, on_stored, &there, err) == 0)
		rc = bring_to(&in, &there, &change, changed);
	free(in.rows);
	free(there.rows);
	return rc;
}
