/* emlearn: the generated multilayer perceptron, one pass; scores are its probabilities. */
#include <stddef.h>
#include "rival.h"
#include "mlp.h"

void rival_prepare(void)
{
}

void rival_infer(const void *input, float scores[CLASSES])
{
    eml_net_predict_proba(&mlp, input, INPUTS, scores, CLASSES);
}
