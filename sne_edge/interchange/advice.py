"""What to do about a function that cannot be deployed.

In: the words of a refusal, which begin with a function of torch. Out: a hint.
"""

from __future__ import annotations

SUPPORTED = (
    "snntorch Leaky, Lapicque, Synaptic, Alpha, RLeaky, RSynaptic between linear layers, convolutions, poolings, batch "
    "norms, Flatten, sums, and concatenated channels"
)
HINTS = {
    "only spikes pass between layers: put neurons there, snntorch.Leaky say, and train the network with them": (
        "relu", "relu_", "gelu", "silu", "leaky_relu", "elu", "tanh", "sigmoid", "hardtanh",
    ),
    "do it to the samples, before the network gets them, or leave it to the encoder (scale, offset)": (
        "clamp", "clamp_", "clip", "abs", "log", "log1p", "sqrt", "exp", "pow", "__pow__",
    ),
    "take the encoding out of forward, which then takes spikes of one timestep, and give encoder='rate' "
    "(--encoder rate)": ("bernoulli", "bernoulli_", "rand_like", "poisson"),
    "its statistics change with every sample: train with BatchNorm, whose fixed ones become weights": (
        "layer_norm", "group_norm", "instance_norm",
    ),
    "write it as a layer: functional.linear(x, weight)": ("einsum", "bmm", "tensordot"),
    "give every timestep of the loop the same x; encoders of snntorch.spikegen come out of forward, whose samples are "
    "then rates (encoder='rate') or spikes (encoder='events')": (
        "repeat", "expand", "tile", "repeat_interleave", "scatter", "scatter_",
    ),
    "give samples of 0 and 1 as they are (encoder='events', --encoder events)": (
        "gt", "__gt__", "ge", "__ge__", "ne", "__ne__", "eq", "__eq__", "sign", "bool",
    ),
    "leave it out: the label is that of the highest output": ("argmax", "topk"),
    "activations are never multiplied with each other here: weights have to be constant": (
        "matmul", "__matmul__", "mm", "scaled_dot_product_attention", "multi_head_attention_forward",
    ),
}  # fmt: skip
WORDS = {  # found anywhere in a refusal
    "not of all": "return the record of all timesteps, torch.stack(spk_rec): what its counts or means leave out would "
    "have to be left out on the device, too",
    "of a membrane": "let the next layer take the spikes, or take out what is behind the last membranes",
    "is not finite": "train the network again: weights or settings are NaN or infinite",
}
TAKEN = "samples with timesteps want encoder='events' or 'frames' (--encoder); of a map a layer takes all"
BY_FUNCTION = {function: hint for hint, functions in HINTS.items() for function in functions}


def advice(refusal: str) -> str:
    """The hint for a refusal "FUNCTION: why": what is supported where nothing better is known."""
    for word, hint in WORDS.items():
        if word in refusal:
            return hint
    if refusal in [f"{function}: no such function can be deployed" for function in ("__getitem__", "select")]:
        return TAKEN
    return BY_FUNCTION.get(refusal.split(":")[0], f"supported: {SUPPORTED}")
