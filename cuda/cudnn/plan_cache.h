/*
 * plan_cache.h - choices that took time to make, kept on disk from run to run: one small text file each.
 *
 * A key says what was chosen for, the choice is text too; neither holds a line break. The folder is $DETENT_CACHE, else
 * $XDG_CACHE_HOME/detent, else $HOME/.cache/detent. An empty DETENT_CACHE switches the cache off.
 *
 * Several processes may ask and keep at once; whoever is first decides for all. An entry that is broken, or of another
 * key or format, counts as none and is replaced.  Tests: tests/cuda/test_plan_cache.c.
 */
#ifndef DT_PLAN_CACHE_H
#define DT_PLAN_CACHE_H

#include <stddef.h>

/* 1 if nothing will be kept, as there is no folder for it. */
int dt_plan_cache_is_off(void);

/* 1: `choice`, of at most `bytes` with its end, is what was kept for key; 0: nothing that can be read. */
int dt_plan_cache_read(const char *key, char *choice, size_t bytes);

/* Keeps a choice. 1: `choice` is what the cache now holds: ours, or that of a process that was first; 0: it could not
 * be kept, and `choice` is as before. */
int dt_plan_cache_keep(const char *key, char *choice, size_t bytes);

/* Of a choice that turned out to be none: the next one is kept in its place. */
void dt_plan_cache_forget(const char *key);

#endif /* DT_PLAN_CACHE_H */
