// Numbers of 16 bits, and the units that multiply small matrices of them. `IS_BFLOAT` says whether they are bfloat16 or half ones.

// A number of 16 bits, and back.
__device__ __forceinline__ float wide(unsigned short bits) {
  if constexpr (IS_BFLOAT) return __uint_as_float(static_cast<unsigned int>(bits) << 16);
  float number;
  asm("cvt.f32.f16 %0, %1;" : "=f"(number) : "h"(bits));
  return number;
}

__device__ __forceinline__ unsigned short narrow(float number) {
  unsigned short bits;
  if constexpr (IS_BFLOAT) asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(number));
  else asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(number));
  return bits;
}

// Two of them side by side, the first in the lower half.
__device__ __forceinline__ unsigned int two(float low, float high) {
  unsigned int both;
  if constexpr (IS_BFLOAT) asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
  else asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
  return both;
}

// Adds the product of 16 by 16 numbers of the matrix and 16 by 8 of the input; `a`, `b` and `c` as the unit has them.
__device__ __forceinline__ void mma(float (&c)[4], const unsigned int (&a)[4], unsigned int b0, unsigned int b1) {
#define MMA(type)                                                                                  \
  asm("mma.sync.aligned.m16n8k16.row.col.f32." type "." type                                       \
      ".f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"                                 \
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])                                             \
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1))
  if constexpr (IS_BFLOAT) MMA("bf16");
  else MMA("f16");
#undef MMA
}
