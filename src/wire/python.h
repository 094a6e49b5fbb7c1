/*
 * python.h - what Python's repr() writes of dicts, lists and plain values, made JSON.
 *
 * Some gateways of providers print their events so.  Facts: reference bedrock.md, section 9.3.
 */
#ifndef WIRE_PYTHON_H
#define WIRE_PYTHON_H

#include "base/bytes.h"

/* Appends the literal as JSON: strings in either quotes with Python's escapes, True, False, None,
 * tuples as arrays, inf and nan as null.  0, or -1: it is no such literal (what was appended then is
 * of no use), or out's limit or memory is spent.  Linear in the text; safe over threads. */
int python_to_json(struct span literal, struct bytes *out);

#endif
