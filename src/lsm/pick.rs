//! Which segments are merged next, and how much there is to merge.
//!
//! Segments of about one size are merged when there are enough of them, so that a row is written again each time its
//! segment has grown by about `fan_in`. Beyond `max_segments`, those are merged that cost the least for each segment that
//! goes. A segment that has grown to half of what a segment should hold is left alone, until enough of its rows are gone.

use std::collections::BTreeSet;

use super::segment::{Segment, SegmentId};
use super::state::State;
use crate::types::limits;

/// Fewest segments that are merged because there are too many: two at a time write the same rows over and over.
const CROWD_MIN: usize = 3;
/// What a segment of level 0 holds at most, bytes.
const LEVEL_BYTES: u64 = 64 << 10;
/// The largest number of bytes that costs are compared by.
const COST_MAX: u64 = 1 << 52;

/// When segments are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Segments of about one size that are merged, and the most that one merge takes; 2 to 64.
    pub fan_in: usize,
    /// Segments that have not grown to half of a whole one, beyond which some are merged whatever their sizes.
    pub max_segments: usize,
    /// Logical bytes of a whole segment.
    pub target_bytes: u64,
    /// Rows of a whole segment.
    pub target_rows: u64,
    /// Share of a segment's rows that are gone from which it is written anew, percent.
    pub dead_percent: u64,
    /// Fewest rows gone for that; segments without any live row go at once.
    pub dead_rows: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            fan_in: limits::COMPACTION_FAN_IN,
            max_segments: limits::COMPACTION_SEGMENTS_MAX,
            target_bytes: limits::COMPACTION_TARGET_BYTES,
            target_rows: limits::COMPACTION_TARGET_ROWS,
            dead_percent: limits::COMPACTION_DEAD_PERCENT,
            dead_rows: limits::COMPACTION_DEAD_ROWS,
        }
    }
}

/// Why segments are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Rows of them are gone.
    DeadRows,
    /// They are of about one size.
    Sizes,
    /// There are too many.
    Crowded,
    /// Somebody asked for it.
    Asked,
}

impl Reason {
    /// Its name for people and clients.
    pub fn name(self) -> &'static str {
        match self {
            Self::DeadRows => "deleted_rows",
            Self::Sizes => "similar_sizes",
            Self::Crowded => "many_segments",
            Self::Asked => "asked",
        }
    }
}

/// Segments to merge with each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Which, ascending.
    pub inputs: Vec<SegmentId>,
    /// Why.
    pub reason: Reason,
}

/// What matters about a segment.
#[derive(Debug, Clone, Copy)]
struct Shape {
    /// `None` for one that is only foreseen.
    id: Option<SegmentId>,
    rows: u64,
    live_rows: u64,
    live_bytes: u64,
}

impl Shape {
    fn of(segment: &Segment) -> Self {
        Self {
            id: Some(segment.id),
            rows: segment.rows,
            live_rows: segment.live_rows(),
            live_bytes: segment.live_bytes(),
        }
    }

    fn dead_rows(&self) -> u64 {
        self.rows.saturating_sub(self.live_rows)
    }

    /// Its live rows, in bytes of a whole segment: by their bytes or by their number, whichever is more.
    fn size(&self, policy: &Policy) -> u64 {
        self.live_bytes.max(scaled(
            self.live_rows,
            policy.target_bytes,
            policy.target_rows.max(1),
        ))
    }
}

impl Segment {
    /// About the logical bytes of its live rows: the dead ones weigh as much as the others.
    pub fn live_bytes(&self) -> u64 {
        scaled(self.live_rows(), self.logical_bytes, self.rows.max(1))
    }
}

/// `n` of `of` parts of `whole`.
fn scaled(n: u64, whole: u64, of: u64) -> u64 {
    let scaled = u128::from(n) * u128::from(whole) / u128::from(of);
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

impl Policy {
    fn is_whole(&self, shape: &Shape) -> bool {
        shape.size(self) >= self.target_bytes / 2
    }

    fn is_mostly_dead(&self, shape: &Shape) -> bool {
        let dead = shape.dead_rows();
        dead >= self.dead_rows.max(1)
            && u128::from(dead) * 100 >= u128::from(shape.rows) * u128::from(self.dead_percent)
    }

    /// What all rows of a segment weigh, in bytes of a whole one.
    pub fn weight(&self, segment: &Segment) -> u64 {
        let all = Shape {
            id: None,
            rows: segment.rows,
            live_rows: segment.rows,
            live_bytes: segment.logical_bytes,
        };
        all.size(self)
    }

    /// The level of a segment: 0 up to 64 KiB of live rows, one more each time that it is `fan_in` times as large.
    pub fn level(&self, segment: &Segment) -> u32 {
        let mut size = Shape::of(segment).size(self);
        let mut level = 0;
        while size > LEVEL_BYTES {
            size /= self.fan_in.max(2) as u64;
            level += 1;
        }
        level
    }

    /// How many segments rows of this size are to be in.
    pub fn parts(&self, live_rows: u64, live_bytes: u64) -> u64 {
        let shape = Shape {
            id: None,
            rows: live_rows,
            live_rows,
            live_bytes,
        };
        shape.size(self).div_ceil(self.target_bytes.max(1)).max(1)
    }
}

/// The merge that a state needs most; `None` where it needs none. Segments that active claims take, and those of
/// `skipped`, are left out.
pub fn pick(state: &State, policy: &Policy, skipped: &BTreeSet<SegmentId>) -> Option<Job> {
    let free = free(state, skipped);
    let (chosen, reason) = choose(&free, policy)?;
    job(&free, &chosen, reason)
}

/// A merge that brings a state nearer to as few segments as its rows take, none of which lost any; `None` where it is there.
pub fn pick_all(state: &State, policy: &Policy, skipped: &BTreeSet<SegmentId>) -> Option<Job> {
    let free = free(state, skipped);
    let mut worth: Vec<usize> = (0..free.len())
        .filter(|at| !policy.is_whole(&free[*at]) || free[*at].dead_rows() > 0)
        .collect();
    worth.sort_by_key(|at| (free[*at].size(policy), free[*at].id));
    worth.truncate(policy.fan_in.max(2));
    match worth.as_slice() {
        [] => None,
        [only] if free[*only].dead_rows() == 0 => None,
        chosen => job(&free, chosen, Reason::Asked),
    }
}

/// Segments that have not grown to half of a whole one.
pub fn n_small(state: &State, policy: &Policy) -> usize {
    let segments = state.segments.iter();
    let small = segments.filter(|segment| !policy.is_whole(&Shape::of(segment)));
    small.count()
}

/// Whether there would be something to merge if nobody had claimed anything.
pub fn is_due(state: &State, policy: &Policy) -> bool {
    let all: Vec<Shape> = state.segments.iter().map(|one| Shape::of(one)).collect();
    choose(&all, policy).is_some()
}

/// The logical bytes that are to be written again until a state needs no merge, if nothing else comes.
pub fn debt(state: &State, policy: &Policy) -> u64 {
    let mut shapes: Vec<Shape> = state.segments.iter().map(|one| Shape::of(one)).collect();
    let mut debt = 0_u64;
    // Each merge leaves fewer segments to merge, or fewer dead rows.
    for _ in 0..2 * shapes.len() {
        let Some((chosen, _)) = choose(&shapes, policy) else {
            break;
        };
        let sum = |of: fn(&Shape) -> u64| {
            let chosen = chosen.iter().filter_map(|at| shapes.get(*at));
            chosen.map(of).fold(0, u64::saturating_add)
        };
        let (rows, bytes) = (sum(|shape| shape.live_rows), sum(|shape| shape.live_bytes));
        debt = debt.saturating_add(bytes);
        let mut at = 0;
        shapes.retain(|_| {
            at += 1;
            !chosen.contains(&(at - 1))
        });
        if rows == 0 {
            continue;
        }
        let parts = policy.parts(rows, bytes);
        let part = Shape {
            id: None,
            rows: rows / parts,
            live_rows: rows / parts,
            live_bytes: bytes / parts,
        };
        shapes.extend((0..parts).map(|_| part));
    }
    debt
}

fn free(state: &State, skipped: &BTreeSet<SegmentId>) -> Vec<Shape> {
    let segments = state.segments.iter();
    let free = segments.filter(|one| !skipped.contains(&one.id) && !state.is_merging(one.id));
    free.map(|one| Shape::of(one)).collect()
}

fn job(shapes: &[Shape], chosen: &[usize], reason: Reason) -> Option<Job> {
    let ids = chosen.iter().map(|at| shapes.get(*at)?.id);
    let mut inputs = ids.collect::<Option<Vec<SegmentId>>>()?;
    inputs.sort_unstable();
    Some(Job { inputs, reason })
}

/// Which of these are merged next.
fn choose(shapes: &[Shape], policy: &Policy) -> Option<(Vec<usize>, Reason)> {
    let all = 0..shapes.len();
    let gone: Vec<usize> = all
        .clone()
        .filter(|at| shapes[*at].live_rows == 0)
        .collect();
    if !gone.is_empty() {
        return Some((gone, Reason::DeadRows));
    }
    let mut dead = all.clone().filter(|at| policy.is_mostly_dead(&shapes[*at]));
    if let Some(dead) = dead.next() {
        return Some((vec![dead], Reason::DeadRows));
    }
    let mut small: Vec<usize> = all.filter(|at| !policy.is_whole(&shapes[*at])).collect();
    small.sort_by_key(|at| (shapes[*at].size(policy), shapes[*at].id));
    let sizes: Vec<u64> = small.iter().map(|at| shapes[*at].size(policy)).collect();
    let (window, reason) = match alike(&sizes, policy) {
        Some(window) => (window, Reason::Sizes),
        None => (cheapest(&sizes, policy)?, Reason::Crowded),
    };
    Some((small.get(window)?.to_vec(), reason))
}

/// The smallest segments of about one size, if there are enough; `sizes` ascend.
fn alike(sizes: &[u64], policy: &Policy) -> Option<std::ops::Range<usize>> {
    let fan_in = policy.fan_in.max(2);
    let mut windows = sizes.windows(fan_in);
    let from = windows.position(|window| match (window.first(), window.last()) {
        (Some(first), Some(last)) => *last <= (*first).max(1).saturating_mul(fan_in as u64),
        _ => false,
    })?;
    Some(from..from + fan_in)
}

/// Of segments that are too many, those that cost the least for what their merge is worth; `sizes` ascend.
///
/// A merge of k segments is worth (k - 1)^1.5: by k - 1 alone, the same small ones would be written again with each that
/// comes.
fn cheapest(sizes: &[u64], policy: &Policy) -> Option<std::ops::Range<usize>> {
    if sizes.len() <= policy.max_segments.max(1) {
        return None;
    }
    let most = policy.fan_in.clamp(2, 64).min(sizes.len());
    let least = CROWD_MIN.min(most);
    let mut best: Option<((u128, u128), std::ops::Range<usize>)> = None;
    for from in 0..sizes.len() {
        for k in least..=most {
            let Some(window) = sizes.get(from..from + k) else {
                break;
            };
            let bytes: u64 = window.iter().fold(0, |sum, size| sum.saturating_add(*size));
            let bytes = u128::from(bytes.clamp(1, COST_MAX));
            // bytes / (k - 1)^1.5, squared, as a fraction.
            let cost = (bytes * bytes, (k as u128 - 1).pow(3));
            let is_better = best
                .as_ref()
                .is_none_or(|((over, under), _)| cost.0 * under < over * cost.1);
            if is_better {
                best = Some((cost, from..from + k));
            }
        }
    }
    best.map(|(_, window)| window)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::lsm::tests::segment;
    use crate::lsm::{Deletions, Rotation};
    use crate::types::WalSeq;

    /// Segments of claims 1.. of so many rows, so many of which are gone, 100 bytes a row.
    fn state(segments: &[(u64, u64)]) -> State {
        let made = (1..).zip(segments).map(|(claim, (rows, gone))| {
            Arc::new(Segment {
                rows: *rows,
                logical_bytes: rows * 100,
                deletions: Deletions {
                    rows: *gone,
                    ..Deletions::default()
                },
                ..segment(claim, 0)
            })
        });
        State {
            segments: made.collect(),
            ..State::initial(Rotation::default())
        }
    }

    /// A whole segment has 10,000 rows.
    const POLICY: Policy = Policy {
        fan_in: 8,
        max_segments: 16,
        target_bytes: 1_000_000,
        target_rows: 1_000_000,
        dead_percent: 20,
        dead_rows: 100,
    };

    fn picked(state: &State) -> Option<(Vec<u64>, Reason)> {
        let job = pick(state, &POLICY, &BTreeSet::new())?;
        let ids = job.inputs.iter().map(|id| id.claim.0).collect();
        Some((ids, job.reason))
    }

    #[test]
    fn segments_of_one_size_are_merged_once_there_are_enough() {
        let seven = [(10, 0); 7];
        assert_eq!(picked(&state(&seven)), None);
        let eight = [[(10, 0); 7].as_slice(), &[(4_000, 0), (80, 0)]].concat();
        let found = picked(&state(&eight));
        assert_eq!(found, Some((vec![1, 2, 3, 4, 5, 6, 7, 9], Reason::Sizes)));
        // Whole ones stay.
        let whole = [(5_000, 0); 40];
        assert_eq!(picked(&state(&whole)), None);
        assert_eq!(debt(&state(&whole), &POLICY), 0);
    }

    #[test]
    fn segments_beyond_the_most_are_merged_where_it_costs_least() {
        let growing: Vec<(u64, u64)> = (0..17).map(|at| (1 << (at / 2 * 2), 0)).collect();
        let growing: Vec<(u64, u64)> = growing
            .iter()
            .map(|(rows, _)| (*rows.min(&4_000), 0))
            .collect();
        let (ids, reason) = picked(&state(&growing)).expect("too many");
        assert_eq!((ids, reason), (vec![1, 2, 3, 4], Reason::Crowded));
        assert_eq!(picked(&state(&growing[..16])), None);
    }

    #[test]
    fn segment_is_written_anew_alone_once_enough_of_its_rows_are_gone() {
        assert_eq!(
            picked(&state(&[(400, 99), (2_000, 399)])),
            None,
            "too few, too small a share"
        );
        let found = picked(&state(&[(400, 99), (2_000, 400), (10, 0)]));
        assert_eq!(found, Some((vec![2], Reason::DeadRows)));
        let found = picked(&state(&[(9, 9), (2_000, 400), (1, 1)]));
        assert_eq!(
            found,
            Some((vec![1, 3], Reason::DeadRows)),
            "nothing to write"
        );
        assert_eq!(debt(&state(&[(9, 9), (2_000, 400)]), &POLICY), 160_000);
    }

    #[test]
    fn level_rises_with_each_fan_in_that_a_segment_has_grown() {
        for (rows, level) in [
            (1, 0),
            (64 << 10, 0),
            ((64 << 10) + 8, 1),
            (512 << 10, 1),
            ((512 << 10) + 64, 2),
        ] {
            let state = state(&[(rows, 0)]);
            let mut segment = Segment::clone(&state.segments[0]);
            segment.logical_bytes = rows;
            let policy = Policy {
                fan_in: 8,
                target_rows: u64::MAX,
                ..Policy::default()
            };
            assert_eq!(policy.level(&segment), level, "{rows} bytes");
        }
    }

    #[test]
    fn segments_that_are_claimed_or_skipped_are_left_out() {
        let mut state = state(&[(10, 0); 9]);
        let ids: Vec<SegmentId> = state.segments.iter().map(|one| one.id).collect();
        assert!(pick(&state, &POLICY, &[ids[0]].into()).is_some());
        assert_eq!(pick(&state, &POLICY, &[ids[0], ids[1]].into()), None);
        state.merging.insert(WalSeq(30), vec![ids[0], ids[8]]);
        assert_eq!(pick(&state, &POLICY, &BTreeSet::new()), None);
        assert!(is_due(&state, &POLICY), "once the claim has ended");
        assert!(debt(&state, &POLICY) > 0);
    }

    #[test]
    fn all_is_merged_into_as_few_as_its_rows_take_when_asked() {
        let asked =
            |state: &State| pick_all(state, &POLICY, &BTreeSet::new()).map(|job| job.inputs.len());
        assert_eq!(asked(&state(&[])), None);
        assert_eq!(asked(&state(&[(10, 0)])), None);
        assert_eq!(asked(&state(&[(10, 1)])), Some(1));
        assert_eq!(asked(&state(&[(10, 0), (20, 0), (9_000, 0)])), Some(2));
        assert_eq!(asked(&state(&[(10, 0), (9_000, 1)])), Some(2));
        assert_eq!(asked(&state(&[(9_000, 0), (9_000, 0)])), None);
    }

    /// Flushes so many segments, merging as soon as that is due; gives how often each byte was written, and the most
    /// segments that were not whole once settled.
    fn grown(flushes: u64, rows_of: &mut dyn FnMut() -> u64) -> (f64, usize) {
        let policy = Policy {
            target_bytes: 1 << 40,
            target_rows: 1 << 40,
            ..POLICY
        };
        let mut at = state(&[]);
        let (mut flushed, mut written, mut most, mut claim) = (0, 0, 0, 0);
        let mut made = |rows: u64| {
            claim += 1;
            Arc::new(Segment {
                rows,
                logical_bytes: rows * 100,
                ..segment(claim, 0)
            })
        };
        for _ in 0..flushes {
            let new = made(rows_of());
            flushed += new.logical_bytes;
            at.segments.push(new);
            let owed = debt(&at, &policy);
            let before = written;
            while let Some(job) = pick(&at, &policy, &BTreeSet::new()) {
                let is_input = |one: &Arc<Segment>| job.inputs.contains(&one.id);
                let rows = at
                    .segments
                    .iter()
                    .filter(|one| is_input(one))
                    .map(|one| one.rows)
                    .sum();
                at.segments.retain(|one| !is_input(one));
                let merged = made(rows);
                written += merged.logical_bytes;
                at.segments.push(merged);
            }
            assert_eq!(written - before, owed, "the debt is what is then written");
            most = most.max(at.segments.len());
        }
        ((flushed + written) as f64 / flushed as f64, most)
    }

    #[test]
    fn rows_are_written_again_seldom_and_segments_stay_few_whatever_the_sizes() {
        let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
        let mut random = move || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            seed >> 33
        };
        for flushes in [20_u64, 300, 3_000] {
            // log8 of the flushes is how often a row's segment can grow eightfold.
            let bound = 2.0 + (flushes as f64).log2() / 3.0;
            let mut spread = || 1 << (random() % 14);
            let mut sizes: [(&str, &mut dyn FnMut() -> u64); 3] = [
                ("equal", &mut || 100),
                ("spread", &mut spread),
                ("even", &mut {
                    let mut at = 0;
                    move || {
                        at = (at + 77) % 200;
                        at + 1
                    }
                }),
            ];
            for (what, rows_of) in &mut sizes {
                let (written, most) = grown(flushes, *rows_of);
                assert!(
                    written <= bound,
                    "{flushes} {what}: {written} times, at most {bound}"
                );
                assert!(most <= 16, "{flushes} {what}: {most} segments");
            }
        }
    }
}
