//! NEON: four registers of 4 lanes; the tail is copied into a block of zeros.

use std::arch::aarch64::{
    float32x4_t, vadd_f32, vaddq_f32, vdupq_n_f32, vfmaq_f32, vget_high_f32, vget_lane_f32,
    vget_low_f32, vld1q_f32, vpadd_f32, vsubq_f32,
};
use std::arch::is_aarch64_feature_detected;

use super::row_kernels::{PREFETCH_AHEAD, row_kernels};
use super::{Kernels, LANES};

pub(super) static NEON: Kernels = Kernels {
    name: "neon",
    is_supported: || is_aarch64_feature_detected!("neon"),
    dot,
    l2_squared,
    dot_and_norm,
};

type Lanes = [float32x4_t; 4];

row_kernels!("neon");

/// Does nothing: the stable standard library has no prefetch for this architecture.
#[inline(always)]
fn prefetch(_address: *const f32) {}

#[inline]
#[target_feature(enable = "neon")]
fn zeros() -> Lanes {
    [vdupq_n_f32(0.0); 4]
}

#[inline]
#[target_feature(enable = "neon")]
fn load(block: &[f32; LANES]) -> Lanes {
    let start = block.as_ptr();
    // SAFETY: the block holds the four times 4 components read, and the loads ask for no alignment
    // beyond that of a component.
    unsafe {
        [
            vld1q_f32(start),
            vld1q_f32(start.add(4)),
            vld1q_f32(start.add(8)),
            vld1q_f32(start.add(12)),
        ]
    }
}

/// Loads fewer than `LANES` components, zeros after them.
#[inline]
#[target_feature(enable = "neon")]
fn load_tail(tail: &[f32]) -> Lanes {
    let mut block = [0.0; LANES];
    block[..tail.len()].copy_from_slice(tail);
    load(&block)
}

#[inline]
#[target_feature(enable = "neon")]
fn subtract(a: Lanes, b: Lanes) -> Lanes {
    [
        vsubq_f32(a[0], b[0]),
        vsubq_f32(a[1], b[1]),
        vsubq_f32(a[2], b[2]),
        vsubq_f32(a[3], b[3]),
    ]
}

#[inline]
#[target_feature(enable = "neon")]
fn multiply_add(a: Lanes, b: Lanes, sum: Lanes) -> Lanes {
    [
        vfmaq_f32(sum[0], a[0], b[0]),
        vfmaq_f32(sum[1], a[1], b[1]),
        vfmaq_f32(sum[2], a[2], b[2]),
        vfmaq_f32(sum[3], a[3], b[3]),
    ]
}

/// Adds halves, then quarters, then eighths, then the last two.
#[inline]
#[target_feature(enable = "neon")]
fn add_lanes(sum: Lanes) -> f32 {
    let four = vaddq_f32(vaddq_f32(sum[0], sum[2]), vaddq_f32(sum[1], sum[3]));
    let two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
    vget_lane_f32::<0>(vpadd_f32(two, two))
}
