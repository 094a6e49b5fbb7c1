/*
 * vault.h - what models signed and clients' dialects cannot carry, kept for a while: under project and
 * a key of the caller's (wire/signatures.h), shared by all processes, held to a ceiling of bytes.
 *
 * Blocking, threads and abandonment as store.h says; every function may be repeated.
 */
#ifndef STORE_VAULT_H
#define STORE_VAULT_H

#include "store/store.h"

#define VAULT_RECORD_MAX (256 * 1024)
#define VAULT_PUT_MAX    256 /* records at once */
#define VAULT_KEY_BYTES  72
#define VAULT_SWEEP_MOST 256 /* rows in one call */

struct vault_record {
	char key[VAULT_KEY_BYTES];
	struct span record; /* at most VAULT_RECORD_MAX */
};

/* Keeps them until until_ms (wall clock), in one transaction; a record under the same key gives way.  The
 * oldest go where all together would hold more than cap_bytes.  At most VAULT_PUT_MAX.  0 or -1. */
int store_vault_put(struct store *s, struct id project, const struct vault_record *records, size_t count,
	int64_t now_ms, int64_t until_ms, int64_t cap_bytes, struct err *err);
/* 1 with the record in room (*len bytes), 0 there is none (any more), -1. */
int store_vault_get(struct store *s, struct id project, const char *key, int64_t now_ms, void *room,
	size_t room_bytes, size_t *len, struct err *err);
/* Lets go of those whose time is up, at most VAULT_SWEEP_MOST.  Returns how many, or -1. */
int store_vault_sweep(struct store *s, int64_t now_ms, struct err *err);
/* Bytes held now, keys included; -1. */
int64_t store_vault_bytes(struct store *s, struct err *err);

#endif
