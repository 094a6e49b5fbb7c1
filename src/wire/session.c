/*
 * session.c - members are hashed as they stand: a client that writes the same prompt anew writes it alike.
 */
#include "wire/session.h"

#include "base/hash.h"
#include "base/json.h"
#include "wire/wire-int.h"
#include <string.h>

#define SESSION_MARK "session_"

enum member { CACHE_KEY, METADATA, PREVIOUS, TURNS, PREFIX, MEMBERS };
static const struct {
	const char *name;
	enum member what;
} names[] = {
	{ "prompt_cache_key", CACHE_KEY },
	{ "metadata", METADATA },
	{ "previous_response_id", PREVIOUS },
	{ "messages", TURNS },
	{ "contents", TURNS },
	{ "input", TURNS },
	{ "prompt", TURNS },
	{ "system", PREFIX },
	{ "instructions", PREFIX },
	{ "systemInstruction", PREFIX },
	{ "system_instruction", PREFIX },
	{ "tools", PREFIX },
	{ "functions", PREFIX },
	{ "toolConfig", PREFIX },
};

struct walk {
	struct json_value found[MEMBERS];
	uint64_t hash;
};

static bool
note_member(void *ctx, const struct json_member *m)
{
	struct walk *w = ctx;
	char room[WIRE_KEY_BYTES];
	struct span key = wire_key(m->key, room);

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		if (!span_is(key, names[i].name))
			continue;
		/* in whatever order they come */
		if (names[i].what == PREFIX)
			w->hash ^= hash_64(m->value.raw.at, m->value.raw.len, i + 1);
		else
			w->found[names[i].what] = m->value;
		break;
	}
	return true;
}

/* Turns up to the user's first: instructions whole, of that one the beginning. */
static bool
hash_turn(void *ctx, const struct json_member *m)
{
	struct walk *w = ctx;
	char role[16] = "user";
	struct span raw = m->value.raw;
	bool user;

	if (m->value.type == JSON_OBJECT)
		wire_copy_string(json_get(raw, "role"), role, sizeof role);
	user = strcmp(role, "system") != 0 && strcmp(role, "developer") != 0;
	if (user && raw.len > SESSION_TURN_BYTES)
		raw.len = SESSION_TURN_BYTES;
	w->hash = hash_64(raw.at, raw.len, w->hash);
	return !user;
}

static bool
take(struct json_value v, struct session *out)
{
	wire_copy_string(v, out->id, sizeof out->id);
	return out->id[0] != '\0';
}

static void
find_id(const struct walk *w, struct session *out)
{
	struct json_value metadata = w->found[METADATA];
	char user[256], *mark;

	if (take(w->found[CACHE_KEY], out))
		return;
	if (metadata.type == JSON_OBJECT && take(json_get(metadata.raw, "session_id"), out))
		return;
	if (take(w->found[PREVIOUS], out) || metadata.type != JSON_OBJECT)
		return;
	user[0] = '\0';
	wire_copy_string(json_get(metadata.raw, "user_id"), user, sizeof user);
	mark = strstr(user, SESSION_MARK);
	if (mark != NULL)
		(void)span_copy(span_of(mark + strlen(SESSION_MARK)), out->id, sizeof out->id);
}

void
session_find(const struct request_source *source, struct session *out)
{
	static const char *const headers[] = { "session_id", "session-id", "x-session-id" };
	struct walk w = { .hash = 0 };
	struct json_value turns;

	*out = (struct session){ .prompt_hash = 0 };
	for (size_t i = 0; source->header != NULL && i < sizeof headers / sizeof headers[0]; i++)
		if (out->id[0] == '\0')
			(void)span_copy(
				source->header(source->ctx, headers[i]), out->id, sizeof out->id);
	if (source->body.len == 0 || json_each(source->body, note_member, &w, NULL) != 0)
		return;
	if (out->id[0] == '\0')
		find_id(&w, out);
	turns = w.found[TURNS];
	if (turns.type == JSON_ARRAY) {
		(void)json_each_element(turns.raw, hash_turn, &w, NULL);
	} else if (turns.type == JSON_STRING) {
		struct json_member one = { .value = turns };

		(void)hash_turn(&w, &one);
	}
	out->prompt_hash = w.hash;
}
