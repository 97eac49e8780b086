/* What a model's layers cost one by one, on inputs of chosen density: cost_model.py makes the model, includes its C before
 * this file, and writes the jobs. MODEL, STATE, WORK_WORDS and INPUT_WORDS are its. */
#include "bare_metal.h"
#include "port.h"

typedef struct {
    uint32_t kind; /* 0: an inference, 1: a layer through all timesteps, 2: in steps, 3: an inference in steps */
    uint32_t student, stage, timesteps;
    uint32_t density; /* of 65536 inputs, so many spike, or are not 0 */
    uint32_t eager;   /* of 256 channels, so many fire whenever they can, the others never */
    uint32_t alike;   /* of 65536 inputs, so many are what they were in the timestep before */
    uint32_t in_bits, positions, channels;
} job_line;

static STATE state;
static uint32_t input[INPUT_WORDS], work[WORK_WORDS];
static uint32_t lanes[2][2 * LANES]; /* thresholds and biases of a layer, of two positions as SNE_CONVOLVE takes them */
static sne_cost cost;
static const sne_layers *run_layers_of;
static const void *run_input;
static uint32_t run_timesteps;
static uint32_t *run_kept;

static uint32_t spiking(uint32_t density)
{
    return (random_word() & 0xffffu) < density;
}

/* `maps` maps of `bits` bits; returns how many of them are set. `changed`: how many are not as in the map before. */
static uint32_t fill_bits(uint32_t *to, uint32_t maps, uint32_t bits, uint32_t density, uint32_t alike, uint32_t *changed)
{
    const size_t words = sne_words(bits);
    uint32_t map, i, set = 0;
    *changed = 0;
    for (map = 0; map < maps; map++, to += words) {
        sne_clear(to, words);
        for (i = 0; i < bits; i++) {
            const uint32_t before = map ? to[(i >> 5) - words] >> (i & 31u) & 1u : 0u;
            const uint32_t now = map && spiking(alike) ? before : spiking(density);
            if (now) {
                sne_set_bit(to, i);
            }
            set += now;
            *changed += map && now != before;
        }
    }
    return set;
}

static uint32_t fill_bytes(int8_t *to, uint32_t n, uint32_t density)
{
    uint32_t i, set = 0;
    for (i = 0; i < n; i++) {
        const uint32_t on = spiking(density);
        to[i] = (int8_t)(on ? (random_word() >> 8 & 0x7fu) | 1u : 0u);
        set += on;
    }
    return set;
}

/* Neurons like `from` that fire whenever they can, or never, channel by channel. */
static sne_neurons wilful(const sne_neurons *from, uint32_t eager, int biased)
{
    sne_neurons made = *from;
    uint32_t c;
    for (c = 0; c < from->stride; c++) {
        const int fires = c < from->channels && (c * 149u + 31u) % 256u < eager;
        const int32_t threshold = fires ? 1 : from->width == 16 ? INT16_MAX : INT32_MAX;
        sne_put(lanes[0], c, threshold, from->width);
        sne_put(lanes[0], c + from->stride, threshold, from->width);
        sne_put(lanes[1], c, fires ? 100 : 0, from->width);
    }
    made.threshold = lanes[0];
    made.bias = biased ? lanes[1] : from->bias; /* a direct input's may be wider than its membranes */
    return made;
}

static void run_whole(void *nothing)
{
    (void)nothing;
    sne_run_layers(run_layers_of, run_input, state.arena, NULL, state.spikes, run_timesteps, &cost);
}

static sne_room room;

static void run_steps(void *nothing)
{
    (void)nothing;
    sne_step_layers(run_layers_of, (const uint32_t *)run_input, &room, state.spikes, &cost);
}

/* Spikes in, inputs that changed from one timestep to the next, and spikes out; groups of four and of eight neighbouring channels of
 * a position that hold one of these, but for the last timestep, and in it. */
typedef struct {
    uint32_t incoming, changed, fired, fours, eights, last_fours, last_eights;
} spike_counts;

static void count_spikes(const uint32_t *out, uint32_t maps, uint32_t positions, uint32_t channels, spike_counts *n)
{
    uint32_t map, p, c;
    for (map = 0; map < maps; map++, out += sne_words(positions * channels)) {
        uint32_t *const four_groups = map + 1u < maps ? &n->fours : &n->last_fours;
        uint32_t *const eight_groups = map + 1u < maps ? &n->eights : &n->last_eights;
        for (p = 0; p < positions; p++) {
            uint32_t four = 0, eight = 0;
            for (c = 0; c < channels; c++) {
                const uint32_t i = p * channels + c, one = out[i >> 5] >> (i & 31u) & 1u;
                n->fired += one;
                four |= one;
                if ((c & 3u) == 3u || c + 1u == channels) {
                    eight |= four;
                    *four_groups += four;
                    four = 0;
                }
                if ((c & 7u) == 7u || c + 1u == channels) {
                    *eight_groups += eight;
                    eight = 0;
                }
            }
        }
    }
}

/* How deep the stack of some work grows. */
static uint32_t depth(void (*work_of)(void *))
{
    stack_mark(NULL);
    work_of(NULL);
    return stack_used(NULL);
}

static void tell(uint64_t count, uint32_t deep, const spike_counts *n)
{
    const uint32_t numbers[] = {deep,     n->incoming,   n->changed,    n->fired, n->fours,
                                n->eights, n->last_fours, n->last_eights};
    size_t i;
    print_number((int64_t)count);
    for (i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        print_text(" ");
        print_number(numbers[i]);
    }
    print_text("\n");
}

static void one_layer(const job_line *job, int direct)
{
    sne_stage stage = layers[job->student].stages[job->stage];
    sne_layers one = {&stage, 1, 0};
    const int fires = stage.neurons && stage.spikes >= 0;
    const int first = direct && job->stage == 0;
    sne_neurons neurons;
    spike_counts n = {0, 0, 0, 0, 0, 0, 0};
    uint32_t deep;
    uint64_t count;
    if (fires) {
        neurons = wilful(stage.neurons, job->eager, !first);
        stage.neurons = &neurons;
    }
    run_layers_of = &one;
    run_timesteps = job->timesteps;
    if (job->kind == 1) {
        n.incoming = first ? fill_bytes((int8_t *)input, job->in_bits, job->density)
                           : fill_bits(state.arena + stage.in, job->timesteps, job->in_bits, job->density, job->alike,
                                       &n.changed);
        run_input = first ? (const void *)input : NULL;
        deep = depth(run_whole);
        count = count_instructions(run_whole, NULL);
        if (fires || !stage.neurons) {
            count_spikes(state.arena + stage.out, job->timesteps, job->positions, job->channels, &n);
        }
    } else {
        const uint32_t words = (uint32_t)sne_words(job->positions * job->channels);
        uint32_t *const in = work, *const maps = in + sne_words(job->in_bits);
        n.incoming = fill_bits(in, 1, job->in_bits, job->density, 0, &n.changed);
        room.maps = maps;
        room.map_words = words;
        room.rows = maps + 2u * words;
        room.kept = maps + 2u * words + (stage.neurons ? ((const sne_synapses *)stage.layer)->capacity : 0u);
        room.first = stage.kept;
        run_input = in;
        sne_rest_layers(&one, &room);
        deep = depth(run_steps);
        sne_rest_layers(&one, &room);
        count = count_instructions(run_steps, NULL);
        if (fires || !stage.neurons) {
            count_spikes(maps, 1, job->positions, job->channels, &n);
        }
    }
    tell(count, deep, &n);
}

static sne_policy chosen;
static sne_result result;

static void run_model(void *nothing)
{
    (void)nothing;
    (void)sne_run(&MODEL, &state, input, &chosen, &result);
}

/* An inference by all students, and how many instructions of it are its layers'. */
static void whole(const job_line *job, int direct)
{
    static int32_t never[128];
    uint64_t count, inside = 0;
    uint32_t s, i, t, deep;
    spike_counts n = {0, 0, 0, 0, 0, 0, 0};
    for (i = 0; i < 128u; i++) {
        never[i] = INT32_MAX;
    }
    chosen.kind = job->stage;
    chosen.students = MODEL.n_students;
    chosen.mask = 0xffffffffu >> (32u - MODEL.n_students);
    chosen.max_ops = UINT32_MAX;
    chosen.margins = never;
    chosen.early = job->kind == 3 ? never : NULL;
    chosen.timesteps = 0;
    (void)fill_bytes((int8_t *)input, MODEL.input_bytes, job->density);
    deep = depth(run_model);
    count = count_instructions(run_model, NULL);
    for (s = 0; s < MODEL.n_students; s++) {
        const sne_layers *const student = layers + s;
        const uint32_t begin = job->kind == 3 && direct ? 1u : 0u;
        run_timesteps = MODEL.timesteps;
#ifdef RATE_INPUTS
        sne_rate_encode((const int8_t *)input, RATE_INPUTS, RATE_SEED, MODEL.timesteps, state.arena + student->stages[0].in);
#endif
        if (job->kind == 0 || begin) {
            const sne_layers layers_of = {student->stages, job->kind == 0 ? student->n_stages : 1u, 0};
            run_layers_of = &layers_of;
            run_input = direct ? (const void *)input : NULL;
            inside += count_instructions(run_whole, NULL);
        }
        if (job->kind == 3) {
            const sne_stage *const first = student->stages + begin;
            const sne_layers steps = {first, student->n_stages - begin, 0};
            const uint32_t *in = state.arena + (direct ? student->stages[0].out : first->in);
            const sne_stage *const before = student->stages;
            const sne_synapses *const made = (const sne_synapses *)before->layer;
            const size_t in_words = sne_words(
                direct ? (size_t)made->out_height * made->out_width * before->neurons->channels : MODEL.n_inputs);
            room.map_words = job->positions;
            room.maps = work;
            room.rows = work + 2u * room.map_words;
            room.kept = room.rows + job->channels;
            room.first = first->kept;
            sne_rest_layers(&steps, &room);
            for (t = 0; t < MODEL.timesteps; t++, in += in_words) {
                run_layers_of = &steps;
                run_input = in;
                inside += count_instructions(run_steps, NULL);
            }
        }
    }
    n.incoming = (uint32_t)inside; /* instructions, here */
    tell(count, deep, &n);
}

int program(void)
{
    const int file = open_input("jobs.bin");
    job_line job;
    uint32_t left;
    if (!read_file(file, &left, sizeof left)) {
        return 1;
    }
    for (; left; left--) {
        if (!read_file(file, &job, sizeof job)) {
            return 1;
        }
        if (job.kind == 1 || job.kind == 2) {
            one_layer(&job, DIRECT);
        } else {
            whole(&job, DIRECT);
        }
    }
    return 0;
}
