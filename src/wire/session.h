/*
 * session.h - to which conversation a request belongs, and which part of its prompt caches hold.
 *
 * Pure, safe over threads; one walk over the body's own members.
 */
#ifndef WIRE_SESSION_H
#define WIRE_SESSION_H

#include "wire/format.h"

#define SESSION_BYTES      128
#define SESSION_TURN_BYTES 1024 /* of the first turn's text that counts for a prompt's prefix */

struct session {
	/* What clients name it by, the first of: headers session_id (session-id), x-session-id; in the body
	 * prompt_cache_key, metadata.session_id, previous_response_id, and what follows "session_" in
	 * Anthropic's metadata.user_id.  Cut; "" where nothing does. */
	char id[SESSION_BYTES];
	/* Of what providers cache first: tools, instructions, and the beginning of the first turn.  0: the
	 * body has none of these. */
	uint64_t prompt_hash;
};

/* source: of the client, body and headers. */
void session_find(const struct request_source *source, struct session *out);

#endif
