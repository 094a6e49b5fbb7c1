/*
 * words.c - the dictionary of names that rows and rollups hold as numbers.
 *
 * A caller chooses model names, so each dimension has a ceiling: beyond it a new text is
 * WORD_OTHER.  Numbers never change, so what was read once is kept for the attachment's life.
 */
#include "store/store-int.h"

#include <stdlib.h>
#include <string.h>

static const struct {
	const char *counter;
	uint32_t ceiling;
} dimensions[WORD__DIMENSIONS] = {
	[WORD_MODEL] = { "words.model", 2000 },
	[WORD_UPSTREAM_MODEL] = { "words.upstream_model", 2000 },
	[WORD_ENDPOINT] = { "words.endpoint", 500 },
	[WORD_END_USER] = { "words.end_user", 50000 },
	[WORD_TAG] = { "words.tag", 5000 },
	[WORD_TIER] = { "words.tier", 100 },
};

#define FIRST_NUMBER 2u
#define BUCKETS      4096u

struct word {
	struct word *next;
	uint32_t number;
	char text[];
};

struct words {
	pthread_mutex_t lock; /* never held over Berkeley DB */
	struct word *bucket[WORD__DIMENSIONS][BUCKETS];
	struct word **by_number[WORD__DIMENSIONS];
};

struct words *
words_new(void)
{
	struct words *w = calloc(1, sizeof *w);

	if (w != NULL)
		(void)pthread_mutex_init(&w->lock, NULL);
	return w;
}

void
words_free(struct words *w)
{
	if (w == NULL)
		return;
	for (int d = 0; d < WORD__DIMENSIONS; d++) {
		for (uint32_t i = 0; i < BUCKETS; i++) {
			for (struct word *p = w->bucket[d][i], *next; p != NULL; p = next) {
				next = p->next;
				free(p);
			}
		}
		free(w->by_number[d]);
	}
	(void)pthread_mutex_destroy(&w->lock);
	free(w);
}

static uint32_t
bucket_of(const char *text, size_t len)
{
	return (uint32_t)(hash_64(text, len, 0) % BUCKETS);
}

static uint32_t
cached_number(struct words *w, enum dimension d, const char *text, size_t len)
{
	uint32_t number = WORD_NONE;

	(void)pthread_mutex_lock(&w->lock);
	for (struct word *p = w->bucket[d][bucket_of(text, len)]; p != NULL; p = p->next) {
		if (strcmp(p->text, text) == 0) {
			number = p->number;
			break;
		}
	}
	(void)pthread_mutex_unlock(&w->lock);
	return number;
}

/* Keeps it if memory allows; it is only a cache. */
static void
keep(struct words *w, enum dimension d, const char *text, size_t len, uint32_t number)
{
	uint32_t ceiling = dimensions[d].ceiling + FIRST_NUMBER;
	struct word *word;

	if (number >= ceiling || (word = malloc(sizeof *word + len + 1)) == NULL)
		return;
	word->number = number;
	memcpy(word->text, text, len + 1);
	(void)pthread_mutex_lock(&w->lock);
	if (w->by_number[d] == NULL)
		w->by_number[d] = calloc(ceiling, sizeof(struct word *));
	if (w->by_number[d] == NULL || w->by_number[d][number] != NULL) {
		(void)pthread_mutex_unlock(&w->lock);
		free(word);
		return;
	}
	w->by_number[d][number] = word;
	word->next = w->bucket[d][bucket_of(text, len)];
	w->bucket[d][bucket_of(text, len)] = word;
	(void)pthread_mutex_unlock(&w->lock);
}

static size_t
key_of_text(uint8_t *key, enum dimension d, const char *text, size_t len)
{
	key[0] = KEY_WORD;
	key[1] = (uint8_t)d;
	memcpy(key + 2, text, len);
	return len + 2;
}

static int
get_number(struct attach *at, DB_TXN *txn, enum dimension d, const char *text, size_t len,
	uint32_t *number)
{
	uint8_t k[WORD_BYTES + 2], b[4];
	DBT key, data;
	int rc;

	dbt_in(&key, k, key_of_text(k, d, text, len));
	dbt_out(&data, b, sizeof b);
	rc = at->table[TABLE_MAIN]->get(at->table[TABLE_MAIN], txn, &key, &data, 0);
	*number = rc == 0 ? get_be32(b) : WORD_NONE;
	return rc == DB_NOTFOUND ? 0 : rc;
}

int
words_lookup(struct attach *at, enum dimension d, const char *text, uint32_t *number)
{
	char word[WORD_BYTES];
	size_t len = strnlen(text, WORD_BYTES - 1);
	int rc;

	*number = WORD_NONE;
	if (len == 0)
		return 0;
	memcpy(word, text, len);
	word[len] = '\0';
	if ((*number = cached_number(at->words, d, word, len)) != WORD_NONE)
		return 0;
	if ((rc = get_number(at, NULL, d, word, len, number)) == 0 && *number != WORD_NONE)
		keep(at->words, d, word, len, *number);
	return rc;
}

int
words_text(struct attach *at, enum dimension d, uint32_t number, char out[WORD_BYTES])
{
	uint8_t k[6] = { KEY_WORD_NO, (uint8_t)d };
	struct words *w = at->words;
	DBT key, data;
	int rc;

	out[0] = '\0';
	if (number == WORD_NONE)
		return 0;
	if (number == WORD_OTHER) {
		memcpy(out, "other", 6);
		return 0;
	}
	if (number < dimensions[d].ceiling + FIRST_NUMBER) {
		(void)pthread_mutex_lock(&w->lock);
		if (w->by_number[d] != NULL && w->by_number[d][number] != NULL)
			memcpy(out, w->by_number[d][number]->text,
				strlen(w->by_number[d][number]->text) + 1);
		(void)pthread_mutex_unlock(&w->lock);
		if (out[0] != '\0')
			return 0;
	}
	put_be32(k + 2, number);
	dbt_in(&key, k, sizeof k);
	dbt_out(&data, out, WORD_BYTES - 1);
	rc = at->table[TABLE_MAIN]->get(at->table[TABLE_MAIN], NULL, &key, &data, 0);
	if (rc == 0) {
		out[data.size] = '\0';
		keep(w, d, out, data.size, number);
	}
	return rc == DB_NOTFOUND ? 0 : rc;
}

struct making {
	enum dimension d;
	char text[WORD_BYTES];
	size_t len;
	uint32_t number;
};

static int
count_get(struct attach *at, DB_TXN *txn, enum dimension d, u_int32_t flags, uint8_t *k, DBT *key,
	uint64_t *count)
{
	size_t len = strlen(dimensions[d].counter);
	uint8_t b[8];
	DBT data;
	int rc;

	k[0] = KEY_COUNTER;
	memcpy(k + 1, dimensions[d].counter, len);
	dbt_in(key, k, len + 1);
	dbt_out(&data, b, sizeof b);
	rc = at->table[TABLE_MAIN]->get(at->table[TABLE_MAIN], txn, key, &data, flags);
	*count = rc == 0 ? get_be64(b) : 0;
	return rc == DB_NOTFOUND ? 0 : rc;
}

static int
make(struct attach *at, DB_TXN *txn, void *arg, struct err *err)
{
	struct making *m = arg;
	DB *db = at->table[TABLE_MAIN];
	uint8_t k[WORD_BYTES + 2], b[8];
	DBT key, data;
	uint64_t count;
	int rc;

	(void)err;
	/* The counter first: it is what others wait for, so two that make the same word are told
	 * apart here and not by a deadlock. */
	if ((rc = count_get(at, txn, m->d, DB_RMW, k, &key, &count)) != 0)
		return rc;
	if ((rc = get_number(at, txn, m->d, m->text, m->len, &m->number)) != 0 ||
		m->number != WORD_NONE)
		return rc;
	if (count >= dimensions[m->d].ceiling) {
		m->number = WORD_OTHER;
		return 0;
	}
	put_be64(b, count + 1);
	dbt_in(&data, b, sizeof b);
	if ((rc = db->put(db, txn, &key, &data, 0)) != 0)
		return rc;
	m->number = (uint32_t)count + FIRST_NUMBER;
	put_be32(b, m->number);
	dbt_in(&key, k, key_of_text(k, m->d, m->text, m->len));
	dbt_in(&data, b, 4);
	if ((rc = db->put(db, txn, &key, &data, 0)) != 0)
		return rc;
	k[0] = KEY_WORD_NO;
	put_be32(k + 2, m->number);
	dbt_in(&key, k, 6);
	dbt_in(&data, m->text, m->len);
	return db->put(db, txn, &key, &data, 0);
}

struct room {
	enum dimension d;
	uint64_t count;
};

static int
how_full(struct attach *at, void *arg, struct err *err)
{
	struct room *r = arg;
	uint8_t k[WORD_BYTES];
	DBT key;

	(void)err;
	return count_get(at, NULL, r->d, 0, k, &key, &r->count);
}

int
words_number(struct store *s, enum dimension d, const char *text, uint32_t *number, struct err *err)
{
	struct making m = { .d = d, .len = strnlen(text, WORD_BYTES - 1) };
	struct room r = { .d = d };

	*number = WORD_NONE;
	if (m.len == 0)
		return 0;
	/* No transaction for each of the many that come when it is full. */
	if (store_call(s, "booking", how_full, &r, err) != 0)
		return -1;
	if (r.count >= dimensions[d].ceiling) {
		*number = WORD_OTHER;
		return 0;
	}
	memcpy(m.text, text, m.len);
	if (store_txn(s, "booking", DB_TXN_WRITE_NOSYNC, make, &m, err) != 0)
		return -1;
	*number = m.number;
	return 0;
}
