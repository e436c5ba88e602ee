// How fast llama2.c decodes a shape, to set beside `tril bench decode`: random f32 weights, greedy texts that fill the context.
//     gcc -Ofast -march=native -fopenmp -DRUN_C='"llama2.c/run.c"' -o llama2c scripts/llama2c_decode.c -lm
//     OMP_NUM_THREADS=2 ./llama2c 128 341 4 4 64 5
// Arguments: d_model, d_ff, layers, heads, context, seconds. The vocabulary is 65. Prints one JSON object: the median over texts.
#define TESTING
#include RUN_C

enum { VOCAB = 65, MOST_TEXTS = 1 << 20 };

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b) {
  double difference = *(const double *)a - *(const double *)b;
  return (difference > 0) - (difference < 0);
}

// One text from an empty cache: the time that a token takes.
static double text(Transformer *model, int context) {
  double begin = seconds();
  int token = 1;
  for (int position = 0; position < context; position++) {
    float *logits = forward(model, token, position);
    token = 0;
    for (int id = 1; id < VOCAB; id++)
      if (logits[id] > logits[token]) token = id;
  }
  return (seconds() - begin) / context;
}

int main(int argc, char **argv) {
  if (argc != 7) {
    fputs("usage: llama2c D_MODEL D_FF LAYERS HEADS CONTEXT SECONDS\n", stderr);
    return 2;
  }
  int d = atoi(argv[1]), ff = atoi(argv[2]), layers = atoi(argv[3]), heads = atoi(argv[4]), context = atoi(argv[5]);
  double limit = atof(argv[6]);
  Config config = {d, ff, layers, heads, heads, VOCAB, context};
  long params = (long)VOCAB * d + (long)layers * (2L * d + 4L * d * d + 3L * d * ff) + d;
  // run.c skips tables of cosines and sines that older files hold.
  long written = params + (long)context * (d / heads);
  char path[] = "/tmp/llama2c-XXXXXX";
  int handle = mkstemp(path);
  FILE *file = handle < 0 ? NULL : fdopen(handle, "wb");
  if (!file) {
    perror(path);
    return 1;
  }
  fwrite(&config, sizeof config, 1, file);
  srand(1);
  for (long i = 0; i < written; i++) {
    float weight = ((float)rand() / (float)RAND_MAX - 0.5f) * 0.08f;
    fwrite(&weight, sizeof weight, 1, file);
  }
  fclose(file);
  Transformer model;
  build_transformer(&model, path);
  remove(path);
  double *each = malloc(MOST_TEXTS * sizeof *each);
  for (double warm = seconds(); seconds() - warm < limit / 5;) text(&model, context);
  int texts = 0;
  for (double begin = seconds(); texts < MOST_TEXTS && (texts < 3 || seconds() - begin < limit); texts++)
    each[texts] = text(&model, context);
  qsort(each, (size_t)texts, sizeof *each, ascending);
  printf("{\"llama2c_params\": %ld, \"decode_tok_s\": %.1f}\n", params, 1 / each[texts / 2]);
}
