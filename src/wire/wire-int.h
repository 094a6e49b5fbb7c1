/*
 * wire-int.h - small readers of JSON that the files of this room share.
 */
#ifndef WIRE_WIRE_INT_H
#define WIRE_WIRE_INT_H

#include "base/json.h"
#include "base/lanes.h"

#define WIRE_KEY_BYTES 64
#define WIRE_CUT_MAX   160

/* A member's key with its escapes decoded; as it stands when it has none, or is too long to be
 * one that we know. */
struct span wire_key(struct span key, char room[WIRE_KEY_BYTES]);
/* A string value decoded and cut to fit (room: at most WIRE_CUT_MAX), never within a character,
 * control characters made blanks; "" when it is no string. */
void wire_copy_string(struct json_value v, char *out, size_t room);
/* Behind the closing quote of the string whose inside begins at `at`, or `end`. */
const char *wire_string_end(const char *at, const char *end);

struct wire_usage;
/* openai_usage() of the usage object itself. */
void wire_take_usage(struct span object, struct wire_usage *out);
/* The service tier, where v is a string that can be one; else what is there stays. */
void wire_take_tier(struct json_value v, struct wire_usage *out);

#endif
