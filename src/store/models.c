/*
 * models.c - a list longer than a value may be lies in pieces that bear its stamp; the head, which
 * names the stamp, is written last.
 */
#include "store/models.h"

#include "base/hash.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEAD_MAGIC  UINT32_C(0x6d6f6431) /* in another byte order it is no head */
#define PIECE_BYTES (SETTING_BYTES - sizeof(uint64_t))
#define NAME_ROOM   (ID_TEXT_BYTES + 32)
#define READ_TRIES  3

struct head_value {
	uint32_t magic;
	struct models_head head;
};
_Static_assert(sizeof(struct head_value) <= SETTING_BYTES, "a head is one value");

/* piece 0: the head. */
static void
name_of(struct id upstream, uint32_t piece, char out[NAME_ROOM])
{
	char id[ID_TEXT_BYTES];

	id_text(record_prefix(RECORD_UPSTREAM), upstream, id);
	if (piece == 0)
		(void)snprintf(out, NAME_ROOM, "cache.models.%s", id);
	else
		(void)snprintf(out, NAME_ROOM, "cache.models.%s.%" PRIu32, id, piece);
}

uint64_t
models_of(const struct upstream *u)
{
	uint64_t h = hash_64(u->base_url, strlen(u->base_url), (uint64_t)u->protocol);

	return hash_64(u->resource_group, strlen(u->resource_group), h) | 1;
}

static int
get_head(struct store *s, struct id upstream, struct models_head *head, struct err *err)
{
	struct head_value v;
	char name[NAME_ROOM];
	ptrdiff_t len;

	name_of(upstream, 0, name);
	len = store_value_get(s, name, &v, sizeof v, err);
	if (len < 0)
		return -1;
	if (len != sizeof v || v.magic != HEAD_MAGIC)
		return 0;
	*head = v.head;
	head->why[sizeof head->why - 1] = '\0';
	return 1;
}

static int
put_head(struct store *s, struct id upstream, const struct models_head *head, struct err *err)
{
	struct head_value v;
	char name[NAME_ROOM];

	memset(&v, 0, sizeof v); /* padding too */
	v.magic = HEAD_MAGIC;
	v.head = *head;
	name_of(upstream, 0, name);
	return store_value_put(s, name, &v, sizeof v, err);
}

/* 1 all of it, 0 a piece is missing or of another list, -1. */
static int
get_pieces(struct store *s, struct id upstream, const struct models_head *head, struct bytes *text,
	struct err *err)
{
	uint8_t data[SETTING_BYTES];
	char name[NAME_ROOM];

	for (uint32_t i = 1; i <= head->pieces; i++) {
		uint64_t stamp = 0;
		ptrdiff_t len;

		name_of(upstream, i, name);
		len = store_value_get(s, name, data, sizeof data, err);
		if (len < 0)
			return -1;
		if (len >= (ptrdiff_t)sizeof stamp)
			memcpy(&stamp, data, sizeof stamp);
		if (len < (ptrdiff_t)sizeof stamp || stamp != head->stamp)
			return 0;
		if (bytes_add(text, data + sizeof stamp, (size_t)len - sizeof stamp) != 0)
			return err_set(err, ERR_MEMORY, "no memory for a list of models");
	}
	return 1;
}

int
store_models_get(struct store *s, struct id upstream, struct models_head *head, struct bytes *text,
	struct err *err)
{
	for (int i = 0; i < READ_TRIES; i++) {
		int rc = get_head(s, upstream, head, err);

		if (rc <= 0 || text == NULL)
			return rc;
		bytes_drop(text, text->len);
		if ((rc = get_pieces(s, upstream, head, text, err)) != 0)
			return rc;
	}
	bytes_drop(text, text->len);
	head->at_ms = 0; /* to be asked for again */
	head->count = 0;
	return 1;
}

static int
put_piece(struct store *s, struct id upstream, uint32_t piece, uint64_t stamp, struct span part,
	struct err *err)
{
	uint8_t data[SETTING_BYTES];
	char name[NAME_ROOM];

	memcpy(data, &stamp, sizeof stamp);
	memcpy(data + sizeof stamp, part.at, part.len);
	name_of(upstream, piece, name);
	return store_value_put(s, name, data, sizeof stamp + part.len, err);
}

int
store_models_put(struct store *s, struct id upstream, struct models_head *head, struct span text,
	struct err *err)
{
	struct models_head before = { 0 };
	char name[NAME_ROOM];

	if (text.len > MODELS_TEXT_MAX)
		return err_set(err, ERR_EXCEEDS_LIMIT, "a list of models of %zu bytes", text.len);
	if (get_head(s, upstream, &before, err) < 0)
		return -1;
	/* no two lists have one, and no list the one of its own time before */
	head->stamp = hash_64(text.at, text.len, before.stamp + (uint64_t)head->at_ms) | 1;
	head->pieces = 0;
	while (text.len > 0) {
		struct span part = { text.at, text.len < PIECE_BYTES ? text.len : PIECE_BYTES };

		if (put_piece(s, upstream, ++head->pieces, head->stamp, part, err) != 0)
			return -1;
		text.at += part.len;
		text.len -= part.len;
	}
	if (put_head(s, upstream, head, err) != 0)
		return -1;
	for (uint32_t i = head->pieces + 1; i <= before.pieces; i++) {
		name_of(upstream, i, name);
		if (store_value_delete(s, name, err) != 0)
			return -1;
	}
	return 0;
}

int
store_models_note(
	struct store *s, struct id upstream, const struct models_head *head, struct err *err)
{
	return put_head(s, upstream, head, err);
}

int
store_models_forget(struct store *s, struct id upstream, struct err *err)
{
	struct models_head head;
	char name[NAME_ROOM];
	int rc = get_head(s, upstream, &head, err);

	if (rc <= 0)
		return rc;
	for (uint32_t i = 0; i <= head.pieces; i++) {
		name_of(upstream, i, name);
		if (store_value_delete(s, name, err) != 0)
			return -1;
	}
	return 0;
}

/* ---- the text ---- */

static struct span
take_word(struct span *line)
{
	const char *blank = line->len == 0 ? NULL : memchr(line->at, ' ', line->len);
	struct span word = { line->at, blank == NULL ? line->len : (size_t)(blank - line->at) };
	size_t taken = word.len + (blank != NULL);

	line->at += taken;
	line->len -= taken;
	return word;
}

static bool
read_line(struct span line, struct model_line *out)
{
	struct span context = take_word(&line), flags = take_word(&line);

	out->modality = take_word(&line);
	out->name = line;
	out->is_free = span_is(flags, "f");
	out->context = 0;
	if (span_is(out->modality, "-"))
		out->modality.len = 0;
	for (size_t i = 0; i < context.len && i < 15; i++) {
		if (context.at[i] < '0' || context.at[i] > '9')
			return false;
		out->context = out->context * 10 + (context.at[i] - '0');
	}
	return out->name.len > 0 && out->name.len < MODEL_BYTES;
}

bool
models_next(struct span *text, struct model_line *out)
{
	while (text->len > 0) {
		const char *end = memchr(text->at, '\n', text->len);
		struct span line = { text->at, end == NULL ? text->len : (size_t)(end - text->at) };
		size_t taken = line.len + (end != NULL);

		text->at += taken;
		text->len -= taken;
		if (read_line(line, out))
			return true;
	}
	return false;
}
