/*
 * plan_cache.h - keeps choices that took time to make on disk, from run to run. Each is one small text file.
 *
 * A key is a text that says for what a choice was made, and the choice is a text too; neither has a line break. The
 * folder is $DETENT_CACHE, else $XDG_CACHE_HOME/detent, else $HOME/.cache/detent. An empty DETENT_CACHE switches the
 * cache off.
 *
 * Several processes may read and keep at the same time; the first that keeps a choice decides for all. An entry that is
 * broken, or has another key or format, counts as none and is replaced.  Tests: tests/cuda/test_plan_cache.c.
 */
#ifndef DT_PLAN_CACHE_H
#define DT_PLAN_CACHE_H

#include <stddef.h>

/* Returns 1 if nothing will be kept, because there is no folder for it. */
int dt_plan_cache_is_off(void);

/* Sets choice, of `bytes` bytes, to what was kept for key, and returns 1. It returns 0 if nothing can be read. */
int dt_plan_cache_read(const char *key, char *choice, size_t bytes);

/* Keeps a choice. It returns 1 and sets choice to what the cache now holds, which another process may have kept first.
 * It returns 0 if the choice could not be kept, and leaves choice as it is. */
int dt_plan_cache_keep(const char *key, char *choice, size_t bytes);

/* Removes a choice that turned out to be impossible, so that another can be kept in its place. */
void dt_plan_cache_forget(const char *key);

#endif /* DT_PLAN_CACHE_H */
