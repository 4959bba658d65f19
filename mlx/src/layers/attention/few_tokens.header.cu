// Attention of some tokens to all before them and to themselves, by the units that multiply small matrices.

// `kernel.rs` writes before it: `IS_BFLOAT`, whether the numbers of 16 bits are bfloat16 or half ones; `DIMS`, the numbers of a
// head: 64 or 128; `WARPS`, those of a block, each of which has a part of the keys; `SCALE`, what scores are multiplied by, for
// powers of two; and `units.cu`. It needs no other header.

// Two numbers of 16 bits side by side: the lower or the upper halves of two words.
__device__ __forceinline__ unsigned int halves(unsigned int one, unsigned int other, bool upper) {
  return __byte_perm(one, other, upper ? 0x7632 : 0x5410);
}

#define NOTHING __int_as_float(0xff800000)

// What a block computes: 16 of the rows that have the same keys, a row being a token of one of the heads that share them.
struct Rows {
  int first, tokens, heads, group, kv_head, before;

  __device__ int count() const { return group * tokens; }
  __device__ int head(int row) const { return kv_head * group + (first + row) / tokens; }
  __device__ int token(int row) const { return (first + row) % tokens; }
  // The last key that it sees; before the first one where there is no such row.
  __device__ int last(int row) const { return first + row < count() ? before + token(row) : -1; }
  // Keys that any of them sees.
  __device__ int end() const { return before + min(first % tokens + 16, tokens); }
};

// Threads of a warp are eight rows of four. Which numbers of a head the unit takes for which column is up to the kernel, as long
// as those of queries and keys are the same: a thread reads eight that follow one another. Of values it reads eight too, of each
// of four keys, which are those of eight products.
//
// `queries`, `keys` and `values` are where the heads of this block begin, with so many numbers from a head or token to the next;
// `out`: [tokens, heads, DIMS]. `scale` is for powers of two.
__device__ __forceinline__ void few_tokens(
    const unsigned short* queries, long long head_step, long long token_step, const unsigned short* keys,
    const unsigned short* values, unsigned short* out, const Rows& rows, float scale, float (*partial)[16][64],
    float (*most)[16], float (*sums)[16]) {
  constexpr int QUARTERS = DIMS / 32, HALVES = DIMS / 64;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, row = lane / 4, part = lane % 4;
  const int end = rows.end(), sees[2] = {rows.last(row), rows.last(row + 8)};
  unsigned int query[2 * QUARTERS][4];
#pragma unroll
  for (int quarter = 0; quarter < QUARTERS; ++quarter) {
    uint4 two_rows[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int own = row + 8 * half;
      const unsigned short* from = queries + rows.head(own) * head_step + rows.token(own) * token_step;
      two_rows[half] = sees[half] >= 0 ? *reinterpret_cast<const uint4*>(from + 32 * quarter + 8 * part) : make_uint4(0, 0, 0, 0);
    }
    const uint4 low = two_rows[0], high = two_rows[1];
    const unsigned int both[2][4] = {{low.x, high.x, low.y, high.y}, {low.z, high.z, low.w, high.w}};
#pragma unroll
    for (int place = 0; place < 8; ++place) query[2 * quarter + place / 4][place % 4] = both[place / 4][place % 4];
  }
  float seen[8 * HALVES][4] = {};
  float top[2] = {NOTHING, NOTHING}, sum[2] = {};
  uint4 key[2][QUARTERS], value[HALVES][4];
  const auto read_keys = [&](int base) {
#pragma unroll
    for (int tile = 0; tile < 2; ++tile) {
      const unsigned short* from = keys + size_t(min(base + 8 * tile + row, end - 1)) * DIMS + 8 * part;
#pragma unroll
      for (int quarter = 0; quarter < QUARTERS; ++quarter) {
        key[tile][quarter] = *reinterpret_cast<const uint4*>(from + 32 * quarter);
      }
    }
  };
  const auto read_values = [&](int base) {
#pragma unroll
    for (int place = 0; place < 4; ++place) {
      const int token = min(base + 2 * part + place % 2 + 8 * (place / 2), end - 1);
#pragma unroll
      for (int half = 0; half < HALVES; ++half) {
        value[half][place] = *reinterpret_cast<const uint4*>(values + size_t(token) * DIMS + 64 * half + 8 * row);
      }
    }
  };
  read_keys(16 * warp);
  read_values(16 * warp);
  for (int base = 16 * warp; base < end; base += 16 * WARPS) {
    float scores[2][4] = {};
#pragma unroll
    for (int tile = 0; tile < 2; ++tile) {
#pragma unroll
      for (int quarter = 0; quarter < QUARTERS; ++quarter) {
        mma(scores[tile], query[2 * quarter], key[tile][quarter].x, key[tile][quarter].y);
        mma(scores[tile], query[2 * quarter + 1], key[tile][quarter].z, key[tile][quarter].w);
      }
    }
    read_keys(base + 16 * WARPS);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float largest = top[half];
#pragma unroll
      for (int place = 0; place < 4; ++place) {
        float& score = scores[place / 2][2 * half + place % 2];
        score = base + 8 * (place / 2) + 2 * part + place % 2 <= sees[half] ? score * scale : NOTHING;
        largest = fmaxf(largest, score);
      }
      largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 1));
      largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 2));
      // A row that has seen nothing yet stays so.
      const float zero = largest == NOTHING ? 0 : largest;
      const float less = exp2f(top[half] - zero);
      top[half] = largest;
      sum[half] *= less;
#pragma unroll
      for (int place = 0; place < 4; ++place) {
        float& score = scores[place / 2][2 * half + place % 2];
        score = exp2f(score - zero);
        sum[half] += score;
      }
#pragma unroll
      for (int tile = 0; tile < 8 * HALVES; ++tile) {
        seen[tile][2 * half] *= less;
        seen[tile][2 * half + 1] *= less;
      }
    }
    const unsigned int weights[4] = {
        two(scores[0][0], scores[0][1]), two(scores[0][2], scores[0][3]), two(scores[1][0], scores[1][1]),
        two(scores[1][2], scores[1][3])};
#pragma unroll
    for (int half = 0; half < HALVES; ++half) {
      const uint4(&four)[4] = value[half];
#pragma unroll
      for (int upper = 0; upper < 2; ++upper) {
        mma(seen[8 * half + upper], weights, halves(four[0].x, four[1].x, upper), halves(four[2].x, four[3].x, upper));
        mma(seen[8 * half + 2 + upper], weights, halves(four[0].y, four[1].y, upper), halves(four[2].y, four[3].y, upper));
        mma(seen[8 * half + 4 + upper], weights, halves(four[0].z, four[1].z, upper), halves(four[2].z, four[3].z, upper));
        mma(seen[8 * half + 6 + upper], weights, halves(four[0].w, four[1].w, upper), halves(four[2].w, four[3].w, upper));
      }
    }
    read_values(base + 16 * WARPS);
  }
  // What the warps saw, each by its largest score.
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    sum[half] += __shfl_xor_sync(0xffffffffu, sum[half], 1);
    sum[half] += __shfl_xor_sync(0xffffffffu, sum[half], 2);
    if (part == 0) {
      most[warp][row + 8 * half] = top[half];
      sums[warp][row + 8 * half] = sum[half];
    }
  }
  __syncthreads();
  float less[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float largest = NOTHING, all = 0;
#pragma unroll
    for (int other = 0; other < WARPS; ++other) largest = fmaxf(largest, most[other][row + 8 * half]);
#pragma unroll
    for (int other = 0; other < WARPS; ++other) {
      all += sums[other][row + 8 * half] * exp2f(most[other][row + 8 * half] - largest);
    }
    less[half] = sees[half] >= 0 ? exp2f(top[half] - largest) / all : 0;
  }
  const int own_row = threadIdx.x / 16, own_dim = threadIdx.x % 16 * 4;
#pragma unroll
  for (int half = 0; half < HALVES; ++half) {
    if (half > 0) __syncthreads();
#pragma unroll
    for (int place = 0; place < 4; ++place) {
#pragma unroll
      for (int tile = 0; tile < 8; ++tile) {
        const float share = seen[8 * half + tile][place] * less[place / 2];
        partial[warp][row + 8 * (place / 2)][8 * (2 * part + place % 2) + tile] = share;
      }
    }
    __syncthreads();
    float all[4] = {};
#pragma unroll
    for (int other = 0; other < WARPS; ++other) {
      const float4 four = *reinterpret_cast<const float4*>(&partial[other][own_row][own_dim]);
      all[0] += four.x, all[1] += four.y, all[2] += four.z, all[3] += four.w;
    }
    if (rows.last(own_row) >= 0) {
      const size_t place = (size_t(rows.token(own_row)) * rows.heads + rows.head(own_row)) * DIMS + 64 * half + own_dim;
      *reinterpret_cast<uint2*>(out + place) = make_uint2(two(all[0], all[1]), two(all[2], all[3]));
    }
  }
}
