/*
 * test_evaluate.c - what an evaluation keeps of each image agrees with its metrics, whatever the batch.
 */
#include "../support/tiny_run.h"

enum { N = 80, CLASSES = 10 };

static dt_metrics evaluate(const tiny_run *r, int batch, int32_t *predictions, float *scores)
{
    dt_metrics m;
    MUST(dt_evaluate(r->model, r->data, batch, 0.0f, NULL, &(dt_outputs){ predictions, scores }, &m));
    cr_assert(m.images == N);
    return m;
}

Test(evaluate, scores_predictions_and_accuracy_agree)
{
    const tiny_options o = tiny_defaults();
    int32_t predictions[N];
    float scores[N * CLASSES], again[N * CLASSES];
    dt_class_report *classes;
    dt_dataset_view v;
    int64_t n_correct = 0;
    tiny_run r;
    cr_assert(tiny_open(&r, &o));
    tiny_steps(&r, 6);
    const dt_metrics m = evaluate(&r, 33, predictions, scores);
    evaluate(&r, 7, NULL, again);
    cr_assert(memcmp(scores, again, sizeof scores) == 0, "scores depend on the batch");

    dt_dataset_look(r.data, &v);
    MUST(dt_class_report_create(scores, v.labels, N, CLASSES, &classes));
    for (int i = 0; i < N; i++) {
        const float *score = scores + i * CLASSES;
        for (int c = 0; c < CLASSES; c++) {
            const int beats =
                score[c] > score[predictions[i]] || (score[c] == score[predictions[i]] && c < predictions[i]);
            cr_assert(!beats, "image %d: class %d is predicted, but %d has %g against %g", i, predictions[i], c,
                      (double)score[c], (double)score[predictions[i]]);
        }
        n_correct += predictions[i] == v.labels[i];
    }
    cr_assert(m.accuracy == (double)n_correct / N && m.accuracy == dt_class_report_top(classes, 1));
    cr_assert(n_correct > 0 && n_correct < N, "%lld of %d: a network that tells no tale", (long long)n_correct, N);
    dt_class_report_destroy(classes);
    tiny_close(&r);
}
