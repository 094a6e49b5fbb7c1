/*
 * roster_test.c - the living are never called dead, the dead always are, and no name comes twice.
 *
 * Children join and say so through a pipe; then they are killed, or told to leave.
 */
#include "base/roster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[] = "/tmp/sluice-roster-XXXXXX";
static char path[64];

static int
make_dir(void **state)
{
	(void)state;
	if (mkdtemp(dir) == NULL)
		return -1;
	(void)snprintf(path, sizeof path, "%s/roster", dir);
	return 0;
}

static int
remove_dir(void **state)
{
	(void)state;
	(void)unlink(path);
	return rmdir(dir);
}

static int
no_file(void **state)
{
	(void)state;
	(void)unlink(path);
	return 0;
}

struct child {
	pid_t pid;
	int hear, tell;
	struct roster_owner owner;
};

/* A test that fails leaves at once: nobody of ours may outlive it. */
static void
die_with_parent(void)
{
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* Joins, reports its name, and stays until told to leave or killed. */
static void
be_child(int tell, int hear, bool attached)
{
	struct roster *r = roster_join(dir, NULL);
	struct roster_owner self;
	char c;

	die_with_parent();
	if (r == NULL)
		_exit(1);
	if (attached)
		*roster_attached(r, roster_self(r).slot) = 1;
	self = roster_self(r);
	if (write(tell, &self, sizeof self) != (ssize_t)sizeof self)
		_exit(2);
	if (read(hear, &c, 1) == 1)
		roster_leave(r);
	_exit(0);
}

static struct child
start(bool attached)
{
	struct child c;
	int up[2], down[2];

	assert_int_equal(pipe2(up, O_CLOEXEC), 0);
	assert_int_equal(pipe2(down, O_CLOEXEC), 0);
	c.pid = fork();
	assert_true(c.pid >= 0);
	if (c.pid == 0) {
		(void)close(up[0]);
		(void)close(down[1]);
		be_child(up[1], down[0], attached);
	}
	(void)close(up[1]);
	(void)close(down[0]);
	c.hear = up[0];
	c.tell = down[1];
	assert_int_equal(read(c.hear, &c.owner, sizeof c.owner), sizeof c.owner);
	return c;
}

static void
end(struct child *c, bool kindly)
{
	if (kindly)
		assert_int_equal(write(c->tell, "x", 1), 1);
	else
		assert_int_equal(kill(c->pid, SIGKILL), 0);
	assert_int_equal(waitpid(c->pid, NULL, 0), c->pid);
	(void)close(c->hear);
	(void)close(c->tell);
}

/* The parent only watches: it must not be joined while it forks, so it joins in between. */
static bool
is_dead(struct roster_owner owner)
{
	struct roster *r = roster_join(dir, NULL);
	bool dead;

	assert_non_null(r);
	dead = roster_is_dead(r, owner);
	roster_leave(r);
	return dead;
}

/* Whoever reads /proc/PID of a dead process may hold its memory, and with it its lock, for a moment
 * after it was waited for. */
static bool
is_soon_dead(struct roster_owner owner)
{
	for (int i = 0; i < 2000; i++) {
		if (is_dead(owner))
			return true;
		(void)usleep(1000);
	}
	return false;
}

static void
file_is_made_whole_and_for_the_group(void **state)
{
	mode_t old = umask(077);
	struct roster *r = roster_join(dir, NULL);
	struct stat st;

	(void)state;
	(void)umask(old);
	assert_non_null(r);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
	assert_true(st.st_blocks * 512 >= ROSTER_SLOTS * 16); /* allocated, no holes */
	assert_int_equal(roster_self(r).slot, 0);
	assert_true(roster_self(r).incarnation > 0);
	assert_int_equal(roster_high(r), 1);
	assert_int_equal(roster_pid(r, 0), getpid());
	assert_int_equal(roster_pid(r, 1), 0);
	assert_int_equal(roster_pid(r, ROSTER_SLOTS), 0);
	assert_non_null(roster_attached(r, ROSTER_SLOTS - 1));
	assert_null(roster_attached(r, ROSTER_SLOTS));
	roster_leave(r);
	roster_leave(NULL);
}

static void
living_owner_is_not_dead_and_killed_one_is(void **state)
{
	struct child c = start(false);

	(void)state;
	assert_false(is_dead(c.owner));
	end(&c, false);
	assert_true(is_soon_dead(c.owner));
}

static void
owner_that_left_is_gone(void **state)
{
	struct child c = start(false);

	(void)state;
	end(&c, true);
	assert_true(is_soon_dead(c.owner));
}

static void
nobody_is_dead_and_we_are_not(void **state)
{
	struct roster *r = roster_join(dir, NULL);
	struct roster_owner self = roster_self(r);

	(void)state;
	assert_false(roster_is_dead(r, self));
	assert_true(roster_is_dead(r, (struct roster_owner){ 0, 0 }));
	assert_true(roster_is_dead(r, (struct roster_owner){ ROSTER_SLOTS, 1 }));
	assert_true(roster_is_dead(r, (struct roster_owner){ UINT32_MAX, UINT32_MAX }));
	/* Our slot, but an owner before us. */
	assert_true(roster_is_dead(r, (struct roster_owner){ self.slot, self.incarnation - 1 }));
	roster_leave(r);
}

static void
slot_is_used_again_under_a_new_name(void **state)
{
	uint32_t last[4] = { 0 };

	(void)state;
	for (int i = 0; i < 40; i++) {
		struct child c = start(false);
		uint32_t slot = c.owner.slot;

		assert_true(slot < 4); /* never far above the most that lived at once: two */
		if (last[slot] != 0) {
			assert_true(c.owner.incarnation > last[slot]);
			/* Its slot is held by another now: dead all the same. */
			assert_true(is_soon_dead((struct roster_owner){ slot, last[slot] }));
		}
		assert_false(is_dead(c.owner));
		last[slot] = c.owner.incarnation;
		end(&c, i % 2 == 0);
	}
}

/* Does anybody get that slot, when so many come that none below the highest is left? */
static bool
is_given_out(uint32_t slot)
{
	struct roster *all[32] = { NULL };
	bool found = false, full = false;
	uint32_t high = 0;

	for (int i = 0; i < 32 && !full; i++) {
		all[i] = roster_join(dir, NULL);
		assert_non_null(all[i]);
		if (i == 0)
			high = roster_high(all[0]);
		found = found || roster_self(all[i]).slot == slot;
		full = roster_self(all[i]).slot >= high;
	}
	assert_true(full);
	for (int i = 0; i < 32; i++)
		roster_leave(all[i]);
	return found;
}

/* A slot whose owner died inside the store stays as it is until the gate has seen it. */
static void
slot_of_one_that_died_attached_is_left_to_the_gate(void **state)
{
	struct child dead = start(true);
	struct roster *r;

	(void)state;
	end(&dead, false);
	assert_false(is_given_out(dead.owner.slot));
	assert_true(is_soon_dead(dead.owner));

	r = roster_join(dir, NULL);
	assert_int_equal(*roster_attached(r, dead.owner.slot), 1);
	*roster_attached(r, dead.owner.slot) = 0;
	roster_leave(r);
	assert_true(is_given_out(dead.owner.slot));
}

static void
leaving_takes_the_gates_word_back(void **state)
{
	struct child c = start(true);
	struct roster *r;

	(void)state;
	end(&c, true);
	r = roster_join(dir, NULL);
	assert_int_equal(*roster_attached(r, c.owner.slot), 0);
	roster_leave(r);
}

static void
closing_another_descriptor_of_the_file_loses_nothing(void **state)
{
	struct roster *r = roster_join(dir, NULL);
	pid_t other;
	int status;

	(void)state;
	assert_non_null(r);
	(void)close(open(path, O_RDWR | O_CLOEXEC)); /* POSIX locks would be gone now */

	/* Only another process can tell. */
	other = fork();
	assert_true(other >= 0);
	if (other == 0) {
		struct roster *mine = roster_join(dir, NULL);

		_exit(mine == NULL || roster_is_dead(mine, roster_self(r)) ||
			roster_pid(mine, 0) != getppid());
	}
	assert_int_equal(waitpid(other, &status, 0), other);
	assert_int_equal(status, 0);
	roster_leave(r);
}

static void
incarnations_do_not_start_again_with_a_new_file(void **state)
{
	struct roster_owner first, second;
	struct roster *r = roster_join(dir, NULL);

	(void)state;
	first = roster_self(r);
	roster_leave(r);
	assert_int_equal(unlink(path), 0);
	r = roster_join(dir, NULL);
	second = roster_self(r);
	assert_true(roster_is_dead(r, first));
	assert_int_not_equal(first.incarnation, second.incarnation);
	roster_leave(r);
}

static void
half_made_file_is_finished(void **state)
{
	struct roster *r;
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	(void)state;
	assert_int_equal(ftruncate(fd, 100), 0);
	(void)close(fd);
	r = roster_join(dir, NULL);
	assert_non_null(r);
	*roster_attached(r, ROSTER_SLOTS - 1) = 0; /* the last page is there */
	roster_leave(r);
}

static void
file_of_another_kind_is_refused(void **state)
{
	struct err err;
	FILE *f = fopen(path, "w");

	(void)state;
	for (int i = 0; i < 100000; i++)
		(void)fputc('x', f);
	(void)fclose(f);
	assert_null(roster_join(dir, &err));
	assert_int_equal(err.code, ERR_STORE_UNAVAILABLE);
	assert_non_null(strstr(err.text, "remove it"));
	assert_null(roster_join("/nonexistent/folder", &err));
	assert_int_equal(err.code, ERR_STORE_UNAVAILABLE);
	assert_non_null(strstr(err.text, "/nonexistent/folder/roster"));
}

/* Another description of the file is another owner, and it may lock many slots at once. */
static void
lock_slots(int fd, short type, off_t from, off_t count)
{
	struct flock l = { .l_type = type, .l_whence = SEEK_SET, .l_start = from, .l_len = count };

	assert_int_equal(fcntl(fd, F_OFD_SETLK, &l), 0);
}

static void
no_slot_left_is_overload(void **state)
{
	struct roster *first = roster_join(dir, NULL), *last, *again;
	int others = open(path, O_RDWR | O_CLOEXEC);
	struct err err;

	(void)state;
	assert_non_null(first);
	lock_slots(others, F_WRLCK, 1, ROSTER_SLOTS - 2);
	last = roster_join(dir, NULL);
	assert_non_null(last);
	assert_int_equal(roster_self(last).slot, ROSTER_SLOTS - 1);
	assert_int_equal(roster_high(first), ROSTER_SLOTS);
	assert_null(roster_join(dir, &err));
	assert_int_equal(err.code, ERR_OVERLOADED);

	lock_slots(others, F_UNLCK, 1234, 1);
	again = roster_join(dir, &err);
	assert_non_null(again);
	assert_int_equal(roster_self(again).slot, 1234);
	assert_false(roster_is_dead(first, roster_self(again)));
	roster_leave(again);
	roster_leave(last);
	roster_leave(first);
	(void)close(others);
}

/* A dead owner's pid may be another program's by now: its slot is found all the same. */
static void
slot_is_found_though_its_pid_lives_again(void **state)
{
	struct child c = start(false);
	struct roster *r;
	int fd = open(path, O_RDWR | O_CLOEXEC);
	int32_t pid = (int32_t)getpid();

	(void)state;
	end(&c, false);
	assert_int_equal(
		pwrite(fd, &pid, sizeof pid, 64 + 16 * (off_t)c.owner.slot + 4), sizeof pid);
	lock_slots(fd, F_WRLCK, 1, ROSTER_SLOTS - 1);
	r = roster_join(dir, NULL);
	assert_non_null(r);
	assert_int_equal(roster_self(r).slot, c.owner.slot);
	roster_leave(r);
	(void)close(fd);
}

/* ---- everybody at once ---- */

enum { ACTORS = 8, KILLS = 150 };

/* What the actors write for the judge: who each is, while it surely lives. */
struct board {
	_Atomic uint64_t alive[ACTORS]; /* slot << 32 | incarnation; 0: between lives */
	_Atomic uint32_t wrong;         /* living owners that were called dead */
	_Atomic uint32_t twice;         /* names given twice */
	_Atomic uint64_t looks;
};

static uint64_t
name_of(struct roster_owner o)
{
	return (uint64_t)o.slot << 32 | o.incarnation;
}

static struct roster_owner
owner_of(uint64_t name)
{
	return (struct roster_owner){ (uint32_t)(name >> 32), (uint32_t)name };
}

/* Joins and leaves without end, and in between judges the others: an owner that stood on the board
 * before and after the question must not be dead. */
static void
act(struct board *b, int me)
{
	die_with_parent();
	for (;;) {
		struct roster *r = roster_join(dir, NULL);

		if (r == NULL)
			_exit(1);
		for (int i = 0; i < ACTORS; i++)
			if (i != me && atomic_load(&b->alive[i]) == name_of(roster_self(r)))
				atomic_fetch_add(&b->twice, 1);
		atomic_store(&b->alive[me], name_of(roster_self(r)));
		for (int turn = 0; turn < 20; turn++)
			for (int i = 0; i < ACTORS; i++) {
				uint64_t name = atomic_load(&b->alive[i]);
				bool dead = name != 0 && roster_is_dead(r, owner_of(name));

				if (dead && atomic_load(&b->alive[i]) == name)
					atomic_fetch_add(&b->wrong, 1);
				atomic_fetch_add(&b->looks, 1);
			}
		atomic_store(&b->alive[me], 0);
		roster_leave(r);
	}
}

static pid_t
start_actor(struct board *b, int me)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		act(b, me);
	return pid;
}

static void
kills_at_random_never_make_the_living_dead(void **state)
{
	struct board *b =
		mmap(NULL, sizeof *b, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid[ACTORS];
	unsigned int seed = 12345;
	struct roster *r;

	(void)state;
	assert_true(b != MAP_FAILED);
	for (int i = 0; i < ACTORS; i++)
		pid[i] = start_actor(b, i);
	for (int kills = 0; kills < KILLS; kills++) {
		int i = rand_r(&seed) % ACTORS;
		uint64_t name;

		(void)usleep((useconds_t)(rand_r(&seed) % 3000));
		/* Taken off the board first: after the kill its name stays there as that of a dead. */
		(void)kill(pid[i], SIGSTOP);
		assert_int_equal(waitpid(pid[i], &(int){ 0 }, WUNTRACED), pid[i]);
		name = atomic_exchange(&b->alive[i], 0);
		(void)kill(pid[i], SIGKILL);
		assert_int_equal(waitpid(pid[i], NULL, 0), pid[i]);
		if (name != 0)
			assert_true(is_soon_dead(owner_of(name)));
		pid[i] = start_actor(b, i);
	}
	for (int i = 0; i < ACTORS;
		i++) { /* all stand still before the first dies: nobody judges */
		(void)kill(pid[i], SIGSTOP);
		(void)waitpid(pid[i], &(int){ 0 }, WUNTRACED);
	}
	for (int i = 0; i < ACTORS; i++) {
		(void)kill(pid[i], SIGKILL);
		(void)waitpid(pid[i], NULL, 0);
	}
	assert_int_equal(b->wrong, 0);
	assert_int_equal(b->twice, 0);
	assert_true(b->looks > 1000);

	/* The dead gave their slots back: scans stay near the most that ever lived at once. */
	r = roster_join(dir, NULL);
	assert_non_null(r);
	assert_true(roster_high(r) <= 2 * ACTORS);
	roster_leave(r);
	(void)munmap(b, sizeof *b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(file_is_made_whole_and_for_the_group, no_file),
		cmocka_unit_test_setup(living_owner_is_not_dead_and_killed_one_is, no_file),
		cmocka_unit_test_setup(owner_that_left_is_gone, no_file),
		cmocka_unit_test_setup(nobody_is_dead_and_we_are_not, no_file),
		cmocka_unit_test_setup(slot_is_used_again_under_a_new_name, no_file),
		cmocka_unit_test_setup(slot_of_one_that_died_attached_is_left_to_the_gate, no_file),
		cmocka_unit_test_setup(leaving_takes_the_gates_word_back, no_file),
		cmocka_unit_test_setup(
			closing_another_descriptor_of_the_file_loses_nothing, no_file),
		cmocka_unit_test_setup(incarnations_do_not_start_again_with_a_new_file, no_file),
		cmocka_unit_test_setup(half_made_file_is_finished, no_file),
		cmocka_unit_test_setup(file_of_another_kind_is_refused, no_file),
		cmocka_unit_test_setup(no_slot_left_is_overload, no_file),
		cmocka_unit_test_setup(slot_is_found_though_its_pid_lives_again, no_file),
		cmocka_unit_test_setup(kills_at_random_never_make_the_living_dead, no_file),
	};

	return cmocka_run_group_tests_name("base/roster", tests, make_dir, remove_dir);
}
