/*
 * where.h - the place of a value in a request's body, to tell a client what is meant.  Pure.
 */
#ifndef GATEWAY_WHERE_H
#define GATEWAY_WHERE_H

#include "base/bytes.h"

/*
 * text: a string of the body, decoded; where it had no escapes it lies in the body itself, and that place is
 * told, else the first of the same content.  path: "messages[2].content[1].image_url.url", cut to fit; ""
 * when it was not found.  holder, where not NULL: the object that has it as a member, as it stands.
 */
void where_stands(struct span body, struct span text, char *path, size_t room, struct span *holder);

#endif
