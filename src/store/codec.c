/*
 * codec.c - the binary form of records: version byte, then {u16 tag, u32 length, value}, numbers
 * big-endian.  What this program does not know it keeps and writes back.
 */
#include "store/records.h"

#include <string.h>

#define CODEC_VERSION 1
#define ENTRY_HEAD    6
#define REST_CUT      UINT16_MAX /* in rest.len: what was there could not be kept */

struct writer {
	uint8_t *at;
	size_t len, room;
	bool full;
};

static void
put_entry(struct writer *w, uint16_t tag, const void *data, size_t len)
{
	uint8_t *p = w->at + w->len;

	if (w->full || w->room - w->len < ENTRY_HEAD || w->room - w->len - ENTRY_HEAD < len) {
		w->full = true;
		return;
	}
	p[0] = (uint8_t)(tag >> 8);
	p[1] = (uint8_t)tag;
	p[2] = (uint8_t)(len >> 24);
	p[3] = (uint8_t)(len >> 16);
	p[4] = (uint8_t)(len >> 8);
	p[5] = (uint8_t)len;
	memcpy(p + ENTRY_HEAD, data, len);
	w->len += ENTRY_HEAD + len;
}

static void
put_number(struct writer *w, uint16_t tag, int64_t number)
{
	uint64_t v = (uint64_t)number;
	uint8_t b[8];

	for (int i = 7; i >= 0; i--, v >>= 8)
		b[i] = (uint8_t)v;
	put_entry(w, tag, b, sizeof b);
}

static void
put_field(struct writer *w, const struct field *f, const uint8_t *at)
{
	switch (f->type) {
	case FIELD_TEXT:
	case FIELD_LIST:
	case FIELD_LIST_INT: {
		size_t len = strnlen((const char *)at, f->size);

		if (len == f->size)
			w->full = true; /* no NUL: not a text */
		else if (len > 0 || f->fallback != NULL)
			put_entry(w, f->tag, at, len);
		return;
	}
	case FIELD_ID: {
		struct id id;

		memcpy(&id, at, sizeof id);
		if (!id_is_none(id))
			put_entry(w, f->tag, at, sizeof id);
		return;
	}
	case FIELD_HASH:
		put_entry(w, f->tag, at, SHA256_BYTES);
		return;
	case FIELD_SEALED: {
		const struct sealed *sealed = (const void *)at;

		if (sealed->len > SEALED_BYTES)
			w->full = true;
		else if (sealed->len > 0)
			put_entry(w, f->tag, sealed->data, sealed->len);
		return;
	}
	case FIELD_BOOL: {
		uint8_t byte = *(const bool *)at ? 1 : 0;

		put_entry(w, f->tag, &byte, 1);
		return;
	}
	case FIELD_ENUM: {
		int32_t value;

		memcpy(&value, at, sizeof value);
		put_number(w, f->tag, value);
		return;
	}
	case FIELD_INT:
	case FIELD_MS:
	case FIELD_TIME:
	case FIELD_MONEY: {
		int64_t value;

		memcpy(&value, at, sizeof value);
		put_number(w, f->tag, value);
		return;
	}
	}
}

ptrdiff_t
record_encode(enum record_kind kind, const void *record, uint8_t *out, size_t room)
{
	const struct record *head = record;
	struct writer w = { .at = out, .room = room };
	size_t count;
	const struct field *fields = record_fields(kind, &count);

	if (room < 1 || head->rest.len > RECORD_REST_BYTES)
		return -1;
	out[w.len++] = CODEC_VERSION;
	for (size_t i = 0; i < count; i++)
		put_field(&w, &fields[i], (const uint8_t *)record + fields[i].offset);
	if (w.full || w.room - w.len < head->rest.len)
		return -1;
	memcpy(out + w.len, head->rest.data, head->rest.len);
	return (ptrdiff_t)(w.len + head->rest.len);
}

ptrdiff_t
record_field_encode(const struct field *f, const void *record, uint8_t *out, size_t room)
{
	struct writer w = { .at = out, .room = room };

	put_field(&w, f, (const uint8_t *)record + f->offset);
	if (w.full)
		return -1;
	if (w.len == 0)
		return 0;
	w.len -= ENTRY_HEAD;
	memmove(out, out + ENTRY_HEAD, w.len);
	return (ptrdiff_t)w.len;
}

static int
get_number(const uint8_t *data, size_t len, int64_t *out)
{
	uint64_t v = 0;

	if (len != 8)
		return -1;
	for (size_t i = 0; i < 8; i++)
		v = v << 8 | data[i];
	*out = (int64_t)v;
	return 0;
}

/* 0; 1 when a newer program's value does not fit here; -1 damaged. */
static int
get_field(const struct field *f, const uint8_t *data, size_t len, uint8_t *at)
{
	int64_t number;

	switch (f->type) {
	case FIELD_TEXT:
	case FIELD_LIST:
	case FIELD_LIST_INT: {
		size_t fits = len < f->size ? len : f->size - 1;

		memset(at, 0, f->size);
		memcpy(at, data, fits);
		return fits < len ? 1 : 0;
	}
	case FIELD_ID:
		if (len != sizeof(struct id))
			return -1;
		memcpy(at, data, len);
		return 0;
	case FIELD_HASH:
		if (len != SHA256_BYTES)
			return -1;
		memcpy(at, data, len);
		return 0;
	case FIELD_SEALED: {
		struct sealed *sealed = (void *)at;

		if (len > SEALED_BYTES)
			return 1;
		sealed->len = (uint16_t)len;
		memcpy(sealed->data, data, len);
		return 0;
	}
	case FIELD_BOOL:
		if (len != 1)
			return -1;
		*(bool *)at = data[0] != 0;
		return 0;
	case FIELD_ENUM: {
		int32_t value;

		if (get_number(data, len, &number) != 0)
			return -1;
		value = (int32_t)number;
		memcpy(at, &value, sizeof value);
		return 0;
	}
	case FIELD_INT:
	case FIELD_MS:
	case FIELD_TIME:
	case FIELD_MONEY:
		if (get_number(data, len, &number) != 0)
			return -1;
		memcpy(at, &number, sizeof number);
		return 0;
	}
	return -1;
}

int
record_field_decode(const struct field *f, const uint8_t *data, size_t len, void *record)
{
	return get_field(f, data, len, (uint8_t *)record + f->offset) == 0 ? 0 : -1;
}

int
record_decode(enum record_kind kind, const uint8_t *data, size_t len, void *record)
{
	struct record *head = record;
	size_t count, next = 0, at = 1;
	const struct field *fields = record_fields(kind, &count);
	bool cut = false;

	if (len < 1 || data[0] != CODEC_VERSION)
		return -1;
	record_init(kind, record);
	while (at < len) {
		const uint8_t *entry = data + at;
		const struct field *f = NULL;
		uint16_t tag;
		size_t n;

		if (len - at < ENTRY_HEAD)
			return -1;
		tag = (uint16_t)(entry[0] << 8 | entry[1]);
		n = (size_t)entry[2] << 24 | (size_t)entry[3] << 16 | (size_t)entry[4] << 8 |
		    entry[5];
		if (n > len - at - ENTRY_HEAD)
			return -1;
		at += ENTRY_HEAD + n;

		/* They mostly come in the table's order. */
		for (size_t i = 0; i < count && f == NULL; i++) {
			if (fields[next].tag == tag)
				f = &fields[next];
			next = next + 1 < count ? next + 1 : 0;
		}
		if (f != NULL) {
			int rc = get_field(f, entry + ENTRY_HEAD, n, (uint8_t *)record + f->offset);

			if (rc < 0)
				return -1;
			cut |= rc > 0;
		} else if (!cut && RECORD_REST_BYTES - head->rest.len >= (int)(ENTRY_HEAD + n)) {
			memcpy(head->rest.data + head->rest.len, entry, ENTRY_HEAD + n);
			head->rest.len = (uint16_t)(head->rest.len + ENTRY_HEAD + n);
		} else {
			cut = true;
		}
	}
	if (cut)
		head->rest.len = REST_CUT;
	return 0;
}
