/*
 * layer_words.c - see layer_words.h.
 *
 * Tests: tests/quant/test_debugger.c.
 */
#include "layer_words.h"

static int joins(dt_op_kind kind)
{
    return kind == DT_OP_BIAS || kind == DT_OP_BATCHNORM || kind == DT_OP_RELU || kind == DT_OP_CLIP ||
           kind == DT_OP_IDENTITY;
}

const dt_graph_node *dt_layer_head(const dt_graph *g, const char *ends, int value)
{
    const dt_graph_node *n = dt_graph_maker(g, value);

    while (n && joins(n->kind) && !ends[n->in[0]]) {
        const dt_graph_node *before = dt_graph_maker(g, n->in[0]);
        if (!before) break;
        n = before;
    }
    return n;
}

/* 1 if each channel has filters of its own. */
static int is_depthwise(const dt_graph *g, const dt_graph_node *n)
{
    const dt_conv_params *p = n->params;

    return p->groups > 1 && dt_graph_shape(g, n->in[1])->dim[3] == 1;
}

static int is_whole_map(const dt_graph_node *n)
{
    const dt_pool_params *p = n->params;

    return p->window[0] == 0 && p->window[1] == 0;
}

const char *dt_layer_word(const dt_graph *g, const dt_graph_node *head)
{
    switch (head->kind) {
    case DT_OP_CONV2D: return is_depthwise(g, head) ? "DEPTHWISE_CONV_2D" : "CONV_2D";
    case DT_OP_LINEAR: return "FULLY_CONNECTED";
    case DT_OP_MAXPOOL: return "MAX_POOL_2D";
    case DT_OP_AVGPOOL: return is_whole_map(head) ? "MEAN" : "AVERAGE_POOL_2D";
    case DT_OP_FLATTEN: return "RESHAPE";
    case DT_OP_TRANSPOSE: return "TRANSPOSE";
    case DT_OP_CONCAT: return "CONCATENATION";
    case DT_OP_ADD:
    case DT_OP_BIAS: return "ADD";
    case DT_OP_MUL:
    case DT_OP_BATCHNORM: return "MUL";
    case DT_OP_RELU: return ((const dt_relu_params *)head->params)->most == 6.0f ? "RELU6" : "RELU";
    case DT_OP_SOFTMAX: return "SOFTMAX";
    case DT_OP_SIGMOID: return "LOGISTIC";
    default: return dt_ops[head->kind]->name;
    }
}
