/*
 * access.c - one row a key in the main table: who fetches a token, how that went, and the token, sealed.
 *
 * Committed without a sync: it survives any kill -9, and a machine that dies loses no more than a
 * token that can be bought again.
 */
#include "store/access.h"

#include "base/log.h"
#include "store/store-int.h"
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#define ROW_MAGIC   UINT32_C(0x61636331) /* in another byte order it is no row */
#define PIECE_BYTES 4000                 /* of a token, sealed by itself */
#define PIECES      3
#define SEALED_MAX  (PIECES * sizeof(struct sealed))
_Static_assert(PIECES *PIECE_BYTES >= ACCESS_TOKEN_BYTES, "a token fits its pieces");

#define WAIT_FIRST_MS   1000
#define WAIT_MOST_MS    60000
#define WAIT_REFUSED_MS 30000

/* As it is on disk, up to the end of what is sealed. */
struct access_row {
	uint32_t magic;
	uint32_t failures; /* in a row */
	uint8_t of[SHA256_BYTES];
	uint32_t slot, incarnation; /* who fetches; incarnation 0: nobody */
	int64_t claim_until_ms, renewed_ms, retry_ms;
	uint64_t number; /* of the token; 0: none */
	int64_t refresh_ms, until_ms;
	uint32_t refused;
	uint32_t sealed_bytes;
	char why[ACCESS_WHY_BYTES];
	uint8_t sealed[SEALED_MAX]; /* {u16 length, bytes} of each piece */
};

struct work {
	struct store *s;
	struct id key;
	struct access_row row;
	bool there;
	/* claim */
	const struct access_name *name;
	uint64_t refused;
	bool broken; /* the token there cannot be unsealed */
	bool has;    /* claimed ahead of its end: it is still good */
	int64_t now_ms;
	struct access_answer *out;
	/* put, fail */
	const struct access_row *news;
	bool done;
};

int
access_name_of(struct id key, int kind, const char *token_url, const char *scope,
	const char *secret, struct access_name *out, struct err *err)
{
	struct bytes text = BYTES_LIMIT(16384);
	bool failed;

	out->key = key;
	bytes_printf(&text, "%d\n%s\n%s\n%s", kind, token_url, scope, secret);
	if (!text.failed)
		hash_sha256(text.at, text.len, out->of);
	if (text.at != NULL)
		explicit_bzero(text.at, text.room);
	failed = text.failed;
	bytes_free(&text);
	return failed ? err_set(err, ERR_MEMORY, "no memory to name an access token") : 0;
}

int64_t
access_wait_ms(uint32_t failures, bool refused)
{
	int64_t ms = WAIT_FIRST_MS;

	for (uint32_t i = 1; i < failures && ms < WAIT_MOST_MS; i++)
		ms *= 2;
	if (refused && ms < WAIT_REFUSED_MS)
		ms = WAIT_REFUSED_MS;
	return ms < WAIT_MOST_MS ? ms : WAIT_MOST_MS;
}

/* ---- the row ---- */

static size_t
row_key(struct id key, uint8_t out[1 + sizeof(struct id)])
{
	out[0] = KEY_ACCESS;
	memcpy(out + 1, key.b, sizeof key.b);
	return 1 + sizeof key.b;
}

static int
row_get(struct attach *at, DB_TXN *txn, struct work *w)
{
	uint8_t k[1 + sizeof(struct id)];
	DBT key, data;
	int rc;

	memset(&w->row, 0, sizeof w->row);
	dbt_in(&key, k, row_key(w->key, k));
	dbt_out(&data, &w->row, sizeof w->row);
	rc = at->table[TABLE_MAIN]->get(at->table[TABLE_MAIN], txn, &key, &data, DB_RMW);
	w->there = rc == 0 && w->row.magic == ROW_MAGIC &&
		   data.size >= offsetof(struct access_row, sealed) &&
		   w->row.sealed_bytes == data.size - offsetof(struct access_row, sealed);
	/* too small: of a newer version, which has more to say */
	return rc == DB_NOTFOUND || rc == DB_BUFFER_SMALL ? 0 : rc;
}

static int
put_row(struct attach *at, DB_TXN *txn, struct work *w)
{
	uint8_t k[1 + sizeof(struct id)];
	DBT key, data;

	dbt_in(&key, k, row_key(w->key, k));
	dbt_in(&data, &w->row, offsetof(struct access_row, sealed) + w->row.sealed_bytes);
	return at->table[TABLE_MAIN]->put(at->table[TABLE_MAIN], txn, &key, &data, 0);
}

int
access_forget(struct attach *at, DB_TXN *txn, struct id key)
{
	uint8_t k[1 + sizeof(struct id)];
	DBT at_key;

	dbt_in(&at_key, k, row_key(key, k));
	return at->table[TABLE_MAIN]->del(at->table[TABLE_MAIN], txn, &at_key, 0);
}

static bool
is_ours(const struct work *w)
{
	struct roster_owner self = roster_self(w->s->roster);

	return w->row.incarnation == self.incarnation && w->row.slot == self.slot;
}

/* Does another process fetch one?  It may have died over it. */
static bool
is_busy(const struct work *w, int64_t now_ms)
{
	struct roster_owner owner = { w->row.slot, w->row.incarnation };

	return w->row.incarnation != 0 && !is_ours(w) && now_ms < w->row.claim_until_ms &&
	       !roster_is_dead(w->s->roster, owner);
}

/* ---- claiming ---- */

static int
answer(struct work *w, int what, int64_t retry_ms)
{
	w->out->what = what;
	w->out->retry_ms = retry_ms;
	return 0;
}

static int
answer_failing(struct work *w)
{
	w->out->refused = w->row.refused != 0;
	memcpy(w->out->why, w->row.why, sizeof w->out->why);
	w->out->why[sizeof w->out->why - 1] = '\0';
	return answer(w, ACCESS_FAILING, w->row.retry_ms);
}

static int
claim(struct attach *at, DB_TXN *txn, void *arg, struct err *err)
{
	struct work *w = arg;
	struct roster_owner self = roster_self(w->s->roster);
	int64_t now_ms = w->now_ms;
	bool has, refused, ours;
	int rc = row_get(at, txn, w);

	(void)err;
	if (rc != 0)
		return rc;
	if (!w->there || memcmp(w->row.of, w->name->of, SHA256_BYTES) != 0) {
		memset(&w->row, 0, sizeof w->row);
		w->row.magic = ROW_MAGIC;
		memcpy(w->row.of, w->name->of, SHA256_BYTES);
	}
	ours = w->row.incarnation != 0 && is_ours(w) && now_ms < w->row.claim_until_ms;
	has = w->row.number != 0 && now_ms < w->row.until_ms && !w->broken;
	refused = has && w->row.number == w->refused;
	if (has && !refused && now_ms < w->row.refresh_ms)
		return answer(w, ACCESS_THERE, 0);
	if (!ours) { /* one that was made in an attempt before this one holds */
		bool kept = refused && now_ms < w->row.renewed_ms + ACCESS_RENEW_MS;

		if (is_busy(w, now_ms))
			return answer(w, has && !refused ? ACCESS_THERE : ACCESS_BUSY, 0);
		if (now_ms < w->row.retry_ms)
			return has && !refused ? answer(w, ACCESS_THERE, 0) : answer_failing(w);
		if (kept)
			return answer(w, ACCESS_KEPT, w->row.renewed_ms + ACCESS_RENEW_MS);
	}
	w->row.slot = self.slot;
	w->row.incarnation = self.incarnation;
	w->row.claim_until_ms = now_ms + ACCESS_CLAIM_MS;
	if (refused)
		w->row.renewed_ms = now_ms;
	w->has = has && !refused;
	(void)answer(w, ACCESS_CLAIMED, 0);
	return put_row(at, txn, w);
}

/* The token of a row that was read.  0 or -1. */
static int
unseal(struct store *s, struct id key, const struct access_row *row, struct access_token *out)
{
	size_t at = 0, len = 0;
	struct sealed piece;
	struct err ignored = { 0 };

	while (at + 2 <= row->sealed_bytes) {
		ptrdiff_t n;

		memcpy(&piece.len, row->sealed + at, 2);
		at += 2;
		if (piece.len > SEALED_BYTES || piece.len > row->sealed_bytes - at)
			return -1;
		memcpy(piece.data, row->sealed + at, piece.len);
		at += piece.len;
		n = store_unseal(s, key, &piece, out->text + len, sizeof out->text - len, &ignored);
		if (n < 0)
			return -1;
		len += (size_t)n;
	}
	out->number = row->number;
	out->refresh_ms = row->refresh_ms;
	out->until_ms = row->until_ms;
	return len > 0 ? 0 : -1;
}

int
store_access_claim(struct store *s, const struct access_name *name, uint64_t refused,
	int64_t now_ms, struct access_answer *out, struct err *err)
{
	struct work w = { .s = s,
		.key = name->key,
		.name = name,
		.refused = refused,
		.now_ms = now_ms,
		.out = out };

	memset(out, 0, sizeof *out);
	if (store_txn(s, "looking for an access token", DB_TXN_WRITE_NOSYNC, claim, &w, err) != 0)
		return -1;
	if ((out->what != ACCESS_THERE && !w.has) || unseal(s, name->key, &w.row, &out->token) == 0)
		return 0;
	memset(&out->token, 0, sizeof out->token);
	if (out->what == ACCESS_CLAIMED)
		return 0;
	log_write(LOG_WARN, "access",
		"a stored access token cannot be unsealed; a new one is fetched");
	w.broken = true;
	return store_txn(s, "looking for an access token", DB_TXN_WRITE_NOSYNC, claim, &w, err);
}

/* ---- the end of a claim ---- */

/* Is the row still one that this process may write for that name? */
static bool
may_end(const struct work *w, const struct access_name *name)
{
	if (!w->there)
		return true;
	return memcmp(w->row.of, name->of, SHA256_BYTES) == 0 &&
	       (w->row.incarnation == 0 || is_ours(w));
}

static int
put_token(struct attach *at, DB_TXN *txn, void *arg, struct err *err)
{
	struct work *w = arg;
	int64_t renewed_ms;
	int rc = row_get(at, txn, w);

	(void)err;
	if (rc != 0 || !may_end(w, w->name))
		return rc;
	renewed_ms = w->there ? w->row.renewed_ms : 0;
	w->row = *w->news;
	w->row.renewed_ms = renewed_ms;
	return put_row(at, txn, w);
}

static int
seal(struct store *s, struct id key, const char *text, struct access_row *row, struct err *err)
{
	size_t len = strlen(text);
	struct sealed piece;

	row->sealed_bytes = 0;
	for (size_t at = 0; at < len; at += PIECE_BYTES) {
		size_t n = len - at < PIECE_BYTES ? len - at : PIECE_BYTES;

		if (store_seal(s, key, (struct span){ text + at, n }, &piece, err) != 0)
			return -1;
		memcpy(row->sealed + row->sealed_bytes, &piece.len, 2);
		memcpy(row->sealed + row->sealed_bytes + 2, piece.data, piece.len);
		row->sealed_bytes += 2 + (uint32_t)piece.len;
	}
	return 0;
}

int
store_access_put(struct store *s, const struct access_name *name, const struct access_token *token,
	struct err *err)
{
	struct access_row news = { .magic = ROW_MAGIC,
		.number = token->number,
		.refresh_ms = token->refresh_ms,
		.until_ms = token->until_ms };
	struct work w = { .s = s, .key = name->key, .name = name, .news = &news };

	if (strnlen(token->text, sizeof token->text) == sizeof token->text)
		return err_set(err, ERR_INTERNAL, "an access token without an end");
	memcpy(news.of, name->of, SHA256_BYTES);
	if (seal(s, name->key, token->text, &news, err) != 0)
		return -1;
	return store_txn(s, "keeping an access token", DB_TXN_WRITE_NOSYNC, put_token, &w, err);
}

static int
put_failure(struct attach *at, DB_TXN *txn, void *arg, struct err *err)
{
	struct work *w = arg;
	int rc = row_get(at, txn, w);

	(void)err;
	if (rc != 0 || !may_end(w, w->name))
		return rc;
	if (!w->there) {
		memset(&w->row, 0, sizeof w->row);
		w->row.magic = ROW_MAGIC;
		memcpy(w->row.of, w->name->of, SHA256_BYTES);
	}
	/* again after a recovery, when the claim was ended already: counted once more, no harm */
	w->row.failures++;
	w->row.refused = w->news->refused;
	memcpy(w->row.why, w->news->why, sizeof w->row.why);
	w->row.retry_ms = w->now_ms + access_wait_ms(w->row.failures, w->row.refused != 0);
	w->row.incarnation = 0;
	w->done = true;
	return put_row(at, txn, w);
}

int
store_access_fail(struct store *s, const struct access_name *name, bool refused, int64_t now_ms,
	const char *why, int64_t *retry_ms, struct err *err)
{
	struct access_row news = { .refused = refused };
	struct work w = { .s = s, .key = name->key, .name = name, .now_ms = now_ms, .news = &news };

	*retry_ms = now_ms + access_wait_ms(1, refused);
	(void)snprintf(news.why, sizeof news.why, "%s", why);
	if (store_txn(s, "noting a failure", DB_TXN_WRITE_NOSYNC, put_failure, &w, err) != 0)
		return -1;
	if (w.done)
		*retry_ms = w.row.retry_ms;
	return 0;
}
