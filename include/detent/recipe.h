/*
 * recipe.h - recipes: settings by which networks are trained, by name.
 */
#ifndef DT_PUBLIC_RECIPE_H
#define DT_PUBLIC_RECIPE_H

#include "model.h"
#include "train.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    const char *name;
    const char *network; /* a built-in network, or a file of models/ */
    const char *dataset; /* that it is meant for */
    const char *about;
    const char
        *start;       /* the options beside the recipe with which a run begins, such as "--init DIR/last.safetensors" */
    const char *seen; /* what it has reached, on what and in how long, where that was seen; NULL: it was not */
} dt_recipe_info;

/* Describes recipe i; returns 0 if there are not so many. */
DT_API int dt_recipe(int i, dt_recipe_info *out);

#ifdef __cplusplus
}
#endif
#endif /* DT_PUBLIC_RECIPE_H */
