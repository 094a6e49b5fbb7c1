/*
 * session.c - who may manage: the admin password, management tokens, sessions of the page, and the
 * one-time code of the first start.
 *
 * Nothing that lets anyone in is kept in clear: the password by scrypt, tokens and cookies as
 * SHA-256 (both are long and random, so a plain digest is enough).  A cookie session's CSRF token
 * is an HMAC under the cookie, which no page can read, so it needs no place in the store.
 *
 * Guessing is held down on the board, hence over all processes, by address and over all addresses.
 */
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "manage/manage-int.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COOKIE         "sluice_session"
#define PASSWORD_VALUE "admin.password"
#define TOKEN_VALUE    "management."
#define SESSION_VALUE  "session."
#define TOKEN_BEGINS   "sk-sl-mgmt-"
#define PASSWORD_LEAST 8
#define PASSWORD_MOST  1024
#define SECRET_LEAST   20 /* of a management token that somebody brings along */

/* Wrong attempts in five minutes: of one address, of all; and passwords checked at once. */
#define GUESS_WINDOW_MS (5 * 60 * 1000)
#define GUESSES_ADDRESS 10
#define GUESSES_ALL     100
#define SCRYPT_AT_ONCE  4

#define SCRYPT_LOG_N 15
#define SCRYPT_R     8
#define SCRYPT_P     1
#define SCRYPT_SALT  16
#define SCRYPT_KEY   32
#define SCRYPT_MEM   (64 * 1024 * 1024)

static void
value_name(const char *prefix, const void *secret, size_t len, char out[96])
{
	uint8_t digest[SHA256_BYTES];

	hash_sha256(secret, len, digest);
	strcpy(out, prefix);
	hash_hex(digest, sizeof digest, out + strlen(prefix));
}

/* ---- the password ---- */

struct scrypt {
	unsigned log_n, r, p;
	uint8_t salt[SCRYPT_SALT], key[SCRYPT_KEY];
};

static int
scrypt_run(struct scrypt *s, struct span password, uint8_t key[SCRYPT_KEY], struct err *err)
{
	if (EVP_PBE_scrypt(password.at, password.len, s->salt, sizeof s->salt, 1ull << s->log_n,
		    s->r, s->p, SCRYPT_MEM, key, SCRYPT_KEY) != 1)
		return err_set(err, ERR_MEMORY, "scrypt failed: no memory for it?");
	return 0;
}

/* "scrypt:15:8:1:<salt>:<key>": the parameters stand beside, so that they can grow. */
static int
scrypt_parse(struct span text, struct scrypt *s)
{
	char line[192], salt[2 * SCRYPT_SALT + 1], key[2 * SCRYPT_KEY + 1];

	if (!span_copy(text, line, sizeof line) ||
		sscanf(line, "scrypt:%u:%u:%u:%32[0-9a-f]:%64[0-9a-f]", &s->log_n, &s->r, &s->p,
			salt, key) != 5 ||
		s->log_n < 10 || s->log_n > 20 || s->r == 0 || s->r > 32 || s->p == 0 || s->p > 16)
		return -1;
	return hash_unhex(salt, s->salt, sizeof s->salt) == 0 &&
			       hash_unhex(key, s->key, sizeof s->key) == 0
		       ? 0
		       : -1;
}

int
password_exists(struct manage *m, struct err *err)
{
	char text[SETTING_BYTES];
	ptrdiff_t n = store_value_get(m->store, PASSWORD_VALUE, text, sizeof text, err);

	return n < 0 ? -1 : n > 0;
}

/* 1 right, 0 wrong or none is set, -1; ERR_RATE_LIMITED when too many are being checked. */
static int
password_check(struct manage *m, struct span password, struct err *err)
{
	char text[SETTING_BYTES];
	struct scrypt s;
	uint8_t key[SCRYPT_KEY];
	ptrdiff_t n = store_value_get(m->store, PASSWORD_VALUE, text, sizeof text, err);
	int rc;

	if (n <= 0)
		return (int)n;
	if (scrypt_parse((struct span){ text, (size_t)n }, &s) != 0)
		return err_set(err, ERR_INTERNAL, "the stored admin password is damaged");
	/* Of 32 MB each.  No call of the store is made inside, so what is taken is given back. */
	if (atomic_fetch_add(&m->scrypts, 1) >= SCRYPT_AT_ONCE)
		rc = err_set(
			err, ERR_RATE_LIMITED, "%d passwords are being checked", SCRYPT_AT_ONCE);
	else
		rc = scrypt_run(&s, password, key, err);
	atomic_fetch_sub(&m->scrypts, 1);
	return rc != 0 ? -1 : hash_equal(key, s.key, sizeof key);
}

int
password_store(struct manage *m, struct span password, struct err *err)
{
	struct scrypt s = { SCRYPT_LOG_N, SCRYPT_R, SCRYPT_P, { 0 }, { 0 } };
	char salt[2 * SCRYPT_SALT + 1], key[2 * SCRYPT_KEY + 1], text[192];
	int n;

	if (password.len < PASSWORD_LEAST || password.len > PASSWORD_MOST) {
		err_set(err, ERR_BAD_REQUEST, "the admin password has a wrong length");
		return err_say(
			err, "The password needs %d to %d bytes.", PASSWORD_LEAST, PASSWORD_MOST);
	}
	hash_random(s.salt, sizeof s.salt);
	if (scrypt_run(&s, password, s.key, err) != 0)
		return -1;
	hash_hex(s.salt, sizeof s.salt, salt);
	hash_hex(s.key, sizeof s.key, key);
	n = snprintf(text, sizeof text, "scrypt:%u:%u:%u:%s:%s", s.log_n, s.r, s.p, salt, key);
	return store_value_put(m->store, PASSWORD_VALUE, text, (size_t)n, err);
}

/* ---- management tokens ---- */

/* Its name for the audit: the head of its digest, which tells nothing of the token. */
static void
token_actor(const char *name, char out[64])
{
	snprintf(out, 64, "token:%.8s", name + strlen(TOKEN_VALUE));
}

/* 1 known (name filled), 0 not, -1.  A look-up by digest takes the same time for any wrong one. */
static int
token_known(struct manage *m, struct span token, char name[96], struct err *err)
{
	char text[SETTING_BYTES];
	ptrdiff_t n;

	value_name(TOKEN_VALUE, token.at, token.len, name);
	n = store_value_get(m->store, name, text, sizeof text, err);
	return n < 0 ? -1 : n > 0;
}

int
management_token_store(struct manage *m, const char *token, struct err *err)
{
	char name[96], text[64];
	size_t len = strlen(token);
	int n;

	if (len < SECRET_LEAST ||
		strspn(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
			      "0123456789-._~+/=") != len) {
		err_set(err, ERR_BAD_REQUEST, "a management token of a wrong form");
		return err_say(err,
			"A management token needs at least %d letters, digits or -._~+/=.",
			SECRET_LEAST);
	}
	value_name(TOKEN_VALUE, token, len, name);
	n = snprintf(text, sizeof text, "%lld", (long long)clock_wall_ms());
	return store_value_put(m->store, name, text, (size_t)n, err);
}

int
management_token_make(struct manage *m, char out[64], struct err *err)
{
	char text[TOKEN_BYTES];

	token_make(text); /* for its randomness; the prefix tells the two kinds of tokens apart */
	snprintf(out, 64, "%s%s", TOKEN_BEGINS, text + strlen(TOKEN_PREFIX));
	return management_token_store(m, out, err);
}

static bool
one_is_enough(void *ctx, const char *name, struct span value)
{
	(void)name;
	(void)value;
	*(bool *)ctx = true;
	return false;
}

int
management_token_any(struct manage *m, struct err *err)
{
	bool any = false;

	if (store_value_each(m->store, TOKEN_VALUE, one_is_enough, &any, err) < 0)
		return -1;
	return any;
}

/* ---- setup.code ---- */

int
setup_code_make(struct manage *m, char code[64], struct err *err)
{
	char text[TOKEN_BYTES];
	int fd, n;

	token_make(text);
	n = snprintf(code, 64, "%.24s", text + strlen(TOKEN_PREFIX));
	fd = open(m->code_file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 && errno == EEXIST) {
		code[0] = '\0';
		return 0;
	}
	if (fd < 0 || dprintf(fd, "%s\n", code) != n + 1 || fsync(fd) != 0) {
		err_set(err, ERR_INTERNAL, "%s: %s", m->code_file, strerror(errno));
		if (fd >= 0) {
			close(fd);
			unlink(m->code_file);
		}
		return -1;
	}
	close(fd);
	return 1;
}

/* Length, 0 when there is none. */
static size_t
setup_code_read(struct manage *m, char *out, size_t room)
{
	int fd = open(m->code_file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n = fd < 0 ? 0 : read(fd, out, room - 1);

	if (fd >= 0)
		close(fd);
	if (n < 0)
		n = 0;
	while (n > 0 && (out[n - 1] == '\n' || out[n - 1] == '\r' || out[n - 1] == ' '))
		n--;
	out[n] = '\0';
	return (size_t)n;
}

/* ---- throttle ---- */

/*
 * Two counters for an address and two for all of them: attempts, counted before the secret is
 * looked at, and those that were right.  Their difference is what is held down: it counts attempts
 * that are still under way as wrong, so a burst gains nothing.  No lease is kept while a password
 * is checked: whoever settles for a dead process would take it for an exchange.
 */
#define GUESS_COUNTERS 2

static struct board_claim
guess_claim(const char *what, const char *value, int64_t now_ms)
{
	int64_t start = now_ms - now_ms % GUESS_WINDOW_MS;
	struct board_claim claim = { .amount = 1,
		.cap = INT64_MAX,
		.window_start_ms = start,
		.window_end_ms = start + GUESS_WINDOW_MS,
		.seeded = true };
	uint8_t digest[SHA256_BYTES];
	char text[160];
	int n = snprintf(text, sizeof text, "signin.%s|%.64s|%lld", what, value, (long long)start);

	hash_sha256(text, (size_t)n, digest);
	memcpy(claim.key, digest, sizeof claim.key);
	return claim;
}

/* Raises both counters by one, unless a cap forbids.  0 with *v, or -1. */
static int
guess_count(
	struct call *c, const struct board_claim claims[GUESS_COUNTERS], struct board_verdict *v)
{
	static const int64_t one[GUESS_COUNTERS] = { 1, 1 };
	struct board_lease lease;

	if (board_admit(c->m->board, id_random(), claims, GUESS_COUNTERS, NULL, NULL, 0, &lease, v,
		    &c->err) != 0)
		return -1;
	if (v->outcome == BOARD_TAKEN &&
		board_settle(c->m->board, lease, one, GUESS_COUNTERS, 0, &c->err) < 0)
		return -1;
	return 0;
}

static void
right_claims(struct call *c, int64_t now_ms, struct board_claim out[GUESS_COUNTERS])
{
	out[0] = guess_claim("right", c->q->address != NULL ? c->q->address : "", now_ms);
	out[1] = guess_claim("right_all", "", now_ms);
}

static int
guess_refuse(struct call *c, int64_t wait_ms)
{
	c->retry_after_s = (int)((wait_ms + 999) / 1000);
	log_request(LOG_WARN, "signin_throttled", c->request_id, "from %s",
		c->q->address != NULL ? c->q->address : "");
	return call_refuse(c, ERR_RATE_LIMITED, NULL,
		"Too many attempts to sign in; try again in %d seconds.", c->retry_after_s);
}

/* Before a secret is looked at.  0 with *now_ms for guess_right(), or -1: too many lately. */
static int
guess_begin(struct call *c, int64_t *now_ms)
{
	static const int64_t most[GUESS_COUNTERS] = { GUESSES_ADDRESS, GUESSES_ALL };
	struct board_claim claims[GUESS_COUNTERS], right[GUESS_COUNTERS];
	struct board_verdict verdict;

	*now_ms = board_now_ms(c->m->board);
	if (c->q->actor != NULL)
		return 0;
	claims[0] = guess_claim("tries", c->q->address != NULL ? c->q->address : "", *now_ms);
	claims[1] = guess_claim("tries_all", "", *now_ms);
	right_claims(c, *now_ms, right);
	for (int i = 0; i < GUESS_COUNTERS; i++) {
		int64_t spent = 0, reserved = 0;

		if (board_peek(c->m->board, right[i].key, 0, &spent, &reserved) < 0)
			return err_set(&c->err, ERR_OVERLOADED, "the board is not to be had");
		claims[i].cap = most[i] + spent;
	}
	if (guess_count(c, claims, &verdict) != 0)
		return -1;
	return verdict.outcome == BOARD_TAKEN
		       ? 0
		       : guess_refuse(c, board_wait_ms(c->m->board, claims[0].window_end_ms));
}

/* It was right, or was not looked at: it shall not count. */
static void
guess_right(struct call *c, int64_t now_ms)
{
	struct board_claim claims[GUESS_COUNTERS];
	struct board_verdict verdict;
	struct err had = c->err;

	right_claims(c, now_ms, claims);
	if (c->q->actor == NULL)
		(void)guess_count(c, claims, &verdict);
	c->err = had;
}

/* ---- sessions ---- */

static void
csrf_of(const uint8_t cookie[SHA256_BYTES], char out[2 * SHA256_BYTES + 1])
{
	static const char what[] = "csrf";
	uint8_t mac[SHA256_BYTES];

	hash_hmac(cookie, SHA256_BYTES, what, sizeof what - 1, mac);
	hash_hex(mac, sizeof mac, out);
}

/* The cookie's bytes out of the Cookie header. */
static bool
cookie_find(struct call *c, uint8_t cookie[SHA256_BYTES])
{
	static const char name[] = COOKIE "=";
	struct span rest = call_header(c, "cookie");

	while (rest.len > 0) {
		const char *end = memchr(rest.at, ';', rest.len);
		size_t len = end != NULL ? (size_t)(end - rest.at) : rest.len;
		char text[2 * SHA256_BYTES + 1];
		struct span one = { rest.at, len };

		while (one.len > 0 && *one.at == ' ') {
			one.at++;
			one.len--;
		}
		if (one.len == sizeof name - 1 + 2 * SHA256_BYTES && span_starts(one, name)) {
			memcpy(text, one.at + sizeof name - 1, 2 * SHA256_BYTES);
			text[2 * SHA256_BYTES] = '\0';
			return hash_unhex(text, cookie, SHA256_BYTES) == 0;
		}
		len += end != NULL ? 1 : 0;
		rest.at += len;
		rest.len -= len;
	}
	return false;
}

/* "<ends_ms> <actor>" */
static bool
session_parse(struct span value, int64_t *ends_ms, char actor[64])
{
	char text[128];
	char *at;

	if (!span_copy(value, text, sizeof text))
		return false;
	*ends_ms = strtoll(text, &at, 10);
	if (at == text || *at != ' ')
		return false;
	snprintf(actor, 64, "%s", at + 1);
	return actor[0] != '\0';
}

static int
session_by_cookie(struct call *c)
{
	uint8_t cookie[SHA256_BYTES];
	char name[96], text[SETTING_BYTES], actor[64];
	int64_t ends_ms;
	ptrdiff_t n;

	if (!cookie_find(c, cookie))
		return 0;
	value_name(SESSION_VALUE, cookie, sizeof cookie, name);
	n = store_value_get(c->m->store, name, text, sizeof text, &c->err);
	if (n < 0)
		return -1;
	if (n == 0 || !session_parse((struct span){ text, (size_t)n }, &ends_ms, actor) ||
		ends_ms <= clock_wall_ms())
		return 0;
	snprintf(c->actor, sizeof c->actor, "%s", actor);
	c->session_ends_ms = ends_ms;
	csrf_of(cookie, c->csrf);
	return 1;
}

static bool
bearer_of(struct call *c, struct span *token)
{
	struct span v = call_header(c, "authorization");
	static const char scheme[] = "bearer ";

	if (v.len <= sizeof scheme - 1 ||
		!span_is_nocase((struct span){ v.at, sizeof scheme - 1 }, scheme))
		return false;
	v.at += sizeof scheme - 1;
	v.len -= sizeof scheme - 1;
	while (v.len > 0 && *v.at == ' ') {
		v.at++;
		v.len--;
	}
	*token = v;
	return v.len > 0;
}

int
session_identify(struct call *c)
{
	struct span token;
	char name[96];
	int rc;

	if (!bearer_of(c, &token))
		return session_by_cookie(c);
	rc = token_known(c->m, token, name, &c->err);
	if (rc < 0)
		return -1;
	if (rc == 0) {
		call_refuse(c, ERR_INVALID_TOKEN, NULL, "This management token is not known here.");
		return 0;
	}
	token_actor(name, c->actor);
	return 1;
}

int
session_check_csrf(struct call *c)
{
	struct span sent;

	if (c->csrf[0] == '\0')
		return 0;
	sent = call_header(c, "x-csrf-token");
	if (sent.len == strlen(c->csrf) && hash_equal(sent.at, c->csrf, sent.len))
		return 0;
	return call_refuse(c, ERR_FORBIDDEN, NULL,
		"Send the session's csrf value in the header X-CSRF-Token; GET /manage/session "
		"tells "
		"it.");
}

static void
cookie_line(struct call *c, const char *value, int64_t age_s)
{
	call_line(c, "Set-Cookie",
		COOKIE "=%s; Path=%s/manage/; Max-Age=%lld; HttpOnly; SameSite=Strict%s", value,
		c->mount, (long long)age_s, c->q->is_https ? "; Secure" : "");
}

static int
reply_session(struct call *c)
{
	struct bytes *out = &c->out->body;
	int initialised = password_exists(c->m, &c->err);

	if (initialised < 0)
		return -1;
	bytes_puts(out, "{\"actor\":");
	bytes_json(out, span_of(c->actor));
	bytes_puts(out, ",\"csrf\":");
	bytes_json(out, span_of(c->csrf));
	shape_time(out, "expires_at", c->session_ends_ms);
	bytes_printf(out, ",\"initialised\":%s,\"version\":\"%s\"}", initialised ? "true" : "false",
		SLUICE_VERSION);
	c->out->status = 200;
	return 0;
}

int
session_get(struct call *c)
{
	int rc = c->q->actor != NULL ? 1 : session_identify(c);

	if (rc < 0)
		return -1;
	if (rc > 0)
		return reply_session(c);
	c->tells_initialised = true;
	return c->err.code != ERR_NONE
		       ? -1
		       : call_refuse(c, ERR_MISSING_TOKEN, NULL, "Nobody is signed in.");
}

struct sign_in {
	struct call *call;
	char *password, *token, *code;
};

static bool
sign_in_member(void *ctx, const char *name, struct json_value v)
{
	struct sign_in *s = ctx;
	char **to = strcmp(name, "password") == 0 ? &s->password
		    : strcmp(name, "token") == 0  ? &s->token
		    : strcmp(name, "code") == 0   ? &s->code
						  : NULL;

	if (to == NULL) {
		call_refuse(s->call, ERR_BAD_REQUEST, name, "There is no member %s here.", name);
		return false;
	}
	*to = call_string(s->call, name, v, PASSWORD_MOST);
	return *to != NULL;
}

/* Who comes with that secret?  1 with c->actor, 0 wrong, -1. */
static int
sign_in_check(struct call *c, const struct sign_in *s)
{
	char name[96];
	int rc;

	if (s->token != NULL) {
		rc = token_known(c->m, span_of(s->token), name, &c->err);
		if (rc > 0)
			token_actor(name, c->actor);
		return rc;
	}
	rc = password_check(c->m, span_of(s->password), &c->err);
	if (rc > 0)
		snprintf(c->actor, sizeof c->actor, "admin");
	return rc;
}

int
session_post(struct call *c)
{
	struct sign_in s = { .call = c };
	int64_t began_ms;
	char name[96], text[128], cookie[2 * SHA256_BYTES + 1];
	int rc;

	if (call_body(c, sign_in_member, &s) != 0)
		return -1;
	if ((s.password == NULL) == (s.token == NULL) || s.code != NULL)
		return call_refuse(c, ERR_BAD_REQUEST, NULL, "Send either password or token.");
	if (guess_begin(c, &began_ms) != 0)
		return -1;
	rc = sign_in_check(c, &s);
	if (rc != 0)
		guess_right(c, began_ms);
	if (rc < 0)
		return c->err.code == ERR_RATE_LIMITED ? guess_refuse(c, 1000) : -1;
	if (rc == 0) {
		snprintf(c->actor, sizeof c->actor, "nobody");
		(void)store_audit_add(c->m->store, call_change(c, "session.refused"), "", NULL);
		return call_refuse(c, ERR_INVALID_TOKEN, s.token != NULL ? "token" : "password",
			s.token != NULL ? "This management token is not known here."
					: "This is not the admin password.");
	}

	c->session_ends_ms = clock_wall_ms() + c->m->session_ms;
	value_name(SESSION_VALUE, c->q->once->session, SHA256_BYTES, name);
	rc = snprintf(text, sizeof text, "%lld %s", (long long)c->session_ends_ms, c->actor);
	if (store_value_put(c->m->store, name, text, (size_t)rc, &c->err) < 0 ||
		store_audit_add(c->m->store, call_change(c, "session.create"), "", &c->err) < 0)
		return -1;
	csrf_of(c->q->once->session, c->csrf);
	hash_hex(c->q->once->session, SHA256_BYTES, cookie);
	cookie_line(c, cookie, c->m->session_ms / 1000);
	return reply_session(c);
}

int
session_delete(struct call *c)
{
	uint8_t cookie[SHA256_BYTES];
	char name[96];
	int rc = session_by_cookie(c);

	if (rc < 0)
		return -1;
	if (rc > 0) {
		if (session_check_csrf(c) != 0)
			return -1;
		(void)cookie_find(c, cookie);
		value_name(SESSION_VALUE, cookie, sizeof cookie, name);
		if (store_value_delete(c->m->store, name, &c->err) < 0 ||
			store_audit_add(
				c->m->store, call_change(c, "session.delete"), "", &c->err) < 0)
			return -1;
	}
	cookie_line(c, "", 0);
	c->out->status = 204;
	return 0;
}

int
setup_post(struct call *c)
{
	struct sign_in s = { .call = c };
	int64_t began_ms;
	char code[64], token[64];
	size_t len;
	int rc;
	bool right;

	if (call_body(c, sign_in_member, &s) != 0)
		return -1;
	if (s.code == NULL || s.password == NULL || s.token != NULL)
		return call_refuse(c, ERR_BAD_REQUEST, s.code == NULL ? "code" : "password",
			"Send code and password.");
	rc = password_exists(c->m, &c->err);
	if (rc < 0)
		return -1;
	if (rc > 0)
		return call_refuse(c, ERR_CONFLICT, NULL,
			"This installation has its admin password already; sign in.");
	if (guess_begin(c, &began_ms) != 0)
		return -1;
	len = setup_code_read(c->m, code, sizeof code);
	right = len >= 16 && len == strlen(s.code) && hash_equal(code, s.code, len);
	if (right)
		guess_right(c, began_ms);
	if (!right)
		return call_refuse(c, ERR_FORBIDDEN, "code",
			"This is not the code in the file setup.code beside the store.");

	/* The password is what ends the offer, so it comes last of what can fail. */
	if (management_token_make(c->m, token, &c->err) != 0 ||
		password_store(c->m, span_of(s.password), &c->err) != 0)
		return -1;
	(void)unlink(c->m->code_file);
	snprintf(c->actor, sizeof c->actor, "admin");
	(void)store_audit_add(c->m->store, call_change(c, "setup"), "", NULL);
	bytes_puts(&c->out->body, "{\"management_token\":");
	bytes_json(&c->out->body, span_of(token));
	bytes_puts(&c->out->body, "}");
	c->out->status = 200;
	return 0;
}

/* ---- sweep ---- */

#define SWEEP_AT_ONCE 256
struct sweep {
	int64_t now_ms; /* INT64_MAX: all of them */
	size_t count;
	char names[SWEEP_AT_ONCE][96];
};

static bool
collect_stale(void *ctx, const char *name, struct span value)
{
	struct sweep *s = ctx;
	int64_t ends_ms;
	char actor[64];

	if (!session_parse(value, &ends_ms, actor) || ends_ms <= s->now_ms)
		snprintf(s->names[s->count++], sizeof s->names[0], "%s", name);
	return s->count < SWEEP_AT_ONCE;
}

static int
sweep(struct manage *m, int64_t now_ms, struct err *err)
{
	struct sweep *s = calloc(1, sizeof *s);
	int rc = 0;

	if (s == NULL)
		return err_set(err, ERR_MEMORY, "no memory to sweep sessions");
	s->now_ms = now_ms;
	do {
		s->count = 0;
		rc = store_value_each(m->store, SESSION_VALUE, collect_stale, s, err);
		for (size_t i = 0; rc >= 0 && i < s->count; i++)
			rc = store_value_delete(m->store, s->names[i], err);
	} while (rc >= 0 && s->count == SWEEP_AT_ONCE);
	free(s);
	return rc < 0 ? -1 : 0;
}

int
manage_sweep(struct manage *m, struct err *err)
{
	int64_t now_ms = clock_wall_ms();

	return sweep(m, now_ms, err) == 0 ? store_tidy(m->store, err) : -1;
}

int
manage_set_password(struct manage *m, struct span password, struct err *err)
{
	if (password_store(m, password, err) != 0)
		return -1;
	(void)unlink(m->code_file);
	return sweep(m, INT64_MAX, err);
}

bool
manage_has_password(struct manage *m, struct err *err)
{
	return password_exists(m, err) > 0;
}
