/*
 * row.c - the form of a row of usage on disk.
 *
 * A row is ROW_BYTES long for ever: the queue's record length is fixed when the store is made.  It
 * has fields at fixed places, three texts, and behind the texts what was added later, in the order
 * in which it was added.  Whatever is behind it is zeros, so a row of an older program reads as if
 * the new fields were empty, and an older program reads a newer row up to where its knowledge ends.
 * Its zero must mean "none".
 *
 * Last comes the decision, where the texts leave it room: they rarely take half of theirs, so that
 * of a request with few keys it costs nothing.  A longer one stands in a table of its own, under the
 * row's number: a btree, as their lengths differ tenfold and few rows have any.  A new field goes
 * behind it, in pass_decision()'s place.
 */
#include "store/store-int.h"

#include "base/log.h"
#include <errno.h>
#include <string.h>

#define ROW_LAYOUT 1 /* of the fields at fixed places: another means another queue */

enum dimension
row_dimension(int word)
{
	if (word >= ROW_TAG)
		return WORD_TAG;
	return word == ROW_TIER ? WORD_TIER : (enum dimension)word;
}

const char *
row_word(const struct usage_row *row, int word)
{
	switch (word) {
	case ROW_MODEL:
		return row->model;
	case ROW_UPSTREAM_MODEL:
		return row->upstream_model;
	case ROW_ENDPOINT:
		return row->endpoint;
	case ROW_END_USER:
		return row->end_user;
	case ROW_TIER:
		return row->tier;
	default:
		return row->tags[word - ROW_TAG];
	}
}

static void
set_word(struct usage_row *row, int word, const char *text)
{
	struct span s = span_of(text);

	switch (word) {
	case ROW_MODEL:
		(void)span_copy(s, row->model, sizeof row->model);
		return;
	case ROW_UPSTREAM_MODEL:
		(void)span_copy(s, row->upstream_model, sizeof row->upstream_model);
		return;
	case ROW_ENDPOINT:
		(void)span_copy(s, row->endpoint, sizeof row->endpoint);
		return;
	case ROW_END_USER:
		(void)span_copy(s, row->end_user, sizeof row->end_user);
		return;
	case ROW_TIER:
		(void)span_copy(s, row->tier, sizeof row->tier);
		return;
	default:
		(void)span_copy(s, row->tags[word - ROW_TAG], sizeof row->tags[0]);
	}
}

/* One pass of these writes, another reads, so the two cannot differ. */
struct pass {
	uint8_t *at;
	bool reading;
};

static void
pass_bytes(struct pass *p, void *data, size_t len)
{
	if (p->reading)
		memcpy(data, p->at, len);
	else
		memcpy(p->at, data, len);
	p->at += len;
}

/* The low `len` bytes of an unsigned number, big-endian. */
static uint64_t
pass_number(struct pass *p, uint64_t value, size_t len)
{
	if (p->reading) {
		value = 0;
		for (size_t i = 0; i < len; i++)
			value = value << 8 | p->at[i];
	} else {
		for (size_t i = 0; i < len; i++)
			p->at[i] = (uint8_t)(value >> 8 * (len - 1 - i));
	}
	p->at += len;
	return value;
}

/* Tokens take 40 bits: nobody has used a million million in one exchange. */
#define TOKENS_MAX ((1LL << 40) - 1)

static void
pass_tokens(struct pass *p, int64_t *n)
{
	int64_t held = *n < 0 ? 0 : *n > TOKENS_MAX ? TOKENS_MAX : *n;

	*n = (int64_t)pass_number(p, (uint64_t)held, 5);
}

static void
pass_text(struct pass *p, char *text, size_t room, const uint8_t *end)
{
	size_t left = (size_t)(end - p->at) - 1;
	size_t len = p->reading ? p->at[0] : strnlen(text, room - 1);

	if (len > left)
		len = left;
	if (len > room - 1)
		len = room - 1;
	*p->at++ = (uint8_t)len;
	pass_bytes(p, text, len);
	if (p->reading)
		text[len] = '\0';
}

/* Nothing is read behind `end`. */
static uint64_t
pass_varint(struct pass *p, uint64_t value, const uint8_t *end)
{
	const uint8_t *at = p->at;

	if (p->reading) {
		value = get_varint(&at, end);
		p->at += at - p->at;
	} else {
		p->at = put_varint(p->at, value);
	}
	return value;
}

static void
pass_amount(struct pass *p, int64_t *n, const uint8_t *end)
{
	int64_t held = *n < 0 ? 0 : *n > TOKENS_MAX ? TOKENS_MAX : *n;

	*n = (int64_t)(pass_varint(p, (uint64_t)held, end) & (uint64_t)TOKENS_MAX);
}

static void
pass_fixed(struct pass *p, struct usage_row *r, uint32_t words[ROW_WORDS])
{
	pass_bytes(p, r->exchange.b, sizeof r->exchange.b);
	r->time_ms = (int64_t)pass_number(p, (uint64_t)r->time_ms, 8);
	pass_bytes(p, r->project.b, sizeof r->project.b);
	pass_bytes(p, r->token.b, sizeof r->token.b);
	pass_bytes(p, r->upstream.b, sizeof r->upstream.b);
	pass_bytes(p, r->key.b, sizeof r->key.b);
	for (int w = ROW_MODEL; w <= ROW_END_USER; w++)
		words[w] = (uint32_t)pass_number(p, words[w], 4);
	r->status = (uint16_t)pass_number(p, r->status, 2);
	r->err_code = (uint16_t)pass_number(p, r->err_code, 2);
	r->ended_by = (uint8_t)pass_number(p, r->ended_by, 1);
	r->usage_source = (uint8_t)pass_number(p, r->usage_source, 1);
	r->stream = (uint8_t)pass_number(p, r->stream, 1);
	r->attempts = (uint8_t)pass_number(p, r->attempts, 1);
	r->duration_ms = (uint32_t)pass_number(p, r->duration_ms, 4);
	r->ttfb_ms = (uint32_t)pass_number(p, r->ttfb_ms, 4);
	pass_tokens(p, &r->tokens.input);
	pass_tokens(p, &r->tokens.cache_read);
	pass_tokens(p, &r->tokens.cache_write);
	pass_tokens(p, &r->tokens.cache_write_1h);
	pass_tokens(p, &r->tokens.output);
	pass_tokens(p, &r->tokens.reasoning);
	r->cost_nusd = (int64_t)pass_number(p, (uint64_t)r->cost_nusd, 8);
}

/* The texts share what is left up to `end`, an error takes the rest: what is cut is its end. */
static void
pass_texts(struct pass *p, struct usage_row *r, const uint8_t *end)
{
	pass_text(p, r->upstream_request_id, sizeof r->upstream_request_id, end - 2);
	pass_text(p, r->session, sizeof r->session, end - 1);
	pass_text(p, r->error, sizeof r->error, end);
}

/* A text that is hardly ever there: nothing of it where it is not. */
static void
pass_rare_text(struct pass *p, char *text, size_t room, const uint8_t *end)
{
	size_t len = pass_varint(p, p->reading ? 0 : strnlen(text, room - 1), end);

	if (p->reading && (len > room - 1 || len > (size_t)(end - p->at)))
		len = 0;
	pass_bytes(p, text, len);
	if (p->reading)
		text[len] = '\0';
}

#define ADDED_MOST  128
#define ADDED_LEAST 8 /* the address is there whole */
/* The likeliest to be there first: what is nothing at the end takes no room. */
static void
pass_added(struct pass *p, struct usage_row *r, uint32_t words[ROW_WORDS], const uint8_t *end)
{
	if (!p->reading || end - p->at >= ADDED_LEAST)
		r->address = pass_number(p, r->address, 8);
	for (int w = ROW_TIER; w < ROW_WORDS; w++)
		words[w] = (uint32_t)pass_varint(p, words[w], end);
	pass_amount(p, &r->tokens.audio_input, end);
	pass_amount(p, &r->tokens.audio_output, end);
	pass_amount(p, &r->tokens.images, end);
	r->cost_stated = (uint8_t)(pass_varint(p, r->cost_stated, end) & 1);
	pass_rare_text(p, r->dropped, sizeof r->dropped, end);
}

/* Behind all else, where there is room: hardly any row needs all of its texts'. */
static void
pass_decision(struct pass *p, struct usage_row *r, const uint8_t *end)
{
	size_t len = pass_varint(p, r->decision_len, end);

	if (p->reading && (len > sizeof r->decision || len > (size_t)(end - p->at)))
		len = 0;
	pass_bytes(p, r->decision, len);
	r->decision_len = (uint16_t)len;
}

#define CRC_BYTES     4
#define DECISION_HEAD 2 /* its length */

static size_t
texts_bytes(const struct usage_row *r)
{
	return 3 + strnlen(r->upstream_request_id, sizeof r->upstream_request_id - 1) +
	       strnlen(r->session, sizeof r->session - 1) + strnlen(r->error, sizeof r->error - 1);
}

bool
row_write(struct row_disk *disk, const struct usage_row *row, const uint32_t words[ROW_WORDS])
{
	struct usage_row copy = *row;
	uint32_t numbers[ROW_WORDS];
	uint8_t added[ADDED_MOST] = { 0 };
	struct pass p = { .at = added };
	uint8_t *const end = disk->at + ROW_BYTES - CRC_BYTES;
	size_t len, whole;
	bool fits;

	memcpy(numbers, words, sizeof numbers);
	pass_added(&p, &copy, numbers, added + sizeof added);
	for (len = whole = (size_t)(p.at - added); len > 0 && added[len - 1] == 0; len--)
		;
	if (len > 0 && len < ADDED_LEAST)
		len = ADDED_LEAST;
	memset(disk, 0, sizeof *disk);
	disk->at[0] = ROW_LAYOUT;
	p.at = disk->at + 1;
	pass_fixed(&p, &copy, numbers);
	fits = texts_bytes(row) + whole + DECISION_HEAD + row->decision_len <= (size_t)(end - p.at);
	if (fits && row->decision_len > 0)
		len = whole;
	pass_texts(&p, &copy, end - len);
	memcpy(p.at, added, len);
	p.at += len;
	if (fits && row->decision_len > 0)
		pass_decision(&p, &copy, end);
	put_be32(disk->at + ROW_BYTES - CRC_BYTES, hash_crc32(disk->at, ROW_BYTES - CRC_BYTES));
	return fits || row->decision_len == 0;
}

/* 0, DB_NOTFOUND, DB_KEYEMPTY: a hole, or EILSEQ: damaged. */
static int
row_get(struct attach *at, DB_TXN *txn, u_int32_t flags, uint32_t recno, struct row_disk *disk)
{
	DB *db = at->table[TABLE_ROWS];
	db_recno_t number = recno;
	DBT key, data;
	int rc;

	dbt_in(&key, &number, sizeof number);
	dbt_out(&data, disk, sizeof *disk);
	if ((rc = db->get(db, txn, &key, &data, flags)) != 0)
		return rc;
	if (data.size == ROW_BYTES && disk->at[0] == ROW_LAYOUT &&
		get_be32(disk->at + ROW_BYTES - CRC_BYTES) ==
			hash_crc32(disk->at, ROW_BYTES - CRC_BYTES))
		return 0;
	log_write(LOG_ERROR, "store", "row %u is damaged and left out", recno);
	return EILSEQ;
}

int
row_load(struct attach *at, DB_TXN *txn, u_int32_t flags, uint32_t recno, struct stored_row *out,
	bool *there)
{
	struct row_disk disk;
	const uint8_t *end = disk.at + ROW_BYTES - CRC_BYTES;
	struct pass p = { .at = disk.at + 1, .reading = true };
	int rc = row_get(at, txn, flags, recno, &disk);

	*there = rc == 0;
	if (rc != 0)
		return rc == DB_KEYEMPTY || rc == EILSEQ ? 0 : rc;
	memset(out, 0, sizeof *out);
	out->recno = recno;
	pass_fixed(&p, &out->row, out->words);
	pass_texts(&p, &out->row, end);
	pass_added(&p, &out->row, out->words, end);
	return 0;
}

/* In place: what a newer program added behind the fields we know stays. */
int
row_set_cost(struct attach *at, DB_TXN *txn, uint32_t recno, int64_t cost_nusd)
{
	DB *db = at->table[TABLE_ROWS];
	db_recno_t number = recno;
	struct row_disk disk;
	struct stored_row r = { 0 };
	struct pass p = { .at = disk.at + 1, .reading = true };
	DBT key, data;
	int rc = row_get(at, txn, DB_RMW, recno, &disk);

	if (rc != 0)
		return rc;
	pass_fixed(&p, &r.row, r.words);
	put_be64(p.at - 8, (uint64_t)cost_nusd); /* the last of them */
	put_be32(disk.at + ROW_BYTES - CRC_BYTES, hash_crc32(disk.at, ROW_BYTES - CRC_BYTES));
	dbt_in(&key, &number, sizeof number);
	dbt_in(&data, &disk, sizeof disk);
	return db->put(db, txn, &key, &data, 0);
}

int
row_name(struct attach *at, struct stored_row *r)
{
	char text[WORD_BYTES];

	for (int w = 0; w < ROW_WORDS; w++) {
		int rc;

		if (r->words[w] == WORD_NONE)
			continue;
		if ((rc = words_text(at, row_dimension(w), r->words[w], text)) != 0)
			return rc;
		set_word(&r->row, w, text);
	}
	return 0;
}

int
row_read(struct attach *at, uint32_t recno, struct usage_row *row, bool *there)
{
	struct stored_row r;
	int rc = row_load(at, NULL, 0, recno, &r, there);

	if (rc != 0 || !*there)
		return rc;
	if ((rc = row_name(at, &r)) == 0)
		*row = r.row;
	return rc;
}

static int
decision_get(struct attach *at, uint32_t recno, struct usage_row *row)
{
	DB *db = at->table[TABLE_DECISIONS];
	uint8_t number[4];
	DBT key, data;
	int rc;

	if (db == NULL)
		return 0;
	put_be32(number, recno);
	dbt_in(&key, number, sizeof number);
	dbt_out(&data, row->decision, sizeof row->decision);
	rc = db->get(db, NULL, &key, &data, 0);
	row->decision_len = rc == 0 ? (uint16_t)data.size : 0;
	/* longer: of a newer program, whose form nobody here can read */
	return rc == DB_NOTFOUND || rc == DB_BUFFER_SMALL ? 0 : rc;
}

int
row_decision(struct attach *at, uint32_t recno, struct usage_row *row)
{
	struct row_disk disk;
	const uint8_t *end = disk.at + ROW_BYTES - CRC_BYTES;
	struct pass p = { .at = disk.at + 1, .reading = true };
	struct stored_row r = { 0 };
	int rc = row_get(at, NULL, 0, recno, &disk);

	row->decision_len = 0;
	if (rc != 0)
		return rc == DB_KEYEMPTY || rc == EILSEQ || rc == DB_NOTFOUND ? 0 : rc;
	pass_fixed(&p, &r.row, r.words);
	pass_texts(&p, &r.row, end);
	pass_added(&p, &r.row, r.words, end);
	pass_decision(&p, row, end);
	return row->decision_len > 0 ? 0 : decision_get(at, recno, row);
}
