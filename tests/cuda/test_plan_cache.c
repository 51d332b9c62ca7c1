/*
 * test_plan_cache.c - choices kept on disk: what is written is read again, what is broken counts as nothing, and of
 * many processes at once one decides for all.
 */
#include <criterion/criterion.h>

#ifdef DETENT_HAVE_CUDA

#include "../../cuda/cudnn/plan_cache.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATH_BYTES = 512, CHOICE_BYTES = 64 };

static const char key[] = "cuDNN 91900, a GPU, forward, x 1x2x3x4";
static char folder[] = "/tmp/detent-cache-XXXXXX"; /* a new one for each test */

static void enter(void)
{
    cr_assert(mkdtemp(folder) != NULL);
    cr_assert(setenv("DETENT_CACHE", folder, 1) == 0);
}

static void leave(void)
{
    char command[PATH_BYTES];

    snprintf(command, sizeof command, "rm -rf %s", folder);
    cr_assert(system(command) == 0);
}

TestSuite(plan_cache, .init = enter, .fini = leave);

/* Files and folders in a folder; the last one's path. */
static int count_entries(const char *of, char *path)
{
    DIR *dir = opendir(of);
    int n = 0;

    cr_assert(dir != NULL, "there is no %s", of);
    for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        if (e->d_name[0] == '.') continue;
        if (path) snprintf(path, PATH_BYTES, "%s/%s", of, e->d_name);
        n++;
    }
    closedir(dir);
    return n;
}

static void keep(const char *k, const char *choice, const char *want)
{
    char kept[CHOICE_BYTES];

    snprintf(kept, sizeof kept, "%s", choice);
    cr_assert(dt_plan_cache_keep(k, kept, sizeof kept), "%s was not kept", choice);
    cr_assert_str_eq(kept, want);
    cr_assert(dt_plan_cache_read(k, kept, sizeof kept));
    cr_assert_str_eq(kept, want);
}

static void must_be_unknown(const char *k)
{
    char choice[CHOICE_BYTES] = "untouched";

    cr_assert(!dt_plan_cache_read(k, choice, sizeof choice), "found %s", choice);
    cr_assert_str_eq(choice, "untouched");
}

Test(plan_cache, keeps_what_is_first)
{
    must_be_unknown(key);
    keep(key, "62 2=1 3=0", "62 2=1 3=0");
    keep(key, "47", "62 2=1 3=0");
    dt_plan_cache_forget(key);
    must_be_unknown(key);
    keep(key, "47", "47");
    must_be_unknown("cuDNN 91900, a GPU, forward, x 1x2x3x5");
    keep("another", "47", "47");
    cr_assert_eq(count_entries(folder, NULL), 2, "nothing is left beside the entries");
}

Test(plan_cache, a_choice_must_fit)
{
    char small[5] = "1234", longer[] = "12345";

    keep(key, "12345", "12345");
    cr_assert(!dt_plan_cache_read(key, small, sizeof small));
    cr_assert(!dt_plan_cache_keep(key, small, sizeof small), "the one that was kept does not fit");
    cr_assert_str_eq(small, "1234");
    cr_assert(dt_plan_cache_read(key, longer, sizeof longer));
}

Test(plan_cache, what_breaks_the_format_is_not_kept)
{
    char broken[] = "two\nlines", empty[] = "", *huge = calloc(1, 10000);

    memset(huge, 'x', 9999);
    cr_expect(!dt_plan_cache_keep(key, broken, sizeof broken));
    cr_expect(!dt_plan_cache_keep(key, empty, sizeof empty));
    cr_expect(!dt_plan_cache_keep(key, huge, 10000));
    cr_expect(!dt_plan_cache_keep(huge, broken, sizeof broken));
    must_be_unknown(huge);
    cr_assert_eq(count_entries(folder, NULL), 0);
    free(huge);
}

/* Every entry that is not whole, or not of this key and format, is none, and gives way. */
Test(plan_cache, broken_entries_are_replaced)
{
    static const char *const broken[] = {
        "",
        "detent",
        "detent choice 1\n",
        "detent choice 1\nkey: cuDNN 91900, a GPU, forward, x 1x2x3x4\nchoice: ",
        "detent choice 1\nkey: cuDNN 91900, a GPU, forward, x 1x2x3x4\nchoice: \n",
        "detent choice 1\nkey: cuDNN 91900, a GPU, forward, x 1x2x3x4\nchoice: 62 2=",
        "detent choice 1\nkey: cuDNN 91900, a GPU, forward, x 1x2x3x4\nchoice: 62\n47\n",
        "detent choice 1\nkey: cuDNN 91800, a GPU, forward, x 1x2x3x4\nchoice: 62\n",
        "detent choice 2\nkey: cuDNN 91900, a GPU, forward, x 1x2x3x4\nchoice: 62\n",
        "detent choice 1\r\nkey: cuDNN 91900, a GPU, forward, x 1x2x3x4\r\nchoice: 62\r\n",
    };
    char path[PATH_BYTES];

    keep(key, "62", "62");
    cr_assert_eq(count_entries(folder, path), 1);
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        FILE *file = fopen(path, "w");
        fputs(broken[i], file);
        fclose(file);
        must_be_unknown(key);
        keep(key, "47", "47");
    }
    FILE *file = fopen(path, "w");
    for (int i = 0; i < 100000; i++) fputc(i % 256, file);
    fclose(file);
    must_be_unknown(key);
    keep(key, "47", "47");
    cr_assert_eq(count_entries(folder, NULL), 1);
}

/* The file is what plan_cache.c says, so that other versions can be told from it. */
Test(plan_cache, an_entry_is_text)
{
    char path[PATH_BYTES], text[PATH_BYTES] = "";

    keep(key, "62 2=1", "62 2=1");
    cr_assert_eq(count_entries(folder, path), 1);
    FILE *file = fopen(path, "r");
    cr_assert(file && fread(text, 1, sizeof text - 1, file) > 0);
    fclose(file);
    cr_assert_str_eq(text, "detent choice 1\nkey: cuDNN 91900, a GPU, forward, x 1x2x3x4\nchoice: 62 2=1\n");
}

Test(plan_cache, where_nothing_can_be_written)
{
    char path[PATH_BYTES], choice[CHOICE_BYTES] = "62";

    keep(key, "62", "62");
    cr_assert_eq(count_entries(folder, path), 1);
    cr_assert(setenv("DETENT_CACHE", path, 1) == 0); /* a file */
    must_be_unknown(key);
    cr_expect(!dt_plan_cache_keep(key, choice, sizeof choice));
    cr_assert(setenv("DETENT_CACHE", folder, 1) == 0);
    cr_assert(unlink(path) == 0 && mkdir(path, 0777) == 0); /* a folder in an entry's place */
    must_be_unknown(key);
    cr_expect(!dt_plan_cache_keep(key, choice, sizeof choice));
    cr_assert_str_eq(choice, "62");
    cr_assert_eq(count_entries(folder, NULL), 1);
}

static void set_folders(const char *own, const char *caches, const char *home)
{
    const char *const names[] = { "DETENT_CACHE", "XDG_CACHE_HOME", "HOME" }, *const values[] = { own, caches, home };

    for (int i = 0; i < 3; i++) {
        if (values[i])
            setenv(names[i], values[i], 1);
        else
            unsetenv(names[i]);
    }
}

Test(plan_cache, the_folder_is_what_the_environment_says)
{
    char own[PATH_BYTES], caches[PATH_BYTES], home[PATH_BYTES], choice[CHOICE_BYTES] = "62";

    snprintf(own, sizeof own, "%s/a/b", folder);
    snprintf(caches, sizeof caches, "%s/c", folder);
    snprintf(home, sizeof home, "%s/d", folder);
    set_folders(own, caches, home);
    cr_expect(!dt_plan_cache_is_off());
    keep(key, "1", "1");
    cr_expect_eq(count_entries(own, NULL), 1);
    set_folders(NULL, caches, home);
    must_be_unknown(key);
    keep(key, "2", "2");
    set_folders(NULL, "relative", home);
    must_be_unknown(key);
    keep(key, "3", "3");
    set_folders(NULL, NULL, home);
    keep(key, "4", "3");
    strcat(caches, "/detent");
    strcat(home, "/.cache/detent");
    cr_expect_eq(count_entries(caches, NULL), 1);
    cr_expect_eq(count_entries(home, NULL), 1);
    set_folders("", NULL, home); /* switched off */
    cr_expect(dt_plan_cache_is_off());
    must_be_unknown(key);
    cr_expect(!dt_plan_cache_keep(key, choice, sizeof choice));
    set_folders(NULL, NULL, NULL);
    cr_expect(dt_plan_cache_is_off());
    cr_expect(!dt_plan_cache_keep(key, choice, sizeof choice));
}

/* A process of its own: keeps its number, and exits with the number that the cache holds then. */
static pid_t start_keeper(int number, int go)
{
    const pid_t child = fork();
    char choice[CHOICE_BYTES], signal;

    if (child != 0) return child;
    snprintf(choice, sizeof choice, "%d", number);
    if (read(go, &signal, 1) < 0 || !dt_plan_cache_keep(key, choice, sizeof choice)) _exit(0);
    _exit(atoi(choice));
}

Test(plan_cache, one_process_decides_for_all)
{
    enum { KEEPERS = 8, ROUNDS = 20 };

    for (int round = 0; round < ROUNDS; round++) {
        char path[PATH_BYTES];
        int go[2], first = 0;
        pid_t child[KEEPERS];

        cr_assert(pipe(go) == 0);
        for (int i = 0; i < KEEPERS; i++) child[i] = start_keeper(i + 1, go[0]);
        cr_assert(write(go[1], "12345678", KEEPERS) == KEEPERS);
        for (int i = 0; i < KEEPERS; i++) {
            int status;
            cr_assert(waitpid(child[i], &status, 0) == child[i] && WIFEXITED(status) && WEXITSTATUS(status) > 0);
            if (i == 0) first = WEXITSTATUS(status);
            cr_assert_eq(WEXITSTATUS(status), first, "processes disagree: %d and %d", first, WEXITSTATUS(status));
        }
        close(go[0]);
        close(go[1]);
        cr_assert_eq(count_entries(folder, path), 1);
        cr_assert(unlink(path) == 0);
    }
}

#else

Test(plan_cache, all)
{
    cr_skip_test("built without CUDA; test_plan_cache_simt has it");
}

#endif
