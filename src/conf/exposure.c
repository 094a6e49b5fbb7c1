/*
 * exposure.c - could the web server hand out our files?  Whoever can only copy files into a web
 * root may have to keep the state there; then a .htaccess must refuse what lies in it.
 */
#include "conf/conf.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define HTACCESS       ".htaccess"
#define HTACCESS_BYTES 16384

static const char refuse_all[] = "# Nobody's to fetch: the state of sluice.\n"
				 "<IfModule mod_authz_core.c>\n"
				 "\tRequire all denied\n"
				 "</IfModule>\n"
				 "<IfModule !mod_authz_core.c>\n"
				 "\tOrder allow,deny\n"
				 "\tDeny from all\n"
				 "</IfModule>\n";

bool
conf_is_below(const char *root, const char *path, char rest[CONF_PATH_BYTES])
{
	char real_root[PATH_MAX], real_path[PATH_MAX];
	size_t len;

	if (root[0] == '\0' || realpath(root, real_root) == NULL ||
		realpath(path, real_path) == NULL)
		return false;
	len = strcmp(real_root, "/") == 0 ? 0 : strlen(real_root);
	if (strncmp(real_root, real_path, len) != 0 ||
		(real_path[len] != '/' && real_path[len] != '\0'))
		return false;
	return snprintf(rest, CONF_PATH_BYTES, "%s", real_path + len) < CONF_PATH_BYTES;
}

/* Outside of sections that hold for some files or methods only. */
static bool
refuses_all(char *text)
{
	int inside = 0;
	char *save = NULL;

	for (char *line = strtok_r(text, "\r\n", &save); line != NULL;
		line = strtok_r(NULL, "\r\n", &save)) {
		line += strspn(line, " \t");
		if (strncasecmp(line, "</", 2) == 0)
			inside -= strncasecmp(line, "</IfModule", 10) != 0;
		else if (line[0] == '<')
			inside += strncasecmp(line, "<IfModule", 9) != 0;
		else if (inside == 0 && (strncasecmp(line, "Require all denied", 18) == 0 ||
						strncasecmp(line, "Deny from all", 13) == 0))
			return true;
	}
	return false;
}

static bool
folder_is_denied(const char *dir)
{
	char path[PATH_MAX + 16], text[HTACCESS_BYTES];
	bool denied;
	size_t n;
	FILE *f;

	(void)snprintf(path, sizeof path, "%s/" HTACCESS, dir);
	if ((f = fopen(path, "re")) == NULL)
		return false;
	n = fread(text, 1, sizeof text - 1, f);
	text[n] = '\0';
	denied = refuses_all(text);
	(void)fclose(f);
	return denied;
}

bool
conf_is_denied(const char *root, const char *dir)
{
	char real_root[PATH_MAX], at[PATH_MAX];
	size_t len;

	if (realpath(root, real_root) == NULL || realpath(dir, at) == NULL)
		return false;
	len = strlen(real_root);
	while (strlen(at) >= len && strncmp(at, real_root, len) == 0) {
		char *slash = strrchr(at, '/');

		if (folder_is_denied(at))
			return true;
		if (slash == NULL || slash == at)
			return false;
		*slash = '\0';
	}
	return false;
}

bool
conf_is_exposed(const struct conf *c, const char *root, const char *server)
{
	bool heeds =
		strncasecmp(server, "Apache", 6) == 0 || strncasecmp(server, "LiteSpeed", 9) == 0;
	char rest[CONF_PATH_BYTES], folder[CONF_PATH_BYTES], *slash;

	if (conf_is_below(root, c->state_dir, rest) &&
		!(heeds && conf_is_denied(root, c->state_dir)))
		return true;
	if (!conf_is_below(root, c->master_key_file, rest))
		return false;
	(void)snprintf(folder, sizeof folder, "%s", c->master_key_file);
	if ((slash = strrchr(folder, '/')) != NULL)
		*slash = '\0';
	return !(heeds && conf_is_denied(root, folder));
}

void
conf_deny(const struct conf *c)
{
	char path[CONF_PATH_BYTES + 16];
	int fd;

	(void)snprintf(path, sizeof path, "%s/" HTACCESS, c->state_dir);
	/* 0644: Apache itself must read it, as another user. */
	if ((fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644)) < 0)
		return;
	(void)fchmod(fd, 0644);
	(void)!write(fd, refuse_all, sizeof refuse_all - 1);
	(void)close(fd);
}
