//! Is there one order of all that was asked which explains all that was heard?
//!
//! Sequences order what was acknowledged; requests of one sequence went in together, in some order. What nobody
//! knows may have happened once, anywhere after it was sent, or never.

use std::collections::{BTreeMap, HashSet};

use elacsym::types::WalSeq;

use super::model::{Content, Done, Refused, Request, State};
use crate::world::World;

/// Places looked at before the search gives up.
const PLACES_MAX: usize = 400_000;

/// What was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The request was acknowledged.
    Done { seq: WalSeq, done: Done },
    /// A read showed this.
    Read {
        seq: WalSeq,
        content: Content,
        strong: bool,
    },
    /// Nobody knows whether it happened, or will.
    Nothing,
}

/// One write or read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) by: String,
    /// The numbers of the events at which it was sent and answered.
    pub(crate) sent: u64,
    pub(crate) answered: u64,
    pub(crate) request: Option<Request>,
    pub(crate) heard: Heard,
}

/// A request that was refused for what the namespace held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) by: String,
    pub(crate) sent: u64,
    pub(crate) answered: u64,
    pub(crate) request: Request,
    pub(crate) refused: Refused,
}

/// All that is known of one sequence.
#[derive(Debug, Default)]
struct Level<'a> {
    seq: u64,
    writes: Vec<(&'a Event, &'a Request, &'a Done)>,
    read: Option<(&'a Event, &'a Content)>,
    first_sent: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Place {
    level: usize,
    taken: u32,
    happened: u32,
    state: State,
}

struct Search<'a> {
    levels: Vec<Level<'a>>,
    /// Requests of unknown outcome, each with the first level it can come before.
    unknown: Vec<(&'a Request, usize)>,
    seen: HashSet<Place>,
    /// The states after each level of the way that is tried.
    way: Vec<State>,
    deepest: (usize, String),
}

/// Finds what breaks a law, given all that was heard.
pub(crate) fn violations(world: &World, events: &[Event], refusals: &[Refusal]) -> Vec<String> {
    let mut found = out_of_time(events);
    let levels = match levels(events) {
        Ok(levels) => levels,
        Err(violation) => {
            found.push(violation);
            return found;
        }
    };
    let unknown = unknown(events, &levels);
    let mut search = Search {
        levels,
        unknown,
        seen: HashSet::new(),
        way: Vec::new(),
        deepest: (0, String::new()),
    };
    world.count_many("replayed", search.levels.len() as u64);
    world.count_many("replayed without knowing", search.unknown.len() as u64);
    let first = Place {
        level: 0,
        taken: 0,
        happened: 0,
        state: State::default(),
    };
    if search.go(first) {
        if search.unknown.is_empty() {
            found.extend(
                refusals
                    .iter()
                    .filter_map(|refusal| search.unfounded(refusal)),
            );
        }
    } else if search.seen.len() >= PLACES_MAX {
        let n = search.unknown.len();
        found.push(format!(
            "{PLACES_MAX} places of the ledger decide nothing, with {n} unknown outcomes"
        ));
    } else {
        let (level, why) = &search.deepest;
        let seq = search.levels.get(*level).map(|level| level.seq);
        found.push(format!(
            "no replay explains the ledger beyond sequence {seq:?}: {why}"
        ));
    }
    found
}

fn seq_of(event: &Event) -> Option<u64> {
    match &event.heard {
        Heard::Done { seq, .. } | Heard::Read { seq, .. } => Some(seq.0),
        Heard::Nothing => None,
    }
}

/// Whatever was answered before something else was sent comes before it.
fn out_of_time(events: &[Event]) -> Vec<String> {
    let mut found = Vec::new();
    for first in events {
        for second in events {
            let (Some(a), Some(b)) = (seq_of(first), seq_of(second)) else {
                continue;
            };
            if first.answered >= second.sent {
                continue;
            }
            let holds = match (&first.heard, &second.heard) {
                (_, Heard::Read { strong: false, .. }) => true,
                (_, Heard::Read { .. }) => a <= b,
                _ => a < b,
            };
            if !holds {
                found.push(format!(
                    "{} was answered at sequence {a} of the ledger before {} asked, who was at {b}: {:?}",
                    first.by, second.by, second.request
                ));
            }
        }
    }
    found
}

fn levels(events: &[Event]) -> Result<Vec<Level<'_>>, String> {
    let mut levels: BTreeMap<u64, Level<'_>> = BTreeMap::new();
    for event in events {
        let Some(seq) = seq_of(event) else {
            continue;
        };
        let level = levels.entry(seq).or_insert_with(|| Level {
            seq,
            first_sent: u64::MAX,
            ..Level::default()
        });
        match (&event.heard, &event.request) {
            (Heard::Done { done, .. }, Some(request)) => {
                level.first_sent = level.first_sent.min(event.sent);
                level.writes.push((event, request, done));
            }
            (Heard::Read { content, .. }, _) => match level.read {
                Some((other, before)) if before != content => {
                    return Err(format!(
                        "the ledger has two states of sequence {seq}: {before:?} to {}, {content:?} to {}",
                        other.by, event.by
                    ));
                }
                _ => level.read = Some((event, content)),
            },
            _ => {}
        }
    }
    Ok(levels.into_values().collect())
}

fn unknown<'a>(events: &'a [Event], levels: &[Level<'a>]) -> Vec<(&'a Request, usize)> {
    let of = |event: &'a Event| {
        let request = event.request.as_ref()?;
        if event.heard != Heard::Nothing {
            return None;
        }
        // After every level that was known before it was sent.
        let before = |level: &Level<'_>| {
            let read = level.read.map(|(event, _)| event);
            let mut known = level.writes.iter().map(|(event, ..)| *event).chain(read);
            known.any(|known| known.answered < event.sent)
        };
        let from = levels.iter().rposition(before).map_or(0, |level| level + 1);
        Some((request, from))
    };
    events.iter().filter_map(of).collect()
}

impl Search<'_> {
    fn go(&mut self, place: Place) -> bool {
        if self.seen.len() >= PLACES_MAX || self.seen.contains(&place) {
            return false;
        }
        self.seen.insert(place.clone());
        let Some(level) = self.levels.get(place.level) else {
            return true;
        };
        let all = (1_u32 << level.writes.len()) - 1;
        if place.taken == all {
            match level.read {
                Some((event, content)) if *content != place.state.content => {
                    let by = &event.by;
                    let state = &place.state.content;
                    self.fail(&place, format!("{by} read {content:?}, expected {state:?}"));
                }
                _ => {
                    self.way.truncate(place.level);
                    self.way.push(place.state.clone());
                    let next = Place {
                        level: place.level + 1,
                        taken: 0,
                        ..place.clone()
                    };
                    if self.go(next) {
                        return true;
                    }
                }
            }
        }
        self.take_writes(&place) || self.take_unknown(&place)
    }

    fn take_writes(&mut self, place: &Place) -> bool {
        for at in 0..self.levels[place.level].writes.len() {
            let bit = 1_u32 << at;
            if place.taken & bit != 0 {
                continue;
            }
            let (event, request, heard) = self.levels[place.level].writes[at];
            match request.of(&place.state) {
                Ok((state, done)) if done.fits(heard) => {
                    let next = Place {
                        taken: place.taken | bit,
                        state,
                        ..place.clone()
                    };
                    if self.go(next) {
                        return true;
                    }
                }
                other => {
                    let expected = other.map(|(_, done)| done);
                    let (by, content) = (&event.by, &place.state);
                    let why = format!(
                        "{by} asked {request:?} and heard {heard:?}, expected {expected:?} of {content:?}"
                    );
                    self.fail(place, why);
                }
            }
        }
        false
    }

    /// What nobody knows happens here.
    fn take_unknown(&mut self, place: &Place) -> bool {
        for at in 0..self.unknown.len() {
            let bit = 1_u32 << at;
            let (request, from) = self.unknown[at];
            if place.happened & bit != 0 || place.level < from {
                continue;
            }
            if let Ok((state, _)) = request.of(&place.state)
                && state != place.state
            {
                let next = Place {
                    happened: place.happened | bit,
                    state,
                    ..place.clone()
                };
                if self.go(next) {
                    return true;
                }
            }
        }
        false
    }

    fn fail(&mut self, place: &Place, why: String) {
        if place.level >= self.deepest.0 {
            self.deepest = (place.level, why);
        }
    }

    /// A refusal that no state between question and answer gives reason for.
    fn unfounded(&self, refusal: &Refusal) -> Option<String> {
        let known = |event: &Event| event.answered < refusal.sent;
        let before = |level: &Level<'_>| {
            level.writes.iter().any(|(event, ..)| known(event))
                || level.read.is_some_and(|(event, _)| known(event))
        };
        let oldest = self.levels.iter().rposition(before).unwrap_or(0);
        let possible = self.levels.iter().zip(&self.way).skip(oldest);
        let mut possible = possible.filter(|(level, _)| {
            // A level of reads alone is a state of writes before it.
            level.seq == self.levels[oldest].seq
                || level.writes.is_empty()
                || level.first_sent < refusal.answered
        });
        let founded = possible.any(|(_, state)| refusal.request.of(state) == Err(refusal.refused));
        (!founded).then(|| {
            format!(
                "{} was refused {:?} ({:?}) at a state of the ledger that gives no reason",
                refusal.by, refusal.request, refusal.refused
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::model::COUNTER;

    fn world() -> World {
        World::new(0, false)
    }

    fn event(sent: u64, answered: u64, request: Option<Request>, heard: Heard) -> Event {
        Event {
            by: "a keeper".to_owned(),
            sent,
            answered,
            request,
            heard,
        }
    }

    /// Writes that were acknowledged as the model has them, one after the other.
    fn history(requests: Vec<Request>) -> (Vec<Event>, State) {
        let mut state = State::default();
        let mut events = Vec::new();
        for (at, request) in (1..).zip(requests) {
            let (after, done) = request.of(&state).expect("not refused");
            state = after;
            let seq = WalSeq(at);
            events.push(event(
                at * 10,
                at * 10 + 1,
                Some(request),
                Heard::Done { seq, done },
            ));
        }
        (events, state)
    }

    fn read(sent: u64, seq: u64, content: &Content) -> Event {
        let heard = Heard::Read {
            seq: WalSeq(seq),
            content: content.clone(),
            strong: true,
        };
        event(sent, sent + 1, None, heard)
    }

    fn counted(n: i64) -> Vec<Request> {
        let counts = (0..n).map(|known| Request::count(known, known % 2 == 0));
        [Request::first()].into_iter().chain(counts).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn replay_accepts_what_the_model_says_and_unknown_writes_both_ways() {
        let (mut events, state) = history(counted(3));
        let one_more = Request::count(3, true).of(&state).expect("not refused").0;
        events.push(event(
            35,
            u64::MAX,
            Some(Request::count(3, true)),
            Heard::Nothing,
        ));
        for content in [&state.content, &one_more.content] {
            let mut events = events.clone();
            events.push(read(50, 5, content));
            assert_eq!(violations(&world(), &events, &[]), [""; 0]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn replay_refuses_each_wrong_answer() {
        let (events, state) = history(counted(3));
        let mut lost = state.content.clone();
        lost.remove(&1);
        let mut uncounted = state.content.clone();
        uncounted.insert(COUNTER, [("g", 1_000), ("n", 2)].into());
        let again = |at: u64, seq: u64| {
            let done = Done {
                n_patched: 1,
                ..Done::default()
            };
            let seq = WalSeq(seq);
            event(
                at,
                at + 1,
                Some(Request::count(2, true)),
                Heard::Done { seq, done },
            )
        };
        let unknown = event(45, u64::MAX, Some(Request::count(3, true)), Heard::Nothing);
        let later = Request::count(3, true).of(&state).expect("not refused").0;
        for (what, more) in [
            ("a lost document", vec![read(50, 5, &lost)]),
            ("a lost increment", vec![read(50, 5, &uncounted)]),
            ("a condition that did not hold", vec![again(50, 5)]),
            (
                "older than what was known",
                vec![read(50, 3, &state.content)],
            ),
            ("before its turn", vec![again(50, 2)]),
            (
                "an unknown write before it was sent",
                vec![read(42, 4, &later.content), unknown],
            ),
        ] {
            let events = [events.clone(), more].concat();
            assert!(!violations(&world(), &events, &[]).is_empty(), "{what}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn replay_asks_for_the_reason_of_a_refusal() {
        let mut requests = counted(1);
        requests.extend([true, false].map(Request::read_only));
        let (events, _) = history(requests);
        let refusal = |sent, answered| Refusal {
            by: "a keeper".to_owned(),
            sent,
            answered,
            request: Request::count(1, true),
            refused: Refused::ReadOnly,
        };
        for (sent, answered, founded) in [
            (12, 13, false),
            (12, 32, true),
            (35, 39, true),
            (50, 51, false),
        ] {
            let found = violations(&world(), &events, &[refusal(sent, answered)]);
            assert_eq!(found.is_empty(), founded, "{sent} to {answered}: {found:?}");
        }
    }
}
