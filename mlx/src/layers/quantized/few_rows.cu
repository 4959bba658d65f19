  __shared__ float partial[WARPS][ROWS][9];
  int tokens = 1;
  for (int axis = 0; axis + 1 < x_ndim; ++axis) tokens *= x_shape[axis];
  const int columns = x_shape[x_ndim - 1], rows = w_shape[0];
  const int first = blockIdx.y * TOKENS;
  tokens -= first;
  const uint4* inputs = reinterpret_cast<const uint4*>(x) + size_t(first) * (columns / 8);
  const uint2* matrix = reinterpret_cast<const uint2*>(w);
  const unsigned short* factors = reinterpret_cast<const unsigned short*>(scales);
  const unsigned short* shifts = reinterpret_cast<const unsigned short*>(biases);
  unsigned short* results = reinterpret_cast<unsigned short*>(out) + size_t(first) * rows;
  if constexpr (IS_SMALL) {
    if (tokens <= 8) few_rows<1>(inputs, matrix, factors, shifts, results, partial, tokens, columns, rows);
    else few_rows<2>(inputs, matrix, factors, shifts, results, partial, tokens, columns, rows);
  } else {
    if (tokens <= 32) few_rows<4>(inputs, matrix, factors, shifts, results, partial, tokens, columns, rows);
    else few_rows<8>(inputs, matrix, factors, shifts, results, partial, tokens, columns, rows);
  }
