/*
 * hash.h - digests, checksums, random bytes and the alphabets of our identifiers.  Safe over threads.
 */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHA256_BYTES 32

void hash_sha256(const void *data, size_t len, uint8_t out[SHA256_BYTES]);
/* HMAC-SHA-256. */
void hash_hmac(const void *key, size_t key_len, const void *data, size_t len,
	uint8_t out[SHA256_BYTES]);
uint32_t hash_crc32(const void *data, size_t len); /* IEEE 802.3 */
/* Fast, not keyed, well mixed; for hash tables that hold no attacker-chosen ordering. */
uint64_t hash_64(const void *data, size_t len, uint64_t seed);
/* SipHash-2-4 with 128 bits of output (Aumasson and Bernstein): fast for short texts, and nobody
 * without the key can find two that collide. */
void hash_keyed(const uint64_t key[2], const void *data, size_t len, uint64_t out[2]);
/* Cryptographic randomness; ends the process if the kernel has none. */
void hash_random(void *out, size_t len);
/* Compares in a time that does not depend on the content. */
bool hash_equal(const void *a, const void *b, size_t len);

void hash_hex(const void *data, size_t len, char *out); /* 2*len+1 bytes */
int hash_hex_digit(char c); /* 0 to 15, or -1 */
int hash_unhex(const char *text, void *out, size_t len); /* exactly len bytes, or -1 */

#endif
