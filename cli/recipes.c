/*
 * recipes.c - `detent recipes`: the recipes of --recipe, with what each has reached.
 */
#include "cli.h"

#include <stdio.h>

static cJSON *json_of(const dt_recipe_info *r)
{
    cJSON *object = cJSON_CreateObject();

    cJSON_AddStringToObject(object, "name", r->name);
    cJSON_AddStringToObject(object, "network", r->network);
    cJSON_AddStringToObject(object, "dataset", r->dataset);
    cJSON_AddStringToObject(object, "about", r->about);
    cJSON_AddStringToObject(object, "start", r->start);
    if (r->seen)
        cJSON_AddStringToObject(object, "seen", r->seen);
    else
        cJSON_AddNullToObject(object, "seen");
    return object;
}

static dt_status print_all_json(void)
{
    cJSON *all = cJSON_CreateArray();
    dt_recipe_info r;

    for (int i = 0; dt_recipe(i, &r); i++) cJSON_AddItemToArray(all, json_of(&r));
    return print_json(all);
}

dt_status recipes_run(const settings *s, int *exit_code)
{
    dt_recipe_info r;

    *exit_code = EXIT_GOOD;
    if (s->json) return print_all_json();
    for (int i = 0; dt_recipe(i, &r); i++) {
        printf("%-18s %s on %s: %s\n", r.name, r.network, r.dataset, r.about);
        printf("%-18s detent train --recipe %s%s%s --dataset %s --data DIR --out DIR\n", "", r.name,
               r.start[0] ? " " : "", r.start, r.dataset);
        printf("%-18s reached: %s\n", "", r.seen ? r.seen : "not measured yet");
    }
    printf("\nw4a4 and w4a2 are vgg16-w4a4 and vgg16-w4a2. A recipe is a base: other options change single values.\n");
    return DT_OK;
}
