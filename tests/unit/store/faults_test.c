/* faults_test.c - every bad state has its own answer, and says what to do about it. */
#include "store_fixture.h"

#include "store/store-int.h"
#include <openssl/evp.h>
#include <sys/mount.h>
#include <sys/wait.h>

static int
dir_setup(void **state)
{
	struct fixture *f = malloc(sizeof *f);

	assert_non_null(f);
	fixture_dir(f);
	*state = f;
	return 0;
}

static int
dir_teardown(void **state)
{
	struct fixture *f = *state;

	(void)umount2(f->dir, MNT_DETACH); /* of a test that failed half-way */
	remove_tree(f->dir);
	free(f);
	return 0;
}

static void
refuses(const struct store_options *o, const char *reason, const char *advice)
{
	struct store *s;

	err = (struct err){ 0 };
	s = store_open(o, NULL, &err);
	assert_null(s);
	if (err.code != ERR_STORE_UNAVAILABLE || strstr(err.text, reason) == NULL ||
		strstr(err.text, advice) == NULL)
		fail_msg("wanted '%s' and '%s', got %s: %s", reason, advice, err_name(err.code),
			err.text);
}

static void
write_file(const char *path, const void *data, size_t len, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), len);
	assert_int_equal(fchmod(fd, mode), 0);
	(void)close(fd);
}

static void
a_directory_that_is_not_there(void **state)
{
	struct fixture *f = *state;
	struct store_options o = fixture_options(f);
	char missing[128];

	(void)snprintf(missing, sizeof missing, "%s/nowhere", f->dir);
	o.dir = missing;
	refuses(&o, "nowhere does not exist", "sluice init");
	write_file(missing, "x", 1, 0600);
	refuses(&o, "nowhere is not a directory", "");
}

static void
a_directory_that_was_never_initialised(void **state)
{
	struct fixture *f = *state;
	struct store_options o = fixture_options(f);
	char db[128];

	refuses(&o, "never initialised", "sluice init");
	(void)snprintf(db, sizeof db, "%s/db", f->dir);
	assert_int_equal(mkdir(db, 0770), 0);
	refuses(&o, "never initialised", "sluice init");
}

static void
a_directory_that_everybody_may_write(void **state)
{
	struct fixture *f = *state;
	struct store_options o = fixture_options(f);

	store_close(fixture_open(f, true));
	assert_int_equal(chmod(f->dir, 0777), 0);
	refuses(&o, "everybody may write", "chmod 2770");
	assert_int_equal(chmod(f->dir, 0700), 0);
}

/* As another user, in a child, when the test runs as root. */
static void
a_directory_of_somebody_else(void **state)
{
	struct fixture *f = *state;
	struct store_options o = fixture_options(f);
	pid_t child;
	int status;

	store_close(fixture_open(f, true));
	if (geteuid() != 0)
		assert_int_equal(chmod(f->dir, 0500), 0);
	if ((child = fork()) == 0) {
		if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
			_exit(1);
		err = (struct err){ 0 };
		_exit(store_open(&o, NULL, &err) == NULL && err.code == ERR_STORE_UNAVAILABLE &&
					(strstr(err.text, "not writable for uid") != NULL ||
						strstr(err.text, "Permission denied") != NULL)
				? 0
				: 2);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(chmod(f->dir, 0700), 0);
}

static void
a_master_key_that_is_missing_open_short_or_wrong(void **state)
{
	struct fixture *f = *state;
	struct store_options o = fixture_options(f);
	char key[32], other[33], text[80];
	FILE *file;

	store_close(fixture_open(f, true));
	file = fopen(f->key, "re");
	assert_non_null(file);
	assert_int_equal(fread(key, 1, sizeof key, file), 32);
	(void)fclose(file);

	assert_int_equal(chmod(f->key, 0640), 0);
	refuses(&o, "has mode 0640", "chmod 0600");
	memcpy(other, key, 32);
	other[31] ^= 1;
	other[32] = 'x';
	write_file(f->key, other, 31, 0600);
	refuses(&o, "must be 32 bytes", "put back");
	write_file(f->key, other, 33, 0600);
	refuses(&o, "must be 32 bytes", "put back");
	write_file(f->key, other, 32, 0600);
	refuses(&o, "is not the one that", "put the right one back");
	o.create = true; /* init again does not paper over it */
	refuses(&o, "is not the one that", "put the right one back");
	o.create = false;
	assert_int_equal(unlink(f->key), 0);
	refuses(&o, "is missing", "put back the one");
	write_file(f->key, key, 32, 0600);
	store_close(fixture_open(f, false));

	/* the same key as text */
	hash_hex(key, sizeof key, text);
	write_file(f->key, text, 63, 0600);
	refuses(&o, "must be 32 bytes", "put back");
	write_file(f->key, strcat(text, "\n"), 65, 0600);
	store_close(fixture_open(f, false));
	assert_int_equal(chmod(f->key, 0644), 0);
	refuses(&o, "has mode 0644", "chmod 0600");
	assert_int_equal(EVP_EncodeBlock((unsigned char *)text, (unsigned char *)key, 32), 44);
	write_file(f->key, text, 44, 0600);
	store_close(fixture_open(f, false));
	text[0] = text[0] == 'A' ? 'B' : 'A';
	write_file(f->key, text, 44, 0600);
	refuses(&o, "is not the one that", "put the right one back");
	text[5] = '*';
	write_file(f->key, text, 44, 0600);
	refuses(&o, "must be 32 bytes", "put back");
}

static int
age_schema(struct attach *at, DB_TXN *txn, void *arg, struct err *e)
{
	uint8_t schema[8];
	DBT key, data;

	(void)e;
	put_be32(schema, *(uint32_t *)arg);
	put_be32(schema + 4, 0);
	dbt_in(&key, "Sschema", 7);
	dbt_in(&data, schema, sizeof schema);
	return at->table[TABLE_MAIN]->put(at->table[TABLE_MAIN], txn, &key, &data, 0);
}

static void
a_store_of_a_newer_version(void **state)
{
	struct fixture *f = *state;
	struct store_options o = fixture_options(f);
	struct store *s = fixture_open(f, true);
	uint32_t newer = STORE_SCHEMA_MAJOR + 1;

	WORKS(store_txn(s, "test", DB_TXN_SYNC, age_schema, &newer, &err));
	store_close(s);
	refuses(&o, "newer sluice", "install that version");
}

static void
init_can_be_repeated(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	store_close(fixture_open(f, true));
	store_close(fixture_open(f, true));
	assert_int_equal(stat(f->key, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

static void
files_belong_to_the_group(void **state)
{
	struct fixture *f = *state;
	char path[128];
	struct stat st;

	(void)umask(022);
	store_close(fixture_open(f, true));
	(void)snprintf(path, sizeof path, "%s/db", f->dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 02770);
	(void)snprintf(path, sizeof path, "%s/db/main.db", f->dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0660);
}

/* With shared memory of another layout, or none of this boot, joining fails; recovery cures it. */
static void
shared_memory_that_is_garbage_is_made_anew(void **state)
{
	struct fixture *f = *state;
	struct store *s = fixture_open(f, true);
	struct store_health h;
	char path[128], garbage[4096], out[8];

	WORKS(store_value_put(s, "kept", "yes", 3, &err));
	store_close(s);
	memset(garbage, 0xa5, sizeof garbage);
	for (int i = 1; i < 4; i++) {
		(void)snprintf(path, sizeof path, "%s/db/__db.%03d", f->dir, i);
		write_file(path, garbage, sizeof garbage, 0660);
	}
	s = fixture_open(f, false);
	assert_int_equal(store_value_get(s, "kept", out, sizeof out, &err), 3);
	WORKS(store_health(s, &h, &err));
	assert_int_equal(h.recoveries, 2);
	store_close(s);
}

static void
another_boot_makes_the_first_comer_recover(void **state)
{
	struct fixture *f = *state;
	struct store *s = fixture_open(f, true);
	struct store_health h;

	atomic_fetch_add(&s->gate.words->boot, 2);
	store_close(s);
	s = fixture_open(f, false);
	WORKS(store_health(s, &h, &err));
	assert_int_equal(h.recoveries, 2);
	store_close(s);
	s = fixture_open(f, false);
	WORKS(store_health(s, &h, &err));
	assert_int_equal(h.recoveries, 2);
	store_close(s);
}

/* Needs a file system of its own: root only, elsewhere it is left out. */
static void
a_full_disk_is_said_and_passes_when_there_is_room(void **state)
{
	struct fixture *f = *state;
	char command[512], filler[128], dir[128], value[SETTING_BYTES] = "x";
	struct store_options o = fixture_options(f);
	bool was_refused = false;
	struct store *s;

	(void)snprintf(command, sizeof command,
		"mount -t tmpfs -o size=48m,mode=0770 none %s 2>/dev/null", f->dir);
	if (geteuid() != 0 || system(command) != 0)
		skip();
	(void)snprintf(dir, sizeof dir, "%s/state", f->dir);
	(void)snprintf(filler, sizeof filler, "%s/filler", f->dir);
	o.dir = dir;
	o.create = true;
	s = store_open(&o, NULL, &err);
	assert_non_null(s);
	WORKS(store_value_put(s, "first", "here", 4, &err));
	(void)snprintf(
		command, sizeof command, "dd if=/dev/zero of=%s bs=64k 2>/dev/null; true", filler);
	(void)!system(command);
	for (int i = 0; i < 3000 && !was_refused; i++) {
		char name[32];

		(void)snprintf(name, sizeof name, "v%d", i);
		if (store_value_put(s, name, value, sizeof value, &err) != 0) {
			was_refused = true;
			assert_int_equal(err.code, ERR_STORE_UNAVAILABLE);
			assert_non_null(strstr(err.text, "disk of"));
			assert_non_null(strstr(err.text, "free some space"));
		}
	}
	assert_true(was_refused);
	assert_true(store_is_full(s));
	assert_int_equal(store_value_get(s, "first", value, sizeof value, &err), 4);
	assert_int_equal(unlink(filler), 0);
	WORKS(store_value_put(s, "again", value, sizeof value, &err));
	for (int i = 0; i < 500 && store_is_full(s); i++)
		(void)usleep(20000);
	assert_false(store_is_full(s));
	store_close(s);
	o.create = false;
	s = store_open(&o, NULL, &err);
	if (s == NULL)
		fail_msg("%s", err.text);
	assert_int_equal(store_value_get(s, "again", value, sizeof value, &err), SETTING_BYTES);
	store_close(s);
	assert_int_equal(umount2(f->dir, 0), 0);
}

/* Nobody can come in before a recovery, and a recovery needs room: the ballast is that room. */
static void
a_recovery_on_a_full_disk_gives_up_the_ballast(void **state)
{
	struct fixture *f = *state;
	char command[512], dir[128], ballast[160], value[8];
	struct store_options o = fixture_options(f);
	struct store *s;
	struct stat st;

	(void)snprintf(command, sizeof command,
		"mount -t tmpfs -o size=160m,mode=0770 none %s 2>/dev/null", f->dir);
	if (geteuid() != 0 || system(command) != 0)
		skip();
	(void)snprintf(dir, sizeof dir, "%s/state", f->dir);
	(void)snprintf(ballast, sizeof ballast, "%s/ballast", dir);
	o.dir = dir;
	o.create = true;
	s = store_open(&o, NULL, &err);
	assert_non_null(s);
	assert_int_equal(stat(ballast, &st), 0);
	assert_int_equal(st.st_size, 24 << 20);
	WORKS(store_value_put(s, "first", "here", 4, &err));
	gate_want(&s->gate, atomic_load(&s->gate.words->epoch)); /* as a death inside would */
	store_close(s);
	/* its shared memory goes as well, as at a boot */
	(void)snprintf(command, sizeof command,
		"rm -f %s/db/__db.*; dd if=/dev/zero of=%s/filler bs=64k 2>/dev/null; true", dir,
		f->dir);
	(void)!system(command);
	o.create = false;
	s = store_open(&o, NULL, &err);
	if (s == NULL)
		fail_msg("%s", err.text);
	assert_int_equal(stat(ballast, &st), -1);
	assert_int_equal(store_value_get(s, "first", value, sizeof value, &err), 4);
	(void)snprintf(command, sizeof command, "%s/filler", f->dir);
	assert_int_equal(unlink(command), 0);
	disk_keep_ballast(s); /* as the clerk does */
	assert_int_equal(stat(ballast, &st), 0);
	store_close(s);
	assert_int_equal(umount2(f->dir, 0), 0);
}

int
main(void)
{
#define IN_DIR(test) cmocka_unit_test_setup_teardown(test, dir_setup, dir_teardown)
	const struct CMUnitTest tests[] = {
		IN_DIR(a_directory_that_is_not_there),
		IN_DIR(a_directory_that_was_never_initialised),
		IN_DIR(a_directory_that_everybody_may_write),
		IN_DIR(a_directory_of_somebody_else),
		IN_DIR(a_master_key_that_is_missing_open_short_or_wrong),
		IN_DIR(a_store_of_a_newer_version),
		IN_DIR(init_can_be_repeated),
		IN_DIR(files_belong_to_the_group),
		IN_DIR(shared_memory_that_is_garbage_is_made_anew),
		IN_DIR(another_boot_makes_the_first_comer_recover),
		IN_DIR(a_full_disk_is_said_and_passes_when_there_is_room),
		IN_DIR(a_recovery_on_a_full_disk_gives_up_the_ballast),
	};

	return cmocka_run_group_tests_name("store/faults", tests, NULL, NULL);
}
