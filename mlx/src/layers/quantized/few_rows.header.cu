// The product of some rows with a matrix of packed numbers of 4 bits, by the units that multiply small matrices.

// `kernel.rs` writes before it: `IS_BFLOAT`, whether the numbers of 16 bits are bfloat16 or half ones; `GROUP`, how many share
// a scale; `IS_SMALL`, whether there are 16 tokens at most; of a block its `WARPS`, each of which has a part of the columns,
// the `ROWS` of the matrix that it multiplies with and the `TOKENS` that it multiplies, more being those of other blocks; and
// `CHUNK`, the columns that a warp takes at a time, 16 for each of four threads; and `units.cu`. It needs no other header.

// Two numbers of `word` from the one at `at` on, unpacked. 2^23 has a mantissa whose last bits are a whole number.
__device__ __forceinline__ unsigned int numbers(unsigned int word, int at, float scale, float bias) {
  const unsigned int whole = 0x4B000000u;
  const float low = __uint_as_float(whole | ((word >> (4 * at)) & 15u)) - __uint_as_float(whole);
  const float high = __uint_as_float(whole | ((word >> (4 * at + 4)) & 15u)) - __uint_as_float(whole);
  return two(fmaf(low, scale, bias), fmaf(high, scale, bias));
}

// Threads of a warp are eight rows of four. A thread unpacks numbers of 16 columns that follow one another, of four rows
// of the matrix; which column of the product they are is up to the kernel, as long as those of the input are the same.
//
// `BLOCKS` times eight of the tokens at most. `inputs`: [tokens, columns / 8], `matrix`: [rows, columns / 16],
// `out`: [tokens, rows].
template <int BLOCKS>
__device__ __forceinline__ void few_rows(
    const uint4* inputs, const uint2* matrix, const unsigned short* scales, const unsigned short* biases,
    unsigned short* out, float (*partial)[ROWS][9], int tokens, int columns, int rows) {
  constexpr int AHEAD = BLOCKS <= 4 ? 4 : 2; // chunks that are read before the first is multiplied
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, row = lane / 4, part = lane % 4;
  const int chunks = columns / CHUNK, groups = columns / GROUP;
  const int each = (chunks + WARPS - 1) / WARPS, first = warp * each, last = min(first + each, chunks);
  const int begin = blockIdx.x * ROWS;
  const uint2* words = matrix + size_t(begin + row) * (columns / 16) + part;
  const unsigned short* factors = scales + size_t(begin + row) * groups;
  const unsigned short* shifts = biases + size_t(begin + row) * groups;
  float sums[2][BLOCKS][4] = {};
  for (int chunk = first; chunk < last; chunk += AHEAD) {
    uint2 packed[AHEAD][4];
    float factor[4], shift[4];
#pragma unroll
    for (int next = 0; next < AHEAD; ++next) {
#pragma unroll
      for (int eighth = 0; eighth < 4; ++eighth) {
        const size_t place = size_t(8 * eighth) * (columns / 16) + size_t(chunk + next) * 4;
        packed[next][eighth] = chunk + next < last ? __ldg(words + place) : make_uint2(0, 0);
      }
    }
    // Each of the four threads of a row reads those of another chunk.
    const int mine = min(chunk + part % AHEAD, last - 1) * CHUNK / GROUP;
#pragma unroll
    for (int eighth = 0; eighth < 4; ++eighth) {
      factor[eighth] = wide(factors[size_t(8 * eighth) * groups + mine]);
      shift[eighth] = wide(shifts[size_t(8 * eighth) * groups + mine]);
    }
#pragma unroll
    for (int next = 0; next < AHEAD; ++next) {
      if (chunk + next >= last) break;
      float scale[4], bias[4];
#pragma unroll
      for (int eighth = 0; eighth < 4; ++eighth) {
        scale[eighth] = __shfl_sync(0xffffffffu, factor[eighth], lane - part + next);
        bias[eighth] = __shfl_sync(0xffffffffu, shift[eighth], lane - part + next);
      }
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        unsigned int a[2][2][4];
#pragma unroll
        for (int tile = 0; tile < 2; ++tile) {
#pragma unroll
          for (int pass = 0; pass < 2; ++pass) {
#pragma unroll
            for (int place = 0; place < 4; ++place) {
              const int eighth = 2 * tile + place % 2;
              const unsigned int word = half ? packed[next][eighth].y : packed[next][eighth].x;
              a[tile][pass][place] = numbers(word, 4 * pass + 2 * (place / 2), scale[eighth], bias[eighth]);
            }
          }
        }
#pragma unroll
        for (int block = 0; block < BLOCKS; ++block) {
          const int token = 8 * block + row;
          const size_t place = (size_t(token) * columns + size_t(chunk + next) * CHUNK + 16 * part + 8 * half) / 8;
          const uint4 b = token < tokens ? __ldg(inputs + place) : make_uint4(0, 0, 0, 0);
#pragma unroll
          for (int tile = 0; tile < 2; ++tile) {
            mma(sums[tile][block], a[tile][0], b.x, b.y);
            mma(sums[tile][block], a[tile][1], b.z, b.w);
          }
        }
      }
    }
  }
  // The parts of the columns, eight tokens at a time.
  const int own_row = threadIdx.x % ROWS, own_token = threadIdx.x / ROWS;
#pragma unroll
  for (int block = 0; block < BLOCKS; ++block) {
    if (block > 0) __syncthreads();
#pragma unroll
    for (int tile = 0; tile < 2; ++tile) {
#pragma unroll
      for (int place = 0; place < 4; ++place) {
        partial[warp][16 * tile + row + 8 * (place / 2)][2 * part + place % 2] = sums[tile][block][place];
      }
    }
    __syncthreads();
    float sum = 0;
#pragma unroll
    for (int other = 0; other < WARPS; ++other) sum += partial[other][own_row][own_token];
    const int token = 8 * block + own_token;
    if (token < tokens) out[size_t(token) * rows + begin + own_row] = narrow(sum);
  }
}
