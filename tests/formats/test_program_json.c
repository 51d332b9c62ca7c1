/*
 * test_program_json.c - the graph in a program's file, with every field damaged, left out and repeated.
 */
#include "../support/program_damage.h"

TestSuite(program_json, .init = temp_make, .fini = temp_remove);

/* The graph's JSON in a good file; for cJSON_Delete. */
static cJSON *read_json(const dt_safetensors *f)
{
    cJSON *json = cJSON_Parse(dt_safetensors_metadata(f, "graph"));

    cr_assert(ne(ptr, json, NULL));
    return json;
}

/* What one test changes in a good file. */
typedef struct {
    const char *why;
    const char *of;    /* node, parameter or constant whose field it is; NULL: the graph's own */
    const char *field; /* of nodes: an attribute, or one of the four parts */
    const char *value; /* JSON; NULL: the field is left out */
    const char *parts[3];
} field_damage;

static const field_damage field_damages[] = {
    { "no format", NULL, "format", NULL, { "format is '', expected 'detent-network'" } },
    { "a graph of tomorrow", NULL, "version", "2", { "a network of version 2", "reads versions up to 1" } },
    { "no version", NULL, "version", NULL, { "graph.version is missing" } },
    { "no name", NULL, "name", NULL, { "graph.name is missing" } },
    { "a word for a number", NULL, "image", "[9,7,\"3\"]", { "image is [9,7,", "whole numbers" } },
    { "half a pixel", NULL, "image", "[9,7.5,3]", { "image is [9,7.5,3]", "whole numbers" } },
    { "an image of two axes", NULL, "image", "[9,7]", { "image is [9,7], expected a list of 3 to 3" } },
    { "another width", NULL, "image", "[9,17,3]", { "classifier" } },
    { "other channels", NULL, "image", "[9,7,1]", { "image.codes: table: x is 2x9x7x1, the table is 256x3" } },
    { "a side of many pixels", NULL, "image", "[4097,7,3]", { "classifier: linear: x is 2x4104" } },
    { "an image without end",
      NULL,
      "image",
      "[1073741824,1073741824,3]",
      { "image: ", "more than 2147483647 values" } },
    { "pixels as reals", NULL, "pixels", "\"unit\"", { "image.codes: table reads image, which is of the type f32" } },
    { "pixels of tomorrow", NULL, "pixels", "\"12-bit\"", { "pixels is \"12-bit\", expected one of normalised" } },
    { "another loss", NULL, "loss", "\"margin\"", { "scores alone" } },
    { "a field too many", NULL, "color", "1", { "'color' is not a field of a network" } },
    { "classes, which are known", NULL, "classes", "5", { "graph.classes is not a field" } },
    { "no nodes", NULL, "nodes", "[]", { "there are no nodes" } },
    { "nodes are no list", NULL, "nodes", "7", { "there are no nodes" } },
    { "a node that is no list", NULL, "nodes", "[3]", { "a node without a name: the operator is (no value)" } },
    { "other scores", NULL, "scores", "\"features.14\"", { "the scores, features.14, have 4 axes" } },
    { "scores that are flat", NULL, "scores", "\"classifier.flatten\"", { "scores of a program are classifier" } },
    { "capsules", NULL, "capsules", "\"classifier\"", { "scores alone" } },
    { "a decoder", NULL, "masked", "\"classifier\"", { "scores alone" } },

    { "an operator of tomorrow",
      "features.5",
      "operator",
      "\"softmax\"",
      { "features.5: the operator is \"softmax\"" } },
    { "another network's operator", "features.5", "operator", "\"batchnorm\"", { "which programs do not have" } },
    { "an operator that is no word", "features.5", "operator", "5", { "features.5: the operator is 5" } },
    { "an operator of other attributes",
      "features.3",
      "operator",
      "\"maxpool\"",
      { "has no attribute 'dilation'", "maxpool" } },
    { "no name", "features.3", "name", "7", { "node 6 is [7," } },
    { "another name",
      "features.3",
      "name",
      "\"features.x\"",
      { "features.4 reads 'features.3', which no node before" } },
    { "a name twice", "features.3", "name", "\"features.0\"", { "two values are called 'features.0'" } },
    { "itself", "features.3", "inputs", "[\"features.3\",\"features.3.codes\"]", { "features.3 reads 'features.3'" } },
    { "no such value", "features.3", "inputs", "[\"a\",\"features.3.codes\"]", { "features.3 reads 'a'" } },
    { "one input", "features.3", "inputs", "[\"features.2\"]", { "features.3" } },
    { "three inputs",
      "features.5",
      "inputs",
      "[\"features.4\",\"features.4\",\"features.4\"]",
      { "features.5: relu takes" } },
    { "no inputs", "features.5", "inputs", "[]", { "features.5: relu of 0 inputs" } },
    { "one addend", "features.8", "inputs", "[\"features.5\"]", { "features.8: add takes 2 to 2 inputs, got 1" } },
    { "psums instead of codes",
      "features.6",
      "inputs",
      "[\"features.3\",\"features.6.codes\"]",
      { "features.6: conv: both x (one scale) and w are on the grid" } },
    { "the weights of another",
      "features.10",
      "inputs",
      "[\"features.10.act_quant\",\"features.6.codes\"]",
      { "features.12.act_quant" } },
    { "a constant for a parameter",
      "features.4",
      "inputs",
      "[\"features.3\",\"features.3.act_quant.slope\",\"features.4.offset\"]",
      { "features.4 reads 'features.3.act" } },
    { "the labels", "features.8", "inputs", "[\"features.5\",\"labels\"]", { "features.8 reads 'labels'" } },
    { "no stride", "features.0", "stride", "0", { "features.0: stride is [0,0]" } },
    { "another stride", "features.0", "stride", "2", { "classifier: linear: x is" } },
    { "two strides", "features.0", "stride", "[1,2]", { "classifier: linear: x is" } },
    { "another pad", "features.0", "pad", "0", { "classifier: linear: x is" } },
    { "a pad of too many", "features.12", "pad", "65", { "classifier: linear: x is" } },
    { "groups", "features.0", "groups", "3", { "features.0: conv: w has 5 filters, which 3 groups do not divide" } },
    { "weights beyond their bits",
      "features.0.codes",
      "high",
      "3",
      { "features.0.codes (codes): weight is", "-7..3" } },
    { "a bound beyond a byte", "features.0.codes", "low", "-129", { "low is -129, allowed are -128..0" } },
    { "not a number of 32 bits", "features.0.codes", "high", "2147483648", { "high is 2147483648" } },
    { "codes upside down", "features.0.codes", "low", "8", { "the range of the codes is 8..7" } },
    { "a range without the table's codes", "image.codes", "high", "3", { "code is 4, allowed are -4..3" } },
    { "other codes", "features.12.act_quant", "low", "1", { "features.12.act_quant (threshold): low is 1" } },
    { "a rule of tomorrow", "features.6.act_quant", "rule", "\"nf4\"", { "rule is \"nf4\"", "one of ece284" } },
    { "bits that there are none of", "features.6.act_quant", "bits", "9", { "bits is 9" } },
    { "no upper clip", "features.6.act_quant", "unclamped", "1", { "unclamped is 1, expected 0" } },
    { "scores by any order", "classifier", "in_order", "0", { "classifier (linear): in_order is 0, expected 1" } },
    { "attributes without names",
      "features.5",
      "attributes",
      "[1]",
      { "features.5: attributes are [1], expected an obj" } },
    { "an attribute too many", "features.5", "least", "6", { "features.5 has no attribute 'least' of relu" } },

    { "a filter more", "features.0.weight", "shape", "[6,3,3,3]", { "features." } },
    { "a class more", "classifier.weight", "shape", "[6,16]", { "classifier" } },
    { "a step too few",
      "features.3.threshold",
      "shape",
      "[2,5]",
      { "'features.3.threshold' is I32 3x5, expected 2x5, integers or F32" } },
    { "no steps at all", "features.3.threshold", "shape", "[0,5]", { "features.3.threshold is [0,5]", "from 1 on" } },
    { "a tensor without end",
      "features.0.weight",
      "shape",
      "[1073741824,3,3,3]",
      { "features.0.weight: ", "more than" } },
    { "scales of some filters", "features.3.weight_scale", "shape", "[2]", { "2 scales for 9 filters" } },
    { "another axis",
      "features.3.act_quant.slope",
      "shape",
      "[5,1]",
      { "'features.3.act_quant.slope' is F32 5, expected 5x1" } },
    { "a line of other channels", "features.3.act_quant.slope", "shape", "[4]", { "is F32 5, expected 4" } },
    { "a parameter that is trained", "features.0.weight", "group", "\"weight\"", { "a parameter that is trained" } },
    { "values of a kind", "features.0.weight", "values", "\"finite\"", { "a parameter that is trained" } },
    { "drawn values", "features.0.weight", "init", "\"uniform\"", { "a parameter that is trained" } },
    { "first values", "features.0.weight", "value", "1", { "a parameter that is trained" } },
    { "a floor", "features.0.weight", "floor", "0", { "a parameter that is trained" } },
    { "a parameter that nobody reads",
      "features.0.weight",
      "name",
      "\"alone\"",
      { "'features.0.weight', which no node" } },
    { "a constant of no node", "features.3.act_quant.slope", "name", "\"alone\"", { "tensor 'alone' is missing" } },
    { "a constant twice", "features.3.act_quant.slope", "name", "\"features.3\"", { "two values called features.3" } },
    { "a constant with a use",
      "features.3.act_quant.slope",
      "group",
      "\"state\"",
      { "graph.constants[0].group is not a field" } },
};

/* The object or list that is called so, and whether it is a node. */
static cJSON *find_named(cJSON *json, const char *name, int *is_node)
{
    static const char *const lists[] = { "params", "constants", "nodes" };
    cJSON *item;

    for (int i = 0; i < 3; i++) {
        cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(json, lists[i]))
        {
            const cJSON *its = i == 2 ? cJSON_GetArrayItem(item, 0) : cJSON_GetObjectItemCaseSensitive(item, "name");
            *is_node = i == 2;
            if (strcmp(its->valuestring, name) == 0) return item;
        }
    }
    cr_fatal("there is no %s", name);
    return NULL;
}

static void damage_json(cJSON *json, const field_damage *d)
{
    static const char *const parts[] = { "name", "operator", "inputs", "attributes" };
    int is_node = 0;
    cJSON *object = d->of ? find_named(json, d->of, &is_node) : json;

    for (int i = 0; is_node && i < 4; i++) {
        if (strcmp(d->field, parts[i]) != 0) continue;
        cJSON_ReplaceItemInArray(object, i, cJSON_CreateRaw(d->value));
        return;
    }
    if (is_node) object = cJSON_GetArrayItem(object, 3);
    cJSON_DeleteItemFromObjectCaseSensitive(object, d->field);
    if (d->value) cJSON_AddItemToObject(object, d->field, cJSON_CreateRaw(d->value));
}

static void write_json(const dt_safetensors *f, const cJSON *json)
{
    char *text = cJSON_PrintUnformatted(json);
    const changed c = unchanged(text);

    write_changed(f, &c, NULL, NULL);
    cJSON_free(text);
}

static void damage_field(const dt_safetensors *f, const field_damage *d)
{
    cJSON *json = read_json(f);

    damage_json(json, d);
    write_json(f, json);
    expect_load_refused(d->why, d->parts, 3);
    cJSON_Delete(json);
}

Test(program_json, refuses_every_damaged_field)
{
    dt_safetensors *f;

    save_case(&plain, "good.safetensors");
    cr_assert(eq(int, dt_safetensors_open(temp_path("good.safetensors"), &f), DT_OK));
    for (size_t i = 0; i < sizeof field_damages / sizeof field_damages[0]; i++) damage_field(f, &field_damages[i]);
    dt_safetensors_close(f);
}

/* The way from the graph to one of its lists or objects: the index at each step. */
typedef struct {
    int step[8], n;
} json_path;

static cJSON *follow(cJSON *json, const json_path *path)
{
    for (int i = 0; i < path->n; i++) json = cJSON_GetArrayItem(json, path->step[i]);
    return json;
}

/* Item i of the list or object at the path is left out, and then repeated. */
static void without_and_twice(const dt_safetensors *f, const cJSON *json, const json_path *path, int i)
{
    cJSON *without = cJSON_Duplicate(json, 1), *twice = cJSON_Duplicate(json, 1);
    cJSON *parent = follow(twice, path), *again = cJSON_Duplicate(cJSON_GetArrayItem(parent, i), 1);
    const char *name = cJSON_GetArrayItem(parent, i)->string;

    cJSON_DeleteItemFromArray(follow(without, path), i);
    write_json(f, without);
    expect_load_refused("left out", NULL, 0); /* where it is noticed depends on what the file then means */
    if (name)
        cJSON_AddItemToObject(parent, name, again);
    else
        cJSON_AddItemToArray(parent, again);
    write_json(f, twice);
    expect_load_refused("repeated", (const char *[]){ name, "stands there twice" }, name ? 2 : 0);
    cJSON_Delete(without);
    cJSON_Delete(twice);
}

/* Every field of the graph, of its parameters, constants and nodes, and everyone of those as a whole. */
static void walk_fields(const dt_safetensors *f, cJSON *json, const json_path *path)
{
    cJSON *parent = follow(json, path);
    json_path inside = *path;

    for (int i = 0; i < cJSON_GetArraySize(parent); i++) {
        const cJSON *item = cJSON_GetArrayItem(parent, i);
        inside.n = path->n + 1;
        inside.step[path->n] = i;
        if (cJSON_IsArray(item) || cJSON_IsObject(item)) walk_fields(f, json, &inside);
        without_and_twice(f, json, path, i);
    }
}

Test(program_json, refuses_fields_that_are_missing_or_repeated)
{
    dt_safetensors *f;
    dt_program *p;

    save_case(&multiplied, "good.safetensors");
    cr_assert(eq(int, dt_safetensors_open(temp_path("good.safetensors"), &f), DT_OK));
    cJSON *json = read_json(f);
    write_json(f, json);
    cr_assert(eq(int, dt_program_load(temp_path("bad.safetensors"), &p), DT_OK), "%s", dt_last_error());
    dt_program_destroy(p);
    walk_fields(f, json, &(json_path){ .n = 0 });
    cJSON_Delete(json);
    dt_safetensors_close(f);
}
