/*
 * neutral.h - the one form through which a conversation passes from one dialect into another: a
 * request, a whole answer, and a stream of events.  One reader and one writer for each dialect, so
 * n dialects cost 2n pieces.
 *
 * Nothing is decoded that need not be.  What is marked "JSON" stands as it stood in the client's or
 * provider's text (numbers as written, keys in their order, strings with quotes and escapes) and is
 * spliced into what is written; it is one valid JSON value.  What is marked "plain" is decoded and
 * holds no NUL.  Spans point into the text that was read, or into the arena; SPAN_NONE (at NULL): not there.
 *
 * Facts and rules: reference conversion.md (R1 to R30).
 */
#ifndef WIRE_NEUTRAL_H
#define WIRE_NEUTRAL_H

#include "base/arena.h"
#include "base/err.h"
#include "base/json.h"
#include "wire/usage.h"

#define NEUTRAL_FIELDS_MAX 64     /* settings of a request beside those with a place of their own */
#define NEUTRAL_PARTS_MAX  20000  /* of a request, those of tool results included */
#define NEUTRAL_TOOLS_MAX  1024
#define NEUTRAL_STOPS_MAX  64
#define NEUTRAL_CHOICES_MAX 128

/* ---- parts of a message ---- */

enum part_kind {
	PART_TEXT,
	PART_IMAGE,
	PART_DOCUMENT,
	PART_AUDIO,
	PART_VIDEO,
	PART_TOOL_CALL,
	PART_TOOL_RESULT,
	PART_REASONING, /* text that may be shown, and a signature */
	PART_REDACTED,  /* reasoning that only its maker can read: `signature` holds it */
	PART_REFUSAL,
	PART__COUNT
};
const char *part_name(enum part_kind k); /* "text", "image", "tool call" … for messages */

/* Whose signature it is: each provider takes back its own alone. */
enum signer { SIGNER_NONE, SIGNER_ANTHROPIC, SIGNER_GEMINI, SIGNER_OPENAI };

enum cache_mark { CACHE_NONE, CACHE_5M, CACHE_1H }; /* the prefix up to this part is to be cached */

struct neutral_part {
	enum part_kind kind;
	struct span text;      /* JSON string: TEXT, REFUSAL, REASONING */

	struct span call_id;   /* plain: TOOL_CALL, TOOL_RESULT; empty: the dialect had none */
	struct span name;      /* plain: TOOL_CALL; TOOL_RESULT where known */
	struct span input;     /* JSON object: TOOL_CALL; as written, not compacted */
	struct span arguments; /* JSON string of the same where the dialect writes it so (it may hold
	                        * what is no JSON: then `input` is {}); else SPAN_NONE */
	bool is_custom;        /* TOOL_CALL of OpenAI's custom tools: `arguments` is free text */
	bool is_error;         /* TOOL_RESULT: it failed */
	struct neutral_part *content; /* TOOL_RESULT: what it gave; text, images, documents */
	size_t content_count;
	struct span result;    /* JSON object: TOOL_RESULT where the dialect has one (Gemini's response);
	                        * `content` is filled all the same */

	/* IMAGE, DOCUMENT, AUDIO, VIDEO: one of data, url, file_id; DOCUMENT: or text */
	struct span mime;      /* plain, "image/jpeg" (never image/jpg); empty: not known */
	struct span data;      /* plain base64 */
	struct span url;       /* plain */
	struct span file_id;   /* plain: the provider's own handle, s3:// and gs:// addresses too */
	struct span title;     /* plain: file name or title */
	struct span detail;    /* plain: IMAGE, how closely to look ("low", "high", "auto"): OpenAI's dialects */

	struct span signature; /* plain: REASONING, REDACTED, TOOL_CALL, TEXT */
	enum signer signer;
	enum cache_mark cache;
};

/* ---- a request ---- */

enum neutral_role { ROLE_USER, ROLE_ASSISTANT };
struct neutral_message {
	enum neutral_role role;
	struct neutral_part *part;
	size_t count;
};

/* A setting whose value is a plain JSON value.  canonical: the name it has in OpenAI chat, or where
 * that has none, in the dialect that has it.  What no writer takes is lost, and told. */
struct neutral_field {
	const char *canonical; /* static text */
	struct span as;        /* the client's own name for it, to tell it what was lost; in the body */
	struct json_value value;
	bool taken;
};
/*
 * The canonical names, types and ranges that readers check and writers rely on:
 *   temperature, top_p  number       top_k, seed, n, top_logprobs  integer      logprobs  boolean
 *   presence_penalty, frequency_penalty  number       logit_bias, metadata  object
 *   user, safety_identifier, service_tier, verbosity, prompt_cache_key  string
 *   store  boolean       modalities  array       audio, prediction, web_search_options  object
 *   stream_options  object
 *   safety_settings  array (Gemini)       anthropic_beta  array of strings (header or Bedrock's body)
 * Others keep the name they have (snake_case) and are taken by writers of the same dialect, if any.
 */

enum tool_kind {
	TOOL_FUNCTION, /* name, description, parameters */
	TOOL_CUSTOM,   /* OpenAI's: free text */
	TOOL_HOSTED    /* a vendor's own: `raw` and `name` alone (R12) */
};
struct neutral_tool {
	enum tool_kind kind;
	struct span name;        /* plain; of HOSTED its type */
	struct span description; /* JSON string, or SPAN_NONE */
	struct span parameters;  /* JSON object (a JSON schema), or SPAN_NONE */
	int strict;              /* -1 not said, 0, 1 */
	enum cache_mark cache;
	struct span raw;         /* JSON: the whole element, in the dialect it came in */
};

enum tool_choice { CHOICE_UNSET, CHOICE_AUTO, CHOICE_REQUIRED, CHOICE_NONE, CHOICE_TOOL, CHOICE_ALLOWED };

enum output_format { OUTPUT_UNSET, OUTPUT_TEXT, OUTPUT_JSON, OUTPUT_SCHEMA };

enum effort { EFFORT_UNSET, EFFORT_NONE, EFFORT_MINIMAL, EFFORT_LOW, EFFORT_MEDIUM, EFFORT_HIGH, EFFORT_XHIGH, EFFORT_MAX };

struct neutral_request {
	struct arena *arena;
	struct span model; /* plain */
	bool stream;
	bool wants_usage;  /* OpenAI chat: stream_options.include_usage; elsewhere true */
	struct neutral_part *system;
	size_t system_count; /* TEXT alone */
	struct neutral_message *message;
	size_t message_count; /* never two neighbours of one role (R2) */

	int64_t max_output; /* tokens, -1 not said */
	struct span max_output_as;
	struct span stop[NEUTRAL_STOPS_MAX]; /* JSON strings */
	size_t stop_count;

	struct neutral_tool *tool;
	size_t tool_count;
	enum tool_choice choice;
	struct span choice_name; /* plain: TOOL */
	bool choice_any;         /* ALLOWED: one must be called */
	struct span *allowed;    /* plain names: ALLOWED */
	size_t allowed_count;
	int parallel;            /* tool calls at once: -1 not said, 0 no, 1 yes */

	enum output_format format;
	struct span schema, schema_name, schema_description; /* JSON object, JSON strings */
	int schema_strict;

	/* reasoning: what was said of it; all may be unset */
	bool reasoning_set;
	enum effort effort;
	int64_t budget;       /* tokens, -1 not said */
	bool adaptive;        /* the model decides how much */
	bool show_reasoning;  /* a summary of it is asked for */

	struct neutral_field field[NEUTRAL_FIELDS_MAX];
	size_t field_count;
	size_t field_more;    /* beyond the ceiling: lost, counted */
};

void neutral_request_init(struct neutral_request *n, struct arena *arena);
/* Puts a setting down; beyond the ceiling it is counted in field_more. */
void neutral_set(struct neutral_request *n, const char *canonical, struct span as, struct json_value v);
/* The setting of that name, marked as taken, or NULL.  Peek does not mark it. */
const struct neutral_field *neutral_take(struct neutral_request *n, const char *canonical);
const struct neutral_field *neutral_peek(const struct neutral_request *n, const char *canonical);
/* The tool call that carries this id, of the messages before `before`; NULL: none (R16). */
const struct neutral_part *neutral_call(const struct neutral_request *n, size_t before, struct span call_id);
bool neutral_has_calls(const struct neutral_request *n); /* tool calls or results in the history */
/* For writers of dialects that must have ids: calls without one get one that is the same each time
 * (so that what a provider caches stays valid), and results without one that of the call they answer:
 * of the turn before, by name in order of appearance, else by position (R17).  0, or -1 no memory. */
int neutral_fill_ids(struct neutral_request *n, struct err *err);
/* For writers of dialects that refuse an id twice, or one of other characters than text_clean_id()
 * leaves: changes calls and the results that answer them alike.  0, or -1 no memory. */
int neutral_unique_ids(struct neutral_request *n, struct err *err);

/* Appends a part to the message under way, opening a new one where the role changes (R2).  Growing
 * happens in the arena.  NULL with *err (too many parts, memory). */
struct neutral_part *neutral_add(struct neutral_request *n, enum neutral_role role, enum part_kind kind,
	struct err *err);
/* The same for system text, tools, and for the parts of a tool result. */
struct neutral_part *neutral_add_system(struct neutral_request *n, struct err *err);
struct neutral_tool *neutral_add_tool(struct neutral_request *n, struct err *err);
struct neutral_part *neutral_add_result(struct neutral_request *n, struct neutral_part *result,
	enum part_kind kind, struct err *err);

/* ---- what is lost ---- */
#define LOSSES_MAX     32
#define LOSS_NAME_BYTES 64
struct losses {
	size_t count;
	char name[LOSSES_MAX][LOSS_NAME_BYTES]; /* each once, in the order met */
	size_t more;                            /* beyond the ceiling */
	char meaning[LOSS_NAME_BYTES];          /* the first that changes what was asked for; "" none */
};
/* name: the client's own, cut; control characters made blanks.  matters: the answer may differ in
 * more than style or price, so a strict route refuses it. */
void losses_add(struct losses *l, struct span name, bool matters);
/* What no writer took. */
void losses_of_fields(struct losses *l, const struct neutral_request *n);
/* "top_p, seed" for X-Sluice-Dropped: ASCII, no line ends. */
void losses_text(const struct losses *l, char *out, size_t room);

/* ---- an answer ---- */

enum finish {
	FINISH_NONE,    /* not said */
	FINISH_STOP,
	FINISH_STOP_SEQUENCE,
	FINISH_LENGTH,
	FINISH_CONTEXT, /* the model's context is full */
	FINISH_TOOL_CALLS,
	FINISH_FILTER,  /* refused, by a filter or the model */
	FINISH_PAUSE,   /* Anthropic's pause_turn */
	FINISH_MALFORMED, /* the model's call or answer could not be read */
	FINISH__COUNT
};

struct neutral_choice {
	struct neutral_part *part;
	size_t count;
	enum finish finish;
	struct span stop_sequence; /* JSON string, or SPAN_NONE */
};

struct neutral_reply {
	struct arena *arena;
	struct span id, model; /* plain; empty: not said */
	int64_t created_s;     /* 0 not said */
	struct neutral_choice *choice;
	size_t choice_count;   /* at least 1 after reading */
	struct wire_usage usage;
};
struct neutral_part *neutral_reply_add(struct neutral_reply *r, size_t choice, enum part_kind kind,
	struct err *err);
/* The rule of conversion.md 5: a choice that holds a tool call ends with TOOL_CALLS unless it was
 * cut or filtered, and one that holds none does not. */
enum finish neutral_finish(enum finish said, bool has_calls);

/*
 * ---- a stream ----
 *
 * What a reader gives, and a writer may rely on: START once and first.  Then of each choice parts
 * one after the other, each PART, DELTA*, PART_END; choices may alternate, parts of one choice never
 * overlap.  FINISH once for each choice, after its last part.  USAGE at any time, cumulative: what is
 * reported goes over what was.  END once and last; or ERROR, and then nothing.  PING anywhere behind START.
 */
enum event_kind { EVENT_START, EVENT_PART, EVENT_DELTA, EVENT_PART_END, EVENT_FINISH, EVENT_USAGE,
	EVENT_PING, EVENT_ERROR, EVENT_END };
struct neutral_event {
	enum event_kind kind;
	int choice;            /* PART, DELTA, PART_END, FINISH: from 0 */
	struct span id, model; /* START: plain, may be empty */
	int64_t created_s;     /* START; 0 not said */
	/* PART, and the same in its DELTAs and PART_END: kind; call_id, name (of TOOL_CALL, both set:
	 * a reader makes an id where there is none).  IMAGE, AUDIO: mime and data come with PART.
	 * REDACTED: signature comes with PART. */
	struct neutral_part part;
	/* DELTA, one of: */
	struct span text;      /* JSON string: of TEXT, REASONING, REFUSAL; of TOOL_CALL more of its
	                        * arguments' text, which may be cut anywhere, even within an escape */
	struct span signature; /* plain, whole: REASONING, TOOL_CALL, TEXT; with its signer in part */
	enum finish finish;    /* FINISH */
	struct span stop_sequence; /* FINISH: JSON string, or SPAN_NONE */
	struct wire_usage usage; /* USAGE */
	const struct err *err; /* ERROR */
};
/* All spans are valid until it returns.  0, or -1: stop (out of memory). */
typedef int neutral_emit(void *ctx, const struct neutral_event *e);

/* A whole answer as the events of a stream. */
int neutral_replay(const struct neutral_reply *r, neutral_emit *emit, void *ctx);

/* Watches that the order above is kept, for tests and fuzzing: NULL, or what is wrong. */
struct neutral_order {
	bool started, over;
	struct { bool open, finished; enum part_kind kind; } choice[NEUTRAL_CHOICES_MAX];
};
const char *neutral_order_check(struct neutral_order *o, const struct neutral_event *e);

#endif
