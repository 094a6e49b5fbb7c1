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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PRICES_BYTES (16 << 20)

/* ---- master key ---- */

int
manage_make_master_key(const char *path, const char *given, struct err *err)
{
	uint8_t key[MASTER_KEY_BYTES];
	bool is_given = given != NULL && given[0] != '\0';
	int fd;

	if (is_given && store_master_key_of(given, key) != 0)
		return err_set(err, ERR_BAD_REQUEST,
			"the master key given is neither 64 hexadecimal digits nor "
			"base64 of 32 bytes");
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

int
manage_import_prices(
	struct manage *m, struct span json, const char *actor, size_t *changed, struct err *err)
{
	const struct price_import shipped = { .is_shipped = true };

	return manage_price_import(m, json, actor, &shipped, changed, NULL, err);
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
		if (text[0] == '{') /* its ends would show what it holds */
			(void)strcpy(k.masked, "{\xE2\x80\xA6}");
		else
			token_mask(text, (size_t)len, k.masked);
		rc = store_seal(g->m->store, k.head.id, (struct span){ text, (size_t)len },
			&k.secret, g->err);
	} else {
		err_set(g->err, ERR_BAD_REQUEST, "upstream '%s': its api_key is no text", u->name);
	}
	explicit_bzero(text, sizeof text);
	return rc == 0 ? store_create(g->m->store, RECORD_KEY, &k, g->change, g->err) : -1;
}

/* Most providers speak as OpenAI does; those with a protocol of their own are named by it. */
static void
set_protocol(struct upstream *u, const char *provider)
{
	const struct field *f = shape_field_named(RECORD_UPSTREAM, "protocol");
	struct span name;

	for (int32_t i = 0; (name = shape_enum_name(f->values, i)).len > 0; i++)
		if (span_is_nocase(name, provider))
			u->protocol = i;
	u->auth = (int32_t)auth_usual(u);
}

static bool
on_upstream(void *ctx, const struct json_member *member)
{
	struct given *g = ctx;
	struct span row = member->value.raw;
	struct upstream u, there;
	char provider[NAME_BYTES];
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
	if (json_string(json_get(row, "provider"), provider, sizeof provider) > 0)
		set_protocol(&u, provider);
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
