/*
 * seal.c - the master key and what it seals: nonce, text and tag of AES-256-GCM, bound to the id
 * of the record they belong to, so that one key's secret cannot be put into another's place.
 */
#include "store/store-int.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NONCE_BYTES     12
#define TAG_BYTES       16
#define MASTER_KEY_TEXT 128 /* a file with more is none */

static int
make_key(const char *path, struct err *err)
{
	uint8_t key[32];
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int rc = 0;

	if (fd < 0)
		return err_set(
			err, ERR_STORE_UNAVAILABLE, "master key %s: %s", path, strerror(errno));
	hash_random(key, sizeof key);
	if (fchmod(fd, 0600) != 0 || write(fd, key, sizeof key) != (ssize_t)sizeof key ||
		fsync(fd) != 0) {
		rc = err_set(
			err, ERR_STORE_UNAVAILABLE, "master key %s: %s", path, strerror(errno));
		(void)unlink(path);
	}
	OPENSSL_cleanse(key, sizeof key);
	(void)close(fd);
	return rc;
}

int
store_master_key_of(const char *text, uint8_t key[MASTER_KEY_BYTES])
{
	unsigned char raw[64];
	size_t len = strlen(text);

	if (hash_unhex(text, key, MASTER_KEY_BYTES) == 0)
		return 0;
	/* 32 bytes are 44 characters of base64, the last a filler. */
	if (len != 44 || text[43] != '=' || text[42] == '=' ||
		EVP_DecodeBlock(raw, (const unsigned char *)text, (int)len) != 33)
		return -1;
	memcpy(key, raw, MASTER_KEY_BYTES);
	OPENSSL_cleanse(raw, sizeof raw);
	return 0;
}

/* The bytes themselves, or as text.  0, or -1 when it is neither. */
static int
take_key(char *text, ssize_t len, uint8_t key[MASTER_KEY_BYTES])
{
	if (len == MASTER_KEY_BYTES) {
		memcpy(key, text, MASTER_KEY_BYTES);
		return 0;
	}
	while (len > 0 && strchr(" \t\r\n", text[len - 1]) != NULL && text[len - 1] != '\0')
		len--;
	if (len <= 0 || memchr(text, '\0', (size_t)len) != NULL)
		return -1;
	text[len] = '\0';
	return store_master_key_of(text, key);
}

int
seal_read_key(struct store *s, const char *path, bool create, struct err *err)
{
	struct stat st;
	char text[MASTER_KEY_TEXT];
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc = 0;

	if (fd < 0 && errno == ENOENT && create) {
		if (make_key(path, err) != 0)
			return -1;
		fd = open(path, O_RDONLY | O_CLOEXEC);
	}
	if (fd < 0 && errno == ENOENT)
		return err_set(err, ERR_STORE_UNAVAILABLE,
			"master key %s is missing; put back the one this store was made with",
			path);
	if (fd < 0)
		return err_set(err, ERR_STORE_UNAVAILABLE,
			"master key %s: %s; it must belong to uid %d", path, strerror(errno),
			(int)geteuid());
	if (fstat(fd, &st) != 0)
		rc = err_set(
			err, ERR_STORE_UNAVAILABLE, "master key %s: %s", path, strerror(errno));
	else if ((st.st_mode & 077) != 0)
		rc = err_set(err, ERR_STORE_UNAVAILABLE,
			"master key %s has mode %04o and others may read it; chmod 0600 it", path,
			(unsigned int)(st.st_mode & 07777));
	else if (take_key(text, read(fd, text, sizeof text - 1), s->master_key) != 0)
		rc = err_set(err, ERR_STORE_UNAVAILABLE,
			"master key %s must be 32 bytes, as they are, as 64 hexadecimal digits or "
			"as base64; put back the one this store was made with",
			path);
	OPENSSL_cleanse(text, sizeof text);
	(void)close(fd);
	s->has_key = rc == 0;
	return rc;
}

void
seal_check_value(const struct store *s, const uint8_t salt[16], uint8_t out[32])
{
	uint8_t text[16 + 16] = "sluice key check";

	memcpy(text + 16, salt, 16);
	hash_hmac(s->master_key, sizeof s->master_key, text, sizeof text, out);
}

int
store_seal(
	struct store *s, struct id owner, struct span secret, struct sealed *out, struct err *err)
{
	EVP_CIPHER_CTX *c;
	int n, ok;

	out->len = 0;
	if (!s->has_key)
		return err_set(err, ERR_STORE_UNAVAILABLE, "no master key is set");
	if (secret.len > SEALED_BYTES - NONCE_BYTES - TAG_BYTES)
		return err_set(err, ERR_PARAM_NOT_ALLOWED, "a secret has at most %d bytes",
			SEALED_BYTES - NONCE_BYTES - TAG_BYTES);
	if ((c = EVP_CIPHER_CTX_new()) == NULL)
		return err_set(err, ERR_MEMORY, "store: out of memory");
	hash_random(out->data, NONCE_BYTES);
	ok = EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, s->master_key, out->data) == 1 &&
	     EVP_EncryptUpdate(c, NULL, &n, owner.b, sizeof owner.b) == 1 &&
	     EVP_EncryptUpdate(c, out->data + NONCE_BYTES, &n, (const uint8_t *)secret.at,
		     (int)secret.len) == 1 &&
	     EVP_EncryptFinal_ex(c, out->data + NONCE_BYTES + secret.len, &n) == 1 &&
	     EVP_CIPHER_CTX_ctrl(
		     c, EVP_CTRL_GCM_GET_TAG, TAG_BYTES, out->data + NONCE_BYTES + secret.len) == 1;
	EVP_CIPHER_CTX_free(c);
	if (!ok)
		return err_set(err, ERR_INTERNAL, "a secret could not be sealed");
	out->len = (uint16_t)(NONCE_BYTES + secret.len + TAG_BYTES);
	return 0;
}

ptrdiff_t
store_unseal(struct store *s, struct id owner, const struct sealed *in, char *out, size_t room,
	struct err *err)
{
	uint8_t tag[TAG_BYTES], *text = (uint8_t *)out;
	EVP_CIPHER_CTX *c;
	int len, n, ok;

	if (!s->has_key)
		return err_set(err, ERR_STORE_UNAVAILABLE, "no master key is set");
	if (in->len < NONCE_BYTES + TAG_BYTES || in->len > SEALED_BYTES)
		return err_set(err, ERR_STORE_UNAVAILABLE, "a sealed secret is damaged");
	len = in->len - NONCE_BYTES - TAG_BYTES;
	if ((size_t)len >= room)
		return err_set(err, ERR_INTERNAL, "a secret is longer than %zu bytes", room);
	if ((c = EVP_CIPHER_CTX_new()) == NULL)
		return err_set(err, ERR_MEMORY, "store: out of memory");
	memcpy(tag, in->data + NONCE_BYTES + len, TAG_BYTES);
	ok = EVP_DecryptInit_ex(c, EVP_aes_256_gcm(), NULL, s->master_key, in->data) == 1 &&
	     EVP_DecryptUpdate(c, NULL, &n, owner.b, sizeof owner.b) == 1 &&
	     EVP_DecryptUpdate(c, text, &n, in->data + NONCE_BYTES, len) == 1 &&
	     EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, TAG_BYTES, tag) == 1 &&
	     EVP_DecryptFinal_ex(c, text + len, &n) == 1;
	EVP_CIPHER_CTX_free(c);
	if (!ok) {
		OPENSSL_cleanse(out, room); /* what was decrypted is not to be trusted */
		return err_set(err, ERR_STORE_UNAVAILABLE,
			"a sealed secret does not belong here or is damaged; enter it again");
	}
	out[len] = '\0';
	return len;
}
