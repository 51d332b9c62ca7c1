/*
 * layout.c - sizes and places of the structures that python/detent/_library.py has too, for test_python.py.
 */
#include <detent/detent.h>

#include <stddef.h>

typedef struct {
    const char *name;
    size_t value;
} fact;

#define SIZE(python, type)   \
    {                        \
        python, sizeof(type) \
    }
#define PLACE(python, type, member)                \
    {                                              \
        python "." #member, offsetof(type, member) \
    }

DT_API extern const fact detent_layout[];
const fact detent_layout[] = {
    SIZE("Options", dt_options),
    PLACE("Options", dt_options, threads),
    PLACE("Options", dt_options, precision),
    PLACE("Options", dt_options, seed),
    PLACE("Options", dt_options, no_graph),
    SIZE("ModelInfo", dt_model_info),
    PLACE("ModelInfo", dt_model_info, height),
    PLACE("ModelInfo", dt_model_info, n_classes),
    PLACE("ModelInfo", dt_model_info, rule),
    PLACE("ModelInfo", dt_model_info, is_resized),
    SIZE("ValueBatch", dt_value_batch),
    PLACE("ValueBatch", dt_value_batch, ndim),
    PLACE("ValueBatch", dt_value_batch, dim),
    PLACE("ValueBatch", dt_value_batch, values),
    PLACE("ValueBatch", dt_value_batch, n_scale),
    PLACE("ValueBatch", dt_value_batch, scale),
    SIZE("Prediction", dt_prediction),
    PLACE("Prediction", dt_prediction, pixels),
    PLACE("Prediction", dt_prediction, normalised),
    PLACE("Prediction", dt_prediction, n),
    PLACE("Prediction", dt_prediction, batch),
    PLACE("Prediction", dt_prediction, look),
    PLACE("Prediction", dt_prediction, wants),
    PLACE("Prediction", dt_prediction, user),
    PLACE("Prediction", dt_prediction, progress),
    PLACE("Prediction", dt_prediction, n_beside),
    { "INTERRUPTED", DT_ERR_INTERRUPTED },
    { "MODEL_TEXT_BYTES", DT_MODEL_TEXT_BYTES },
    { NULL, 0 },
};
