/*
 * conv_params.c - see conv_params.h.
 */
#include "conv_params.h"

dt_status dt_conv_check_square(const char *name, const char *who, const dt_conv_params *p)
{
    DT_CHECK(p->groups == 1, DT_ERR_UNSUPPORTED, "%s: conv: groups is %d; %s takes 1", name, p->groups, who);
    DT_CHECK(p->dilation[0] == 1 && p->dilation[1] == 1, DT_ERR_UNSUPPORTED,
             "%s: conv: dilation is %d,%d; %s takes 1,1", name, p->dilation[0], p->dilation[1], who);
    DT_CHECK(p->stride[0] == p->stride[1], DT_ERR_UNSUPPORTED, "%s: conv: stride is %d,%d; %s takes the same for both",
             name, p->stride[0], p->stride[1], who);
    for (int i = 1; i < 4; i++) {
        DT_CHECK(p->pad[i] == p->pad[0], DT_ERR_UNSUPPORTED,
                 "%s: conv: pad is %d,%d,%d,%d; %s takes the same on all sides", name, p->pad[0], p->pad[1], p->pad[2],
                 p->pad[3], who);
    }
    return DT_OK;
}
