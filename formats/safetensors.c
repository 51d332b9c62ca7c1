/*
 * safetensors.c - the reader, which checks everything in a file before it uses it. Format: safetensors.h.
 *
 * The header is read and checked at open. Data are read tensor by tensor from the same open file, so that a file that
 * is renamed to the path meanwhile does not mix with it. Writer: safetensors_writer.c.  Tests:
 * tests/formats/test_safetensors.c.
 */
#include "safetensors.h"
#include "foreign_file.h"
#include "json_value.h"
#include "utf8.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEADER_MAX = 100000000 }; /* bytes; the limit of the reference implementation */

#define WHOLE_MAX 9007199254740991.0 /* 2^53 - 1: integers up to here survive JSON's doubles */

struct dt_safetensors {
    char *path;
    int fd;
    int64_t data_first; /* offset of the data in the file */
    int64_t data_bytes;
    cJSON *header;         /* owns names and metadata */
    const cJSON *metadata; /* NULL if there is none */
    dt_safetensors_tensor *tensor;
    int n_tensors;
};

static const struct {
    const char *name;
    int bits;
} types[DT_SAFETENSORS_TYPE_COUNT] = {
#define XX(name, bits) { #name, bits },
    DT_SAFETENSORS_TYPE_MAP(XX)
#undef XX
};

const char *dt_safetensors_type_name(dt_safetensors_type type)
{
    return types[type].name;
}

/* Exactly `bytes` bytes from `first` on. */
static dt_status read_at(const dt_safetensors *f, int64_t first, void *to, int64_t bytes)
{
    char *at = to;

    for (int64_t done = 0; done < bytes;) {
        const ssize_t n = pread(f->fd, at + done, (size_t)(bytes - done), first + done);
        if (n < 0 && errno == EINTR) continue;
        DT_CHECK(n >= 0, DT_ERR_IO, "%s: cannot be read: %s", f->path, strerror(errno));
        DT_CHECK(n > 0, DT_ERR_FORMAT, "%s: ends at byte %" PRId64 ", expected at least %" PRId64 " bytes", f->path,
                 first + done, first + bytes);
        done += n;
    }
    return DT_OK;
}

static dt_status open_file(dt_safetensors *f, int64_t *bytes)
{
    struct stat about;

    f->fd = open(f->path, O_RDONLY | O_CLOEXEC);
    DT_CHECK(f->fd >= 0, DT_ERR_IO, "%s: cannot be opened: %s", f->path, strerror(errno));
    DT_CHECK(fstat(f->fd, &about) == 0, DT_ERR_IO, "%s: cannot be read: %s", f->path, strerror(errno));
    DT_CHECK(S_ISREG(about.st_mode), DT_ERR_IO, "%s: not a regular file", f->path);
    *bytes = about.st_size;
    return DT_OK;
}

/* Of a file that cannot be one: what it is, if its first bytes tell. */
static dt_status check_kind(const dt_safetensors *f, int64_t file_bytes)
{
    unsigned char begin[DT_FOREIGN_BYTES];
    const int64_t n = file_bytes < DT_FOREIGN_BYTES ? file_bytes : DT_FOREIGN_BYTES;

    DT_TRY(read_at(f, 0, begin, n));
    const char *what = dt_foreign_file(begin, (size_t)n);
    DT_CHECK(!what, DT_ERR_FORMAT, "%s: %s", f->path, what);
    return DT_OK;
}

/* The header's text with a NUL behind it; the caller frees it. Sets where the data lies. */
static dt_status read_header(dt_safetensors *f, int64_t file_bytes, char **text, int64_t *text_bytes)
{
    unsigned char prefix[8];
    uint64_t n = 0;

    DT_CHECK(file_bytes >= 8, DT_ERR_FORMAT, "%s: has %" PRId64 " bytes, a safetensors file has at least 8", f->path,
             file_bytes);
    DT_TRY(read_at(f, 0, prefix, 8));
    for (int i = 7; i >= 0; i--) n = n << 8 | prefix[i];
    if (n > (uint64_t)file_bytes - 8) DT_TRY(check_kind(f, file_bytes));
    DT_CHECK(n <= (uint64_t)file_bytes - 8, DT_ERR_FORMAT,
             "%s: header length is %" PRIu64 " but %" PRId64 " bytes follow; not a safetensors file, or cut short",
             f->path, n, file_bytes - 8);
    DT_CHECK(n <= HEADER_MAX, DT_ERR_FORMAT, "%s: header length is %" PRIu64 ", limit %d", f->path, n, HEADER_MAX);
    f->data_first = 8 + (int64_t)n;
    f->data_bytes = file_bytes - f->data_first;

    char *buffer = malloc((size_t)n + 1);
    DT_CHECK(buffer, DT_ERR_MEMORY, "%s: no memory for a header of %" PRIu64 " bytes", f->path, n);
    const dt_status s = read_at(f, 8, buffer, (int64_t)n);
    if (s != DT_OK) {
        free(buffer);
        return dt_forward(s, __FILE__, __LINE__);
    }
    buffer[n] = '\0';
    *text = buffer;
    *text_bytes = (int64_t)n;
    return DT_OK;
}

/* cJSON checks neither UTF-8 nor what follows the value, and would let \u0000 end a name early. */
static dt_status parse_text(dt_safetensors *f, const char *text, int64_t bytes)
{
    const char *end = NULL;
    const int64_t bad = dt_utf8_find_bad(text, bytes);

    DT_CHECK(bad < 0, DT_ERR_FORMAT, "%s: header byte %" PRId64 " (0x%02x) is not UTF-8 text", f->path, bad,
             (unsigned char)text[bad]);
    DT_CHECK(text[0] == '{', DT_ERR_FORMAT, "%s: header starts with 0x%02x, expected '{'", f->path,
             (unsigned char)text[0]);
    for (const char *escape = strchr(text, '\\'); escape; escape = strchr(escape + 2, '\\')) {
        DT_CHECK(strncmp(escape, "\\u0000", 6) != 0, DT_ERR_FORMAT, "%s: header has a NUL at byte %" PRId64, f->path,
                 (int64_t)(escape - text));
        if (escape[1] == '\0') break;
    }
    dt_json_begin();
    f->header = cJSON_ParseWithOpts(text, &end, 0);
    DT_CHECK(f->header || !dt_json_lost(), DT_ERR_MEMORY, "%s: no memory for its header", f->path);
    DT_CHECK(f->header, DT_ERR_FORMAT, "%s: header is not JSON from byte %" PRId64 " on", f->path,
             end ? (int64_t)(end - text) : 0);
    end += strspn(end, " ");
    DT_CHECK(end == text + bytes, DT_ERR_FORMAT, "%s: header goes on after its JSON, at byte %" PRId64, f->path,
             (int64_t)(end - text));
    return DT_OK;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static dt_status check_names_unique(const dt_safetensors *f, const cJSON *object)
{
    const int n = cJSON_GetArraySize(object);
    const char **names = malloc(((size_t)n + 1) * sizeof *names);
    const char *twice = NULL;
    const cJSON *item;
    int k = 0;

    DT_CHECK(names, DT_ERR_MEMORY, "%s: no memory for %d names", f->path, n);
    cJSON_ArrayForEach(item, object) names[k++] = item->string;
    qsort(names, (size_t)n, sizeof *names, compare_names);
    for (int i = 1; i < n; i++) {
        if (strcmp(names[i - 1], names[i]) == 0) twice = names[i];
    }
    free(names);
    DT_CHECK(!twice, DT_ERR_FORMAT, "%s: the name '%.80s' stands there twice", f->path, twice);
    return DT_OK;
}

static dt_status check_metadata(dt_safetensors *f)
{
    const cJSON *item;

    f->metadata = cJSON_GetObjectItemCaseSensitive(f->header, "__metadata__");
    if (!f->metadata) return DT_OK;
    DT_CHECK(cJSON_IsObject(f->metadata), DT_ERR_FORMAT, "%s: __metadata__ is not an object", f->path);
    cJSON_ArrayForEach(item, f->metadata)
    {
        DT_CHECK(cJSON_IsString(item), DT_ERR_FORMAT, "%s: __metadata__ '%.80s' is not a string", f->path,
                 item->string);
    }
    DT_TRY(check_names_unique(f, f->metadata));
    return DT_OK;
}

static int whole_number(const cJSON *item, int64_t *out)
{
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0.0 && item->valuedouble <= WHOLE_MAX)) return 0;
    *out = (int64_t)item->valuedouble;
    return (double)*out == item->valuedouble;
}

static dt_status parse_type(const dt_safetensors *f, const char *dtype, dt_safetensors_tensor *t)
{
    for (int i = 0; i < DT_SAFETENSORS_TYPE_COUNT; i++) {
        if (strcmp(dtype, types[i].name) != 0) continue;
        t->type = (dt_safetensors_type)i;
        return DT_OK;
    }
    return dt_raise(DT_ERR_FORMAT, __FILE__, __LINE__, "%s: tensor '%.80s': dtype '%.20s' is not known", f->path,
                    t->name, dtype);
}

static dt_status parse_shape(const dt_safetensors *f, const cJSON *shape, dt_safetensors_tensor *t)
{
    const cJSON *item;

    t->count = 1;
    cJSON_ArrayForEach(item, shape)
    {
        int64_t n;
        DT_CHECK(t->ndim < DT_SAFETENSORS_MAX_DIMS, DT_ERR_FORMAT, "%s: tensor '%.80s': %d dimensions, limit %d",
                 f->path, t->name, cJSON_GetArraySize(shape), DT_SAFETENSORS_MAX_DIMS);
        DT_CHECK(whole_number(item, &n), DT_ERR_FORMAT,
                 "%s: tensor '%.80s': shape[%d] is not a whole number of 0..2^53-1", f->path, t->name, t->ndim);
        DT_CHECK(n == 0 || t->count <= (int64_t)WHOLE_MAX / n, DT_ERR_FORMAT,
                 "%s: tensor '%.80s': its element count overflows at shape[%d] = %" PRId64, f->path, t->name, t->ndim,
                 n);
        t->dim[t->ndim++] = n;
        t->count *= n;
    }
    return DT_OK;
}

static dt_status parse_offsets(const dt_safetensors *f, const cJSON *offsets, dt_safetensors_tensor *t)
{
    const int64_t bits = t->count * types[t->type].bits; /* less than 2^60 */

    DT_CHECK(cJSON_GetArraySize(offsets) == 2 && whole_number(offsets->child, &t->begin) &&
                 whole_number(offsets->child->next, &t->end),
             DT_ERR_FORMAT, "%s: tensor '%.80s': data_offsets are not two whole numbers", f->path, t->name);
    DT_CHECK(t->begin <= t->end && t->end <= f->data_bytes, DT_ERR_FORMAT,
             "%s: tensor '%.80s': data_offsets are %" PRId64 "..%" PRId64 ", expected within 0..%" PRId64
             "; the file is damaged or cut short",
             f->path, t->name, t->begin, t->end, f->data_bytes);
    DT_CHECK(bits % 8 == 0, DT_ERR_FORMAT,
             "%s: tensor '%.80s': %" PRId64 " elements of %d bits are no whole number of bytes", f->path, t->name,
             t->count, types[t->type].bits);
    DT_CHECK(t->end - t->begin == bits / 8, DT_ERR_FORMAT,
             "%s: tensor '%.80s': data_offsets span %" PRId64 " bytes, its shape and dtype need %" PRId64, f->path,
             t->name, t->end - t->begin, bits / 8);
    return DT_OK;
}

static dt_status parse_tensor(const dt_safetensors *f, const cJSON *item, dt_safetensors_tensor *t)
{
    const cJSON *dtype = cJSON_GetObjectItemCaseSensitive(item, "dtype");
    const cJSON *shape = cJSON_GetObjectItemCaseSensitive(item, "shape");
    const cJSON *offsets = cJSON_GetObjectItemCaseSensitive(item, "data_offsets");

    t->name = item->string;
    DT_CHECK(cJSON_IsObject(item) && cJSON_GetArraySize(item) == 3 && cJSON_IsString(dtype) && cJSON_IsArray(shape) &&
                 cJSON_IsArray(offsets),
             DT_ERR_FORMAT, "%s: tensor '%.80s': expected a string dtype, lists shape and data_offsets, and no more",
             f->path, t->name);
    DT_TRY(parse_type(f, dtype->valuestring, t));
    DT_TRY(parse_shape(f, shape, t));
    DT_TRY(parse_offsets(f, offsets, t));
    return DT_OK;
}

static dt_status parse_tensors(dt_safetensors *f)
{
    const cJSON *item;

    f->tensor = calloc((size_t)cJSON_GetArraySize(f->header) + 1, sizeof *f->tensor);
    DT_CHECK(f->tensor, DT_ERR_MEMORY, "%s: no memory for %d tensors", f->path, cJSON_GetArraySize(f->header));
    cJSON_ArrayForEach(item, f->header)
    {
        if (item == f->metadata) continue;
        DT_TRY(parse_tensor(f, item, &f->tensor[f->n_tensors]));
        f->n_tensors++;
    }
    return DT_OK;
}

/* Empty tensors come before the one that begins where they do. */
static int compare_places(const void *a, const void *b)
{
    const dt_safetensors_tensor *s = *(const dt_safetensors_tensor *const *)a;
    const dt_safetensors_tensor *t = *(const dt_safetensors_tensor *const *)b;

    if (s->begin != t->begin) return s->begin < t->begin ? -1 : 1;
    return (s->end > t->end) - (s->end < t->end);
}

static dt_status check_sorted_places(const dt_safetensors *f, const dt_safetensors_tensor *const *sorted)
{
    int64_t at = 0;

    for (int i = 0; i < f->n_tensors; i++) {
        DT_CHECK(sorted[i]->begin == at, DT_ERR_FORMAT,
                 "%s: tensor '%.80s' begins at byte %" PRId64 ", expected %" PRId64 ": %s", f->path, sorted[i]->name,
                 sorted[i]->begin, at, sorted[i]->begin < at ? "it overlaps another" : "there is a hole before it");
        at = sorted[i]->end;
    }
    DT_CHECK(at == f->data_bytes, DT_ERR_FORMAT,
             "%s: tensors end at byte %" PRId64 " of the data, expected %" PRId64 ": the rest belongs to none", f->path,
             at, f->data_bytes);
    return DT_OK;
}

/* The tensors, in some order, tile the data. */
static dt_status check_places(const dt_safetensors *f)
{
    const dt_safetensors_tensor **sorted = malloc(((size_t)f->n_tensors + 1) * sizeof *sorted);

    DT_CHECK(sorted, DT_ERR_MEMORY, "%s: no memory for %d tensors", f->path, f->n_tensors);
    for (int i = 0; i < f->n_tensors; i++) sorted[i] = &f->tensor[i];
    qsort(sorted, (size_t)f->n_tensors, sizeof *sorted, compare_places);
    const dt_status s = check_sorted_places(f, sorted);
    free(sorted);
    return s;
}

static dt_status load_header(dt_safetensors *f)
{
    int64_t file_bytes = 0, text_bytes = 0;
    char *text = NULL;

    DT_TRY(open_file(f, &file_bytes));
    DT_TRY(read_header(f, file_bytes, &text, &text_bytes));
    const dt_status s = parse_text(f, text, text_bytes);
    free(text);
    DT_TRY(s);
    DT_TRY(check_names_unique(f, f->header));
    DT_TRY(check_metadata(f));
    DT_TRY(parse_tensors(f));
    DT_TRY(check_places(f));
    return DT_OK;
}

dt_status dt_safetensors_open(const char *path, dt_safetensors **out)
{
    dt_safetensors *f = calloc(1, sizeof *f);

    if (f) f->fd = -1;
    if (f) f->path = strdup(path);
    const dt_status s =
        f && f->path ? load_header(f) : dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "%s: no memory to open it", path);
    if (s != DT_OK) {
        dt_safetensors_close(f);
        return dt_forward(s, __FILE__, __LINE__);
    }
    *out = f;
    return DT_OK;
}

void dt_safetensors_close(dt_safetensors *f)
{
    if (!f) return;
    free(f->tensor);
    cJSON_Delete(f->header);
    if (f->fd >= 0) close(f->fd);
    free(f->path);
    free(f);
}

int dt_safetensors_count(const dt_safetensors *f)
{
    return f->n_tensors;
}

const dt_safetensors_tensor *dt_safetensors_at(const dt_safetensors *f, int i)
{
    return &f->tensor[i];
}

const dt_safetensors_tensor *dt_safetensors_find(const dt_safetensors *f, const char *name)
{
    for (int i = 0; i < f->n_tensors; i++) {
        if (strcmp(f->tensor[i].name, name) == 0) return &f->tensor[i];
    }
    return NULL;
}

int dt_safetensors_has_shape(const dt_safetensors_tensor *t, int ndim, const int64_t *dim)
{
    int64_t count = 1;

    for (int i = 0; i < ndim; i++) count *= dim[i];
    if (count == 1 && t->count == 1) return 1;
    return t->ndim == ndim && memcmp(t->dim, dim, (size_t)ndim * sizeof *dim) == 0;
}

const char *dt_safetensors_metadata(const dt_safetensors *f, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(f->metadata, key);

    return item ? item->valuestring : NULL;
}

dt_status dt_safetensors_read(const dt_safetensors *f, const dt_safetensors_tensor *t, void *to)
{
    DT_TRY(read_at(f, f->data_first + t->begin, to, t->end - t->begin));
    return DT_OK;
}
