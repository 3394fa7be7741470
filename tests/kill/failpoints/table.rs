//! The table: each point, each way it can strike, and what is promised then.

use elacsym::runtime::failpoint::{Action, FailPoint};

use super::stage::{Before, Left, WRITERS};

/// One order, from where it is given, and the promised outcome.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) before: Before,
    pub(super) order: &'static str,
    pub(super) ends: Ends,
    pub(super) unanswered: Unanswered,
    pub(super) left: Left,
    /// Whether somebody asks for flushes again and again meanwhile.
    pub(super) flushing: bool,
}

/// What the writers see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    /// The process dies; who waits gets no answer.
    Dies,
    /// Every write is acknowledged all the same.
    Unnoticed,
    /// Some get 503 `unavailable`, and those are certainly not applied.
    Refused,
    /// Some get 503 `outcome_unknown`; the server goes on, and a repetition with the same key settles it.
    Unknown,
    /// Some get 503 `outcome_unknown`, and this server cannot settle it; another one does.
    UnknownForGood,
    /// All get 503 `outcome_unknown` by their deadline; another server settles it.
    Hangs,
    /// Nobody notices what hangs in the background, not even the end.
    HangsBehind,
}

/// What becomes of writes without an answer. Each is wholly there or wholly absent in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unanswered {
    NoneApplied,
    /// At least those of the commit that was struck; those that waited behind it are not.
    SomeApplied,
    Any,
}

const fn case(order: &'static str, ends: Ends, unanswered: Unanswered) -> Case {
    Case {
        before: Before::Small,
        order,
        ends,
        unanswered,
        left: Left::Whatever,
        flushing: false,
    }
}

const fn flushing(order: &'static str, ends: Ends, unanswered: Unanswered) -> Case {
    Case {
        flushing: true,
        ..case(order, ends, unanswered)
    }
}

impl Case {
    const fn from(self, before: Before) -> Self {
        Self { before, ..self }
    }

    const fn leaving(self, left: Left) -> Self {
        Self { left, ..self }
    }

    /// The line a server prints when it is struck.
    pub(super) fn strike(&self) -> String {
        let (point, rest) = self.order.split_once('=').expect("an order");
        let (action, _) = rest.split_once('@').expect("an order");
        format!("failpoint {point} struck: {action}")
    }

    pub(super) fn hangs(&self) -> bool {
        matches!(self.ends, Ends::Hangs | Ends::HangsBehind)
    }

    /// Whether the struck server itself still serves the namespace.
    pub(super) fn goes_on(&self) -> bool {
        !matches!(self.ends, Ends::Hangs | Ends::UnknownForGood)
    }

    pub(super) fn writers(&self) -> usize {
        match (self.before, self.ends, self.unanswered) {
            // A second creator would take the turn of one whose deadline has passed.
            (Before::Nothing, Ends::Hangs, _) => 1,
            // Beside others, one whose write came just before may miss its answer too.
            (_, Ends::Dies, Unanswered::NoneApplied) => 1,
            _ => WRITERS as usize,
        }
    }
}

use Before::{Long, Nothing};
use Ends::{Dies, Hangs, HangsBehind, Refused, Unknown, UnknownForGood, Unnoticed};
use Unanswered::{Any, NoneApplied, SomeApplied};

/// All of them.
pub(super) const CASES: &[Case] = &[
    // W1: nothing was sent.
    case("w1=die-before@20", Dies, NoneApplied),
    case("w1=die-after@20", Dies, NoneApplied),
    case("w1=error-before@20", Refused, NoneApplied),
    case("w1=hang-before@20", Hangs, NoneApplied),
    case("w1=hang-after@20", Hangs, NoneApplied),
    // W2: the create was sent and its answer never came. Reading back decides, or a later life does.
    case("w2=die-before@20", Dies, NoneApplied),
    case("w2=die-after@20", Dies, SomeApplied),
    case("w2=error-before@20", Unnoticed, NoneApplied),
    case("w2=error-before@20+", UnknownForGood, NoneApplied),
    case("w2=error-after@20", Unnoticed, NoneApplied),
    case("w2=error-after@20+", Unnoticed, NoneApplied),
    case("w2=hang-before@20", Hangs, NoneApplied),
    case("w2=hang-after@20", Hangs, SomeApplied),
    // W3: the slot is there and nobody was told. An anchor that cannot be read leaves it unknown.
    case("w3=die-before@20", Dies, SomeApplied),
    case("w3=die-after@20", Dies, SomeApplied),
    case("w3=error-before@20", Unnoticed, NoneApplied),
    case("w3=error-before@20+", UnknownForGood, SomeApplied),
    case("w3=error-after@20", Unnoticed, NoneApplied),
    case("w3=hang-before@20", Hangs, SomeApplied),
    case("w3=hang-after@20", Hangs, SomeApplied),
    // W4: the anchor does not hold. The log is opened again and asked for the batch.
    case("w4=die-before@20", Dies, SomeApplied),
    case("w4=die-after@20", Dies, SomeApplied),
    case("w4=error-before@20", Unknown, SomeApplied),
    case("w4=error-after@20", Unnoticed, NoneApplied),
    case("w4=hang-before@20", Hangs, SomeApplied),
    case("w4=hang-after@20", Hangs, SomeApplied),
    // W5: committed. Memory is made from the log, so that its loss changes nothing.
    case("w5=die-before@20", Dies, SomeApplied),
    case("w5=die-after@20", Dies, SomeApplied),
    case("w5=error-before@20", Unnoticed, NoneApplied),
    case("w5=error-after@20", Unnoticed, NoneApplied),
    case("w5=hang-before@20", Hangs, SomeApplied),
    case("w5=hang-after@20", Hangs, SomeApplied),
    // C1: the second manifest of a log is not there, or half of it in a file of no name.
    case("c1=die-before@1", Dies, Any)
        .from(Long)
        .leaving(Left::HalfManifest),
    case("c1=die-after@1", Dies, Any)
        .from(Long)
        .leaving(Left::StaleHead),
    case("c1=error-before@1", Unnoticed, NoneApplied)
        .from(Long)
        .leaving(Left::HalfManifest),
    case("c1=error-after@1", Unnoticed, NoneApplied)
        .from(Long)
        .leaving(Left::StaleHead),
    case("c1=hang-before@1", HangsBehind, NoneApplied)
        .from(Long)
        .leaving(Left::HalfManifest),
    case("c1=hang-after@1", HangsBehind, NoneApplied)
        .from(Long)
        .leaving(Left::StaleHead),
    // C2: the manifest is there; its advisory copies are those of the first, or only one is.
    case("c2=die-before@1", Dies, Any)
        .from(Long)
        .leaving(Left::StaleHead),
    case("c2=die-after@1", Dies, Any)
        .from(Long)
        .leaving(Left::StaleHint),
    case("c2=error-before@1", Unnoticed, NoneApplied)
        .from(Long)
        .leaving(Left::StaleHead),
    case("c2=error-after@1", Unnoticed, NoneApplied)
        .from(Long)
        .leaving(Left::StaleHint),
    case("c2=hang-before@1", HangsBehind, NoneApplied)
        .from(Long)
        .leaving(Left::StaleHead),
    case("c2=hang-after@1", HangsBehind, NoneApplied)
        .from(Long)
        .leaving(Left::StaleHint),
    // F1: nobody else's claim, or one that nobody works under: the next flusher takes it back.
    flushing("f1=die-before@2", Dies, Any),
    flushing("f1=die-after@2", Dies, Any),
    flushing("f1=error-before@2", Unnoticed, NoneApplied),
    flushing("f1=error-after@2", Unnoticed, NoneApplied),
    flushing("f1=hang-before@2", Hangs, NoneApplied),
    flushing("f1=hang-after@2", Hangs, NoneApplied),
    // F2: objects that no state refers to. The rows are still in the log.
    flushing("f2=die-before@2", Dies, Any),
    flushing("f2=die-after@2", Dies, Any),
    flushing("f2=error-before@2", Unnoticed, NoneApplied),
    flushing("f2=error-after@2", Unnoticed, NoneApplied),
    flushing("f2=hang-before@2", HangsBehind, NoneApplied),
    flushing("f2=hang-after@2", HangsBehind, NoneApplied),
    // F3: flushed, or not; no manifest says so.
    flushing("f3=die-before@2", Dies, Any),
    flushing("f3=die-after@2", Dies, Any),
    flushing("f3=error-before@2", Unnoticed, NoneApplied),
    flushing("f3=error-after@2", Unnoticed, NoneApplied),
    flushing("f3=hang-before@2", Hangs, NoneApplied),
    flushing("f3=hang-after@2", Hangs, NoneApplied),
    // K1: nobody else's claim, or one that nobody works under: the next merge of its segments takes it back.
    flushing("k1=die-before@2", Dies, Any),
    flushing("k1=die-after@2", Dies, Any),
    flushing("k1=error-before@2", Unnoticed, NoneApplied),
    flushing("k1=error-after@2", Unnoticed, NoneApplied),
    flushing("k1=hang-before@2", Hangs, NoneApplied),
    flushing("k1=hang-after@2", Hangs, NoneApplied),
    // K2: objects that no state refers to. The inputs are still there.
    flushing("k2=die-before@2", Dies, Any),
    flushing("k2=die-after@2", Dies, Any),
    flushing("k2=error-before@2", Unnoticed, NoneApplied),
    flushing("k2=error-after@2", Unnoticed, NoneApplied),
    flushing("k2=hang-before@2", HangsBehind, NoneApplied),
    flushing("k2=hang-after@2", HangsBehind, NoneApplied),
    // K3: merged, or not; no manifest says so.
    flushing("k3=die-before@2", Dies, Any),
    flushing("k3=die-after@2", Dies, Any),
    flushing("k3=error-before@2", Unnoticed, NoneApplied),
    flushing("k3=error-after@2", Unnoticed, NoneApplied),
    flushing("k3=hang-before@2", Hangs, NoneApplied),
    flushing("k3=hang-after@2", Hangs, NoneApplied),
    // G1: what nothing refers to, there or gone.
    flushing("g1=die-before@2", Dies, Any),
    flushing("g1=die-after@2", Dies, Any),
    flushing("g1=error-before@2", Unnoticed, NoneApplied),
    flushing("g1=error-after@2", Unnoticed, NoneApplied),
    flushing("g1=hang-before@2", HangsBehind, NoneApplied),
    flushing("g1=hang-after@2", HangsBehind, NoneApplied),
    // T1: nothing is deleted but after it.
    flushing("t1=die-before@1", Dies, Any).from(Long),
    flushing("t1=die-after@1", Dies, Any).from(Long),
    flushing("t1=error-before@1", Unnoticed, NoneApplied).from(Long),
    flushing("t1=error-after@1", Unnoticed, NoneApplied).from(Long),
    flushing("t1=hang-before@1", Hangs, NoneApplied).from(Long),
    flushing("t1=hang-after@1", Hangs, NoneApplied).from(Long),
    // T2: a block without its head; the next cleaning goes on.
    flushing("t2=die-before@1", Dies, Any).from(Long),
    flushing("t2=die-after@1", Dies, Any).from(Long),
    flushing("t2=error-before@1", Unnoticed, NoneApplied).from(Long),
    flushing("t2=error-after@1", Unnoticed, NoneApplied).from(Long),
    flushing("t2=hang-before@1", HangsBehind, NoneApplied).from(Long),
    flushing("t2=hang-after@1", HangsBehind, NoneApplied).from(Long),
    // N1: a log without a name is nothing; a name's record made twice is the same record.
    case("n1=die-before@1", Dies, NoneApplied).from(Nothing),
    case("n1=die-after@1", Dies, NoneApplied).from(Nothing),
    case("n1=error-before@1", Refused, NoneApplied).from(Nothing),
    case("n1=error-after@1", Unnoticed, NoneApplied).from(Nothing),
    case("n1=hang-before@1", Hangs, NoneApplied).from(Nothing),
    case("n1=hang-after@1", Hangs, NoneApplied).from(Nothing),
    // L1: a local directory. A file without a name, a name that a power loss may take.
    case("l1=die-before@20", Dies, NoneApplied).leaving(Left::NamelessFile),
    case("l1=die-after@20", Dies, SomeApplied).leaving(Left::NamelessFile),
    case("l1=die-after@20", Dies, NoneApplied).leaving(Left::WithoutNewestEntry),
    case("l1=error-before@20", Unnoticed, NoneApplied),
    case("l1=error-before@20+", UnknownForGood, NoneApplied),
    case("l1=error-after@20", Unnoticed, NoneApplied),
    case("l1=error-after@20+", UnknownForGood, SomeApplied),
    case("l1=hang-before@20", Hangs, NoneApplied),
    case("l1=hang-after@20", Hangs, SomeApplied),
];

/// What means nothing, and why.
const MEANINGLESS: &[(FailPoint, Action, &str)] = &[
    (
        FailPoint::W1,
        Action::ErrorAfter,
        "sealing bytes gives no answer that could be lost",
    ),
    (FailPoint::M1, Action::DieBefore, NO_WRITE),
    (FailPoint::M1, Action::DieAfter, NO_WRITE),
    (FailPoint::M1, Action::ErrorBefore, NO_WRITE),
    (FailPoint::M1, Action::ErrorAfter, NO_WRITE),
    (FailPoint::M1, Action::HangBefore, NO_WRITE),
    (FailPoint::M1, Action::HangAfter, NO_WRITE),
];

/// Why writers are not asked: what its errors come to is in `flip.rs`.
const NO_WRITE: &str = "a read of blocks changes nothing, wherever it ends";

#[test]
fn table_has_each_point_and_variant() {
    for point in FailPoint::ALL {
        for action in Action::ALL {
            let order = format!("{}={}@", point.name(), action.name());
            let listed = CASES.iter().any(|case| case.order.starts_with(&order));
            let reason = MEANINGLESS
                .iter()
                .find(|(of, what, _)| (*of, *what) == (point, action));
            assert!(
                listed != reason.is_some(),
                "{order} is {listed} in the table and has {reason:?} for its absence"
            );
        }
    }
}
