/*
 * patterns.c - a list of patterns on the command line: "conv1,fc*".
 */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

void pattern_list_free(pattern_list *p)
{
    free(p->text);
    free(p->item);
    *p = (pattern_list){ 0 };
}

dt_status pattern_list_read(const char *text, pattern_list *out)
{
    pattern_list p = { .text = strdup(text ? text : "") };
    char *rest;

    p.item = malloc((strlen(text ? text : "") + 1) * sizeof *p.item);
    if (!p.text || !p.item) {
        pattern_list_free(&p);
        return dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory for a list of layers");
    }
    for (char *one = strtok_r(p.text, ",", &rest); one; one = strtok_r(NULL, ",", &rest)) p.item[p.n++] = one;
    *out = p;
    return DT_OK;
}
