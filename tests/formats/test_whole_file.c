/*
 * test_whole_file.c - outputs that are plain files, new or replaced; links, pipes, devices and descriptors; failures.
 */
#include "../support/temp_files.h"

#include "../../formats/whole_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/sysmacros.h>

TestSuite(whole_file, .init = temp_make, .fini = temp_remove);

#define MUST(call) cr_assert(eq(int, (int)(call), DT_OK), "%s: %s", #call, dt_last_error())

/* ---- helpers ---- */

static int put_text(const void *user, FILE *file)
{
    return fputs(user, file) >= 0;
}

static int put_and_fail(const void *user, FILE *file)
{
    if (fputs(user, file) < 0 || fflush(file) != 0) return 0;
    errno = ENOSPC;
    return 0;
}

/* A copy: temp_path has one buffer. */
static const char *in_folder(const char *name)
{
    static char path[8][2 * TEMP_PATH_BYTES];
    static int next;

    next = (next + 1) % 8;
    snprintf(path[next], sizeof path[next], "%s", temp_path(name));
    return path[next];
}

static void link_to(const char *to, const char *name)
{
    cr_assert(eq(int, symlink(to, temp_path(name)), 0), "%s", strerror(errno));
}

static mode_t mode_of(const char *name)
{
    struct stat is;

    cr_assert(eq(int, lstat(temp_path(name), &is), 0), "%s: %s", name, strerror(errno));
    return is.st_mode;
}

/* type: S_IFLNK, S_IFREG, .. */
static void expect_type(const char *name, mode_t type)
{
    cr_assert(eq(int, (int)(mode_of(name) & S_IFMT), (int)type), "%s", name);
}

static void expect_text(const char *name, const char *expected)
{
    char text[64] = "";
    FILE *file = fopen(temp_path(name), "rb");

    cr_assert(file != NULL, "%s: %s", name, strerror(errno));
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    cr_assert(eq(str, (char *)text, (char *)expected), "%s", name);
}

static int n_temporary;

static int count_temporary(const char *path, const struct stat *st, int type, struct FTW *walk)
{
    (void)st, (void)type, (void)walk;
    n_temporary += strstr(path, ".tmp-") != NULL;
    return 0;
}

static void expect_no_temporary(void)
{
    n_temporary = 0;
    nftw(temp_folder, count_temporary, 8, FTW_PHYS);
    cr_assert(eq(int, n_temporary, 0));
}

static void expect_refused_with(dt_status got, const char *part)
{
    cr_assert(eq(int, (int)got, (int)DT_ERR_IO));
    cr_assert(strstr(dt_last_error(), part) != NULL, "no '%s' in '%s'", part, dt_last_error());
    expect_no_temporary();
}

/* ---- plain files ---- */

Test(whole_file, a_new_file_gets_the_umask_and_a_replaced_one_keeps_its_mode)
{
    umask(027);
    MUST(dt_whole_file_write(in_folder("a"), put_text, "one"));
    cr_assert(eq(int, (int)mode_of("a"), S_IFREG | 0640));
    cr_assert(eq(int, chmod(temp_path("a"), 0604), 0));
    MUST(dt_whole_file_write(in_folder("a"), put_text, "two"));
    cr_assert(eq(int, (int)mode_of("a"), S_IFREG | 0604));
    expect_text("a", "two");
    expect_no_temporary();
}

Test(whole_file, a_failure_leaves_the_old_file)
{
    temp_write("a", "old", 3);
    expect_refused_with(dt_whole_file_write(in_folder("a"), put_and_fail, "new"), "No space left on device");
    expect_text("a", "old");
}

Test(whole_file, a_folder_is_refused)
{
    cr_assert(eq(int, mkdir(temp_path("a"), 0777), 0));
    expect_refused_with(dt_whole_file_write(in_folder("a"), put_text, "new"), "is a folder");
    expect_refused_with(dt_whole_file_write(in_folder("none/a"), put_text, "new"), "none/a.tmp-");
}

Test(whole_file, bytes_are_replaced_through_the_public_interface)
{
    MUST(dt_file_replace(in_folder("a"), "a\0b", 3));
    MUST(dt_file_replace(in_folder("a"), "xyz\n", 4));
    expect_text("a", "xyz\n");
    MUST(dt_file_replace(in_folder("a"), "", 0));
    expect_text("a", "");
}

/* ---- links ---- */

Test(whole_file, a_link_stays_and_its_target_is_replaced)
{
    cr_assert(eq(int, mkdir(temp_path("store"), 0777), 0));
    temp_write("store/net", "old", 3);
    link_to("store/net", "relative");
    link_to(in_folder("store/net"), "absolute");
    link_to("../relative", "store/chain"); /* two links, each from its own folder */
    MUST(dt_whole_file_write(in_folder("relative"), put_text, "one"));
    expect_text("store/net", "one");
    MUST(dt_whole_file_write(in_folder("absolute"), put_text, "two"));
    expect_text("store/net", "two");
    MUST(dt_whole_file_write(in_folder("store/chain"), put_text, "three"));
    expect_text("store/net", "three");
    expect_type("relative", S_IFLNK);
    expect_type("absolute", S_IFLNK);
    expect_type("store/chain", S_IFLNK);
    expect_type("store/net", S_IFREG);
    expect_no_temporary();
}

Test(whole_file, a_failure_leaves_the_links_target)
{
    temp_write("net", "old", 3);
    link_to("net", "link");
    expect_refused_with(dt_whole_file_write(in_folder("link"), put_and_fail, "new"), "No space left on device");
    expect_text("net", "old");
    expect_type("link", S_IFLNK);
}

Test(whole_file, a_link_to_what_is_not_there_makes_it)
{
    link_to("net", "link");
    MUST(dt_whole_file_write(in_folder("link"), put_text, "new"));
    expect_type("link", S_IFLNK);
    expect_type("net", S_IFREG);
    expect_text("net", "new");
    link_to("none/net", "nowhere");
    expect_refused_with(dt_whole_file_write(in_folder("nowhere"), put_text, "new"), "none/net.tmp-");
    expect_type("nowhere", S_IFLNK);
}

Test(whole_file, links_in_a_circle_are_refused)
{
    link_to("b", "a");
    link_to("a", "b");
    expect_refused_with(dt_whole_file_write(in_folder("a"), put_text, "new"), "links");
    expect_type("a", S_IFLNK);
    expect_type("b", S_IFLNK);
}

/* ---- what is no plain file ---- */

static void expect_read(int fd, const char *expected)
{
    char text[64] = "";

    cr_assert(read(fd, text, sizeof text - 1) >= 0, "%s", strerror(errno));
    cr_assert(eq(str, (char *)text, (char *)expected));
}

Test(whole_file, a_pipe_is_written_into)
{
    cr_assert(eq(int, mkfifo(temp_path("pipe"), 0666), 0));
    link_to("pipe", "link");
    const int fd = open(temp_path("pipe"), O_RDWR | O_NONBLOCK); /* with a reader no writer waits */
    MUST(dt_whole_file_write(in_folder("pipe"), put_text, "one"));
    expect_read(fd, "one");
    MUST(dt_whole_file_write(in_folder("link"), put_text, "two"));
    expect_read(fd, "two");
    expect_type("pipe", S_IFIFO);
    expect_type("link", S_IFLNK);
    expect_no_temporary();
    close(fd);
    cr_assert(eq(int, dt_whole_file_write(in_folder("pipe"), put_text, "three"), DT_ERR_IO), "nobody reads");
    cr_assert(ne(ptr, (void *)strstr(dt_last_error(), "a pipe that nobody reads"), NULL), "%s", dt_last_error());
    expect_type("pipe", S_IFIFO);
}

Test(whole_file, a_device_stays_one)
{
    link_to("/dev/full", "full");
    expect_refused_with(dt_whole_file_write(in_folder("full"), put_text, "new"), "full: cannot be written: No space");
    expect_type("full", S_IFLNK);
    link_to("/dev/null", "null");
    MUST(dt_whole_file_write(in_folder("null"), put_text, "new"));
    expect_type("null", S_IFLNK);
}

TestSuite(whole_file_root);

Test(whole_file_root, a_device_of_ones_own_stays_one)
{
    temp_make();
    if (mknod(temp_path("device"), S_IFCHR | 0666, makedev(1, 3)) != 0) {
        temp_remove();
        cr_skip_test("mknod: %s", strerror(errno));
    }
    MUST(dt_whole_file_write(in_folder("device"), put_text, "new"));
    expect_type("device", S_IFCHR);
    expect_no_temporary();
    temp_remove();
}

Test(whole_file, a_descriptor_is_written_into_where_it_stands)
{
    char name[64];

    temp_write("log", "begin\n", 6);
    const int fd = open(temp_path("log"), O_WRONLY | O_APPEND);
    snprintf(name, sizeof name, "/dev/fd/%d", fd);
    MUST(dt_whole_file_write(name, put_text, "one\n"));
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    link_to(name, "link");
    MUST(dt_whole_file_write(in_folder("link"), put_text, "two\n"));
    expect_text("log", "begin\none\ntwo\n");
    close(fd);
    expect_refused_with(dt_whole_file_write(name, put_text, "three\n"), "Bad file descriptor");
}
