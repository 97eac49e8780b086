/* snn-generator (SpikeEdge): its layers, put together as its loader does, with weights from weights.h in flash; scores
 * are spike counts. */
#include "rival.h"
#include "layers/linear_layer.h"
#include "layers/spiking_layer.h"
#include "models/lif_neuron.h"
#include "weights.h" /* HIDDEN, BETA, THRESHOLD, weights_0 [HIDDEN * INPUTS], weights_1 [CLASSES * HIDDEN] */

static float in_0[INPUTS], in_1[HIDDEN], current_0[HIDDEN], current_1[CLASSES], zeros[HIDDEN];
static float spiking_in_0[HIDDEN], spiking_in_1[CLASSES], spikes_0[HIDDEN], spikes_1[CLASSES];
static int total_0[HIDDEN], total_1[CLASSES];
static LIFNeuron neurons_0[HIDDEN], neurons_1[CLASSES];
static ModelBase *pointers_0[HIDDEN], *pointers_1[CLASSES];
static LinearLayer linear_0, linear_1;
static SpikingLayer spiking_0, spiking_1;
static LayerBase *const layers[] = {&linear_0.base, &spiking_0.base, &linear_1.base, &spiking_1.base};

static void linear(LinearLayer *layer, int inputs, int outputs, const float *weights, float *in, float *out)
{
    layer->base.forward = linear_forward;
    layer->base.inputs = in;
    layer->base.weights = (float *)weights;
    layer->base.output = out;
    layer->base.output_size = outputs;
    layer->biases = zeros;
    layer->in_features = (size_t)inputs;
    layer->out_features = (size_t)outputs;
}

static void spiking(SpikingLayer *layer, int count, LIFNeuron *neurons, ModelBase **pointers, float *in, float *out,
                    int *total)
{
    for (int n = 0; n < count; n++) {
        lif_initialize(&neurons[n], 0.0f, THRESHOLD, 0.0f, BETA);
        pointers[n] = &neurons[n].base;
    }
    layer->base.forward = spiking_forward;
    layer->base.inputs = in;
    layer->base.output = out;
    layer->base.output_size = count;
    layer->neurons = pointers;
    layer->num_neurons = (size_t)count;
    layer->total_spikes = total;
}

void rival_prepare(void)
{
    linear(&linear_0, INPUTS, HIDDEN, weights_0, in_0, current_0);
    linear(&linear_1, HIDDEN, CLASSES, weights_1, in_1, current_1);
    spiking(&spiking_0, HIDDEN, neurons_0, pointers_0, spiking_in_0, spikes_0, total_0);
    spiking(&spiking_1, CLASSES, neurons_1, pointers_1, spiking_in_1, spikes_1, total_1);
}

void rival_infer(const void *input, float scores[CLASSES])
{
    spiking_reset_spike_counts(&spiking_0);
    spiking_reset_spike_counts(&spiking_1);
    for (int t = 0; t < TIMESTEPS; t++) {
        float *current = (float *)input + t * INPUTS;
        size_t size = INPUTS;
        for (size_t l = 0; l < sizeof layers / sizeof *layers; l++) {
            layers[l]->forward(layers[l], current, size, 0);
            current = layers[l]->output;
            size = (size_t)layers[l]->output_size;
        }
    }
    for (int c = 0; c < CLASSES; c++) {
        scores[c] = (float)neurons_1[c].spike_count;
    }
}
