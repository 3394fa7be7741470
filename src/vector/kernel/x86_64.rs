//! AVX-512, and AVX2 with FMA.

use std::arch::is_x86_feature_detected;
use std::arch::x86_64::{
    __m256, _MM_HINT_T0, _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_movehl_ps, _mm_prefetch,
    _mm_shuffle_ps, _mm256_castps256_ps128, _mm256_extractf128_ps,
};

use super::Kernels;

pub(super) static AVX512: Kernels = Kernels {
    name: "avx512",
    is_supported: || is_x86_feature_detected!("avx512f"),
    dot: avx512::dot,
    l2_squared: avx512::l2_squared,
    dot_and_norm: avx512::dot_and_norm,
};

pub(super) static AVX2: Kernels = Kernels {
    name: "avx2",
    is_supported: || is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
    dot: avx2::dot,
    l2_squared: avx2::l2_squared,
    dot_and_norm: avx2::dot_and_norm,
};

#[inline(always)]
fn prefetch(address: *const f32) {
    // SAFETY: prefetching is a hint that never faults, whatever the address; SSE is part of x86-64.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
}

/// Adds 8 lanes: halves, then quarters, then the last two.
#[inline]
#[target_feature(enable = "avx")]
fn add_lanes_256(sum: __m256) -> f32 {
    let four = _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps::<1>(sum));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
}

/// One register of 16 lanes; the tail is a masked load.
mod avx512 {
    use std::arch::x86_64::{
        __m512, __mmask16, _mm256_add_ps, _mm256_castpd_ps, _mm512_castps_pd,
        _mm512_castps512_ps256, _mm512_extractf64x4_pd, _mm512_fmadd_ps, _mm512_loadu_ps,
        _mm512_maskz_loadu_ps, _mm512_setzero_ps, _mm512_sub_ps,
    };

    use super::super::LANES;
    use super::super::row_kernels::{PREFETCH_AHEAD, row_kernels};
    use super::{add_lanes_256, prefetch};

    type Lanes = __m512;

    row_kernels!("avx512f");

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn zeros() -> Lanes {
        _mm512_setzero_ps()
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load(block: &[f32; LANES]) -> Lanes {
        // SAFETY: the block holds the 16 components read, and the load asks for no alignment.
        unsafe { _mm512_loadu_ps(block.as_ptr()) }
    }

    /// Loads fewer than `LANES` components, zeros after them.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load_tail(tail: &[f32]) -> Lanes {
        let mask: __mmask16 = !(!0 << (tail.len() % LANES));
        // SAFETY: the mask has at most one bit per component of `tail`; lanes masked out are not read.
        unsafe { _mm512_maskz_loadu_ps(mask, tail.as_ptr()) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn subtract(a: Lanes, b: Lanes) -> Lanes {
        _mm512_sub_ps(a, b)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn multiply_add(a: Lanes, b: Lanes, sum: Lanes) -> Lanes {
        _mm512_fmadd_ps(a, b, sum)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn add_lanes(sum: Lanes) -> f32 {
        let low = _mm512_castps512_ps256(sum);
        let high = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(sum)));
        add_lanes_256(_mm256_add_ps(low, high))
    }
}

/// Two registers of 8 lanes; the tail is two masked loads.
mod avx2 {
    use std::arch::x86_64::{
        __m256, _mm256_add_ps, _mm256_cmpgt_epi32, _mm256_fmadd_ps, _mm256_loadu_ps,
        _mm256_maskload_ps, _mm256_set1_epi32, _mm256_setr_epi32, _mm256_setzero_ps, _mm256_sub_ps,
    };

    use super::super::LANES;
    use super::super::row_kernels::{PREFETCH_AHEAD, row_kernels};
    use super::{add_lanes_256, prefetch};

    type Lanes = (__m256, __m256);

    row_kernels!("avx2,fma");

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn zeros() -> Lanes {
        (_mm256_setzero_ps(), _mm256_setzero_ps())
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn load(block: &[f32; LANES]) -> Lanes {
        // SAFETY: the block holds the 8 and 8 components read, and the loads ask for no alignment.
        unsafe {
            (
                _mm256_loadu_ps(block.as_ptr()),
                _mm256_loadu_ps(block.as_ptr().add(8)),
            )
        }
    }

    /// Loads fewer than `LANES` components, zeros after them.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn load_tail(tail: &[f32]) -> Lanes {
        let n = _mm256_set1_epi32((tail.len() % LANES) as i32);
        let low = _mm256_cmpgt_epi32(n, _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
        let high = _mm256_cmpgt_epi32(n, _mm256_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15));
        let start = tail.as_ptr();
        // SAFETY: the masks are set for components of `tail` alone; lanes masked out are not read. The
        // second address may lie outside the slice, hence `wrapping_add`; then all its lanes are masked.
        unsafe {
            (
                _mm256_maskload_ps(start, low),
                _mm256_maskload_ps(start.wrapping_add(8), high),
            )
        }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn subtract(a: Lanes, b: Lanes) -> Lanes {
        (_mm256_sub_ps(a.0, b.0), _mm256_sub_ps(a.1, b.1))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn multiply_add(a: Lanes, b: Lanes, sum: Lanes) -> Lanes {
        (
            _mm256_fmadd_ps(a.0, b.0, sum.0),
            _mm256_fmadd_ps(a.1, b.1, sum.1),
        )
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn add_lanes(sum: Lanes) -> f32 {
        add_lanes_256(_mm256_add_ps(sum.0, sum.1))
    }
}
