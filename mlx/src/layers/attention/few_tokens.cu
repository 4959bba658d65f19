  __shared__ __align__(16) float partial[WARPS][16][64];
  __shared__ float most[WARPS][16], sums[WARPS][16];
  const int tokens = q_shape[2], heads = q_shape[1], kv_heads = k_shape[1], row = blockIdx.z;
  const int old = reinterpret_cast<const int*>(before)[row];
  const Rows rows = {int(blockIdx.x) * 16, tokens, heads, heads / kv_heads, int(blockIdx.y), old};
  const unsigned short* queries = reinterpret_cast<const unsigned short*>(q) + row * q_strides[0];
  const size_t from = row * k_strides[0] + blockIdx.y * k_strides[1];
  const unsigned short* keys = reinterpret_cast<const unsigned short*>(k) + from;
  const unsigned short* values = reinterpret_cast<const unsigned short*>(v) + from;
  unsigned short* results = reinterpret_cast<unsigned short*>(out) + size_t(row) * tokens * heads * DIMS;
  few_tokens(
      queries, q_strides[1], q_strides[2], keys, values, results, rows, SCALE, partial, most, sums);
