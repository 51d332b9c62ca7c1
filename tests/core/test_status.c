/*
 * test_status.c - a failure's text is for people alone; where it was raised and passed on stands in the trace.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "detent/detent.h"

static dt_status inner(int n)
{
    DT_CHECK(n < 3, DT_ERR_RANGE, "n is %d, it must be below 3", n);
    return DT_OK;
}

static dt_status outer(int n)
{
    DT_TRY(inner(n));
    return DT_OK;
}

Test(status, the_text_is_the_message_alone)
{
    cr_assert_eq(outer(5), DT_ERR_RANGE);
    cr_assert_str_eq(dt_last_error(), "n is 5, it must be below 3");
}

Test(status, the_trace_names_the_status_and_both_places)
{
    cr_assert_eq(outer(5), DT_ERR_RANGE);
    const char *trace = dt_last_trace(), *from = strstr(trace, "\n  from ");
    cr_assert(strncmp(trace, "DT_ERR_RANGE at ", strlen("DT_ERR_RANGE at ")) == 0, "%s", trace);
    cr_assert(from && strstr(from, "test_status.c:") && strstr(trace, "test_status.c:") < from, "%s", trace);
}

Test(status, a_failure_replaces_the_last_one)
{
    cr_assert_eq(outer(5), DT_ERR_RANGE);
    cr_assert_eq(inner(7), DT_ERR_RANGE);
    cr_assert_str_eq(dt_last_error(), "n is 7, it must be below 3");
    cr_assert(strstr(dt_last_trace(), "from") == NULL, "%s", dt_last_trace());
}

Test(status, no_path_of_the_build_is_seen)
{
    dt_options options;
    dt_context *ctx;
    dt_options_default(&options);
    options.backend = "abacus";
    cr_assert_eq(dt_context_create(&options, &ctx), DT_ERR_ARGUMENT);
    cr_assert(strstr(dt_last_error(), "device 'abacus' is not known") == dt_last_error(), "%s", dt_last_error());
    cr_assert(strstr(dt_last_trace(), "core/context.c:") != NULL, "%s", dt_last_trace());
    cr_assert(strchr(dt_last_trace(), '/') == strstr(dt_last_trace(), "/context.c:"), "%s", dt_last_trace());
}

Test(status, a_long_message_is_cut_and_the_trace_stays)
{
    char name[3000];
    memset(name, 'x', sizeof name);
    name[sizeof name - 1] = '\0';
    const dt_dataset_options data = { .name = name };
    dt_dataset *none;
    cr_assert(dt_dataset_open(&data, &none) != DT_OK);
    cr_assert(strlen(dt_last_error()) < 1024);
    cr_assert(strstr(dt_last_trace(), "datasets/") != NULL, "%s", dt_last_trace());
}
