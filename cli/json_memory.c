/*
 * json_memory.c - JSON of the command line that is whole or not there. cJSON leaves out what it has no memory for; its
 * hooks remember here that it has, and what is made after that is not given out.
 *
 * Tests: tests/cli/test_cli_shortage.sh.
 */
#include "cli.h"

#include <stdatomic.h>
#include <stdlib.h>

static atomic_int lost;

static void *take(size_t bytes)
{
    void *p = malloc(bytes);

    if (!p) atomic_store(&lost, 1);
    return p;
}

void json_memory_watch(void)
{
    cJSON_Hooks hooks = { take, free };

    cJSON_InitHooks(&hooks);
}

int json_memory_lost(void)
{
    return atomic_load(&lost);
}

static char *if_whole(char *text)
{
    if (!json_memory_lost()) return text;
    cJSON_free(text);
    return NULL;
}

char *json_text(const cJSON *item)
{
    return if_whole(cJSON_Print(item));
}

char *json_line(const cJSON *item)
{
    return if_whole(cJSON_PrintUnformatted(item));
}
