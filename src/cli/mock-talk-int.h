/*
 * mock-talk-int.h - what the mock makes of a conversation, whatever protocol it came in: what a protocol
 * heard goes in, what is to be said comes out.  Shares nothing with wire/, whose check it is.
 *
 * One conversation at a time: there is one thread, and buffers are kept between requests.
 */
#ifndef CLI_MOCK_TALK_INT_H
#define CLI_MOCK_TALK_INT_H

#include "base/json.h"
#include "cli/mock-int.h"

#define TALK_CALLS_MOST 8
#define TALK_TOOLS_MOST 64
#define TALK_LIST_MOST  1024
#define TALK_NAME_BYTES 136

enum talk_stop { STOP_END, STOP_LENGTH, STOP_SEQUENCE, STOP_CALLS, STOP_FILTER };

struct talk_name {
	char id[TALK_NAME_BYTES], name[TALK_NAME_BYTES];
	struct span schema;
};

struct talk_call {
	char id[TALK_NAME_BYTES], name[TALK_NAME_BYTES];
	struct bytes args;
};

struct talk {
	/* heard */
	char model[256];
	struct bytes text, results;     /* since the last answer */
	struct bytes notes, system;
	struct talk_name tools[TALK_TOOLS_MOST];
	struct talk_name pending[TALK_TOOLS_MOST]; /* calls without a result yet; id "" when answered */
	int tool_count, pending_count, turns;
	char only[TALK_NAME_BYTES];     /* this tool must be called */
	bool calls_none, calls_must, calls_one;
	bool thinks, thinks_hidden;
	bool json;
	struct span schema;
	int64_t most_output;            /* tokens; 0: no limit */
	char stops[4][64];
	int stop_count;
	int64_t characters;
	bool cache_marks, cache_hour;
	bool has_signed;                /* reasoning came back with a signature of the mock's own */

	/* said */
	struct bytes thinking, said;
	struct talk_call calls[TALK_CALLS_MOST];
	int call_count;
	enum talk_stop stop;
	const char *stopped_by;         /* the sequence */
	int64_t input, cache_read, cache_write_5m, cache_write_1h, output, reasoning;
};

struct talk *talk_begin(void);

/* Hearing. */
void talk_hear(struct bytes *to, struct json_value string); /* appended; counted by talk_count */
void talk_count(struct talk *t, struct json_value v);       /* of any text that is prompt */
void talk_note(struct talk *t, const char *what, const char *type, struct span base64);
void talk_answer_turn(struct talk *t);                      /* an assistant's turn begins */
void talk_hear_call(struct talk *t, struct json_value id, struct json_value name);
/* The call's name; NULL when nothing waits for that result. */
const char *talk_hear_result(struct talk *t, struct json_value id, struct span text);
const char *talk_unanswered(const struct talk *t);          /* an id, or NULL */
void talk_hear_tool(struct talk *t, struct json_value name, struct json_value schema);
void talk_hear_stops(struct talk *t, struct json_value v);  /* a string or an array */

/* Thinks: fills what is said.  id_format has two %d: the turn, the call. */
void talk_think(struct talk *t, const struct mock_script *s, const char *id_format);
/* A JSON value that fits a schema; n varies it. */
void talk_fit(struct bytes *to, struct span schema, int n);

/* Saying: the i-th of as many pieces as the script wants; its characters stay whole. */
int talk_pieces(const struct mock_script *s, struct span text);
struct span talk_piece(const struct mock_script *s, struct span text, int i);

/* Signatures, which are checked when they come back. */
void talk_sign(const char *what, struct span text, char out[64]);
bool talk_signed(const char *what, struct span text, struct json_value signature);

/* JSON at hand. */
int talk_list(struct json_value array, struct json_value *out, int most);
struct json_value talk_get(struct json_value object, const char *path);
bool talk_is(struct json_value string, const char *text);
bool talk_copy(struct json_value string, char *out, size_t out_bytes);
/* The first member of an object that is none of these words (parted by blanks); NULL: all are.
 * Lives until the next call. */
const char *talk_unknown(struct json_value object, const char *words);
void talk_base64(struct bytes *to, struct span data);

#endif
