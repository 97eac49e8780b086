/* snn2mcu: the generated layer functions, timestep by timestep; scores are spike counts. */
#include "rival.h"
#include "lif_neuron_gen.h"

void rival_prepare(void)
{
    Load_NIR_Weights();
    SNN_Init();
}

void rival_infer(const void *input, float scores[CLASSES])
{
    const q7_t *raster = input;
    q7_t spikes[CLASSES];
    for (int c = 0; c < CLASSES; c++) {
        scores[c] = 0;
    }
    SNN_Reset_State();
    for (int t = 0; t < TIMESTEPS; t++) {
        SNN_Run_Timestep(raster + t * INPUTS, spikes);
        for (int c = 0; c < CLASSES; c++) {
            scores[c] += spikes[c];
        }
    }
}
