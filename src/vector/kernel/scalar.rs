//! The specification of every kernel, in plain Rust.
//!
//! Component `i` of a row belongs to lane `i % LANES`. The row is filled up with zeros to whole blocks.
//! Each lane starts at 0 and takes its terms in ascending order of `i` by a multiplication and addition
//! rounded once. Then the upper half of the lanes is added to the lower half until one is left. Every
//! other set does exactly this, so that machines agree to the last bit.

use super::{Kernels, LANES};

pub(super) static SCALAR: Kernels = Kernels {
    name: "scalar",
    is_supported: || true,
    dot,
    l2_squared,
    dot_and_norm,
};

fn dot(query: &[f32], rows: &[f32], out: &mut [f32]) {
    for (row_idx, slot) in out.iter_mut().enumerate() {
        *slot = sum(query, row(rows, row_idx, query.len()), |q, x, sum| {
            q.mul_add(x, sum)
        });
    }
}

fn l2_squared(query: &[f32], rows: &[f32], out: &mut [f32]) {
    for (row_idx, slot) in out.iter_mut().enumerate() {
        let row = row(rows, row_idx, query.len());
        *slot = sum(query, row, |q, x, sum| (q - x).mul_add(q - x, sum));
    }
}

fn dot_and_norm(query: &[f32], rows: &[f32], dots: &mut [f32], norms: &mut [f32]) {
    for (row_idx, (dot, norm)) in dots.iter_mut().zip(norms).enumerate() {
        let row = row(rows, row_idx, query.len());
        *dot = sum(query, row, |q, x, sum| q.mul_add(x, sum));
        *norm = sum(row, row, |_, x, sum| x.mul_add(x, sum));
    }
}

fn row(rows: &[f32], row_idx: usize, dims: usize) -> &[f32] {
    &rows[row_idx * dims..(row_idx + 1) * dims]
}

fn sum(query: &[f32], row: &[f32], add_term: impl Fn(f32, f32, f32) -> f32) -> f32 {
    let (query_blocks, query_tail) = query.as_chunks::<LANES>();
    let (row_blocks, row_tail) = row.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    let mut add_block = |query: &[f32; LANES], row: &[f32; LANES]| {
        for (lane, (query, row)) in lanes.iter_mut().zip(query.iter().zip(row)) {
            *lane = add_term(*query, *row, *lane);
        }
    };
    for (query, row) in query_blocks.iter().zip(row_blocks) {
        add_block(query, row);
    }
    if !row_tail.is_empty() {
        add_block(&filled_up(query_tail), &filled_up(row_tail));
    }
    add_lanes(lanes)
}

fn filled_up(tail: &[f32]) -> [f32; LANES] {
    let mut block = [0.0; LANES];
    block[..tail.len()].copy_from_slice(tail);
    block
}

fn add_lanes(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}
